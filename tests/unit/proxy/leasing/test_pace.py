from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.leasing.pace import (
    ASKS_PER_LIFETIME,
    CEILING,
    LEAST_GAP,
    LIVE_GAP,
    MARGIN,
    REFRESH_FROM,
    REFRESH_SPREAD,
    Retry,
    refresh_after,
    retry_after,
)

dices = st.floats(0, 1, exclude_max=True) | st.sampled_from((0.0, 0.999999))
wishes = st.none() | st.floats(-10, 1e12) | st.just(inf)


def test_the_promise_is_what_the_numbers_add_up_to() -> None:
    """The last third of a life holds six whole gaps: seven asks, and the one that made the lease."""
    gaps = int((1 - REFRESH_FROM) / LIVE_GAP)
    assert 1 + gaps + 1 == ASKS_PER_LIFETIME
    assert REFRESH_FROM + REFRESH_SPREAD < 1 - LIVE_GAP, "one failure leaves time for another ask"
    assert MARGIN > LEAST_GAP


@given(st.floats(1, 1e9), dices)
def test_a_refresh_is_due_between_two_thirds_and_five_sixths(left: float, dice: float) -> None:
    after = refresh_after(left, left, dice)
    assert max(left * 2 / 3, 1) * 0.999 <= after <= max(left * 5 / 6, 1) * 1.001


@given(st.floats(1, 1e9), st.floats(1, 1e9), dices)
def test_what_comes_again_keeps_the_gap_of_its_life(left: float, more: float, dice: float) -> None:
    assert refresh_after(left, left + more, dice) >= max((left + more) * LIVE_GAP, LEAST_GAP)


def test_what_does_not_end_is_not_refreshed() -> None:
    assert refresh_after(inf, 0.0, 0.0) == inf
    assert refresh_after(inf, 3600, 0.999999) == inf


@pytest.mark.parametrize(
    ("failures", "ceiling"), [(1, 2), (2, 4), (3, 8), (4, 16), (5, CEILING), (6, CEILING), (10**6, CEILING)]
)
def test_the_draw_is_from_all_of_a_window_that_doubles(failures: int, ceiling: float) -> None:
    assert retry_after(failures, 0.0, None, 0.0) == Retry(LEAST_GAP, LEAST_GAP)
    middle, last = retry_after(failures, 0.0, None, 0.75), retry_after(failures, 0.0, None, 0.999999)
    assert middle.dead == pytest.approx(0.75 * ceiling)
    assert last.dead == pytest.approx(ceiling, rel=1e-5)


@given(st.integers(1, 10**9), st.floats(0, 1e9), wishes, dices)
def test_the_bounds_hold_for_every_draw(
    failures: int, lifetime: float, wished: float | None, dice: float
) -> None:
    wait = retry_after(failures, lifetime, wished, dice)
    floor = max(LEAST_GAP, wished or 0.0)
    assert floor <= wait.dead <= max(floor, min(CEILING, 2.0 ** min(failures, 10)))
    assert wait.live == max(wait.dead, lifetime * LIVE_GAP)


def test_while_a_lease_lives_its_source_is_left_in_peace_for_a_twentieth_of_its_life() -> None:
    assert retry_after(1, 3600, None, 0.5) == Retry(180, 1)
    assert retry_after(1, 3600, 600, 0.5) == Retry(600, 600)
