"""HTTP/2 that takes no more than it can pass on.

mitmproxy grants each sender 2 GiB and acknowledges what it receives at once; what the other side does not
take yet stays in memory, a whole object if need be. Here a stream's window opens when its bytes are gone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import h2.events
from h2.connection import ConnectionState, H2Connection
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.layers.http._base import ReceiveHttp
from mitmproxy.proxy.layers.http._http2 import Http2Connection, StreamState
from mitmproxy.proxy.layers.http._http_h2 import BufferedH2Connection

# What a sender may have on its way per stream. On loopback a quarter of a MiB is plenty; towards an upstream
# it bounds the throughput: 1 MiB is 84 Mbit/s at 100 ms.
CLIENT_WINDOW: Final = 256 * 1024
UPSTREAM_WINDOW: Final = 1024 * 1024
# How many streams' windows the connection's own is worth. All together can make us hold no more.
STREAMS_AT_ONCE: Final = 8
# The protocol's own minimum and default (RFC 9113 §6.5.2). A block of fields may come in 64 frames.
MAX_FRAME: Final = 16_384
FRAME_HEADER: Final = 9  # RFC 9113 §4.1
# The default table. A peer that asks for a larger one has us search it for every field.
MAX_TABLE: Final = 4096
# HPACK's own limit for a list of fields. Ours is half of it, and answers with a reason.
MAX_HEADER_LIST: Final = 131_072


@dataclass
class Settle(events.Event):
    """Open the windows of streams whose bytes have gone on. `waiting`: how many of a stream have not."""

    waiting: Callable[[int], int]


class PacedH2(BufferedH2Connection):
    """h2 with mitmproxy's buffers, a window for the connection, and none below zero."""

    connection_window = 0

    def initiate_connection(self) -> None:
        H2Connection.initiate_connection(self)
        self.increment_flow_control_window(self.connection_window - self.inbound_flow_control_window)

    def local_flow_control_window(self, stream_id: int) -> int:
        # A peer may make it negative (RFC 9113 §6.9.2); mitmproxy would count from the end of the data.
        return max(0, super().local_flow_control_window(stream_id))


class PacedConnection(Http2Connection):
    """Mixed into mitmproxy's two HTTP/2 connections."""

    def pace(self, window: int) -> None:
        """Before anything is sent."""
        # What was received per stream, and not acknowledged.
        self._owed: dict[int, int] = {}
        self.h2_conn = PacedH2(self.h2_conf)
        self.h2_conn.connection_window = STREAMS_AT_ONCE * window
        settings = self.h2_conn.local_settings
        settings.initial_window_size = window
        settings.max_frame_size = MAX_FRAME
        self.h2_conn.max_inbound_frame_size = MAX_FRAME
        settings.acknowledge()
        self.h2_conn.decoder.max_header_list_size = MAX_HEADER_LIST

    def handle_h2_event(self, event: h2.events.Event) -> layer.CommandGenerator[bool]:
        if isinstance(event, h2.events.DataReceived):
            stream_id = event.stream_id or 0
            state = self.streams.get(stream_id)
            if state is StreamState.EXPECTING_HEADERS:
                yield from self.protocol_error("data before a head")
                return True
            owed = event.flow_controlled_length or 0
            self._owed[stream_id] = self._owed.get(stream_id, 0) + owed
            # The empty frame that ends a stream is told by StreamEnded.
            if state is StreamState.HEADERS_RECEIVED and event.data:
                yield ReceiveHttp(self.ReceiveData(stream_id, event.data))
            return False
        stop = yield from super().handle_h2_event(event)
        if isinstance(event, h2.events.RemoteSettingsChanged):
            encoder = self.h2_conn.encoder
            encoder.header_table_size = min(encoder.header_table_size, MAX_TABLE)
        return stop

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        if isinstance(event, Settle):
            yield from self._settle(event.waiting)
        else:
            yield from super()._handle_event(event)
            # h2 looks at the length of a frame when all of it is there: up to 16 MiB.
            if len(self.h2_conn.incoming_buffer._data) > FRAME_HEADER + MAX_FRAME and self._is_open:  # noqa: SLF001
                yield from self.protocol_error("a frame above the limit")

    @property
    def _is_open(self) -> bool:
        return self.h2_conn.state_machine.state is not ConnectionState.CLOSED

    def done(self, _event: events.Event) -> layer.CommandGenerator[None]:
        """The state after the end. mitmproxy's own does not know Settle."""
        yield from ()

    def _settle(self, waiting: Callable[[int], int]) -> layer.CommandGenerator[None]:
        if not self._is_open:
            return
        for stream_id, owed in list(self._owed.items()):
            gone = owed - waiting(stream_id)
            if gone > 0:
                # Also for a stream that is over: its bytes count for the connection's window.
                self.h2_conn.acknowledge_received_data(gone, stream_id)
                self._owed[stream_id] = owed - gone
                if gone == owed:
                    del self._owed[stream_id]
        if data := self.h2_conn.data_to_send():
            yield commands.SendData(self.conn, data)

    @property
    def owes(self) -> bool:
        return bool(self._owed)

    def unsent(self, stream_id: int) -> int:
        """What waits here for the peer's window."""
        return sum(len(piece.data) for piece in self.h2_conn.stream_buffers.get(stream_id, ()))
