"""How a server of `upstreams` answers: in any version of HTTP, and at the end in HTTP/1.1 only."""

import base64
import hashlib
import json
import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import quote

from websockets.frames import Frame, Opcode
from websockets.http11 import Request as WebSocketRequest
from websockets.server import ServerProtocol

from tests.upstream_requests import PATIENCE, Gone, Handler, Request

BLOCK: Final = bytes(256 * 1024)


# --- for any version ------------------------------------------------------------------------


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


# --- for HTTP/1.1 ---------------------------------------------------------------------------


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
            if not isinstance(frame, Frame):
                continue
            if frame.opcode is Opcode.TEXT:
                protocol.send_text(frame.data)
            elif frame.opcode is Opcode.BINARY:
                protocol.send_binary(frame.data)
