"""Servers out on the internet, beyond the pod: they do as a test tells them, and tell what they received.

    with Upstream(tls_context(chain, key), {"/v1": echo}, ns=net.net) as upstream:
        ...
    assert upstream.requests[0].header("authorization") == ["Bearer …"]

A server listens in the namespace and is served by threads of the test's own process, so that a handler is a
plain function, and a test shares events and lists with it. HTTP/2 is in `upstreams_h2`, gRPC in
`upstreams_grpc`.
"""

import base64
import hashlib
import json
import os
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Self
from urllib.parse import parse_qs, quote

from websockets.frames import Opcode
from websockets.http11 import Request as WebSocketRequest
from websockets.server import ServerProtocol

from tests.netns import INTERNET_V4, INTERNET_V6, NAMESPACES

# Of what a connection sent, this much is kept to look at; all of it is counted.
KEPT: Final = 1024 * 1024
# How long a test waits for something to arrive before it fails.
PATIENCE: Final = 10.0
STEP: Final = 0.01
BLOCK: Final = bytes(256 * 1024)

Handler = Callable[["Request"], None]
Fields = tuple[tuple[str, str], ...]


class Gone(Exception):  # noqa: N818 - the other side left; nothing is wrong
    """The client has ended, or the handler wants the connection to."""


# --- what was received ----------------------------------------------------------------------------


class Connection:
    """One connection, as the server saw it."""

    def __init__(self, upstream: "Upstream", sock: socket.socket) -> None:
        self.upstream = upstream
        self.sock = sock
        self.sni: str | None = None
        self.alpn: str | None = None
        self.handshake_done = False
        self.fault = ""  # why its handshake failed
        self.kept = bytearray()  # application bytes, from the first on
        self.received = 0
        self.ended = threading.Event()
        self._buffer = b""

    def recv(self, size: int = 65_536) -> bytes:
        """Empty when the client has ended."""
        if self._buffer:
            data, self._buffer = self._buffer[:size], self._buffer[size:]
            return data
        try:
            data = self.sock.recv(size)
        except OSError:
            return b""
        self.note(data)
        return data

    def note(self, data: bytes) -> None:
        self.received += len(data)
        if len(self.kept) < KEPT:
            self.kept += data[: KEPT - len(self.kept)]

    def recv_until(self, mark: bytes) -> bytes:
        data = b""
        while mark not in data:
            more = self.recv()
            if not more:
                raise Gone
            data += more
        end = data.index(mark) + len(mark)
        self._buffer = data[end:] + self._buffer
        return data[:end]

    def recv_exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self.recv(size - len(data))
            if not more:
                raise Gone
            data += more
        return data

    def send(self, data: bytes) -> None:
        try:
            self.sock.sendall(data)
        except OSError:
            raise Gone from None

    def wait_for_end(self) -> None:
        """Until the client has closed the connection."""
        while self.recv():
            pass

    def close(self) -> None:
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()


