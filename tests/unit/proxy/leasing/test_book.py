from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import inf
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.credentials import CredentialSource
from proxy.core.lease import Lease, LeaseKey
from proxy.core.mounted_sources import MountedSecret
from proxy.core.parts import Part
from proxy.core.secret import Secret
from proxy.leasing.book import (
    TOO_OLD,
    BackingOff,
    Fetching,
    Have,
    LeaseBook,
    Look,
    MustFetch,
    RefreshSoon,
    Ticket,
)
from proxy.leasing.lifetimes import Span
from proxy.leasing.pace import (
    ASKS_PER_LIFETIME,
    CEILING,
    FIRST_GRACE,
    FORGIVEN_AFTER,
    LAST_GRACE,
    LEAST_GAP,
    LIVE_GAP,
    LOCAL_GAP,
    MARGIN,
    REFRESH_FROM,
)
from proxy.sources.steps import Acquired, Failed

KEY: Final = LeaseKey(CredentialSource("ml", "hub", MountedSecret("s", ((Part.TOKEN, "t"),))))
OTHER: Final = LeaseKey(KEY.source, "narrowed")
# The wall's clock where the forward clock stands at 0.
EPOCH: Final = 1_800_000_000.0
NO: Final = Failed("the provider is down")


def acquired(expires: datetime | float | None = 3600.0, value: bytes = b"x") -> Acquired:
    span = timedelta(seconds=expires) if isinstance(expires, int | float) else expires
    return Acquired({Part.TOKEN: Secret(value)}, span)


class Desk:
    """A book with somebody before it, in whose world clocks are right."""

    def __init__(self) -> None:
        self.book = LeaseBook()

    def look(self, mono: float, key: LeaseKey = KEY) -> Look:
        return self.book.look(key, mono, EPOCH + mono)

    def begin(self, key: LeaseKey = KEY) -> Ticket:
        ticket = self.book.begin(key)
        assert ticket is not None
        return ticket

    def succeed(
        self,
        ticket: Ticket,
        mono: float,
        life: float | None = 3600.0,
        *,
        name: str = "l-1",
        took: float = 0.0,
        dice: float = 0.0,
        local: bool = False,
    ) -> Lease | Failed | None:
        span = Span(mono - took, mono, EPOCH + mono)
        return self.book.succeed(ticket, name, acquired(life), span, dice, local=local)

    def give(
        self, mono: float, life: float | None = 3600.0, *, name: str = "l-1", dice: float = 0.0
    ) -> Lease:
        made = self.succeed(self.begin(), mono, life, name=name, dice=dice)
        assert isinstance(made, Lease)
        return made

    def fail(self, mono: float, failed: Failed = NO, *, dice: float = 0.0, local: bool = False) -> None:
        self.book.fail(self.begin(), failed, mono, dice, local=local)


@pytest.fixture
def desk() -> Desk:
    return Desk()


# --- one life ----------------------------------------------------------------------------------------


def test_a_key_that_nobody_asked_for_is_to_be_fetched(desk: Desk) -> None:
    assert desk.look(0) == MustFetch()
    assert desk.book.held(KEY, 0) is None
    assert (desk.book.live(0), desk.book.failing(), [*desk.book.all_held(0)]) == (0, 0, [])


def test_while_it_is_fetched_no_second_flight_begins(desk: Desk) -> None:
    ticket = desk.begin()
    assert desk.look(0) == Fetching()
    assert desk.book.begin(KEY) is None
    assert desk.look(0, OTHER) == MustFetch()

    made = desk.succeed(ticket, 0)
    assert isinstance(made, Lease)
    assert desk.look(0) == Have(made)
    assert made.issued == datetime.fromtimestamp(EPOCH, UTC)
    assert made.expires == datetime.fromtimestamp(EPOCH + 3600 - MARGIN, UTC)


def test_a_lease_lives_until_a_margin_before_its_end(desk: Desk) -> None:
    lease = desk.give(0, 100)
    assert desk.look(97.9) == RefreshSoon(lease)
    assert desk.look(98) == MustFetch()


