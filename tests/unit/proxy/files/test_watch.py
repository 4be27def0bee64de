import asyncio
import os
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.files.snapshots import read_tree, readable
from proxy.files.watch import FULL_PERIOD, Contents, FolderWatch, Settling, digest, look
from tests.kubelet_volume import KubeletVolume

OLD = {"policy.yaml": b"old"}
NEW = {"policy.yaml": b"new"}


class Watched:
    """A watch over a folder, with what it told."""

    def __init__(self, folder: Path, current: Contents) -> None:
        self.folder = folder
        self.reads = 0
        self.changes: list[Contents] = []
        self.failures: list[OSError] = []
        self.after_read: Callable[[], object] = lambda: None
        self.now = 0.0
        self.watch = FolderWatch([folder], self.read, self.changes.append, self.failures.append, current)

    def read(self) -> Contents:
        self.reads += 1
        contents = readable(read_tree(self.folder, frozenset({".yaml"}), 1000))
        self.after_read()
        return contents

    def steps(self, number: int = 2) -> list[Contents]:
        """Some seconds go by; what was told since."""
        before = len(self.changes)
        for _ in range(number):
            self.now += 1
            self.watch.step(self.now)
        return self.changes[before:]


@pytest.fixture
def volume(tmp_path: Path) -> KubeletVolume:
    return KubeletVolume(tmp_path / "policy", OLD)


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    folder = tmp_path / "plain"
    folder.mkdir()
    (folder / "policy.yaml").write_bytes(b"old")
    return folder


def test_a_swap_of_the_kubelet_is_told_once(volume: KubeletVolume) -> None:
    watched = Watched(volume.folder, OLD)
    assert watched.steps() == []

    volume.swap(NEW)

    assert watched.steps(5) == [NEW]


@pytest.mark.parametrize("step", ["written", "linked", "swapped", "named", "removed"])
def test_at_each_step_of_a_swap_only_whole_generations_are_told(volume: KubeletVolume, step: str) -> None:
    watched = Watched(volume.folder, OLD)
    watched.steps()

    volume.swap(NEW, lambda at: watched.watch.step(watched.now) if at == step else None)

    assert watched.steps() == [NEW]


def test_a_swap_that_brings_the_same_content_is_not_told(volume: KubeletVolume) -> None:
    # The kubelet renews a projected volume as a whole when one of its files changes.
    watched = Watched(volume.folder, OLD)
    watched.steps()

    volume.swap(OLD)

    assert watched.steps() == []


def test_a_name_that_comes_or_goes_is_told(volume: KubeletVolume) -> None:
    watched = Watched(volume.folder, OLD)

    volume.swap({"more.yaml": b"more"})

    assert watched.steps() == [{"more.yaml": b"more"}]


def test_an_unchanged_folder_is_looked_at_and_read_once_a_minute_only(plain: Path) -> None:
    watched = Watched(plain, OLD)
    watched.steps(1)
    assert watched.reads == 1

    watched.steps(int(FULL_PERIOD) - 1)
    assert watched.reads == 1

    watched.steps(1)
    assert watched.reads == 2


