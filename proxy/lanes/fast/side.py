"""One side of a connection, read and written where the socket is: each byte is copied once by TLS and never
again by us.

asyncio's transports copy it twice more, through a pair of memory buffers, and so keep the kernel from doing
TLS itself (kTLS). Here the event loop only says when the socket is ready.
"""

import asyncio
import select
import socket
import ssl
import struct
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final

from proxy.lanes.fast.calls import ENDED, Taker, begin_watch, calls_of

# The most that a TLS record holds (RFC 8446 §5.1): with one read it is out, and none of it stays in OpenSSL,
# of which the event loop would not know.
RECORD: Final = 16_384
# After a read of at least so much there is probably more; after less, the next read would mostly find
# nothing, and that costs as much as to be told.
PROBABLY_MORE: Final = 2048
# What is taken in while nobody reads: so an end is noticed, and a pipelined head is there already.
READ_AHEAD: Final = 65_536
# A writer is waited for above this: what a slow reader may make us hold.
HIGH_WATER: Final = 65_536

# Where nothing has to be waited for, others would wait for ever: after so many reads it is their turn.
READS_IN_TURN: Final = 16
READS_IN_FILL: Final = 8  # of a buffer of some records

News = Callable[[], object]


class Side:
    """No method raises what the network does: `is_over` and `is_broken` tell of it. One task reads at a time,
    one waits for `drained`."""

    __slots__ = (
        "_drained",
        "_is_hot",
        "_is_watched",
        "_loop",
        "_number",
        "_out",
        "_poll",
        "_reader",
        "_reads",
        "_receive_at",
        "_receive_some",
        "_send_some",
        "_unread",
        "came",
        "is_broken",
        "is_dropped",
        "is_over",
        "on_news",
        "sock",
        "unsent",
        "went",
    )

    def __init__(self, sock: socket.socket) -> None:
        """The socket does not block; one of TLS has shaken hands."""
        self.sock = sock
        self._loop = asyncio.get_running_loop()
        self._number = sock.fileno()
        self._receive_some, self._receive_at, self._send_some = calls_of(sock)
        self._unread = b""
        self._reader: asyncio.Future[bytes] | Taker | None = None
        self._reads = 0  # in a row, without a wait
        self._is_watched = False
        self._poll: select.poll | None = None
        self._is_hot = True  # whatever came behind the handshake
        self._out: list[memoryview | bytes] = []
        self._drained: asyncio.Future[None] | None = None
        # Bytes in each direction, and those of them that wait here for the other side to take them.
        self.came = self.went = self.unsent = 0
        # Nothing more comes. It was said so, unless it is broken: then nothing goes, either.
        self.is_over = self.is_broken = False
        self.is_dropped = False  # by us
        # Called when something came, or the end, while nobody reads.
        self.on_news: News | None = None

    def __repr__(self) -> str:
        """What it holds is the application's, or an upstream's."""
        return f"<Side came={self.came} went={self.went} over={self.is_over} broken={self.is_broken}>"

    # --- what comes ---

    @property
    def unread_size(self) -> int:
        return len(self._unread)

    async def read(self) -> bytes:
        """The next bytes; none at the end."""
        self._reads += 1
        if self._reads >= READS_IN_TURN:
            self._reads = 0
            await asyncio.sleep(0)
        if self._unread:
            data, self._unread = self._unread, b""
            return data
        if self.is_over:
            return b""
        if self._is_hot:
            found = self._receive()
            if found is not None:
                return found
        self._reads = 0
        self.watch()
        reader: asyncio.Future[bytes] = self._loop.create_future()
        self._reader = reader
        try:
            return await reader
        except asyncio.CancelledError:
            # They may have come in the very turn in which nobody wanted them any more: the next one does.
            if reader.done() and not reader.cancelled():
                self.unread(reader.result())
            raise
        finally:
            if self._reader is reader:
                self._reader = None

    def hand(self, taker: Taker | None) -> None:
        """`read`, by who is called, once; None: by nobody. Nothing is unread, nor is it over."""
        self._reader = taker
        self.watch()

    async def ready(self) -> None:
        """Until something is here for `fill`, or the end."""
        if self._is_hot and self._reads < READS_IN_TURN:
            self._reads += READS_IN_FILL
            return
        self.unread(await self.read())

    def fill(self, buffer: memoryview) -> int:
        """As much as is here, as long as another record fits: what is left in OpenSSL of one, nobody would be
        told of. 0: nothing is here, or nothing will be."""
        size = 0
        if self._unread:
            data = self.take(min(len(buffer), len(self._unread)))
            size = len(data)
            buffer[:size] = data
        last, before, receive = len(buffer) - RECORD, size, self._receive_at
        try:
            while size <= last and self._is_hot and not self.is_over:
                got = receive(RECORD, buffer[size:])
                size += got
                self._is_hot = got >= PROBABLY_MORE
                if not got:
                    self.is_over = True
        except OSError as error:
            self._only_waits(error)
        self.came += size - before
        return size

    def take(self, size: int) -> bytes:
        """So much of what is here already, and no more."""
        data = self._unread
        if len(data) == size:
            self._unread = b""
            return data
        self._unread = data[size:]
        return data[:size]

    def is_quiet(self) -> bool:
        """Whether nothing has come, be it in this very turn of the event loop."""
        if self.is_over or self._unread:
            return False
        if self._has_news() and (data := self._receive()) is not None:
            self._unread += data
            return False
        return not self.is_over

    def unread(self, data: bytes) -> None:
        """Give back what belongs to the next who reads."""
        if data:
            self._unread = data + self._unread

    def watch(self) -> None:
        """From now on the end is noticed, and what nobody asked for."""
        if not self._is_watched and not self.is_over:
            self._is_watched = True
            begin_watch(self._loop, self._number, self._readable)

    def look(self) -> None:
        """To be called of what stands still: libuv watches no socket on which it was told of an error, also
        where bytes from before were still to be read."""
        if self._is_watched and self._has_news():
            self._readable()

    def _has_news(self) -> bool:
        if self._poll is None:
            self._poll = select.poll()
            self._poll.register(self._number, select.POLLIN)
        return bool(self._poll.poll(0))

    def _unwatch(self) -> None:
        if self._is_watched:
            self._is_watched = False
            self._loop.remove_reader(self._number)

    def _readable(self) -> None:
        try:
            self._take_in()
        except BaseException:
            self._break()  # or the event loop would call this again at once, and for ever
            raise

    def _take_in(self) -> None:
        if self._reader is None and len(self._unread) >= READ_AHEAD:
            self._unwatch()
            return
        data = self._receive()
        if data is None:
            return
        if not data:
            self._unwatch()
        reader = self._reader
        if reader is not None:
            self._reader = None
            if not reader.done():
                reader.set_result(data)
                return
        self._unread += data
        if self.on_news is not None:
            self.on_news()

    def _receive(self) -> bytes | None:
        """What is there; none at the end. None: nothing yet."""
        try:
            data = self._receive_some(RECORD)
        except OSError as error:
            return None if self._only_waits(error) else b""
        self._is_hot = len(data) >= PROBABLY_MORE
        self.came += len(data)
        if not data:
            self.is_over = True
        return data

    def _only_waits(self, error: OSError) -> bool:
        """Whether nothing came yet; else nothing comes any more."""
        if isinstance(error, BlockingIOError | InterruptedError | ssl.SSLWantReadError):
            self._is_hot = False
            return True
        # Also an end that TLS was not told of, as of what was cut off, and a change of keys that cannot be
        # answered, since what we have sent is not read.
        self._break()
        return False

    # --- what goes ---

    def write(self, data: bytes) -> None:
        """At once, as far as the kernel takes it; the rest as soon as it does."""
        if self.is_broken:
            return
        self.went += len(data)
        if self._out:
            self._out.append(data)
            self.unsent += len(data)
            return
        left = self._send(data)
        if left is not None:
            self._wait_with(left)

    def lend(self, data: memoryview) -> None:
        """`write`, of what belongs to the caller again when this returns."""
        if self._out or self.is_broken:
            self.write(bytes(data))
            return
        self.went += len(data)
        # Without TCP_CORK, though OpenSSL writes each record by itself: a kernel that paces (BBR) took twice
        # the time for a body.
        left = self._send(data)
        if left is not None:
            self._wait_with(bytes(left))

    def _wait_with(self, data: memoryview | bytes) -> None:
        self._out.append(data)
        self.unsent += len(data)
        self._loop.add_writer(self._number, self._writable)

    def _send(self, data: memoryview | bytes) -> memoryview | bytes | None:
        """What could not be sent; None where all of it was, or nothing goes any more."""
        while True:
            try:
                sent = self._send_some(data)
            except (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return data
            except OSError:
                self._break()
                return None
            if sent == len(data):
                return None
            data = memoryview(data)[sent:]

    def _writable(self) -> None:
        try:
            self._give_out()
        except BaseException:
            self._break()
            raise

    def _give_out(self) -> None:
        while self._out:
            data = self._out[0]
            left = self._send(data)
            if self.is_broken:
                return
            self.unsent -= len(data) - (len(left) if left is not None else 0)
            if left is not None:
                self._out[0] = left
                break
            del self._out[0]
        if not self._out:
            self._loop.remove_writer(self._number)
        if self.unsent <= HIGH_WATER // 2:
            self._wake_writer()

    async def drained(self, most: int = HIGH_WATER) -> None:
        """Until no more than this waits to be sent, or nothing goes any more."""
        while self.unsent > most and not self.is_broken:
            drained = self._drained = self._loop.create_future()
            try:
                await drained
            finally:
                if self._drained is drained:
                    self._drained = None

    def _wake_writer(self) -> None:
        drained = self._drained
        if drained is not None and not drained.done():
            drained.set_result(None)

    # --- its end ---

    def _break(self) -> None:
        self.is_over = self.is_broken = True
        self._forget()

    def _forget(self) -> None:
        """Of what waits nothing comes or goes any more: whoever waits for it is told."""
        self._unwatch()
        if self._out:
            self._loop.remove_writer(self._number)
            self._out.clear()
            self.unsent = 0
        self._wake_writer()
        reader, self._reader = self._reader, None
        if reader is not None and not reader.done():
            reader.set_result(b"")

    def drop(self, *, reset: bool = False) -> None:
        """End it without a word: what was cut off must not look whole. `reset`: nor must it to those who take
        any end for one, which without TLS is everybody."""
        if reset and not self.is_dropped:
            with suppress(OSError):
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.is_dropped = True
        self._break()
        self._receive_some, self._receive_at, self._send_some = ENDED
        self.sock.close()

    async def part(self) -> None:
        """End it politely: what was written arrives, and the other side is told that this was all
        (RFC 8446 §6.1). Then wait for its own end, and read on: a reset would overtake our last answer."""
        await self.drained(0)
        self.farewell()
        self._unread = b""
        if isinstance(self.sock, ssl.SSLSocket):
            # To OpenSSL what comes behind our goodbye is an attack; to us it is nothing at all.
            self._receive_some = partial(socket.socket.recv, self.sock)
        while not self.is_over:
            await self.read()

    def _read_up(self) -> None:
        """What is there already would be in the way of saying goodbye: OpenSSL looks for theirs behind it."""
        while len(self._unread) < READ_AHEAD and (data := self._receive()):
            self._unread += data

    def farewell(self) -> None:
        """Say that nothing more comes from us."""
        if self.is_broken:
            return
        with suppress(OSError, ValueError):
            if isinstance(self.sock, ssl.SSLSocket):
                self._read_up()
                try:
                    self.sock.unwrap()
                    self.is_over = True  # they have said so, too; there is no TLS any more
                except ssl.SSLError:
                    pass  # said, and not answered yet (RFC 8446 §6.1)
                # Its own method would end TLS in both directions.
                socket.socket.shutdown(self.sock, socket.SHUT_WR)
            else:
                self.sock.shutdown(socket.SHUT_WR)