@pytest.mark.parametrize("dice", [0.0, 0.5, 0.999999])
def test_it_is_refreshed_between_two_thirds_and_five_sixths_of_its_life(desk: Desk, dice: float) -> None:
    lease = desk.give(0, 600 + MARGIN, dice=dice)
    at = 400 + 100 * dice
    assert desk.look(at - 1e-6) == Have(lease)
    assert desk.look(at + 1e-6) == RefreshSoon(lease)

    ticket = desk.begin()
    assert desk.look(at + 1) == Have(lease), "the refresh is under way"
    new = desk.succeed(ticket, at + 2, name="l-2")
    assert isinstance(new, Lease)
    assert desk.look(at + 2) == Have(new)


def test_a_life_is_counted_from_its_answer_and_a_slow_one_is_not_asked_for_again_at_once(desk: Desk) -> None:
    made = desk.succeed(desk.begin(), 20, 22 + 6, took=20)
    assert isinstance(made, Lease)
    assert desk.look(20) == Have(made)
    assert desk.look(23.9) == Have(made)
    assert desk.look(24) == RefreshSoon(made)


def test_without_an_end_it_lives_until_an_upstream_refuses_it(desk: Desk) -> None:
    lease = desk.give(0, None)
    assert lease.expires is None
    assert desk.look(1e9) == Have(lease)
    assert desk.book.due(1e9) == []
    assert desk.book.spent(KEY, lease.id, 1e9)
    assert desk.look(1e9) == MustFetch()


def test_a_clock_that_is_set_forward_ends_a_lease_and_one_set_back_lengthens_none(desk: Desk) -> None:
    lease = desk.give(0, 100)
    assert desk.book.look(KEY, 97, EPOCH - 1e6) == RefreshSoon(lease)
    assert desk.book.look(KEY, 98, EPOCH - 1e6) == MustFetch()

    desk.give(100, 100)
    assert desk.book.look(KEY, 101, EPOCH + 198) == MustFetch()


def test_a_node_that_slept_trusts_the_clock_that_went_on(desk: Desk) -> None:
    desk.give(0, 100)
    assert desk.book.look(KEY, 1, EPOCH + 98) == MustFetch()


def test_what_ends_within_a_second_is_no_lease_and_no_reason_to_ask_again_at_once(desk: Desk) -> None:
    made = desk.succeed(desk.begin(), 0, MARGIN + LEAST_GAP / 2)
    assert made == Failed(TOO_OLD)
    assert desk.look(0.5) == BackingOff(TOO_OLD, 0.5)
    assert desk.look(1) == MustFetch()


@pytest.mark.parametrize("life", [0.0, -5.0, -1e9, 1e-9])
def test_a_lease_that_has_ended_already_is_none_and_a_good_one_stays(desk: Desk, life: float) -> None:
    lease = desk.give(0, 600)
    assert desk.succeed(desk.begin(), 500, life, name="l-2") == Failed(TOO_OLD)
    assert desk.look(500) == Have(lease)
    assert desk.look(597) == RefreshSoon(lease)


@given(
    life=st.floats(-1e9, 1e9) | st.sampled_from((0.0, -0.0, 1e9, 8.6e13)),
    dice=st.sampled_from((0.0, 0.5, 0.999999)),
    wall=st.sampled_from((0.0, EPOCH, 2.5e11)),
    wished=st.none() | st.floats(min_value=0) | st.sampled_from((-1.0, 1e300, inf)),
)
def test_nothing_raises_whatever_a_source_says(
    life: float, dice: float, wall: float, wished: float | None
) -> None:
    book = LeaseBook()
    ticket = book.begin(KEY)
    assert ticket is not None
    made = book.succeed(ticket, "l-1", acquired(life), Span(0, 1, wall), dice)
    assert isinstance(made, Lease) == (life - MARGIN - 1 >= LEAST_GAP)
    again = book.begin(KEY)
    assert again is not None
    book.fail(again, Failed("no", wished), 2, dice)
    look = book.look(KEY, 2, wall + 1)
    assert isinstance(look, Have | RefreshSoon | BackingOff | MustFetch)


