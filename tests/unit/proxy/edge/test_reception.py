import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from proxy.edge import reception as module
from proxy.edge import sockets
from proxy.edge.reception import Guest, Reception, Serve
from proxy.lanes.interface import Accepted
from tests.fast_world import turns, until
from tests.lane_world import Recorder, arrival_of


class House:
    """A reception whose guests are held until they are told to go."""

    def __init__(self, limit: int = 10) -> None:
        self.told = Recorder()
        self.reception = Reception(limit, self.told)
        self.guests: asyncio.Queue[tuple[socket.socket, Guest]] = asyncio.Queue()
        self.go = asyncio.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)  # noqa: FBT003 - its name
        self.address = self.listener.getsockname()
        self.clients: list[socket.socket] = []

    async def serve(self, sock: socket.socket, guest: Guest) -> None:
        self.guests.put_nowait((sock, guest))
        await self.go.wait()

    async def call(self) -> socket.socket:
        client = socket.create_connection(self.address)
        client.setblocking(False)  # noqa: FBT003 - its name
        self.clients.append(client)
        return client

    async def next_guest(self) -> tuple[socket.socket, Guest]:
        async with asyncio.timeout(5):
            return await self.guests.get()


@asynccontextmanager
async def house(limit: int = 10, serve: Serve | None = None) -> AsyncIterator[House]:
    made = House(limit)
    made.reception.open_door([made.listener], serve or made.serve)
    try:
        yield made
    finally:
        made.go.set()
        async with asyncio.timeout(5):
            await made.reception.drain(0.0)
        for client in made.clients:
            client.close()


def busy(sock: socket.socket, idle: float = 0.0, *, working: bool = True) -> Accepted:
    accepted = Accepted(sock, arrival_of(), ("192.0.2.7", 443), None)
    accepted.busy = lambda: working
    accepted.idle_for = lambda: idle
    return accepted


async def ended(client: socket.socket) -> bytes:
    async with asyncio.timeout(5):
        return await asyncio.get_running_loop().sock_recv(client, 1)


def test_each_connection_is_served_by_itself() -> None:
    async def run() -> None:
        async with house() as one:
            await one.call()
            await one.call()
            sock, _ = await one.next_guest()
            await one.next_guest()
            assert one.reception.open_connections == 2
            assert not sock.getblocking()
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    asyncio.run(run())


def test_above_the_limit_connections_are_reset_and_counted() -> None:
    async def run() -> None:
        async with house(limit=1) as one:
            await one.call()
            await one.next_guest()
            second = await one.call()
            with pytest.raises(ConnectionResetError):
                await ended(second)
            assert one.told.rejected == ["limit"]
            assert one.reception.open_connections == 1

    asyncio.run(run())


def test_a_guest_that_left_makes_room() -> None:
    async def run() -> None:
        async with house(limit=1) as one:
            first = await one.call()
            await one.next_guest()
            one.go.set()
            assert await ended(first) == b""
            await one.call()
            await one.next_guest()
            assert one.told.rejected == []

    asyncio.run(run())


def test_a_peer_that_is_not_of_this_machine_is_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "is_of_this_machine", lambda host: host != "127.0.0.1")

    async def run() -> None:
        async with house() as one:
            client = await one.call()
            with pytest.raises(ConnectionResetError):
                await ended(client)
            assert one.told.rejected == ["peer"]

    asyncio.run(run())


def test_a_crash_is_its_connections_own() -> None:
    async def run() -> None:
        async def crash(_sock: socket.socket, _guest: Guest) -> None:
            raise RuntimeError("boom")

        async with house(serve=crash) as one:
            for _ in range(3):
                assert await ended(await one.call()) == b""
            assert [where for where, _ in one.told.crashes] == ["connection"] * 3
            assert one.reception.open_connections == 0

    asyncio.run(run())


