"""Looking at the first bytes of a connection without taking them: whoever serves it reads them again."""

import asyncio
import socket
from collections.abc import Callable
from typing import Final

from proxy.wire.outcomes import NeedMore

# The largest hello that is read, and the largest head.
MAX_PEEK: Final = 65_536 + 1
# What is looked at before anybody waits: most are smaller, and memory for the largest costs time, too.
FIRST_PEEK: Final = 4096


async def peek[Read](
    sock: socket.socket, read: Callable[[bytes], Read | NeedMore], seconds: float
) -> Read | None:
    """What `read` makes of the first bytes; None when the client ended or stayed silent before they told."""
    try:
        # Mostly they came with the connection, or nearly so: then there is nothing to wait for.
        data = sock.recv(FIRST_PEEK, socket.MSG_PEEK)
    except BlockingIOError:
        data = b""
    except OSError:
        return None
    else:
        if not data:
            return None
        found = read(data)
        if not isinstance(found, NeedMore):
            return found
    return await _peek_on(sock, read, seconds, len(data))


async def _peek_on[Read](
    sock: socket.socket, read: Callable[[bytes], Read | NeedMore], seconds: float, seen: int
) -> Read | None:
    try:
        async with asyncio.timeout(seconds):
            while True:
                data = await _peek_beyond(sock, seen)
                if len(data) <= seen:
                    return None
                seen = len(data)
                found = read(data)
                if not isinstance(found, NeedMore):
                    return found
    except (TimeoutError, OSError):
        return None
    finally:
        _wake_at(sock, 1)


async def _peek_beyond(sock: socket.socket, seen: int) -> bytes:
    """The first bytes, as soon as there are more than `seen`, or the client has ended."""
    while True:
        try:
            data = sock.recv(MAX_PEEK, socket.MSG_PEEK)
        except BlockingIOError:
            data = b""
        else:
            if len(data) > seen or not data:
                return data
        # What was peeked at stays readable; the low-water mark keeps the loop from spinning on it.
        _wake_at(sock, len(data) + 1)
        await _readable(sock)
        # Readable below the mark: the client has ended, and nothing more will come.
        try:
            data = sock.recv(MAX_PEEK, socket.MSG_PEEK)
        except BlockingIOError:
            continue
        if len(data) >= seen:
            return data


async def _readable(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(sock, wake)
    try:
        await ready
    finally:
        loop.remove_reader(sock)


def _wake_at(sock: socket.socket, count: int) -> None:
    if sock.fileno() >= 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)
