"""The upstream's side: mitmproxy's clients, with limits, and without trailers. Of interim responses only 100
passes, to who waits for it."""

import re
from collections.abc import Callable
from typing import Final

import h2.config
import h2.errors
import h2.events
from h11 import EndOfMessage
from h11._receivebuffer import ReceiveBuffer
from mitmproxy.connection import Server
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http import GetHttpConnection, RegisterHttpConnection
from mitmproxy.proxy.layers.http._base import ReceiveHttp
from mitmproxy.proxy.layers.http._events import (
    ErrorCode,
    HttpEvent,
    RequestData,
    RequestHeaders,
    RequestProtocolError,
    ResponseProtocolError,
)
from mitmproxy.proxy.layers.http._http1 import Http1Client, TBodyReader
from mitmproxy.proxy.layers.http._http2 import Http2Client, Http2Connection
from mitmproxy.proxy.layers.tls import ServerTLSLayer

from proxy.lanes.mitm.client_tls import HTTP2
from proxy.lanes.mitm.events import Forget, GoOn
from proxy.lanes.mitm.pacing import UPSTREAM_WINDOW, PacedConnection

Commands = layer.CommandGenerator[None]
# Whether what was granted to the application's stream with this number is still good.
MayTravel = Callable[[int], bool]

# A response's head, or what is unread behind one. Servers with many cookies send some 16 KiB.
MAX_UNREAD: Final = 262_144

# An interim response (RFC 9110 §15.2) but 101, which is final. Its end is the empty line.
_INTERIM = re.compile(rb"HTTP/1\.[01] (1(?!01)[0-9][0-9])[ \r\n]").match
_CONTINUE: Final = b"100"


class WithoutTrailers:
    """A reader of bodies that drops what follows the last chunk: mitmproxy's HTTP/1 cannot pass it on.

    A recipient may drop trailers (RFC 9110 §6.5.1).
    """

    def __init__(self, reader: TBodyReader) -> None:
        self._reader = reader

    def __call__(self, data: ReceiveBuffer) -> object:
        return self._bare(self._reader(data))

    def read_eof(self) -> object:
        return self._bare(self._reader.read_eof())

    @staticmethod
    def _bare(event: object) -> object:
        return EndOfMessage() if isinstance(event, EndOfMessage) else event


class LimitedHttp1Client(Http1Client):
    # The upstream was asked whether it wants the body, and has not said so. Once it has answered without
    # that, it alone knows whether a body or another request comes next (RFC 9110 §10.1.1): nothing does.
    _unanswered = False

    def send(self, event: HttpEvent) -> Commands:
        if isinstance(event, RequestHeaders):
            self._unanswered = "expect" in event.request.headers
        yield from super().send(event)

    def mark_done(self, *, request: bool = False, response: bool = False) -> Commands:
        if self._unanswered and self.request is not None:
            self.request.headers["connection"] = "close"
        yield from super().mark_done(request=request, response=response)

    def _handle_event(self, event: events.Event) -> Commands:
        if isinstance(event, Forget):
            # One request at a time: its answer came to its end, and mostly the request did.
            if self.request is not None and (self._unanswered or not self.request_done):
                yield commands.CloseConnection(self.conn)
                self.state = self.done
            return
        yield from super()._handle_event(event)
        if len(self.buf) > MAX_UNREAD:
            self.buf.maybe_extract_at_most(len(self.buf))
            yield commands.CloseConnection(self.conn)

    def read_headers(self, event: events.ConnectionEvent) -> Commands:
        # mitmproxy takes an interim response for the final one; the next answer would then be another
        # request's, and would be searched for another request's credential.
        while self.request is not None and (interim := _INTERIM(bytes(self.buf))):
            if self.buf.maybe_extract_lines() is None:
                if isinstance(event, events.DataReceived):
                    return
                break
            if interim[1] == _CONTINUE and self.stream_id is not None:
                self._unanswered = False
                yield ReceiveHttp(GoOn(self.stream_id))
        yield from super().read_headers(event)

    def read_body(self, event: events.Event) -> Commands:
        if self.response_done and isinstance(event, events.DataReceived):
            # The answer ended before its request did, and mitmproxy would end it again.
            self.buf.maybe_extract_at_most(len(self.buf))
            yield commands.CloseConnection(self.conn)
            return
        if not isinstance(self.body_reader, WithoutTrailers):
            self.body_reader = WithoutTrailers(self.body_reader)  # type: ignore[assignment] # the same calls
        yield from super().read_body(event)


