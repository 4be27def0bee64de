"""The real clock, and the one source of request ids."""

import time
from datetime import UTC, datetime
from secrets import token_hex

# Told apart within one pod's records; nobody has to guess them, or could use it.
_ID_BYTES = 8


class SystemClock:
    @staticmethod
    def now() -> datetime:
        return datetime.now(UTC)  # noqa: TID251 - this is the edge

    # Without a frame of our own around them: every request asks both.
    monotonic = staticmethod(time.monotonic)
    wall = staticmethod(time.time)  # noqa: TID251 - `now()` in seconds since 1970


def new_request_id() -> str:
    return token_hex(_ID_BYTES)
