"""A connection that switched protocols."""

import asyncio
from typing import Final

import pytest

from proxy.core.audit import Ending
from proxy.lanes.fast.side import HIGH_WATER
from tests.fast_world import End, Scene, play, turns, until
from tests.lane_world import LIVE, POLICY, World, pod_of

ASKS: Final = (
    b"GET /v1/socket HTTP/1.1\r\nHost: api.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
SWITCHES: Final = (
    b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
    b"sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)
CUT: Final = POLICY.replace("  grants:", "  onRevoke: cut\n  grants:")
NOTHING: Final = pod_of(POLICY.replace("/v1/", "/v2/"))
MUCH: Final = b"x" * 16_000_000


async def switched(scene: Scene, behind: bytes = b"") -> End:
    await scene.client.say(ASKS)
    upstream = await scene.upstream()
    sent = await upstream.hear()
    assert LIVE.encode() in sent
    assert b"pgrade: websocket\r\n" in sent
    await upstream.say(SWITCHES + behind)
    head = await scene.client.hear()
    assert head.startswith(b"HTTP/1.1 101 ")
    assert b"\r\nupgrade: websocket\r\nconnection: upgrade\r\n" in head
    return upstream


def record(world: World) -> tuple[int | None, Ending, int, int]:
    one = world.recorder.record
    assert world.recorder.crashes == []
    return one.status, one.ending, one.sent_bytes, one.received_bytes


def test_bytes_pass_both_ways_as_they_are_and_are_counted() -> None:
    async def story(scene: Scene) -> None:
        upstream = await switched(scene, b"welcome")
        assert await scene.client.hear_exactly(7) == b"welcome"
        for _ in range(3):
            await scene.client.say(b"\x81\x02hi")
            assert await upstream.hear_exactly(4) == b"\x81\x02hi"
            await upstream.say(b"\x81\x03you")
            assert await scene.client.hear_exactly(5) == b"\x81\x03you"
        upstream.end()
        assert await scene.client.hear_all() == b""
        scene.client.leave()
        await scene.over()

    assert record(play(story)) == (101, Ending.COMPLETED, 12, 22)


def test_what_the_client_said_before_the_switch_goes_first() -> None:
    async def story(scene: Scene) -> None:
        await scene.client.say(ASKS + b"early")
        upstream = await scene.upstream()
        await upstream.hear()
        assert await upstream.is_silent()
        await upstream.say(SWITCHES)
        assert await upstream.hear_exactly(5) == b"early"

    play(story)


@pytest.mark.parametrize("first", ["client", "upstream"])
def test_the_end_of_one_is_an_end_for_the_other_which_may_go_on(first: str) -> None:
    async def story(scene: Scene) -> None:
        upstream = await switched(scene)
        ends, goes_on = (scene.client, upstream) if first == "client" else (upstream, scene.client)
        await ends.say(b"last")
        ends.end()
        assert await goes_on.hear_all() == b"last"
        await goes_on.say(b"still here")
        assert await ends.hear_exactly(10) == b"still here"
        goes_on.end()
        assert await ends.hear_all() == b""
        await scene.over()

    assert record(play(story))[:2] == (101, Ending.COMPLETED)


@pytest.mark.parametrize("first", ["client", "upstream"])
def test_a_reset_of_one_takes_the_other_along(first: str) -> None:
    async def story(scene: Scene) -> None:
        upstream = await switched(scene)
        gone, left = (scene.client, upstream) if first == "client" else (upstream, scene.client)
        gone.reset()
        assert await left.has_ended()
        await scene.over()

    assert play(story).recorder.record.status == 101


@pytest.mark.parametrize("slow", ["client", "upstream"])
def test_a_slow_reader_holds_up_the_writer(slow: str) -> None:
    async def story(scene: Scene) -> None:
        upstream = await switched(scene)
        reader, writer = (scene.client, upstream) if slow == "client" else (upstream, scene.client)
        to_client = slow == "client"
        saying = scene.running.get_loop().create_task(writer.say(MUCH))
        if to_client:
            await until(lambda: scene.side.unsent > HIGH_WATER)
        await turns(300)
        assert not saying.done()
        assert scene.side.unsent < 4 * HIGH_WATER
        assert await reader.hear_exactly(len(MUCH)) == MUCH
        await saying

    play(story)


def test_our_credential_is_blotted_out_where_it_stands_whole() -> None:
    async def story(scene: Scene) -> None:
        upstream = await switched(scene)
        await upstream.say(b"<" + LIVE.encode() + b">")
        got = await scene.client.hear(b">")
        assert LIVE.encode() not in got
        assert len(got) == len(LIVE) + 2  # frames have lengths

    assert play(story).recorder.record.redactions == 1


def test_a_tunnel_is_cut_when_its_grant_is_taken_away() -> None:
    async def story(scene: Scene) -> None:
        upstream = await switched(scene)
        assert scene.take_away(NOTHING) == 1
        assert await scene.client.has_ended()
        assert await upstream.has_ended()
        await scene.over()

    world = World(pod=pod_of(CUT))
    assert record(play(story, world))[:2] == (101, Ending.CUT)


def test_a_tunnel_in_which_nothing_moves_is_ended() -> None:
    async def story(scene: Scene) -> None:
        upstream = await switched(scene)
        scene.look(0)
        scene.look(5)
        assert await upstream.has_ended()
        assert await scene.client.has_ended()
        await scene.over()

    play(story)


def test_a_switch_to_another_protocol_is_none() -> None:
    async def story(scene: Scene) -> None:
        await scene.client.say(ASKS)
        upstream = await scene.upstream()
        await upstream.hear()
        await upstream.say(SWITCHES.replace(b"websocket", b"h2c", 1))
        assert (await scene.client.hear()).startswith(b"HTTP/1.1 502 ")
        assert await upstream.has_ended()

    play(story)


def test_an_upstream_that_does_not_switch_answers_as_usual() -> None:
    async def story(scene: Scene) -> None:
        await scene.client.say(ASKS)
        upstream = await scene.upstream()
        await upstream.hear()
        await upstream.say(b"HTTP/1.1 426 Upgrade Required\r\ncontent-length: 0\r\n\r\n")
        assert (await scene.client.hear()).startswith(b"HTTP/1.1 426 ")
        await scene.client.say(ASKS)
        await upstream.hear()

    play(story)


@pytest.mark.parametrize("first", ["client", "upstream"])
def test_who_leaves_while_much_is_on_its_way_to_him_ends_both(first: str) -> None:
    async def story(scene: Scene) -> None:
        upstream = await switched(scene)
        gone, writer = (scene.client, upstream) if first == "client" else (upstream, scene.client)
        saying = scene.running.get_loop().create_task(writer.say(MUCH))
        await gone.hear_exactly(1000)
        gone.reset()
        await scene.running.get_loop().create_task(until_ended(saying))
        if first == "client":
            await scene.over()

    assert len(play(story).recorder.records) == 1


async def until_ended(saying: asyncio.Task[None]) -> None:
    """It is told so by the connection."""
    await asyncio.wait({saying})
    assert isinstance(saying.exception(), OSError)