# --- how often a source is asked ---------------------------------------------------------------------


def asks(
    answer: Callable[[Desk, Ticket, float], object],
    until: float,
    every: float = 0.25,
    jumps: tuple[float, ...] = (),
) -> list[float]:
    """When it was, by requests without a pause. At each jump the wall's clock is set far forward."""
    desk, asked, mono, error = Desk(), list[float](), 0.0, 0.0
    ahead = [*jumps]
    while mono < until:
        if ahead and mono >= ahead[0]:
            error += 1e6
            ahead.pop(0)
        look = desk.book.look(KEY, mono, EPOCH + mono + error)
        if isinstance(look, MustFetch | RefreshSoon):
            asked.append(mono)
            answer(desk, desk.begin(), mono)
        mono += every
    return asked


@pytest.mark.parametrize("dice", [0.0, 0.999999])
@pytest.mark.parametrize("life", [10.0, 62.0, 602.0, 3602.0])
def test_a_source_that_fails_is_asked_eight_times_in_a_lifetime_at_most(life: float, dice: float) -> None:
    def once(desk: Desk, ticket: Ticket, mono: float) -> None:
        if mono == 0:
            desk.succeed(ticket, mono, life)
        else:
            desk.book.fail(ticket, NO, mono, dice)

    asked = asks(once, life - MARGIN)
    assert len(asked) <= ASKS_PER_LIFETIME
    if (life, dice) == (3602.0, 0.0):
        assert len(asked) == ASKS_PER_LIFETIME, "the bound is met, not merely kept"


@pytest.mark.parametrize("jumps", [(), (500.0,), (1.0, 2.0, 3.0), (2399.0, 2401.0, 3000.0)])
@pytest.mark.parametrize("dice", [0.0, 0.999999])
def test_a_provider_that_gives_the_same_again_is_asked_as_rarely(
    dice: float, jumps: tuple[float, ...]
) -> None:
    """Its remainder shrinks, and asks at two thirds of what is left would come without an end. Once more for
    each time that the wall's clock makes a lease seem to have ended."""

    def cached(desk: Desk, ticket: Ticket, mono: float) -> None:
        error = 1e6 * sum(mono >= jump for jump in jumps)
        span = Span(mono, mono, EPOCH + mono + error)
        desk.book.succeed(ticket, "l-1", acquired(3602 - mono), span, dice)

    asked = asks(cached, 3600)
    assert len(asked) <= ASKS_PER_LIFETIME + len(jumps)
    assert all(later - sooner >= 3600 * LIVE_GAP for sooner, later in pairwise(asked) if later not in jumps)


def test_a_credential_that_is_renewed_keeps_its_name_and_its_pace(desk: Desk) -> None:
    desk.give(0, 3602)
    lease = desk.give(2400, 3602)
    assert desk.look(2400 + 3600 * REFRESH_FROM - 1) == Have(lease)
    assert isinstance(desk.look(2400 + 3600 * REFRESH_FROM + 1), RefreshSoon)
    held = desk.book.held(KEY, 2400)
    assert held is not None
    assert (held.age, held.lease.issued) == (2400, datetime.fromtimestamp(EPOCH, UTC))


def test_leases_of_a_few_seconds_are_asked_for_once_a_second_at_most() -> None:
    def short(desk: Desk, ticket: Ticket, mono: float) -> None:
        desk.succeed(ticket, mono, MARGIN + 1.1, name=f"l-{mono}")

    asked = asks(short, 20, every=1 / 16)
    assert len(asked) > 1
    assert all(later - sooner >= LEAST_GAP for sooner, later in pairwise(asked))


