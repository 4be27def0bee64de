"""Connections: accepted, limited in number and in time, and closed in order.

It accepts by itself instead of leaving that to asyncio's server. So a connection counts from its first
packet and not only after its handshake, and each handshake takes the certificate of that moment.

A connection stays open when nothing is said on it for longer than an API server keeps it (90 s, Go's
`IdleConnTimeout`): the side that sends closes first. The other way round a review could meet a connection
that is just being closed, and Go does not send a POST again.
"""

import asyncio
import errno
import socket
import ssl
from asyncio import sslproto
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from functools import partial
from typing import Final, Protocol, final

from injector.edge.clock import Clock
from injector.edge.conversation import PIECE, Conversation, Deadlines, Lost
from injector.edge.room import Room
from injector.edge.serving import Site
from proxy.core.structs import Struct

# What asyncio's TLS reads into: each connection has that much from its first packet to its end, also one that
# never says a word. With asyncio's own 256 KiB a thousand of those take 310 MiB, which is more than a replica
# may have; with this 115 MiB. Half of it would cost a third more for each MiB that comes.
TLS_BUFFER: Final = 1 << 16
# Connections that wait to be accepted while the loop is busy; the kernel cuts it at somaxconn.
_BACKLOG: Final = 1024
# Of those that were used and wait for another request. An API server has some; each keeps half a MiB for as
# long as it lives when a large review came on it, and a pod may open as many as it likes.
MOST_IDLE: Final = 64
# Without descriptors nothing can be accepted; trying again at once would spin.
_BREATH_SECONDS: Final = 0.1
_NO_DESCRIPTORS: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Counts(Protocol):
    def rejected(self, why: Enum) -> None: ...
    def connections(self, number: int) -> None: ...


class _Connection(Struct, eq=False):
    peer: socket.socket
    # Whether no request is on its way.
    idle: bool = True
    # Whether a request is there with its body.
    whole: bool = False
    task: asyncio.Task[None] | None = None
    writer: asyncio.StreamWriter | None = None

    def is_whole(self) -> None:
        self.whole = True

    def end(self) -> None:
        """Politely where that is possible: an API server takes a closed connection out of its pool."""
        if self.writer is not None:
            self.writer.close()
        elif self.task is not None:
            self.task.cancel()

    def cut(self) -> None:
        if self.writer is not None:
            self.writer.transport.abort()
        if self.task is not None:
            self.task.cancel()


