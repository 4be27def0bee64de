"""Until when a credential counts, in our own time: what a source says of its end, read with its own clock."""

from datetime import UTC, datetime, timedelta
from math import inf
from typing import Final

from proxy.core.structs import Struct
from proxy.leasing.pace import LEAST_GAP, MARGIN

# A `Date` that is further off is no clock. A pod whose clock is off by more cannot verify certificates.
MAX_SKEW: Final = 86_400.0
# `Date` counts whole seconds and is rounded down: the source's clock may be that much further.
DATE_RESOLUTION: Final = 1.0


class Span(Struct, frozen=True):
    """One run of a source: when it began and ended, by a clock that only goes forward and by the wall's."""

    began: float
    ended: float
    # At its end, seconds since 1970: the wall's clock read once, at the beginning, and the forward clock from
    # there. The same goes for what `skew` was measured with, so that a clock set meanwhile changes neither.
    wall: float
    # How much further the source's clock is than ours; None: its answers have not said.
    skew: float | None = None


class Lifetime(Struct, frozen=True):
    """When it must not be used any more, by either clock; and how long it lives, for the pace."""

    deadline: float
    wall_deadline: float
    seconds: float
    expires: datetime | None


ENDLESS: Final = Lifetime(inf, inf, inf, None)
# Where the calendar of `datetime` ends, and a second before it: what lies beyond is shown as this.
LAST_DAY: Final = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


def measured_skew(date: datetime, wall: float) -> float | None:
    """How much further the source's clock is, from its `Date` and our clock when it came."""
    skew = date.timestamp() + DATE_RESOLUTION / 2 - wall
    return skew if abs(skew) <= MAX_SKEW else None


def lifetime_of(expires: datetime | timedelta | None, span: Span) -> Lifetime | None:
    """None: it has ended already, or will before it can be used.

    What lives shorter than the least gap between two asks counts as ended: otherwise a source that gives such
    would be asked without a pause.
    """
    if expires is None:
        return ENDLESS
    if isinstance(expires, timedelta):
        # From when we began to ask: it was issued after that.
        left = expires.total_seconds() - (span.ended - span.began)
    else:
        # By the source's clock as far as it may be: rounding, and the time its answer took to come.
        there = span.wall + (span.skew or 0.0) + DATE_RESOLUTION / 2 + (span.ended - span.began)
        left = expires.timestamp() - there
    left -= MARGIN
    if left < LEAST_GAP:
        return None
    return Lifetime(span.ended + left, span.wall + left, left, _shown(span.wall + left))


def _shown(seconds: float) -> datetime:
    return LAST_DAY if seconds >= LAST_DAY.timestamp() else datetime.fromtimestamp(seconds, UTC)
