"""What a policy lets a program touch in S3, and what a refusal looks like in an SDK."""

import json
from base64 import b64encode
from collections.abc import Iterator, Mapping
from hashlib import md5
from types import MappingProxyType
from typing import Final
from urllib.parse import quote

import pytest

from tests.netns import MISSING as NO_NETNS
from tests.raw_client import Answer, ask, tls
from tests.s3_signer import EMPTY, Keys, Signer, Upload
from tests.s3_world import EU, REGION, S3World, s3_grant, s3_world
from tests.swift_server import MISSING as NO_SWIFT

GRANTS: Final = [
    s3_grant("acme", prefixes=["train/", "runs"]),
    s3_grant("datasets", access=["read", "list"], prefixes=["public/"]),
    s3_grant("shared", access=["read"], foreignPresigned="pass"),
]
BUCKETS: Final = ("acme", "datasets", "shared", "secret")
OBJECTS: Final = {
    "acme": ("train/a", "train/b", "training-secret/a", "private/a", "train", "runs", "runs/1", "runs-old/1"),
    "datasets": ("public/a", "private/a"),
    "shared": ("a",),
    "secret": ("a",),
}

# Each call that must fail, by its name; what it prints is what a person would see.
REFUSED: Final = """
import json, sys
import boto3
from botocore.exceptions import ClientError

s3 = boto3.client("s3")
calls = {
    "get": lambda: s3.get_object(Bucket="acme", Key="private/a"),
    "head": lambda: s3.head_object(Bucket="acme", Key="private/a"),
    "put": lambda: s3.put_object(Bucket="datasets", Key="public/new", Body=b"new"),
    "boundary": lambda: s3.get_object(Bucket="acme", Key="training-secret/a"),
    "bucket": lambda: s3.get_object(Bucket="secret", Key="a"),
    "list": lambda: s3.list_objects_v2(Bucket="acme"),
    "list buckets": lambda: s3.list_buckets(),
    "copy": lambda: s3.copy_object(Bucket="acme", Key="train/c", CopySource="secret/a"),
    "copy beside": lambda: s3.copy_object(Bucket="acme", Key="train/c", CopySource="acme/private/a"),
    "delete": lambda: s3.delete_objects(
        Bucket="acme", Delete={"Objects": [{"Key": "train/b"}, {"Key": "private/a"}]}
    ),
    "acl": lambda: s3.get_object_acl(Bucket="acme", Key="train/a"),
    "policy": lambda: s3.get_bucket_policy(Bucket="acme"),
}
told = {}
for name, call in calls.items():
    try:
        call()
        told[name] = None
    except ClientError as error:
        said = error.response
        told[name] = [said["Error"]["Code"], str(error), said["ResponseMetadata"].get("RequestId", "")]
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def shared() -> Iterator[S3World]:
    if NO_NETNS or NO_SWIFT:
        pytest.skip(NO_NETNS or NO_SWIFT)
    with s3_world(GRANTS, buckets=BUCKETS) as world:
        for bucket, keys in OBJECTS.items():
            for key in keys:
                world.store.put(bucket, key, f"{bucket}/{key}".encode())
        yield world
        world.check_health()


@pytest.fixture
def world(shared: S3World) -> S3World:
    shared.settle()
    return shared


def call(
    world: S3World,
    method: str,
    bucket: str,
    target: str,
    body: bytes = b"",
    *,
    headers: Mapping[str, str] = MappingProxyType({}),
    signer: Signer | None = None,
    signs: bool = True,
) -> Answer:
    """One request as an SDK sends it, or, unsigned, as curl does."""
    host = f"{bucket}.{EU}" if bucket else EU
    whole = {**headers, "content-length": str(len(body))} if body or method in {"PUT", "POST"} else headers
    if signs:
        payload = "UNSIGNED-PAYLOAD" if body else EMPTY
        whole = (signer or world.signer()).signed(method, host, target, whole, payload)
    else:
        whole = {"host": host, **whole}
    with tls(world.pod, host) as sock:
        answer = ask(sock, Upload(method, target, tuple(whole.items()), b"").head + body, method)
    world.pod.canary.watch(answer.body + str(answer.fields).encode(), "what an application received")
    return answer


def refusal(answer: Answer) -> str:
    assert answer.status == 403, answer
    return answer.reason or ""


# --- refusals ------------------------------------------------------------------------------------------


def test_boto3_shows_each_refusal_as_an_error_of_s3(world: S3World) -> None:
    done = world.pod.run_app(REFUSED)

    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    # A HEAD has no body to say it in.
    assert told.pop("head")[0] == "403"
    for name, said in told.items():
        assert said is not None, name
        code, text, request_id = said
        assert code == "AccessDenied", name
        assert request_id, name
        assert "podkey refused " in text, name
    assert "Nearest grant: training/data" in told["get"][1]
    # Nothing was deleted: one key of a body that is not granted is the body's end.
    assert world.store.get("acme", "train/b") is not None
    assert world.store.get("acme", "train/c") is None
    assert world.store.get("datasets", "public/new") is None


@pytest.mark.parametrize(
    ("method", "bucket", "target"),
    [
        ("GET", "acme", "/train"),
        ("GET", "acme", "/training-secret/a"),
        ("GET", "acme", "/runs-old/1"),
        ("GET", "acme", "/private/a"),
        ("GET", "", "/acme/private/a"),
        ("GET", "", "/secret/a"),
        ("GET", "acme", "/?list-type=2"),
        ("GET", "acme", "/?list-type=2&prefix="),
        ("GET", "acme", "/?list-type=2&prefix=train"),
        ("GET", "acme", "/?list-type=2&prefix=training-secret/"),
        ("GET", "acme", "/?list-type=2&prefix=train/&prefix=private/"),
        ("GET", "acme", "/train/a?acl"),
        ("GET", "acme", "/train/a?nonsense-subresource&acl"),
        ("PUT", "acme", "/?policy"),
        ("GET", "", "/"),
        ("DELETE", "acme", "/"),
        ("PUT", "acme", "/"),
        ("POST", "acme", "/"),
        ("DELETE", "datasets", "/public/a"),
        ("PUT", "datasets", "/public/a"),
    ],
)
def test_what_is_not_granted_never_leaves_the_pod(
    world: S3World, method: str, bucket: str, target: str
) -> None:
    before = len(world.store.requests())

    assert call(world, method, bucket, target).status in {400, 403}
    assert call(world, method, bucket, target, signs=False).status in {400, 403}

    assert world.store.requests()[before:] == []


@pytest.mark.parametrize(
    "target",
    [
        "/train/../private/a",
        "/train/./../private/a",
        "/train/%2e%2e/private/a",
        "/train/%2E%2E%2Fprivate/a",
        "//private/a",
        "/./private/a",
        "/train%2f..%2fprivate/a",
        "/train//../private/a",
    ],
)
@pytest.mark.parametrize("bucket", ["acme", ""], ids=["bucket in the host", "bucket in the path"])
def test_no_spelling_of_a_path_reaches_another_key(world: S3World, target: str, bucket: str) -> None:
    whole = target if bucket else f"/acme{target}"

    answer = call(world, "GET", bucket, whole)

    # It is refused, or it is a key of that very name, which is not there.
    assert answer.status in {400, 403, 404}
    assert answer.body != b"acme/private/a"


# --- what is granted -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bucket", "target", "body"),
    [
        ("acme", "/train/a", b"acme/train/a"),
        ("", "/acme/train/a", b"acme/train/a"),
        ("acme", "/runs", b"acme/runs"),
        ("acme", "/runs/1", b"acme/runs/1"),
        ("datasets", "/public/a", b"datasets/public/a"),
        ("shared", "/a", b"shared/a"),
    ],
)
@pytest.mark.parametrize("signs", [True, False], ids=["signed", "anonymous"])
def test_what_is_granted_is_read_whoever_signed(
    world: S3World,
    bucket: str,
    target: str,
    body: bytes,
    signs: bool,  # noqa: FBT001
) -> None:
    answer = call(world, "GET", bucket, target, signs=signs)

    assert (answer.status, answer.body) == (200, body)


@pytest.mark.parametrize("prefix", ["train/", "train/a", "runs", "runs/"])
def test_listings_stay_below_a_granted_prefix(world: S3World, prefix: str) -> None:
    answer = call(world, "GET", "acme", f"/?list-type=2&prefix={quote(prefix, safe='')}")

    if prefix == "runs":
        # `runs-old/1` begins like that, too: the store would show it.
        assert refusal(answer)
    else:
        assert answer.status == 200, answer.body
        assert b"runs-old" not in answer.body
        assert b"private" not in answer.body


# --- copies --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "source", ["acme/train/a", "/acme/train/a", "datasets/public/a", "acme%2Ftrain%2Fa", "/shared/a"]
)
def test_a_copy_reads_what_may_be_read(world: S3World, source: str) -> None:
    answer = call(world, "PUT", "acme", "/train/copied", headers={"x-amz-copy-source": source})

    assert answer.status == 200, answer.body
    assert world.store.get("acme", "train/copied") is not None


@pytest.mark.parametrize(
    "source",
    [
        "secret/a",
        "/secret/a",
        "acme/private/a",
        "acme/training-secret/a",
        "acme%2Fprivate%2Fa",
        "acme/train/../private/a",
        "acme/train/%2e%2e/private/a",
        "datasets/private/a",
        "datasets/private/a?versionId=1",
        "acme",
        "",
        "arn:aws:s3:eu-west-1:111122223333:accesspoint/other/object/a",
    ],
)
def test_a_copy_does_not_read_what_may_not_be_read(world: S3World, source: str) -> None:
    before = len(world.store.requests())

    answer = call(world, "PUT", "acme", "/train/stolen", headers={"x-amz-copy-source": source})

    assert answer.status in {400, 403}, answer
    assert world.store.requests()[before:] == []


# --- deletes -------------------------------------------------------------------------------------------


def removal(*keys: str) -> bytes:
    objects = "".join(f"<Object><Key>{key}</Key></Object>" for key in keys)
    return f'<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{objects}</Delete>'.encode()


def test_a_delete_of_many_removes_all_of_them(world: S3World) -> None:
    for name in ("gone-1", "gone-2"):
        world.store.put("acme", f"train/{name}", b"soon gone")

    body = removal("train/gone-1", "train/gone-2")
    headers = {"content-md5": b64encode(md5(body).digest()).decode()}

    answer = call(world, "POST", "acme", "/?delete", body, headers=headers)

    assert answer.status == 200, answer.body
    assert not [key for key in world.store.keys_in("acme") if "gone-" in key]


@pytest.mark.parametrize(
    "body",
    [
        removal("train/a", "private/a"),
        removal("private/a"),
        removal("train/a", "training-secret/a"),
        removal("train/a").replace(b"<Key>", b"<Key>train/b</Key><Key>"),
        b'<!DOCTYPE d [<!ENTITY e "private/a">]>' + removal("&e;"),
        removal("train/a")[:-5],
        b"",
    ],
)
def test_a_delete_with_a_key_too_many_removes_nothing(world: S3World, body: bytes) -> None:
    before = len(world.store.requests())

    answer = call(world, "POST", "acme", "/?delete", body)

    assert answer.status in {400, 403}, answer
    assert world.store.requests()[before:] == []


# --- presigned URLs ------------------------------------------------------------------------------------


def test_a_url_of_our_own_is_signed_with_what_counts(world: S3World) -> None:
    target = world.signer().presigned("GET", f"acme.{EU}", "/train/a")

    answer = call(world, "GET", "acme", target, signs=False)

    assert (answer.status, answer.body) == (200, b"acme/train/a")
    last = world.store.requests()[-1]
    assert last["key"] == world.keys.access_key_id
    assert "X-Amz-Signature" not in last["query"]


def test_a_url_of_our_own_ends_when_it_says(world: S3World) -> None:
    late = world.signer(offset=-120)
    target = late.presigned("GET", f"acme.{EU}", "/train/a", expires=60)

    assert refusal(call(world, "GET", "acme", target, signs=False)) == "presigned_expired"


def test_a_url_of_our_own_reaches_no_further_than_its_pod(world: S3World) -> None:
    target = world.signer().presigned("GET", f"acme.{EU}", "/private/a")

    assert refusal(call(world, "GET", "acme", target, signs=False)) == "pin_not_granted"


def test_a_url_of_somebody_else_is_refused_on_a_granted_bucket(world: S3World) -> None:
    stranger = Signer(world.store.own, REGION)
    before = len(world.store.requests())
    for target, reason in {"/train/a": "foreign_presigned", "/private/a": "pin_not_granted"}.items():
        signed = stranger.presigned("GET", f"acme.{EU}", target)
        assert refusal(call(world, "GET", "acme", signed, signs=False)) == reason
    assert world.store.requests()[before:] == []


def test_a_url_of_somebody_else_passes_as_it_is_where_the_grant_says_so(world: S3World) -> None:
    stranger = Signer(world.store.own, REGION)
    target = stranger.presigned("GET", f"shared.{EU}", "/a")

    answer = call(world, "GET", "shared", target, signs=False)

    assert (answer.status, answer.body) == (200, b"shared/a")
    last = world.store.requests()[-1]
    assert last["key"] == world.store.own.access_key_id
    assert not {"authorization", "x-amz-security-token"} & dict(last["headers"]).keys()


def test_nobody_else_s_signature_gets_our_credential_on_top(world: S3World) -> None:
    """A signature that S3 would not take stays one that S3 does not take."""
    liar = Signer(Keys("NOBODYKNOWSWHO", "no secret of anybody's at all"), REGION)
    target = liar.presigned("GET", f"shared.{EU}", "/a")

    answer = call(world, "GET", "shared", target)  # signed in its headers, too

    assert answer.status in {400, 403}
    keys = {request["key"] for request in world.store.requests() if "NOBODYKNOWSWHO" in request["query"]}
    assert world.keys.access_key_id not in keys


def test_the_secret_is_nowhere(world: S3World) -> None:
    """Errors of S3 show what was signed: the string, never the key."""
    answer = call(world, "GET", "acme", "/train/none")

    assert answer.status == 404
    assert world.pod.canary.find_in(answer.body) == []
