"""The whole lane between two sockets, with TLS on both sides."""

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from mitmproxy.proxy.events import Event
from mitmproxy.proxy.layers.tls import ServerTLSLayer

from proxy.core.arrival import LaneName
from proxy.core.audit import Ending
from proxy.core.settings import Capture
from proxy.core.structs import replace
from proxy.lanes.interface import Accepted, Address, Distrust
from proxy.lanes.mitm import clients, handler
from proxy.lanes.mitm.client_tls import ClientTls
from proxy.lanes.mitm.handler import MAX_WAITING, ConnectionInLane
from proxy.lanes.mitm.lane import MitmproxyLane
from proxy.lanes.mitm.upstream_tls import UpstreamTls
from tests.lane_world import (
    HOST,
    LIVE,
    Internet,
    MadeLeaf,
    World,
    arrival_of,
    ssl_client,
    ssl_server,
    tcp_pair,
    timeouts,
)

GET = b"GET /v1/models HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SHORT = timeouts(connect=0.2, idle=0.3)

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(scope="module")
def internet() -> Internet:
    return Internet()


@pytest.fixture(scope="module")
def pod() -> Internet:
    """The pod's own authority."""
    return Internet()


@pytest.fixture(autouse=True)
def _real(monkeypatch: pytest.MonkeyPatch, _cleartext_tls: None) -> None:
    monkeypatch.setattr(clients, "ServerTLSLayer", ServerTLSLayer)
    monkeypatch.setattr(handler, "FAREWELL", 0.05)


@pytest.fixture
def world() -> World:
    return World()


class Site:
    """An upstream on the loopback that remembers what applications' bytes it got."""

    def __init__(self, context: ssl.SSLContext | None, answer: bytes | None = OK) -> None:
        self.context = context
        self.reply = answer
        self.got = bytearray()
        self.ended = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while b"\r\n\r\n" not in self.got:
                data = await reader.read(65_536)
                if not data:
                    break
                self.got += data
            if self.reply is not None:
                writer.write(self.reply)
                await writer.drain()
            await reader.read()
        writer.close()
        self.ended.set()


@asynccontextmanager
async def at(site: Site) -> AsyncIterator[Address]:
    server = await asyncio.start_server(site.serve, "127.0.0.1", 0, ssl=site.context)
    try:
        host, port = server.sockets[0].getsockname()
        yield host, port
    finally:
        server.close()


@asynccontextmanager
async def served(
    world: World, internet: Internet, pod: Internet, address: Address, accepted: Accepted | None = None
) -> AsyncIterator[tuple[socket.socket, asyncio.Task[None]]]:
    """The application's end of a connection that the lane serves."""
    theirs, ours = tcp_pair()
    lane = MitmproxyLane(world.lane_world, ClientTls(pod), UpstreamTls([internet.root]))
    assert lane.name is LaneName.MITMPROXY
    accepted = accepted or Accepted(ours, arrival_of(), address, (b"http/1.1",))
    accepted.sock = ours
    task = asyncio.get_running_loop().create_task(lane.serve(accepted))
    try:
        yield theirs, task
    finally:
        theirs.close()
        task.cancel()
        await asyncio.wait([task])


async def ask(sock: socket.socket, pod: Internet, data: bytes = GET) -> bytes:
    """Everything that comes back, up to the end of the connection."""
    reader, writer = await asyncio.open_connection(sock=sock, ssl=ssl_client(pod.root), server_hostname=HOST)
    writer.write(data)
    async with asyncio.timeout(5):
        answer = await reader.read()
    writer.transport.abort()
    return answer


def reason_of(answer: bytes) -> tuple[int, str, str]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["error"]["code"], json.loads(body)["error"]["message"]


