"""What is kept of a request, so that it could be sent once more."""

import asyncio

import pytest

from proxy.lanes.exchange import Exchange
from proxy.lanes.held_body import HELD_BYTES, HeldBody
from proxy.transaction.opening import Forward, Opening
from tests.lane_world import World, arrival_of, get


def opening_of(target: str = "/v1/models") -> Opening:
    exchange = Exchange(World().lane_world, arrival_of(), get(target))
    asyncio.run(exchange.open())
    return exchange.opening


def held_body(
    room: int = HELD_BYTES, method: str = "PUT", length: int = 0, *, elsewhere: bool = False
) -> HeldBody:
    opening = opening_of()
    assert isinstance(opening, Forward)
    body = HeldBody(lambda: room)
    body.allow(opening, method, length, elsewhere=elsewhere)
    return body


def test_a_body_is_held_from_its_first_byte_or_not_at_all() -> None:
    body = HeldBody(lambda: HELD_BYTES)
    body.keep(b"before it was allowed")
    assert (body.is_whole, body.size) == (False, 0)

    body = held_body(length=5)
    body.keep(b"abc")
    body.keep(b"de")

    assert (body.is_whole, body.size) == (True, 5)
    assert body.take() == b"abcde"
    assert (body.is_whole, body.size) == (False, 0)


@pytest.mark.parametrize("length", [HELD_BYTES + 1, 10**18])
def test_a_body_that_is_said_to_be_too_large_is_not_begun(length: int) -> None:
    body = held_body(length=length)

    assert not body.is_whole
    # Before any of it was sent it may still be asked for anew.
    assert body.may_go_twice


@pytest.mark.parametrize("length", [0, HELD_BYTES])
def test_any_other_is_begun(length: int) -> None:
    assert held_body(length=length).is_whole


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
def test_what_is_idempotent_may_go_twice(method: str) -> None:
    assert held_body(method=method).may_go_twice


@pytest.mark.parametrize("method", ["POST", "PATCH", "TRACE", "put"])
def test_what_is_not_idempotent_is_not_held(method: str) -> None:
    body = held_body(method=method)

    assert (body.is_whole, body.may_go_twice) == (False, False)


def test_what_travels_without_a_credential_is_not_held() -> None:
    body = HeldBody(lambda: HELD_BYTES)
    body.allow(opening_of("/nowhere"), "PUT", 5)

    assert (body.is_whole, body.may_go_twice) == (False, False)


def test_what_is_kept_elsewhere_may_be_of_any_length() -> None:
    assert held_body(length=HELD_BYTES + 1, elsewhere=True).is_whole
    assert not held_body(method="POST", elsewhere=True).is_whole


def test_without_room_nothing_is_held() -> None:
    body = held_body(room=2)
    body.keep(b"ab")
    assert body.is_whole
    body.keep(b"abc")
    assert (body.is_whole, body.size) == (False, 0)


def test_a_body_that_turns_out_too_large_is_let_go() -> None:
    body = held_body(room=2 * HELD_BYTES)
    body.keep(b"x" * HELD_BYTES)
    assert body.is_whole
    body.keep(b"x")
    assert (body.is_whole, body.size) == (False, 0)
    body.keep(b"y")
    assert body.size == 0
