"""A small world for tests of the transaction: a pod, its policies and leases, and heads as they are sent."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Final

from proxy.attach.bodies import BodyFault
from proxy.core.arrival import Arrival, LaneName
from proxy.core.credentials import CredentialRef
from proxy.core.hosts import Hostname
from proxy.core.identity import WorkloadIdentity
from proxy.core.lease import Lease, LeaseReply
from proxy.core.parts import Part
from proxy.core.secret import Secret
from proxy.core.settings import Capture
from proxy.core.structs import replace
from proxy.transaction.engine import open_request
from proxy.transaction.head import Head, HeadProblem, HttpVersion
from proxy.transaction.opening import Forward, Opening, Refused
from proxy.transaction.pod import PodState
from proxy.transaction.slots import Placeholders
from proxy.transaction.steps import Want, WantBody, WantLease
from tests.judge_world import CATALOGUE, NOON, PROOF, credential, index_of, policy

# --- policies ----------------------------------------------------------------------------------------

_QUERY_SOURCE: Final = """---
apiVersion: podkey.io/v1alpha1
kind: CredentialSource
metadata: {name: q, namespace: ml}
spec: {mountedSecret: {secretName: q, key: k}, attach: {query: {name: Key}}}
"""
DOCUMENTS: Final = (
    policy(
        "{hosts: [api.example.com], methods: [GET, POST, HEAD], paths: [/v1/**], credential: a}",
        "{hosts: [key.example.com], credential: b}",
        "{hosts: [query.example.com], credential: q}",
        "{hosts: [ported.example.com], ports: [8443], credential: a}",
        "{hosts: [strict.example.com], credential: a, onForeignCredential: refuse}",
        "{service: anthropic, credential: plain}",
        "{service: openai, credential: plain}",
        "{service: huggingface, credential: plain}",
        "{service: wandb, credential: plain}",
        "{service: s3, buckets: [data], access: [read], credential: aws}",
        "{service: s3, buckets: [owned], access: [read], expectedBucketOwner: '111122223333',"
        " credential: aws}",
        "{service: s3, buckets: [shared], access: [read], credential: aws}",
    )
    + policy("{hosts: [watched.example.com], methods: [GET], credential: a}", name="watching", mode="observe")
    + _QUERY_SOURCE
)
POLICIES: Final = index_of(DOCUMENTS, CATALOGUE)

WHO: Final = WorkloadIdentity("ml", "trainer", "c1", "train-0", "0f3d", "gpu-7", {"team": "vision"})
# What the pod was given in place of a credential.
PLACEHOLDER: Final = "podkey-placeholder-0123456789"
POD: Final = PodState(POLICIES, WHO, Placeholders(frozenset({PLACEHOLDER})), PROOF)

# --- leases ------------------------------------------------------------------------------------------

# Made when the tests run: nothing in a tracked file looks like a live secret.
CANARY: Final = sha256(b"podkey's canary").hexdigest()[:40]


def lease_of(ref: CredentialRef, value: str = CANARY) -> Lease:
    parts = {part: Secret(value.encode()) for part in Part}
    return Lease(f"lease-of-{ref.name}", ref, parts, NOON)


# --- connections and heads ---------------------------------------------------------------------------

API: Final = Arrival(
    Hostname("api.example.com"), 443, Capture.TRANSPARENT, LaneName.MITMPROXY, "203.0.113.7:443"
)
TOKEN: Final = "/podkey-" + "0af1" * 8
# A loopback endpoint for the same host.
ENDPOINT: Final = replace(API, capture=Capture.ENDPOINT, path_prefix=TOKEN)


def to(host: str, port: int = 443) -> Arrival:
    return replace(API, name=Hostname(host), port=port, upstream=f"203.0.113.7:{port}")


def head(
    target: str = "/v1/models",
    *fields: tuple[str, str],
    method: str = "GET",
    host: str = "api.example.com",
    version: HttpVersion = HttpVersion.HTTP1,
    has_body: bool = False,
) -> Head:
    return Head(method, target, host, fields, version, has_body)


WEBSOCKET: Final = (
    ("Connection", "keep-alive, Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="),
    ("Sec-WebSocket-Version", "13"),
)


# --- driving -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Driven:
    """How a request opened, and what it asked for on the way, in that order."""

    opening: Opening
    wants: tuple[Want, ...] = ()

    @property
    def wanted(self) -> CredentialRef | None:
        return self.lease.credential if self.lease is not None else None

    @property
    def lease(self) -> WantLease | None:
        return next((want for want in self.wants if isinstance(want, WantLease)), None)

    @property
    def body(self) -> WantBody | None:
        return next((want for want in self.wants if isinstance(want, WantBody)), None)


def drive(
    what: Head | HeadProblem,
    at: Arrival = API,
    pod: PodState = POD,
    answer: Callable[[CredentialRef], LeaseReply] = lease_of,
    body: bytes | BodyFault = b"",
    *,
    signed_at: datetime | None = None,
    region: str | None = None,
) -> Driven:
    """As a lane does it: the lease and the body come when they are asked for, each of them once."""
    steps = open_request(pod, at, what, NOON, "request-1", signed_at=signed_at, region=region)
    wants: list[Want] = []
    try:
        want = next(steps)
        while True:
            assert type(want) not in {type(other) for other in wants}, f"asked for again: {want}"
            wants.append(want)
            if isinstance(want, WantBody):
                assert isinstance(what, Head)
                assert what.has_body, "there is no body to wait for"
                want = steps.send(body)
            else:
                want = steps.send(answer(want.credential))
    except StopIteration as end:
        return Driven(end.value, tuple(wants))


def forwarded(
    what: Head,
    at: Arrival = API,
    pod: PodState = POD,
    answer: Callable[[CredentialRef], LeaseReply] = lease_of,
    body: bytes | BodyFault = b"",
) -> Forward:
    opening = drive(what, at, pod, answer, body).opening
    assert isinstance(opening, Forward), opening
    return opening


def refused(
    what: Head | HeadProblem,
    at: Arrival = API,
    pod: PodState = POD,
    answer: Callable[[CredentialRef], LeaseReply] = lease_of,
    body: bytes | BodyFault = b"",
) -> Refused:
    opening = drive(what, at, pod, answer, body).opening
    assert isinstance(opening, Refused), opening
    return opening


def text(value: str | Secret) -> str:
    """As it stands on the wire."""
    return value.reveal().decode("latin-1") if isinstance(value, Secret) else value


def wire_fields(forward: Forward) -> list[tuple[str, str]]:
    return [(name, text(value)) for name, value in forward.fields]


def values_of(forward: Forward, *names: str) -> list[str]:
    """What the upstream gets under these names, given in lower case."""
    return [value for name, value in wire_fields(forward) if name.lower() in names]


def every_word(forward: Forward) -> str:
    """All that leaves us."""
    fields: Iterable[str] = (f"{name}: {value}" for name, value in wire_fields(forward))
    return "\n".join((forward.authority, text(forward.target), *fields))


API_CREDENTIAL: Final = credential("a")
