"""The application's side behind its handshake: when it is uncorked, and how its end is noticed."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from proxy.lanes.fast.calls import calls_of
from proxy.lanes.fast.client_side import ClientSide
from proxy.lanes.fast.handshakes import Handshake, shake_hands
from tests.fast_world import opened_pair, perform, turns, until
from tests.lane_world import Internet, ssl_client, ssl_server

NAME = "api.example.com"


@dataclass
class Scene:
    """`raw` sees the client's TCP."""

    side: ClientSide
    ours: ssl.SSLSocket
    client: ssl.SSLSocket

    @property
    def is_corked(self) -> bool:
        return bool(self.ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_CORK))

    def raw(self) -> bytes:
        """What has come to the client, before TLS."""
        try:
            return socket.socket.recv(self.client, 65_536, socket.MSG_PEEK)
        except BlockingIOError:
            return b""

    async def ask(self, data: bytes = b"question") -> None:
        self.client.send(data)
        assert await self.side.read() == data


Story = Callable[[Scene], Awaitable[None]]
Play = Callable[..., None]


@pytest.fixture(scope="module")
def internet() -> Internet:
    return Internet()


@pytest.fixture
def play(internet: Internet, tmp_path: Path) -> Play:
    def run(
        story: Story,
        version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
        *,
        is_read_by_kernel: bool = False,
    ) -> None:
        server, client = ssl_server(internet.leaf(NAME), tmp_path), ssl_client(internet.root)
        client.maximum_version = version

        async def within() -> None:
            theirs, ours = opened_pair()
            theirs.setblocking(False)  # noqa: FBT003 - its name
            ours.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            a = server.wrap_socket(
                ours, server_side=True, do_handshake_on_connect=False, suppress_ragged_eofs=False
            )
            b = client.wrap_socket(theirs, server_hostname=NAME, do_handshake_on_connect=False)
            with a, b:
                handshake = Handshake(a, corks=True)
                await asyncio.gather(handshake.run(), shake_hands(b))
                side = ClientSide(a, is_corked=handshake.is_corked, is_read_by_kernel=is_read_by_kernel)
                side.watch()
                try:
                    await story(Scene(side, a, b))
                finally:
                    side.drop()

        perform(within)

    return run


def test_the_ticket_goes_along_with_the_first_answer(play: Play) -> None:
    async def story(scene: Scene) -> None:
        assert scene.is_corked
        await turns()
        assert scene.raw() == b""
        await scene.ask()
        scene.side.write(b"answer")
        assert not scene.is_corked
        await until(lambda: len(scene.raw()) > 100)
        assert scene.client.recv(100) == b"answer"
        scene.side.write(b"another")
        await until(scene.raw)
        assert scene.client.recv(100) == b"another"

    play(story)


def test_before_tls_13_nothing_is_held_back(play: Play) -> None:
    async def story(scene: Scene) -> None:
        assert not scene.is_corked
        await scene.ask()
        scene.side.write(b"answer")
        await until(scene.raw)
        assert scene.client.recv(100) == b"answer"

    play(story, ssl.TLSVersion.TLSv1_2)


def test_a_first_answer_that_finds_nobody_is_no_crash(play: Play) -> None:
    async def story(scene: Scene) -> None:
        scene.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        scene.client.close()
        scene.side.write(b"answer")
        await until(lambda: scene.side.is_broken)

    play(story)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_who_leaves_without_a_farewell_is_told_nothing(play: Play, version: ssl.TLSVersion) -> None:
    async def story(scene: Scene) -> None:
        await scene.ask()
        scene.side.write(b"answer")
        await until(scene.raw)
        assert scene.client.recv(100) == b"answer"
        socket.socket.shutdown(scene.client, socket.SHUT_WR)
        assert await scene.side.read() == b""
        # As OpenSSL has it: what was cut off does not look whole.
        assert (scene.side.is_over, scene.side.is_broken) == (True, True)
        await turns()
        assert scene.raw() == b""

    play(story, version)


def test_a_farewell_is_one(play: Play) -> None:
    async def story(scene: Scene) -> None:
        await scene.ask()
        scene.side.write(b"answer")
        await until(scene.raw)
        assert scene.client.recv(100) == b"answer"
        with pytest.raises(ssl.SSLWantReadError):
            scene.client.unwrap()
        assert await scene.side.read() == b""
        assert (scene.side.is_over, scene.side.is_broken) == (True, False)

    play(story)


def test_who_comes_to_a_second_question_is_no_more_looked_after(play: Play) -> None:
    async def story(scene: Scene) -> None:
        for _ in range(3):
            await scene.ask()
        assert scene.side._receive_some == calls_of(scene.ours).receive
        socket.socket.shutdown(scene.client, socket.SHUT_WR)
        assert await scene.side.read() == b""
        assert scene.side.is_broken

    play(story)


def test_where_the_kernel_reads_tls_nothing_is_looked_at_before(play: Play) -> None:
    async def story(scene: Scene) -> None:
        assert scene.side._receive_some == calls_of(scene.ours).receive
        await scene.ask()

    play(story, is_read_by_kernel=True)
