r"""The fast lane with both neighbours played by a test: loopback sockets, nothing else is real outside of it.

    async def story(scene: Scene) -> None:
        await scene.client.say(b"GET /v1/models HTTP/1.1\r\nHost: api.example.com\r\n\r\n")
        upstream = await scene.upstream()
        ...

    scene = play(story)

Upstreams are made by the real pool; only their TLS is left out, which tests of the pool have.
"""

import asyncio
import functools
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import uvloop
from cryptography.hazmat.primitives.serialization import Encoding

from proxy.core.arrival import LaneName
from proxy.lanes.fast.conversation import Conversation
from proxy.lanes.fast.side import Side
from proxy.lanes.fast.tls import UpstreamTls
from proxy.lanes.fast.upstreams import Origin, Upstream, Upstreams
from proxy.lanes.interface import Accepted, Address
from proxy.transaction.pod import PodState
from tests.lane_world import HOST, Internet, World, arrival_of, tcp_pair

# Far above what anything takes here; reached only when something hangs.
PATIENCE: Final = 8.0
ADDRESS: Final[Address] = ("192.0.2.7", 443)
ARRIVAL: Final = arrival_of(lane=LaneName.FAST)


# All that a test opens; closed behind it.
_OPENED: Final[list[socket.socket]] = []


class End:
    """The other end of a connection of ours."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)  # noqa: FBT003 - its name
        self.sock = sock
        self._loop = asyncio.get_running_loop()
        self._heard = bytearray()

    async def say(self, data: bytes) -> None:
        await self._loop.sock_sendall(self.sock, data)

    async def hear(self, mark: bytes = b"\r\n\r\n") -> bytes:
        """Up to the mark, with it."""
        while mark not in self._heard:
            await self._more()
        size = self._heard.index(mark) + len(mark)
        return self._take(size)

    async def hear_exactly(self, size: int) -> bytes:
        while len(self._heard) < size:
            await self._more()
        return self._take(size)

    async def hear_all(self) -> bytes:
        """To the end, which is a polite one."""
        while data := await self._loop.sock_recv(self.sock, 65_536):
            self._heard += data
        return self._take(len(self._heard))

    async def is_silent(self) -> bool:
        """Whether nothing came until now, and the loop had nothing left to do."""
        await turns()
        with suppress(BlockingIOError):
            return not self._heard and not self.sock.recv(1, socket.MSG_PEEK)
        return not self._heard

    async def has_ended(self) -> bool:
        """Whether the other side ends it, in whichever way."""
        try:
            while await self._loop.sock_recv(self.sock, 65_536):
                pass
        except OSError:
            pass
        return True

    async def _more(self) -> None:
        data = await self._loop.sock_recv(self.sock, 65_536)
        if not data:
            raise EOFError(bytes(self._heard))
        self._heard += data

    def _take(self, size: int) -> bytes:
        data = bytes(self._heard[:size])
        del self._heard[:size]
        return data

    def end(self) -> None:
        """Nothing more comes; it is still read."""
        self.sock.shutdown(socket.SHUT_WR)

    def leave(self) -> None:
        self.sock.close()

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


async def turns(count: int = 20) -> None:
    """Let everybody go on who can."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until(what: Callable[[], object]) -> None:
    while not what():  # noqa: ASYNC110 - what is waited for is the lane's, and tells nobody
        await asyncio.sleep(0)


def side_pair() -> tuple[Side, End]:
    """Ours, and the other one."""
    theirs, ours = opened_pair()
    return Side(ours), End(theirs)


def opened_pair() -> tuple[socket.socket, socket.socket]:
    """`tcp_pair`, closed by itself."""
    pair = tcp_pair()
    _OPENED.extend(pair)
    return pair


def perform(
    story: Callable[[], Awaitable[None]],
    loop_factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop,
) -> None:
    """To its end, which comes soon."""

    async def run() -> None:
        async with asyncio.timeout(PATIENCE):
            await story()

    try:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(run())
    finally:
        while _OPENED:
            _OPENED.pop().close()


@functools.cache
def _any_tls() -> UpstreamTls:
    """It is not asked: see `Street._connect`."""
    return UpstreamTls(Internet().root.public_bytes(Encoding.PEM))


class Street(Upstreams):
    """The pool, with upstreams that a test plays, and without TLS to them."""

    def __init__(self, world: World) -> None:
        super().__init__(_any_tls(), world.timeouts.connect, world.clock.monotonic)
        self.opened: asyncio.Queue[End] = asyncio.Queue()
        self.ends: list[End] = []
        self.error: Exception | None = None
        # As what the next ones are verified.
        self.verified: str = HOST

    async def _connect(self, origin: Origin) -> Upstream:
        if self.error is not None:
            raise self.error
        side, end = side_pair()
        self.ends.append(end)
        self.opened.put_nowait(end)
        upstream = Upstream(origin, side, "192.0.2.7:443", 0.0)
        upstream.name = type(upstream.name)(self.verified)
        return upstream


class Scene:
    """One connection of the application, and the upstreams behind it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.recorder = world.recorder
        theirs, ours = opened_pair()
        self.client = End(theirs)
        self.side = Side(ours)
        self.street = Street(world)
        self.accepted = Accepted(ours, ARRIVAL, ADDRESS, (b"http/1.1",))
        self.conversation = Conversation(world.lane_world, self.accepted, self.side, self.street)
        self.running = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        try:
            await self.conversation.run()
        finally:
            self.side.drop()

    async def upstream(self) -> End:
        """The next that is connected to."""
        return await self.street.opened.get()

    async def over(self) -> None:
        """The conversation has come to its end."""
        await self.running

    def take_away(self, pod: PodState) -> int:
        """Another policy is in force; how many requests were cut for that."""
        self.world.pod = pod
        return self.world.lane_world.in_flight.recheck(pod)

    def look(self, seconds: float) -> None:
        """So much later, somebody looks for what stands still."""
        self.world.clock.seconds += seconds
        self.conversation.watch(self.world.clock.monotonic())

    async def close(self) -> None:
        self.running.cancel()
        with suppress(asyncio.CancelledError):
            await self.running
        for waiting in list(self.street._idle.values()):
            for upstream in list(waiting):
                upstream.side.drop()


Story = Callable[[Scene], Awaitable[None]]


def play(story: Story, world: World | None = None) -> World:
    """From the first byte to whatever the story ends with."""
    world = world or World()

    async def run() -> None:
        scene = Scene(world)
        try:
            await story(scene)
        finally:
            await scene.close()

    perform(run)
    return world