def test_a_request_goes_through_with_the_credential(
    world: World, internet: Internet, pod: Internet, tmp_path: Path
) -> None:
    async def run() -> None:
        site = Site(ssl_server(internet.leaf(HOST), tmp_path))
        async with at(site) as address, served(world, internet, pod, address) as (sock, task):
            assert (await ask(sock, pod)).endswith(b"\r\n\r\nok")
            async with asyncio.timeout(5):
                await task
                await site.ended.wait()
        assert f"authorization: Bearer {LIVE}".encode() in site.got

    asyncio.run(run())

    recorder = world.recorder
    assert recorder.record.ending is Ending.COMPLETED
    assert len(recorder.arrivals) == len(recorder.departures) == 1
    assert recorder.crashes == []


def test_an_endpoint_is_spoken_to_in_cleartext_and_its_upstream_over_tls(
    world: World, internet: Internet, pod: Internet, tmp_path: Path
) -> None:
    async def run() -> None:
        site = Site(ssl_server(internet.leaf(HOST), tmp_path))
        async with at(site) as address:
            arrival = replace(arrival_of(capture=Capture.ENDPOINT), path_prefix="/podkey-0")
            accepted = Accepted(socket.socket(), arrival, address, None)
            accepted.sock.close()
            async with served(world, internet, pod, address, accepted) as (sock, _):
                reader, writer = await asyncio.open_connection(sock=sock)
                request = b"GET /podkey-0/v1/models HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
                writer.write(request)
                async with asyncio.timeout(5):
                    assert (await reader.read()).endswith(b"ok")
                writer.close()
        assert site.got.startswith(b"GET /v1/models HTTP/1.1\r\nHost: api.example.com\r\n")

    asyncio.run(run())


@pytest.mark.parametrize("fault", ["another name", "expired", "a stranger's"])
def test_an_upstream_that_does_not_prove_its_name_gets_nothing(
    world: World, internet: Internet, pod: Internet, tmp_path: Path, fault: str
) -> None:
    leaf: MadeLeaf = {
        "another name": internet.leaf("other.example.com"),
        "expired": internet.leaf(HOST, expired=True),
        "a stranger's": Internet().leaf(HOST),
    }[fault]

    async def run() -> None:
        site = Site(ssl_server(leaf, tmp_path))
        async with at(site) as address, served(world, internet, pod, address) as (sock, _):
            status, reason, message = reason_of(await ask(sock, pod))
        assert (status, reason) == (502, "upstream_unverified")
        assert "nothing was sent" in message
        assert site.got == b""

    asyncio.run(run())


