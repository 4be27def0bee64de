"""The real clock, and what a clock is."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    @property
    def now(self) -> Callable[[], datetime]: ...
    @property
    def monotonic(self) -> Callable[[], float]: ...


class SystemClock:
    @staticmethod
    def now() -> datetime:
        return datetime.now(UTC)  # noqa: TID251 - this is the edge

    monotonic = staticmethod(time.monotonic)

    @staticmethod
    def since_boot() -> float:
        """Seconds that also pass while the machine is suspended, when the monotonic clock stands still."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)
