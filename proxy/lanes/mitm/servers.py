"""The application's side: our own reading of each request's head, in front of mitmproxy's."""

from collections.abc import Callable
from typing import Final

import h2.config
import h2.errors
import h2.events
from mitmproxy import http
from mitmproxy.connection import Connection, ConnectionState
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http import (
    GetHttpConnection,
    GetHttpConnectionCompleted,
    HttpLayer,
    HTTPMode,
)
from mitmproxy.proxy.layers.http._base import ReceiveHttp
from mitmproxy.proxy.layers.http._events import HttpEvent, RequestHeaders
from mitmproxy.proxy.layers.http._http1 import Http1Server, make_body_reader
from mitmproxy.proxy.layers.http._http2 import Http2Connection, Http2Server, StreamState

from proxy.core.audit import Ending
from proxy.lanes.exchange import Exchange
from proxy.lanes.mitm.client_tls import HTTP2
from proxy.lanes.mitm.clients import PacedHttp2Client, UpstreamHttp, WithoutTrailers, upstream_stack
from proxy.lanes.mitm.conversation import Conversation
from proxy.lanes.mitm.events import CutStream, GoOn
from proxy.lanes.mitm.pacing import CLIENT_WINDOW, PacedConnection, Settle
from proxy.lanes.mitm.streams import GuardedStream
from proxy.transaction.head import Head, HeadProblem, head_of_http1, head_of_http2, options_of, problem_of
from proxy.wire.fields import MAX_HEAD_BYTES
from proxy.wire.framing import Chunked, Framing, Length, NoBody
from proxy.wire.h2_request import h2_trailers_fault
from proxy.wire.outcomes import BadHead, NeedMore
from proxy.wire.request_head import RequestHead, read_request_head

Commands = layer.CommandGenerator[None]

# What is kept of bytes whose turn has not come: half a chunk's size line, or a request that was sent before
# the answer to the last one. One read and a whole head; mitmproxy itself would keep all of it.
MAX_UNREAD: Final = 65_536 + MAX_HEAD_BYTES


class GuardedHttp1Server(Http1Server):
    """Reads heads strictly, with limits in size and time, and answers what it cannot read."""

    def __init__(self, context: Context, conversation: Conversation) -> None:
        super().__init__(context)
        self._conversation = conversation
        self._heads: dict[int, Head] = {}
        # Runs while the rest of a head is waited for; one that rings when it is not this one is too late.
        self._timer: commands.RequestWakeup | None = None

    def head(self, stream_id: int) -> Head:
        return self._heads.pop(stream_id)

    def _handle_event(self, event: events.Event) -> Commands:
        if isinstance(event, events.Wakeup):
            if event.command is self._timer:
                yield commands.CloseConnection(self.conn)
            return
        yield from super()._handle_event(event)
        if len(self.buf) > MAX_UNREAD:
            self.buf.maybe_extract_at_most(len(self.buf))
            yield commands.CloseConnection(self.conn)

    def send(self, event: HttpEvent) -> Commands:
        if isinstance(event, GoOn):
            yield commands.SendData(self.conn, b"HTTP/1.1 100 Continue\r\n\r\n")
        else:
            yield from super().send(event)

    def read_headers(self, event: events.ConnectionEvent) -> Commands:
        if not isinstance(event, events.DataReceived):
            # Not mitmproxy's way: it would log what was read so far.
            yield commands.CloseConnection(self.conn)
            return
        data = bytes(self.buf)
        reading = read_request_head(data)
        if isinstance(reading, NeedMore):
            if data and self._timer is None:
                yield from self._set_timer()
            return
        self._timer = None
        if isinstance(reading, BadHead):
            yield from self._refuse(problem_of(reading))
            return
        head = head_of_http1(reading)
        if isinstance(head, HeadProblem):
            yield from self._refuse(head)
            return
        # mitmproxy would read the head once more, and differently.
        self.buf.maybe_extract_at_most(reading.size)
        self._heads[self.stream_id] = head
        self.request = _bare_request(head, reading)
        yield ReceiveHttp(
            RequestHeaders(self.stream_id, _bare_request(head, reading), end_stream=not head.has_body)
        )
        reader = WithoutTrailers(make_body_reader(_body_size(reading.framing)))
        self.body_reader = reader  # type: ignore[assignment] # the same calls
        self.state = self.read_body
        yield from self.state(event)

    def _set_timer(self) -> Commands:
        self._timer = commands.RequestWakeup(self._conversation.world.timeouts.header)
        yield self._timer

    def _refuse(self, problem: HeadProblem) -> Commands:
        """Answer, and read no further: where the next request begins is anybody's guess."""
        exchange = self._conversation.exchange(problem)
        answer = exchange.answer(exchange.open_unreadable())
        lines = [f"HTTP/1.1 {answer.status} podkey"]
        lines += [f"{name}: {value}" for name, value in answer.headers]
        lines += ["connection: close", "", ""]
        yield commands.SendData(self.conn, "\r\n".join(lines).encode("latin-1") + answer.body)
        exchange.finish(Ending.REFUSED)
        self.state = self._drop
        self.buf.maybe_extract_at_most(len(self.buf))
        # Half closed: to close while the client still sends would reset the connection under our answer.
        yield commands.CloseTcpConnection(self.conn, half_close=True)
        yield from self._set_timer()

    def _drop(self, event: events.Event) -> Commands:
        self.buf.maybe_extract_at_most(len(self.buf))
        if isinstance(event, events.ConnectionClosed):
            yield commands.CloseConnection(self.conn)


