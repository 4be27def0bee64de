import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.files.snapshots import MAX_DEPTH, MAX_TRIES, Unread, read_snapshot, read_tree, readable
from tests.kubelet_volume import KubeletVolume

YAML = frozenset({".yaml", ".yml"})
OLD = {"user": b"old-user", "password": b"old-password"}
NEW = {"user": b"new-user", "password": b"new-password"}


@pytest.fixture
def volume(tmp_path: Path) -> KubeletVolume:
    return KubeletVolume(tmp_path / "secret", OLD)


def on_each_open(monkeypatch: pytest.MonkeyPatch, act: Callable[[str], None]) -> None:
    """Calls `act` with the name before every file is opened."""
    real = os.open

    def opened(path: str, flags: int, *, dir_fd: int | None = None) -> int:
        act(str(path))
        return real(path, flags, dir_fd=dir_fd)

    monkeypatch.setattr("proxy.files.snapshots.os.open", opened)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_mounted_volume_and_a_plain_folder_read_the_same(volume: KubeletVolume, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.mkdir()
    for name, content in OLD.items():
        (plain / name).write_bytes(content)

    assert read_snapshot(volume.folder, OLD, 100) == OLD
    assert read_snapshot(plain, OLD, 100) == OLD


def test_a_swap_between_two_files_never_mixes_generations(
    volume: KubeletVolume, monkeypatch: pytest.MonkeyPatch
) -> None:
    swaps = iter([NEW])

    def swap(name: str) -> None:
        if name == "password":
            for files in swaps:
                volume.swap(files)

    on_each_open(monkeypatch, swap)

    assert read_snapshot(volume.folder, ["user", "password"], 100) == NEW


@pytest.mark.parametrize("step", ["written", "linked", "swapped", "named", "removed"])
def test_at_each_step_of_a_swap_one_whole_generation_is_read(volume: KubeletVolume, step: str) -> None:
    seen = []

    def look(at: str) -> None:
        if at == step:
            seen.append(read_snapshot(volume.folder, OLD, 100))

    volume.swap(NEW, look)

    assert seen == [OLD if step in {"written", "linked"} else NEW]


def test_a_folder_that_never_holds_still_is_an_error(
    volume: KubeletVolume, monkeypatch: pytest.MonkeyPatch
) -> None:
    swaps = iter(range(100))

    def swap(name: str) -> None:
        if name == "user":
            volume.swap({"user": b"%d" % next(swaps)})

    on_each_open(monkeypatch, swap)

    with pytest.raises(OSError, match="the folder changed each time it was read") as caught:
        read_snapshot(volume.folder, ["user"], 100)

    assert caught.value.errno == errno.ESTALE
    assert next(swaps) == MAX_TRIES


def test_a_projected_token_in_a_folder_of_its_own_is_read_by_its_path(tmp_path: Path) -> None:
    volume = KubeletVolume(tmp_path / "podkey", {"aws/token": b"one", "podkey-token": b"two"})

    assert read_snapshot(volume.folder, ["aws/token"], 100) == {"aws/token": b"one"}
    # The folder may also be the one below, which is a link itself.
    assert read_snapshot(volume.folder / "aws", ["token"], 100) == {"token": b"one"}


def test_a_file_that_is_too_large_comes_with_one_byte_too_many(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"x" * 1000)

    assert read_snapshot(tmp_path, ["large"], 10) == {"large": b"x" * 11}


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/../../b", "", ".", "a\0b"])
def test_a_name_does_not_lead_out_of_the_folder(volume: KubeletVolume, name: str) -> None:
    assert read_snapshot(volume.folder, [name], 100) == {name: Unread("is no name below the folder")}


def test_what_is_no_file_is_told_and_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dangling").symlink_to("nowhere")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))

        assert read_snapshot(tmp_path, ["pipe", "folder", "loop", "dangling", "missing", "socket"], 100) == {
            "pipe": Unread("is not a regular file"),
            "folder": Unread("is not a regular file"),
            "loop": Unread("cannot be read: Too many levels of symbolic links"),
            "dangling": Unread("does not exist"),
            "missing": Unread("does not exist"),
            "socket": Unread("cannot be read: No such device or address"),
        }


def test_an_error_while_reading_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"x")

    def broken(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("proxy.files.snapshots.os.fdopen", broken)

    assert read_snapshot(tmp_path, ["file"], 1) == {"file": Unread("cannot be read: Input/output error")}


def test_a_folder_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_snapshot(tmp_path / "missing", ["a"], 1)


def test_a_folder_that_vanishes_while_it_is_read_is_an_error(
    volume: KubeletVolume, monkeypatch: pytest.MonkeyPatch
) -> None:
    def vanish(name: str) -> None:
        if name == "user":
            volume.folder.rename(volume.folder.with_name("gone"))

    on_each_open(monkeypatch, vanish)

    with pytest.raises(FileNotFoundError):
        read_snapshot(volume.folder, ["user"], 100)


def test_no_descriptor_is_left_open(volume: KubeletVolume, tmp_path: Path) -> None:
    before = descriptors()
    read_snapshot(volume.folder, [*OLD, "missing"], 100)
    read_tree(volume.folder, YAML, 100)
    with pytest.raises(FileNotFoundError):
        read_snapshot(tmp_path / "missing", ["a"], 1)

    assert descriptors() == before


def test_a_tree_is_read_by_suffix_below_and_without_what_is_hidden(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yml", "c.txt", ".d.yaml", "below/e.yaml", "below/deep/f.yaml", ".git/g.yaml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "folder.yaml").mkdir()

    files = read_tree(tmp_path, YAML, 100)

    assert files == {
        "a.yaml": b"a.yaml",
        "b.yml": b"b.yml",
        "below/deep/f.yaml": b"below/deep/f.yaml",
        "below/e.yaml": b"below/e.yaml",
        "folder.yaml": Unread("is not a regular file"),
    }
    assert list(files) == sorted(files)
    assert readable(files).keys() == files.keys() - {"folder.yaml"}


def test_a_tree_in_a_mounted_volume_is_read_once(tmp_path: Path) -> None:
    volume = KubeletVolume(tmp_path / "policy", {"a.yaml": b"a", "team/b.yaml": b"b"})

    assert read_tree(volume.folder, YAML, 100) == {"a.yaml": b"a", "team/b.yaml": b"b"}


def test_a_tree_has_its_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.files.snapshots.MAX_FILES", 10)
    (tmp_path / "round").symlink_to(tmp_path)
    many = tmp_path / "many"
    many.mkdir()
    for number in range(11):
        (many / str(number)).touch()

    for folder in (many, tmp_path):
        with pytest.raises(OSError, match="too many files, or folders too deep") as caught:
            read_tree(folder, YAML, 1)
        assert caught.value.errno == errno.EFBIG
    assert MAX_DEPTH < 40  # where the kernel itself stops following a link


def test_a_folder_that_goes_while_the_tree_is_walked_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.yaml").write_bytes(b"a")
    (tmp_path / "below").mkdir()

    def vanish(name: str) -> None:
        if name == "below":
            (tmp_path / "below").rmdir()

    on_each_open(monkeypatch, vanish)

    assert read_tree(tmp_path, YAML, 1) == {"a.yaml": b"a"}
