"""The ways to open a request that do not wait. What `open` does is in test_exchange.py."""

from datetime import timedelta

import pytest

from proxy.core.lease import NoLease
from proxy.core.reasons import Reason
from proxy.lanes.exchange import Exchange
from proxy.transaction.head import Head, HttpVersion
from proxy.transaction.opening import Forward, Refused
from tests.lane_scripts import Script, scripted
from tests.lane_world import HOST, SOURCE, World, arrival_of, get, no_lease, pod_of


@pytest.fixture
def world() -> World:
    return World()


def test_with_a_live_lease_it_opens_at_once(world: World) -> None:
    exchange = Exchange(world.lane_world, arrival_of(), get())

    assert exchange.open_now()
    assert isinstance(exchange.opening, Forward)
    assert world.leases.asked == [SOURCE]
    assert [record.reason for record in world.recorder.decisions] == ["granted"]


def test_where_the_lease_has_to_be_waited_for_nothing_has_happened(world: World) -> None:
    world.leases.reply = no_lease
    exchange = Exchange(world.lane_world, arrival_of(), get())

    assert not exchange.open_now()
    assert (world.recorder.decisions, world.leases.asked) == ([], [])


def test_a_refusal_needs_no_lease(world: World) -> None:
    exchange = Exchange(world.lane_world, arrival_of(), get("/other"))

    assert exchange.open_now()
    assert isinstance(exchange.opening, Refused)


def test_a_source_that_is_not_there_is_refused_at_once() -> None:
    world = World(pod=pod_of())
    for leases in ({}, {SOURCE: NoLease(SOURCE, "it cannot be narrowed")}):
        object.__setattr__(world.pod, "leases", leases)
        exchange = Exchange(world.lane_world, arrival_of(), get())

        assert exchange.open_now()
        assert exchange.record.reason == Reason.CREDENTIAL_UNAVAILABLE.value


def test_a_body_that_is_wanted_is_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, Script(wants=10))
    exchange = Exchange(
        world.lane_world, arrival_of(), Head("PUT", "/", HOST, (), HttpVersion.HTTP1, has_body=True)
    )

    assert not exchange.open_now()
    assert not exchange.wants_body
    assert world.room.taken == 0


def test_what_breaks_is_a_refusal(world: World) -> None:
    def broken(_: object) -> None:
        raise RuntimeError("at hand")

    world.leases.at_hand = broken  # type: ignore[method-assign, assignment]
    exchange = Exchange(world.lane_world, arrival_of(), get())

    assert exchange.open_now()
    assert exchange.record.reason == Reason.INTERNAL_ERROR.value
    assert [where for where, _ in world.recorder.crashes] == ["transaction"]


def test_a_proof_that_ended_meanwhile_is_asked_for_again(world: World) -> None:
    exchange = Exchange(world.lane_world, arrival_of(), get())
    world.clock.passed = timedelta(days=40000)

    assert not exchange.open_now()
    assert world.recorder.decisions == []


def test_a_second_try_is_not_opened_like_this(world: World) -> None:
    exchange = Exchange(world.lane_world, arrival_of(), get())
    assert exchange.open_now()
    exchange.heard(exchange.suspicion(401, []))
    assert exchange.judge_again()

    assert not exchange.open_now()


def test_a_body_that_is_asked_for_after_the_end_holds_nothing(world: World) -> None:
    exchange = Exchange(world.lane_world, arrival_of(), get())
    exchange.revoke()
    exchange._finished = True

    assert exchange.body.fault is not None


def test_what_is_not_granted_plainly_is_not_familiar(world: World) -> None:
    exchange = Exchange(world.lane_world, arrival_of(), get("/other"))
    assert exchange.as_familiar() is None
    assert exchange.open_now()
    assert exchange.as_familiar() is None
