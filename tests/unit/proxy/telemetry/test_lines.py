import os
import stat
from pathlib import Path

import pytest

from proxy.telemetry.lines import LOOK_AGAIN_SECONDS, FileLineWriter, LineWriter


class Losses:
    def __init__(self) -> None:
        self.number = 0

    def __call__(self) -> None:
        self.number += 1


@pytest.fixture
def losses() -> Losses:
    return Losses()


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_line_reaches_the_reader(losses: Losses) -> None:
    reader, descriptor = os.pipe()
    LineWriter(descriptor, losses).write(b"line\n")
    os.close(descriptor)

    assert os.read(reader, 100) == b"line\n"
    assert losses.number == 0
    os.close(reader)


def test_a_reader_that_is_gone_costs_lines_and_nothing_else(losses: Losses) -> None:
    reader, descriptor = os.pipe()
    os.close(reader)
    writer = LineWriter(descriptor, losses)

    writer.write(b"one\n")
    writer.write(b"two\n")

    assert losses.number == 2
    os.close(descriptor)


def test_of_several_lines_each_one_that_is_lost_is_counted(losses: Losses) -> None:
    reader, descriptor = os.pipe()
    os.set_blocking(descriptor, False)
    room = b"x" * 65_530 + b"\n"
    LineWriter(descriptor, losses).write(room + b"half a line\nanother\n")

    # The pipe holds 64 KiB: the second line is cut, and the third one is not begun.
    assert losses.number == 2
    assert os.read(reader, 70_000) == room + b"half "
    os.close(reader)
    os.close(descriptor)


def test_a_pipe_that_is_full_and_does_not_wait_costs_lines(losses: Losses) -> None:
    reader, descriptor = os.pipe()
    os.set_blocking(descriptor, False)
    writer = LineWriter(descriptor, losses)
    while not losses.number:
        writer.write(b"x" * 4095 + b"\n")

    os.read(reader, 65536)
    writer.write(b"again\n")

    assert losses.number == 1
    os.close(reader)
    os.close(descriptor)


def test_a_line_is_written_whole_where_the_kernel_takes_it_in_pieces(
    losses: Losses, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces: list[bytes] = []

    def write(descriptor: int, data: memoryview) -> int:
        pieces.append(bytes(data[:3]))
        return len(pieces[-1])

    monkeypatch.setattr("proxy.telemetry.lines.os.write", write)

    LineWriter(7, losses).write(b"a line\n")

    assert pieces == [b"a l", b"ine", b"\n"]


def test_a_file_is_appended_to_and_closed_to_strangers(tmp_path: Path, losses: Losses, clock: Clock) -> None:
    path = tmp_path / "audit.jsonl"
    path_before = os.umask(0)
    try:
        for line in (b"one\n", b"two\n"):
            writer = FileLineWriter(path, losses, clock)
            writer.write(line)
            writer.close()
    finally:
        os.umask(path_before)

    assert path.read_bytes() == b"one\ntwo\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_rotated_file_is_left_within_a_second(tmp_path: Path, losses: Losses, clock: Clock) -> None:
    path = tmp_path / "audit.jsonl"
    writer = FileLineWriter(path, losses, clock)
    writer.write(b"one\n")

    path.rename(tmp_path / "audit.1")
    writer.write(b"two\n")
    clock.now += LOOK_AGAIN_SECONDS
    writer.write(b"three\n")
    clock.now += LOOK_AGAIN_SECONDS
    writer.write(b"four\n")
    writer.close()

    assert (tmp_path / "audit.1").read_bytes() == b"one\ntwo\n"
    assert path.read_bytes() == b"three\nfour\n"
    assert losses.number == 0


def test_another_file_of_the_name_is_written_to(tmp_path: Path, losses: Losses, clock: Clock) -> None:
    path = tmp_path / "audit.jsonl"
    writer = FileLineWriter(path, losses, clock)
    writer.write(b"one\n")
    path.rename(tmp_path / "audit.1")
    path.write_bytes(b"fresh\n")

    clock.now += LOOK_AGAIN_SECONDS
    writer.write(b"two\n")
    writer.close()

    assert path.read_bytes() == b"fresh\ntwo\n"


def test_a_folder_that_is_missing_costs_lines_until_it_is_there(
    tmp_path: Path, losses: Losses, clock: Clock
) -> None:
    path = tmp_path / "later" / "audit.jsonl"
    writer = FileLineWriter(path, losses, clock)

    writer.write(b"one\n")
    assert losses.number == 1

    path.parent.mkdir()
    writer.write(b"two\n")
    writer.close()

    assert path.read_bytes() == b"two\n"
    assert losses.number == 1


def test_a_full_disk_is_tried_again_with_the_next_line(
    tmp_path: Path, losses: Losses, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = FileLineWriter(tmp_path / "audit.jsonl", losses, clock)
    with monkeypatch.context() as patched:

        def full(*_: object) -> int:
            raise OSError(28, "No space left on device")

        patched.setattr("proxy.telemetry.lines.os.write", full)
        writer.write(b"one\n")

    writer.write(b"two\n")
    writer.close()

    assert losses.number == 1
    assert (tmp_path / "audit.jsonl").read_bytes() == b"two\n"
