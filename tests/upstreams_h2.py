"""The HTTP/2 side of `upstreams`: one thread reads a connection, and each stream's handler has its own."""

import queue
import select
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events
import h2.exceptions

from tests.upstream_requests import PATIENCE, Connection, Fields, Gone, Request

RawFields = tuple[tuple[bytes, bytes], ...]


@dataclass(eq=False)
class Stream(Request):
    """A request in HTTP/2. `raw` is its field list as HPACK gave it, `head` the same as text."""

    session: "Session" = field(kw_only=True)
    stream_id: int = field(kw_only=True)
    raw: RawFields = field(kw_only=True)
    reset: threading.Event = field(default_factory=threading.Event)
    came: "queue.SimpleQueue[bytes | None]" = field(default_factory=queue.SimpleQueue)

    def _pieces(self) -> Iterator[bytes]:
        while (piece := self.came.get(timeout=PATIENCE)) is not None:
            yield piece
            self.session.taken(self.stream_id, len(piece))
        if self.reset.is_set():
            raise Gone

    def wait_for_end(self) -> None:
        self.reset.wait()

    def start(self, status: int, *fields: tuple[str, str]) -> None:
        self.session.send_headers(self.stream_id, ((":status", str(status)), *fields))

    def send(self, data: bytes) -> None:
        self.session.send_data(self.stream_id, data)

    def end(self, *trailers: tuple[str, str]) -> None:
        self.session.end(self.stream_id, trailers)


class Session:
    """An h2 connection that several threads write to. OpenSSL takes one of them at a time."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._tls = connection.sock
        self._h2 = h2.connection.H2Connection(
            # What came is recorded as it came: to judge it is the proxy's business.
            h2.config.H2Configuration(client_side=False, header_encoding=None, validate_inbound_headers=False)
        )
        self._lock = threading.Condition(threading.RLock())
        self._streams: dict[int, Stream] = {}
        self._threads: list[threading.Thread] = []
        self._gone = False

    def serve(self) -> None:
        self._tls.setblocking(False)  # noqa: FBT003 - the socket module's own
        with self._lock:
            self._h2.initiate_connection()
            self._flush()
        try:
            while data := self._read():
                with self._lock:
                    for event in self._h2.receive_data(data):
                        self._take(event)
                    self._flush()
                    self._lock.notify_all()
        except h2.exceptions.ProtocolError as error:
            self._connection.fault = str(error)
        finally:
            with self._lock:
                self._gone = True
                self._lock.notify_all()
            for stream in self._streams.values():
                stream.reset.set()
                stream.came.put(None)
            self._connection.upstream.tell()
            for thread in self._threads:
                thread.join(PATIENCE)

    def _read(self) -> bytes:
        while True:
            with self._lock:
                try:
                    data = self._tls.recv(65_536)
                except (ssl.SSLWantReadError, BlockingIOError):
                    data = None
                except OSError:
                    return b""
            if data is not None:
                self._connection.note(data)
                return data
            with suppress(OSError, ValueError):  # closed in the meantime
                select.select([self._tls], [], [], PATIENCE)

    def _take(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.RequestReceived(stream_id=number, headers=fields):
                self._open(number or 0, tuple((bytes(name), bytes(value)) for name, value in fields or ()))
                if event.stream_ended:
                    self._streams[number or 0].came.put(None)
            case h2.events.DataReceived(stream_id=number, data=data):
                # What padding took of the window is given back at once, the rest when a handler has read it.
                padding = (event.flow_controlled_length or 0) - len(event.data or b"")
                self._h2.acknowledge_received_data(padding, number or 0)
                self._streams[number or 0].came.put(data or b"")
            case h2.events.TrailersReceived(stream_id=number, headers=fields):
                self._streams[number or 0].trailers = _text(tuple(fields or ()))
            case h2.events.StreamEnded(stream_id=number):
                self._streams[number or 0].came.put(None)
            case h2.events.StreamReset(stream_id=number):
                self._streams[number or 0].reset.set()
                self._streams[number or 0].came.put(None)
                self._connection.upstream.tell()

    def _open(self, number: int, raw: RawFields) -> None:
        fields = _text(raw)
        pseudo = dict(fields)
        head = "".join(f"{name}: {value}\r\n" for name, value in fields).encode("latin-1")
        stream = self._streams[number] = Stream(
            self._connection,
            head,
            pseudo.get(":method", ""),
            pseudo.get(":path", ""),
            fields,
            version="HTTP/2",
            session=self,
            stream_id=number,
            raw=raw,
        )
        self._connection.upstream.record(stream)
        thread = threading.Thread(target=self._handle, args=(stream,), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _handle(self, stream: Stream) -> None:
        upstream = self._connection.upstream
        try:
            upstream.handler(stream.path)(stream)
        except Gone:
            if not stream.reset.is_set():
                # The handler wants to be gone, and not only from this stream.
                self._connection.close()
        except Exception as error:  # noqa: BLE001 - told to the test
            if not stream.reset.is_set():
                upstream.faults.append(error)

    # --- out ---

    def send_headers(self, number: int, fields: Fields) -> None:
        with self._lock, suppress(h2.exceptions.ProtocolError):
            self._h2.send_headers(number, fields)
            self._flush()

    def send_data(self, number: int, data: bytes) -> None:
        while data:
            with self._lock:
                self._lock.wait_for(lambda: self._gone or self._room(number) > 0, PATIENCE)
                size = min(self._room(number), self._h2.max_outbound_frame_size, len(data))
                if self._gone or size <= 0:
                    raise Gone
                self._h2.send_data(number, data[:size])
                self._flush()
            data = data[size:]

    def end(self, number: int, trailers: Fields) -> None:
        with self._lock, suppress(h2.exceptions.ProtocolError):
            if trailers:
                self._h2.send_headers(number, trailers, end_stream=True)
            else:
                self._h2.end_stream(number)
            self._flush()

    def taken(self, number: int, size: int) -> None:
        """Open the window again."""
        with self._lock, suppress(h2.exceptions.ProtocolError):
            self._h2.acknowledge_received_data(size, number)
            self._flush()

    def _room(self, number: int) -> int:
        try:
            return self._h2.local_flow_control_window(number)
        except h2.exceptions.ProtocolError:
            return 0

    def _flush(self) -> None:
        data = self._h2.data_to_send()
        while data:
            try:
                data = data[self._tls.send(data) :]
            except (ssl.SSLWantWriteError, BlockingIOError):
                select.select([], [self._tls], [], PATIENCE)
            except OSError:
                return


def serve_http2(connection: Connection) -> None:
    Session(connection).serve()


def _text(fields: RawFields) -> Fields:
    return tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in fields)
