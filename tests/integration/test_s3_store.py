"""A store that speaks S3 and is not Amazon's: its own name, port and region, its own way to name buckets."""

import json
from collections.abc import Iterator
from random import Random
from typing import Final

import pytest

from tests.netns import MISSING as NO_NETNS
from tests.raw_client import Answer, ask
from tests.s3_signer import HMAC_MODES, Mode, Signer, Upload
from tests.s3_world import EU, REGION, S3World, s3_grant, s3_world
from tests.swift_server import MISSING as NO_SWIFT
from tests.swift_server import Front

PATH: Final = Front("store.lab.example", port=9000, region="lab-1")
VIRTUAL: Final = Front("objects.lab.example", port=9001, region="lab-2")
AMAZON: Final = Front(EU, region=REGION)
DATA: Final = Random(9).randbytes(200_000)

BOTO3: Final = """
import json, sys
import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

url, region, style = sys.argv[1:]
config = Config(s3={"addressing_style": style}, region_name=region)
s3 = boto3.client("s3", endpoint_url=url, config=config)
s3.put_object(Bucket="models", Key="llama/new", Body=b"written by boto3")
told = {"read": s3.get_object(Bucket="models", Key="llama/given")["Body"].read().decode()}
told["listed"] = [one["Key"] for one in s3.list_objects_v2(Bucket="models", Prefix="llama/")["Contents"]]
try:
    s3.get_object(Bucket="models", Key="private/given")
except ClientError as error:
    told["refused"] = str(error)
try:
    s3.get_object(Bucket="others", Key="llama/given")
except ClientError as error:
    told["another bucket"] = str(error)
print(json.dumps(told))
"""


def grant(front: Front, addressing: str) -> dict[str, object]:
    place = {"endpoint": front.host, "region": front.region, "addressing": addressing}
    return s3_grant("models", prefixes=["llama/"], **place)


@pytest.fixture(scope="module")
def shared() -> Iterator[S3World]:
    if NO_NETNS or NO_SWIFT:
        pytest.skip(NO_NETNS or NO_SWIFT)
    with s3_world(
        [grant(PATH, "path"), grant(VIRTUAL, "virtual")],
        fronts=[PATH, VIRTUAL, AMAZON],
        buckets=["models", "others"],
    ) as world:
        for bucket in ("models", "others"):
            for key in ("llama/given", "private/given"):
                world.store.put(bucket, key, f"{bucket}/{key}".encode())
        yield world
        world.check_health()


@pytest.fixture
def world(shared: S3World) -> S3World:
    shared.settle()
    return shared


def send(world: S3World, front: Front, host: str, one: Upload) -> Answer:
    with world.connect(host, front.port) as sock:
        return ask(sock, one.head + one.body, one.method)


@pytest.mark.parametrize(("front", "style"), [(PATH, "path"), (VIRTUAL, "virtual")], ids=["path", "virtual"])
def test_boto3_works_with_such_a_store(world: S3World, front: Front, style: str) -> None:
    done = world.pod.run_app(BOTO3, f"https://{front.host}", "us-east-1", style)

    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["read"] == "models/llama/given"
    assert told["listed"] == ["llama/given", "llama/new"]
    for name in ("refused", "another bucket"):
        assert "(AccessDenied)" in told[name]
        assert "podkey refused GET https://" in told[name]
    assert world.store.get("models", "llama/new") == b"written by boto3"
    # The region that boto3 was told was wrong: the grant's is the one that this store signs for.
    ours = [one for one in world.store.requests() if one["key"] == world.keys.access_key_id]
    proofs = [dict(one["headers"])["authorization"] for one in ours if one["front"] == front.name]
    assert proofs
    assert all(f"/{front.region}/s3/aws4_request" in proof for proof in proofs)


@pytest.mark.parametrize("mode", HMAC_MODES)
@pytest.mark.parametrize("front", [PATH, VIRTUAL], ids=["path", "virtual"])
def test_each_way_to_send_a_body_is_signed_for_its_region(world: S3World, front: Front, mode: Mode) -> None:
    host = front.host if front is PATH else f"models.{front.host}"
    key = f"llama/{mode.name}-{front.region}"
    target = f"/models/{key}" if front is PATH else f"/{key}"
    one = world.signer(front.region).upload("PUT", host, target, DATA, mode)

    answer = send(world, front, host.partition(":")[0], one)

    assert answer.status == 200, answer.body
    assert world.store.get("models", key) == DATA


def test_the_host_header_is_signed_with_its_port(world: S3World) -> None:
    one = world.signer().upload("PUT", PATH.host, "/models/llama/port", b"x", Mode.UNSIGNED)

    assert send(world, PATH, PATH.name, one).status == 200
    assert dict(world.store.requests()[-1]["headers"])["host"] == "store.lab.example:9000"


@pytest.mark.parametrize(
    ("front", "host", "target"),
    [
        (PATH, PATH.host, "/models/private/given"),
        (PATH, PATH.host, "/others/llama/given"),
        (PATH, PATH.host, "/"),
        (PATH, PATH.host, "/models?list-type=2"),
        (VIRTUAL, f"others.{VIRTUAL.host}", "/llama/given"),
        (VIRTUAL, f"models.{VIRTUAL.host}", "/private/given"),
    ],
)
def test_what_is_not_granted_there_never_leaves_the_pod(
    world: S3World, front: Front, host: str, target: str
) -> None:
    before = len(world.store.requests())
    headers = world.signer().signed("GET", host, target)

    answer = send(world, front, host.partition(":")[0], Upload("GET", target, tuple(headers.items()), b""))

    assert answer.status == 403
    assert world.store.requests()[before:] == []


def test_a_grant_for_a_store_gives_nothing_at_amazon(world: S3World) -> None:
    """The same bucket, the same key, another endpoint: it is nobody's credential there."""
    before = len(world.store.requests())
    headers = Signer(world.placeholder, REGION).signed("GET", f"models.{EU}", "/llama/given")
    one = Upload("GET", "/llama/given", tuple(headers.items()), b"")

    send(world, AMAZON, f"models.{EU}", one)

    assert all(one["key"] != world.keys.access_key_id for one in world.store.requests()[before:])
