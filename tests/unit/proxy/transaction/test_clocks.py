from datetime import timedelta

import pytest

from proxy.transaction.clocks import MAX_HOSTS, MAX_OFFSET, HostClocks
from tests.lane_world import NOON

HOUR = timedelta(hours=1)


@pytest.mark.parametrize("off", [HOUR, -HOUR, MAX_OFFSET, -MAX_OFFSET])
def test_the_time_at_a_host_is_ours_until_it_has_told_another(off: timedelta) -> None:
    clocks = HostClocks()
    assert clocks.at("a", NOON) == NOON

    assert clocks.learn("a", NOON + off, NOON) == off

    assert clocks.at("a", NOON + HOUR) == NOON + HOUR + off
    assert clocks.at("b", NOON) == NOON


def test_the_last_that_it_told_counts() -> None:
    clocks = HostClocks()
    clocks.learn("a", NOON + HOUR, NOON)

    clocks.learn("a", NOON + HOUR, NOON + HOUR)

    assert clocks.at("a", NOON) == NOON


@pytest.mark.parametrize("off", [MAX_OFFSET + timedelta(seconds=1), timedelta(days=-36500)])
def test_nobody_makes_us_sign_for_another_day(off: timedelta) -> None:
    clocks = HostClocks()
    clocks.learn("a", NOON + HOUR, NOON)

    assert clocks.learn("a", NOON + off, NOON) is None

    assert clocks.at("a", NOON) == NOON + HOUR


def test_who_is_not_asked_any_more_is_forgotten_first() -> None:
    clocks = HostClocks()
    for number in range(MAX_HOSTS):
        clocks.learn(f"host-{number}", NOON + HOUR, NOON)
    clocks.at("host-0", NOON)

    clocks.learn("one more", NOON + HOUR, NOON)

    assert len(clocks) == MAX_HOSTS
    assert clocks.at("host-0", NOON) == NOON + HOUR
    assert clocks.at("host-1", NOON) == NOON
