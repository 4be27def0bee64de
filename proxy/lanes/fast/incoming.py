"""The body of a message as it comes, its framing taken off. Memory does not grow with it."""

from collections.abc import Callable
from mmap import mmap
from typing import Final

from proxy.lanes.fast.side import HIGH_WATER, Side
from proxy.wire.chunks import ChunkReader
from proxy.wire.framing import Chunked, Length, NoBody, ResponseFraming, UntilClose
from proxy.wire.outcomes import BadHead

# What is poured passes through here, one piece at a time, whosever it is: nothing is waited for while it is
# full. Sixteen records of TLS: with fewer, what a piece costs besides shows. Mapped: until the first body it
# takes no memory.
POURED: Final = 262_144
_BUFFER: Final = memoryview(mmap(-1, POURED))
# To who does not keep up: what is not taken is held.
_LITTLE: Final = _BUFFER[:HIGH_WATER]


class Incoming:
    """`is_whole` once it came to its proper end; until then its end is a loss."""

    __slots__ = ("_chunks", "_left", "_side", "fault", "is_whole", "was_cut_off")

    def __init__(self, side: Side, framing: ResponseFraming) -> None:
        self._side = side
        # None: its end is not known beforehand.
        self._left: int | None = None
        self._chunks: ChunkReader | None = None
        self.fault: BadHead | None = None
        match framing:
            case NoBody():
                self._left = 0
            case Length(size):
                self._left = size
            case Chunked():
                self._chunks = ChunkReader()
            case UntilClose():
                pass
        self.is_whole = self._left == 0
        # It ends with its connection, and that did not end as it should (RFC 9112 §9.8).
        self.was_cut_off = False

    @property
    def can_pour(self) -> bool:
        """Whether nothing of its framing stands within it."""
        return self._chunks is None

    @property
    def is_short(self) -> bool:
        """Whether all that is left of it is here already, and is worth no waiting."""
        return self._left is not None and self._left <= self._side.unread_size

    def take(self) -> bytes:
        """All that is left of a short one."""
        left, self._left, self.is_whole = self._left or 0, 0, True
        return self._side.take(left) if left else b""

    async def read(self) -> bytes:
        """The next piece; none at its end, whichever that is."""
        if self._chunks is not None:
            return await self._read_chunks(self._chunks)
        if self.is_whole:
            return b""
        data = await self._side.read()
        if not data:
            self.is_whole = self._left is None
            self.was_cut_off = self._side.is_broken
            return b""
        if self._left is None:
            return data
        if len(data) > self._left:
            self._side.unread(data[self._left :])
            data = data[: self._left]
        self._left -= len(data)
        self.is_whole = not self._left
        return data

    async def pour(self, sink: Side, told: Callable[[int], bool]) -> None:
        """Move what is left, untouched, until its end or that of either side: no piece of it becomes an
        object of ours. `told` of each piece how long it is, and says whether to go on."""
        side = self._side
        while not self.is_whole:
            await side.ready()
            size = side.fill(_LITTLE if sink.unsent else _BUFFER)
            if not size:
                if side.is_over:
                    self.is_whole = self._left is None
                    self.was_cut_off = side.is_broken
                    return
                continue
            if self._left is not None:
                if size > self._left:
                    side.unread(bytes(_BUFFER[self._left : size]))
                    size = self._left
                self._left -= size
                self.is_whole = not self._left
            sink.lend(_BUFFER[:size])
            if not told(size) or sink.is_broken:
                return
            if sink.unsent > HIGH_WATER:
                await sink.drained()

    async def _read_chunks(self, chunks: ChunkReader) -> bytes:
        while not self.is_whole and self.fault is None:
            data = await self._side.read()
            if not data:
                return b""
            found = chunks.feed(data)
            if isinstance(found, BadHead):
                self.fault = found
                return b""
            if chunks.is_done:
                self.is_whole = True
                self._side.unread(chunks.rest)
            if found:
                return found
        return b""
