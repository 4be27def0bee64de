"""The relay lane: bytes of connections that are none of our business, both ways, unopened."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from proxy.core.arrival import LaneName
from proxy.core.hosts import Hostname
from proxy.lanes.closing import flush_and_close
from proxy.lanes.interface import Accepted, Address, LaneWorld

# One read's size. Larger ones save little CPU, and an application may leave thousands of connections unread.
CHUNK: Final = 64 * 1024
# A writer is waited for above this: what a slow reader may make us hold, per direction.
HIGH_WATER: Final = 64 * 1024


class Relay:
    """Connects to where the application meant to go, and passes on what either side says."""

    name = LaneName.RELAY

    def __init__(self, world: LaneWorld) -> None:
        self._world = world

    async def serve(self, accepted: Accepted) -> None:
        recorder, clock = self._world.recorder, self._world.clock
        recorder.opened(accepted.arrival)
        counted = _Counts(clock.monotonic)
        accepted.idle_for = lambda: clock.monotonic() - counted.moved
        try:
            await self._serve(accepted, counted)
        finally:
            accepted.sock.close()
            recorder.closed(accepted.arrival, counted.sent, counted.received)

    async def _serve(self, accepted: Accepted, counted: "_Counts") -> None:
        try:
            async with asyncio.timeout(self._world.timeouts.connect):
                upstream = await connect(accepted.address)
        except (OSError, TimeoutError):
            # What the application would have seen without us: its connection breaks.
            # Nameless in the log: an application can make up names faster than anybody reads.
            self._world.recorder.upstream_failed(Hostname("(relayed)"), "upstream_unreachable")
            _reset(accepted.sock)
            return
        with suppress(OSError):
            client_in, client_out = await _streams(accepted.sock)
            upstream_in, upstream_out = await _streams(upstream)
            if accepted.first:
                upstream_out.write(accepted.first)
            pumps = (
                _Pump(client_in, upstream_out, counted.add_sent),
                _Pump(upstream_in, client_out, counted.add_received),
            )
            try:
                await self._both(pumps, counted)
            finally:
                patience = self._world.timeouts.idle
                await asyncio.gather(
                    flush_and_close(client_out, patience), flush_and_close(upstream_out, patience)
                )

    async def _both(self, pumps: tuple["_Pump", "_Pump"], counted: "_Counts") -> None:
        """Until both directions ended, one broke, or nothing moved for too long."""
        loop = asyncio.get_running_loop()
        tasks = {loop.create_task(pump.run()) for pump in pumps}
        try:
            while tasks:
                before = counted.total
                done, tasks = await asyncio.wait(
                    tasks, timeout=self._world.timeouts.idle, return_when=asyncio.FIRST_COMPLETED
                )
                # Each is asked, not the first that broke alone: the loop complains of errors nobody took.
                broken = [error for task in done if (error := task.exception())]
                if broken or (not done and counted.total == before):
                    return
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


class _Counts:
    """Bytes in both directions, and when the last ones came."""

    __slots__ = ("_monotonic", "moved", "received", "sent")

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self.sent = 0
        self.received = 0
        self.moved = monotonic()

    @property
    def total(self) -> int:
        return self.sent + self.received

    def add_sent(self, count: int) -> None:
        self.sent += count
        self.moved = self._monotonic()

    def add_received(self, count: int) -> None:
        self.received += count
        self.moved = self._monotonic()


class _Pump:
    """One direction. Its end is passed on as an end, so that a half-closed connection stays one."""

    def __init__(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, count: Callable[[int], None]
    ) -> None:
        self._source = source
        self._sink = sink
        self._count = count

    async def run(self) -> None:
        sink = self._sink
        while data := await self._source.read(CHUNK):
            sink.write(data)
            self._count(len(data))
            await sink.drain()
        if sink.can_write_eof():
            sink.write_eof()


async def connect(address: Address) -> socket.socket:
    """A connected socket that does not block."""
    host, port = address
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(sock, (host, port))
    except BaseException:
        sock.close()
        raise
    return sock


async def _streams(sock: socket.socket) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection(sock=sock, limit=CHUNK)
    writer.transport.set_write_buffer_limits(high=HIGH_WATER)
    return reader, writer


def _reset(sock: socket.socket) -> None:
    """Close so that the other side sees a reset, as it would have seen a refused connection."""
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    sock.close()
