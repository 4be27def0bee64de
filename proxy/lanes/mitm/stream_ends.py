"""How one request inside mitmproxy's HTTP layer ends where it does not end by itself: with an answer of ours,
because its body cannot go on, or because its grant was taken away."""

from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http import DropStream, HttpStream, SendHttp
from mitmproxy.proxy.layers.http._events import (
    ErrorCode,
    RequestData,
    RequestEndOfMessage,
    RequestProtocolError,
    RequestTrailers,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
    ResponseProtocolError,
)

from proxy.attach.bodies import BodyFault
from proxy.core.audit import Ending
from proxy.core.structs import replace
from proxy.lanes.exchange import Exchange
from proxy.lanes.faults import Fault
from proxy.lanes.mitm.conversation import Conversation
from proxy.lanes.mitm.events import CutStream, GoOn
from proxy.lanes.mitm.messages import answer_message
from proxy.transaction.head import Head, HttpVersion
from proxy.transaction.opening import Answered, Forward, Refused

Commands = layer.CommandGenerator[None]


class EndingStream(HttpStream):
    def __init__(self, context: Context, stream_id: int, conversation: Conversation, head: Head) -> None:
        super().__init__(context, stream_id)
        self._conversation = conversation
        self._head = head
        self.exchange: Exchange = conversation.exchange(head)
        self._is_connected = False
        # The client sends its body when it is told to, and has neither been told nor begun.
        self._waits = False
        # The upstream answered before all of the request was sent, and no more of that is.
        self._is_short = False

    def _handle_event(self, event: events.Event) -> Commands:
        match event:
            case CutStream(fault=fault):
                yield from self._cut(fault)
            case GoOn():
                # After the head of an answer there is nothing to go on with.
                if self.server_state == self.state_wait_for_response_headers:
                    yield from self._go_on()
            case RequestProtocolError() | ResponseProtocolError() if self.exchange.finished:
                # It was on its way when the stream ended; by now its number may be another request's.
                yield DropStream(self.stream_id)
            case RequestData() | RequestTrailers() | RequestEndOfMessage() if self._is_short:
                pass
            case _:
                if isinstance(event, RequestData | RequestEndOfMessage):
                    self._waits = False
                yield from super()._handle_event(event)

    def _go_on(self) -> Commands:
        """Once, and not to who has begun."""
        if self._waits:
            self._waits = False
            yield SendHttp(GoOn(self.stream_id), self.context.client)

    def _part(self) -> Commands:
        """After the last byte of an answer to who still waits: what follows on its connection is a body, or
        another request, and nobody could tell which."""
        if self._waits and self._head.version is HttpVersion.HTTP1:
            yield commands.CloseTcpConnection(self.context.client, half_close=True)

    def _answer(self, opening: Refused | Answered) -> Commands:
        """Our own answer, whole and at once. What remains of the request's body is read and dropped."""
        answer = self.exchange.answer(opening)
        closes = self._waits or (isinstance(opening, Refused) and opening.closes)
        response = answer_message(answer, self._head, closes=closes)
        self.flow.response = response
        client = self.context.client
        yield SendHttp(ResponseHeaders(self.stream_id, response, end_stream=not answer.body), client)
        if answer.body:
            yield SendHttp(ResponseData(self.stream_id, answer.body), client)
        yield SendHttp(ResponseEndOfMessage(self.stream_id), client)
        yield from self._part()
        yield from self._end(Ending.REFUSED if isinstance(opening, Refused) else Ending.COMPLETED)

    def _spoil(self, fault: BodyFault) -> Commands:
        """The upstream has a part of the body, and never gets its end: it commits nothing."""
        yield from self._abandon_upstream("the body cannot go on")
        refused = self.exchange.spoil(fault)
        if self.exchange.status is None:
            yield from self._answer(refused)
            return
        yield SendHttp(ResponseProtocolError(self.stream_id, "cut", ErrorCode.KILL), self.context.client)
        yield from self._end(Ending.CUT)

    def _cut(self, fault: Fault | None = None) -> Commands:
        """Both sides of the stream end, whatever they were about; others on their connections go on. `fault`:
        it is told, where nothing of an answer has been passed on."""
        if self.exchange.finished:
            return
        if fault is not None and self.exchange.status is None:
            yield from self._abandon_upstream("it took too long")
            self.exchange.wants_body = False
            yield from self._answer(replace(self.exchange.fail(*fault), closes=True))
            return
        yield SendHttp(ResponseProtocolError(self.stream_id, "cut", ErrorCode.KILL), self.context.client)
        yield from self._abandon_upstream("cut")
        yield from self._end(Ending.CUT)

    def _abandon_upstream(self, why: str) -> Commands:
        """The request gets no end: over HTTP/1 its connection is closed, over HTTP/2 its stream is reset."""
        if self._is_connected:
            yield SendHttp(RequestProtocolError(self.stream_id, why, ErrorCode.CANCEL), self.context.server)

    def _end(self, ending: Ending) -> Commands:
        self.client_state = self.server_state = self.state_errored
        self.flow.live = False
        self.exchange.finish(ending)
        yield DropStream(self.stream_id)

    def handle_protocol_error(self, event: RequestProtocolError | ResponseProtocolError) -> Commands:
        if isinstance(event, RequestProtocolError):
            if self.server_state == self.state_done:
                # mitmproxy takes an answer for the end of its request, which may still be on its way.
                yield from self._abandon_upstream("the client left")
            yield from super().handle_protocol_error(event)
            self.exchange.finish(Ending.CLIENT_GONE)
            return
        if (yield from self.check_killed(emit_error_hook=False)):
            # Both are gone, and what is written to an end of TLS that was closed breaks its layer.
            self.exchange.finish(Ending.CLIENT_GONE)
            return
        nothing_sent = self.exchange.status is None and self.client_state != self.state_errored
        if nothing_sent and isinstance(self.exchange.opening, Forward):
            reason, why = self._conversation.upstream_fault(event.code is ErrorCode.CONNECT_FAILED)
            yield from self._answer(self.exchange.fail(reason, why))
            return
        yield from super().handle_protocol_error(event)
        self.exchange.finish(Ending.UPSTREAM_FAILED)
