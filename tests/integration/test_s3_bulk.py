"""A checkpoint of a gibibyte goes up and comes down; the sidecar stays small, its keys change on the way."""

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest

from tests.netns import MISSING as NO_NETNS
from tests.s3_world import S3World, s3_grant, s3_world
from tests.sidecar_pod import wait_for
from tests.swift_server import MISSING as NO_SWIFT

pytestmark = pytest.mark.slow

MIB: Final = 1024**2
SIZE: Final = 1024 * MIB
PARTS: Final = SIZE // (16 * MIB)
PEAK: Final = 150 * MIB
TRANSFER_SECONDS: Final = 300.0
# An old key is still good for requests that are on their way when the new one comes.
OVERLAP_SECONDS: Final = 3.0


@pytest.fixture(scope="module")
def world() -> Iterator[S3World]:
    """A sidecar of its own, whose peak of memory is of these transfers and no others."""
    if NO_NETNS or NO_SWIFT:
        pytest.skip(NO_NETNS or NO_SWIFT)
    with s3_world([s3_grant("acme", prefixes=["train/"])], buckets=["acme"], session=True) as one:
        yield one
        one.check_health()


@pytest.fixture(scope="module")
def checkpoint(world: S3World) -> tuple[Path, str]:
    """No two of its blocks are alike, so that none can stand in the place of another."""
    file = world.pod.home / "checkpoint"
    noise = Random(11).randbytes(MIB - 8)
    digest = hashlib.sha256()
    with file.open("wb") as handle:
        for number in range(SIZE // MIB):
            block = number.to_bytes(8) + noise
            digest.update(block)
            handle.write(block)
    return file, digest.hexdigest()


def transfer(world: S3World, *arguments: str) -> None:
    done = world.client("", "bulk_boto3.py", *arguments, timeout=TRANSFER_SECONDS)
    assert done.returncode == 0, done.stderr


def sha256_of(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def parts(world: S3World) -> list[dict[str, Any]]:
    return [one for one in world.store.requests() if one["method"] == "PUT" and "partNumber" in one["query"]]


def rotate_at(world: S3World, share: float, stop: threading.Event) -> None:
    """New keys once so many parts have arrived; soon after that the old ones are worth nothing."""
    wait_for(lambda: stop.is_set() or len(parts(world)) >= PARTS * share, "parts to arrive", TRANSFER_SECONDS)
    old, new = world.keys, world.new_keys()
    world.rotate(new)
    wait_for(
        lambda: stop.is_set() or any(one["key"] == new.access_key_id for one in parts(world)),
        "the new keys to be used",
        TRANSFER_SECONDS,
    )
    world.store.accept(old, seconds=OVERLAP_SECONDS)


def test_an_upload_of_1_gib_outlives_two_leases_in_little_memory(
    world: S3World, checkpoint: tuple[Path, str]
) -> None:
    file, digest = checkpoint
    stop = threading.Event()
    failures: list[BaseException] = []

    def rotate() -> None:
        try:
            for share in (0.25, 0.5):
                rotate_at(world, share, stop)
        except BaseException as error:  # noqa: BLE001 - raised in the test
            failures.append(error)

    rotator = threading.Thread(target=rotate)
    rotator.start()
    try:
        transfer(world, "upload", "acme", "train/checkpoint", str(file))
    finally:
        stop.set()
        rotator.join()

    assert not failures, failures
    assert len({one["key"] for one in parts(world)}) == 3
    # Not one of them had to be sent again.
    assert [one["status"] for one in parts(world)] == [200] * PARTS
    assert world.pod.sidecar.peak_rss_bytes() <= PEAK
    assert stored_digest(world) == digest


def stored_digest(world: S3World) -> str:
    """Read by the test itself, a piece at a time."""
    found = hashlib.sha256()
    step = 64 * MIB
    for at in range(0, SIZE, step):
        headers = {"range": f"bytes={at}-{at + step - 1}"}
        answer = world.store.request("GET", "/acme/train/checkpoint", headers=headers)
        assert answer.status == 206
        found.update(answer.body)
    return found.hexdigest()


def test_a_download_of_1_gib_in_ranges_takes_little_memory(
    world: S3World, checkpoint: tuple[Path, str]
) -> None:
    assert world.store.head("acme", "train/checkpoint").status == 200, "the upload before it has failed"
    back = world.pod.home / "back"

    transfer(world, "download", "acme", "train/checkpoint", str(back))

    assert sha256_of(back) == checkpoint[1]
    assert world.pod.sidecar.peak_rss_bytes() <= PEAK
    back.unlink()
