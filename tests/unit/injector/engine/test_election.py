from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from injector.core.api import ClusterFault
from injector.engine.election import (
    LEASE_SECONDS,
    RENEW_DEADLINE,
    RETRY_SECONDS,
    Create,
    Election,
    Look,
    Patch,
    Rest,
)
from injector.reading.objects import Lease

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
STAMP = "2026-01-01T12:00:00.000000Z"
CONFLICT = ClusterFault(409, "Conflict", "")
LOST = ClusterFault(None, "TimedOut", "")


def of(holder: str, version: str = "1", **more: Any) -> Lease:
    return Lease(version, holder, LEASE_SECONDS, **more)


def made() -> Election:
    return Election("podkey-system", "podkey-injector", "me")


def leading(now: float = 0.0) -> Election:
    election = made()
    election.looked(None, now, 0)
    assert isinstance(election.next(now, NOON), Create)
    election.wrote(of("me", "1"), now, 0)
    return election


def test_without_a_lease_it_is_made_and_leads_from_when_it_was_sent() -> None:
    election = made()
    assert election.next(0, NOON) == Look()
    election.looked(None, 1, 0)
    assert election.next(2, NOON) == Create(
        {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": "podkey-injector", "namespace": "podkey-system"},
            "spec": {
                "holderIdentity": "me",
                "leaseDurationSeconds": LEASE_SECONDS,
                "leaseTransitions": 0,
                "acquireTime": STAMP,
                "renewTime": STAMP,
            },
        }
    )
    assert not election.leads(2)
    election.wrote(of("me"), 5, 0)
    assert election.leads(2 + RENEW_DEADLINE - 0.001)
    assert not election.leads(2 + RENEW_DEADLINE), "from when it was sent, not when it was answered"


def test_a_leader_renews_what_it_wrote_without_reading_it() -> None:
    election = leading()
    assert election.next(0, NOON) == Rest(RETRY_SECONDS)
    election.wrote(of("me", "7", transitions=3, acquired="earlier"), 2, 0)
    step = election.next(4, NOON)
    assert step == Patch(
        {
            "metadata": {"resourceVersion": "7"},
            "spec": {
                "holderIdentity": "me",
                "leaseDurationSeconds": LEASE_SECONDS,
                "leaseTransitions": 3,
                "acquireTime": "earlier",
                "renewTime": STAMP,
            },
        }
    )


def test_a_free_lease_is_taken_and_counted_as_a_transition() -> None:
    election = made()
    election.looked(of("", "4", transitions=3, acquired="long ago"), 0, 0)
    step = election.next(0, NOON + timedelta(hours=1))
    assert isinstance(step, Patch)
    assert step.patch["spec"]["leaseTransitions"] == 4
    assert step.patch["spec"]["acquireTime"] == "2026-01-01T13:00:00.000000Z"


def test_anothers_lease_is_taken_when_nothing_of_it_changed_for_as_long_as_it_says() -> None:
    election = made()
    election.looked(of("other", "4"), 0, 0)
    assert election.next(0, NOON) == Rest(RETRY_SECONDS)
    assert election.next(3, NOON) == Look()
    election.looked(of("other", "5"), 3, 0)
    assert election.next(17.9, NOON) == Look()
    election.looked(of("other", "5"), 17.9, 0)
    assert election.next(20, NOON) != Look(), "15 s after it was first seen so"
    election.failed(CONFLICT, 20, 0)
    assert election.next(23, NOON) == Look(), "who was faster is looked at"
    election.looked(of("other", "6"), 23, 0)
    assert election.next(26, NOON) == Look()
    assert election.holder == "other"


def test_a_lease_that_says_longer_is_waited_for_longer_and_never_shorter() -> None:
    for said, waits in ((60, 60), (1, LEASE_SECONDS), (0, LEASE_SECONDS), (-5, LEASE_SECONDS)):
        election = made()
        election.looked(Lease("1", "other", said), 0, 0)
        assert election.next(waits - 0.1, NOON) == Look()
        election.looked(Lease("1", "other", said), waits - 0.1, 0)
        assert isinstance(election.next(waits + 3, NOON), Patch)


def test_a_write_whose_answer_never_came_is_looked_after() -> None:
    election = leading()
    election.next(2, NOON)
    election.failed(LOST, 6, 0)
    assert election.leads(6), "the last renewal still counts"
    assert election.next(8.5, NOON) == Look()
    election.looked(of("me", "2"), 8.6, 0)
    assert isinstance(election.next(8.6, NOON), Patch)
    election.wrote(of("me", "3"), 8.7, 0)
    assert election.leads(8.6 + RENEW_DEADLINE - 0.1)


def test_who_cannot_renew_leads_no_more_by_its_own_clock() -> None:
    election = leading()
    for now in (2, 4, 6, 8):
        election.failed(LOST, now, 0)
    assert election.leads(9.9)
    assert not election.leads(10)


def test_who_sees_another_hold_it_leads_no_more_at_once() -> None:
    election = leading()
    election.failed(CONFLICT, 2, 0)
    election.looked(of("other", "9"), 4, 0)
    assert not election.leads(4)


def test_a_lease_that_was_deleted_ends_leading_at_once() -> None:
    election = leading()
    election.next(2, NOON)
    election.failed(ClusterFault(404, "NotFound", ""), 2, 0)
    assert not election.leads(2)
    election.looked(None, 5, 0)
    assert election.holder == ""
    assert isinstance(election.next(5, NOON), Create)


def test_an_answer_that_does_not_name_us_is_no_leadership() -> None:
    election = made()
    election.looked(None, 0, 0)
    election.next(0, NOON)
    election.wrote(of("other", "2"), 0, 0)
    assert not election.leads(0)
    assert election.next(3, NOON) == Look()


def test_what_the_same_name_held_before_is_taken_over_and_not_believed() -> None:
    """A process in the same pod: the lease names it, but only its own write makes it the leader."""
    election = made()
    election.looked(of("me", "5"), 0, 0)
    assert not election.leads(0)
    assert isinstance(election.next(0, NOON), Patch)


def test_resigning_ends_leading_before_it_is_told() -> None:
    election = leading()
    patch = election.resign(NOON)
    assert patch == Patch(
        {"metadata": {"resourceVersion": "1"}, "spec": {"holderIdentity": "", "renewTime": STAMP}}
    )
    assert not election.leads(0)


@pytest.mark.parametrize("seen", [None, of("other"), of("")])
def test_who_holds_nothing_gives_nothing_back(seen: Lease | None) -> None:
    election = made()
    election.looked(seen, 0, 0)
    assert election.resign(NOON) is None


def test_a_turn_may_take_no_longer_than_what_is_left() -> None:
    election = made()
    assert election.seconds_left(0) == RENEW_DEADLINE
    election = leading(0)
    assert election.seconds_left(4) == RENEW_DEADLINE - 4
    assert election.seconds_left(40) == RENEW_DEADLINE


def test_turns_are_spread() -> None:
    election = made()
    election.looked(of("other"), 0, 0.5)
    assert election.next(0, NOON) == Rest(pytest.approx(RETRY_SECONDS * 1.1))
