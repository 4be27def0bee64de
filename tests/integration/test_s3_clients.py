"""Clients that read and write S3 in training: behind the sidecar each keeps its objects to the last bit."""

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest

from tests.netns import MISSING as NO_NETNS
from tests.s3_world import EU, REGION, SCRIPTS, VENVS, S3World, missing, s3_grant, s3_world
from tests.swift_server import MISSING as NO_SWIFT
from tests.swift_server import Front

# The host that names no region is Amazon's too: SDKs presign for it.
GLOBAL: Final = "s3.amazonaws.com"
MIB: Final = 1024**2
RANDOM: Final = Random(5)
SMALL, LARGE = RANDOM.randbytes(100_000), RANDOM.randbytes(20 * MIB)
GIVEN_SMALL, GIVEN_LARGE = RANDOM.randbytes(100_000), RANDOM.randbytes(20 * MIB)

CLIENTS: Final = {
    "boto3 newest": ("", "with_boto3.py", "plain"),
    "boto3 1.34": ("boto3-1.34", "with_boto3.py", "plain"),
    "boto3 1.36": ("boto3-1.36", "with_boto3.py", "plain"),
    "boto3 on the CRT": ("crt", "with_boto3.py", "crt"),
    "s3torchconnector": ("crt", "with_mountpoint.py"),
    "s3fs on aiobotocore": ("s3fs", "with_s3fs.py"),
    "pyarrow": ("pyarrow", "with_pyarrow.py", "signed"),
}


@pytest.fixture(scope="module")
def shared() -> Iterator[S3World]:
    if NO_NETNS or NO_SWIFT:
        pytest.skip(NO_NETNS or NO_SWIFT)
    grants = [s3_grant("acme", prefixes=["train/"])]
    fronts = [Front(EU, region=REGION, more_names=(GLOBAL,))]
    with s3_world(grants, fronts=fronts, buckets=["acme"], session=True) as world:
        for name, content in (("small", SMALL), ("large", LARGE)):
            (files(world) / name).write_bytes(content)
        yield world
        world.check_health()


@pytest.fixture
def world(shared: S3World) -> S3World:
    shared.settle()
    return shared


def files(world: S3World) -> Path:
    folder = world.pod.home / "files"
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)
    return folder


def given(world: S3World, name: str) -> str:
    """A prefix of this client's own, with what it is to read."""
    prefix = "train/" + name.replace(" ", "-")
    world.store.put("acme", f"{prefix}/given-small", GIVEN_SMALL)
    world.store.put("acme", f"{prefix}/given-large", GIVEN_LARGE)
    return prefix


def digest(data: bytes | None) -> str:
    return "nothing" if data is None else sha256(data).hexdigest()


def check_stored(world: S3World, prefix: str) -> None:
    assert digest(world.store.get("acme", f"{prefix}/small")) == digest(SMALL)
    assert digest(world.store.get("acme", f"{prefix}/large")) == digest(LARGE)


def check_keys(world: S3World, before: int) -> None:
    """All came with the pod's keys, but for what the test itself asked."""
    came = {request["key"] for request in world.store.requests()[before:]}
    assert came <= {world.keys.access_key_id, world.store.own.access_key_id}
    assert world.keys.access_key_id in came