def test_an_endless_credential_that_comes_to_have_an_end_is_refreshed_before_it(desk: Desk) -> None:
    desk.give(0, None)
    lease = desk.give(10, 602)
    assert desk.look(10 + 399) == Have(lease)
    assert desk.look(10 + 401) == RefreshSoon(lease)
    desk.fail(10 + 401)
    assert desk.look(10 + 401 + 29) == Have(lease)
    assert desk.look(10 + 401 + 31) == RefreshSoon(lease)


def test_only_leases_that_are_used_are_refreshed_by_themselves(desk: Desk) -> None:
    lease = desk.give(0, 602)
    assert desk.book.due(500) == [], "nobody has asked for it"
    desk.look(1)
    assert desk.book.due(399) == []
    assert desk.book.due(401) == [KEY]
    ticket = desk.begin()
    assert desk.book.due(402) == [], "it is on its way"
    desk.book.fail(ticket, NO, 402, 0.0)
    assert desk.book.due(431) == [], "the source is left in peace"
    assert desk.book.due(432) == [KEY]
    assert desk.look(599) == RefreshSoon(lease)
    assert desk.book.due(600) == [], "it has ended, and the next request will ask"


def test_a_value_that_came_again_is_refreshed_only_if_it_was_used_since(desk: Desk) -> None:
    desk.give(0, 602)
    desk.look(1)
    desk.give(450, 602)
    assert desk.book.due(1000) == []
    desk.look(460)
    assert desk.book.due(1000) == [KEY]


# --- a source that fails -----------------------------------------------------------------------------


def test_a_good_lease_is_kept_while_its_refresh_fails_until_it_ends(desk: Desk) -> None:
    lease = desk.give(0, 602)
    for mono in range(400, 600, 30):
        desk.fail(mono)
        assert desk.look(mono) == Have(lease)
    assert desk.look(599.9) == Have(lease), "asked 19.9 s ago"
    assert desk.look(600) == MustFetch()
    desk.fail(600)
    assert desk.look(600) == BackingOff("the provider is down", LEAST_GAP)
    assert desk.book.failing() == 1


def test_a_lease_that_ends_during_its_refresh_is_not_given_meanwhile(desk: Desk) -> None:
    desk.give(0, 602)
    ticket = desk.begin()
    assert desk.look(601) == Fetching()
    desk.book.fail(ticket, NO, 610, 0.0)
    assert desk.look(610) == BackingOff("the provider is down", LEAST_GAP)
    assert desk.book.live(610) == 0


def test_a_source_that_asks_for_patience_gets_it(desk: Desk) -> None:
    desk.fail(0, Failed("too many requests", 77))
    assert desk.look(76) == BackingOff("too many requests", 1)
    assert desk.look(77) == MustFetch()


def test_a_success_forgets_every_failure(desk: Desk) -> None:
    for mono in range(0, 100, 10):
        desk.fail(mono)
    lease = desk.give(100)
    assert desk.book.failing() == 0
    assert desk.look(100) == Have(lease)
    assert desk.book.spent(KEY, lease.id, 200)
    desk.fail(200, dice=0.999999)
    look = desk.look(200)
    assert isinstance(look, BackingOff)
    assert look.seconds < 2, "the first failure in a row"


@pytest.mark.parametrize("dice", [0.0, 0.5, 0.999999])
def test_traffic_flows_through_an_outage_as_long_as_the_lease_lives_and_soon_after_it(dice: float) -> None:
    """A source goes down for an hour just before the first lease is to be refreshed; a request comes every
    second."""
    desk = Desk()
    down, up, end = 2390, 2390 + 3600, 3600 - int(MARGIN)
    served, refused, asked = list[int](), list[int](), list[int]()
    for mono in range(up + 120):
        look = desk.look(mono)
        if isinstance(look, MustFetch | RefreshSoon):
            asked.append(mono)
            if down <= mono < up:
                desk.fail(mono, dice=dice)
            else:
                desk.give(mono, 3600, name=f"l-{mono}", dice=dice)
            look = desk.look(mono)
        if isinstance(look, Have | RefreshSoon):
            served.append(mono)
        else:
            assert isinstance(look, BackingOff)
            assert look.why == "the provider is down"
            refused.append(mono)
    recovered = min(at for at in served if at >= up)
    assert served == [*range(end), *range(recovered, up + 120)]
    assert refused == [*range(end, recovered)]
    assert up <= recovered <= up + CEILING
    assert len([at for at in asked if at < end]) <= ASKS_PER_LIFETIME


