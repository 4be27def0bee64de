r"""A pod, its sidecar and one upstream that plays along: what the tests of the data path stand in.

    with lab({"/v1/slow": stall}) as lab:
        reply = lab.talk(b"GET /v1/slow HTTP/1.1\r\nHost: api.lab.example\r\n\r\n", answers=1)

`HOST` is governed: `/v1/**` gets the credential, everything else there is refused. So is everything below
`more.lab.example`, for upstreams that a test adds at `SECOND`; there also some methods of gRPC.
`OTHER` takes it in `x-api-key`, `FREE` is not governed; all three are the same server.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from tests.canary import Canary, shared_canary
from tests.raw_client import Reply, talk
from tests.sidecar_pod import CAPTURED, Sidecar, SidecarPod, sidecar_pod, wait_for
from tests.upstream_authority import UpstreamCertificate
from tests.upstreams import Handler, Upstream, tls_context

HOST: Final = "api.lab.example"
OTHER: Final = "other.lab.example"
FREE: Final = "free.lab.example"
SECOND: Final = "203.0.113.20"

POLICY: Final = """
apiVersion: podkey.io/v1alpha1
kind: AccessPolicy
metadata: {name: lab, namespace: training}
spec:
  workloads: {serviceAccounts: [trainer]}
  grants:
    - hosts: [api.lab.example]
      methods: [GET, HEAD, POST, PUT]
      paths: ["/v1/**"]
      credential: lab
    - hosts: [other.lab.example]
      methods: [GET]
      paths: ["/v1/**"]
      credential: other
    - hosts: ["*.more.lab.example"]
      methods: [GET, POST]
      paths: ["/v1/**", "/podkey.Echo/Unary", "/podkey.Echo/Fail", "/podkey.Echo/*load", "/podkey.Echo/Talk"]
      credential: lab
---
apiVersion: podkey.io/v1alpha1
kind: CredentialSource
metadata: {name: lab, namespace: training}
spec:
  mountedSecret: {secretName: lab, key: token}
  attach: {bearer: {}}
---
apiVersion: podkey.io/v1alpha1
kind: CredentialSource
metadata: {name: other, namespace: training}
spec:
  mountedSecret: {secretName: lab, key: token}
  attach: {header: {name: x-api-key}}
"""


@dataclass(frozen=True)
class Lab:
    pod: SidecarPod
    upstream: Upstream
    token: str

    @property
    def sidecar(self) -> Sidecar:
        return self.pod.sidecar

    def talk(self, *pieces: bytes, name: str = HOST, **options: Any) -> Reply:
        return talk(self.pod, *pieces, name=name, **options)

    @contextmanager
    def second(
        self,
        name: str,
        routes: Mapping[str, Handler] = MappingProxyType({}),
        *,
        alpn: Sequence[str] = (),
        certificate: UpstreamCertificate | None = None,
        speaks_tls: bool = True,
    ) -> Iterator[Upstream]:
        """Another upstream, at its own address."""
        self.pod.resolve(name, to=[SECOND])
        certificate = certificate or self.pod.upstream_certificate(name)
        context = tls_context(*certificate, alpn=alpn) if speaks_tls else None
        with Upstream(context, routes, ns=self.pod.network.net, addresses=[SECOND]) as upstream:
            yield upstream

    def settle(self) -> None:
        """For the next test: nothing of the last one is on its way, and all its records are written."""
        wait_for(lambda: self.sidecar.metric("podkey_connections_open") == 0, "connections to end")
        self.upstream.clear()

    def check_health(self) -> None:
        """Nothing went past the judge, and nothing broke that a lane did not expect."""
        assert self.sidecar.metric("podkey_fail_open_total") == 0
        errors = [line for line in self.sidecar.log_lines() if line["event"] == "unexpected error"]
        assert not errors, errors

    def new_audit(self, before: int, count: int = 1) -> list[dict[str, Any]]:
        """The records after the first `before`, as soon as there are so many of them."""
        return self.sidecar.wait_audit(before + count)[before:]


@contextmanager
def lab(
    routes: Mapping[str, Handler] = MappingProxyType({}),
    *,
    alpn: Sequence[str] = ("h2", "http/1.1"),
    capture: str = CAPTURED,
    canary: Canary | None = None,
    **settings: Any,
) -> Iterator[Lab]:
    """For a fixture of a module; a single test gives its own canary. `alpn`: what the upstream speaks."""
    with ExitStack() as stack:
        if canary is None:
            canary = stack.enter_context(shared_canary())
        pod = stack.enter_context(sidecar_pod(canary, internet=[SECOND]))
        pod.resolve(HOST, OTHER, FREE)
        certificate = pod.upstream_certificate(HOST, OTHER, FREE)
        upstream = Upstream(tls_context(*certificate, alpn=alpn), routes, ns=pod.network.net)
        stack.enter_context(upstream)
        token = canary.secret("lab token")
        pod.start_sidecar(POLICY, {"lab": {"token": token.encode()}}, capture, **settings)
        yield Lab(pod, upstream, token)
