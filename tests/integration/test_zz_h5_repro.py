import socket, time, pytest, select
from contextlib import suppress
from tests.integration.test_expect import *
def silent0(sock):
    r,_,_=select.select([sock],[],[],SILENCE)
    return not r
@pytest.mark.parametrize("n", range(10))
def test_x(world, n):
    with tls(world.pod, HOST) as sock:
        sock.sendall(put("/v1/asked"))
        world.upstream.wait_until(lambda: len(world.upstream.requests) == 1)
        silent0(sock)
    world.settle()
    with tls(world.pod, HOST) as sock:
        sock.sendall(put("/v1/silent"))
        silent0(sock)
    asked.gate.set()
    world.settle()
    with tls(world.pod, HOST) as sock:
        sock.sendall(put("/v1/asked") + b"hello")
        data = read(sock, b"}")
    world.settle()
    with tls(world.pod, HOST) as sock:
        sock.sendall(put("/v1/forbidden"))
        read(sock)
        world.upstream.wait_until(world.upstream.connections[0].ended.is_set)
        with suppress(OSError):
            sock.sendall(b"hello" + put("/v1/silent").replace(b"Expect: 100-continue\r\n", b"") + b"again")
        is_closed(sock)
    world.settle()
