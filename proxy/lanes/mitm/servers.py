"""The application's side: our own reading of each request's head, in front of mitmproxy's."""

from typing import Final

import h2.config
import h2.errors
import h2.events
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http import HttpLayer, HTTPMode
from mitmproxy.proxy.layers.http._http1 import Http1Server
from mitmproxy.proxy.layers.http._http2 import Http2Connection, Http2Server

from proxy.core.audit import Ending
from proxy.lanes.exchange import Exchange
from proxy.lanes.mitm.client_tls import HTTP2
from proxy.lanes.mitm.conversation import Conversation
from proxy.lanes.mitm.streams import GuardedStream
from proxy.transaction.head import Head, HeadProblem, head_of_http1, head_of_http2, problem_of
from proxy.wire.h2_request import h2_trailers_fault
from proxy.wire.outcomes import BadHead, NeedMore
from proxy.wire.request_head import read_request_head

Commands = layer.CommandGenerator[None]

# HPACK's own limit. Ours is half of it and answers with a reason; this one ends the connection.
MAX_H2_HEADER_LIST: Final = 131_072


class GuardedHttp1Server(Http1Server):
    """Reads heads strictly, with limits in size and time, and answers what it cannot read."""

    def __init__(self, context: Context, conversation: Conversation) -> None:
        super().__init__(context)
        self._conversation = conversation
        self._heads: dict[int, Head] = {}
        self._waiting = False  # for the rest of a head, with a timer running
        self._timer = 0

    def head(self, stream_id: int) -> Head:
        return self._heads.pop(stream_id)

    def _handle_event(self, event: events.Event) -> Commands:
        if isinstance(event, events.Wakeup):
            if self._waiting and self._timer == self.stream_id:
                yield commands.CloseConnection(self.conn)
            return
        yield from super()._handle_event(event)

    def read_headers(self, event: events.ConnectionEvent) -> Commands:
        if not isinstance(event, events.DataReceived):
            # Not mitmproxy's way: it would log what was read so far.
            yield commands.CloseConnection(self.conn)
            return
        data = bytes(self.buf)
        reading = read_request_head(data)
        if isinstance(reading, NeedMore):
            if len(self.buf) and not self._waiting:
                self._waiting, self._timer = True, self.stream_id
                yield commands.RequestWakeup(self._conversation.world.timeouts.header)
            return
        self._waiting = False
        head = problem_of(reading) if isinstance(reading, BadHead) else head_of_http1(reading)
        if isinstance(head, HeadProblem):
            yield from self._refuse(head)
            return
        if data.startswith(b"\r\n"):  # RFC 9112 §2.2: one empty line may come first
            self.buf.maybe_extract_at_most(2)
        self._heads[self.stream_id] = head
        yield from super().read_headers(event)

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
        # Half closed: to close while the client still sends would reset the connection under our answer.
        yield commands.CloseTcpConnection(self.conn, half_close=True)
        yield commands.RequestWakeup(self._conversation.world.timeouts.header)
        self._waiting, self._timer = True, self.stream_id

    def _drop(self, event: events.Event) -> Commands:
        self.buf.maybe_extract_at_most(len(self.buf))
        if isinstance(event, events.ConnectionClosed):
            yield commands.CloseConnection(self.conn)


class GuardedHttp2Server(Http2Server):
    """Judges field lists itself; h2's own validation differs from release to release, and its answer to a bad
    one is the end of the connection."""

    h2_conf = h2.config.H2Configuration(**Http2Connection.h2_conf_defaults, client_side=False)

    def __init__(self, context: Context, conversation: Conversation) -> None:
        super().__init__(context)
        self._conversation = conversation
        self._heads: dict[int, Head] = {}
        self.h2_conn.config.validate_inbound_headers = False
        self.h2_conn.decoder.max_header_list_size = MAX_H2_HEADER_LIST

    def head(self, stream_id: int) -> Head:
        return self._heads.pop(stream_id)

    def handle_h2_event(self, event: h2.events.Event) -> layer.CommandGenerator[bool]:
        if isinstance(event, h2.events.RequestReceived):
            stream_id, ended = event.stream_id or 0, event.stream_ended is not None
            fields = [(bytes(name), bytes(value)) for name, value in event.headers or ()]
            head = head_of_http2(fields, ended=ended)
            if isinstance(head, HeadProblem):
                self._refuse(stream_id, head, ended=ended)
                return False
            self._heads[stream_id] = head
        elif isinstance(event, h2.events.TrailersReceived):
            fields = [(bytes(name), bytes(value)) for name, value in event.headers or ()]
            if h2_trailers_fault(fields) is not None:
                return (yield from self._end())
        return (yield from super().handle_h2_event(event))

    def _refuse(self, stream_id: int, problem: HeadProblem, *, ended: bool) -> None:
        exchange: Exchange = self._conversation.exchange(problem)
        answer = exchange.answer(exchange.open_unreadable())
        fields = [(":status", str(answer.status)), *((k.lower(), v) for k, v in answer.headers)]
        self.h2_conn.send_headers(
            stream_id,
            [(k.encode("latin-1"), v.encode("latin-1")) for k, v in fields],
            end_stream=not answer.body,
        )
        if answer.body:
            self.h2_conn.send_data(stream_id, answer.body, end_stream=True)
        if not ended:
            # RFC 9113 §8.1: the answer is complete, and the rest of the request is of no interest.
            self.h2_conn.reset_stream(stream_id, h2.errors.ErrorCodes.NO_ERROR.value)
        exchange.finish(Ending.REFUSED)

    def _end(self) -> layer.CommandGenerator[bool]:
        """Trailers that could be taken for a head are nobody's mistake: the connection ends."""
        yield from super().protocol_error("malformed trailers")
        return True


class GuardedHttpLayer(HttpLayer):
    """mitmproxy's HTTP layer with our servers and our streams in it."""

    def __init__(self, context: Context, conversation: Conversation) -> None:
        super().__init__(context, HTTPMode.transparent)
        self._conversation = conversation
        self._server: GuardedHttp1Server | GuardedHttp2Server
        if context.client.alpn == HTTP2:
            self._server = GuardedHttp2Server(self.context.fork(), conversation)
        else:
            self._server = GuardedHttp1Server(self.context.fork(), conversation)
        # The base class keeps a server that is there already.
        self.connections[context.client] = self._server

    def make_stream(self, stream_id: int) -> Commands:
        head = self._server.head(stream_id)
        stream = GuardedStream(self.context.fork(), stream_id, self._conversation, head)
        self.streams[stream_id] = stream
        yield from self.event_to_child(stream, events.Start())
