"""What a side calls, and whom."""

import socket

from proxy.lanes.fast.calls import Taker, calls_of


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