def test_an_upstream_that_does_not_speak_tls_gets_nothing(
    world: World, internet: Internet, pod: Internet
) -> None:
    async def run() -> None:
        async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"220 mail.example.com ESMTP\r\n" * 3)
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(greet, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        async with server, served(world, internet, pod, address) as (sock, _):
            status, reason, _message = reason_of(await ask(sock, pod))
        assert (status, reason) == (502, "upstream_unverified")

    asyncio.run(run())


def test_an_upstream_that_refuses_the_connection_is_told(
    world: World, internet: Internet, pod: Internet
) -> None:
    async def run() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            address = listener.getsockname()
        async with served(world, internet, pod, address) as (sock, _):
            assert reason_of(await ask(sock, pod))[:2] == (502, "upstream_unreachable")

    asyncio.run(run())


def test_an_upstream_that_never_shakes_hands_is_given_up(
    world: World, internet: Internet, pod: Internet
) -> None:
    world = World(timeouts=timeouts(connect=0.2))

    async def run() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            async with served(world, internet, pod, listener.getsockname()) as (sock, _):
                status, reason, message = reason_of(await ask(sock, pod))
        assert (status, reason) == (502, "upstream_unreachable")
        assert "in time" in message

    asyncio.run(run())


def test_an_upstream_that_says_nothing_is_a_504(internet: Internet, pod: Internet, tmp_path: Path) -> None:
    world = World(timeouts=SHORT)

    async def run() -> None:
        site = Site(ssl_server(internet.leaf(HOST), tmp_path), answer=None)
        async with at(site) as address, served(world, internet, pod, address) as (sock, _):
            assert reason_of(await ask(sock, pod))[:2] == (504, "upstream_stalled")

    asyncio.run(run())
    assert world.recorder.failures == [(HOST, "upstream_stalled")]


@pytest.mark.parametrize("begun", [False, True])
def test_a_request_that_takes_too_long_in_all_is_told_or_cut(
    internet: Internet, pod: Internet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, begun: bool
) -> None:
    monkeypatch.setattr(handler, "FAREWELL", 0.1)
    world = World(timeouts=timeouts(request=0.2))
    half = b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ncontent-length: 9\r\n\r\nhello"

    async def run() -> None:
        site = Site(ssl_server(internet.leaf(HOST), tmp_path), answer=half if begun else None)
        async with at(site) as address, served(world, internet, pod, address) as (sock, _):
            # The lane's clock stands still, unless somebody moves it.
            asyncio.get_running_loop().call_later(0.1, lambda: setattr(world.clock, "seconds", 1000.0))
            answer = await ask(sock, pod)
            await asyncio.wait_for(site.ended.wait(), 5)
        if begun:
            assert answer.endswith(b"\r\n\r\nhello")
        else:
            assert reason_of(answer)[:2] == (504, "request_timed_out")

    asyncio.run(run())
    record = world.recorder.record
    assert record.ending is (Ending.CUT if begun else Ending.REFUSED)
    assert world.recorder.failures == [(HOST, "request_timed_out")]


def test_a_connection_without_a_request_ends_in_silence(internet: Internet, pod: Internet) -> None:
    world = World(timeouts=SHORT)

    async def run() -> None:
        async with served(world, internet, pod, ("127.0.0.1", 1)) as (sock, _):
            assert await ask(sock, pod, b"") == b""

    asyncio.run(run())
    assert world.recorder.records == []


def test_a_client_that_leaves_when_it_has_seen_our_certificate_is_counted(
    world: World, internet: Internet, pod: Internet
) -> None:
    async def run() -> None:
        async with served(world, internet, pod, ("127.0.0.1", 1)) as (sock, task):
            # asyncio's clients do not say why they leave.
            with pytest.raises(ssl.SSLCertVerificationError):
                await ask(sock, internet)
            async with asyncio.timeout(5):
                await task

    asyncio.run(run())
    assert world.recorder.distrusted == [(HOST, Distrust.LEFT)]


def test_a_client_that_says_that_it_does_not_trust_us_is_counted(
    world: World, internet: Internet, pod: Internet
) -> None:
    def greet(sock: socket.socket) -> None:
        sock.settimeout(5)
        with pytest.raises(ssl.SSLCertVerificationError):
            ssl_client(internet.root).wrap_socket(sock, server_hostname=HOST).close()

    async def run() -> None:
        async with served(world, internet, pod, ("127.0.0.1", 1)) as (sock, task):
            await asyncio.to_thread(greet, sock)
            async with asyncio.timeout(5):
                await task

    asyncio.run(run())
    assert world.recorder.distrusted == [(HOST, Distrust.SAID)]


def test_a_client_that_speaks_no_tls_is_not_counted_as_one_that_does_not_trust_us(
    world: World, internet: Internet, pod: Internet
) -> None:
    async def run() -> None:
        async with served(world, internet, pod, ("127.0.0.1", 1)) as (sock, task):
            sock.send(b"GET / HTTP/1.1\r\n\r\n")
            sock.shutdown(socket.SHUT_WR)
            async with asyncio.timeout(5):
                await task

    asyncio.run(run())
    assert world.recorder.distrusted == []


def test_the_end_of_a_connection_is_announced(
    world: World, internet: Internet, pod: Internet, tmp_path: Path
) -> None:
    """Without close_notify, a response that ends with its connection looks truncated to OpenSSL 3."""

    def read_to_the_end(sock: socket.socket) -> bytes:
        sock.settimeout(5)
        context = ssl_client(pod.root)
        with context.wrap_socket(sock, server_hostname=HOST, suppress_ragged_eofs=False) as client:
            client.sendall(GET)
            got = b""
            while data := client.recv(65_536):
                got += data
            return got

    async def run() -> None:
        site = Site(ssl_server(internet.leaf(HOST), tmp_path))
        async with at(site) as address, served(world, internet, pod, address) as (sock, _):
            assert (await asyncio.to_thread(read_to_the_end, sock)).endswith(b"ok")

    asyncio.run(run())


def test_the_end_of_a_large_answer_reaches_a_slow_reader(
    world: World, internet: Internet, pod: Internet, tmp_path: Path
) -> None:
    body = bytes(1_000_000)

    async def run() -> None:
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        site = Site(ssl_server(internet.leaf(HOST), tmp_path), answer)
        async with at(site) as address, served(world, internet, pod, address) as (sock, task):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
            reader, writer = await asyncio.open_connection(
                sock=sock, ssl=ssl_client(pod.root), server_hostname=HOST, limit=4096
            )
            writer.write(GET)
            got = 0
            async with asyncio.timeout(5):
                while data := await reader.read(65_536):
                    got += len(data)
                await task
            writer.transport.abort()
        assert got > len(body)

    asyncio.run(run())
    assert world.recorder.record.ending is Ending.COMPLETED
    assert world.recorder.crashes == []


def test_an_upload_that_waits_for_its_upstream_is_not_taken_into_memory(
    internet: Internet, pod: Internet, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(timeouts=timeouts(connect=0.3))
    most = 0
    real = ConnectionInLane.server_event

    async def watched(self: ConnectionInLane, event: Event) -> None:
        nonlocal most
        await real(self, event)
        most = max(most, self._conversation.waiting_bytes)

    monkeypatch.setattr(ConnectionInLane, "server_event", watched)

    async def run() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            async with served(world, internet, pod, listener.getsockname()) as (sock, _):
                size = 32_000_000
                head = f"PUT /v1/x HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {size}\r\n\r\n"
                reader, writer = await asyncio.open_connection(
                    sock=sock, ssl=ssl_client(pod.root), server_hostname=HOST
                )
                writer.write(head.encode() + bytes(size))
                async with asyncio.timeout(5):
                    answer = await reader.readuntil(b"\r\n\r\n")
                writer.transport.abort()
        assert b"upstream_unreachable" in answer

    asyncio.run(run())
    assert 0 < most <= MAX_WAITING + 2 * 65_536


def test_a_lane_that_is_told_to_stop_takes_both_connections_with_it(
    world: World, internet: Internet, pod: Internet, tmp_path: Path
) -> None:
    async def run() -> None:
        site = Site(ssl_server(internet.leaf(HOST), tmp_path), answer=b"HTTP/1.1 200 OK\r\n\r\nfirst\n")
        async with at(site) as address, served(world, internet, pod, address) as (sock, task):
            reader, writer = await asyncio.open_connection(
                sock=sock, ssl=ssl_client(pod.root), server_hostname=HOST
            )
            writer.write(GET)
            async with asyncio.timeout(5):
                await reader.readuntil(b"first\n")
                task.cancel()
                with suppress(ConnectionError):
                    await reader.read()
                await site.ended.wait()
            writer.transport.abort()

    asyncio.run(run())
    assert world.recorder.record.ending is Ending.CUT
    assert len(world.recorder.departures) == 1


def test_a_crash_of_the_lane_is_its_connections_own(
    world: World, internet: Internet, pod: Internet, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(_self: ConnectionInLane) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr(ConnectionInLane, "serve", broken)

    async def run() -> None:
        async with served(world, internet, pod, ("127.0.0.1", 1)) as (sock, task):
            async with asyncio.timeout(5):
                await task
            assert await asyncio.to_thread(sock.recv, 1) == b""

    asyncio.run(run())
    assert [where for where, _ in world.recorder.crashes] == ["mitmproxy lane"]
    assert len(world.recorder.departures) == 1
