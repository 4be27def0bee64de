"""What a connection asks of its request."""

from proxy.core.audit import Ending
from proxy.lanes.fast.watched import Watched
from tests.fast_world import ADDRESS, End, Street, perform, side_pair, turns
from tests.lane_world import HOST, World

ORIGIN = (HOST, ADDRESS)


class Waits(Watched):
    async def begin(self) -> None:
        found = await self._upstreams.connect(ORIGIN)  # type: ignore[arg-type]
        self._upstream = found  # type: ignore[assignment]
        self._client.on_news = self._news
        self._client.watch()


async def waiting() -> tuple[Waits, End, Street, End]:
    side, client = side_pair()
    street = Street(World())
    waits = Waits(side, street)
    await waits.begin()
    return waits, client, street, await street.opened.get()


def test_what_moves_at_its_upstream_is_its_own() -> None:
    async def story() -> None:
        waits, _, _, upstream = await waiting()
        assert waits.moved == 0
        waits._upstream.side.write(b"abc")  # type: ignore[union-attr]
        await upstream.say(b"de")
        assert await waits._upstream.side.read() == b"de"  # type: ignore[union-attr]
        assert waits.moved == 5
        waits._let_go()
        assert waits.moved == 0

    perform(story)


def test_it_is_stalled_once_and_only_where_it_waits() -> None:
    async def story() -> None:
        waits, _, _, upstream = await waiting()
        assert waits.stall()
        assert await upstream.has_ended()
        assert not waits.stall()
        waits, *_ = await waiting()
        waits._let_go()
        assert not waits.stall()

    perform(story)


def test_a_client_that_leaves_lets_the_upstream_go() -> None:
    async def story() -> None:
        waits, client, street, upstream = await waiting()
        await client.say(b"more")
        await turns()
        assert street._open == {ORIGIN: 1}
        client.leave()
        assert await upstream.has_ended()
        assert street._open == {}
        assert waits._how_it_broke is Ending.CLIENT_GONE

    perform(story)


def test_what_was_dropped_was_cut_by_us() -> None:
    async def story() -> None:
        waits, *_ = await waiting()
        waits._client.drop()
        assert waits._how_it_broke is Ending.CUT
        waits._let_go()

    perform(story)


def test_what_one_takes_over_the_other_waits_for_no_more() -> None:
    async def story() -> None:
        waits, _, street, upstream = await waiting()
        other = Waits(waits._client, street)
        waits.stall()
        other.take_over(waits.give_up())
        waits._let_go()
        assert street._open == {ORIGIN: 1}
        assert (other._is_stalled, other._is_left, waits._upstream) == (True, False, None)
        other._let_go()
        assert street._open == {}
        assert await upstream.has_ended()

    perform(story)
