import asyncio
import socket

from proxy.lanes.closing import flush_and_close
from tests.lane_world import tcp_pair

MUCH = bytes(8_000_000)  # more than the kernel takes


def test_what_was_written_last_is_taken_by_a_slow_reader() -> None:
    async def run() -> int:
        theirs, ours = tcp_pair()
        _, writer = await asyncio.open_connection(sock=ours)
        reader, other = await asyncio.open_connection(sock=theirs)
        writer.write(MUCH)
        async with asyncio.timeout(5):
            closing = asyncio.get_running_loop().create_task(flush_and_close(writer, 5.0))
            got = 0
            while data := await reader.read(65_536):
                got += len(data)
            await closing
        other.transport.abort()
        return got

    assert asyncio.run(run()) == len(MUCH)


def test_a_reader_that_stands_still_is_not_waited_for_longer_than_the_patience() -> None:
    async def run() -> bool:
        theirs, ours = tcp_pair()
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        _, writer = await asyncio.open_connection(sock=ours)
        writer.write(MUCH)
        async with asyncio.timeout(5):
            await flush_and_close(writer, 0.05)
        theirs.close()
        return writer.transport.is_closing()

    assert asyncio.run(run())


def test_a_connection_that_the_other_side_has_reset_is_closed_quietly() -> None:
    async def run() -> None:
        theirs, ours = tcp_pair()
        _, writer = await asyncio.open_connection(sock=ours)
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        writer.write(MUCH)
        theirs.close()
        async with asyncio.timeout(5):
            await flush_and_close(writer, 5.0)

    asyncio.run(run())