def test_a_copy_that_keeps_every_trace_is_noticed_within_a_minute(
    plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched(plain, OLD)
    monkeypatch.setattr("proxy.files.watch.look", lambda paths: ("the same",))
    watched.steps()
    (plain / "policy.yaml").write_bytes(b"new")

    assert watched.steps(int(FULL_PERIOD) - 2) == []
    assert watched.steps() == [NEW]


def test_a_file_that_is_still_being_written_is_not_told(plain: Path) -> None:
    watched = Watched(plain, OLD)
    watched.steps()
    for part in (b"n", b"ne", b"new"):
        (plain / "policy.yaml").write_bytes(part)
        assert watched.steps(1) == []

    assert watched.steps(1) == [NEW]


def test_a_change_during_the_reading_is_noticed(plain: Path) -> None:
    watched = Watched(plain, OLD)
    watched.after_read = lambda: (plain / "policy.yaml").write_bytes(b"new")

    watched.steps(1)
    watched.after_read = lambda: None

    assert watched.steps() == [NEW]


def test_a_change_that_is_taken_back_is_not_told(plain: Path) -> None:
    watched = Watched(plain, OLD)
    watched.steps()

    (plain / "policy.yaml").write_bytes(b"new")
    watched.steps(1)
    (plain / "policy.yaml").write_bytes(b"old")

    assert watched.steps(3) == []


def test_a_folder_that_vanishes_is_told_as_a_failure_once_and_its_return_as_a_change(plain: Path) -> None:
    watched = Watched(plain, OLD)
    watched.steps()
    shutil.rmtree(plain)

    assert watched.steps(3) == []
    assert [type(error) for error in watched.failures] == [FileNotFoundError]

    plain.mkdir()
    (plain / "policy.yaml").write_bytes(b"new")
    assert watched.steps() == [NEW]

    shutil.rmtree(plain)
    watched.steps()
    assert len(watched.failures) == 2


def test_it_runs_until_it_is_cancelled(plain: Path) -> None:
    seen = asyncio.Event()

    async def scenario() -> None:
        watch = FolderWatch([plain], lambda: NEW, lambda _: seen.set(), lambda _: None, OLD)
        task = asyncio.ensure_future(watch.run(lambda: 0.0, period=0))
        await seen.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(asyncio.wait_for(scenario(), 10))


# --- looks ----------------------------------------------------------------------------------------


def replace_by_rename(file: Path) -> None:
    new = file.with_name("new")
    new.write_bytes(b"old")
    new.rename(file)


@pytest.mark.parametrize(
    "act",
    [
        lambda file: file.write_bytes(b"longer"),
        lambda file: os.utime(file, (1, 1)),
        lambda file: file.unlink(),
        lambda file: file.with_name("more").touch(),
        lambda file: file.rename(file.with_name("other")),
        replace_by_rename,
        lambda file: file.parent.joinpath("below").mkdir(),
    ],
)
def test_a_look_differs_when_a_file_does(plain: Path, act: Callable[[Path], object]) -> None:
    before = look([plain])
    assert look([plain]) == before

    act(plain / "policy.yaml")

    assert look([plain]) != before


def test_a_look_sees_files_below_and_behind_links_and_single_ones(plain: Path, tmp_path: Path) -> None:
    below = plain / "below" / "deep.yaml"
    below.parent.mkdir()
    below.write_bytes(b"1")
    outside = tmp_path / "outside"
    outside.write_bytes(b"1")
    (plain / "link").symlink_to(outside)
    (plain / "round").symlink_to(plain)
    looks = [look([plain])]

    below.write_bytes(b"12")
    looks.append(look([plain]))
    outside.write_bytes(b"12")
    looks.append(look([plain]))

    assert len(set(looks)) == 3
    assert look([outside]) != look([tmp_path / "missing"])


# --- pure -----------------------------------------------------------------------------------------


def test_only_what_is_offered_twice_in_a_row_settles() -> None:
    settling = Settling("a")

    assert [settling.offer(content) for content in "abacbbb"] == [False] * 5 + [True, False]
    assert not settling.unsettled


@given(st.lists(st.sampled_from("abc")))
def test_settling_never_tells_the_same_twice_in_a_row(offers: list[str]) -> None:
    settling = Settling("a")
    told = ["a", *(content for content in offers if settling.offer(content))]

    assert all(one != other for one, other in pairwise(told))


@given(
    st.dictionaries(st.text(max_size=3), st.binary(max_size=3)),
    st.dictionaries(st.text(max_size=3), st.binary(max_size=3)),
)
def test_digests_are_equal_where_contents_are(one: dict[str, bytes], other: dict[str, bytes]) -> None:
    assert (digest(one) == digest(other)) == (one == other)
    assert digest(one) == digest(dict(reversed(one.items())))


def test_no_byte_moves_from_a_name_to_a_content_unnoticed() -> None:
    assert digest({"a": b"bc"}) != digest({"ab": b"c"})
    assert digest({"a": b"b", "c": b"d"}) != digest({"a": b"bcd"})
