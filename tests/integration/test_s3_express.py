"""Directory buckets with boto3's defaults: whoever opens sessions there, it is never the application."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

import pytest

from proxy.sources.steps import HttpReply
from tests.canary import shared_canary
from tests.netns import requires_netns
from tests.pod_world import Answer, fetch
from tests.s3_signer import Keys as S3Keys
from tests.s3_world import remember, s3_documents, s3_grant, secret_files
from tests.sidecar_pod import SidecarPod, sidecar_pod, wait_for
from tests.source_world import Request as Whole
from tests.stand_ins.aws_directory_bucket import DirectoryBuckets, Touched
from tests.stand_ins.aws_express import Express
from tests.stand_ins.aws_server import AwsServer
from tests.stand_ins.aws_signatures import Keys

pytestmark = requires_netns

REGION, ZONE = "us-west-2", "usw2-az1"
TRAIN, BRIEF, OTHER = (f"{name}--{ZONE}--x-s3" for name in ("train", "brief", "other"))
BOTH: Final = ("ReadOnly", "ReadWrite")
DATA: Final = b"weights" * 40_000

# What boto3 got for its own CreateSession is printed, too: that is all an application ever has.
OBJECTS: Final = """
import json, sys, boto3
bucket, seen = sys.argv[1], []
s3 = boto3.client("s3", region_name="us-west-2")
s3.meta.events.register("after-call.s3.CreateSession", lambda parsed, **_: seen.append(parsed["Credentials"]))
data = b"weights" * 40_000
s3.put_object(Bucket=bucket, Key="run 1/a", Body=data)
got = s3.get_object(Bucket=bucket, Key="run 1/a")["Body"].read()
size = s3.head_object(Bucket=bucket, Key="run 1/a")["ContentLength"]
s3.copy_object(Bucket=bucket, Key="run 1/b", CopySource={"Bucket": bucket, "Key": "run 1/a"})
listed = [one["Key"] for one in s3.list_objects_v2(Bucket=bucket, Prefix="run 1/")["Contents"]]
s3.delete_object(Bucket=bucket, Key="run 1/a")
print(json.dumps([got == data, size == len(data), listed, seen], default=str))
"""
REFUSED: Final = """
import sys, boto3
from botocore.exceptions import ClientError
try:
    boto3.client("s3", region_name="us-west-2").get_object(Bucket=sys.argv[1], Key="a")
except ClientError as error:
    print(error.response["Error"]["Code"], error)