def _bare_request(head: Head, reading: RequestHead) -> http.Request:
    """What mitmproxy has to know to frame a message and to end its connection. All that is forwarded comes
    from the transaction."""
    options = ", ".join(sorted(options_of(head))).encode("latin-1")
    version = f"HTTP/1.{reading.minor_version}".encode()
    fields = http.Headers([(b"connection", options)] if options else [])
    method, target = head.method.encode("latin-1"), head.target.encode("latin-1")
    return http.Request("", 0, method, b"https", b"", target, version, fields, None, None, 0, None)


def _body_size(framing: Framing) -> int | None:
    match framing:
        case NoBody():
            return 0
        case Length(size):
            return size
        case Chunked():
            return None


class GuardedHttp2Server(PacedConnection, Http2Server):
    """Judges field lists itself; h2's own validation differs from release to release, and its answer to a bad
    one is the end of the connection."""

    h2_conf = h2.config.H2Configuration(**Http2Connection.h2_conf_defaults, client_side=False)

    def __init__(self, context: Context, conversation: Conversation) -> None:
        super().__init__(context)
        self._conversation = conversation
        self._heads: dict[int, Head] = {}
        self.pace(CLIENT_WINDOW)
        self.h2_conn.config.validate_inbound_headers = False

    def head(self, stream_id: int) -> Head:
        return self._heads.pop(stream_id)

    def _handle_event(self, event: events.Event) -> Commands:
        if not isinstance(event, GoOn):
            yield from super()._handle_event(event)
        elif self.is_open_for_us(event.stream_id):
            self.h2_conn.send_headers(event.stream_id, [(b":status", b"100")])
            yield commands.SendData(self.conn, self.h2_conn.data_to_send())

    def handle_h2_event(self, event: h2.events.Event) -> layer.CommandGenerator[bool]:
        if isinstance(event, h2.events.RequestReceived):
            yield from self._receive(event)
            return False
        if isinstance(event, h2.events.TrailersReceived):
            fields = [(bytes(name), bytes(value)) for name, value in event.headers or ()]
            if h2_trailers_fault(fields) is not None:
                return (yield from self._end())
        return (yield from super().handle_h2_event(event))

    def _receive(self, event: h2.events.RequestReceived) -> Commands:
        stream_id, ended = event.stream_id or 0, event.stream_ended is not None
        fields = [(bytes(name), bytes(value)) for name, value in event.headers or ()]
        head = head_of_http2(fields, ended=ended)
        if isinstance(head, HeadProblem):
            self._refuse(stream_id, head)
            return
        self._heads[stream_id] = head
        self.streams[stream_id] = StreamState.HEADERS_RECEIVED
        # mitmproxy would read the fields once more, and differently.
        method, target = head.method.encode("latin-1"), head.target.encode("latin-1")
        bare = http.Request(
            "", 0, method, b"https", b"", target, b"HTTP/2.0", http.Headers(), None, None, 0, None
        )
        yield ReceiveHttp(RequestHeaders(stream_id, bare, end_stream=ended))

    def _refuse(self, stream_id: int, problem: HeadProblem) -> None:
        exchange: Exchange = self._conversation.exchange(problem)
        answer = exchange.answer(exchange.open_unreadable())
        exchange.finish(Ending.REFUSED)
        if not self.is_open_for_us(stream_id):
            return  # reset by the client in the same breath
        fields = [(":status", str(answer.status)), *((k.lower(), v) for k, v in answer.headers)]
        self.h2_conn.send_headers(
            stream_id,
            [(k.encode("latin-1"), v.encode("latin-1")) for k, v in fields],
            end_stream=not answer.body,
        )
        if answer.body:
            self.h2_conn.send_data(stream_id, answer.body, end_stream=True)
        if not self.is_closed(stream_id):
            # RFC 9113 §8.1: the answer is complete, and the rest of the request is of no interest.
            self.h2_conn.reset_stream(stream_id, h2.errors.ErrorCodes.NO_ERROR.value)

    def _end(self) -> layer.CommandGenerator[bool]:
        """Trailers that could be taken for a head are nobody's mistake: the connection ends."""
        yield from super().protocol_error("malformed trailers")
        return True


