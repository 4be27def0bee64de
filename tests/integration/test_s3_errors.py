"""What S3 answers that is no object: redirects, clocks that differ, haste; and what SDKs make of it."""

from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.netns import MISSING as NO_NETNS
from tests.raw_client import Answer, ask
from tests.s3_signer import Mode, Upload
from tests.s3_world import EU, REGION, S3World, s3_grant, s3_world
from tests.sidecar_pod import wait_for
from tests.swift_server import MISSING as NO_SWIFT
from tests.swift_server import Front

# The name without a region leads to whichever region a bucket is in; here that is this one.
GLOBAL: Final = "s3.amazonaws.com"
HERE: Final = Front(EU, region=REGION, more_names=(GLOBAL,))
THERE: Final = Front("s3.eu-central-1.amazonaws.com", region="eu-central-1", address="203.0.113.20")
# Their clocks are not the machine's. Each test asks for a bucket of its own, whose host is not known yet.
AHEAD: Final = Front("s3.eu-north-1.amazonaws.com", region="eu-north-1", address="203.0.113.21", clock=3600)
BEHIND: Final = Front("s3.eu-west-3.amazonaws.com", region="eu-west-3", address="203.0.113.22", clock=-3600)
FRONTS: Final = (HERE, THERE, AHEAD, BEHIND)
BUCKETS: Final = ("acme", "raw", "sdk")

GET: Final = """
import sys
import boto3
s3 = boto3.client("s3", region_name=sys.argv[1])
print(s3.get_object(Bucket="acme", Key="train/a")["Body"].read().decode())
"""
PUT: Final = """
import sys
import boto3
s3 = boto3.client("s3", region_name=sys.argv[1])
s3.put_object(Bucket="sdk", Key="train/put", Body=b"x" * 1_000_000)
"""


@pytest.fixture(scope="module")
def shared() -> Iterator[S3World]:
    if NO_NETNS or NO_SWIFT:
        pytest.skip(NO_NETNS or NO_SWIFT)
    grants = [s3_grant(*BUCKETS, prefixes=["train/"])]
    with s3_world(grants, fronts=FRONTS, buckets=[*BUCKETS, "secret"], session=True) as world:
        world.store.put("acme", "train/a", b"here")
        yield world
        world.check_health()


@pytest.fixture
def world(shared: S3World) -> S3World:
    shared.settle()
    return shared


def came(world: S3World, before: int) -> list[dict[str, Any]]:
    """What the sidecar asked since then."""
    return [one for one in world.store.requests()[before:] if one["key"] == world.keys.access_key_id]


def statuses(world: S3World, before: int) -> list[int]:
    return [one["status"] for one in came(world, before)]


def send(world: S3World, front: Front, one: Upload, bucket: str = "acme") -> Answer:
    with world.connect(f"{bucket}.{front.name}", address=front.address) as sock:
        return ask(sock, one.head + one.body, one.method)


def get(world: S3World, front: Front, key: str = "train/a", bucket: str = "acme") -> Answer:
    headers = world.signer(front.region).signed("GET", f"{bucket}.{front.name}", f"/{key}")
    return send(world, front, Upload("GET", f"/{key}", tuple(headers.items()), b""), bucket)


def put(world: S3World, front: Front, bucket: str, key: str, data: bytes) -> Answer:
    host = f"{bucket}.{front.name}"
    one = world.signer(front.region).upload("PUT", host, f"/{key}", data, Mode.UNSIGNED_TRAILER)
    return send(world, front, one, bucket)


# --- redirects -----------------------------------------------------------------------------------------


def test_boto3_follows_a_bucket_to_its_region(world: S3World) -> None:
    headers = {"x-amz-bucket-region": THERE.region}
    world.store.tell("PermanentRedirect", "train/a", method="GET", front=HERE.name, headers=headers)
    before = len(world.store.requests())

    done = world.pod.run_app(GET, HERE.region)

    assert (done.returncode, done.stdout) == (0, "here\n"), done.stderr
    asked = [(one["front"], one["status"]) for one in came(world, before)]
    assert (asked[0], asked[-1]) == ((HERE.name, 301), (THERE.name, 200))
    # Signed for the region of each.
    proof = dict(came(world, before)[-1]["headers"])["authorization"]
    assert f"/{THERE.region}/s3/aws4_request" in proof


