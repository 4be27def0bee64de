"""A thread that does one thing again and again, and how it hands over to the event loop."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Final

from proxy.telemetry.log import Log

# Who stops us waits no longer than that; a call that hangs ends with the process, by then without effect.
STOP_SECONDS: Final = 1.0
# After what nobody foresaw.
FAULT_SECONDS: Final = 5.0

# Calls it on the event loop, soon.
type Hand = Callable[[Callable[[], object]], None]


def hand_to(loop: asyncio.AbstractEventLoop) -> Hand:
    def hand(call: Callable[[], object]) -> None:
        # A loop that is closed has no use for it any more.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(call)

    return hand


def ask[T](hand: Hand, call: Callable[[], T], seconds: float = 10.0) -> T:
    """What the event loop says to it. For threads; raises TimeoutError when the loop has ended."""
    answer: Future[T] = Future()

    def answered() -> None:
        try:
            answer.set_result(call())
        except Exception as error:  # noqa: BLE001 - it belongs to who asked
            answer.set_exception(error)

    hand(answered)
    return answer.result(seconds)


class Worker:
    """`turn` does a piece and says in how many seconds the next is due."""

    def __init__(self, name: str, turn: Callable[[], float], log: Log) -> None:
        self._turn = turn
        self._log = log
        self._changed = threading.Condition()
        self._is_woken = False
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name=f"podkey-{name}", daemon=True)

    @property
    def is_stopping(self) -> bool:
        return self._is_stopping

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """The next turn is due now."""
        with self._changed:
            self._is_woken = True
            self._changed.notify_all()

    def rest(self, seconds: float) -> None:
        """Within a turn; shorter when it is woken or stopped."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_woken or self._is_stopping, seconds)
            self._is_woken = False

    def stop(self) -> None:
        """Ask it to end; `join` waits for that."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify_all()

    def join(self, seconds: float = STOP_SECONDS) -> bool:
        """Whether it has ended."""
        if self._thread.ident is not None:
            self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._is_stopping:
            try:
                seconds = self._turn()
            except Exception as error:  # noqa: BLE001 - a thread that ends in silence is the worst of all
                self._log.error("a thread failed and goes on", thread=self._thread.name, error=error)
                seconds = FAULT_SECONDS
            if seconds > 0:
                self.rest(seconds)
