from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.reasons import Reason
from proxy.core.validity import END_OF_DAY, Day, Validity, WeeklyWindow, common_moment

UTC_ZONE = ZoneInfo("UTC")
BERLIN = ZoneInfo("Europe/Berlin")
WORKDAYS = (Day.MON, Day.TUE, Day.WED, Day.THU, Day.FRI)

# 2024-06-03 was a Monday.
MONDAY = datetime(2024, 6, 3, tzinfo=UTC)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def clock(text: str) -> int:
    hours, minutes = map(int, text.split(":"))
    return hours * 60 + minutes


def window(days: tuple[Day, ...], start: str, end: str, zone: ZoneInfo = UTC_ZONE) -> WeeklyWindow:
    return WeeklyWindow(days, clock(start), clock(end), zone)


def test_days_are_counted_as_python_counts_them() -> None:
    assert [Day((MONDAY + timedelta(days=n)).weekday()) for n in range(7)] == list(Day)
    assert [day.name for day in Day] == ["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"]


@pytest.mark.parametrize(
    ("now", "fault"),
    [
        ("2024-05-31T23:59:59.999999Z", Reason.NOT_YET_VALID),
        ("2024-06-01T00:00:00Z", None),
        ("2024-06-01T01:59:59+02:00", Reason.NOT_YET_VALID),
        ("2024-06-01T02:00:00+02:00", None),
        ("2024-06-30T23:59:59.999999Z", None),
        ("2024-07-01T00:00:00Z", Reason.EXPIRED),  # the end is outside
        ("2024-06-01T00:00:00", None),  # a naive time is UTC
        ("2024-05-31T23:59:59", Reason.NOT_YET_VALID),
    ],
)
def test_a_policy_is_valid_from_its_beginning_to_just_before_its_end(now: str, fault: Reason | None) -> None:
    validity = Validity(at("2024-06-01T00:00:00Z"), at("2024-07-01T00:00:00Z"))
    assert validity.fault(at(now)) is fault


def test_a_policy_without_bounds_is_always_valid() -> None:
    assert Validity().fault(MONDAY) is None
    assert not Validity().is_bounded


@pytest.mark.parametrize(
    "validity",
    [
        Validity(not_before=MONDAY),
        Validity(not_after=MONDAY),
        Validity(windows=(window(WORKDAYS, "08:00", "18:00"),)),
    ],
)
def test_a_policy_with_any_bound_is_bounded(validity: Validity) -> None:
    assert validity.is_bounded


@pytest.mark.parametrize(
    ("inside", "text"),
    [
        (False, "2024-06-03T07:59:59Z"),
        (True, "2024-06-03T08:00:00Z"),
        (True, "2024-06-07T17:59:59.999999Z"),
        (False, "2024-06-07T18:00:00Z"),
        (False, "2024-06-08T12:00:00Z"),  # a Saturday
        (True, "2024-06-03T10:00:00+02:00"),
        (False, "2024-06-03T09:00:00+02:00"),
    ],
)
def test_a_window_holds_its_beginning_and_not_its_end(text: str, *, inside: bool) -> None:
    assert window(WORKDAYS, "08:00", "18:00").contains(at(text)) is inside


@pytest.mark.parametrize(
    ("inside", "text"),
    [
        (False, "2024-06-07T21:59:00Z"),
        (True, "2024-06-07T22:00:00Z"),  # Friday evening
        (True, "2024-06-07T23:59:59Z"),
        (True, "2024-06-08T00:00:00Z"),  # Saturday morning belongs to the window that began on Friday
        (True, "2024-06-08T05:59:59Z"),
        (False, "2024-06-08T06:00:00Z"),
        (False, "2024-06-08T22:00:00Z"),  # none begins on Saturday
        (False, "2024-06-07T05:00:00Z"),  # nor did one on Thursday
    ],
)
def test_a_window_across_midnight_belongs_to_the_day_it_begins(text: str, *, inside: bool) -> None:
    assert window((Day.FRI,), "22:00", "06:00").contains(at(text)) is inside


def test_a_window_across_midnight_goes_from_sunday_into_monday() -> None:
    night = window((Day.SUN,), "22:00", "06:00")
    assert night.contains(at("2024-06-03T05:59:00Z"))
    assert not night.contains(at("2024-06-03T22:00:00Z"))