def test_a_temporary_redirect_is_the_sdk_s_to_follow_and_ours_to_judge(world: S3World) -> None:
    place = f"https://secret.{THERE.name}/train/a"
    world.store.tell("TemporaryRedirect", "train/a", front=HERE.name, headers={"Location": place})
    before = len(world.store.requests())

    answer = get(world, HERE)

    assert (answer.status, answer.header("location")) == (307, place)
    assert statuses(world, before) == [307]
    # The bucket that it leads to is not granted.
    assert get(world, THERE, bucket="secret").status == 403
    assert statuses(world, before) == [307]


def test_the_region_of_a_bucket_is_learnt_where_its_host_names_none(world: S3World) -> None:
    """Nobody has signed it: nothing says a region but the store's own refusal of another one."""
    one = Upload("GET", "/train/a", (("host", f"acme.{GLOBAL}"),), b"")
    before = len(world.store.requests())

    with world.connect(f"acme.{GLOBAL}") as sock:
        first, second = ask(sock, one.head), ask(sock, one.head)

    assert [first.body, second.body] == [b"here", b"here"]
    assert statuses(world, before) == [400, 200, 200]


# --- clocks --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("front", [AHEAD, BEHIND], ids=["ahead", "behind"])
def test_a_clock_that_differs_is_learnt_at_the_first_request(world: S3World, front: Front) -> None:
    before = len(world.store.requests())

    first, second = get(world, front), get(world, front)

    assert [first.status, second.status] == [200, 200]
    # One request was refused for its time, and sent once more; the next one knew.
    assert statuses(world, before) == [403, 200, 200]


def test_a_small_body_is_sent_once_more_and_a_large_one_is_the_sdk_s(world: S3World) -> None:
    before = len(world.store.requests())

    large = put(world, AHEAD, "raw", "train/large", bytes(1_000_000))
    small = put(world, AHEAD, "raw", "train/small", b"small")

    # What had gone by could not be sent again; the clock was learnt all the same.
    assert (large.status, small.status) == (403, 200)
    assert b"RequestTimeTooSkewed" in large.body
    assert statuses(world, before) == [403, 200]
    assert world.store.get("raw", "train/large") is None
    assert world.store.get("raw", "train/small") == b"small"


def test_boto3_gets_its_large_body_through_in_spite_of_the_clock(world: S3World) -> None:
    done = world.pod.run_app(PUT, AHEAD.region)

    assert done.returncode == 0, done.stderr
    assert world.store.get("sdk", "train/put") == b"x" * 1_000_000


# --- haste, and other faults of S3's own ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "status"), [("SlowDown", 503), ("InternalError", 500), ("RequestTimeout", 400)]
)
def test_a_fault_of_s3_reaches_the_sdk_in_its_own_words(world: S3World, code: str, status: int) -> None:
    world.store.tell(code, "train/a", front=HERE.name)
    before = len(world.store.requests())

    answer = get(world, HERE)

    assert (answer.status, answer.reason) == (status, None)
    assert f"<Code>{code}</Code>".encode() in answer.body
    # Whether to ask again is the SDK's to know.
    assert statuses(world, before) == [status]


def test_boto3_slows_down_and_succeeds(world: S3World) -> None:
    world.store.tell("SlowDown", "train/a", front=HERE.name, times=2)
    before = len(world.store.requests())

    done = world.pod.run_app(GET, HERE.region)

    assert (done.returncode, done.stdout) == (0, "here\n"), done.stderr
    assert statuses(world, before) == [503, 503, 200]


def test_keys_that_s3_calls_expired_are_not_hidden_and_not_for_ever(world: S3World) -> None:
    new = world.new_keys()
    world.store.expire(world.keys)
    seen = get(world, HERE)
    world.rotate(new)

    assert (seen.status, b"<Code>ExpiredToken</Code>" in seen.body) == (400, True)
    wait_for(lambda: get(world, HERE).status == 200, "the new keys to be used")
    assert world.store.requests()[-1]["key"] == new.access_key_id
