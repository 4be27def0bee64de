from datetime import UTC, datetime, timedelta, timezone
from math import floor, inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.leasing.lifetimes import ENDLESS, LAST_DAY, MAX_SKEW, Span, lifetime_of, measured_skew
from proxy.leasing.pace import LEAST_GAP, MARGIN

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
WALL = NOON.timestamp()
HOUR = timedelta(hours=1)


def test_a_span_counts_from_when_we_began_to_ask() -> None:
    found = lifetime_of(HOUR, Span(100, 110, WALL))
    assert found is not None
    assert (found.deadline, found.wall_deadline) == (100 + 3600 - MARGIN, WALL - 10 + 3600 - MARGIN)
    assert found.seconds == 3590 - MARGIN
    assert found.expires == NOON + HOUR - timedelta(seconds=10 + MARGIN)


def test_a_point_counts_by_the_sources_clock() -> None:
    ahead = lifetime_of(NOON + HOUR, Span(100, 110, WALL, skew=60))
    assert ahead is not None
    # Its clock is a minute further, or that and half a second, and its answer was ten seconds old at most.
    assert ahead.seconds == 3600 - 60 - 0.5 - 10 - MARGIN
    assert (ahead.deadline, ahead.wall_deadline) == (110 + ahead.seconds, WALL + ahead.seconds)


def test_a_source_that_shows_no_clock_is_taken_to_have_ours() -> None:
    assert lifetime_of(NOON + HOUR, Span(0, 0, WALL)) == lifetime_of(NOON + HOUR, Span(0, 0, WALL, 0.0))


def test_without_an_end_it_is_endless() -> None:
    assert lifetime_of(None, Span(0, 20, WALL)) == ENDLESS
    assert (ENDLESS.deadline, ENDLESS.wall_deadline, ENDLESS.expires) == (inf, inf, None)


def test_what_lives_shorter_than_one_gap_has_ended() -> None:
    least = timedelta(seconds=MARGIN + LEAST_GAP)
    assert lifetime_of(least, Span(0, 0, WALL)) is not None
    assert lifetime_of(least - timedelta(microseconds=1), Span(0, 0, WALL)) is None
    assert lifetime_of(timedelta(seconds=-1), Span(0, 0, WALL)) is None
    assert lifetime_of(NOON, Span(0, 0, WALL)) is None


@given(
    issued=st.floats(0, 20),
    came=st.floats(0, 20),
    rest=st.floats(0, 20),
    error=st.floats(-80_000, 80_000),
    ours=st.floats(-3000, 3000),
    life=st.floats(1, 90_000),
)
def test_a_point_is_met_early_by_no_more_than_the_run_took_and_a_second(  # noqa: PLR0917 - what can go wrong
    issued: float, came: float, rest: float, error: float, ours: float, life: float
) -> None:
    """The source looks at its clock, its answer comes, and other calls follow; both clocks are wrong."""
    took = issued + came + rest
    truly = WALL + life  # when it ends, if the run began at noon and it was issued after `issued`
    date = datetime.fromtimestamp(floor(WALL + issued + error), UTC)
    skew = measured_skew(date, WALL + ours + issued + came)
    assert skew is not None
    expires = datetime.fromtimestamp(truly + error, UTC)
    found = lifetime_of(expires, Span(0, took, WALL + ours + took, skew))
    if found is None:
        assert life - took < took + 1 + MARGIN + LEAST_GAP + 1e-3
    else:
        assert life - MARGIN - took - 1 - 1e-3 <= found.deadline <= life - MARGIN + 1e-3


def test_a_date_that_is_a_day_off_is_no_clock() -> None:
    assert measured_skew(NOON, WALL) == 0.5, "rounded down by half a second on average"
    assert measured_skew(NOON, WALL + 90) == -89.5
    assert measured_skew(NOON, WALL + MAX_SKEW + 0.5) == -MAX_SKEW
    assert measured_skew(NOON, WALL + MAX_SKEW + 1) is None
    assert measured_skew(NOON, WALL - MAX_SKEW) is None


AHEAD, BEHIND = timezone(timedelta(hours=14)), timezone(timedelta(hours=-14))
ENDS = [
    datetime.max.replace(tzinfo=UTC),
    datetime.max.replace(tzinfo=BEHIND),
    datetime.min.replace(tzinfo=UTC),
    datetime.min.replace(tzinfo=AHEAD),
]


@pytest.mark.parametrize("point", ENDS)
@pytest.mark.parametrize("skew", [None, -MAX_SKEW, MAX_SKEW])
def test_the_ends_of_the_calendar_are_ends_like_others(point: datetime, skew: float | None) -> None:
    found = lifetime_of(point, Span(0, 0, WALL, skew))
    assert (found is None) == (point.year == 1)
    assert found is None or (found.expires is not None and found.expires <= LAST_DAY)
    assert measured_skew(point, WALL) is None


@pytest.mark.parametrize("span", [timedelta.max, timedelta(seconds=1e9), timedelta(seconds=1e12)])
def test_a_span_beyond_the_calendar_is_shown_as_its_end(span: timedelta) -> None:
    found = lifetime_of(span, Span(0, 0, WALL))
    assert found is not None
    assert found.seconds == span.total_seconds() - MARGIN
    assert found.expires is not None
    assert (found.expires == LAST_DAY) == (span > LAST_DAY - NOON)


@given(
    st.timedeltas() | st.datetimes(timezones=st.just(UTC)) | st.none(), st.floats(0, 1e11), st.floats(0, 1e6)
)
def test_nothing_raises(expires: datetime | timedelta | None, wall: float, took: float) -> None:
    found = lifetime_of(expires, Span(0, took, wall, None))
    assert found is None or found.seconds >= LEAST_GAP


@pytest.mark.parametrize("span", [timedelta.min, timedelta(0)])
def test_a_span_before_the_calendar_has_ended(span: timedelta) -> None:
    assert lifetime_of(span, Span(0, 0, WALL)) is None