def read_back(prefix: str) -> dict[str, Any]:
    return {
        "small": digest(GIVEN_SMALL),
        "large": digest(GIVEN_LARGE),
        "range": digest(GIVEN_LARGE[1_000_000:2_000_000]),
        "listed": [f"{prefix}/{name}" for name in ("given-large", "given-small", "large", "small")],
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", CLIENTS)
def test_a_client_writes_and_reads_the_same_bytes(world: S3World, name: str) -> None:
    venv, script, *how = CLIENTS[name]
    if missing(venv):
        pytest.skip(missing(venv))
    prefix = given(world, name)
    before = len(world.store.requests())

    done = world.client(venv, script, "acme", prefix, str(files(world)), *how)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == read_back(prefix)
    check_stored(world, prefix)
    check_keys(world, before)


@pytest.mark.slow
def test_newest_boto3_does_all_that_a_training_does(world: S3World) -> None:
    prefix = given(world, "all of boto3")

    done = world.client("", "whole_boto3.py", "acme", prefix, str(files(world)))

    assert done.returncode == 0, done.stderr
    names = ("given-large", "given-small", "large", "odd a+b/é ~'(1).txt", "small")
    assert json.loads(done.stdout) == {
        "get": digest(GIVEN_SMALL),
        "download": digest(GIVEN_LARGE),
        "range": digest(GIVEN_LARGE[1_000_000:2_000_000]),
        "head": [len(SMALL), {"made-by": "a test"}],
        "list": [f"{prefix}/{name}" for name in names],
        "deleted": [f"{prefix}/gone-1", f"{prefix}/gone-2"],
        **{f"presigned get {how}": digest(GIVEN_SMALL) for how in ("s3", "s3v4", "virtual")},
        **{f"presigned put {how}": 200 for how in ("s3", "s3v4", "virtual")},
    }
    check_stored(world, prefix)
    stored = {
        "odd a+b/é ~'(1).txt": SMALL,
        "copy": GIVEN_SMALL,
        "composed": GIVEN_LARGE[:6_000_001],
        "presigned-s3": SMALL,
        "presigned-s3v4": SMALL,
        "presigned-virtual": SMALL,
    }
    for name, content in stored.items():
        assert digest(world.store.get("acme", f"{prefix}/{name}")) == digest(content), name
    assert world.store.get("acme", f"{prefix}/gone-1") is None


@pytest.mark.slow
def test_the_aws_command_line_copies_both_ways(world: S3World) -> None:
    if missing("awscli"):
        pytest.skip(missing("awscli"))
    prefix = given(world, "awscli")
    folder, base = files(world), f"s3://acme/{prefix}"
    back = world.pod.home / "back"

    def aws(*arguments: str) -> str:
        folder = VENVS / "awscli" / "bin"
        argv = [str(folder / "python"), str(folder / "aws"), *arguments]
        done = world.pod.run_app(argv, env={"PYTHONWARNINGS": None}, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    for name in ("small", "large"):
        aws("s3", "cp", "--quiet", str(folder / name), f"{base}/{name}")
    aws("s3", "cp", "--quiet", f"{base}/given-large", str(back))
    listed = aws("s3", "ls", f"{base}/")
    told = aws("s3api", "head-object", "--bucket", "acme", "--key", f"{prefix}/given-small")

    check_stored(world, prefix)
    assert digest(back.read_bytes()) == digest(GIVEN_LARGE)
    assert sorted(line.split()[-1] for line in listed.splitlines()) == [
        "given-large",
        "given-small",
        "large",
        "small",
    ]
    assert json.loads(told)["ContentLength"] == len(GIVEN_SMALL)


@pytest.mark.parametrize("signs", [True, False], ids=["signed by curl", "with no word of who asks"])
def test_curl_writes_and_reads(world: S3World, signs: bool) -> None:  # noqa: FBT001
    prefix = "train/" + ("curl-signed" if signs else "curl")
    world.store.put("acme", f"{prefix}/given", GIVEN_SMALL)
    mine = world.placeholder
    proof = [
        "--user",
        f"{mine.access_key_id}:{mine.secret_access_key}",
        "--aws-sigv4",
        f"aws:amz:{REGION}:s3",
    ]
    back = world.pod.home / f"{signs}"

    def curl(*arguments: str) -> None:
        done = world.pod.run_app(["curl", "-sS", "--fail-with-body", *(proof if signs else []), *arguments])
        assert done.returncode == 0, done.stdout + done.stderr

    # curl hashes what it signs, and says so in no header: S3 asks for one.
    unsigned = ["-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD"] if signs else []
    curl(*unsigned, "-T", str(files(world) / "small"), f"https://acme.{EU}/{prefix}/small")
    curl("-o", str(back), f"https://acme.{EU}/{prefix}/given")

    assert digest(back.read_bytes()) == digest(GIVEN_SMALL)
    assert digest(world.store.get("acme", f"{prefix}/small")) == digest(SMALL)


@pytest.mark.slow
def test_anonymous_pyarrow_is_signed_for_where_it_is_granted(world: S3World) -> None:
    if missing("pyarrow"):
        pytest.skip(missing("pyarrow"))
    prefix = given(world, "anonymous")

    done = world.client("pyarrow", "with_pyarrow.py", "acme", prefix, str(files(world)), "anonymous")

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == read_back(prefix)
    check_stored(world, prefix)


def test_the_scripts_are_all_run() -> None:
    """A client that nobody runs proves nothing."""
    run = {script for _, script, *_ in CLIENTS.values()} | {"whole_boto3.py", "bulk_boto3.py"}
    assert run == {path.name for path in SCRIPTS.glob("*.py")}