def test_a_window_to_24_00_ends_with_the_day() -> None:
    whole = window((Day.MON,), "00:00", "24:00")
    assert whole.end_minute == END_OF_DAY
    inside = [whole.contains(MONDAY + timedelta(minutes=minutes)) for minutes in (-1, 0, 1439, 1440)]
    assert inside == [False, True, True, False]


@pytest.mark.parametrize(
    ("inside", "text"),
    [
        (True, "2024-01-15T07:00:00Z"),  # 08:00 in winter
        (False, "2024-01-15T06:59:00Z"),
        (True, "2024-07-15T06:00:00Z"),  # 08:00 in summer
        (False, "2024-07-15T16:00:00Z"),
        (True, "2024-01-15T16:59:00Z"),
    ],
)
def test_a_window_follows_the_wall_clock_of_its_zone(text: str, *, inside: bool) -> None:
    assert window(WORKDAYS, "08:00", "18:00", BERLIN).contains(at(text)) is inside


def test_the_hour_that_the_clocks_leave_out_is_in_no_window() -> None:
    # 2024-03-31 in Berlin: after 01:59 came 03:00, which was 01:00 UTC.
    skipped = window((Day.SUN,), "02:00", "03:00", BERLIN)
    day = at("2024-03-31T00:00:00Z")
    assert not any(skipped.contains(day + timedelta(minutes=minute)) for minute in range(-120, 240))
    around = window((Day.SUN,), "01:30", "03:30", BERLIN)
    inside = [m for m in range(-120, 240) if around.contains(day + timedelta(minutes=m))]
    assert inside == list(range(30, 90))  # an hour instead of two


def test_the_hour_that_comes_twice_is_inside_twice() -> None:
    # 2024-10-27 in Berlin: 02:00 to 02:59 was 00:00 to 00:59 UTC and, again, 01:00 to 01:59 UTC.
    twice = window((Day.SUN,), "02:15", "02:45", BERLIN)
    day = at("2024-10-27T00:00:00Z")
    inside = [m for m in range(-120, 240) if twice.contains(day + timedelta(minutes=m))]
    assert inside == [*range(15, 45), *range(75, 105)]


def test_any_of_several_windows_will_do() -> None:
    validity = Validity(windows=(window((Day.MON,), "08:00", "09:00"), window((Day.TUE,), "08:00", "09:00")))
    faults = [validity.fault(MONDAY + timedelta(days=day, hours=8)) for day in range(3)]
    assert faults == [None, None, Reason.OUTSIDE_WINDOW]


def test_the_nearer_bound_is_named_before_the_window() -> None:
    windows = (window((Day.SUN,), "00:00", "01:00"),)
    assert Validity(MONDAY + timedelta(days=1), None, windows).fault(MONDAY) is Reason.NOT_YET_VALID
    assert Validity(None, MONDAY, windows).fault(MONDAY) is Reason.EXPIRED


FIRST, LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
OFFSETS = [None, UTC, timezone(timedelta(hours=14)), timezone(timedelta(hours=-12)), BERLIN]


@pytest.mark.parametrize("offset", OFFSETS)
@pytest.mark.parametrize("moment", [FIRST, LAST])
@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "America/New_York", "Europe/Berlin"])
def test_the_ends_of_time_are_judged_like_any_moment(
    moment: datetime, offset: timezone | ZoneInfo | None, zone: str
) -> None:
    now = moment.replace(tzinfo=offset)
    beginning = Reason.NOT_YET_VALID if moment is FIRST else None
    end = Reason.EXPIRED if moment is LAST else None
    assert Validity(not_before=MONDAY).fault(now) is beginning
    assert Validity(not_after=MONDAY).fault(now) is end
    # No day of the week begins beyond the calendar: such a moment may lie in no window.
    always = WeeklyWindow(tuple(Day), 0, END_OF_DAY, ZoneInfo(zone))
    assert Validity(windows=(always,)).fault(now) in {None, Reason.OUTSIDE_WINDOW}
    never = WeeklyWindow((), 0, END_OF_DAY, ZoneInfo(zone))
    assert Validity(windows=(never,)).fault(now) is Reason.OUTSIDE_WINDOW


def test_a_moment_that_a_zone_cannot_express_is_outside_its_windows() -> None:
    always = WeeklyWindow(tuple(Day), 0, END_OF_DAY, ZoneInfo("Pacific/Kiritimati"))
    assert not always.contains(LAST)


