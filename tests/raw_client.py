r"""A client of the pod that sends exactly the bytes it is given, over TLS, and keeps what comes back.

    reply = talk(pod, b"GET / HTTP/1.1\r\n…", name="api.example.com", answers=1)
    assert reply.answers[0].reason == "name_mismatch"

It knows nothing of HTTP but where an answer ends. Its sockets are this process's own (`pod.dial`); the
redirect captures them like those of any user but the proxy's.
"""

import select
import socket
import ssl
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.netns import INTERNET_V4
from tests.sidecar_pod import SidecarPod

# Who gets no answer says so after this many seconds.
PATIENCE: Final = 8.0
END_STREAM: Final = 0x1
DATA, HEADERS, RST_STREAM = 0, 1, 3
HTTP2: Final = "h2"


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
    """Everything that came on one connection. `end`: `eof`, `reset`, `timeout`, `enough`, or what failed."""

    data: bytes
    end: str
    seconds: float
    methods: tuple[str, ...] = ()

    @property
    def answers(self) -> list[Answer]:
        return read_answers(self.data, self.methods)

    @property
    def final(self) -> list[Answer]:
        """Without those that only announce one."""
        return [answer for answer in self.answers if answer.status >= 200 or answer.status == 101]

    @property
    def only(self) -> Answer:
        (answer,) = self.final
        return answer


def tls(
    pod: SidecarPod,
    name: str,
    alpn: Sequence[str] = (),
    address: str = INTERNET_V4,
    ca: Path | None = None,
) -> ssl.SSLSocket:
    """A connection of the application, after its handshake with us; or with whoever has `ca`."""
    context = ssl.create_default_context(cafile=ca or pod.ca)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    plain = pod.dial(address, 443, PATIENCE)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        return context.wrap_socket(plain, server_hostname=name)
    except BaseException:
        plain.close()
        raise


def talk(
    pod: SidecarPod,
    *pieces: bytes,
    name: str,
    alpn: Sequence[str] = (),
    answers: int | None = None,
    streams: int | None = None,
    methods: Sequence[str] = (),
    after_answer: bytes = b"",
    patience: float = PATIENCE,
    ca: Path | None = None,
    address: str = INTERNET_V4,
) -> Reply:
    """Open a connection, send, read, close.

    Reads until the server ends; or until so many `answers` of HTTP/1.1 came whole, or so many `streams` of
    HTTP/2 ended. `after_answer` is sent when the first answer's head is there.
    """
    began = time.monotonic()
    data = bytearray()
    end = "enough"
    with tls(pod, name, alpn, address, ca) as sock:
        for piece in pieces:
            try:
                sock.sendall(piece)
            except OSError:
                break  # answered and closed already; what it said may still be read
        while not _enough(bytes(data), answers, streams, methods):
            sock.settimeout(max(0.01, began + patience - time.monotonic()))
            try:
                more = sock.recv(65_536)
            except TimeoutError:
                end = "timeout"
                break
            except OSError as error:
                end = "reset" if isinstance(error, ConnectionResetError) else f"{type(error).__name__}"
                break
            if not more:
                end = "eof"
                break
            data += more
            if after_answer and b"\r\n\r\n" in data:
                with suppress(OSError):
                    sock.sendall(after_answer)
                after_answer = b""
    pod.canary.watch(bytes(data), "what a client received")
    return Reply(bytes(data), end, time.monotonic() - began, tuple(methods))


def ask(sock: ssl.SSLSocket, data: bytes, method: str = "GET") -> Answer:
    """One request and its answer, on a connection that goes on."""
    sock.sendall(data)
    came = bytearray()
    while not _enough(bytes(came), 1, None, [method]):
        more = sock.recv(65_536)
        if not more:
            raise AssertionError(f"the connection ended after {bytes(came)!r}")
        came += more
    return read_answers(bytes(came), [method])[-1]


def is_closed(sock: socket.socket, seconds: float = PATIENCE) -> bool:
    """Whether the other side ends the connection within this time."""
    readable, _, _ = select.select([sock], [], [], seconds)
    if not readable:
        return False
    try:
        return not sock.recv(65_536)
    except OSError:
        return True


def _enough(data: bytes, answers: int | None, streams: int | None, methods: Sequence[str]) -> bool:
    if answers is not None:
        whole = [one for one in read_answers(data, methods) if one.whole and one.status >= 200]
        return len(whole) >= answers
    return streams is not None and _ended_streams(data) >= streams


# --- HTTP/1.1 ------------------------------------------------------------------------------------------


def read_answers(data: bytes, methods: Sequence[str] = ()) -> list[Answer]:
    """All responses in what came; the last may be cut. `methods` of their requests, where one was HEAD."""
    answers: list[Answer] = []
    wanted = list(methods)
    while b"\r\n\r\n" in data:
        head, _, data = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        status = int(first.split(" ")[1])
        fields = _pairs(lines)
        values = {name.lower(): value for name, value in fields}
        bodiless = status < 200 or status in {204, 304}
        if status >= 200 and wanted and wanted.pop(0) == "HEAD":
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


# --- HTTP/2 --------------------------------------------------------------------------------------------


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
