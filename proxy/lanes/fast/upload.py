"""A request's body on its way up, beside the answer that may come before its end."""

import asyncio

from proxy.attach.bodies import BodyFault
from proxy.core.reasons import Reason
from proxy.lanes.exchange import Exchange
from proxy.lanes.fast.incoming import Incoming
from proxy.lanes.fast.side import HIGH_WATER, Side
from proxy.lanes.held_body import HeldBody
from proxy.lanes.interface import Recorder
from proxy.wire.chunks import LAST_CHUNK, chunk_head


def framed(data: bytes, *, chunked: bool) -> bytes:
    """A piece of a body; an empty one would end a chunked body before its time."""
    return b"%b%b\r\n" % (chunk_head(len(data)), data) if chunked and data else data


def write_whole(upstream: Side, head: bytes, body: bytes, *, chunked: bool) -> None:
    """A request whose body is here. Not in one piece: a large body would be held twice."""
    if chunked:
        upstream.write(head + chunk_head(len(body)) if body else head + LAST_CHUNK)
    else:
        upstream.write(head)
    if body:
        upstream.write(body)
        if chunked:
            upstream.write(b"\r\n" + LAST_CHUNK)


async def passed(exchange: Exchange, upstream: Side) -> None:
    """A whole body is held until the upstream has taken it."""
    await upstream.drained(0)
    exchange.body.passed()


async def outlived(sending: asyncio.Task[None], upstream: Side, *, goes_on: bool) -> None:
    """The end of an upload whose answer was here before it. Without a use it does not go on."""
    if sending.done():
        return
    if goes_on and not upstream.is_over:
        upstream.on_news = sending.cancel
        upstream.watch()
    else:
        sending.cancel()
    await asyncio.wait({sending})
    upstream.on_news = None


class Upload:
    """Pumps until the end of the body, or until it cannot go on; then it says why."""

    def __init__(self, exchange: Exchange, incoming: Incoming, held: HeldBody, *, chunked: bool) -> None:
        self._exchange = exchange
        self._incoming = incoming
        self._held = held
        self._chunked = chunked
        self.has_begun = False
        # All of it is on its way; or what is wrong with it; or the client left before its end.
        self.is_done = False
        self.fault: BodyFault | None = None
        self.is_left = False

    async def beside(self, upstream: Side, recorder: Recorder) -> None:
        """`run`, beside the answer: where the body cannot go on, there is none."""
        try:
            await self.run(upstream)
        except Exception as error:  # noqa: BLE001 - whoever waits for the answer is to hear of it
            recorder.crashed("fast lane", error)
            self.fault = BodyFault(Reason.INTERNAL_ERROR, "podkey failed on it")
        if not self.is_done and not upstream.is_broken:
            upstream.drop()

    def _counts(self, size: int) -> bool:
        self._exchange.sent += size
        return not self._exchange.is_cut

    async def run(self, upstream: Side, head: bytes = b"") -> None:
        """`head` goes before the first byte."""
        exchange, incoming, body = self._exchange, self._incoming, self._exchange.body
        while data := await incoming.read():
            self.has_begun = True
            exchange.sent += len(data)
            self._held.keep(data)
            out = body.feed(data)
            if isinstance(out, BodyFault):
                self.fault = out
                return
            upstream.write(head + framed(out, chunked=self._chunked))
            head = b""
            if upstream.unsent > HIGH_WATER:
                await upstream.drained()
            body.passed()
            if incoming.can_pour and body.is_untouched and not self._held.is_whole:
                await incoming.pour(upstream, self._counts)
            if upstream.is_broken or exchange.is_cut:
                return
        if not incoming.is_whole:
            # Trailers and chunks that can be read in two ways are nobody's mistake.
            if incoming.fault is not None:
                self.fault = BodyFault(Reason.MALFORMED_REQUEST, incoming.fault.detail)
            self.is_left = incoming.fault is None
            return
        out = body.finish()
        if isinstance(out, BodyFault):
            self.fault = out
            return
        # Trailers end here: an upstream that merges them into the head would see what nobody judged.
        last = LAST_CHUNK if self._chunked else b""
        if left := head + framed(out, chunked=self._chunked) + last:
            upstream.write(left)
        self.is_done = True