# --- local sources -----------------------------------------------------------------------------------


def test_a_local_source_is_read_again_after_a_second_and_only_when_asked_for(desk: Desk) -> None:
    made = desk.succeed(desk.begin(), 0, None, local=True)
    assert isinstance(made, Lease)
    assert desk.look(LOCAL_GAP - 0.001) == Have(made)
    assert desk.book.due(LOCAL_GAP) == []
    assert desk.look(LOCAL_GAP) == MustFetch()


def test_a_local_source_that_is_read_by_a_clock_set_back_is_no_older(desk: Desk) -> None:
    desk.succeed(desk.begin(), 0, None, local=True)
    assert desk.book.look(KEY, LOCAL_GAP, EPOCH - 1e6) == MustFetch()


def test_a_failure_of_a_local_source_is_forgotten_after_a_second(desk: Desk) -> None:
    for mono in range(20):
        assert desk.look(mono) == MustFetch()
        desk.fail(mono, dice=0.999999, local=True)
        assert desk.look(mono + 0.5) == BackingOff("the provider is down", 0.5)


def test_a_local_lease_ends_no_later_than_it_says(desk: Desk) -> None:
    made = desk.succeed(desk.begin(), 0, MARGIN + 1.5, took=0.4, local=True)
    assert isinstance(made, Lease)
    assert desk.look(0.99) == Have(made)
    assert desk.look(1) == MustFetch()
    assert desk.succeed(desk.begin(), 1, 0, local=True) == Failed(TOO_OLD)
    assert desk.look(1 + LOCAL_GAP) == MustFetch()


# --- what upstreams say ------------------------------------------------------------------------------


def test_a_lease_that_an_upstream_calls_spent_is_fetched_anew(desk: Desk) -> None:
    desk.give(0)
    assert desk.book.spent(KEY, "l-1", FIRST_GRACE)
    assert desk.look(FIRST_GRACE) == MustFetch()
    assert not desk.book.spent(KEY, "l-1", FIRST_GRACE), "it is gone"


def test_a_young_lease_is_kept_whatever_an_upstream_says(desk: Desk) -> None:
    lease = desk.give(0)
    assert not desk.book.spent(KEY, "l-1", FIRST_GRACE - 0.1)
    assert desk.look(FIRST_GRACE - 0.1) == Have(lease)


def test_another_lease_than_the_one_that_was_refused_is_kept(desk: Desk) -> None:
    lease = desk.give(0)
    assert not desk.book.spent(KEY, "l-0", 1000)
    assert not desk.book.spent(OTHER, "l-1", 1000)
    assert desk.look(1000) == Have(lease)


@pytest.mark.parametrize("name", ["the same", "another each time"])
def test_an_upstream_that_refuses_every_lease_is_believed_ever_more_rarely(desk: Desk, name: str) -> None:
    """Also where the source gives the same value again and again, whose age tells nothing."""
    taken: list[int] = []
    for mono in range(0, 4 * 3600, 5):
        look = desk.look(mono)
        if look == MustFetch():
            desk.give(mono, None, name=name if name == "the same" else f"l-{mono}")
        held = desk.book.held(KEY, mono)
        assert held is not None
        if desk.book.spent(KEY, held.lease.id, mono):
            taken.append(mono)
    gaps = [later - sooner for sooner, later in zip([0, *taken], taken, strict=False)]
    # The fetch that follows takes place with the next request.
    expected = [min(FIRST_GRACE * 2**n, LAST_GRACE) for n in range(len(gaps))]
    assert all(0 <= gap - grace <= 5 for gap, grace in zip(gaps, expected, strict=True))
    assert gaps[-1] >= LAST_GRACE