class GuardedHttpLayer(HttpLayer):
    """mitmproxy's HTTP layer with our servers and our streams in it."""

    def __init__(self, context: Context, conversation: Conversation) -> None:
        super().__init__(context, HTTPMode.transparent)
        self._conversation = conversation
        # The layers of each upstream connection: the outermost, and the one that speaks HTTP.
        self._upstreams: dict[Connection, tuple[layer.Layer, UpstreamHttp]] = {}
        self._server: GuardedHttp1Server | GuardedHttp2Server
        if context.client.alpn == HTTP2:
            self._server = GuardedHttp2Server(self.context.fork(), conversation)
        else:
            self._server = GuardedHttp1Server(self.context.fork(), conversation)
        # The base class keeps a server that is there already.
        self.connections[context.client] = self._server
        conversation.http = self

    @property
    def waiting_bytes(self) -> int:
        """How much of requests' bodies was read and can go nowhere yet."""
        return sum(stream.waiting_bytes for stream in self._guarded)

    @property
    def held_bytes(self) -> int:
        """How much is kept of what could have to be sent once more."""
        return sum(stream.held_bytes for stream in self._guarded)

    @property
    def _guarded(self) -> list[GuardedStream]:
        return [stream for stream in self.streams.values() if isinstance(stream, GuardedStream)]

    def _handle_event(self, event: events.Event) -> Commands:
        if isinstance(event, events.ConnectionEvent) and event.connection not in self.connections:
            return  # the end of one that was let go
        if isinstance(event, CutStream):
            for stream in self._guarded:
                if stream.exchange is event.exchange:
                    yield from self.event_to_child(stream, event)
        else:
            yield from super()._handle_event(event)
        if isinstance(self._server, GuardedHttp2Server):
            yield from self._settle(self._server)

    def _settle(self, server: GuardedHttp2Server) -> Commands:
        """Each side may send on as far as the other has taken what came."""
        clients = [(outer, http.child) for outer, http in self._upstreams.values()]

        def not_sent_up(stream_id: int) -> int:
            stream = self.streams.get(stream_id)
            waiting = stream.waiting_bytes if isinstance(stream, GuardedStream) else 0
            return waiting + sum(
                client.waiting_for(stream_id) for _, client in clients if isinstance(client, PacedHttp2Client)
            )

        if server.owes:
            yield from self.event_to_child(server, Settle(not_sent_up))
        for outer, client in clients:
            if isinstance(client, PacedHttp2Client) and client.owes:
                down = _down(client, server)
                yield from self.event_to_child(outer, Settle(down))

    def get_connection(self, event: GetHttpConnection, *, reuse: bool = True) -> Commands:
        """The upstream of this conversation, where it is open or opening; else a new connection to it."""
        self._forget_closed()
        for connection in list(self.connections) if reuse else ():
            if not event.connection_spec_matches(connection):
                continue
            if connection in self.waiting_for_establishment:
                self.waiting_for_establishment[connection].append(event)
                return
            if connection.connected:
                stream = self.command_sources.pop(event)
                found = GetHttpConnectionCompleted(event, (connection, None))
                yield from self.event_to_child(stream, found)
                return
        context = self.context.fork()
        outer, http_layer = upstream_stack(context, event, self._may_travel)
        self.connections[context.server] = outer
        self._upstreams[context.server] = (outer, http_layer)
        self.waiting_for_establishment[context.server].append(event)
        yield from self.event_to_child(outer, events.Start())

    def _may_travel(self, stream_id: int) -> bool:
        stream = self.streams.get(stream_id)
        return isinstance(stream, GuardedStream) and stream.exchange.may_travel

    def _forget_closed(self) -> None:
        """All that are over. The base class keeps every connection that ever was, and gives the error of one
        that failed as its answer from then on."""
        used = {stream.context.server for stream in self.streams.values()}
        for connection in list(self._upstreams):
            over = connection.state is ConnectionState.CLOSED
            if over and connection not in self.waiting_for_establishment and connection not in used:
                self.connections.pop(connection, None)
                del self._upstreams[connection]

    def make_stream(self, stream_id: int) -> Commands:
        head = self._server.head(stream_id)
        stream = GuardedStream(self.context.fork(), stream_id, self._conversation, head)
        self.streams[stream_id] = stream
        yield from self.event_to_child(stream, events.Start())


def _down(client: PacedHttp2Client, server: GuardedHttp2Server) -> Callable[[int], int]:
    """How much of a response waits for the application to take it, by the upstream's number of the stream."""
    return lambda stream_id: server.unsent(client.theirs(stream_id))
