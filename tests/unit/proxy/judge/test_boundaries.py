from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from proxy.core.validity import Day, Validity, WeeklyWindow
from proxy.judge.boundaries import next_boundary
from tests.judge_world import CATALOGUE, NOON, POD, index_of, policy

HOUR = timedelta(hours=1)
ZONES = ("UTC", "Europe/Berlin", "Asia/Kathmandu", "America/St_Johns", "Australia/Lord_Howe")


def test_what_is_always_valid_has_no_boundary() -> None:
    assert next_boundary([Validity()], NOON) is None


def test_the_next_beginning_or_end_counts_and_one_that_is_past_does_not() -> None:
    past = Validity(not_before=NOON - HOUR)
    assert next_boundary([past], NOON) is None
    assert next_boundary([past, Validity(NOON + 2 * HOUR, NOON + 3 * HOUR)], NOON) == NOON + 2 * HOUR
    assert next_boundary([Validity(not_after=NOON)], NOON) is None


def test_rules_know_the_boundaries_of_their_own_policies() -> None:
    ends = "{notAfter: '2026-03-04T13:00:00Z'}"
    text = policy("{hosts: [one.example.com], credential: a}", validity=ends)
    text += policy("{hosts: [two.example.com], credential: a}", name="q")
    pod = index_of(text, CATALOGUE).for_pod(POD)

    assert pod.rules_for("one.example.com").stays_until(NOON) == NOON + HOUR
    assert pod.rules_for("two.example.com").stays_until(NOON) is None


MINUTES = st.integers(0, 24 * 60 - 1)
WINDOWS = st.builds(
    WeeklyWindow,
    st.sets(st.sampled_from(Day), min_size=1).map(tuple),
    MINUTES,
    MINUTES,
    st.sampled_from(ZONES).map(ZoneInfo),
)
TIMES = st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
VALIDITIES = st.builds(
    Validity, st.none() | TIMES, st.none() | TIMES, st.lists(WINDOWS, max_size=2).map(tuple)
)


@given(st.lists(VALIDITIES, max_size=3), TIMES, st.floats(0, 1, exclude_max=True))
def test_until_the_boundary_nothing_changes(validities: list[Validity], now: datetime, share: float) -> None:
    boundary = next_boundary(validities, now)
    span = (boundary if boundary is not None else now + timedelta(days=900)) - now
    then = now + span * share

    assert span > timedelta()
    if then < now + span:
        assert [one.fault(then) for one in validities] == [one.fault(now) for one in validities]
