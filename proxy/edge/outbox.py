"""Lines on their way out, written by a thread of its own: whoever reads our output slowly, or not at all,
holds up no request and no probe."""

import threading
from collections import deque
from collections.abc import Callable
from typing import Final

# Some 5 MiB of audit lines. What comes on top is lost, and counted.
MAX_LINES: Final = 10_000
# A longer line takes the place of several: an application's paths make lines of 16 KiB, and ten thousand of
# those are more than the sidecar may hold.
PLACE: Final = 1024
# What comes within this time of other lines goes out together: to wake the thread and to call the kernel for
# each line costs more than a judgement. Nobody who reads a log sees a hundredth of a second.
PAUSE_SECONDS: Final = 0.01
# Written with one call; a pipe holds 64 KiB.
MAX_TOGETHER: Final = 32_768

Write = Callable[[bytes], None]


class Outbox:
    """Keeps the order of all lines, whichever way they go out."""

    def __init__(self, max_lines: int = MAX_LINES) -> None:
        self._max = max_lines
        self._lines: deque[tuple[Write, bytes]] = deque()
        # The thread waits for the bell. It says so before it looks for lines a last time, and whoever brings
        # one looks for that afterwards: so one of them sees the other.
        self._asleep = False
        self._bell = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._write_all, name="outbox", daemon=True)
        self._thread.start()

    def sink(self, write: Write, lost: Callable[[], None]) -> Write:
        """A way out that never waits; `write` is given one line or several, and must not raise."""
        lines, most = self._lines, self._max

        def send(line: bytes) -> None:
            if len(lines) >= most:
                lost()
                return
            if len(line) <= PLACE:
                lines.append((write, line))
            else:
                lines.extend([(write, line), *[(write, b"")] * (len(line) // PLACE)])
            if self._asleep:
                self._asleep = False
                self._bell.set()

        return send

    def close(self, seconds: float) -> None:
        """Write what is left, as far as that is possible in the time."""
        self._closing.set()
        self._bell.set()
        self._thread.join(seconds)

    def _write_all(self) -> None:
        while True:
            while self._lines:
                self._write_some()
            if self._closing.wait(PAUSE_SECONDS):
                if self._lines:
                    continue
                return
            self._bell.clear()
            self._asleep = True
            # Whoever closes rings once, and that may have been before the bell was taken down.
            if not self._lines and not self._closing.is_set():
                self._bell.wait()
            self._asleep = False

    def _write_some(self) -> None:
        """The first line, and those after it that go the same way."""
        lines = self._lines
        write, line = lines.popleft()
        together, size = [line], len(line)
        while lines and lines[0][0] is write:
            line = lines[0][1]
            if line and size + len(line) > MAX_TOGETHER:
                break
            lines.popleft()
            together.append(line)
            size += len(line)
        write(b"".join(together))
