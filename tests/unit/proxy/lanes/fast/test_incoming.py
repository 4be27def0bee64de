"""Bodies, however they were cut on the way, and however they are framed."""

import asyncio
from collections import deque
from itertools import combinations

import pytest

from proxy.lanes.fast.incoming import Incoming
from proxy.lanes.fast.side import Side
from proxy.wire.framing import CHUNKED, NO_BODY, UNTIL_CLOSE, Length, ResponseFraming
from tests.fast_world import End, perform, side_pair

NEXT = b"GET /next"
CHUNKS = b"3\r\nabc\r\n2;x=1\r\nde\r\n0\r\nX-Trailer: 1\r\n\r\n"


class Said(Side):
    """What came, in these pieces, and then the end."""

    def __init__(self, *pieces: bytes) -> None:
        self._unread = b""
        self.is_broken = False
        self._pieces = deque(piece for piece in pieces if piece)

    async def read(self) -> bytes:
        if self._unread:
            data, self._unread = self._unread, b""
            return data
        return self._pieces.popleft() if self._pieces else b""

    @property
    def rest(self) -> bytes:
        return self._unread + b"".join(self._pieces)


async def read_all(incoming: Incoming) -> bytes:
    data = b""
    while piece := await incoming.read():
        data += piece
    assert await incoming.read() == b""  # the end stays the end
    return data


def cuts(data: bytes) -> list[list[bytes]]:
    """Whole, in two, in three, and byte by byte."""
    places = [
        *combinations(range(1, len(data)), 1),
        *combinations(range(1, len(data)), 2),
        (),
        range(1, len(data)),
    ]
    return [[data[a:b] for a, b in zip((0, *at), (*at, len(data)), strict=True)] for at in places]


FRAMINGS: list[tuple[ResponseFraming, bytes, bytes]] = [
    (NO_BODY, b"", b""),
    (Length(0), b"", b""),
    (Length(5), b"abcde", b"abcde"),
    (CHUNKED, CHUNKS, b"abcde"),
    (CHUNKED, b"0\r\n\r\n", b""),
]


@pytest.mark.parametrize(("framing", "sent", "body"), FRAMINGS)
def test_a_body_cut_anywhere_is_the_same_and_what_follows_is_left(
    framing: ResponseFraming, sent: bytes, body: bytes
) -> None:
    async def run() -> None:
        for pieces in cuts(sent + NEXT):
            side = Said(*pieces)
            incoming = Incoming(side, framing)
            assert await read_all(incoming) == body
            assert (incoming.is_whole, incoming.fault, side.rest) == (True, None, NEXT)

    asyncio.run(run())


@pytest.mark.parametrize(("framing", "sent", "body"), FRAMINGS)
def test_a_body_that_ends_before_its_end_is_a_loss(
    framing: ResponseFraming, sent: bytes, body: bytes
) -> None:
    async def run() -> None:
        for size in range(len(sent)):
            incoming = Incoming(Said(sent[:size]), framing)
            assert body.startswith(await read_all(incoming))
            assert (incoming.is_whole, incoming.fault) == (False, None)

    asyncio.run(run())


def test_a_body_until_the_end_of_its_connection_is_whole_then_and_not_before() -> None:
    async def run() -> None:
        incoming = Incoming(Said(b"all", b" of it"), UNTIL_CLOSE)
        assert not incoming.is_short
        assert await incoming.read() == b"all"
        assert not incoming.is_whole
        assert await incoming.read() == b" of it"
        assert not incoming.is_whole
        assert await incoming.read() == b""
        assert incoming.is_whole

    asyncio.run(run())


def test_chunks_that_can_be_read_in_two_ways_are_a_fault_wherever_they_are_cut() -> None:
    async def run() -> None:
        for pieces in cuts(b"3\r\nabc\r\n0x2\r\nde"):
            incoming = Incoming(Said(*pieces), CHUNKED)
            assert b"abc".startswith(await read_all(incoming))
            assert not incoming.is_whole
            assert incoming.fault is not None
            assert "chunk size" in incoming.fault.detail

    asyncio.run(run())


def test_what_is_here_already_is_short() -> None:
    async def run() -> None:
        side = Said(b"later")
        side.unread(b"abc")
        assert Incoming(side, NO_BODY).is_short
        assert Incoming(side, Length(3)).is_short
        assert not Incoming(side, Length(4)).is_short
        # How long it is nobody knows.
        assert not Incoming(side, CHUNKED).is_short

    asyncio.run(run())


class Told:
    count = 0

    def __call__(self, size: int) -> bool:
        self.count += size
        return True


def test_a_body_is_poured_to_its_end_and_what_follows_is_left() -> None:
    async def story() -> None:
        for framing, size in ((Length(200_000), 200_000), (UNTIL_CLOSE, 200_008)):
            (source, sender), (sink, receiver) = side_pair(), side_pair()
            incoming, told = Incoming(source, framing), Told()
            sending = asyncio.ensure_future(sender.say(b"x" * 200_000 + b"the rest"))
            pouring = asyncio.ensure_future(incoming.pour(sink, told))
            heard = await receiver.hear_exactly(size)
            await sending
            sender.end()
            await pouring
            assert heard == (b"x" * 200_000 + b"the rest")[:size]
            assert (incoming.is_whole, told.count) == (True, size)
            assert size == 200_008 or await source.read() == b"the rest"
            source.drop()
            sink.drop()

    perform(story)


def test_half_a_body_is_poured_and_is_not_whole() -> None:
    async def story() -> None:
        for ends, was_cut_off in ((End.end, False), (End.reset, True)):
            (source, sender), (sink, receiver) = side_pair(), side_pair()
            incoming = Incoming(source, Length(10))
            await sender.say(b"half")
            pouring = asyncio.ensure_future(incoming.pour(sink, lambda _: True))
            assert await receiver.hear_exactly(4) == b"half"
            ends(sender)
            await pouring
            assert (incoming.is_whole, incoming.was_cut_off) == (False, was_cut_off)
            source.drop()
            sink.drop()

    perform(story)


def test_who_is_told_may_stop_it() -> None:
    async def story() -> None:
        (source, sender), (sink, receiver) = side_pair(), side_pair()
        incoming = Incoming(source, Length(10))
        await sender.say(b"half")
        await incoming.pour(sink, lambda _: False)
        assert await receiver.hear_exactly(4) == b"half"
        assert not incoming.is_whole
        source.drop()
        sink.drop()

    perform(story)


def test_all_of_a_short_body_is_taken_at_once() -> None:
    for framing, taken in ((NO_BODY, b""), (Length(3), b"abc"), (Length(5), b"abcde")):
        side = Said()
        side.unread(b"abcde")
        incoming = Incoming(side, framing)
        assert incoming.is_short
        assert incoming.take() == taken
        assert (incoming.is_whole, side.rest) == (True, b"abcde"[len(taken) :])
