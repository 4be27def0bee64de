"""HTTP/2 frames that no library would send, and what comes back, read by one."""

import ssl
from collections.abc import Sequence
from contextlib import suppress

import h2.config
import h2.connection
import h2.events
from hpack import Encoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    HeadersFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from tests.raw_client import Answer

Field = tuple[bytes, bytes]

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class Http2:
    """Writes frames that no library would send, and has one read what comes back."""

    def __init__(self, window: int | None = None) -> None:
        """`window`: what each stream, and the connection, may be sent; 64 KiB otherwise."""
        self._encoder = Encoder()
        self._reader = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=True, validate_outbound_headers=False)
        )
        self._reader.initiate_connection()
        settings = {} if window is None else {SettingsFrame.INITIAL_WINDOW_SIZE: window}
        self.sent = PREFACE + SettingsFrame(0, settings).serialize()
        if window is not None:
            self.sent += WindowUpdateFrame(0, window - 65_535).serialize()

    def open(self, stream: int, fields: Sequence[Field], *, ends: bool = True) -> None:
        # The reader only has to know of the stream.
        self._reader.send_headers(
            stream, [(":method", "GET"), (":path", "/"), (":scheme", "https"), (":authority", "a")]
        )
        block = self._encoder.encode([(name, value, True) for name, value in fields], huffman=False)
        parts = [block[at : at + 16_000] for at in range(0, len(block), 16_000)]
        frames: list[Frame] = [
            HeadersFrame(stream, parts[0]),
            *(ContinuationFrame(stream, part) for part in parts[1:]),
        ]
        frames[-1].flags.add("END_HEADERS")
        if ends:
            frames[0].flags.add("END_STREAM")
        self.sent += b"".join(frame.serialize() for frame in frames)

    def data(self, stream: int, data: bytes, *, ends: bool = True) -> None:
        frame = DataFrame(stream, data)
        if ends:
            frame.flags.add("END_STREAM")
        self.sent += frame.serialize()

    def trailers(self, stream: int, fields: Sequence[Field]) -> None:
        frame = HeadersFrame(stream, self._encoder.encode(list(fields)), flags=["END_HEADERS", "END_STREAM"])
        self.sent += frame.serialize()

    def read(self, data: bytes) -> dict[int, Answer | str]:
        """What became of each stream: an answer, or how it was reset. 0 is the whole connection."""
        outcome: dict[int, Answer | str] = {}
        heads: dict[int, list[tuple[str, str]]] = {}
        bodies: dict[int, bytes] = {}
        trailers: dict[int, list[tuple[str, str]]] = {}
        for event in self._reader.receive_data(data):
            match event:
                case h2.events.ResponseReceived():
                    heads[event.stream_id] = [(n.decode(), v.decode("latin-1")) for n, v in event.headers]
                case h2.events.DataReceived():
                    bodies[event.stream_id] = bodies.get(event.stream_id, b"") + event.data
                case h2.events.TrailersReceived():
                    trailers[event.stream_id] = [(n.decode(), v.decode("latin-1")) for n, v in event.headers]
                case h2.events.StreamEnded():
                    fields = heads[event.stream_id]
                    status = int(dict(fields)[":status"])
                    body = bodies.get(event.stream_id, b"")
                    outcome[event.stream_id] = Answer(
                        status, tuple(fields), body, tuple(trailers.get(event.stream_id, ()))
                    )
                case h2.events.StreamReset():
                    outcome.setdefault(event.stream_id, f"reset {event.error_code}")
                case h2.events.ConnectionTerminated():
                    outcome[0] = f"goaway {event.error_code}"
        return outcome


def push(sock: ssl.SSLSocket, fields: Sequence[Field], size: int) -> int:
    """Send a request with a body as the windows allow. How much went, when no window opens any more within
    the socket's time-out."""
    client = h2.connection.H2Connection()
    client.initiate_connection()
    client.send_headers(1, fields)
    taken = 0
    with suppress(TimeoutError):
        while taken < size:
            room = min(client.local_flow_control_window(1), client.max_outbound_frame_size, size - taken)
            if room:
                client.send_data(1, bytes(room))
                taken += room
            sock.sendall(client.data_to_send())
            if not room:
                came = sock.recv(65_536)
                if not came:
                    break
                client.receive_data(came)
    return taken
