"""When a policy is valid: not before, not after, and in which weekly windows."""

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta, tzinfo
from enum import IntEnum
from typing import Final

from proxy.core.reasons import Reason
from proxy.core.structs import Struct

END_OF_DAY: Final = 24 * 60


class Day(IntEnum):
    """As `datetime.weekday` counts them."""

    MON = 0
    TUE = 1
    WED = 2
    THU = 3
    FRI = 4
    SAT = 5
    SUN = 6


class WeeklyWindow(Struct, frozen=True):
    """From a wall-clock minute to another in a time zone, on the days it starts.

    `22:00`–`06:00` runs into the next morning. The wall clock decides: when a zone sets its clocks back,
    the hour that comes twice is inside twice.
    """

    days: tuple[Day, ...]
    start_minute: int
    end_minute: int
    zone: tzinfo

    def contains(self, now: datetime) -> bool:
        try:
            local = now.astimezone(self.zone)
        except OverflowError:  # within a day of year 1 or 9999
            return False
        minute = local.hour * 60 + local.minute
        today = Day(local.weekday())
        if self.start_minute < self.end_minute:
            return today in self.days and self.start_minute <= minute < self.end_minute
        yesterday = Day((today - 1) % 7)
        return (today in self.days and minute >= self.start_minute) or (
            yesterday in self.days and minute < self.end_minute
        )

    def starts_in_week_from(self, moment: datetime) -> Iterator[datetime]:
        """Each beginning of the window in the eight days that hold the week after `moment`."""
        today = moment.astimezone(self.zone).date()
        clock = time(self.start_minute // 60, self.start_minute % 60)
        for day in (today + timedelta(days=ahead) for ahead in range(8)):
            if Day(day.weekday()) in self.days:
                yield datetime.combine(day, clock, self.zone).astimezone(UTC)


class Validity(Struct, frozen=True):
    not_before: datetime | None = None
    not_after: datetime | None = None
    windows: tuple[WeeklyWindow, ...] = ()

    @property
    def is_bounded(self) -> bool:
        return bool(self.not_before or self.not_after or self.windows)

    def fault(self, now: datetime) -> Reason | None:
        """Why the policy is not valid now; None when it is. A naive time is taken as UTC."""
        if now.utcoffset() is None:
            now = now.replace(tzinfo=UTC)
        if self.not_before is not None and now < self.not_before:
            return Reason.NOT_YET_VALID
        if self.not_after is not None and now >= self.not_after:
            return Reason.EXPIRED
        if self.windows and not any(window.contains(now) for window in self.windows):
            return Reason.OUTSIDE_WINDOW
        return None


def common_moment(left: Validity, right: Validity) -> datetime | None:
    """A moment at which both are valid, looked for in the week after the later beginning and half a year on.

    That finds every overlap but one that lasts for less than a season of clocks; the decision itself still
    refuses such a request as ambiguous.
    """
    begins = [v.not_before for v in (left, right) if v.not_before is not None]
    ends = [v.not_after for v in (left, right) if v.not_after is not None]
    # Without a beginning any week will do: the one before the end, else an arbitrary Monday.
    if begins:
        start = max(begins)
    elif ends:
        start = min(ends) - timedelta(days=7)
    else:
        start = datetime(2024, 1, 1, tzinfo=UTC)
    moments = [start]
    for window in (*left.windows, *right.windows):
        for week in (start, start + timedelta(days=182)):
            moments.extend(window.starts_in_week_from(week))
    for moment in moments:
        if left.fault(moment) is None and right.fault(moment) is None:
            return moment
    return None