"""


def host(bucket: str) -> str:
    return f"{bucket}.s3express-{ZONE}.{REGION}.amazonaws.com"


class World:
    def __init__(self, pod: SidecarPod, store: DirectoryBuckets, server: AwsServer, keys: S3Keys) -> None:
        self.pod, self.store, self.server, self.keys = pod, store, server, keys

    @property
    def policy(self) -> str:
        grant = s3_grant(TRAIN, BRIEF, access=["read", "write", "list", "delete"])
        return s3_documents(grant, session=True)

    def get(self, bucket: str, key: str) -> Answer:
        """By somebody who signs nothing."""
        return fetch(self.pod, host(bucket), f"/{key}")

    def modes(self, bucket: str) -> list[str]:
        return [one.mode for one in self.store.sessions.sessions if one.bucket == bucket]

    def touched(self, bucket: str) -> list[Touched]:
        return [one for one in self.store.touched if one.bucket == bucket]

    @contextmanager
    def withdrawn(self) -> Iterator[None]:
        """The grants stay; where their credential comes from is gone."""
        self.pod.write_policy(self.policy.partition("\n---\n")[0])
        try:
            yield
        finally:
            self.pod.write_policy(self.policy)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with shared_canary() as canary, sidecar_pod(canary) as pod:
        keys = S3Keys("example-caller", canary.secret("secret key"), canary.secret("session token"))
        callers = {keys.access_key_id: Keys(keys.access_key_id, keys.secret_access_key, keys.session_token)}
        buckets = (TRAIN, BRIEF, OTHER)
        sessions = Express(callers, dict.fromkeys(callers, BOTH), buckets, REGION, ZONE)
        store = DirectoryBuckets(sessions)

        def answer(request: Whole) -> HttpReply:
            reply = store.answer(request)
            for session in sessions.sessions:
                remember(canary, S3Keys("", session.keys.secret_access_key, session.keys.session_token))
            return reply

        with AwsServer(pod, dict.fromkeys(map(host, buckets), answer)) as server:
            world = World(pod, store, server, keys)
            pod.start_sidecar(world.policy, {"s3": secret_files(keys)})
            yield world
        assert server.denied == []
        assert pod.sidecar.metric("podkey_fail_open_total") == 0
        assert not [line for line in pod.sidecar.log_lines() if line["event"] == "unexpected error"]


def methods(touched: Sequence[Touched]) -> list[tuple[str, str]]:
    return [(one.method, one.mode) for one in touched]


def test_boto3_works_in_sessions_that_podkey_opens_and_it_never_sees(world: World) -> None:
    before = world.pod.sidecar.audited()

    done = world.pod.run_app(OBJECTS, TRAIN)

    assert done.returncode == 0, done.stderr
    got, size, listed, seen = json.loads(done.stdout)
    assert (got, size, listed) == (True, True, ["run 1/a", "run 1/b"])
    assert world.store.objects == {(TRAIN, "run 1/b"): DATA}
    # A session of each kind, opened by podkey with the pod's keys, for what the requests did.
    assert sorted(world.modes(TRAIN)) == ["ReadOnly", "ReadWrite"]
    assert methods(world.touched(TRAIN)) == [
        ("PUT", "ReadWrite"),
        ("GET", "ReadOnly"),
        ("HEAD", "ReadOnly"),
        ("PUT", ""),
        ("GET", "ReadOnly"),
        ("DELETE", "ReadWrite"),
    ]
    # A copy touches two objects, and is signed with the credential itself.
    [copy] = [one for one in world.touched(TRAIN) if not one.mode]
    assert copy.signer == world.keys.access_key_id
    # What boto3 asked itself was answered by podkey, with nothing but this pod's placeholder.
    assert [one["AccessKeyId"] for one in seen] == [world.pod.placeholders["AWS_ACCESS_KEY_ID"]]
    records = world.pod.sidecar.wait_audit(before + 7)[before:]
    assert [record["action"] for record in records].count("s3:CreateSession") == 1


def test_a_session_is_renewed_before_it_ends(world: World) -> None:
    world.store.objects[BRIEF, "a"] = b"brief"
    world.store.sessions.lasts = timedelta(seconds=6)
    answers = []

    def is_renewed() -> bool:
        answers.append(world.get(BRIEF, "a").status)
        return len({one.signer for one in world.touched(BRIEF)}) > 2

    wait_for(is_renewed, "two more sessions", seconds=20)
    world.store.sessions.lasts = timedelta(minutes=5)

    # One that has ended gets a 400 here, `ExpiredToken`.
    assert set(answers) == {200}
    assert set(world.modes(BRIEF)) == {"ReadOnly"}


def test_a_bucket_that_is_not_granted_is_not_asked_for_a_session(world: World) -> None:
    done = world.pod.run_app(REFUSED, OTHER)

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("AccessDenied ")
    assert "podkey refused GET https://other--usw2-az1--x-s3" in done.stdout
    assert world.server.came_to(host(OTHER)) == []


def test_no_session_outlives_the_source_that_it_was_opened_with(world: World) -> None:
    world.store.objects[TRAIN, "kept"] = b"kept"
    assert world.get(TRAIN, "kept").status == 200

    with world.withdrawn():
        wait_for(lambda: world.get(TRAIN, "kept").status != 200, "the source to be gone", seconds=5)
        touched = len(world.touched(TRAIN))
        refused = world.get(TRAIN, "kept")
        assert refused.headers["podkey-reason"] == "credential_unavailable"
        assert len(world.touched(TRAIN)) == touched

    wait_for(lambda: world.get(TRAIN, "kept").status == 200, "the source to be back", seconds=5)