def test_windows_begin_on_their_days_of_the_week_that_follows() -> None:
    mornings = window((Day.MON, Day.WED), "08:30", "09:00", BERLIN)
    assert list(mornings.starts_in_week_from(at("2024-06-03T22:30:00+02:00"))) == [
        at("2024-06-03T06:30:00Z"),
        at("2024-06-05T06:30:00Z"),
        at("2024-06-10T06:30:00Z"),
    ]


# --- two policies ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("left", "right", "moment"),
    [
        (Validity(), Validity(), at("2024-01-01T00:00:00Z")),
        (Validity(not_before=MONDAY), Validity(), MONDAY),
        (Validity(not_after=MONDAY), Validity(), MONDAY - timedelta(days=7)),
        (Validity(not_before=MONDAY), Validity(not_after=MONDAY), None),
        (Validity(not_before=MONDAY), Validity(not_after=MONDAY + timedelta(seconds=1)), MONDAY),
        (
            Validity(windows=(window((Day.MON,), "08:00", "12:00"),)),
            Validity(windows=(window((Day.MON,), "11:00", "14:00"),)),
            at("2024-01-01T11:00:00Z"),
        ),
        (
            Validity(windows=(window((Day.MON,), "08:00", "12:00"),)),
            Validity(windows=(window((Day.MON,), "12:00", "14:00"),)),
            None,
        ),
        (
            Validity(windows=(window((Day.SUN,), "22:00", "06:00"),)),
            Validity(windows=(window((Day.MON,), "05:00", "07:00"),)),
            at("2024-01-01T05:00:00Z"),
        ),
        (  # the same wall clock in two zones
            Validity(windows=(window((Day.MON,), "08:00", "08:30"),)),
            Validity(windows=(window((Day.MON,), "08:00", "08:30", BERLIN),)),
            None,
        ),
        (  # the window has begun when the policy does
            Validity(not_before=MONDAY + timedelta(hours=9), windows=(window((Day.MON,), "08:00", "10:00"),)),
            Validity(not_after=MONDAY + timedelta(hours=10)),
            MONDAY + timedelta(hours=9),
        ),
        (  # the next window begins after the end
            Validity(MONDAY, MONDAY + timedelta(days=1)),
            Validity(windows=(window((Day.TUE,), "08:00", "10:00"),)),
            None,
        ),
        (
            Validity(windows=(window((Day.TUE,), "08:00", "10:00"),)),
            Validity(not_after=MONDAY),
            MONDAY + timedelta(days=-6, hours=8),
        ),
    ],
)
def test_a_moment_at_which_both_policies_are_valid_is_found(
    left: Validity, right: Validity, moment: datetime | None
) -> None:
    assert common_moment(left, right) == moment
    assert common_moment(right, left) == moment


HOURS = st.integers(0, 23).map(lambda hour: hour * 60)
DAYS = st.lists(st.sampled_from(Day), max_size=2, unique=True).map(tuple)
# Whole hours, and zones whose offsets are whole hours: then an hourly search misses nothing.
WINDOWS = st.builds(WeeklyWindow, DAYS, HOURS, HOURS, st.sampled_from((UTC_ZONE, ZoneInfo("Etc/GMT-14"))))
EDGES = st.none() | st.integers(-300, 300).map(lambda hours: MONDAY + timedelta(hours=hours))
VALIDITIES = st.builds(Validity, EDGES, EDGES, st.lists(WINDOWS, max_size=2).map(tuple))


@given(VALIDITIES, VALIDITIES)
def test_property_the_common_moment_is_valid_for_both(left: Validity, right: Validity) -> None:
    moment = common_moment(left, right)
    if moment is None:
        hours = (MONDAY + timedelta(hours=hour) for hour in range(-600, 600))
        assert not any(left.fault(hour) is None and right.fault(hour) is None for hour in hours)
    else:
        assert left.fault(moment) is None
        assert right.fault(moment) is None


@given(st.datetimes(timezones=st.none() | st.timezones()), VALIDITIES)
def test_property_every_moment_is_valid_or_has_a_reason(now: datetime, validity: Validity) -> None:
    reasons = {None, Reason.NOT_YET_VALID, Reason.EXPIRED, Reason.OUTSIDE_WINDOW}
    assert validity.fault(now) in reasons
