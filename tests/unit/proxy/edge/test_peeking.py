import asyncio
import socket
from collections.abc import Callable

import pytest

from proxy.edge import peeking
from proxy.edge.peeking import peek
from proxy.wire.outcomes import NEED_MORE, NeedMore
from tests.fast_world import until
from tests.lane_world import tcp_pair

HELLO = b"hello, world"


def whole(data: bytes) -> bytes | NeedMore:
    return data if len(data) >= len(HELLO) else NEED_MORE


class Reads:
    """What a reader is shown, and an event each time it wants more."""

    def __init__(self, read: Callable[[bytes], bytes | NeedMore] = whole) -> None:
        self.shown: list[bytes] = []
        self.wants = asyncio.Event()
        self._read = read

    def __call__(self, data: bytes) -> bytes | NeedMore:
        self.shown.append(data)
        found = self._read(data)
        if isinstance(found, NeedMore):
            self.wants.set()
        return found


async def told(reads: Reads) -> None:
    async with asyncio.timeout(5):
        await reads.wants.wait()
    reads.wants.clear()


def test_what_was_peeked_at_is_read_again_by_whoever_serves() -> None:
    async def run() -> None:
        theirs, ours = tcp_pair()
        theirs.send(HELLO)
        async with asyncio.timeout(5):
            assert await peek(ours, whole, 5) == HELLO
        assert ours.recv(100) == HELLO
        assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT) == 1
        theirs.close()
        ours.close()

    asyncio.run(run())


def test_pieces_are_waited_for_one_wake_up_each() -> None:
    """Bytes that stay in the socket keep it readable; the loop must not spin on that."""

    async def run() -> None:
        theirs, ours = tcp_pair()
        theirs.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        wakes = 0
        loop = asyncio.get_running_loop()
        add = loop.add_reader

        def counted(sock: socket.socket, wake: Callable[[], None]) -> None:
            def woken() -> None:
                nonlocal wakes
                wakes += 1
                wake()

            add(sock, woken)

        loop.add_reader = counted  # type: ignore[method-assign, assignment]
        reads = Reads()
        peeking_ = loop.create_task(peek(ours, reads, 5))
        for size, byte in enumerate(HELLO[:-1], 1):
            theirs.send(bytes([byte]))
            await told(reads)
            assert reads.shown[-1] == HELLO[:size]
        theirs.send(HELLO[-1:])
        async with asyncio.timeout(5):
            assert await peeking_ == HELLO
        assert wakes <= len(HELLO)
        assert len(reads.shown) == len(HELLO)
        theirs.close()
        ours.close()

    asyncio.run(run())


def test_nothing_wakes_the_loop_while_the_client_is_silent() -> None:
    async def run() -> None:
        theirs, ours = tcp_pair()
        theirs.send(HELLO[:5])
        loop = asyncio.get_running_loop()
        reads = Reads()
        task = loop.create_task(peek(ours, reads, 5))
        await told(reads)
        turns = 0
        select = loop._selector.select  # type: ignore[attr-defined]

        def counted(timeout: float | None) -> object:
            nonlocal turns
            turns += 1
            return select(timeout)

        loop._selector.select = counted  # type: ignore[attr-defined]
        never = asyncio.Event()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await never.wait()
        assert turns < 10
        theirs.send(HELLO[5:])
        assert await task == HELLO
        theirs.close()
        ours.close()

    asyncio.run(run())


@pytest.mark.parametrize("first", [b"", HELLO[:3]])
def test_a_client_that_ends_before_it_told_is_none(first: bytes) -> None:
    async def run() -> None:
        theirs, ours = tcp_pair()
        reads = Reads()
        task = asyncio.get_running_loop().create_task(peek(ours, reads, 5))
        if first:
            theirs.send(first)
            await told(reads)
        theirs.close()
        async with asyncio.timeout(5):
            assert await task is None
        assert ours.recv(100) == first
        ours.close()

    asyncio.run(run())


def test_a_client_that_ended_before_anybody_looked_is_none() -> None:
    async def run() -> None:
        theirs, ours = tcp_pair()
        theirs.send(HELLO[:3])
        theirs.close()
        async with asyncio.timeout(5):
            assert await peek(ours, whole, 5) is None
        ours.close()

    asyncio.run(run())


@pytest.mark.parametrize("first", [b"", HELLO[:3]])
def test_a_client_that_stays_silent_is_none_after_a_while(first: bytes) -> None:
    async def run() -> None:
        theirs, ours = tcp_pair()
        if first:
            theirs.send(first)
        assert await peek(ours, whole, 0.05) is None
        assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT) == 1
        theirs.close()
        ours.close()

    asyncio.run(run())


def test_a_client_that_resets_is_none() -> None:
    async def run() -> None:
        theirs, ours = tcp_pair()
        reads = Reads()
        task = asyncio.get_running_loop().create_task(peek(ours, reads, 5))
        theirs.send(HELLO[:3])
        await told(reads)
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        theirs.close()
        async with asyncio.timeout(5):
            assert await task is None
        ours.close()

    asyncio.run(run())


def test_a_socket_that_was_closed_meanwhile_is_none() -> None:
    async def run() -> None:
        theirs, ours = tcp_pair()
        ours.close()
        assert await peek(ours, whole, 5) is None
        theirs.close()

    asyncio.run(run())


def test_no_more_is_looked_at_than_a_head_may_have() -> None:
    async def run() -> None:
        theirs, ours = tcp_pair()
        sizes = []

        def enough(data: bytes) -> int | NeedMore:
            sizes.append(len(data))
            return len(data) if len(data) == peeking.MAX_PEEK else NEED_MORE

        sending = asyncio.get_running_loop().run_in_executor(None, theirs.sendall, bytes(200_000))
        async with asyncio.timeout(5):
            assert await peek(ours, enough, 5) == peeking.MAX_PEEK
        assert max(sizes) == peeking.MAX_PEEK
        await sending
        theirs.close()
        ours.close()

    asyncio.run(run())


def test_what_is_there_already_is_told_without_a_wait() -> None:
    async def run() -> None:
        theirs, ours = tcp_pair()
        theirs.send(HELLO)
        await until(lambda: len(ours.recv(100, socket.MSG_PEEK)) == len(HELLO))
        with pytest.raises(StopIteration) as told:
            peek(ours, whole, 5).send(None)
        assert told.value.value == HELLO
        theirs.close()
        ours.close()

    asyncio.run(run())


@pytest.mark.parametrize("more", [0, 1, peeking.FIRST_PEEK])
def test_what_is_larger_than_the_first_look_is_looked_at_again(more: int) -> None:
    size = peeking.FIRST_PEEK + more

    async def run() -> None:
        theirs, ours = tcp_pair()
        theirs.sendall(bytes(size))

        def all_of_it(data: bytes) -> int | NeedMore:
            return len(data) if len(data) == size else NEED_MORE

        async with asyncio.timeout(5):
            assert await peek(ours, all_of_it, 5) == size
        theirs.close()
        ours.close()

    asyncio.run(run())
