"""The issuer's keys by discovery, from an API server over real TLS: well, and in every way that goes wrong.

The server stands in for that of Kubernetes 1.36 as ../shared/k8s/oidc recorded it: it asks for a token of its
own audience, and its `jwks_uri` is an address of the control plane that pods do not reach. All cases run at
the same time, each in a pod of its own, because most of their time is waiting.
"""

import json
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from proxy.core.contract import EXPLICIT_PORT, IDENTITY_AUDIENCE
from tests.canary import Canary, shared_canary
from tests.netns import MISSING
from tests.pod_tokens import jwks
from tests.pod_world import fetch, policy, secret, upstream_for
from tests.raw_client import Answer, ask
from tests.sidecar_pod import SidecarPod, sidecar_pod, wait_for
from tests.stand_in_server import PROVIDERS
from tests.upstream_authority import UpstreamAuthority
from tests.upstream_requests import Handler, Request
from tests.upstreams import Upstream, answering, tls_context

API, FILES = "api.openai.com", "files.example.net"
MODELS = "/v1/models"
CLUSTER = "kubernetes.default.svc"
CLUSTER_AUDIENCE = "https://kubernetes.default.svc.cluster.local"
DISCOVERY, KEYS = "/.well-known/openid-configuration", "/openid/v1/jwks"
# Of the control plane; nothing in a pod's reach has it.
KEYS_AT = f"https://10.210.0.1:6443{KEYS}"
ELSEWHERE, ELSEWHERE_V4 = "elsewhere.example.net", "203.0.113.30"

DOUBT = "nobody proves who the pod is: governed requests are refused"
# One attempt after one, three, and seven seconds: more in so short a time would be a loop.
MOST_ATTEMPTS: Final = 4
# Fewer would not be many at the same time, and more make two processors slower than one by one.
AT_ONCE: Final = 4
# Twice what a call may take.
SLOW_SECONDS: Final = 20.0


class Cluster:
    """The API server with its files in the pod: `token` for it, and `ca.crt`."""

    def __init__(self, pod: SidecarPod) -> None:
        self.pod = pod
        self.token_file, self.ca_file = pod.private / "cluster-token", pod.private / "cluster-ca.crt"
        self.token = pod.new_token(CLUSTER_AUDIENCE)
        self.refused = 0
        pod.resolve(CLUSTER, to=[PROVIDERS])
        context = tls_context(*pod.upstream_certificate(CLUSTER))
        self.server = Upstream(context, ns=pod.network.net, addresses=[PROVIDERS])
        self.mend()

    def mend(self) -> None:
        """Everything as it should be."""
        self.token_file.write_bytes(self.token)
        self.ca_file.write_bytes(self.pod.authority.file.read_bytes())
        self.server.routes = {
            DISCOVERY: self.only_for_us(self.document()),
            KEYS: self.keys(jwks(self.pod.issuer)),
        }

    def document(self, **changes: str) -> Handler:
        found = {
            "issuer": self.pod.issuer.issuer,
            "jwks_uri": KEYS_AT,
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        }
        return as_json(json.dumps({**found, **changes}).encode())

    def keys(self, data: bytes) -> Handler:
        return self.only_for_us(as_json(data))

    def only_for_us(self, handler: Handler) -> Handler:
        def handle(request: Request) -> None:
            if request.header("authorization") != [f"Bearer {self.token.decode()}"]:
                self.refused += 1
                handler_of_refusal(request)
            else:
                handler(request)

        return handle

    @property
    def attempts(self) -> int:
        return sum(request.path == DISCOVERY for request in self.server.requests)

    def settings(self) -> dict[str, Any]:
        return {
            "jwks_file": "",
            "issuer": "",
            "discovery_url": f"https://{CLUSTER}",
            "discovery_ca_file": str(self.ca_file),
            "discovery_token_file": str(self.token_file),
        }


def as_json(data: bytes) -> Handler:
    return answering(200, data, ("content-type", "application/json"))


handler_of_refusal = answering(
    401, b'{"kind": "Status", "status": "Failure", "reason": "Unauthorized", "code": 401}'
)


def dripping(request: Request) -> None:
    """A key set that never comes to its end."""
    request.read()
    request.start(200, ("content-type", "application/json"))
    request.send(b'{"keys": [')
    while not request.connection.ended.wait(0.2):
        request.send(b" ")


# --- what goes wrong -------------------------------------------------------------------------------------


def empty(cluster: Cluster) -> None:
    cluster.server.routes[KEYS] = cluster.keys(b"")


def huge(cluster: Cluster) -> None:
    cluster.server.routes[KEYS] = cluster.keys(b'{"keys": [' + b" " * 2 * 1024 * 1024 + b"]}")