class PacedHttp2Client(PacedConnection, Http2Client):
    h2_conf = h2.config.H2Configuration(**Http2Connection.h2_conf_defaults, client_side=True)

    def __init__(self, context: Context, may_travel: MayTravel = lambda _stream_id: True) -> None:
        super().__init__(context)
        self.may_travel = may_travel
        self.pace(UPSTREAM_WINDOW)
        # As mitmproxy does with the connection that `pace` replaced.
        self.h2_conn.local_settings.enable_push = 0
        self.h2_conn.local_settings.acknowledge()
        # Streams that waited for a place at the upstream, and are not sent any more.
        self._given_up: set[int] = set()

    def _handle_event(self, event: events.Event) -> Commands:
        if isinstance(event, Forget):
            yield from self._forget(event.stream_id)
        elif isinstance(event, HttpEvent) and event.stream_id not in self.our_stream_id:
            yield from self._unsent(event)
        else:
            yield from super()._handle_event(event)

    def handle_h2_event(self, event: h2.events.Event) -> layer.CommandGenerator[bool]:
        if isinstance(event, h2.events.InformationalResponseReceived):
            if (b":status", _CONTINUE) in [
                (bytes(name), bytes(value)) for name, value in event.headers or ()
            ]:
                yield ReceiveHttp(GoOn(event.stream_id or 0))
            return False
        return (yield from super().handle_h2_event(event))

    def _unsent(self, event: HttpEvent) -> Commands:
        """While the upstream takes no more streams, mitmproxy queues them, and would still send one that was
        reset meanwhile, cut, or whose lease has ended."""
        stream_id = event.stream_id
        if isinstance(event, RequestProtocolError):
            self._give_up(stream_id)
        elif stream_id in self._given_up:
            return
        elif isinstance(event, RequestHeaders) and not self.may_travel(stream_id):
            self._give_up(stream_id)
            yield ReceiveHttp(
                ResponseProtocolError(stream_id, "it waited for too long", ErrorCode.GENERIC_SERVER_ERROR)
            )
        else:
            yield from super()._handle_event(event)

    def _give_up(self, stream_id: int) -> None:
        self.stream_queue.pop(stream_id, None)
        self._given_up.add(stream_id)

    def _forget(self, stream_id: int) -> Commands:
        self.stream_queue.pop(stream_id, None)
        self._given_up.discard(stream_id)
        ours = self.our_stream_id.pop(stream_id, None)
        if ours is None:
            return
        self.streams.pop(ours, None)
        if not self.is_closed(ours):
            self.h2_conn.reset_stream(ours, h2.errors.ErrorCodes.CANCEL.value)
            yield commands.SendData(self.conn, self.h2_conn.data_to_send())

    def waiting_for(self, stream_id: int) -> int:
        """What of a request's body, by the application's number of the stream, is not on its way yet."""
        ours = self.our_stream_id.get(stream_id)
        if ours is not None:
            return self.unsent(ours)
        queued: list[HttpEvent] = self.stream_queue.get(stream_id, [])  # type: ignore[assignment] # so it is filled
        return sum(len(event.data) for event in queued if isinstance(event, RequestData))

    def theirs(self, stream_id: int) -> int:
        """The application's number of a stream that is ours."""
        return self.their_stream_id.get(stream_id, 0)


class UpstreamHttp(layer.Layer):
    """Opens the connection, then speaks what was agreed on."""

    child: LimitedHttp1Client | PacedHttp2Client | None = None

    def __init__(self, context: Context, may_travel: MayTravel) -> None:
        super().__init__(context)
        self._may_travel = may_travel

    def _handle_event(self, event: events.Event) -> Commands:
        if self.child is not None:
            yield from self.child.handle_event(event)
            return
        err = yield commands.OpenConnection(self.context.server)
        if not err:
            if self.context.server.alpn == HTTP2:
                self.child = PacedHttp2Client(self.context, self._may_travel)
            else:
                self.child = LimitedHttp1Client(self.context)
            yield from self.child.handle_event(event)
        yield RegisterHttpConnection(self.context.server, err)


def upstream_stack(
    context: Context, asked: GetHttpConnection, may_travel: MayTravel
) -> tuple[layer.Layer, UpstreamHttp]:
    """The layers of a new connection to the conversation's upstream: the outermost, and the one of HTTP."""
    name = context.server.sni
    context.server = Server(address=asked.address, transport_protocol="tcp")
    context.server.sni = name
    tls = ServerTLSLayer(context)
    http = UpstreamHttp(context, may_travel)
    tls.child_layer = http
    return tls, http
