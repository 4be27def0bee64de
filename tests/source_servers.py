"""HTTPS servers on the loopback in the test's own event loop, and an egress proxy: what sources talk to.

async with SourceServer(context, answering(200, b"{}")) as server:
    reply = await outgoing.call(HttpCall("GET", f"https://localhost:{server.port}/"))
assert server.requests[0].headers["accept-encoding"] == "identity"
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import Self

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Asked:
    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    raw: bytes


# Whether the connection stays open for another request.
Answer = Callable[[Asked, asyncio.StreamWriter], Awaitable[bool]]


def answering(
    status: int = 200, body: bytes = b"{}", headers: Mapping[str, str] = MappingProxyType({})
) -> Answer:
    async def answer(_: Asked, writer: asyncio.StreamWriter) -> bool:
        lines = [f"HTTP/1.1 {status} It", *(f"{name}: {value}" for name, value in headers.items())]
        head = "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""])
        writer.write(head.encode("latin-1") + body)
        await writer.drain()
        return True

    return answer


def saying(raw: bytes, *, stays: bool = False) -> Answer:
    """Exactly these bytes."""

    async def answer(_: Asked, writer: asyncio.StreamWriter) -> bool:
        writer.write(raw)
        await writer.drain()
        return stays

    return answer


async def silent(_: Asked, writer: asyncio.StreamWriter) -> bool:
    """Says nothing for as long as the client waits."""
    await writer.wait_closed()
    return False


class _Listener:
    def __init__(self, context: ssl.SSLContext | None) -> None:
        self._context = context
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.connections = 0
        # Set while no connection is open.
        self.is_alone = asyncio.Event()
        self.is_alone.set()

    @property
    def port(self) -> int:
        if self._server is None:
            raise RuntimeError("it does not listen")
        return int(self._server.sockets[0].getsockname()[1])

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accepted, LOOPBACK, 0, ssl=self._context)
        return self

    async def __aexit__(self, *_error: object) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.is_alone.clear()
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
        try:
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self.serve(reader, writer)
        finally:
            writer.transport.abort() if self._context is None else writer.close()
            if task is not None:
                self._tasks.discard(task)
            if not self._tasks:
                self.is_alone.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise NotImplementedError


class SourceServer(_Listener):
    def __init__(self, context: ssl.SSLContext | None, answer: Answer) -> None:
        super().__init__(context)
        self._answer = answer
        self.requests: list[Asked] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            asked = await _asked(reader)
            self.requests.append(asked)
            if not await self._answer(asked, writer):
                return


class EgressProxyServer(_Listener):
    """Answers CONNECT with a status, and where that is 200, carries bytes to a port of the loopback."""

    def __init__(
        self,
        context: ssl.SSLContext | None = None,
        *,
        to_port: int | None = None,
        answer: bytes | None = None,
    ) -> None:
        super().__init__(context)
        self._to_port = to_port
        self._answer = answer if answer is not None else b"HTTP/1.1 200 Connection established\r\n\r\n"
        self.asked: list[Asked] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked.append(await _asked(reader))
        if not self._answer:
            await reader.read()  # until the client gives up
        writer.write(self._answer)
        await writer.drain()
        if b" 200 " not in self._answer:
            return
        port = self._to_port or int(self.asked[-1].target.rpartition(":")[2])
        there_reader, there_writer = await asyncio.open_connection(LOOPBACK, port)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_pump(reader, there_writer))
                group.create_task(_pump(there_reader, writer))
        finally:
            there_writer.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def _asked(reader: asyncio.StreamReader) -> Asked:
    raw = await reader.readuntil(b"\r\n\r\n")
    first, *lines = raw.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Asked(method, target, headers, body, raw + body)
