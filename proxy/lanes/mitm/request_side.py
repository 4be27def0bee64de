"""One request inside mitmproxy's HTTP layer, on its way up: judged before it is forwarded, its body read
whole where that is wanted first, and otherwise streamed."""

from typing import Final

from mitmproxy import http
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http import SendHttp
from mitmproxy.proxy.layers.http._events import (
    RequestData,
    RequestEndOfMessage,
    RequestHeaders,
    RequestProtocolError,
    ResponseHeaders,
    ResponseProtocolError,
)

from proxy.attach.bodies import BodyFault
from proxy.core.audit import Ending
from proxy.core.reasons import Reason
from proxy.lanes.held_body import HeldBody
from proxy.lanes.mitm.client_tls import HTTP2
from proxy.lanes.mitm.conversation import Conversation
from proxy.lanes.mitm.events import CutStream, DrainUpstreamHook, JudgeRequestHook
from proxy.lanes.mitm.messages import expects_continue, peer_shown, write_request
from proxy.lanes.mitm.second_try import HELD_IN_ALL
from proxy.lanes.mitm.stream_ends import Commands, EndingStream
from proxy.transaction.head import Head
from proxy.transaction.opening import Answered, Forward, Refused

# Of a body that was read whole, this much is written before the upstream has taken it: encrypted it would be
# in memory twice.
PIECE: Final = 256 * 1024


class RequestSide(EndingStream):
    def __init__(self, context: Context, stream_id: int, conversation: Conversation, head: Head) -> None:
        super().__init__(context, stream_id, conversation, head)
        self._body = HeldBody(lambda: HELD_IN_ALL - conversation.held_bytes)
        self._draining: DrainUpstreamHook | None = None

    def handle_event(self, event: events.Event) -> Commands:
        if self._draining is not None and _is_news(event):
            self._draining.stop()
        yield from super().handle_event(event)

    # --- the verdict ---

    def state_wait_for_request_headers(self, event: events.Event) -> Commands:
        if not isinstance(event, RequestHeaders):
            raise TypeError("a stream begins with its head")
        # What mitmproxy's layers need to know of the request.
        self.flow = http.HTTPFlow(self.context.client, self.context.server)
        self.flow.request = event.request
        self.flow.live = True
        self._waits = expects_continue(event.request, self._head)
        yield from self._judge()

    def _judge(self) -> Commands:
        """The transaction. Nothing has been sent, to anybody, before it opened."""
        yield JudgeRequestHook(self.exchange)
        if (yield from self.check_killed(emit_error_hook=False)):
            self.exchange.finish(Ending.CLIENT_GONE)
            return
        if self.exchange.wants_body:
            # It may be waited for, and nobody else could ask for it.
            self.client_state = self.state_collect_request_body
            yield from self._go_on()
            return
        opening = self.exchange.opening
        if isinstance(opening, Refused | Answered):
            yield from self._answer(opening)
        else:
            yield from self._forward(opening)

    def state_collect_request_body(self, event: events.Event) -> Commands:
        """Read whole before anything is sent; then the request is judged from the start, with it at hand."""
        body = self.exchange.body
        if isinstance(event, RequestData):
            if not body.collect(event.data):
                yield from self._judge()
        elif isinstance(event, RequestEndOfMessage):
            body.collected()
            self.client_state = self.state_done
            yield from self._judge()

    # --- on its way ---

    def _forward(self, opening: Forward) -> Commands:
        """Its edits, before any byte of the body; then the body: as it comes, or as it was read."""
        whole = self.exchange.body.whole
        self._write(opening, waits=self._waits)
        self._body.allow(opening, self._head.method, self._head.declared_length, elsewhere=whole is not None)
        if whole is not None:
            self.exchange.sent = len(whole)
            yield from self._send_whole(whole)
        elif self._head.has_body:
            yield from self.start_request_stream()
            if self.client_state != self.state_errored:
                self.server_state = self.state_wait_for_response_headers
        elif isinstance(out := self.exchange.body.finish(), BodyFault):
            yield from self._spoil(out)
        else:
            self.client_state = self.state_consume_request_body
            self.server_state = self.state_wait_for_response_headers

    def _write(self, opening: Forward, *, waits: bool = False) -> None:
        address = self.context.server.address
        if address is None:
            raise TypeError("the connection has no upstream")
        write_request(self.flow.request, opening, self._head, address, waits=waits)

    def state_stream_request_body(self, event: events.Event) -> Commands:
        """Trailers end here: an upstream that merges them into the head would see what nobody judged."""
        if isinstance(event, RequestData):
            self.exchange.sent += len(event.data)
            self._body.keep(event.data)
            out = self.exchange.body.feed(event.data)
        elif isinstance(event, RequestEndOfMessage):
            out = self.exchange.body.finish()
        else:
            return
        if isinstance(out, BodyFault):
            yield from self._spoil(out)
            return
        yield from self._send_paced(out)
        if isinstance(event, RequestEndOfMessage):
            self.client_state = self.state_done
            yield SendHttp(event, self.context.server)
            if self.server_state == self.state_done:
                yield from self.flow_done()

    def _send_paced(self, data: bytes) -> Commands:
        """What was read is sent on at once, and the client is read on. What comes out of a transform may be
        a whole chunk: the next one is not taken in before the upstream has taken this one."""
        server = self.context.server
        for at in range(0, len(data), PIECE):  # none of it: an empty piece would end a chunked body
            yield SendHttp(RequestData(self.stream_id, data[at : at + PIECE]), server)
            if len(data) > PIECE and not any(_is_news(event) for event in self._paused_event_queue):
                self._draining = DrainUpstreamHook(server)
                yield self._draining
                self._draining = None
        self.exchange.body.passed()

    def _send_whole(self, body: bytes) -> Commands:
        """A request whose body is here."""
        out = self.exchange.body.feed_whole(body)
        if isinstance(out, BodyFault):
            yield from self._spoil(out)
            return
        if not (yield from self.make_server_connection()):
            return
        if (yield from self.check_killed(emit_error_hook=False)):
            self.exchange.finish(Ending.CLIENT_GONE)
            return
        self.server_state = self.state_wait_for_response_headers
        server, request = self.context.server, self.flow.request
        yield SendHttp(RequestHeaders(self.stream_id, request, end_stream=not self._head.has_body), server)
        if (yield from self._send_pieces(out)):
            yield SendHttp(RequestEndOfMessage(self.stream_id), server)

    def _send_pieces(self, data: bytes) -> layer.CommandGenerator[bool]:
        """Whether all of it is on its way; else the upstream or the client has something to say first."""
        server = self.context.server
        for at in range(0, len(data), PIECE):
            if at:
                self._draining = DrainUpstreamHook(server)
                yield self._draining
                self._draining = None
                if any(_is_news(event) for event in self._paused_event_queue):
                    self._is_short = True
                    return False
            yield SendHttp(RequestData(self.stream_id, data[at : at + PIECE]), server)
        return True

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


def _is_news(event: events.Event) -> bool:
    """What a stream that sends a body must not keep waiting."""
    return isinstance(event, ResponseHeaders | ResponseProtocolError | RequestProtocolError | CutStream)
