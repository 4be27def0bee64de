"""Requests and answers on one connection, each part of them with its deadline."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from enum import Enum
from typing import Final, Protocol, final

from injector.edge.clock import Clock
from injector.edge.http_messages import Bad, Head, Messages, Pause, Reply, Whole, reply_to, text_reply
from injector.edge.room import Part, Room, nobody_waits
from injector.edge.serving import Site
from proxy.core.structs import Struct

PIECE: Final = 1 << 16
# Of one write: a record of TLS (RFC 8446 §5.1). OpenSSL keeps room for the largest as long as a connection
# lives, and asyncio's TLS asks nobody to wait before its transport has 64 KiB that the client does not take.
WRITTEN: Final = 1 << 14
_CROWDED: Final = text_reply(503, "podkey: there are too many bodies at this time", Retry_After="1")


class Deadlines(Struct, frozen=True):
    """In seconds."""

    # An API server's own handshake and head take a round trip each.
    handshake: float = 5.0
    head: float = 5.0
    # It has 5 s for all of it (`timeoutSeconds`), and sends the body at once.
    body: float = 3.0
    idle: float = 120.0
    # For the answer to be taken, and after a refusal for what was on its way to be thrown away.
    write: float = 5.0
    refused: float = 1.0
    # For a client to say goodbye, too (close_notify).
    end: float = 1.0


class Lost(Enum):
    """Why a connection ended without an answer."""

    LIMIT = "limit"
    HANDSHAKE = "handshake"
    SLOW_HEAD = "slow_head"
    SLOW_BODY = "slow_body"
    CROWDED = "crowded"
    SLOW_READER = "slow_reader"


class Counts(Protocol):
    def rejected(self, why: Enum) -> None: ...


@final
class Conversation:
    """Requests and answers, one after the other. A deadline that passes is counted, and a `TimeoutError`."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        site: Site,
        room: Room,
        counts: Counts,
        clock: Clock,
        deadlines: Deadlines,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._site = site
        self._room = room
        self._counts = counts
        self._clock = clock
        self._deadlines = deadlines
        self._messages = Messages()
        self._since = 0.0

    async def head(self) -> Head | None:
        """The next request; None: there is none."""
        event = self._messages.next()
        if event is not Pause.MORE:
            # It came before the last one was answered. Nothing in an answer has to wait: a connection full of
            # them, thousands, would be answered before anybody else has a turn.
            await asyncio.sleep(0)
        elif self._messages.idle:
            try:
                async with asyncio.timeout(self._deadlines.idle):
                    event = await self._more()
            except TimeoutError:
                return None
        self._since = self._clock.monotonic()
        # An API server's head and body come together: no deadline is set for what is there already.
        if event is Pause.MORE:
            async with self._until(self._deadlines.head, Lost.SLOW_HEAD):
                while event is Pause.MORE:
                    event = await self._more()
        if isinstance(event, Bad):
            await self._refuse(event)
        return event if isinstance(event, Head) else None

    async def exchange(
        self, head: Head, leaving: Callable[[], bool], whole: Callable[[], None] = lambda: None
    ) -> bool:
        """Whether another request may follow. `whole` is told when this one is there with its body."""
        refused = await self._site.admit(head)
        if refused is not None:
            await self._end_with(refused)
            return False
        try:
            reply = await self._judged(head, whole)
        finally:
            self._site.leave()
        if reply is None:
            return False
        if reply is _CROWDED:
            await self._end_with(reply)
            return False
        await self._write(self._messages.answer(reply, close=leaving()))
        return self._messages.begin_again()

    async def _judged(self, head: Head, whole: Callable[[], None]) -> Reply | None:
        """None: it went away in the middle. Nothing else can be wrong with a body whose length is known."""
        self._writer.write(self._messages.go_on())
        part = Part()
        try:
            event = self._messages.next()
            if event is Pause.MORE:
                event = await self._rest(part)
            if isinstance(event, Whole):
                self._room.hold(part, len(event.body))
            if part.crowded_out:
                self._messages.drop()
                self._counts.rejected(Lost.CROWDED)
                return _CROWDED
            if not isinstance(event, Whole):
                return None
            self._room.whole(part)
            whole()
            return await self._site.answer(head, event.body, self._since)
        finally:
            self._room.leave(part)

    async def _rest(self, part: Part) -> Head | Whole | Bad | Pause:
        """Of a body that is not whole yet."""
        event: Head | Whole | Bad | Pause = Pause.MORE
        limit = asyncio.timeout(self._deadlines.body)
        try:
            async with limit:
                part.give_up = lambda: None if limit.expired() else limit.reschedule(0)
                while event is Pause.MORE and not part.crowded_out:
                    self._room.hold(part, self._messages.held)
                    event = await self._more()
        except TimeoutError:
            if not part.crowded_out:
                self._counts.rejected(Lost.SLOW_BODY)
                raise
        finally:
            part.give_up = nobody_waits
        return event

    async def _more(self) -> Head | Whole | Bad | Pause:
        self._messages.receive(await self._reader.read(PIECE))
        return self._messages.next()

    async def _write(self, data: bytes) -> None:
        pieces = (data[start : start + WRITTEN] for start in range(0, len(data), WRITTEN))
        for piece in pieces:
            self._writer.write(piece)
            if self._writer.transport.get_write_buffer_size():
                break
        else:
            return
        async with self._until(self._deadlines.write, Lost.SLOW_READER):
            await self._writer.drain()
            for piece in pieces:
                self._writer.write(piece)
                await self._writer.drain()

    async def _refuse(self, bad: Bad) -> None:
        self._counts.rejected(bad.why)
        await self._end_with(reply_to(bad))

    async def _end_with(self, reply: Reply) -> None:
        """An answer before the request was read. Closing while it still comes would reset the connection, and
        the answer with it (RFC 9112 §9.6): so what comes is thrown away, for a moment."""
        await self._write(self._messages.answer(reply, close=True))
        with suppress(TimeoutError):
            async with asyncio.timeout(self._deadlines.refused):
                while await self._reader.read(PIECE):
                    pass

    @asynccontextmanager
    async def _until(self, seconds: float, lost: Lost) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError:
            self._counts.rejected(lost)
            raise
