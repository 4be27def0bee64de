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


# The kernel is asked once for so many of them: for each, it would cost as much as a header field does.
_AT_ONCE = 256
_waiting: list[str] = []


def new_request_id() -> str:
    if not _waiting:
        digits = token_hex(_ID_BYTES * _AT_ONCE)
        _waiting.extend(digits[at : at + 2 * _ID_BYTES] for at in range(0, len(digits), 2 * _ID_BYTES))
    return _waiting.pop()
