"""Lines that leave the process: to standard output, or to a file that somebody may rotate.

Lines are written with one call where the kernel allows it, so that those of logs and audit do not mix. What
cannot be written is lost and counted, line by line: the data path does not end because nobody reads us.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

STANDARD_OUTPUT: Final = 1
# How long records may still go to a file that was moved away.
LOOK_AGAIN_SECONDS: Final = 1.0
# The group may read it: log shippers run as another user.
_MODE: Final = 0o640
_FLAGS: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOCTTY | os.O_CLOEXEC


class LineWriter:
    """Appends lines to a descriptor that is open already."""

    def __init__(self, descriptor: int, lost: Callable[[], None]) -> None:
        self._descriptor = descriptor
        self._lost = lost

    def write(self, lines: bytes) -> None:
        """Write lines, each of which ends with a line feed. Never raises."""
        for _ in range(_write_all(self._descriptor, lines)):
            self._lost()


class FileLineWriter:
    """Appends lines to a file by its name: where the name leads elsewhere by now, it follows.

    The file is opened with the first line, or after a failure with the next one.
    """

    def __init__(self, path: Path, lost: Callable[[], None], clock: Callable[[], float]) -> None:
        self._path = path
        self._lost = lost
        self._clock = clock
        self._descriptor: int | None = None
        self._looked_at = 0.0

    def write(self, lines: bytes) -> None:
        """Write lines, each of which ends with a line feed. Never raises."""
        try:
            lost = _write_all(self._opened(), lines)
        except OSError:  # it cannot be opened
            lost = lines.count(b"\n")
        if lost:
            self.close()
        for _ in range(lost):
            self._lost()

    def close(self) -> None:
        if self._descriptor is not None:
            with suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = None

    def _opened(self) -> int:
        now = self._clock()
        if self._descriptor is not None and now >= self._looked_at + LOOK_AGAIN_SECONDS:
            self._looked_at = now
            if not self._is_still_there(self._descriptor):
                self.close()
        if self._descriptor is None:
            self._looked_at = now
            self._descriptor = os.open(self._path, _FLAGS, _MODE)
        return self._descriptor

    def _is_still_there(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), self._path.stat())
        except FileNotFoundError:
            return False


def _write_all(descriptor: int, lines: bytes) -> int:
    """How many lines could not be written. Half a line is ended: it must not swallow the next one."""
    rest = memoryview(lines)
    try:
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    except OSError:
        written = len(lines) - len(rest)
        if written and lines[written - 1] != 0x0A:
            with suppress(OSError):
                os.write(descriptor, b"\n")
    return bytes(rest).count(b"\n")
