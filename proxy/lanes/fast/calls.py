"""What a side of a connection calls for each of its bytes, and whom: as directly as that goes."""

import socket
from collections.abc import Buffer, Callable
from typing import Any, NamedTuple


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


class Taker:
    """Given what comes in the turn in which it comes, in the place of a future that a task waits for."""

    __slots__ = ("set_result",)

    def __init__(self, take: Callable[[bytes], object]) -> None:
        """`take` must not raise."""
        self.set_result = take

    @staticmethod
    def done() -> bool:
        return False