def test_a_lease_that_lived_its_life_makes_the_next_one_be_believed_again(desk: Desk) -> None:
    desk.give(0, 602)
    assert desk.book.spent(KEY, "l-1", 30)
    desk.give(30, 602, name="l-2")
    assert not desk.book.spent(KEY, "l-2", 60), "doubled"
    desk.give(440, 602, name="l-3")
    assert desk.book.spent(KEY, "l-3", 470), "and back"


def test_so_does_one_that_lived_to_its_end_before_anybody_asked_again(desk: Desk) -> None:
    desk.give(0, 602)
    assert desk.book.spent(KEY, "l-1", 30)
    desk.give(30, 602, name="l-2")
    assert desk.look(7000) == MustFetch()
    desk.give(7000, 602, name="l-3")
    assert desk.book.spent(KEY, "l-3", 7030)


def test_a_source_that_took_long_after_a_refusal_proves_nothing_for_the_lease(desk: Desk) -> None:
    desk.give(0, 602)
    assert desk.book.spent(KEY, "l-1", 30)
    desk.give(450, 602, name="l-2")
    assert not desk.book.spent(KEY, "l-2", 480), "doubled: the first one was good for half a minute"


def test_a_credential_that_ends_every_ten_minutes_and_does_not_say_so_is_replaced_each_time(
    desk: Desk,
) -> None:
    for mono in range(0, 36_000, 600):
        desk.give(mono, None, name=f"l-{mono}")
        assert desk.book.spent(KEY, f"l-{mono}", mono + 600)


def test_a_spent_lease_waits_for_a_source_that_wants_peace(desk: Desk) -> None:
    desk.give(0, 602)
    desk.fail(400, Failed("busy", 50))
    assert desk.book.spent(KEY, "l-1", 410)
    assert desk.look(410) == BackingOff("busy", 40)


# --- ends --------------------------------------------------------------------------------------------


def test_a_flight_whose_key_was_dropped_brings_nothing_back(desk: Desk) -> None:
    ticket = desk.begin()
    assert desk.book.drop(KEY, 0) == []
    assert desk.succeed(ticket, 1) is None
    assert desk.look(1) == MustFetch()
    desk.book.fail(ticket, NO, 1, 0.0)
    desk.book.learn(ticket, 5.0)
    assert (desk.look(1), desk.book.skew(KEY), desk.book.failing()) == (MustFetch(), 0.0, 0)
    desk.begin()
    assert [*desk.book.all_held(1)] == []


def test_nor_when_the_key_was_added_again_and_is_being_fetched(desk: Desk) -> None:
    old = desk.begin()
    desk.book.retain([], 0)
    new = desk.begin()
    assert desk.succeed(old, 1, name="old") is None
    desk.book.fail(old, NO, 1, 0.0)
    assert desk.look(1) == Fetching()
    made = desk.succeed(new, 2, name="new")
    assert isinstance(made, Lease)
    assert desk.look(2) == Have(made)
    assert desk.succeed(old, 3, name="old") is None
    assert desk.look(3) == Have(made)


def test_what_policy_does_not_name_any_more_is_given_back(desk: Desk) -> None:
    lease = desk.give(0)
    other = desk.succeed(desk.begin(OTHER), 0, name="l-2")
    assert [held.lease for held in desk.book.all_held(5)] == [lease, other]
    assert desk.book.live(5) == 2
    [held] = desk.book.retain([OTHER], 5)
    assert (held.key, held.lease, held.age, held.unused) == (KEY, lease, 5, None)
    assert held.acquired == acquired()
    assert desk.look(5) == MustFetch()
    assert [held.lease for held in desk.book.all_held(5)] == [other]


def test_a_held_lease_tells_when_it_was_last_used(desk: Desk) -> None:
    desk.give(0)
    desk.look(7)
    held = desk.book.held(KEY, 10)
    assert held is not None
    assert (held.age, held.unused) == (10, 3)