def test_a_failing_accept_does_not_shut_the_door(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BREATHER", 0.0)
    failures = [OSError(24, "too many open files"), RuntimeError("anything")]

    async def run() -> None:
        async with house() as one:
            accept_one = one.reception._accept_one

            def sometimes(listener: socket.socket, serve: Serve) -> None:
                if failures:
                    raise failures.pop()
                accept_one(listener, serve)

            monkeypatch.setattr(one.reception, "_accept_one", sometimes)
            await one.call()
            await one.next_guest()
            assert [where for where, _ in one.told.crashes] == ["accept", "accept"]

    asyncio.run(run())


def test_a_caller_that_has_gone_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = [BlockingIOError(), InterruptedError()]

    async def run() -> None:
        async with house() as one:
            accept_one = one.reception._accept_one

            def sometimes(listener: socket.socket, serve: Serve) -> None:
                if gone:
                    raise gone.pop()
                accept_one(listener, serve)

            monkeypatch.setattr(one.reception, "_accept_one", sometimes)
            await one.call()
            await one.next_guest()
            assert one.told.crashes == []

    asyncio.run(run())


def test_a_door_that_rests_may_be_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BREATHER", 0.0)

    async def run() -> None:
        async with house() as one:

            def never(_listener: socket.socket, _serve: Serve) -> None:
                raise OSError(24, "too many open files")

            monkeypatch.setattr(one.reception, "_accept_one", never)
            await one.call()
            async with asyncio.timeout(5):
                await until(lambda: one.told.crashes)
            one.reception.close_doors()
            await turns()
            assert [where for where, _ in one.told.crashes] == ["accept"]

    asyncio.run(run())


def test_a_drain_lets_nobody_in() -> None:
    async def run() -> None:
        async with house() as one:
            one.go.set()
            assert await one.reception.drain(5.0) == 0
            with pytest.raises(ConnectionRefusedError):
                await one.call()

    asyncio.run(run())


def test_a_drain_cuts_idle_connections_at_once_and_does_not_count_them() -> None:
    async def run() -> None:
        async with house() as one:
            undecided, idle = await one.call(), await one.call()
            _, first = await one.next_guest()
            sock, second = await one.next_guest()
            second.accepted = busy(sock, working=False)
            assert not first.busy
            async with asyncio.timeout(5):
                assert await one.reception.drain(1000.0) == 0
            assert await ended(undecided) == await ended(idle) == b""

    asyncio.run(run())


def test_a_drain_waits_for_what_is_on_its_way() -> None:
    async def run() -> None:
        async with house() as one:
            client = await one.call()
            sock, guest = await one.next_guest()
            guest.accepted = busy(sock)
            draining = asyncio.get_running_loop().create_task(one.reception.drain(1000.0))
            done, _ = await asyncio.wait([draining], timeout=3 * module.DRAIN_STEP)
            assert not done
            assert one.reception.open_connections == 1
            one.go.set()
            async with asyncio.timeout(5):
                assert await draining == 0
            assert await ended(client) == b""

    asyncio.run(run())


def test_a_drain_cuts_what_stands_still_and_counts_it_once() -> None:
    async def run() -> None:
        async def stubborn(sock: socket.socket, guest: Guest) -> None:
            guest.accepted = busy(sock, idle=30.0)
            ready.set()
            try:
                await asyncio.Event().wait()
            finally:
                # Cleaning up takes several steps of the drain.
                leaving = asyncio.get_running_loop().create_task(asyncio.sleep(3 * module.DRAIN_STEP))
                await asyncio.wait([leaving], timeout=1)

        ready = asyncio.Event()
        async with house(serve=stubborn) as one:
            await one.call()
            async with asyncio.timeout(5):
                await ready.wait()
                assert await one.reception.drain(25.0) == 1

    asyncio.run(run())


def test_who_is_in_a_hurry_cuts_what_still_moves() -> None:
    async def run() -> None:
        async with house() as one:
            await one.call()
            sock, guest = await one.next_guest()
            guest.accepted = busy(sock)
            one.reception.hurry()
            async with asyncio.timeout(5):
                assert await one.reception.drain(1000.0) == 1

    asyncio.run(run())


def test_a_guest_without_a_lane_stands_still_since_never() -> None:
    assert Guest().idle_for() == 0.0
