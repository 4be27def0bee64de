"""Probes and metrics for the kubelet and Prometheus: `/healthz`, `/readyz`, `/metrics`, GET and HEAD only.

Three pages need no framework. The standard library's `http.server` and prometheus_client's own server start
threads and bear with a client for as long as it likes; here the loop that serves the data path answers, so
that a probe also proves that it turns. There is nothing to find out: no lease, secret or setting is in reach
of this module, and nothing that a client sends comes back.
"""

import asyncio
import errno
import json
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from proxy import __version__
from proxy.core.structs import Struct
from proxy.wire.outcomes import BadHead, HeadFault, NeedMore
from proxy.wire.request_head import HeadLimits, RequestHead, read_request_head

# A probe's head has 150 bytes, Prometheus' some 400.
MAX_HEAD: Final = HeadLimits(max_bytes=8192, max_line=2048, max_headers=50)
# From the connection to the end of the answer. The kubelet gives up after one second by default.
TIMEOUT: Final = 5.0
# The kubelet and some Prometheus servers use two or three.
MAX_CONNECTIONS: Final = 64
_PIECE: Final = 4096


# What has to stand before a request can be served.
PARTS: Final = ("authority", "pod", "policy", "identity", "listener")


class Readiness:
    """What each part lacks: it is pending at first, then fine or failed, and may be tried again."""

    def __init__(self) -> None:
        self._lacks = dict.fromkeys(PARTS, "pending")
        self._draining = False

    def ok(self, part: str) -> None:
        self._lacks[part] = ""

    def failed(self, part: str, why: str) -> None:
        """The sidecar is alive and not ready."""
        self._lacks[part] = why

    def draining(self) -> None:
        self._draining = True

    def missing(self) -> dict[str, str]:
        """What is not as it should be, and why."""
        found = {part: why for part, why in self._lacks.items() if why}
        if self._draining:
            found["draining"] = "the sidecar is shutting down"
        return found


class _Answer(Struct, frozen=True):
    status: str
    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    # RFC 9110 §15.5.6: a 405 says what is allowed.
    more: str = ""

    def render(self, *, with_body: bool) -> bytes:
        head = (
            f"HTTP/1.1 {self.status}\r\nContent-Type: {self.content_type}\r\n"
            f"Content-Length: {len(self.body)}\r\nCache-Control: no-store\r\n"
            f"{self.more}Connection: close\r\n\r\n"
        )
        return head.encode() + (self.body if with_body else b"")


_INDEX: Final = _Answer(
    "200 OK", f"podkey {__version__}\n/healthz  alive\n/readyz   ready\n/metrics  Prometheus\n".encode()
)
_ALIVE: Final = _Answer("200 OK", b"ok\n")
_NOT_FOUND: Final = _Answer("404 Not Found", b"there are /healthz, /readyz and /metrics\n")
_NOT_ALLOWED: Final = _Answer("405 Method Not Allowed", b"GET and HEAD only\n", more="Allow: GET, HEAD\r\n")
_MALFORMED: Final = _Answer("400 Bad Request", b"the request could not be read\n")
_TOO_LARGE: Final = _Answer("431 Request Header Fields Too Large", b"the request head is too large\n")


class AdminServer:
    def __init__(self, readiness: Readiness, exposition: Callable[[], tuple[bytes, str]]) -> None:
        self._readiness = readiness
        self._exposition = exposition
        self._server: asyncio.Server | None = None
        # In the order of their arrival.
        self._connections: dict[asyncio.StreamWriter, None] = {}

    async def start(self, address: str, port: int) -> int:
        """Listen, and return the port; 0 asks for any. Raises OSError where the address cannot be had."""
        listener = _bound(address, port)
        self._server = await asyncio.start_server(self._serve, sock=listener, limit=MAX_HEAD.max_bytes)
        return int(listener.getsockname()[1])

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            for writer in list(self._connections):
                writer.transport.abort()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= MAX_CONNECTIONS:
            # The oldest makes room: whoever sits on connections does not keep the kubelet out.
            next(iter(self._connections)).transport.abort()
        self._connections[writer] = None
        try:
            # A client that is gone, or too slow, is no news.
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(TIMEOUT):
                    await self._answer(reader, writer)
        finally:
            self._connections.pop(writer, None)
            writer.transport.abort() if writer.transport.get_write_buffer_size() else writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = b""
        while isinstance(head := read_request_head(data, MAX_HEAD), NeedMore):
            piece = await reader.read(_PIECE)
            if not piece:
                return
            data += piece
        answer = await self._page(head)
        writer.write(answer.render(with_body=not isinstance(head, RequestHead) or head.method != "HEAD"))
        await writer.drain()
        writer.write_eof()
        # Closing while something of the request is unread would reset the connection, and the answer with it.
        await reader.read(_PIECE)

    async def _page(self, head: RequestHead | BadHead) -> _Answer:
        if isinstance(head, BadHead):
            return _TOO_LARGE if head.fault is HeadFault.TOO_LARGE else _MALFORMED
        if head.method not in {"GET", "HEAD"}:
            return _NOT_ALLOWED
        match head.target.partition("?")[0]:
            case "/":
                return _INDEX
            case "/healthz":
                # That this is answered shows that the loop turns; where it does not, the probe times out.
                return _ALIVE
            case "/readyz":
                return self._ready()
            case "/metrics":
                # In a thread: it is no work for the loop that moves bytes.
                body, content_type = await asyncio.to_thread(self._exposition)
                return _Answer("200 OK", body, content_type)
            case _:
                return _NOT_FOUND

    def _ready(self) -> _Answer:
        missing = self._readiness.missing()
        status = "503 Service Unavailable" if missing else "200 OK"
        listed = [{"condition": name, "reason": why} for name, why in missing.items()]
        body = json.dumps({"ready": not missing, "missing": listed}) + "\n"
        return _Answer(status, body.encode(), "application/json")


def _bound(address: str, port: int) -> socket.socket:
    """`::` means every address: asyncio itself would leave IPv4 out, and a node may have no IPv6."""
    if address == "::":
        try:
            return socket.create_server(
                (address, port), family=socket.AF_INET6, dualstack_ipv6=socket.has_dualstack_ipv6()
            )
        except OSError as error:
            if error.errno not in {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL}:
                raise
            address = "0.0.0.0"  # noqa: S104 - asked for: the same, where there is no IPv6
    return socket.create_server((address, port), family=socket.AF_INET6 if ":" in address else socket.AF_INET)
