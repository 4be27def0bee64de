"""One request inside mitmproxy's HTTP layer: judged before it is forwarded, answered at once if refused.

`RequestSide` replaces the parts of `HttpStream` that decide what happens with a request; here is its
response, and the second try of a request whose credential the upstream complained of. What is kept of
mitmproxy's is the passing of responses' bodies and trailers, and the bookkeeping of connections.
"""

from collections.abc import Iterable
from typing import Final

from mitmproxy import http
from mitmproxy.net.http.status_codes import RESPONSES
from mitmproxy.net.http.validate import validate_headers
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http import SendHttp
from mitmproxy.proxy.layers.http._events import (
    RequestData,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
)
from mitmproxy.proxy.layers.tcp import TCPLayer

from proxy.core.audit import Ending
from proxy.core.reasons import Reason
from proxy.lanes import faults
from proxy.lanes.mitm.conversation import Conversation
from proxy.lanes.mitm.events import Forget, JudgeRequestHook
from proxy.lanes.mitm.messages import headers_of, text_of
from proxy.lanes.mitm.request_side import RequestSide
from proxy.lanes.mitm.second_try import EVENT_BYTES, HeldAnswer
from proxy.lanes.mitm.stream_ends import Commands
from proxy.transaction.head import Head, HttpVersion
from proxy.transaction.opening import Answered, Forward, Refused
from proxy.transaction.spent import Complaint, Suspicion

SWITCHING_PROTOCOLS: Final = 101
# Redirects and refusals are what tells something of the request.
LEAST_TELLING: Final = 300


class GuardedStream(RequestSide):
    def __init__(self, context: Context, stream_id: int, conversation: Conversation, head: Head) -> None:
        super().__init__(context, stream_id, conversation, head)
        self._held: HeldAnswer | None = None
        # Of an answer that is passed on: what it says of the credential.
        self._suspicion: Suspicion | None = None

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
        fields = text_of(response.headers.fields) if response.status_code >= LEAST_TELLING else ()
        suspicion = self.exchange.suspicion(response.status_code, fields)
        self._watch(suspicion)
        if suspicion.complaint is not Complaint.NONE and self._may_repeat:
            self._held = HeldAnswer(event, suspicion)
            self.server_state = self.state_hold_answer
        else:
            yield from self._begin_answer(event)

    def _begin_answer(self, event: ResponseHeaders) -> Commands:
        """From here on the application sees it, and the request is not sent once more."""
        self._body.drop()
        if self._waits:
            # Whoever was not told to go on may send the body all the same, or the next request.
            self._is_short = True
            self.client_state = self.state_done
        response = self.flow.response = event.response
        # A reason phrase may quote what was sent; the standard's own says as much (RFC 9112 §4).
        response.reason = RESPONSES.get(response.status_code, "")
        edits = self.exchange.response(response.status_code, text_of(response.headers.fields))
        response.headers = headers_of(edits.fields)
        if self._waits and self._head.version is HttpVersion.HTTP1:
            response.headers["connection"] = "close"
        if event.end_stream:
            self.server_state = self.state_consume_response_body
        else:
            response.stream = self._receive_piece
            yield from self.start_response_stream()

    def _response_fault(self, response: http.Response) -> str | None:
        try:
            validate_headers(response)
        except ValueError:
            return faults.TWO_READINGS
        opening = self.exchange.opening
        switched = response.status_code == SWITCHING_PROTOCOLS
        wanted = isinstance(opening, Forward) and opening.is_websocket
        if switched and not (wanted and response.headers.get("upgrade", "").lower() == "websocket"):
            return faults.UNASKED_SWITCH
        return None

    def _receive_piece(self, data: bytes) -> Iterable[bytes]:
        self._look_at(data)
        # An empty piece would end a chunked body before its time.
        clean = self.exchange.receive(data)
        return [clean] if clean else []

    # --- a credential that the upstream complains of ---

    @property
    def _may_repeat(self) -> bool:
        """Whether the request could be sent once more: all of it was sent, and is here, or nothing of its
        body was; and it never was."""
        if self.exchange.retried or self._is_short:
            return False
        if self._waits:
            return self._body.may_go_twice
        return self._body.is_whole and self.client_state == self.state_done

    def _watch(self, suspicion: Suspicion) -> None:
        """Tell of it as soon as it is sure; until then it is looked for in the body."""
        if suspicion.complaint is not None:
            self.exchange.heard(suspicion)
        self._suspicion = suspicion if suspicion.complaint is None else None

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
        if held.suspicion.complaint is Complaint.NONE or held.is_too_long:
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
        # Who waited may have begun since.
        if not self._may_repeat or not self.exchange.judge_again():
            yield from self._release(held)
            return
        yield SendHttp(Forget(self.stream_id), self.context.server)
        yield JudgeRequestHook(self.exchange)
        if (yield from self.check_killed(emit_error_hook=False)):
            self.exchange.finish(Ending.CLIENT_GONE)
            return
        opening = self.exchange.opening
        if isinstance(opening, Refused | Answered):
            self._held = None
            yield from self._answer(opening)
        elif not self.exchange.retried:
            yield from self._release(held)
        else:
            self._held = None
            yield from self._send_again(opening)

    def _send_again(self, opening: Forward) -> Commands:
        self.flow.response = None
        if self._waits:
            yield from self._forward(opening)
            return
        whole = self.exchange.body.whole
        body = self._body.take()
        self._write(opening)
        yield from self._send_whole(body if whole is None else whole)

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
        if self._is_short:
            yield from self._abandon_upstream("its answer came first")
        self.exchange.finish(Ending.COMPLETED)
        yield from super().flow_done()
        yield from self._part()

    def passthrough(self, event: events.Event) -> Commands:
        if isinstance(event, RequestData):
            self.exchange.sent += len(event.data)
        elif isinstance(event, ResponseData):
            event = ResponseData(event.stream_id, self.exchange.receive_piece(event.data))
        yield from super().passthrough(event)
