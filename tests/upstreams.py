"""Servers out on the internet, beyond the pod: they do as a test tells them, and tell what they received.

    with Upstream(tls_context(chain, key), {"/v1": echo}, ns=net.net) as upstream:
        ...
    assert upstream.requests[0].header("authorization") == ["Bearer …"]

A server listens in the namespace and is served by threads of the test's own process, so that a handler is a
plain function, and a test shares events and lists with it. HTTP/2 is in `upstreams_h2`, gRPC in
`upstreams_grpc`, what a handler gets in `upstream_requests`, and ready-made handlers in `upstream_answers`.
"""

import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Self

from tests.netns import INTERNET_V4, INTERNET_V6, NAMESPACES
from tests.upstream_answers import (
    FORMS,
    Events,
    Gate,
    answering,
    discard,
    drip,
    echo,
    hang_up,
    produce,
    raw,
    reflect,
    stall,
    websocket,
)
from tests.upstream_requests import PATIENCE, Connection, Gone, Handler, Request, read_request
from tests.upstreams_h2 import serve_http2

STEP: Final = 0.01


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
        # Those that came since the last `clear`, in their order.
        self.connections: list[Connection] = []
        # Those that were open then; the sidecar's pool keeps them, and may use them for a later test.
        self._older: list[Connection] = []
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
        return sum(connection.received for connection in self._heard)

    def seen(self, text: str | bytes) -> bool:
        """Whether it arrived, in whatever part of a request that is kept."""
        wanted = text.encode("latin-1") if isinstance(text, str) else text
        return any(wanted in connection.kept for connection in self._heard)

    @property
    def _heard(self) -> list[Connection]:
        return [*self._older, *self.connections]

    @property
    def carriers(self) -> list[Connection]:
        """The connections that requests came on, each once, whether they are new or were open before."""
        return list(dict.fromkeys(request.connection for request in self.requests))

    def clear(self) -> None:
        """Forget what was recorded. Connections that are still open go on: what they carry from now on counts
        in `received` and `seen`, but they are no new `connections`."""
        self._older = list(self._open)
        for connection in self._older:
            connection.forget()
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
            serve_http2(connection)
            return
        while True:
            request = read_request(connection)
            self.record(request)
            self.handler(request.path)(request)


def _note_name(tls: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
    connection = getattr(tls, "connection", None)
    if connection is not None:
        connection.sni = name


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


__all__ = [
    "FORMS",
    "Connection",
    "Events",
    "Gate",
    "Gone",
    "Handler",
    "Request",
    "Upstream",
    "answering",
    "discard",
    "drip",
    "echo",
    "enter",
    "hang_up",
    "listen_in",
    "produce",
    "raw",
    "reflect",
    "stall",
    "tls_context",
    "websocket",
]