def test_a_sources_clock_is_remembered(desk: Desk) -> None:
    assert desk.book.skew(KEY) == 0.0
    ticket = desk.begin()
    assert desk.book.skew(KEY) == 0.0
    desk.book.learn(ticket, 2.5)
    desk.book.learn(ticket, None)
    desk.book.fail(ticket, NO, 0, 0.0)
    assert desk.book.skew(KEY) == 2.5


def test_what_an_upstream_calls_spent_is_given_back_to_be_revoked(desk: Desk) -> None:
    lease = desk.give(0)
    held = desk.book.spent(KEY, lease.id, FIRST_GRACE)

    assert held is not None
    assert (held.lease, held.age) == (lease, FIRST_GRACE)
    assert desk.book.held(KEY, FIRST_GRACE) is None


def test_a_local_lease_that_an_upstream_calls_spent_is_read_at_once_however_young_it_is(desk: Desk) -> None:
    made = desk.succeed(desk.begin(), 0, None, local=True)
    assert isinstance(made, Lease)

    assert desk.book.spent(KEY, made.id, 0.1) is None

    assert isinstance(desk.look(0.1), MustFetch)


# --- what has ended ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("mono", "turned"), [(3600 - MARGIN, 0.0), (10.0, 3600.0)])
def test_what_has_ended_by_either_clock_is_swept_out(desk: Desk, mono: float, turned: float) -> None:
    lease = desk.give(0)

    assert desk.book.sweep(10, EPOCH + 10) == []
    (lapsed,) = desk.book.sweep(mono, EPOCH + mono + turned)

    assert lapsed.lease is lease
    assert desk.book.held(KEY, mono) is None
    assert desk.book.sweep(mono, EPOCH + mono + turned) == []
    assert isinstance(desk.look(mono), MustFetch)


def test_what_is_local_or_on_its_way_is_not_swept_out(desk: Desk) -> None:
    desk.give(0)
    desk.begin()
    desk.succeed(desk.begin(OTHER), 0, None, local=True)

    assert desk.book.sweep(1e6, EPOCH + 1e6) == []
    assert desk.book.live(1e6) == 1


def test_a_ticket_is_wanted_until_its_key_is_dropped(desk: Desk) -> None:
    ticket = desk.begin()
    assert desk.book.is_wanted(ticket)

    desk.book.drop(KEY, 1)

    assert not desk.book.is_wanted(ticket)


def test_no_rhythm_of_refusals_wears_a_source_out(desk: Desk) -> None:
    """An application that provokes them chooses when: whatever it does, forgiveness costs it patience."""
    forgiven = int(FIRST_GRACE * FORGIVEN_AFTER)
    for pauses in ([30], [30, 60], [30, forgiven * 2], [31, 121], [30, 60, 120, forgiven * 8]):
        desk.book = LeaseBook()
        mono, taken = 0, 0
        desk.give(0, None, name="l-0")
        while mono < 86_400:
            for pause in pauses:
                mono += pause
                held = desk.book.held(KEY, mono)
                assert held is not None
                if desk.book.spent(KEY, held.lease.id, mono):
                    taken += 1
                    desk.give(mono, None, name=f"l-{mono}")
        assert taken <= 86_400 / 240, pauses


# --- idle --------------------------------------------------------------------------------------------


def test_what_holds_nothing_is_idle_and_what_was_never_asked_for_is() -> None:
    desk = Desk()
    assert desk.book.is_idle(KEY, 0)
    ticket = desk.begin()
    assert not desk.book.is_idle(KEY, 0)
    desk.succeed(ticket, 0, 300)
    assert not desk.book.is_idle(KEY, 299)
    desk.book.sweep(299, EPOCH + 299)
    assert desk.book.is_idle(KEY, 299)


def test_a_source_that_failed_is_remembered_until_it_was_left_in_peace_for_long() -> None:
    desk = Desk()
    desk.book.fail(desk.begin(), NO, 0, 0.0)
    assert not desk.book.is_idle(KEY, CEILING)
    assert desk.book.is_idle(KEY, CEILING + LEAST_GAP)
