"""A body on its way up, piece by piece."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from proxy.attach.bodies import BodyTransform
from proxy.core.reasons import Reason
from proxy.lanes.exchange import Exchange
from proxy.lanes.fast.incoming import Incoming
from proxy.lanes.fast.side import HIGH_WATER, Side
from proxy.lanes.fast.upload import Upload, framed, outlived
from proxy.lanes.held_body import HeldBody
from proxy.wire.framing import CHUNKED, Framing, Length
from tests.fast_world import ARRIVAL, End, perform, side_pair, turns, until
from tests.lane_scripts import Marked
from tests.lane_world import World, get

MUCH = 16_000_000


class Way:
    """An upload, from a client to an upstream."""

    def __init__(
        self, framing: Framing, *, chunked: bool = False, rewrite: BodyTransform | None = None
    ) -> None:
        self.client: End
        self.upstream: End
        self.from_client: Side
        self.to_upstream: Side
        self.from_client, self.client = side_pair()
        self.to_upstream, self.upstream = side_pair()
        self.exchange = Exchange(World().lane_world, ARRIVAL, get(method="PUT"))
        self.exchange.body.begin(rewrite)
        self.held = HeldBody()
        self.incoming = Incoming(self.from_client, framing)
        self.upload = Upload(self.exchange, self.incoming, self.held, chunked=chunked)

    def start(self, head: bytes = b"") -> asyncio.Task[None]:
        return asyncio.get_running_loop().create_task(self.upload.run(self.to_upstream, head))


def along(
    story: Callable[[Way], Awaitable[None]], framing: Framing, *, chunked: bool = False,
    rewrite: BodyTransform | None = None,
) -> None:  # fmt: skip
    async def run() -> None:
        way = Way(framing, chunked=chunked, rewrite=rewrite)
        await way.exchange.open()
        way.exchange.body.begin(rewrite)
        try:
            await story(way)
        finally:
            way.from_client.drop()
            way.to_upstream.drop()

    perform(run)


@pytest.mark.parametrize(
    ("data", "chunked", "out"),
    [(b"abc", True, b"3\r\nabc\r\n"), (b"abc", False, b"abc"), (b"", True, b""), (b"", False, b"")],
)
def test_an_empty_piece_would_end_a_body(data: bytes, out: bytes, *, chunked: bool) -> None:
    assert framed(data, chunked=chunked) == out


def test_the_head_goes_before_the_first_byte_and_with_it() -> None:
    async def story(way: Way) -> None:
        running = way.start(b"HEAD ")
        await turns()
        assert await way.upstream.is_silent()
        assert not way.upload.has_begun
        await way.client.say(b"hel")
        assert await way.upstream.hear_exactly(8) == b"HEAD hel"
        assert way.upload.has_begun
        await way.client.say(b"lo")
        await running
        assert await way.upstream.hear_exactly(2) == b"lo"
        assert (way.upload.is_done, way.upload.fault, way.upload.is_left) == (True, None, False)
        assert way.exchange.sent == 5

    along(story, Length(5))


def test_a_body_of_no_bytes_still_has_its_head_and_its_end() -> None:
    async def story(way: Way) -> None:
        running = way.start(b"HEAD ")
        await way.client.say(b"0\r\n\r\n")
        await running
        assert await way.upstream.hear_exactly(10) == b"HEAD 0\r\n\r\n"

    along(story, CHUNKED, chunked=True)


def test_trailers_are_not_passed_on() -> None:
    async def story(way: Way) -> None:
        running = way.start()
        await way.client.say(b"3\r\nabc\r\n0\r\nX-Secret: 1\r\n\r\nNEXT")
        await running
        assert await way.upstream.hear_exactly(13) == b"3\r\nabc\r\n0\r\n\r\n"
        assert await way.upstream.is_silent()
        assert await way.from_client.read() == b"NEXT"

    along(story, CHUNKED, chunked=True)


@pytest.mark.parametrize("how", ["end", "leave", "reset"])
def test_who_leaves_before_the_end_has_left_and_the_end_is_not_written(how: str) -> None:
    async def story(way: Way) -> None:
        running = way.start()
        await way.client.say(b"3\r\nabc\r\n")
        assert await way.upstream.hear_exactly(8) == b"3\r\nabc\r\n"
        getattr(way.client, how)()
        await running
        assert (way.upload.is_done, way.upload.is_left, way.upload.fault) == (False, True, None)
        assert await way.upstream.is_silent()

    along(story, CHUNKED, chunked=True)


def test_chunks_that_can_be_read_in_two_ways_are_a_fault() -> None:
    async def story(way: Way) -> None:
        running = way.start()
        await way.client.say(b"+3\r\nabc\r\n")
        await running
        assert way.upload.fault is not None
        assert way.upload.fault.reason is Reason.MALFORMED_REQUEST
        assert (way.upload.is_done, way.upload.is_left) == (False, False)
        assert await way.upstream.is_silent()

    along(story, CHUNKED, chunked=True)


@pytest.mark.parametrize(("body", "before"), [(b"hello!", b""), (b"hello?", b"HE")])
def test_a_body_that_cannot_be_changed_is_a_fault_wherever_that_shows(body: bytes, before: bytes) -> None:
    async def story(way: Way) -> None:
        running = way.start()
        await way.client.say(body)
        await running
        assert way.upload.fault is not None
        assert way.upload.fault.reason is Reason.MALFORMED_BODY
        assert not way.upload.is_done
        way.to_upstream.farewell()
        assert await way.upstream.hear_all() == before

    along(story, Length(6), rewrite=Marked())


def test_a_body_that_is_changed_ends_with_what_was_held_back() -> None:
    async def story(way: Way) -> None:
        running = way.start(b"HEAD ")
        await way.client.say(b"hello")
        await running
        assert await way.upstream.hear_exactly(10) == b"HEAD HELLO"
        assert way.upload.is_done

    along(story, Length(5), rewrite=Marked())


def test_a_slow_upstream_holds_up_the_client_and_memory_does_not_grow() -> None:
    async def story(way: Way) -> None:
        running = way.start()
        saying = asyncio.ensure_future(way.client.say(b"x" * MUCH))
        await until(lambda: way.to_upstream.unsent > HIGH_WATER)
        await turns(200)
        assert not saying.done()
        assert way.to_upstream.unsent < 4 * HIGH_WATER
        assert len(await way.upstream.hear_exactly(MUCH)) == MUCH
        await saying
        await running
        assert way.exchange.sent == MUCH

    along(story, Length(MUCH))


def test_an_upstream_that_leaves_ends_it() -> None:
    async def story(way: Way) -> None:
        running = way.start()
        saying = asyncio.ensure_future(way.client.say(b"x" * MUCH))
        await until(lambda: way.to_upstream.unsent)
        way.upstream.reset()
        await running
        assert (way.upload.is_done, way.upload.is_left) == (False, False)
        saying.cancel()
        await asyncio.wait({saying})

    along(story, Length(MUCH))


def test_a_request_that_is_cut_sends_no_more() -> None:
    async def story(way: Way) -> None:
        running = way.start()
        await way.client.say(b"one")
        await way.upstream.hear_exactly(3)
        way.exchange.condemn()
        await way.client.say(b"two")
        await running
        assert not way.upload.is_done

    along(story, Length(9))


def test_what_was_sent_is_held_for_a_second_time() -> None:
    async def story(way: Way) -> None:
        way.held.allow(way.exchange.opening, "PUT", 5)
        running = way.start()
        await way.client.say(b"hello")
        await running
        assert (way.held.is_whole, way.held.take()) == (True, b"hello")

    along(story, Length(5))


def test_what_follows_the_first_piece_is_poured_and_counted() -> None:
    async def story(way: Way) -> None:
        running = way.start(b"HEAD ")
        await way.client.say(b"one")
        assert await way.upstream.hear_exactly(8) == b"HEAD one"
        saying = asyncio.ensure_future(way.client.say(b"x" * (MUCH - 6) + b"end"))
        assert (await way.upstream.hear_exactly(MUCH - 3)).endswith(b"xend")
        await saying
        await running
        assert (way.upload.is_done, way.exchange.sent) == (True, MUCH)

    along(story, Length(MUCH))


def test_a_poured_request_that_is_cut_sends_no_more() -> None:
    async def story(way: Way) -> None:
        running = way.start()
        await way.client.say(b"one")
        await way.upstream.hear_exactly(3)
        await way.client.say(b"two")
        await way.upstream.hear_exactly(3)
        way.exchange.condemn()
        await way.client.say(b"six")
        await running
        assert not way.upload.is_done
        assert await way.upstream.hear_exactly(3) == b"six"  # that was on its way already

    along(story, Length(12))


def test_an_upload_of_which_nobody_wants_the_rest_ends_with_its_answer() -> None:
    async def story(way: Way) -> None:
        for goes_on in (True, False):
            sending = way.start()
            await turns()
            ended = asyncio.ensure_future(outlived(sending, way.to_upstream, goes_on=goes_on))
            await turns()
            assert ended.done() is not goes_on
            way.upstream.end()  # whoever sends on is told by this that nobody reads it
            await ended
            assert sending.cancelled()
            assert way.to_upstream.on_news is None

    along(story, Length(5))


def test_what_breaks_beside_the_answer_is_told_and_ends_the_upstream() -> None:
    class Breaks(BodyTransform):
        held = 0

        def feed(self, data: bytes) -> bytes:
            raise RuntimeError(data)

        def finish(self) -> bytes:
            return b""

    world = World()

    async def story(way: Way) -> None:
        await way.client.say(b"hello")
        await way.upload.beside(way.to_upstream, world.recorder)
        assert way.upload.fault is not None
        assert way.upload.fault.reason is Reason.INTERNAL_ERROR
        assert way.to_upstream.is_dropped
        assert [where for where, _ in world.recorder.crashes] == ["fast lane"]

    along(story, Length(5), rewrite=Breaks())