@final
class Listener:
    """`context` gives the TLS context of the moment; None: plain HTTP is spoken."""

    def __init__(
        self,
        site: Site,
        *,
        context: Callable[[], ssl.SSLContext] | None,
        counts: Counts,
        failed: Callable[[Exception], None],
        clock: Clock,
        max_connections: int,
        deadlines: Deadlines | None = None,
    ) -> None:
        self._site = site
        self._room = Room()
        self._context = context
        self._counts = counts
        self._failed = failed
        self._clock = clock
        self._max_connections = max_connections
        self._deadlines = deadlines or Deadlines()
        self._socket: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None
        # In the order in which they were last used.
        self._connections: dict[_Connection, None] = {}
        # Of them, those that have had an answer and nothing since.
        self._idle: set[_Connection] = set()
        self._leaving = False

    @property
    def open_connections(self) -> int:
        return len(self._connections)

    async def start(self, address: str, port: int) -> int:
        """Listen, and return the port; 0 asks for any. Raises OSError where the address cannot be had."""
        sslproto.SSLProtocol.max_size = TLS_BUFFER
        listening = self._socket = _bound(address, port)
        listening.setblocking(False)  # noqa: FBT003 - the standard library's
        self._accepting = asyncio.get_running_loop().create_task(self._accept(listening))
        return int(listening.getsockname()[1])

    def leave(self) -> None:
        """From now on each answer is the last one of its connection: who comes back asks another replica."""
        self._leaving = True

    async def close(self, patience: float) -> int:
        """Accept nobody any more, end what is idle, and wait for what is on its way. How many were cut."""
        self.leave()
        if self._accepting is not None and self._socket is not None:
            self._accepting.cancel()
            await asyncio.gather(self._accepting, return_exceptions=True)
            self._socket.close()
        for connection in list(self._connections):
            if connection.idle:
                connection.end()
        tasks = [connection.task for connection in self._connections if connection.task is not None]
        if not tasks:
            return 0
        _, late = await asyncio.wait(tasks, timeout=patience)
        for connection in list(self._connections):
            connection.cut()
        await asyncio.gather(*tasks, return_exceptions=True)
        return len(late)

    # --- accepting ---

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                peer, _ = await loop.sock_accept(listening)
            except OSError as error:
                # A client that is gone before it was accepted (accept(2)) is no reason to wait.
                if error.errno in _NO_DESCRIPTORS:
                    await asyncio.sleep(_BREATH_SECONDS)
                continue
            if not self._make_room():
                self._counts.rejected(Lost.LIMIT)
                peer.close()
                continue
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = _Connection(peer)
            self._connections[connection] = None
            self._counts.connections(len(self._connections))
            connection.task = loop.create_task(self._serve(connection))
            connection.task.add_done_callback(partial(self._gone, connection))
            # Who connects without end does not keep the loop to himself.
            await asyncio.sleep(0)

    def _make_room(self) -> bool:
        """Whoever sits on connections does not keep the API server out: the longest idle one goes, then the
        one that owes its body for the longest time."""
        if len(self._connections) < self._max_connections:
            return True
        idle = (connection for connection in self._connections if connection.idle)
        owing = (connection for connection in self._connections if not connection.whole)
        oldest = next(idle, None) or next(owing, None)
        if oldest is None:
            return False
        del self._connections[oldest]
        oldest.cut()
        self._counts.rejected(Lost.LIMIT)
        return True

    async def _serve(self, connection: _Connection) -> None:
        try:
            opened = await self._open(connection.peer)
            if opened is not None:
                reader, connection.writer = opened
                await self._converse(connection, reader, connection.writer)
        except OSError:
            pass  # a client that is gone is no news
        except Exception as error:  # noqa: BLE001 - of one connection; its text may hold what was on the wire
            self._failed(error)

    def _gone(self, connection: _Connection, _: asyncio.Task[None]) -> None:
        if connection.writer is None:
            connection.peer.close()
        self._connections.pop(connection, None)
        self._idle.discard(connection)
        self._counts.connections(len(self._connections))

    async def _open(self, peer: socket.socket) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=PIECE)
        protocol = asyncio.StreamReaderProtocol(reader)
        context = None if self._context is None else self._context()
        try:
            transport, _ = await loop.connect_accepted_socket(
                lambda: protocol,
                peer,
                ssl=context,
                ssl_handshake_timeout=None if context is None else self._deadlines.handshake,
                ssl_shutdown_timeout=None if context is None else self._deadlines.end,
            )
        except OSError:
            # A port scan, a probe of the wrong kind, a client that does not trust us or takes too long.
            self._counts.rejected(Lost.HANDSHAKE)
            return None
        # Whoever drains waits until everything is out of our hands. With 0 as the upper one asyncio's TLS
        # (3.12) would pause without an end.
        transport.set_write_buffer_limits(high=1, low=0)
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)

    # --- one connection ---

    async def _converse(
        self, connection: _Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        conversation = Conversation(
            reader,
            writer,
            site=self._site,
            room=self._room,
            counts=self._counts,
            clock=self._clock,
            deadlines=self._deadlines,
        )
        try:
            while (head := await conversation.head()) is not None:
                self._use(connection, idle=False)
                if not await conversation.exchange(head, self._is_last, connection.is_whole):
                    break
                self._use(connection, idle=True)
        except TimeoutError:
            writer.transport.abort()
        else:
            writer.close()
            with suppress(OSError):
                async with asyncio.timeout(self._deadlines.end):
                    await writer.wait_closed()
        finally:
            writer.transport.abort()

    def _is_last(self) -> bool:
        """Whether an answer says that its connection ends: later it would race with the next request."""
        return self._leaving or len(self._idle) >= MOST_IDLE

    def _use(self, connection: _Connection, *, idle: bool) -> None:
        """It is the one that was used last."""
        connection.idle = idle
        (self._idle.add if idle else self._idle.discard)(connection)
        connection.whole = False
        if self._connections.pop(connection, self) is None:
            self._connections[connection] = None


def _bound(address: str, port: int) -> socket.socket:
    """`::` means every address, also where a node has no IPv6."""
    if address == "::":
        try:
            return socket.create_server(
                (address, port),
                family=socket.AF_INET6,
                backlog=_BACKLOG,
                dualstack_ipv6=socket.has_dualstack_ipv6(),
            )
        except OSError as error:
            if error.errno not in {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL}:
                raise
            address = "0.0.0.0"  # noqa: S104 - asked for: the same, where there is no IPv6
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.create_server((address, port), family=family, backlog=_BACKLOG)