def slow(cluster: Cluster) -> None:
    cluster.server.routes[KEYS] = cluster.only_for_us(dripping)


def redirecting(cluster: Cluster) -> None:
    location = ("location", f"https://{ELSEWHERE}{KEYS}")
    cluster.server.routes[KEYS] = cluster.only_for_us(answering(302, b"", location))


def plain_http(cluster: Cluster) -> None:
    document = cluster.document(jwks_uri=KEYS_AT.replace("https:", "http:"))
    cluster.server.routes[DISCOVERY] = cluster.only_for_us(document)


def untrusted(cluster: Cluster) -> None:
    stranger = UpstreamAuthority(cluster.pod.folder / "stranger")
    cluster.ca_file.write_bytes(stranger.file.read_bytes())


def unauthorized(cluster: Cluster) -> None:
    cluster.token_file.write_bytes(cluster.pod.new_token(IDENTITY_AUDIENCE))


def other_issuer(cluster: Cluster) -> None:
    cluster.server.routes[DISCOVERY] = cluster.only_for_us(cluster.document(issuer="https://b.example.com"))


def no_json(cluster: Cluster) -> None:
    cluster.server.routes[KEYS] = cluster.keys(b"<html>Welcome to nginx!</html>")


@dataclass(frozen=True)
class Case:
    """What is broken for how long at least, what is said of it, and more settings of the sidecar."""

    broken: Callable[[Cluster], None]
    said: str
    seconds: float = 0.0
    settings: Mapping[str, str] = field(default_factory=dict)


CASES: Final[dict[str, Case]] = {
    case.broken.__name__: case
    for case in (
        # First, for it takes longest.
        Case(slow, f"{CLUSTER} did not answer within 10 s"),
        Case(empty, "the key set is empty"),
        Case(huge, f"the answer of {CLUSTER} is larger than "),
        Case(redirecting, f"{CLUSTER} answered with a redirect, which podkey does not follow"),
        Case(plain_http, f"`http://10.210.0.1:6443{KEYS}`, which is no https URL"),
        Case(untrusted, f"{CLUSTER} showed a certificate that is not trusted"),
        # Long enough for a loop to show.
        Case(unauthorized, f"https://{CLUSTER}{DISCOVERY} answered 401: the token is not for", seconds=2.5),
        Case(
            other_issuer,
            f"the issuer is https://b.example.com, and {CLUSTER_AUDIENCE} was expected",
            settings={"issuer": CLUSTER_AUDIENCE},
        ),
        Case(no_json, "the key set is not JSON"),
    )
}


@dataclass
class Seen:
    """What became of one case."""

    # From the first look to when it could be seen.
    missing: dict[str, str]
    refusal: Answer
    relayed: int
    alive: bool
    attempts: int
    connections: int
    seconds: float
    elsewhere: int
    credentials_sent: int
    # After the server was mended.
    ready_after: float
    answer: Answer
    faults: list[str]


def observe(case: Case, canary: Canary) -> Seen:
    with sidecar_pod(canary, internet=[PROVIDERS, ELSEWHERE_V4]) as pod, ExitStack() as stack:
        cluster = Cluster(pod)
        pod.resolve(ELSEWHERE, to=[ELSEWHERE_V4])
        elsewhere = Upstream(
            tls_context(*pod.upstream_certificate(ELSEWHERE)), ns=pod.network.net, addresses=[ELSEWHERE_V4]
        )
        upstream = stack.enter_context(upstream_for(pod, API, FILES))
        stack.enter_context(cluster.server)
        stack.enter_context(elsewhere)
        case.broken(cluster)
        settings = {**cluster.settings(), **case.settings}
        sidecar = pod.start_sidecar(
            policy({"service": "openai", "paths": [MODELS]}),
            secret(canary.secret("openai key")),
            capture="explicit",  # of the ways in, the one that costs no other process
            ready=False,
            **settings,
        )
        sidecar.wait_log("listening", 20)
        began = time.monotonic()
        # Nothing that is not governed waits for the cluster.
        relayed = get(pod, FILES, "/x", pod.authority.file).status
        (line,) = sidecar.wait_log(
            "nobody proves who the pod is: governed requests are refused", SLOW_SECONDS
        )
        (refusal,) = wait_for(lambda: refused_because(pod, line["why"]), "the refusal")
        missing = missing_of(pod)
        time.sleep(max(0.0, began + case.seconds - time.monotonic()))
        attempts, connections = cluster.attempts, len(cluster.server.connections)
        seconds = time.monotonic() - began
        sent = sum(
            bool(request.header("authorization")) for request in upstream.requests if request.path == MODELS
        )

        cluster.mend()
        mended = time.monotonic()
        pod.wait_ready()
        ready_after = time.monotonic() - mended
        answer = get(pod, API, MODELS, pod.ca)
        crashes = [one["event"] for one in sidecar.log_lines() if one["event"] == "unexpected error"]
        return Seen(
            missing,
            refusal,
            relayed,
            sidecar.process.poll() is None,
            attempts,
            connections,
            seconds,
            len(elsewhere.connections),
            sent,
            ready_after,
            answer,
            crashes,
        )


