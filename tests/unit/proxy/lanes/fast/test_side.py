"""One side of a connection, over loopback: cleartext and TLS, under uvloop and the standard loop."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvloop

from proxy.lanes.fast.calls import Taker
from proxy.lanes.fast.handshakes import shake_hands
from proxy.lanes.fast.side import HIGH_WATER, READ_AHEAD, RECORD, Side
from tests.fast_world import PATIENCE, End, opened_pair, perform, side_pair, turns, until
from tests.lane_world import Internet, ssl_client, ssl_server

# More than the kernel takes on both ends of a loopback connection.
MUCH = bytes(range(256)) * 32_000

Play = Callable[[Callable[[], Awaitable[None]]], None]


@pytest.fixture(params=[uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
def play(request: pytest.FixtureRequest) -> Play:
    def run(story: Callable[[], Awaitable[None]]) -> None:
        perform(story, request.param)

    return run


# --- what comes ---


def test_what_came_is_read_and_counted(play: Play) -> None:
    async def story() -> None:
        side, other = side_pair()
        await other.say(b"hello")
        assert await side.read() == b"hello"
        assert side.came == 5
        side.drop()

    play(story)


def test_much_is_read_in_pieces_and_whole(play: Play) -> None:
    async def story() -> None:
        side, other = side_pair()
        sending = asyncio.ensure_future(other.say(MUCH))
        got = bytearray()
        while len(got) < len(MUCH):
            piece = await side.read()
            assert 0 < len(piece) <= RECORD + READ_AHEAD
            got += piece
        await sending
        assert got == MUCH
        assert side.came == len(MUCH)
        side.drop()

    play(story)


def test_what_is_given_back_is_read_first(play: Play) -> None:
    async def story() -> None:
        side, other = side_pair()
        await other.say(b"later")
        side.unread(b"now")
        side.unread(b"first ")
        side.unread(b"")
        assert side.unread_size == len(b"first now")
        assert await side.read() == b"first now"
        assert await side.read() == b"later"
        side.drop()

    play(story)


def test_a_polite_end_is_an_end_and_nothing_is_broken(play: Play) -> None:
    async def story() -> None:
        side, other = side_pair()
        await other.say(b"bye")
        other.end()
        assert await side.read() == b"bye"
        assert await side.read() == b""
        assert await side.read() == b""
        assert (side.is_over, side.is_broken) == (True, False)
        # Half of it is open still.
        side.write(b"and you")
        assert await other.hear_exactly(7) == b"and you"
        side.drop()

    play(story)


def test_what_came_before_a_reset_may_be_lost_and_the_reset_is_not(play: Play) -> None:
    async def story() -> None:
        side, other = side_pair()
        other.reset()
        assert await side.read() == b""
        assert (side.is_over, side.is_broken) == (True, True)
        side.write(b"into the void")
        assert (side.went, side.unsent) == (0, 0)
        side.drop()

    play(story)


def test_while_nobody_reads_it_is_taken_in_up_to_a_limit_and_nothing_is_lost(play: Play) -> None:
    async def story() -> None:
        side, other = side_pair()
        news: list[int] = []
        side.on_news = lambda: news.append(side.unread_size)
        side.watch()
        sending = asyncio.ensure_future(other.say(MUCH))
        await until(lambda: not side._is_watched)
        assert READ_AHEAD <= side.unread_size < READ_AHEAD + RECORD
        assert news[-1] == side.unread_size
        held = side.unread_size
        await turns()
        assert side.unread_size == held  # the rest waits where it is
        got = bytearray()
        while len(got) < len(MUCH):
            got += await side.read()
        await sending
        assert got == MUCH
        side.drop()

    play(story)


def test_an_end_is_news_to_who_does_not_read(play: Play) -> None:
    async def story() -> None:
        side, other = side_pair()
        news: list[bool] = []
        side.on_news = lambda: news.append(side.is_over)
        side.watch()
        side.watch()
        await other.say(b"x")
        await until(lambda: news)
        other.leave()
        await until(lambda: side.is_over)
        assert news == [False, True]
        assert await side.read() == b"x"
        assert await side.read() == b""
        side.drop()

    play(story)


def test_an_end_without_anybody_to_tell_is_kept(play: Play) -> None:
    async def story() -> None:
        side, other = side_pair()
        side.watch()
        other.leave()
        await until(lambda: side.is_over)
        side.watch()  # there is nothing left to see
        assert not side._is_watched
        side.drop()

    play(story)


def test_a_reader_that_is_cancelled_loses_nothing(play: Play) -> None:
    async def story() -> None:
        side, other = side_pair()
        for text in (b"one", b"two"):
            reading = asyncio.ensure_future(side.read())
            await turns()
            reading.cancel()
            # It is cancelled, and does not know yet, when something comes.
            await other.say(text)
            await asyncio.wait({reading})
            assert reading.cancelled()
            assert await side.read() == text
        side.drop()

    play(story)


def test_a_reader_that_is_cancelled_as_the_bytes_come_leaves_them_to_the_next(play: Play) -> None:
    async def story() -> None:
        side, other = side_pair()
        reading = asyncio.ensure_future(side.read())
        await turns()
        await other.say(b"hello")
        # The bytes are handed over, and its task is cancelled before it runs again.
        reader = side._reader
        assert reader is not None
        reader.add_done_callback(lambda _: reading.cancel())
        await asyncio.wait({reading})
        if reading.cancelled():
            assert await side.read() == b"hello"
        else:
            assert reading.result() == b"hello"
        side.drop()

    play(story)


# --- what goes ---


def test_what_is_written_arrives_in_its_order(play: Play) -> None:
    async def story() -> None:
        side, other = side_pair()
        for piece in (MUCH, b"and", memoryview(b" more").tobytes()):
            side.write(piece)
        assert side.went == len(MUCH) + 8
        assert 0 < side.unsent <= side.went
        assert await other.hear_exactly(len(MUCH) + 8) == MUCH + b"and more"
        await side.drained(0)
        assert side.unsent == 0
        side.drop()

    play(story)


def test_a_writer_waits_for_a_slow_reader(play: Play) -> None:
    async def story() -> None:
        side, other = side_pair()
        side.write(MUCH)
        waiting = asyncio.ensure_future(side.drained())
        await turns()
        assert not waiting.done()
        assert side.unsent > HIGH_WATER
        await other.hear_exactly(len(MUCH))
        await waiting
        assert side.unsent <= HIGH_WATER
        side.drop()

    play(story)


def test_who_waits_for_a_reader_that_leaves_is_told(play: Play) -> None:
    async def story() -> None:
        side, other = side_pair()
        side.write(MUCH)
        waiting = asyncio.ensure_future(side.drained())
        await turns()
        other.reset()
        await waiting
        assert (side.is_broken, side.unsent) == (True, 0)
        side.drop()

    play(story)


def test_a_writer_that_stops_waiting_disturbs_nothing(play: Play) -> None:
    async def story() -> None:
        side, other = side_pair()
        side.write(MUCH)
        waiting = asyncio.ensure_future(side.drained(0))
        await turns()
        waiting.cancel()
        await asyncio.wait({waiting})
        assert await other.hear_exactly(len(MUCH)) == MUCH
        await side.drained(0)
        side.drop()

    play(story)


def test_a_write_to_who_has_left_breaks_it(play: Play) -> None:
    async def story() -> None:
        side, other = side_pair()
        await other.say(b"x")
        other.reset()
        await turns()
        while not side.is_broken:
            side.write(b"more")
        assert side.is_over
        assert await side.read() == b""
        side.drop()

    play(story)


# --- its end ---


def test_a_dropped_side_tells_both_who_wait(play: Play) -> None:
    async def story() -> None:
        side, other = side_pair()
        side.write(MUCH)
        reading = asyncio.ensure_future(side.read())
        draining = asyncio.ensure_future(side.drained(0))
        await turns()
        side.drop()
        assert await reading == b""
        await draining
        side.drop()
        assert side.sock.fileno() == -1
        other.leave()

    play(story)


def test_a_side_that_is_dropped_may_be_reset(play: Play) -> None:
    """Without TLS any other end looks like a proper one."""

    async def story() -> None:
        side, other = side_pair()
        side.drop(reset=True)
        side.drop(reset=True)
        with pytest.raises(ConnectionResetError):
            await other.hear()
        side, other = side_pair()
        side.drop()
        side.drop(reset=True)
        assert await other.hear_all() == b""

    play(story)


class Broken(socket.socket):
    """Breaks as no socket should."""

    error: BaseException = BlockingIOError()

    def recv(self, *_: object) -> bytes:
        raise RuntimeError

    def send(self, *_: object) -> int:
        raise self.error


@pytest.mark.parametrize("what", ["_readable", "_writable"])
def test_whatever_raises_under_the_loop_breaks_it_and_wakes_who_waits(play: Play, what: str) -> None:
    async def story() -> None:
        _, ours = opened_pair()
        broken = Broken(fileno=ours.detach())
        side = Side(broken)
        side._is_hot = False
        if what == "_readable":
            waiting = asyncio.ensure_future(side.read())
            await turns(2)
        else:
            # The loop is not asked: it would call at once.
            side._out, side.unsent = [b"much"], 4
            broken.error = RuntimeError()
            waiting = asyncio.ensure_future(side.drained(0))
            await turns(2)
        with pytest.raises(RuntimeError):
            getattr(side, what)()
        await waiting
        assert (side.is_over, side.is_broken) == (True, True)
        side.drop()

    play(story)


def test_a_parting_side_delivers_all_and_waits_for_the_others_end(play: Play) -> None:
    async def story() -> None:
        side, other = side_pair()
        side.write(MUCH)
        parting = asyncio.ensure_future(side.part())
        assert await other.hear_all() == MUCH
        await other.say(b"one more thing")
        await turns()
        assert not parting.done()
        other.leave()
        await parting
        side.drop()

    play(story)


def test_a_farewell_ends_one_direction(play: Play) -> None:
    async def story() -> None:
        side, other = side_pair()
        side.farewell()
        assert await other.hear_all() == b""
        await other.say(b"still here")
        assert await side.read() == b"still here"
        side.drop()
        side.farewell()  # nobody to tell

    play(story)


def test_its_repr_holds_no_byte(play: Play) -> None:
    async def story() -> None:
        side, other = side_pair()
        side.unread(b"a credential")
        await other.say(b"x")
        assert repr(side) == "<Side came=0 went=0 over=False broken=False>"
        side.drop()

    play(story)


# --- with TLS ---


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    internet = Internet()
    server = ssl_server(internet.leaf("api.example.com"), tmp_path_factory.mktemp("leaf"))
    return server, ssl_client(internet.root)


Contexts = tuple[ssl.SSLContext, ssl.SSLContext]


class TlsEnd:
    """The application's, a blocking one, used from a thread."""

    def __init__(self, sock: ssl.SSLSocket) -> None:
        self.sock = sock

    async def do[T](self, what: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(None, what, *arguments)


async def tls_pair(contexts: Contexts) -> tuple[Side, TlsEnd]:
    server, client = contexts
    theirs, ours = opened_pair()
    sock = server.wrap_socket(
        ours, server_side=True, do_handshake_on_connect=False, suppress_ragged_eofs=False
    )
    theirs.settimeout(PATIENCE)
    loop = asyncio.get_running_loop()
    shaken = loop.run_in_executor(
        None,
        lambda: client.wrap_socket(theirs, server_hostname="api.example.com", suppress_ragged_eofs=False),
    )
    await shake_hands(sock)
    return Side(sock), TlsEnd(await shaken)


def test_records_that_come_behind_each_other_are_all_read(play: Play, contexts: Contexts) -> None:
    """OpenSSL may hold what the loop does not know of."""

    async def story() -> None:
        side, other = await tls_pair(contexts)
        for size in (1, RECORD, RECORD * 3 + 5):
            sending = asyncio.ensure_future(other.do(other.sock.sendall, b"x" * size))
            got = 0
            while got < size:
                got += len(await side.read())
            await sending
        side.drop()
        other.sock.close()

    play(story)


def test_much_goes_both_ways_over_tls(play: Play, contexts: Contexts) -> None:
    async def story() -> None:
        side, other = await tls_pair(contexts)

        def read_all() -> bytes:
            data = bytearray()
            while len(data) < len(MUCH):
                data += other.sock.recv(65_536)
            return bytes(data)

        side.write(MUCH)
        assert await other.do(read_all) == MUCH
        await side.drained(0)
        sending = asyncio.ensure_future(other.do(other.sock.sendall, MUCH))
        got = bytearray()
        while len(got) < len(MUCH):
            got += await side.read()
        await sending
        assert got == MUCH
        side.drop()
        other.sock.close()

    play(story)


def test_an_end_that_tls_was_told_of_is_polite(play: Play, contexts: Contexts) -> None:
    async def story() -> None:
        side, other = await tls_pair(contexts)
        unwrapping = asyncio.ensure_future(other.do(other.sock.unwrap))
        assert await side.read() == b""
        assert (side.is_over, side.is_broken) == (True, False)
        await side.part()
        (await unwrapping).close()
        side.drop()

    play(story)


def test_an_end_that_tls_was_not_told_of_breaks_it(play: Play, contexts: Contexts) -> None:
    async def story() -> None:
        side, other = await tls_pair(contexts)
        other.sock.shutdown(socket.SHUT_RDWR)
        assert await side.read() == b""
        assert (side.is_over, side.is_broken) == (True, True)
        side.drop()
        other.sock.close()

    play(story)


def test_a_farewell_over_tls_says_so_and_still_reads(play: Play, contexts: Contexts) -> None:
    async def story() -> None:
        side, other = await tls_pair(contexts)
        side.write(b"all of it")
        side.farewell()
        assert await other.do(other.sock.recv, 100) == b"all of it"
        # An end with its alert: without one this would raise.
        assert await other.do(other.sock.recv, 100) == b""
        parting = asyncio.ensure_future(side.part())
        await turns()
        assert not parting.done()
        other.sock.close()
        await parting
        side.drop()

    play(story)


def test_garbage_in_place_of_a_record_breaks_it(play: Play, contexts: Contexts) -> None:
    async def story() -> None:
        side, other = await tls_pair(contexts)
        plain = socket.socket(fileno=other.sock.detach())
        plain.sendall(b"this is no record at all")
        assert await side.read() == b""
        assert (side.is_over, side.is_broken) == (True, True)
        side.drop()
        plain.close()

    play(story)


def test_a_dropped_side_looks_cut_off_to_who_reads(play: Play, contexts: Contexts) -> None:
    async def story() -> None:
        side, other = await tls_pair(contexts)
        side.write(b"half")
        side.drop()
        assert await other.do(other.sock.recv, 100) == b"half"
        with pytest.raises(ssl.SSLEOFError):
            await other.do(other.sock.recv, 100)
        other.sock.close()

    play(story)


def test_an_end_knows_what_it_heard(play: Play) -> None:
    """The other end, which these tests stand on."""

    async def story() -> None:
        side, other = side_pair()
        assert await other.is_silent()
        side.write(b"a\r\n\r\nb")
        assert await other.hear() == b"a\r\n\r\n"
        assert not await other.is_silent()
        side.drop()
        with pytest.raises(EOFError):
            await End.hear(other)

    play(story)


async def fills(side: Side, say: Callable[[bytes], Awaitable[object]]) -> None:
    """A buffer into which a record fits once, and no second one."""
    buffer = memoryview(bytearray(RECORD + 1000))
    side.unread(b"before ")
    sent, got = bytes(range(250)) * 200, b""
    saying = asyncio.ensure_future(say(sent))
    while len(got) < 7 + len(sent):
        await side.ready()
        got += buffer[: side.fill(buffer)]
    await saying
    assert got == b"before " + sent
    assert side.came == len(sent)
    assert side.fill(buffer) == 0
    assert not side.is_over
    side.drop()
    await side.ready()
    assert side.fill(buffer) == 0


def test_a_buffer_is_filled_with_what_is_here_and_no_more(play: Play) -> None:
    async def story() -> None:
        side, other = side_pair()
        await fills(side, other.say)

    play(story)


def test_a_buffer_is_filled_with_what_tls_has_for_it(play: Play, contexts: Contexts) -> None:
    async def story() -> None:
        side, other = await tls_pair(contexts)
        await fills(side, lambda data: other.do(other.sock.sendall, data))
        other.sock.close()

    play(story)


def test_an_end_fills_nothing(play: Play) -> None:
    async def story() -> None:
        side, other = side_pair()
        other.end()
        await side.ready()
        assert side.fill(memoryview(bytearray(RECORD))) == 0
        assert (side.is_over, side.is_broken) == (True, False)
        side.drop()

    play(story)


def test_what_is_lent_is_sent_or_copied_and_the_callers_again(play: Play, contexts: Contexts) -> None:
    async def story() -> None:
        side, other = await tls_pair(contexts)
        buffer = bytearray(65_536)
        count = 0
        while side.unsent < 3 * len(buffer):  # the kernel takes no more, and then neither do we
            buffer[:] = bytes([count % 256]) * len(buffer)
            side.lend(memoryview(buffer))
            count += 1
        buffer[:] = b"!" * len(buffer)

        def read_all() -> bytes:
            data = bytearray()
            while len(data) < count * len(buffer):
                data += other.sock.recv(65_536)
            return bytes(data)

        heard = await other.do(read_all)
        assert heard == b"".join(bytes([number % 256]) * len(buffer) for number in range(count))
        assert side.went == count * len(buffer)
        side.drop()
        side.lend(memoryview(buffer))
        assert side.went == count * len(buffer)
        other.sock.close()

    play(story)


# --- handed to who is called ---


def test_what_comes_is_handed_over_once(play: Play) -> None:
    async def story() -> None:
        side, other = side_pair()
        taken: list[bytes] = []
        side.hand(Taker(taken.append))
        await other.say(b"a")
        await until(lambda: taken)
        await other.say(b"b")
        assert await side.read() == b"b"
        side.hand(Taker(taken.append))
        side.hand(None)
        await other.say(b"c")
        await turns()
        assert side.unread_size == 1
        assert taken == [b"a"]
        side.drop()

    play(story)


@pytest.mark.parametrize("how", ["end", "reset", "drop"])
def test_an_end_is_handed_over(play: Play, how: str) -> None:
    async def story() -> None:
        side, other = side_pair()
        taken: list[bytes] = []
        side.hand(Taker(taken.append))
        if how == "drop":
            side.drop()
        else:
            getattr(other, how)()
        await until(lambda: taken)
        assert taken == [b""]
        assert side.is_over
        side.drop()
        assert taken == [b""]

    play(story)


def test_nothing_holds_back_what_is_lent(
    play: Play, contexts: Contexts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cork drives long writes into the timers of a kernel that paces."""
    asked: list[tuple[Any, ...]] = []

    async def story() -> None:
        side, other = await tls_pair(contexts)
        with monkeypatch.context() as patch:
            patch.setattr(ssl.SSLSocket, "setsockopt", lambda _, *words: asked.append(words))
            side.lend(memoryview(bytes(8 * RECORD)))
        side.drop()
        other.sock.close()

    play(story)
    assert asked == []
