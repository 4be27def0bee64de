"""What a server of `upstreams` has received, byte for byte, and how it is answered."""

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Protocol
from urllib.parse import parse_qs

# Of what a connection sent, this much is kept to look at; all of it is counted.
KEPT: Final = 1024 * 1024
# How long a server waits for its client's next step.
PATIENCE: Final = 10.0

Handler = Callable[["Request"], None]
Fields = tuple[tuple[str, str], ...]


class Gone(Exception):  # noqa: N818 - the other side left; nothing is wrong
    """The client has ended, or the handler wants the connection to."""


class Listener(Protocol):
    """The server that a connection came to."""

    faults: list[BaseException]

    def tell(self) -> None: ...
    def record(self, request: "Request") -> None: ...
    def handler(self, path: str) -> Handler: ...


class Connection:
    """One connection, as the server saw it."""

    def __init__(self, upstream: Listener, sock: socket.socket) -> None:
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

    def forget(self) -> None:
        """What came until now."""
        self.received = 0
        self.kept.clear()

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


def read_request(connection: Connection) -> Request:
    head = connection.recv_until(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    method, target, _ = first.decode("latin-1").split(" ")
    return Request(connection, head, method, target, _fields(lines))


def _fields(lines: Sequence[bytes]) -> Fields:
    pairs = (line.decode("latin-1").strip().partition(":") for line in lines if line.strip())
    return tuple((name, value.strip()) for name, _, value in pairs)