def get(pod: SidecarPod, host: str, path: str, ca: Path) -> Answer:
    """Through the sidecar, with whoever has that authority."""
    with pod.dial("127.0.0.1", EXPLICIT_PORT) as plain:
        plain.sendall(f"CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n".encode())
        assert plain.recv(1000).startswith(b"HTTP/1.1 200 ")
        context = ssl.create_default_context(cafile=ca)
        with context.wrap_socket(plain, server_hostname=host) as sock:
            return ask(sock, f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())


def refused_because(pod: SidecarPod, why: str) -> list[Answer]:
    answer = get(pod, API, MODELS, pod.ca)
    return [answer] if why in message_of(answer) else []


def message_of(answer: Answer) -> str:
    return str(json.loads(answer.body)["error"]["message"])


def missing_of(pod: SidecarPod) -> dict[str, str]:
    status, body = pod.sidecar.get("/readyz")
    assert status == 503
    return {one["condition"]: one["reason"] for one in json.loads(body)["missing"]}


@pytest.fixture(scope="module")
def seen() -> Iterator[Mapping[str, Future[Seen]]]:
    if MISSING:
        pytest.skip(MISSING)
    with shared_canary() as canary, ThreadPoolExecutor(AT_ONCE) as pool:
        yield {name: pool.submit(observe, case, canary) for name, case in CASES.items()}


@pytest.mark.parametrize("name", [*reversed(CASES)])
def test_keys_that_cannot_be_had_are_told_refuse_what_is_governed_and_are_asked_for_again(
    seen: Mapping[str, Future[Seen]], name: str
) -> None:
    found, case = seen[name].result(timeout=90), CASES[name]

    assert list(found.missing) == ["identity"]
    assert case.said in found.missing["identity"]
    assert (found.refusal.status, found.refusal.reason) == (403, "identity_unverified")
    assert case.said in message_of(found.refusal)
    assert found.relayed == 200
    assert (found.alive, found.faults) == (True, [])
    assert found.attempts <= MOST_ATTEMPTS
    assert 1 <= found.connections <= 2 * MOST_ATTEMPTS  # one for the document, one for the keys
    assert (found.elsewhere, found.credentials_sent) == (0, 0)
    # Without a restart.
    assert (found.answer.status, found.answer.reason) == (200, None)
    told = f"{found.connections} connections in {found.seconds:.1f} s, ready {found.ready_after:.1f} s later"
    print(told)  # noqa: T201 - for `pytest -rP`


def test_keys_come_from_the_server_that_the_token_is_for_wherever_it_says_they_are(canary: Canary) -> None:
    if MISSING:
        pytest.skip(MISSING)
    with sidecar_pod(canary, internet=[PROVIDERS]) as pod:
        cluster = Cluster(pod)
        with upstream_for(pod, API) as upstream, cluster.server as server:
            sidecar = pod.start_sidecar(
                policy({"service": "openai", "paths": [MODELS]}),
                secret(canary.secret("openai key")),
                **cluster.settings(),
            )
            canary.remember(cluster.token.decode(), "the token for the API server")
            assert fetch(pod, API, MODELS).status == 200

            assert len(upstream.requests) == 1
            assert [request.target for request in server.requests] == [DISCOVERY, KEYS]
            assert cluster.refused == 0
            (record,) = sidecar.wait_audit(1)
            assert (record["issuer"], record["keyId"]) == (pod.issuer.issuer, pod.issuer.key_id)
            assert sidecar.wait_log("the issuer's keys")[0]["keys"] == [pod.issuer.key_id]


def test_it_can_be_ended_while_the_issuer_is_slow(canary: Canary) -> None:
    if MISSING:
        pytest.skip(MISSING)
    with sidecar_pod(canary, internet=[PROVIDERS]) as pod:
        cluster = Cluster(pod)
        slow(cluster)
        with cluster.server as server:
            sidecar = pod.start_sidecar("", capture="explicit", ready=False, **cluster.settings())
            server.wait_until(lambda: any(request.path == KEYS for request in server.requests))

            sidecar.terminate()

            assert sidecar.wait(5) == 0
