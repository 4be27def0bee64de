"""What a side of a connection calls for each of its bytes, and whom: as directly as that goes."""

import asyncio
import errno
import socket
from collections.abc import Buffer, Callable
from typing import Any, Final, NamedTuple, NoReturn


class Calls(NamedTuple):
    """Of one socket, for as long as it speaks TLS, where it does."""

    receive: Callable[[int], bytes]
    receive_at: Callable[[int, memoryview], int]
    send: Callable[[Buffer], int]


def calls_of(sock: socket.socket) -> Calls:
    # Without the two methods that the `ssl` module has around each call.
    tls: Any = getattr(sock, "_sslobj", None)
    if tls is not None:
        # Of TLS not its `recv_into`: to look at the buffer takes it as long as to decrypt a tenth of that.
        return Calls(tls.read, tls.read, tls.write)
    return Calls(sock.recv, lambda size, at: sock.recv_into(at, size), sock.send)


def begin_watch(loop: asyncio.AbstractEventLoop, number: int, told: Callable[[], object]) -> None:
    """In the place of who watched it before, also where the loop has let go of that one (see `Side.look`)."""
    try:
        loop.add_reader(number, told)
    except RuntimeError:
        loop.remove_reader(number)
        loop.add_reader(number, told)


def _nobody(_: bytes) -> None:
    """In the place of who was told."""


def _ended(*_: object) -> NoReturn:
    raise OSError(errno.EBADF, "the connection was ended by us")


# Of a socket that is closed: its number may be another one's by now, and OpenSSL would not know.
ENDED: Final = Calls(_ended, _ended, _ended)


class Taker:
    """Given what comes in the turn in which it comes, in the place of a future that a task waits for."""

    __slots__ = ("set_result",)

    def __init__(self, take: Callable[[bytes], object]) -> None:
        """`take` must not raise."""
        self.set_result = take

    def forget(self) -> None:
        """Whom it tells holds it, too: without this both would wait for the collector of cycles."""
        self.set_result = _nobody

    @staticmethod
    def done() -> bool:
        return False
