"""Lines on their way out, written by a thread of its own: whoever reads our output slowly, or not at all,
holds up no request and no probe."""

import queue
import threading
from collections.abc import Callable
from typing import Final

# Some 5 MiB of audit lines. What comes on top is lost, and counted.
MAX_LINES: Final = 10_000

Write = Callable[[bytes], None]


class Outbox:
    """Keeps the order of all lines, whichever way they go out."""

    def __init__(self, max_lines: int = MAX_LINES) -> None:
        self._lines: queue.Queue[tuple[Write, bytes] | None] = queue.Queue(max_lines)
        self._thread = threading.Thread(target=self._write_all, name="outbox", daemon=True)
        self._thread.start()

    def sink(self, write: Write, lost: Callable[[], None]) -> Write:
        """A way out that never waits; `write` must not raise."""

        def send(line: bytes) -> None:
            try:
                self._lines.put_nowait((write, line))
            except queue.Full:
                lost()

        return send

    def close(self, seconds: float) -> None:
        """Write what is left, as far as that is possible in the time."""
        try:
            self._lines.put(None, timeout=seconds)
        except queue.Full:
            return
        self._thread.join(seconds)

    def _write_all(self) -> None:
        while (item := self._lines.get()) is not None:
            write, line = item
            write(line)
