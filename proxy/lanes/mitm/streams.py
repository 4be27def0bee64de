"""One request inside mitmproxy's HTTP layer: judged before it is forwarded, answered at once if refused.

This replaces the parts of `HttpStream` that decide what happens with a request. What it keeps is the passing
of bodies and trailers, and the bookkeeping of connections.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from mitmproxy import http
from mitmproxy.net.http.status_codes import RESPONSES
from mitmproxy.net.http.validate import validate_headers
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http import DropStream, HttpStream, SendHttp
from mitmproxy.proxy.layers.http._events import (
    ErrorCode,
    RequestData,
    RequestEndOfMessage,
    RequestHeaders,
    RequestProtocolError,
    RequestTrailers,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
    ResponseProtocolError,
)
from mitmproxy.proxy.layers.tcp import TCPLayer

from proxy.core.audit import Ending
from proxy.core.reasons import Reason
from proxy.lanes.exchange import Exchange
from proxy.lanes.mitm.client_tls import HTTP2
from proxy.lanes.mitm.clients import Forget
from proxy.lanes.mitm.conversation import Conversation
from proxy.lanes.mitm.messages import answer_message, headers_of, peer_shown, text_of, write_request
from proxy.lanes.mitm.second_try import EVENT_BYTES, HELD_IN_ALL, HeldAnswer, HeldBody
from proxy.transaction.head import Head
from proxy.transaction.opening import Forward, Refused
from proxy.transaction.spent import Suspicion

Commands = layer.CommandGenerator[None]

SWITCHING_PROTOCOLS: Final = 101
LEAST_REFUSAL: Final = 400


@dataclass
class JudgeRequestHook(commands.StartHook):  # type: ignore[no-untyped-call] # mitmproxy's registry
    """Pauses the stream until its transaction has opened. The handler that runs it is total."""

    exchange: Exchange


@dataclass
class CutStream(events.Event):
    """The grant of this request was taken away, and its policy says `cut`."""

    exchange: Exchange


class GuardedStream(HttpStream):
    def __init__(self, context: Context, stream_id: int, conversation: Conversation, head: Head) -> None:
        super().__init__(context, stream_id)
        self._conversation = conversation
        self._head = head
        self.exchange: Exchange = conversation.exchange(head)
        self._body = HeldBody(lambda: HELD_IN_ALL - conversation.held_bytes)
        self._held: HeldAnswer | None = None
        # Of an answer that is passed on: whether it says that the lease is spent.
        self._suspicion: Suspicion | None = None
        self._is_connected = False

    @property
    def held_bytes(self) -> int:
        """What is kept until it is known that the request is not sent once more."""
        return self._body.size + (self._held.size if self._held is not None else 0)

    @property
    def waiting_bytes(self) -> int:
        """What came of the body while the stream waits for its verdict or its upstream."""
        waiting = self._paused_event_queue
        data = sum(len(event.data) for event in waiting if isinstance(event, RequestData))
        return data + EVENT_BYTES * len(waiting)

    def _handle_event(self, event: events.Event) -> Commands:
        if isinstance(event, CutStream):
            yield from self._cut()
        else:
            yield from super()._handle_event(event)

    # --- the request ---

    def state_wait_for_request_headers(self, event: events.Event) -> Commands:
        if not isinstance(event, RequestHeaders):
            raise TypeError("a stream begins with its head")
        # (1) What mitmproxy's layers need to know of the request.
        self.flow = http.HTTPFlow(self.context.client, self.context.server)
        self.flow.request = event.request
        self.flow.live = True
        # (2) The transaction. Nothing has been sent, to anybody, before it opened.
        yield JudgeRequestHook(self.exchange)
        if (yield from self.check_killed(emit_error_hook=False)):
            self.exchange.finish(Ending.CLIENT_GONE)
            return
        opening = self.exchange.opening
        if isinstance(opening, Refused):
            yield from self._answer(opening)
            return
        # (3) Its edits, before any byte of the body.
        expects = self._write(opening)
        self._body.allow(opening, self.flow.request)
        # (4) The client may wait to be told that its body is welcome (RFC 9110 §10.1.1).
        if expects.lower() == "100-continue":
            go_on = http.Response.make(100)
            go_on.headers.clear()
            yield SendHttp(ResponseHeaders(self.stream_id, go_on), self.context.client)
        # (5) On it goes: a body is streamed, never held.
        if event.end_stream:
            self.client_state = self.state_consume_request_body
        else:
            self.flow.request.stream = self._send_piece
            yield from self.start_request_stream()
        if self.client_state != self.state_errored:
            self.server_state = self.state_wait_for_response_headers

    def _write(self, opening: Forward) -> str:
        address = self.context.server.address
        if address is None:
            raise TypeError("the connection has no upstream")
        return write_request(self.flow.request, opening, self._head, address)

    def _send_piece(self, data: bytes) -> Iterable[bytes]:
        self.exchange.sent += len(data)
        self._body.keep(data)
        return [data] if data else []

    def make_server_connection(self) -> layer.CommandGenerator[bool]:
        """The connection, and a last look at it: what is about to be sent was judged, and goes where it was
        judged to go."""
        if not (yield from super().make_server_connection()):
            return False
        server = self.context.server
        self._is_connected = True
        self.exchange.upstream(peer_shown(server.peername))
        if self.exchange.is_cut:
            yield from self._cut()
            return False
        if self.context.client.alpn == HTTP2 and server.alpn != HTTP2:
            why = "the client speaks HTTP/2 only, and the upstream does not speak it"
            yield commands.CloseConnection(server)
            yield from self._answer(self.exchange.fail(Reason.UPSTREAM_FAILED, why))
            return False
        verified = server.tls_established and server.sni == self._conversation.arrival.name
        if not verified or not isinstance(self.exchange.opening, Forward):
            self._conversation.world.recorder.failed_open("mitmproxy")
            yield commands.CloseConnection(server)
            yield from self._answer(self.exchange.fail(Reason.INTERNAL_ERROR, "a self-check failed"))
            return False
        return True

    # --- the response ---

    def state_wait_for_response_headers(self, event: events.Event) -> Commands:
        if not isinstance(event, ResponseHeaders):
            raise TypeError("a response begins with its head")
        response = self.flow.response = event.response
        if fault := self._response_fault(response):
            yield commands.CloseConnection(self.flow.server_conn)
            yield from self._answer(self.exchange.fail(Reason.UPSTREAM_FAILED, fault))
            return
        # Nearly all answers are none of these: their fields are not looked at for it.
        fields = text_of(response.headers.fields) if response.status_code >= LEAST_REFUSAL else ()
        suspicion = self.exchange.suspicion(response.status_code, fields)
        self._watch(suspicion)
        if suspicion.spent is not False and self._may_repeat:
            self._held = HeldAnswer(event, suspicion)
            self.server_state = self.state_hold_answer
        else:
            yield from self._begin_answer(event)

    def _begin_answer(self, event: ResponseHeaders) -> Commands:
        """From here on the application sees it, and the request is not sent once more."""
        self._body.drop()
        response = self.flow.response = event.response
        # A reason phrase may quote what was sent; the standard's own says as much (RFC 9112 §4).
        response.reason = RESPONSES.get(response.status_code, "")
        edits = self.exchange.response(response.status_code, text_of(response.headers.fields))
        response.headers = headers_of(edits.fields)
        if event.end_stream:
            self.server_state = self.state_consume_response_body
        else:
            response.stream = self._receive_piece
            yield from self.start_response_stream()

    def _response_fault(self, response: http.Response) -> str | None:
        try:
            validate_headers(response)
        except ValueError:
            return "the upstream's response head can be read in two ways"
        opening = self.exchange.opening
        switched = response.status_code == SWITCHING_PROTOCOLS
        wanted = isinstance(opening, Forward) and opening.is_websocket
        if switched and not (wanted and response.headers.get("upgrade", "").lower() == "websocket"):
            return "the upstream switched protocols, which nobody asked for"
        return None

    def _receive_piece(self, data: bytes) -> Iterable[bytes]:
        self._look_at(data)
        # An empty piece would end a chunked body before its time.
        clean = self.exchange.receive(data)
        return [clean] if clean else []

    # --- a lease that the upstream calls spent ---

    @property
    def _may_repeat(self) -> bool:
        """Whether the request could be sent once more: all of it was sent, and is here; and it never was."""
        return self._body.is_whole and self.client_state == self.state_done and not self.exchange.retried

    def _watch(self, suspicion: Suspicion) -> None:
        """Tell of it as soon as it is sure; until then it is looked for in the body."""
        if suspicion.spent:
            self.exchange.lease_spent()
        self._suspicion = suspicion if suspicion.spent is None else None

    def _look_at(self, data: bytes) -> None:
        """At the next piece of the body; `b""` ends it."""
        suspicion = self._suspicion
        if suspicion is not None:
            if data:
                suspicion.feed(data)
            else:
                suspicion.end()
            self._watch(suspicion)

    def state_hold_answer(self, event: events.Event) -> Commands:
        """Nobody has seen anything of it yet."""
        held = self._held
        if held is None:
            raise TypeError("there is no answer to hold")
        held.keep(event)
        ended = isinstance(event, ResponseEndOfMessage)
        if isinstance(event, ResponseData):
            self._look_at(event.data)
        if ended or held.is_too_long:
            self._look_at(b"")
        if held.suspicion.spent is False or held.is_too_long:
            yield from self._release(held)
        elif ended:
            yield from self._try_again(held)

    def _release(self, held: HeldAnswer) -> Commands:
        """It goes to the application as it is."""
        self._held = None
        yield from self._begin_answer(held.head)
        for event in held.events:
            yield from self.server_state(event)

    def _try_again(self, held: HeldAnswer) -> Commands:
        yield SendHttp(Forget(self.stream_id), self.context.server)
        self.exchange.judge_again()
        yield JudgeRequestHook(self.exchange)
        if (yield from self.check_killed(emit_error_hook=False)):
            self.exchange.finish(Ending.CLIENT_GONE)
            return
        opening = self.exchange.opening
        if isinstance(opening, Refused):
            self._held = None
            yield from self._answer(opening)
        elif not self.exchange.retried:
            yield from self._release(held)
        else:
            self._held = None
            yield from self._send_again(opening)

    def _send_again(self, opening: Forward) -> Commands:
        request, body = self.flow.request, self._body.take()
        self._write(opening)
        self.flow.response = None
        if not (yield from self.make_server_connection()):
            return
        if (yield from self.check_killed(emit_error_hook=False)):
            self.exchange.finish(Ending.CLIENT_GONE)
            return
        self.server_state = self.state_wait_for_response_headers
        server, has_body = self.context.server, self._head.has_body
        yield SendHttp(RequestHeaders(self.stream_id, request, end_stream=not has_body), server)
        if body:
            yield SendHttp(RequestData(self.stream_id, body), server)
        yield SendHttp(RequestEndOfMessage(self.stream_id), server)

    def send_response(self, already_streamed: bool = False) -> Commands:  # noqa: FBT001, FBT002 - mitmproxy's
        if self.flow.response is not None and self.flow.response.trailers:
            edited = self.exchange.trailers(text_of(self.flow.response.trailers.fields))
            self.flow.response.trailers = headers_of(edited)
        yield from super().send_response(already_streamed)

    def flow_done(self) -> Commands:
        if self.flow.response is not None and self.flow.response.status_code == SWITCHING_PROTOCOLS:
            # From here on both sides speak as they like; the record is written when they part.
            self.child_layer = TCPLayer(self.context, ignore=True)
            self._handle_event = self.passthrough  # type: ignore[method-assign] # as mitmproxy does it
            yield from self.child_layer.handle_event(events.Start())
            yield SendHttp(ResponseEndOfMessage(self.stream_id), self.context.client)
            return
        self.exchange.finish(Ending.COMPLETED)
        yield from super().flow_done()

    def passthrough(self, event: events.Event) -> Commands:
        if isinstance(event, RequestData):
            self.exchange.sent += len(event.data)
        elif isinstance(event, ResponseData):
            event = ResponseData(event.stream_id, self.exchange.receive_piece(event.data))
        yield from super().passthrough(event)

    def state_stream_request_body(self, event: events.Event) -> Commands:
        if isinstance(event, RequestTrailers):
            return  # an upstream that merges them into the head would see what nobody judged
        yield from super().state_stream_request_body(event)

    # --- what goes wrong ---

    def handle_protocol_error(self, event: RequestProtocolError | ResponseProtocolError) -> Commands:
        if isinstance(event, RequestProtocolError):
            yield from super().handle_protocol_error(event)
            self.exchange.finish(Ending.CLIENT_GONE)
            return
        nothing_sent = self.exchange.status is None and self.client_state != self.state_errored
        if nothing_sent and isinstance(self.exchange.opening, Forward):
            reason, why = self._conversation.upstream_fault(event.code is ErrorCode.CONNECT_FAILED)
            yield from self._answer(self.exchange.fail(reason, why))
            return
        yield from super().handle_protocol_error(event)
        self.exchange.finish(Ending.UPSTREAM_FAILED)

    def _cut(self) -> Commands:
        """Both sides of the stream end, whatever they were about; others on their connections go on."""
        if self.exchange.finished:
            return
        yield SendHttp(ResponseProtocolError(self.stream_id, "cut", ErrorCode.KILL), self.context.client)
        if self._is_connected:
            yield SendHttp(RequestProtocolError(self.stream_id, "cut", ErrorCode.CANCEL), self.context.server)
        self.client_state = self.server_state = self.state_errored
        self.flow.live = False
        self.exchange.finish(Ending.CUT)
        yield DropStream(self.stream_id)

    def _answer(self, refused: Refused) -> Commands:
        """Our own answer, whole and at once. What remains of the request's body is read and dropped."""
        answer = self.exchange.answer(refused)
        response = answer_message(answer, self._head, closes=refused.closes)
        self.flow.response = response
        client = self.context.client
        yield SendHttp(ResponseHeaders(self.stream_id, response, end_stream=not answer.body), client)
        if answer.body:
            yield SendHttp(ResponseData(self.stream_id, answer.body), client)
        yield SendHttp(ResponseEndOfMessage(self.stream_id), client)
        self.client_state = self.server_state = self.state_errored
        self.flow.live = False
        self.exchange.finish(Ending.REFUSED)
        yield DropStream(self.stream_id)
