"""The real clock, and the one source of request ids."""

import time
from datetime import UTC, datetime
from secrets import token_hex
from time import monotonic

# Told apart within one pod's records; nobody has to guess them, or could use it.
_ID_BYTES = 8


class SystemClock:
    @staticmethod
    def now() -> datetime:
        return datetime.now(UTC)  # noqa: TID251 - this is the edge

    @staticmethod
    def monotonic() -> float:
        return monotonic()

    @staticmethod
    def wall() -> float:
        """`now()` in seconds since 1970, at a tenth of its cost."""
        return time.time()  # noqa: TID251 - this is the edge


def new_request_id() -> str:
    return token_hex(_ID_BYTES)
