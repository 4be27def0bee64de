"""Another path is granted the same, or it is judged by itself."""

from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from proxy.core.hosts import Hostname
from proxy.core.lease import Lease
from proxy.core.parts import Part
from proxy.core.secret import Secret
from proxy.core.structs import replace
from proxy.lanes.exchange import Exchange
from proxy.transaction.opening import Forward
from proxy.transaction.pod import PodState
from tests.judge_world import policy
from tests.lane_world import HOST, NOON, World, arrival_of, get, live_lease, pod_of

S3: Final = Hostname("s3.eu-central-1.amazonaws.com")
POD: Final = pod_of(
    policy(
        "{hosts: [api.example.com], methods: [GET], paths: [/v1/**, /v2/*], credential: a}",
        "{hosts: [api.example.com], paths: [/v3/**], credential: b}",
    )
    + policy(
        "{service: s3, buckets: [data], prefixes: [in/], access: [read, list], credential: aws}", name="q"
    )
)


def lease_of(ref: object) -> Lease:
    lease = live_lease(ref)  # type: ignore[arg-type]
    me = Secret(b"me")
    more = {Part.ACCESS_KEY_ID: me, Part.SECRET_ACCESS_KEY: Secret(b"k" * 40)}
    return replace(lease, parts={**lease.parts, **more})


def opened(target: str, host: str = HOST, pod: PodState = POD, prefix: str = "") -> Exchange:
    world = World(pod=pod)
    world.leases.reply = lease_of
    arrival = replace(arrival_of(host), path_prefix=prefix)
    exchange = Exchange(world.lane_world, arrival, get(target, host=host))
    assert exchange.open_now()
    return exchange


def elsewhere(first: Exchange, path: str, pod: PodState = POD) -> Forward | None:
    familiar = first.as_familiar()
    assert familiar is not None
    lease = lease_of(familiar.key.ref)
    return familiar.again.elsewhere(pod, path, lease, NOON, NOON)


PIECES: Final = (
    "/",
    "v1",
    "v2",
    "v3",
    "data",
    "in",
    "out",
    "x",
    "..",
    ".",
    "%2e",
    "%2F",
    "*",
    "~",
    "-",
    ";a",
)


@given(
    st.sampled_from([("/v1/x", HOST), ("/v2/x", HOST), ("/v3/x", HOST), ("/data/in/x", S3)]),
    st.lists(st.sampled_from(PIECES), max_size=6).map(lambda it: "/" + "".join(it)),
)
def test_what_is_opened_elsewhere_is_what_is_judged_there(first: tuple[str, str], path: str) -> None:
    target, host = first
    one = opened(target, host)
    found, judged = elsewhere(one, path), opened(path, host)
    if found is None:
        return
    other = judged.opening
    assert isinstance(other, Forward)
    nothing = {"record": None, "again": None}
    assert replace(found, **nothing) == replace(other, **nothing)  # type: ignore[arg-type]
    assert found.again is None
    own = {"request_id": "", "time": NOON}
    assert replace(one.record.elsewhere(path), **own) == replace(other.record, **own)  # type: ignore[arg-type]


def test_what_is_granted_alike_is_opened() -> None:
    assert elsewhere(opened("/v1/x"), "/v1/y/z") is not None
    assert elsewhere(opened("/v1/x"), "/v2/y") is not None
    found = elsewhere(opened("/data/in/x", S3), "/data/in/y")
    assert found is not None
    assert found.target == "/data/in/y"


def test_what_is_not_is_judged_by_itself() -> None:
    for path in ("/v3/x", "/v4", "/v2/a/b", "/v1/../v1/x", "/v1/%41", "/v1/a%2Fb", "/v1\\x", "/v1/x?a=b"):
        assert elsewhere(opened("/v1/x"), path) is None
    assert elsewhere(opened("/v1/x?a=b"), "/v1/y") is None
    assert elsewhere(opened("/token/v1/x", prefix="/token"), "/v1/y") is None
    for path in ("/data/out/y", "/data", "/other/in/x"):
        assert elsewhere(opened("/data/in/x", S3), path) is None


def test_another_operation_is_another_record() -> None:
    pod = pod_of(policy("{service: s3, buckets: [data], access: [read, list], credential: aws}"))
    assert elsewhere(opened("/data/x", S3, pod), "/data", pod) is None
    assert elsewhere(opened("/data/x", S3, pod), "/data/y", pod) is not None


def test_a_credential_that_cannot_be_used_is_not() -> None:
    for target, host in (("/v1/x", HOST), ("/data/in/x", S3)):
        familiar = opened(target, host).as_familiar()
        assert familiar is not None
        lease = replace(lease_of(familiar.key.ref), parts={})
        assert familiar.again.elsewhere(POD, target, lease, NOON, NOON) is None


def test_with_a_lease_that_was_used_before_it_is_what_that_made() -> None:
    first = opened("/v1/x")
    familiar = first.as_familiar()
    assert familiar is not None
    lease = lease_of(familiar.key.ref)
    ways = [familiar.again.elsewhere(POD, path, lease, NOON, NOON) for path in ("/v1/y", "/v1/z")]
    assert [one.target for one in ways if one is not None] == ["/v1/y", "/v1/z"]
    assert None not in ways
    assert ways[0] == replace(ways[1], target="/v1/y")  # type: ignore[type-var]
