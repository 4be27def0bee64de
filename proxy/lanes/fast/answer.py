"""The final answer of an upstream on its way to the application."""

from collections.abc import Callable
from typing import Final

from proxy.lanes.exchange import Exchange
from proxy.lanes.fast.incoming import Incoming
from proxy.lanes.fast.messages import SWITCHED, passed_head, response_head
from proxy.lanes.fast.side import HIGH_WATER, Side
from proxy.lanes.fast.upload import framed
from proxy.lanes.held_body import HELD_ANSWER
from proxy.transaction.spent import UNSUSPICIOUS, Complaint
from proxy.wire.chunks import LAST_CHUNK
from proxy.wire.framing import CHUNKED, UNTIL_CLOSE
from proxy.wire.outcomes import BadHead, malformed
from proxy.wire.response_head import ResponseHead, read_response_head

# Of one request. Servers send one or two; a flood of them is an answer that never comes.
MOST_INTERIM: Final = 64
# RFC 9110 §15.2.
CONTINUE: Final = 100
_INTERIM: Final = range(100, 200)


async def final_head(
    upstream: Side, method: str, told_to_go_on: Callable[[], None]
) -> ResponseHead | BadHead | None:
    """Of the final answer (RFC 9110 §15.2). None: none came."""
    data, interim = b"", 0
    while more := await upstream.read():
        data += more
        while isinstance(reading := read_response_head(data, method), ResponseHead):
            data = data[reading.size :]
            if reading.status not in _INTERIM or reading.status == SWITCHED:
                upstream.unread(data)
                return reading
            interim += 1
            if interim > MOST_INTERIM:
                return malformed(f"more than {MOST_INTERIM} interim answers")
            if reading.status == CONTINUE:
                told_to_go_on()
            if not data:
                break
        if isinstance(reading, BadHead):
            return reading
    return None


class Answer:
    """Nobody sees anything of it before `pass_on`."""

    def __init__(self, exchange: Exchange, client: Side, upstream: Side, response: ResponseHead) -> None:
        self._exchange = exchange
        self._client = client
        self._response = response
        self._incoming = Incoming(upstream, response.framing)
        # What was read of it before it was known that the application is to see it.
        self._held: list[bytes] = []
        # What it says of the credential, as long as that is not known.
        self._suspicion = exchange.suspicion(response.status, response.fields)
        if self._suspicion is not UNSUSPICIOUS:
            self._tell()

    @property
    def may_complain(self) -> bool:
        return self._suspicion.complaint is not Complaint.NONE

    @property
    def is_whole(self) -> bool:
        """Whether it came to its proper end."""
        return self._incoming.is_whole

    @property
    def frees_upstream(self) -> bool:
        """Whether its connection may serve another request after it."""
        return self._response.keeps and self._incoming.is_whole

    def closes(self, minor_version: int) -> bool:
        """Whether it ends with the application's connection."""
        framing = self._response.framing
        return framing == UNTIL_CLOSE or (framing == CHUNKED and minor_version == 0)

    @property
    def was_cut_off(self) -> bool:
        """It looks whole, and may not be."""
        return self._incoming.was_cut_off

    def _look_at(self, data: bytes) -> None:
        """At the next piece; `b""` ends it."""
        suspicion = self._suspicion
        if suspicion.complaint is None:
            if data:
                suspicion.feed(data)
            else:
                suspicion.end()
            self._tell()

    def _tell(self) -> None:
        if self._suspicion.complaint is not None:
            self._exchange.heard(self._suspicion)

    async def hold(self) -> bool:
        """Read it to its end: whether it complains of the credential, for certain. What is longer than any
        such answer is not."""
        size = 0
        while self.may_complain and size <= HELD_ANSWER:
            data = await self._incoming.read()
            if not data:
                break
            size += len(data)
            self._held.append(data)
            self._look_at(data)
        self._look_at(b"")
        return self.may_complain and self.is_whole and size <= HELD_ANSWER

    @property
    def is_here(self) -> bool:
        """Whether it can be passed on without a wait: most answers are short, and come in one piece."""
        return self._incoming.is_short and not self._held

    def _head(self, *, chunked: bool, closes: bool) -> bytes:
        response = self._response
        fields = self._exchange.response(response.status, response.fields, response.keys).fields
        if fields is response.fields:
            return passed_head(response, chunked=chunked, closes=closes)
        return response_head(response.status, fields, chunked=chunked, closes=closes)

    def pass_now(self, *, closes: bool) -> None:
        """All of it, where it `is_here`."""
        head = self._head(chunked=False, closes=closes)
        data = self._incoming.take()
        if data:
            self._look_at(data)
        self._look_at(b"")
        self._client.write(head + self._exchange.receive_whole(data))

    def _counts(self, size: int) -> bool:
        self._exchange.received += size
        return not self._exchange.is_cut

    async def pass_on(self, *, minor_version: int, closes: bool) -> None:
        """To its end, or to that of either connection."""
        exchange, client, incoming = self._exchange, self._client, self._incoming
        chunked = self._response.framing == CHUNKED and minor_version > 0
        out = self._head(chunked=chunked, closes=closes)
        for data in self._held:
            out += framed(exchange.receive(data), chunked=chunked)
        self._held.clear()
        if not incoming.is_short:
            client.write(out)
            out = b""
        if incoming.can_pour and exchange.is_untouched and self._suspicion.complaint is not None:
            await incoming.pour(client, self._counts)
            return
        while data := await incoming.read():
            self._look_at(data)
            # An empty piece would end a chunked body before its time.
            out += framed(exchange.receive(data), chunked=chunked)
            if out and not incoming.is_whole:
                client.write(out)
                out = b""
            if client.unsent > HIGH_WATER:
                await client.drained()
            if client.is_broken or exchange.is_cut:
                return
        if incoming.is_whole:
            self._look_at(b"")
            out += framed(exchange.receive(b""), chunked=chunked)
            if chunked:
                out += LAST_CHUNK
        if out:
            client.write(out)
