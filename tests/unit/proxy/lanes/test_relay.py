import asyncio
import gc
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from proxy.core.arrival import LaneName
from proxy.lanes import relay
from proxy.lanes.interface import Accepted, Address
from proxy.lanes.relay import Relay, connect
from tests.lane_world import World, arrival_of, tcp_pair, timeouts

ARRIVAL = arrival_of(lane=LaneName.RELAY)
MUCH = bytes(range(256)) * 16_000  # 4 MB: more than the kernel and our buffers take

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
def world() -> World:
    return World()


@asynccontextmanager
async def site(serve: Serve) -> AsyncIterator[Address]:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        host, port = server.sockets[0].getsockname()
        yield host, port
    finally:
        server.close()


@asynccontextmanager
async def relayed(
    world: World, address: Address, first: bytes = b""
) -> AsyncIterator[tuple[Ends, Accepted, asyncio.Task[None]]]:
    """The application's end of a relayed connection."""
    theirs, ours = tcp_pair()
    accepted = Accepted(ours, ARRIVAL, address, None, first)
    task = asyncio.get_running_loop().create_task(Relay(world.lane_world).serve(accepted))
    ends = await asyncio.open_connection(sock=theirs)
    try:
        async with asyncio.timeout(5):
            yield ends, accepted, task
            await task
    finally:
        ends[1].transport.abort()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


def test_bytes_pass_both_ways_and_are_counted(world: World) -> None:
    async def run() -> None:
        async with site(echo) as address, relayed(world, address) as ((reader, writer), _, _task):
            writer.write(b"\x16\x03\x01 hello")
            assert await reader.readexactly(9) == b"\x16\x03\x01 hello"
            writer.write_eof()
            assert await reader.read() == b""

    asyncio.run(run())
    assert world.recorder.arrivals == [ARRIVAL]
    assert world.recorder.departures == [(ARRIVAL, 9, 9)]


def test_much_passes_unharmed(world: World) -> None:
    async def run() -> bytes:
        async with site(echo) as address, relayed(world, address) as ((reader, writer), _, _task):
            writer.write(MUCH)
            writer.write_eof()
            return await reader.read()

    assert asyncio.run(run()) == MUCH


def test_what_comes_first_goes_first(world: World) -> None:
    async def run() -> bytes:
        async with site(echo) as address, relayed(world, address, b"GET ") as ((reader, writer), _, _task):
            writer.write(b"/ HTTP/1.1")
            writer.write_eof()
            return await reader.read()

    assert asyncio.run(run()) == b"GET / HTTP/1.1"


def test_a_half_closed_connection_stays_one(world: World) -> None:
    """The application ends its side, and the answer comes after that."""

    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got = await reader.read()
        writer.write(b"got %d" % len(got))
        writer.close()

    async def run() -> bytes:
        async with site(late) as address, relayed(world, address) as ((reader, writer), _, _task):
            writer.write(b"12345")
            writer.write_eof()
            return await reader.read()

    assert asyncio.run(run()) == b"got 5"


def test_the_end_of_a_large_answer_reaches_one_who_has_ended_and_reads_late(world: World) -> None:
    async def pour(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(MUCH)
        writer.close()

    async def run() -> int:
        async with site(pour) as address, relayed(world, address) as ((reader, writer), _, _task):
            writer.write_eof()
            got = 0
            while data := await reader.read(10_000):
                got += len(data)
            return got

    assert asyncio.run(run()) == len(MUCH)


def test_an_upstream_that_cannot_be_reached_resets_the_connection(world: World) -> None:
    async def run() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            address = listener.getsockname()
        async with relayed(world, address) as ((reader, _), _accepted, _task):
            with pytest.raises(ConnectionResetError):
                await reader.read()

    asyncio.run(run())
    assert world.recorder.failures == [("(relayed)", "upstream_unreachable")]
    assert len(world.recorder.departures) == 1


def test_an_upstream_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(timeouts=timeouts(connect=0.05))

    async def run() -> None:
        async def never(_sock: socket.socket, _address: Address) -> None:
            await asyncio.Event().wait()

        monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", never)
        async with relayed(world, ("192.0.2.7", 443)) as ((reader, _), _accepted, _task):
            with pytest.raises(ConnectionResetError):
                await reader.read()

    asyncio.run(run())
    assert world.recorder.failures == [("(relayed)", "upstream_unreachable")]


def test_a_connection_on_which_nothing_moves_is_ended() -> None:
    world = World(timeouts=timeouts(idle=0.1))

    async def run() -> None:
        async with site(silent) as address, relayed(world, address) as ((reader, _), _accepted, _task):
            assert await reader.read() == b""

    asyncio.run(run())
    assert world.recorder.departures == [(ARRIVAL, 0, 0)]


def test_two_sides_that_break_at_once_are_no_complaint_of_the_loop(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    complaints: list[dict[str, object]] = []

    class Broken:
        def __init__(self, *_: object) -> None: ...

        async def run(self) -> None:
            raise ConnectionResetError

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        async with site(silent) as address, relayed(world, address) as (_ends, _accepted, task):
            await task
        gc.collect()

    monkeypatch.setattr(relay, "_Pump", Broken)
    asyncio.run(run())
    assert complaints == []
    assert len(world.recorder.departures) == 1


def test_a_side_that_breaks_ends_the_other(world: World) -> None:
    async def breaks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        writer.transport.abort()

    async def run() -> None:
        async with site(breaks) as address, relayed(world, address) as ((reader, writer), _accepted, task):
            writer.write(b"x")
            with suppress(ConnectionError):
                await reader.read()
            await task

    asyncio.run(run())
    assert len(world.recorder.departures) == 1


def test_a_drain_knows_since_when_nothing_moved(world: World) -> None:
    async def run() -> None:
        async with site(echo) as address, relayed(world, address) as ((reader, writer), accepted, _task):
            writer.write(b"x")
            await reader.readexactly(1)
            world.clock.seconds += 30
            assert accepted.busy()
            assert accepted.idle_for() == 30
            writer.write(b"x")
            await reader.readexactly(1)
            assert accepted.idle_for() == 0
            writer.write_eof()

    asyncio.run(run())


def test_a_relay_that_is_told_to_stop_ends_both_connections(world: World) -> None:
    ended = asyncio.Event()

    async def watched(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"here")
        await reader.read()
        writer.close()
        ended.set()

    async def run() -> None:
        async with site(watched) as address, relayed(world, address) as ((reader, _), _accepted, task):
            await reader.readexactly(4)
            task.cancel()
            await ended.wait()
            assert await reader.read() == b""
            with suppress(asyncio.CancelledError):
                await task

    with suppress(asyncio.CancelledError):
        asyncio.run(run())
    assert len(world.recorder.departures) == 1


def test_a_socket_that_could_not_connect_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[socket.socket] = []

    async def run() -> None:
        async def refuses(sock: socket.socket, _address: Address) -> None:
            made.append(sock)
            raise OSError

        monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", refuses)
        for address in (("192.0.2.7", 443), ("2001:db8::7", 443)):
            with pytest.raises(OSError):  # noqa: PT011 - any
                await connect(address)

    asyncio.run(run())
    assert [sock.fileno() for sock in made] == [-1, -1]
    assert [sock.family for sock in made] == [socket.AF_INET, socket.AF_INET6]
