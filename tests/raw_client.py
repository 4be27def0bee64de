"""A client in the pod that sends exactly the bytes it is given, over TLS, and gives back what came.

    with RawClient(pod, ca_file) as client:
        reply = client.talk(b"GET / HTTP/1.1\\r\\n…", answers=1)

Run as a program it is the part that lives in the pod: it speaks JSON lines on its standard streams and knows
nothing of HTTP but where an answer ends. What it is told to send is composed in the test.
"""

import base64
import json
import os
import select
import socket
import ssl
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import PIPE
from typing import Any, Final, Self

# A client that gets no answer says so after this many seconds.
PATIENCE: Final = 8.0
END_STREAM: Final = 0x1
DATA, HEADERS, RST_STREAM, GOAWAY = 0, 1, 3, 7

# --- in the test -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    """One response in HTTP/1.1, as it came."""

    status: int
    fields: tuple[tuple[str, str], ...]
    body: bytes
    trailers: tuple[tuple[str, str], ...] = ()
    whole: bool = True  # its end came

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.fields if key.lower() == name), None)

    @property
    def reason(self) -> str | None:
        return self.header("podkey-reason")


@dataclass(frozen=True)
class Reply:
    """Everything that came on one connection. `end`: `eof`, `reset`, `timeout`, or `enough`; or what failed."""

    data: bytes
    end: str
    seconds: float
    alpn: str | None

    @property
    def answers(self) -> list[Answer]:
        return read_answers(self.data)

    @property
    def final(self) -> list[Answer]:
        """Without those that come before the answer."""
        return [answer for answer in self.answers if answer.status >= 200 or answer.status == 101]


def read_answers(data: bytes, methods: Sequence[str] = ()) -> list[Answer]:
    """All responses in what came; the last may be cut."""
    answers: list[Answer] = []
    wanted = list(methods)
    while b"\r\n\r\n" in data:
        head, _, data = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        status = int(first.split(" ")[1])
        fields = _pairs(lines)
        values = {name.lower(): value for name, value in fields}
        bodiless = status < 200 or status in {204, 304}
        if not bodiless and wanted and wanted.pop(0) == "HEAD":
            bodiless = True
        trailers: tuple[tuple[str, str], ...] = ()
        whole, body = True, b""
        if not bodiless and values.get("transfer-encoding") == "chunked":
            body, trailers, data, whole = _chunks(data)
        elif not bodiless:
            size = int(values.get("content-length", len(data)))
            body, data, whole = data[:size], data[size:], len(data) >= size
        answers.append(Answer(status, fields, body, trailers, whole))
    return answers


def _chunks(data: bytes) -> tuple[bytes, tuple[tuple[str, str], ...], bytes, bool]:
    body = b""
    while b"\r\n" in data:
        line, _, rest = data.partition(b"\r\n")
        size = int(line.partition(b";")[0], 16)
        if size == 0:
            if rest.startswith(b"\r\n"):
                return body, (), rest[2:], True
            head, found, after = rest.partition(b"\r\n\r\n")
            return body, _pairs(head.decode("latin-1").split("\r\n")), after, bool(found)
        if len(rest) < size + 2:
            return body + rest[:size], (), b"", False
        body, data = body + rest[:size], rest[size + 2 :]
    return body, (), b"", False


def _pairs(lines: Sequence[str]) -> tuple[tuple[str, str], ...]:
    pairs = (line.partition(":") for line in lines if line)
    return tuple((name, value.strip()) for name, _, value in pairs)


