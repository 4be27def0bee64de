"""Until when a verdict stays what it is, as far as the validity of policies goes."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from proxy.core.validity import Validity


def next_boundary(validities: Iterable[Validity], now: datetime) -> datetime | None:
    """No policy begins or ends to be valid from `now` until then; None: none ever does.

    Windows open and close, and clocks are set, when a minute begins: to ask again then misses none of it.
    """
    moments: list[datetime] = []
    for validity in validities:
        moments += [time for time in (validity.not_before, validity.not_after) if time is not None]
        moments += [_next_minute(now)] if validity.windows else []
    return min((moment for moment in moments if moment > now), default=None)


def _next_minute(now: datetime) -> datetime:
    """Of every clock: zones differ by whole minutes since 1972."""
    utc = now.astimezone(UTC)
    return utc.replace(second=0, microsecond=0) + timedelta(minutes=1)
