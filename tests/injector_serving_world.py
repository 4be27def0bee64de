"""Webhooks as they are served, on loopback: a certificate made for the test, a counter of what is counted,
and clients that speak as an API server does, or worse."""

import asyncio
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from enum import Enum
from pathlib import Path

from injector.edge.conversation import Deadlines
from injector.edge.http_messages import Head, Reply
from injector.edge.listener import Listener
from injector.edge.serving import Handler, ReviewSite, Site
from injector.engine.leaf import server_names
from proxy.x509.certificates import (
    Certificate,
    PrivateKey,
    certificate_pem,
    key_pem,
    new_key,
    sign_authority,
    sign_leaf,
)

NAMES = server_names("podkey-injector", "podkey-system", "cluster.local")
HOST = NAMES[0]
HOUR = timedelta(hours=1)
PATH = "/mutate"


class TestAuthority:
    """Signs what is shown; `client` trusts it."""

    __test__ = False

    def __init__(self) -> None:
        self.key: PrivateKey = new_key()
        now = datetime.now(UTC)
        self.certificate: Certificate = sign_authority(
            "podkey injector CA test", self.key, begins=now - HOUR, ends=now + 48 * HOUR
        )

    def pair(
        self, *names: str, begins: timedelta = -HOUR, ends: timedelta = 24 * HOUR
    ) -> tuple[bytes, bytes]:
        """A chain and its key."""
        key = new_key()
        now = datetime.now(UTC)
        first, *others = names or NAMES
        leaf = sign_leaf(
            first, key, self.certificate, self.key, begins=now + begins, ends=now + ends, aliases=others
        )
        return certificate_pem(leaf), key_pem(key)

    def write(self, folder: Path, *names: str) -> None:
        chain, key = self.pair(*names)
        folder.mkdir(exist_ok=True)
        (folder / "tls.crt").write_bytes(chain)
        (folder / "tls.key").write_bytes(key)

    def client(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=certificate_pem(self.certificate).decode())
        context.set_alpn_protocols(["h2", "http/1.1"])
        return context


class Counts:
    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        self.open = 0
        self.changed = asyncio.Event()

    def _count(self, what: str) -> None:
        self.seen[what] += 1
        self.changed.set()

    def rejected(self, why: Enum) -> None:
        self._count(str(why.value))

    def connections(self, number: int) -> None:
        self.open = number
        self.changed.set()

    def review_began(self) -> None:
        self._count("began")

    def review_ended(self) -> None:
        self._count("ended")

    def review_took(self, path: str, seconds: float) -> None:
        self._count("took")

    def review_failed(self, path: str) -> None:
        self._count("failed")

    async def until(self, holds: Callable[[], bool]) -> None:
        while not holds():
            self.changed.clear()
            await self.changed.wait()


class HandClock:
    """Moved by hand."""

    def __init__(self) -> None:
        self.time = 100.0

    def now(self) -> datetime:
        return datetime(2030, 1, 1, tzinfo=UTC) + timedelta(seconds=self.time)

    def monotonic(self) -> float:
        return self.time


def echo(body: bytes, _now: datetime) -> tuple[int, bytes]:
    return 200, b'{"bytes": %d}' % len(body)


class EchoSite:
    """Answers everything with what it got."""

    async def admit(self, head: Head) -> Reply | None:
        return Reply(403, b"no") if head.path == "/forbidden" else None

    async def answer(self, head: Head, body: bytes, since: float) -> Reply:
        return Reply(200, body)

    def leave(self) -> None:
        pass


def review_site(
    counts: Counts,
    handlers: Mapping[str, Handler] | None = None,
    *,
    ready: Callable[[], bool] = lambda: True,
    failed: Callable[[str, Exception], None] = lambda _path, _error: None,
    clock: HandClock | None = None,
    max_concurrent: int = 64,
) -> ReviewSite:
    return ReviewSite(
        handlers or {PATH: echo},
        ready=ready,
        counts=counts,
        failed=failed,
        clock=clock or HandClock(),
        max_concurrent=max_concurrent,
    )


@asynccontextmanager
async def listening(
    site: Site,
    counts: Counts,
    *,
    context: Callable[[], ssl.SSLContext] | None = None,
    deadlines: Deadlines | None = None,
    max_connections: int = 1024,
    failures: list[Exception] | None = None,
) -> AsyncIterator[tuple[Listener, int]]:
    listener = Listener(
        site,
        context=context,
        counts=counts,
        failed=(failures if failures is not None else []).append,
        clock=HandClock(),
        max_connections=max_connections,
        deadlines=deadlines,
    )
    port = await listener.start("127.0.0.1", 0)
    try:
        yield listener, port
    finally:
        await listener.close(1.0)


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, port: int, context: ssl.SSLContext | None = None, host: str = HOST) -> "Client":
        name = host if context is not None else None
        return cls(*await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name))

    async def post(self, body: bytes = b"{}", path: str = PATH, *fields: str) -> tuple[int, bytes]:
        self.send(body, path, *fields)
        return await self.answer()

    def send(self, body: bytes = b"{}", path: str = PATH, *fields: str) -> None:
        head = [
            f"POST {path}?timeout=5s HTTP/1.1",
            f"Host: {HOST}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            *fields,
        ]
        self.writer.write("\r\n".join([*head, "", ""]).encode() + body)

    async def answer(self) -> tuple[int, bytes]:
        head = await self.reader.readuntil(b"\r\n\r\n")
        status = int(head.split()[1])
        length = next(
            int(line.split(b":")[1])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length")
        )
        return status, await self.reader.readexactly(length)

    async def ended(self) -> bytes:
        """What still comes until the server closes, in whatever way."""
        try:
            return await self.reader.read()
        except OSError:
            return b""

    async def close(self) -> None:
        self.writer.transport.abort()


def running[T](scenario: Coroutine[None, None, T], seconds: float = 60) -> T:
    return asyncio.run(asyncio.wait_for(scenario, seconds))