@dataclass
class RawClient:
    """Starts the program by `popen`, which is given its command line."""

    popen: Callable[..., Any]
    ca_file: Path
    address: str
    name: str
    _process: Any = field(default=None, init=False)

    def __enter__(self) -> Self:
        self._process = self.popen([sys.executable, __file__], stdin=PIPE, stdout=PIPE)
        return self

    def __exit__(self, *_error: object) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            stream.close()
        self._process.wait(10)

    def talk(  # noqa: PLR0917 - one connection
        self,
        *pieces: bytes,
        answers: int | None = None,
        streams: int | None = None,
        name: str | None = None,
        alpn: Sequence[str] = (),
        pause: float = 0.0,
        after_answer: Sequence[bytes] = (),
        half_close: bool = False,
        tls: bool = True,
        patience: float = PATIENCE,
    ) -> Reply:
        """Open a connection, send, read, close.

        Reads until the server ends; or until so many `answers` of HTTP/1.1 came whole, or so many `streams`
        of HTTP/2 ended. `after_answer`: sent when the first response's head is there.
        """
        asked = {
            "address": self.address,
            "name": name or self.name,
            "alpn": list(alpn),
            "pieces": [base64.b64encode(piece).decode() for piece in pieces],
            "after": [base64.b64encode(piece).decode() for piece in after_answer],
            "answers": answers,
            "streams": streams,
            "pause": pause,
            "half_close": half_close,
            "tls": tls,
            "patience": patience,
            "ca": str(self.ca_file),
        }
        self._process.stdin.write(json.dumps(asked).encode() + b"\n")
        self._process.stdin.flush()
        told = json.loads(self._process.stdout.readline())
        return Reply(base64.b64decode(told["data"]), told["end"], told["seconds"], told["alpn"])


# --- in the pod --------------------------------------------------------------------------------------


def serve() -> None:
    for line in sys.stdin.buffer:
        print(json.dumps(converse(json.loads(line))), flush=True)


def converse(asked: dict[str, Any]) -> dict[str, Any]:
    began = time.monotonic()
    told: dict[str, Any] = {"data": "", "alpn": None}
    data = b""
    try:
        with socket.create_connection((asked["address"], 443), timeout=asked["patience"]) as plain:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock: Any = _handshake(plain, asked) if asked["tls"] else plain
            told["alpn"] = sock.selected_alpn_protocol() if asked["tls"] else None
            data, told["end"] = _exchange(sock, asked, began + asked["patience"])
            sock.close()
    except ConnectionResetError:
        told["end"] = "reset"
    except OSError as error:
        told["end"] = f"{type(error).__name__}: {error}"
    told["data"] = base64.b64encode(data).decode()
    told["seconds"] = time.monotonic() - began
    return told


def _handshake(plain: socket.socket, asked: dict[str, Any]) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=asked["ca"])
    if asked["alpn"]:
        context.set_alpn_protocols(asked["alpn"])
    return context.wrap_socket(plain, server_hostname=asked["name"])


def _exchange(sock: Any, asked: dict[str, Any], deadline: float) -> tuple[bytes, str]:
    pieces = [base64.b64decode(piece) for piece in asked["pieces"]]
    after = [base64.b64decode(piece) for piece in asked["after"]]
    data = bytearray()
    for piece in pieces:
        try:
            sock.sendall(piece)
        except OSError:
            break  # answered and closed already; what it said may still be read
        if asked["pause"]:
            select.select([sock], [], [], asked["pause"])
    if asked["half_close"]:
        with suppress(OSError):
            (sock.unwrap() if asked["tls"] else sock).shutdown(socket.SHUT_WR)
    while not _enough(bytes(data), asked):
        sock.settimeout(max(0.01, deadline - time.monotonic()))
        try:
            more = sock.recv(65_536)
        except TimeoutError:
            return bytes(data), "timeout"
        except ConnectionResetError:
            return bytes(data), "reset"
        except OSError as error:
            return bytes(data), f"{type(error).__name__}: {error}"
        if not more:
            return bytes(data), "eof"
        data += more
        if after and b"\r\n\r\n" in data:
            sock.sendall(b"".join(after))
            after = []
    return bytes(data), "enough"


def _enough(data: bytes, asked: dict[str, Any]) -> bool:
    if asked["answers"] is not None:
        whole = [answer for answer in read_answers(data) if answer.whole and answer.status >= 200]
        return len(whole) >= asked["answers"]
    if asked["streams"] is not None:
        return _ended_streams(data) >= asked["streams"]
    return False


def _ended_streams(data: bytes) -> int:
    ended: set[int] = set()
    while len(data) >= 9:
        size, kind, flags = int.from_bytes(data[:3]), data[3], data[4]
        number = int.from_bytes(data[5:9]) & 0x7FFFFFFF
        if len(data) < 9 + size:
            break
        if kind == RST_STREAM or (kind in {DATA, HEADERS} and flags & END_STREAM):
            ended.add(number)
        data = data[9 + size :]
    return len(ended)


if __name__ == "__main__":
    os.environ.pop("SSLKEYLOGFILE", None)
    serve()