@dataclass(eq=False)
class Request:
    """A request in HTTP/1.1; `upstreams_h2` has its kin. `head` is what came, byte for byte."""

    connection: Connection
    head: bytes
    method: str
    target: str
    fields: Fields
    body_size: int = 0
    body: bytes = b""  # its beginning
    trailers: Fields = ()
    complete: bool = False  # its body came to its end
    version: str = "HTTP/1.1"
    arrived: float = field(default_factory=time.monotonic)
    _chunked: bool = False

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> dict[str, str]:
        return {name: values[-1] for name, values in parse_qs(self.target.partition("?")[2]).items()}

    def header(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def pieces(self) -> Iterator[bytes]:
        """The body as it comes."""
        for piece in self._pieces():
            self.body_size += len(piece)
            if len(self.body) < KEPT:
                self.body += piece[: KEPT - len(self.body)]
            yield piece
        self.complete = True
        self.connection.upstream.tell()

    def read(self) -> None:
        for _ in self.pieces():
            pass

    def _pieces(self) -> Iterator[bytes]:
        if "chunked" in "".join(self.header("transfer-encoding")).lower():
            while size := int(self.connection.recv_until(b"\r\n").partition(b";")[0], 16):
                yield self.connection.recv_exactly(size)
                self.connection.recv_exactly(2)
            lines = []
            while (line := self.connection.recv_until(b"\r\n")) != b"\r\n":
                lines.append(line)
            self.trailers = _fields(lines)
            return
        left = int((self.header("content-length") or ["0"])[0])
        while left:
            piece = self.connection.recv(min(left, 65_536))
            if not piece:
                raise Gone
            left -= len(piece)
            yield piece

    def wait_for_end(self) -> None:
        """Until the client gave it up."""
        self.connection.wait_for_end()

    # --- the answer ---

    def start(self, status: int, *fields: tuple[str, str]) -> None:
        """The head of an answer. A body without a length is sent in chunks."""
        names = {name.lower() for name, _ in fields}
        bodiless = status in {204, 304} or status < 200 or self.method == "HEAD"
        self._chunked = not bodiless and "content-length" not in names
        lines = [f"HTTP/1.1 {status} Fine", *(f"{name}: {value}" for name, value in fields)]
        if self._chunked:
            lines.append("transfer-encoding: chunked")
        self.connection.send("\r\n".join([*lines, "", ""]).encode("latin-1"))

    def send(self, data: bytes) -> None:
        if self._chunked:
            data = b"%x\r\n%s\r\n" % (len(data), data)
        self.connection.send(data)

    def end(self, *trailers: tuple[str, str]) -> None:
        if self._chunked:
            lines = ["0", *(f"{name}: {value}" for name, value in trailers), "", ""]
            self.connection.send("\r\n".join(lines).encode("latin-1"))

    def answer(self, status: int, body: bytes = b"", content_type: str = "application/json") -> None:
        self.start(status, ("content-type", content_type), ("content-length", str(len(body))))
        if self.method != "HEAD" and body:
            self.send(body)
        self.end()


# --- the server ------------------------------------------------------------------------------------


class Upstream:
    """A listener on some addresses, and everything that came to it.

    `context`: None accepts TCP and says nothing at all. `routes` go by path; what has none goes to `echo`.
    """

    def __init__(
        self,
        context: ssl.SSLContext | None,
        routes: Mapping[str, Handler] = MappingProxyType({}),
        *,
        ns: str | None = None,
        addresses: Sequence[str] = (INTERNET_V4, INTERNET_V6),
        port: int = 443,
    ) -> None:
        self._context = context
        self.routes = dict(routes)
        self._places = [(ns, address, port) for address in addresses]
        self._listeners: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._changed = threading.Condition()
        self._closing = False
        self._open: list[Connection] = []
        self.connections: list[Connection] = []
        self.requests: list[Request] = []
        # A handler that failed; raised when the server is closed.
        self.faults: list[BaseException] = []
        if context is not None:
            context.sni_callback = _note_name

    def __enter__(self) -> Self:
        for place in self._places:
            self._listeners.append(listen_in(*place))
        for listener in self._listeners:
            self._go(self._accept, listener)
        return self

    def __exit__(self, *_error: object) -> None:
        self._closing = True
        for listener in self._listeners:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # ends the accept
            listener.close()
        for connection in list(self._open):
            connection.close()
        self.tell()
        for thread in self._threads:
            thread.join(PATIENCE)
        if self.faults:
            raise self.faults[0]

    @property
    def port(self) -> int:
        return int(self._listeners[0].getsockname()[1])

    @property
    def received(self) -> int:
        """Application bytes: after the handshake, and of all connections together."""
        return sum(connection.received for connection in self.connections)

    def seen(self, text: str | bytes) -> bool:
        """Whether it arrived, in whatever part of a request that is kept."""
        wanted = text.encode("latin-1") if isinstance(text, str) else text
        return any(wanted in connection.kept for connection in self.connections)

    def clear(self) -> None:
        """Forget what was recorded. Connections that are still open go on, and are not listed any more."""
        self.requests.clear()
        self.connections.clear()

    def tell(self) -> None:
        """Something changed that a test may be waiting for."""
        with self._changed:
            self._changed.notify_all()

    def wait_until(self, what: Callable[[], bool], seconds: float = PATIENCE) -> None:
        deadline = time.monotonic() + seconds
        with self._changed:
            while not what():
                if time.monotonic() > deadline:
                    raise AssertionError(f"not within {seconds} s: {what}")
                # Bytes are counted without a word; everything else is told.
                self._changed.wait(STEP)

    def record(self, request: Request) -> None:
        self.requests.append(request)
        self.tell()

    def handler(self, path: str) -> Handler:
        return self.routes.get(path, echo)

    def _go(self, work: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(self, sock)
            self._open.append(connection)
            self.connections.append(connection)
            self.tell()
            self._go(self._serve, connection)

    def _serve(self, connection: Connection) -> None:
        try:
            self._converse(connection)
        except Gone:
            pass
        except Exception as error:  # noqa: BLE001 - told to the test
            if not self._closing:
                self.faults.append(error)
        finally:
            connection.close()
            self._open.remove(connection)
            connection.ended.set()
            self.tell()

    def _converse(self, connection: Connection) -> None:
        if self._context is None:
            connection.wait_for_end()
            return
        try:
            tls = self._context.wrap_socket(
                connection.sock, server_side=True, do_handshake_on_connect=False, suppress_ragged_eofs=True
            )
            connection.sock = tls
            tls.connection = connection  # type: ignore[attr-defined] # for _note_name
            tls.do_handshake()
        except OSError as error:  # an SSLError is one
            connection.fault = str(error)
            return
        connection.handshake_done = True
        connection.alpn = tls.selected_alpn_protocol()
        if connection.alpn == "h2":
            from tests.upstreams_h2 import serve_http2  # noqa: PLC0415 - it stands on this module

            serve_http2(connection)
            return
        while True:
            request = _read_request(connection)
            self.record(request)
            self.handler(request.path)(request)


def _note_name(tls: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
    connection = getattr(tls, "connection", None)
    if connection is not None:
        connection.sni = name


def _read_request(connection: Connection) -> Request:
    head = connection.recv_until(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    method, target, _ = first.decode("latin-1").split(" ")
    return Request(connection, head, method, target, _fields(lines))


def _fields(lines: Sequence[bytes]) -> Fields:
    pairs = (line.decode("latin-1").strip().partition(":") for line in lines if line.strip())
    return tuple((name, value.strip()) for name, _, value in pairs)


def listen_in(ns: str | None, host: str, port: int) -> socket.socket:
    """A listening socket in a namespace: only the thread that makes it has to be there."""
    made: list[socket.socket | BaseException] = []

    def make() -> None:
        try:
            if ns is not None:
                enter(ns)
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            made.append(socket.create_server((host, port), family=family, backlog=256))
        except OSError as error:
            made.append(error)

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    if isinstance(made[0], BaseException):
        raise made[0]
    return made[0]


def enter(ns: str) -> None:
    """Move the calling thread, and only it, into a network namespace."""
    with (NAMESPACES / ns).open("rb") as handle:
        os.setns(handle.fileno(), os.CLONE_NEWNET)


def tls_context(
    chain: Path, key: Path | None = None, *, alpn: Sequence[str] = ("http/1.1",)
) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


# --- handlers for any version ------------------------------------------------------------------------


def echo(request: Request) -> None:
    """What came, as JSON."""
    digest = hashlib.sha256()
    for piece in request.pieces():
        digest.update(piece)
    told = {
        "head": request.head.decode("latin-1"),
        "length": request.body_size,
        "sha256": digest.hexdigest(),
        "trailers": request.trailers,
    }
    request.answer(200, json.dumps(told).encode())


def discard(request: Request) -> None:
    request.read()
    request.answer(200, json.dumps({"length": request.body_size}).encode())


def produce(request: Request) -> None:
    """`?bytes=N`: that many, from no memory."""
    request.read()
    left = int(request.query["bytes"])
    request.start(200, ("content-type", "application/octet-stream"), ("content-length", str(left)))
    while left:
        piece = BLOCK if left >= len(BLOCK) else BLOCK[:left]
        request.send(piece)
        left -= len(piece)
    request.end()


def answering(status: int, body: bytes = b"", *fields: tuple[str, str]) -> Handler:
    """Exactly these fields, and the length where there is a body."""

    def handle(request: Request) -> None:
        request.read()
        length = (("content-length", str(len(body))),) if body else ()
        request.start(status, *fields, *length)
        if body and request.method != "HEAD":
            request.send(body)
        request.end()

    return handle


class Events:
    """Server-sent events, each when the test says so, with the time at which it left."""

    def __init__(self, content_type: str = "text/event-stream") -> None:
        self._content_type = content_type
        self._wanted: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def release(self, text: str) -> None:
        self._wanted.put(text)

    def finish(self) -> None:
        self._wanted.put(None)

    def __call__(self, request: Request) -> None:
        request.read()
        request.start(200, ("content-type", self._content_type), ("cache-control", "no-store"))
        while (text := self._wanted.get()) is not None:
            told = json.dumps({"sent": time.monotonic(), "text": text})
            request.send(f"data: {told}\n\n".encode())
        request.end()


def stall(request: Request) -> None:
    """Reads, and never answers."""
    request.read()
    request.wait_for_end()
    raise Gone


def reflect(request: Request) -> None:
    """Shows the credential that it was sent: `?form=` as it is or encoded, `&where=` in the body, a header or
    a trailer, `&cut=` in two pieces, `&status=`, `&type=`."""
    request.read()
    query = request.query
    secret = request.header("authorization")[0].partition(" ")[2]
    shown = FORMS[query.get("form", "raw")](secret.encode())
    where = query.get("where", "body")
    told = (("x-debug", f"you sent <{shown.decode()}>"),)
    status, kind = int(query.get("status", "200")), query.get("type", "text/plain")
    if where == "early":
        request.start(103, ("link", f"</{shown.decode()}>; rel=preload"))
    request.start(status, ("content-type", kind), *(told if where == "header" else ()))
    body = b"you sent <" + (shown if where == "body" else b"it") + b">, and nothing else"
    cut = int(query.get("cut", "0")) + len(b"you sent <")
    request.send(body[:cut])
    request.send(body[cut:])
    request.end(*(told if where == "trailer" else ()))


FORMS: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "raw": bytes,
    "base64": base64.b64encode,
    "base64url": base64.urlsafe_b64encode,
    "basic": lambda secret: base64.b64encode(b"user:" + secret),
    "basic2": lambda secret: base64.b64encode(b"me:" + secret + b"\n"),
    "url": lambda secret: quote(secret, safe="").encode(),
}


class Gate:
    """Holds a request until the test opens it, and then lets another handler answer."""

    def __init__(self, then: Handler) -> None:
        self._then = then
        self.open = threading.Event()

    def __call__(self, request: Request) -> None:
        self.open.wait(PATIENCE)
        self._then(request)


# --- handlers for HTTP/1.1 ---------------------------------------------------------------------------


def hang_up(_request: Request) -> None:
    """Closes after the head."""
    raise Gone


def raw(*pieces: bytes, closes: bool = True) -> Handler:
    """These bytes, each in a TLS record of its own."""

    def handle(request: Request) -> None:
        request.read()
        for piece in pieces:
            request.connection.send(piece)
        if closes:
            raise Gone

    return handle


def drip(pieces: int, pause: float) -> Handler:
    """A body of some bytes with a pause before each."""

    def handle(request: Request) -> None:
        request.read()
        request.start(200, ("content-type", "text/plain"), ("content-length", str(pieces)))
        for _ in range(pieces):
            request.connection.ended.wait(pause)
            request.send(b".")
        request.end()

    return handle


def websocket(request: Request) -> None:
    """Echoes messages; pings are answered, and a close is."""
    protocol = ServerProtocol()
    protocol.receive_data(request.head)
    (opening,) = protocol.events_received()
    if not isinstance(opening, WebSocketRequest):
        raise TypeError("not the head of a WebSocket")
    protocol.send_response(protocol.accept(opening))
    while True:
        for data in protocol.data_to_send():
            if not data:
                raise Gone
            request.connection.send(data)
        data = request.connection.recv()
        if not data:
            raise Gone
        protocol.receive_data(data)
        for frame in protocol.events_received():
            if frame.opcode is Opcode.TEXT:
                protocol.send_text(frame.data)
            elif frame.opcode is Opcode.BINARY:
                protocol.send_binary(frame.data)
