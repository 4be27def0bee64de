"""What a side calls, and whom."""

import asyncio
import socket
import struct

from proxy.lanes.fast.calls import Taker, begin_watch, calls_of
from tests.fast_world import opened_pair, perform, turns


def test_a_socket_without_tls_is_called_itself() -> None:
    one, other = socket.socketpair()
    with one, other:
        calls = calls_of(one)
        assert calls.send(memoryview(b"abc")) == 3
        assert other.recv(10) == b"abc"
        other.send(b"defg")
        buffer = bytearray(3)
        assert calls.receive_at(2, memoryview(buffer)) == 2
        assert (bytes(buffer), calls.receive(10)) == (b"de\0", b"fg")


def test_a_taker_is_never_done() -> None:
    taken: list[bytes] = []
    taker = Taker(taken.append)
    for data in (b"a", b""):
        assert not taker.done()
        taker.set_result(data)
    assert taken == [b"a", b""]


def test_a_watch_that_the_loop_has_let_go_of_is_begun_anew() -> None:
    async def story() -> None:
        ours, theirs = opened_pair()
        ours.setblocking(False)  # noqa: FBT003 - its name
        loop, told = asyncio.get_running_loop(), []
        loop.add_reader(ours.fileno(), lambda: told.append("first"))
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        theirs.close()
        await turns()
        assert told == ["first"]
        begin_watch(loop, ours.fileno(), lambda: told.append("second"))
        await turns()
        assert told == ["first", "second"]
        loop.remove_reader(ours.fileno())

    perform(story)
