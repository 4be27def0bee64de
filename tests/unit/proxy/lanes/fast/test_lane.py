"""The lane as the others see it, from the first byte of a handshake to the record of its end."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from proxy.core.arrival import LaneName
from proxy.core.audit import Ending
from proxy.core.hosts import Hostname
from proxy.core.reasons import Reason
from proxy.lanes.fast import lane as module
from proxy.lanes.fast.handshakes import shake_hands
from proxy.lanes.fast.lane import LOOK_SECONDS, FastLane
from proxy.lanes.fast.tls import ClientTls, UpstreamTls
from proxy.lanes.interface import Accepted, Address, Distrust, TlsPeer
from tests.fast_world import ARRIVAL, opened_pair, perform, turns, until
from tests.lane_world import HOST, LIVE, Internet, MadeLeaf, World, ssl_client, ssl_server, timeouts

GET = b"GET /v1/models HTTP/1.1\r\nHost: api.example.com\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@dataclass(frozen=True)
class Pem:
    made: MadeLeaf

    @property
    def chain_pem(self) -> bytes:
        return self.made.certificate.public_bytes(Encoding.PEM)

    def key_pem(self) -> bytes:
        return self.made.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


class Leaves:
    def __init__(self, internet: Internet) -> None:
        self._internet = internet
        self.is_broken = False
        self._made: dict[Hostname, Pem] = {}

    def leaf_for(self, host: Hostname) -> Pem:
        if self.is_broken:
            raise RuntimeError(LIVE)
        return self._made.setdefault(host, Pem(self._internet.leaf(host)))


class Pod:
    """A lane, an upstream that answers everything, and connections of the application."""

    def __init__(self, world: World, internet: Internet) -> None:
        self.world = world
        self.recorder = world.recorder
        self.internet = internet
        self.leaves = Leaves(internet)
        roots = internet.root.public_bytes(Encoding.PEM)
        self.lane = FastLane(world.lane_world, ClientTls(self.leaves), UpstreamTls(roots))
        self.address: Address = ("", 0)
        self.heard: list[bytes] = []
        self.taken: list[asyncio.StreamWriter] = []
        self.serving: list[asyncio.Task[None]] = []
        # While it is set.
        self.answers = asyncio.Event()
        self.answers.set()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.taken.append(writer)
        try:
            while True:
                self.heard.append(await reader.readuntil(b"\r\n\r\n"))
                await self.answers.wait()
                writer.write(OK)
        except (OSError, asyncio.IncompleteReadError):
            writer.close()

    def accept(self, alpn: tuple[bytes, ...] | None = (b"http/1.1",)) -> tuple[socket.socket, Accepted]:
        """The application's end of a connection that is being served, before any handshake."""
        theirs, ours = opened_pair()
        theirs.setblocking(False)  # noqa: FBT003 - its name
        accepted = Accepted(ours, ARRIVAL, self.address, alpn)
        self.serving.append(asyncio.get_running_loop().create_task(self.lane.serve(accepted)))
        return theirs, accepted

    async def greet(self, root: Internet | None = None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        theirs, _ = self.accept()
        context = ssl_client((root or self.internet).root)
        return await asyncio.open_connection(sock=theirs, ssl=context, server_hostname=HOST)

    async def ended(self) -> None:
        await asyncio.wait(self.serving)


Story = Callable[[Pod], Awaitable[None]]
Play = Callable[..., World]


@pytest.fixture(scope="module")
def internet() -> Internet:
    return Internet()


@pytest.fixture
def play(internet: Internet, tmp_path: Path) -> Play:
    def run(story: Story, world: World | None = None) -> World:
        world = world or World()

        async def within() -> None:
            async with _pod(world) as pod:
                await story(pod)

        perform(within)
        return world

    @asynccontextmanager
    async def _pod(world: World) -> AsyncIterator[Pod]:
        pod = Pod(world, internet)
        context = ssl_server(internet.leaf(HOST), tmp_path)
        server = await asyncio.start_server(pod.answer, "127.0.0.1", 0, ssl=context)
        pod.address = server.sockets[0].getsockname()
        try:
            yield pod
        finally:
            server.close()
            world.clock.seconds += 1000
            pod.lane._upstreams.sweep()
            for task in pod.serving:
                task.cancel()
            await turns()
            for writer in pod.taken:
                writer.transport.abort()
            if pod.lane._looking is not None:
                pod.lane._looking.cancel()
            await turns()

    return run


async def leave(writer: asyncio.StreamWriter) -> None:
    writer.close()
    await writer.wait_closed()


def test_a_request_over_tls_goes_up_over_tls_with_our_credential(play: Play) -> None:
    async def story(pod: Pod) -> None:
        reader, writer = await pod.greet()
        for _ in range(2):
            writer.write(GET)
            assert await reader.readexactly(len(OK)) == OK
        await leave(writer)
        await pod.ended()
        assert [LIVE.encode() in head for head in pod.heard] == [True, True]
        assert len(pod.taken) == 1

    world = play(story)
    assert [record.ending for record in world.recorder.records] == [Ending.COMPLETED] * 2
    assert world.recorder.arrivals == [ARRIVAL]
    assert [one for one, _, _ in world.recorder.departures] == [ARRIVAL]
    assert world.recorder.crashes == []
    assert ARRIVAL.lane is LaneName.FAST is FastLane.name


def test_an_endpoint_is_spoken_to_without_tls(play: Play) -> None:
    async def story(pod: Pod) -> None:
        theirs, _ = pod.accept(None)
        reader, writer = await asyncio.open_connection(sock=theirs)
        writer.write(GET)
        assert await reader.readexactly(len(OK)) == OK
        await leave(writer)
        await pod.ended()

    assert play(story).recorder.record.ending is Ending.COMPLETED


@pytest.mark.parametrize("tls", [True, False])
def test_a_client_that_ends_its_side_has_left_and_takes_its_upstream_along(play: Play, *, tls: bool) -> None:
    """In TLS by its farewell, on an endpoint by the end of TCP alone: see docs/adr/0018."""

    async def story(pod: Pod) -> None:
        pod.answers.clear()
        theirs, _ = pod.accept((b"http/1.1",) if tls else None)
        sock: socket.socket = theirs
        if tls:
            context = ssl_client(pod.internet.root)
            sock = context.wrap_socket(theirs, server_hostname=HOST, do_handshake_on_connect=False)
            assert isinstance(sock, ssl.SSLSocket)
            await shake_hands(sock)
        sock.send(GET)
        await until(lambda: pod.heard)
        if isinstance(sock, ssl.SSLSocket):
            # It does not hear of theirs at once, and reads on.
            with pytest.raises(ssl.SSLWantReadError):
                sock.unwrap()
        else:
            sock.shutdown(socket.SHUT_WR)
        await until(lambda: pod.lane._upstreams._open == {})
        await pod.ended()
        with sock:
            sock.settimeout(5)
            # It is told so, by an end and no reset; what TLS says there is no answer.
            while socket.socket.recv(sock, 65_536):
                assert tls

    record = play(story).recorder.record
    assert (record.status, record.ending) == (None, Ending.CLIENT_GONE)


def test_two_connections_of_the_application_share_one_of_the_upstreams(play: Play) -> None:
    async def story(pod: Pod) -> None:
        for _ in range(2):
            reader, writer = await pod.greet()
            writer.write(GET)
            assert await reader.readexactly(len(OK)) == OK
            await leave(writer)
            await pod.ended()
        assert len(pod.taken) == 1

    play(story)


def test_a_client_that_does_not_trust_us_is_told_of(play: Play) -> None:
    async def story(pod: Pod) -> None:
        with pytest.raises(ssl.SSLCertVerificationError):
            await pod.greet(Internet())
        await pod.ended()

    world = play(story)
    # asyncio's clients do not say why they leave.
    assert world.recorder.distrusted == [(HOST, Distrust.LEFT)]
    assert len(world.recorder.departures) == 1


def test_a_client_that_says_that_it_does_not_trust_us_is_told_of(play: Play) -> None:
    async def story(pod: Pod) -> None:
        theirs, _ = pod.accept()
        sock = ssl_client(Internet().root).wrap_socket(
            theirs, server_hostname=HOST, do_handshake_on_connect=False
        )
        with sock, pytest.raises(ssl.SSLCertVerificationError):
            await shake_hands(sock)
        await pod.ended()

    assert play(story).recorder.distrusted == [(HOST, Distrust.SAID)]


def test_each_handshake_is_told_of_once(play: Play) -> None:
    async def story(pod: Pod) -> None:
        for _ in range(2):
            reader, writer = await pod.greet()
            for _ in range(3):
                writer.write(GET)
                assert await reader.readexactly(len(OK)) == OK
            await leave(writer)
            await pod.ended()
        theirs, _ = pod.accept(None)
        theirs.close()
        await pod.ended()

    peers = [peer for peer, _ in play(story).recorder.handshakes]
    assert peers == [TlsPeer.APPLICATION, TlsPeer.UPSTREAM, TlsPeer.APPLICATION]


def test_a_client_that_comes_back_by_its_ticket_is_told_to_those_who_make_them(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Hostname] = []

    async def story(pod: Pod) -> None:
        monkeypatch.setattr(pod.lane._client_tls, "came_back", told.append)
        context = ssl_client(pod.internet.root)
        session: ssl.SSLSession | None = None
        for comes_back in (False, True):
            theirs, _ = pod.accept()
            sock = context.wrap_socket(
                theirs, server_hostname=HOST, do_handshake_on_connect=False, session=session
            )
            with sock:
                await shake_hands(sock)
                sock.send(GET)
                await until(lambda sock=sock: _has_answer(sock))
                assert sock.session_reused is comes_back
                session = sock.session
            await pod.ended()

    play(story)
    assert told == [HOST]


def _has_answer(sock: ssl.SSLSocket) -> bool:
    try:
        return sock.recv(len(OK)) == OK
    except ssl.SSLWantReadError:
        return False


@pytest.mark.parametrize("how", ["silent", "gone", "garbage"])
def test_who_does_not_shake_hands_leaves_nothing_behind(play: Play, how: str) -> None:
    async def story(pod: Pod) -> None:
        theirs, _ = pod.accept()
        if how == "gone":
            theirs.close()
        elif how == "garbage":
            theirs.send(b"GET / HTTP/1.1\r\n\r\n")
        else:
            await until(lambda: pod.lane._handshakes)
            pod.world.clock.seconds += 5
        await pod.ended()
        assert pod.lane._handshakes == {}

    world = play(story, World(timeouts=timeouts(header=0.05)))
    assert len(world.recorder.departures) == 1
    assert world.recorder.distrusted == ([(HOST, Distrust.LEFT)] if how == "gone" else [])
    assert world.recorder.handshakes == []
    assert (world.recorder.records, world.recorder.crashes) == ([], [])


def test_without_a_leaf_a_connection_ends_and_the_others_go_on(play: Play) -> None:
    async def story(pod: Pod) -> None:
        pod.leaves.is_broken = True
        theirs, _ = pod.accept()
        await pod.ended()
        assert await asyncio.get_running_loop().sock_recv(theirs, 1) == b""
        pod.leaves.is_broken = False
        reader, writer = await pod.greet()
        writer.write(GET)
        assert await reader.readexactly(len(OK)) == OK
        await leave(writer)
        await pod.ended()

    world = play(story)
    assert [where for where, _ in world.recorder.crashes] == ["fast lane"]
    assert len(world.recorder.departures) == 2


@pytest.mark.parametrize("where", ["watch", "shook_hands"])
def test_a_crash_behind_the_handshake_leaves_no_watch_behind(
    play: Play, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """The next connection has the same number, and would never be heard."""

    async def story(pod: Pod) -> None:
        def crash(*_: object) -> None:
            raise RuntimeError(LIVE)

        with monkeypatch.context() as patched:
            if where == "watch":
                patched.setattr(module.ClientSide, "watch", crash)
            else:
                patched.setattr(pod.recorder, "shook_hands", crash)
            theirs, accepted = pod.accept()
            context = ssl_client(pod.internet.root)
            sock = context.wrap_socket(theirs, server_hostname=HOST, do_handshake_on_connect=False)
            number = accepted.sock.fileno()
            with sock:
                await shake_hands(sock)
                await pod.ended()
        again, accepted = pod.accept()
        assert accepted.sock.fileno() in {number, number + 1}
        reader, writer = await asyncio.open_connection(
            sock=again, ssl=ssl_client(pod.internet.root), server_hostname=HOST
        )
        writer.write(GET)
        assert await reader.readexactly(len(OK)) == OK
        await leave(writer)
        await pod.ended()

    world = play(story)
    assert [place for place, _ in world.recorder.crashes] == ["fast lane"]


def test_an_upstream_that_proves_another_name_gets_no_byte(play: Play) -> None:
    async def story(pod: Pod) -> None:
        pod.lane._upstreams._tls = UpstreamTls(Internet().root.public_bytes(Encoding.PEM))
        reader, writer = await pod.greet()
        writer.write(GET)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 502 ")
        await leave(writer)
        await pod.ended()
        assert pod.heard == []

    assert play(story).recorder.record.reason == Reason.UPSTREAM_UNVERIFIED.value


# --- time ---


def test_what_stands_still_is_looked_for(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.001)

    async def story(pod: Pod) -> None:
        _, writer = await pod.greet()
        await until(lambda: pod.lane._conversations)
        while not pod.serving[0].done():
            pod.world.clock.seconds += 60
            await turns()
        await leave(writer)
        # Nobody is there any more: nobody looks.
        await until(lambda: pod.lane._looking is None)

    assert play(story).recorder.records == []


def test_idle_upstreams_are_looked_for_after_the_last_connection(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.001)

    async def story(pod: Pod) -> None:
        reader, writer = await pod.greet()
        writer.write(GET)
        await reader.readexactly(len(OK))
        await leave(writer)
        await pod.ended()
        assert pod.lane._upstreams.idle == 1
        await turns()
        assert pod.lane._looking is not None
        pod.world.clock.seconds += 60
        await until(lambda: pod.lane._looking is None)
        assert pod.lane._upstreams.idle == 0

    play(story)


@pytest.mark.parametrize(
    ("header", "idle", "period"), [(5.0, 60.0, LOOK_SECONDS), (2.0, 60.0, 0.5), (30.0, 1.0, 0.25)]
)
def test_a_time_out_is_late_by_a_fraction_of_it(
    internet: Internet, header: float, idle: float, period: float
) -> None:
    world = World(timeouts=timeouts(header=header, idle=idle))

    assert Pod(world, internet).lane._period == period
