"""The pool, with real connections: TLS servers of this process, on the loopback."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from proxy.core.hosts import Hostname
from proxy.core.reasons import Reason
from proxy.lanes.fast import upstreams as module
from proxy.lanes.fast.tls import UpstreamTls
from proxy.lanes.fast.upstreams import IDLE_SECONDS, SESSION_SECONDS, Origin, Upstream, Upstreams
from proxy.lanes.interface import Address
from tests.fast_world import opened_pair, perform, turns, until
from tests.lane_world import HOST, Clock, Internet, ssl_server

OTHER = Hostname("other.example.com")


@pytest.fixture(scope="module")
def internet() -> Internet:
    return Internet()


@dataclass
class Site:
    """A TLS server: what it accepted, and what was said to it."""

    address: Address
    taken: list[asyncio.StreamWriter] = field(default_factory=list)
    heard: bytearray = field(default_factory=bytearray)
    resumed: list[bool] = field(default_factory=list)
    ended: list[None] = field(default_factory=list)

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.taken.append(writer)
        self.resumed.append(writer.get_extra_info("ssl_object").session_reused)
        try:
            while data := await reader.read(65_536):
                self.heard += data
                writer.write(data)
        except OSError:
            pass
        finally:
            self.ended.append(None)
            writer.close()


class Pool(Upstreams):
    def __init__(self, internet: Internet, patience: float = 5.0) -> None:
        self.clock = Clock()
        roots = internet.root.public_bytes(Encoding.PEM)
        super().__init__(UpstreamTls(roots), patience, self.clock.monotonic)

    async def made(self, origin: Origin) -> Upstream:
        upstream = await self.connect(origin)
        assert isinstance(upstream, Upstream), upstream
        return upstream

    def close(self) -> None:
        """Everything that is idle."""
        self.clock.seconds += IDLE_SECONDS
        self.sweep()
        assert self.idle == 0


Story = Callable[[Pool, Site, Origin], Awaitable[None]]
Play = Callable[..., None]


@pytest.fixture
def play(internet: Internet, tmp_path: Path) -> Play:
    def run(story: Story, *names: str, patience: float = 5.0) -> None:
        async def within() -> None:
            context = ssl_server(internet.leaf(*(names or (HOST, OTHER))), tmp_path)
            site = Site(("", 0))
            server = await asyncio.start_server(site.talk, "127.0.0.1", 0, ssl=context)
            site.address = server.sockets[0].getsockname()
            pool = Pool(internet, patience)
            try:
                await story(pool, site, (HOST, site.address))
            finally:
                pool.close()
                server.close()
                # Some may have been accepted just now.
                await turns()
                for writer in site.taken:
                    writer.transport.abort()
                await turns()

        perform(within)

    return run


async def echoed(upstream: Upstream, data: bytes = b"hello") -> None:
    """A request, and its answer; with the first comes the ticket."""
    upstream.side.write(data)
    got = b""
    while got != data:
        got += await upstream.side.read()


# --- connecting ---


def test_a_connection_is_verified_and_knows_where_it_leads(play: Play) -> None:
    async def story(pool: Pool, site: Site, origin: Origin) -> None:
        upstream = await pool.made(origin)
        assert (upstream.name, upstream.origin, upstream.peer) == (
            HOST,
            origin,
            f"127.0.0.1:{site.address[1]}",
        )
        assert isinstance(upstream.side.sock, ssl.SSLSocket)
        await echoed(upstream)
        pool.end(upstream)

    play(story)


def test_a_name_is_looked_up(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(pool: Pool, site: Site, origin: Origin) -> None:
        name, (_, port) = origin
        upstream = await pool.made((name, ("localhost", port)))
        pool.end(upstream)

        dead = opened_pair()[1].getsockname()[0]
        found = [(0, 0, 0, "", (where, port)) for where in ("127.0.0.2", dead)]
        loop = asyncio.get_running_loop()

        async def look(*_: object, **__: object) -> list[object]:
            return list(found)

        class Loop:
            getaddrinfo = staticmethod(look)

        monkeypatch.setattr(module.asyncio, "get_running_loop", lambda: Loop)
        try:
            places = await module._places(("somewhere.example", port))
        finally:
            monkeypatch.undo()
        assert asyncio.get_running_loop() is loop
        assert places == [("127.0.0.2", port), (dead, port)]

    play(story)


def test_the_first_address_that_answers_is_taken(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(pool: Pool, site: Site, origin: Origin) -> None:
        name, address = origin

        async def places(_: Address) -> list[Address]:
            return [("127.0.0.9", address[1]), address]

        monkeypatch.setattr(module, "_places", places)
        upstream = await pool.made((name, ("somewhere.example", 443)))
        assert upstream.peer == f"127.0.0.1:{address[1]}"
        pool.end(upstream)

    play(story)


def test_a_name_without_an_address_is_unreachable(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(pool: Pool, _site: Site, _origin: Origin) -> None:
        async def places(_: Address) -> list[Address]:
            return []

        monkeypatch.setattr(module, "_places", places)
        fault = await pool.connect((HOST, ("somewhere.example", 443)))
        assert fault == (Reason.UPSTREAM_UNREACHABLE, f"{HOST} could not be connected to")

    play(story)


def test_nobody_there_is_unreachable(play: Play) -> None:
    async def story(pool: Pool, _site: Site, _origin: Origin) -> None:
        with socket.create_server(("127.0.0.1", 0)) as gone:
            address = gone.getsockname()
        fault = await pool.connect((HOST, address))
        assert fault == (Reason.UPSTREAM_UNREACHABLE, f"{HOST} could not be connected to")
        assert pool._open == {}

    play(story)


def test_a_name_that_no_resolver_could_ask_for_is_unreachable(play: Play) -> None:
    async def story(pool: Pool, _site: Site, _origin: Origin) -> None:
        fault = await pool.connect((HOST, ("a" * 64 + ".example", 443)))
        assert fault == (Reason.UPSTREAM_UNREACHABLE, f"{HOST} could not be connected to")

    play(story)


def test_a_name_that_tls_cannot_say_is_unreachable(play: Play) -> None:
    async def story(pool: Pool, site: Site, _origin: Origin) -> None:
        name = Hostname("\u00e4.example")  # none comes this far
        fault = await pool.connect((name, site.address))
        assert fault == (Reason.UPSTREAM_UNREACHABLE, f"{name} could not be connected to")
        assert pool._open == {}

    play(story)


def test_where_tls_cannot_begin_no_socket_is_left_behind(play: Play) -> None:
    class Refusing:
        """In place of the context."""

        sockets: list[socket.socket] = []  # noqa: RUF012 - of this test alone

        def wrap_socket(self, sock: socket.socket, **_: object) -> None:
            self.sockets.append(sock)
            raise OSError

    async def story(pool: Pool, _site: Site, origin: Origin) -> None:
        pool._tls.context = Refusing()  # type: ignore[assignment] # as much of it as is asked
        assert await pool.connect(origin) == (
            Reason.UPSTREAM_UNREACHABLE,
            f"{HOST} could not be connected to",
        )
        (sock,) = Refusing.sockets
        assert sock.fileno() == -1

    play(story)


def test_a_certificate_for_another_name_is_told_and_nothing_is_sent(play: Play) -> None:
    async def story(pool: Pool, site: Site, origin: Origin) -> None:
        fault = await pool.connect(origin)
        assert isinstance(fault, tuple)
        assert fault[0] is Reason.UPSTREAM_UNVERIFIED
        assert "does not prove the name" in fault[1]
        assert site.heard == b""
        assert pool._open == {}

    play(story, OTHER)


class Plain:
    """Answers whoever connects, without TLS."""

    def __init__(self, answer: bytes | None) -> None:
        self._answer = answer

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        if self._answer is None:
            writer.transport.abort()
            return
        writer.write(self._answer)
        writer.close()


@pytest.mark.parametrize(
    ("answer", "reason", "told"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", Reason.UPSTREAM_UNVERIFIED, "does not speak TLS"),
        (b"", Reason.UPSTREAM_UNREACHABLE, "could not be connected to"),
        (None, Reason.UPSTREAM_UNREACHABLE, "could not be connected to"),
    ],
)
def test_what_is_no_tls_is_told_apart_from_nobody(
    play: Play, answer: bytes | None, reason: Reason, told: str
) -> None:
    async def story(pool: Pool, _site: Site, _origin: Origin) -> None:
        server = await asyncio.start_server(Plain(answer), "127.0.0.1", 0)
        fault = await pool.connect((HOST, server.sockets[0].getsockname()))
        assert isinstance(fault, tuple)
        assert (fault[0], told in fault[1]) == (reason, True)
        server.close()

    play(story)


def test_who_does_not_shake_hands_in_time_is_given_up(play: Play) -> None:
    async def story(pool: Pool, _site: Site, _origin: Origin) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            fault = await pool.connect((HOST, silent.getsockname()))
        assert fault == (Reason.UPSTREAM_UNREACHABLE, f"{HOST} gave no TLS connection in time")
        assert pool._open == {}

    play(story, patience=0.05)


def test_who_stops_waiting_for_a_connection_leaves_none_behind(play: Play) -> None:
    async def story(pool: Pool, _site: Site, _origin: Origin) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            connecting = asyncio.ensure_future(pool.connect((HOST, silent.getsockname())))
            await until(lambda: pool._open)
            await turns()
            connecting.cancel()
            await asyncio.wait({connecting})
        assert pool._open == {}

    play(story)


def test_more_than_so_many_at_once_are_refused(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_OPEN", 2)

    async def story(pool: Pool, site: Site, origin: Origin) -> None:
        made = [await pool.made(origin) for _ in range(2)]
        assert await pool.connect(origin) == (Reason.OVERLOADED, f"2 requests to {HOST} are under way")
        # Of another name there may be more, and here as soon as one ended.
        made.append(await pool.made((OTHER, site.address)))
        pool.end(made.pop(0))
        made.append(await pool.made(origin))
        for upstream in made:
            pool.end(upstream)

    play(story)


# --- idle ones ---


def test_one_that_served_is_taken_again_and_the_last_one_first(play: Play) -> None:
    async def story(pool: Pool, site: Site, origin: Origin) -> None:
        one, two = await pool.made(origin), await pool.made(origin)
        assert pool.take(origin) is None
        pool.park(one)
        pool.park(two)
        assert pool.idle == 2
        assert pool.take(origin) is two
        assert pool.take(origin) is one
        assert (pool.take(origin), pool.idle) == (None, 0)
        await echoed(one)
        await echoed(two)
        for upstream in (one, two):
            pool.end(upstream)
        assert len(site.taken) == 2

    play(story)


def test_nobody_gets_what_was_verified_for_another_name_or_leads_elsewhere(play: Play) -> None:
    async def story(pool: Pool, site: Site, origin: Origin) -> None:
        pool.park(await pool.made(origin))
        assert pool.take((OTHER, site.address)) is None
        assert pool.take((HOST, ("127.0.0.1", site.address[1] ^ 1))) is None
        assert pool.take((HOST, ("127.0.0.2", site.address[1]))) is None
        assert pool.idle == 1

    play(story)


def test_one_that_ended_while_it_was_idle_is_not_taken(play: Play) -> None:
    async def story(pool: Pool, site: Site, origin: Origin) -> None:
        pool.park(await pool.made(origin))
        await until(lambda: site.taken)
        site.taken[0].transport.abort()
        await until(lambda: pool.idle == 0)
        assert (pool.take(origin), pool._open) == (None, {})

    play(story)


def test_one_whose_end_nobody_saw_yet_is_not_taken(play: Play) -> None:
    async def story(pool: Pool, _site: Site, origin: Origin) -> None:
        young, old = await pool.made(origin), await pool.made(origin)
        pool.park(old)
        pool.park(young)
        young.side.on_news = None
        young.side.drop()
        assert pool.take(origin) is old
        pool.end(old)

    play(story)


def test_one_that_spoke_out_of_turn_is_thrown_away(play: Play) -> None:
    async def story(pool: Pool, site: Site, origin: Origin) -> None:
        upstream = await pool.made(origin)
        pool.park(upstream)
        await until(lambda: site.taken)
        site.taken[0].write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        await until(lambda: pool.idle == 0)
        assert upstream.side.is_broken
        assert pool.take(origin) is None

    play(story)


def test_one_with_something_left_over_is_not_kept(play: Play) -> None:
    async def story(pool: Pool, _site: Site, origin: Origin) -> None:
        unread, unsent, over = [await pool.made(origin) for _ in range(3)]
        unread.side.unread(b"HTTP/1.1 200")
        unsent.side.unsent = 1
        over.side.is_over = True
        for upstream in (unread, unsent, over):
            pool.park(upstream)
            assert upstream.side.is_broken
        assert (pool.idle, pool._open) == (0, {})

    play(story)


def test_what_was_idle_for_long_is_let_go_and_no_other(play: Play) -> None:
    async def story(pool: Pool, site: Site, origin: Origin) -> None:
        old, young = await pool.made(origin), await pool.made(origin)
        elsewhere = await pool.made((OTHER, site.address))
        pool.park(old)
        pool.park(elsewhere)
        pool.clock.seconds += IDLE_SECONDS - 1
        pool.park(young)
        pool.sweep()
        assert pool.idle == 3
        pool.clock.seconds += 1
        pool.sweep()
        assert pool.idle == 1
        assert pool.take(origin) is young
        pool.end(young)
        assert pool._idle == pool._open == {}

    play(story)


def test_so_many_are_kept_for_one_name_and_for_all(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_IDLE", 2)
    monkeypatch.setattr(module, "MOST_IDLE_IN_ALL", 3)

    async def story(pool: Pool, site: Site, origin: Origin) -> None:
        other = (OTHER, site.address)
        for upstream in [await pool.made(origin) for _ in range(3)]:
            pool.park(upstream)
        assert pool.idle == 2
        for upstream in [await pool.made(other) for _ in range(2)]:
            pool.park(upstream)
        assert pool.idle == 3

    play(story)


# --- sessions ---


def test_the_second_handshake_is_a_short_one_for_an_hour(play: Play) -> None:
    async def story(pool: Pool, site: Site, origin: Origin) -> None:
        first = await pool.made(origin)
        await echoed(first)
        pool.park(first)
        taken = pool.take(origin)
        assert taken is first
        second = await pool.made(origin)
        # It goes on with the first one's: to be kept it would have to be verified again.
        await echoed(second)
        pool.park(second)
        pool.clock.seconds += SESSION_SECONDS
        third = await pool.made(origin)
        await echoed(third)
        assert site.resumed == [False, True, False]
        for upstream in (first, third):
            pool.end(upstream)

    play(story)


def test_a_session_is_of_its_name_alone(play: Play) -> None:
    async def story(pool: Pool, site: Site, origin: Origin) -> None:
        first = await pool.made(origin)
        await echoed(first)
        pool.park(first)
        second = await pool.made((OTHER, site.address))
        await echoed(second)
        assert site.resumed == [False, False]
        pool.end(second)

    play(story)


def test_sessions_are_kept_up_to_a_limit(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_IDLE_IN_ALL", 1)

    async def story(pool: Pool, site: Site, origin: Origin) -> None:
        for each in (origin, (OTHER, site.address)):
            upstream = await pool.made(each)
            await echoed(upstream)
            pool.park(upstream)
        assert list(pool._sessions) == [(OTHER, site.address)]

    play(story)
