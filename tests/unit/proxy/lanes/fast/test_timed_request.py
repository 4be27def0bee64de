"""A request that takes too long in all: what its client sees, what is recorded, and what goes on."""

import asyncio
from typing import Final

import pytest

from proxy.core.audit import Ending
from proxy.core.lease import LeaseKey, LeaseReply
from proxy.core.reasons import Reason
from proxy.lanes.fast import one_request
from proxy.lanes.fast.timed_request import TimedRequest
from proxy.lanes.fast.upstreams import Upstreams
from tests.fast_world import Scene, play
from tests.lane_scripts import Script, scripted
from tests.lane_world import HOST, World, timeouts

# Short enough to wait for, long enough for a busy machine to come as far as each test does.
TOTAL: Final = 0.3
OK: Final = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
GET: Final = b"GET /v1/x HTTP/1.1\r\nHost: api.example.com\r\n\r\n"
PUT: Final = b"PUT /v1/x HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 9\r\n"
TOO_LONG: Final = Reason.REQUEST_TIMED_OUT.value


@pytest.fixture
def world() -> World:
    return World(timeouts=timeouts(request=TOTAL))


async def is_told(scene: Scene) -> None:
    """Our answer, whole, and the end of the connection."""
    answer = await scene.client.hear_all()
    assert answer.startswith(b"HTTP/1.1 504 "), answer
    assert b"\r\nconnection: close\r\n" in answer
    assert b"podkey-reason: request_timed_out\r\n" in answer
    assert answer.endswith(b"}}")
    scene.client.leave()


def check(world: World, sent: int = 0) -> None:
    """It is recorded once, as what its client was told."""
    record = world.recorder.record
    assert (record.status, record.reason, record.ending) == (504, TOO_LONG, Ending.REFUSED)
    assert record.sent_bytes == sent
    assert world.recorder.failures == [(HOST, TOO_LONG)]
    assert (world.recorder.crashes, world.recorder.passed) == ([], [])


def test_an_upstream_that_does_not_answer_is_given_up(world: World) -> None:
    async def story(scene: Scene) -> None:
        await scene.client.say(GET)
        upstream = await scene.upstream()
        await upstream.hear()
        await is_told(scene)
        assert await upstream.has_ended()
        await scene.over()

    check(play(story, world))


def test_an_upload_that_does_not_end_is_given_up_whatever_moves(world: World) -> None:
    async def story(scene: Scene) -> None:
        await scene.client.say(PUT + b"\r\nhello")
        upstream = await scene.upstream()
        await upstream.hear(b"hello")
        await is_told(scene)
        assert await upstream.has_ended()
        await scene.over()

    check(play(story, world), sent=5)


def test_who_waits_to_be_told_to_send_is_told_that_it_is_too_late(world: World) -> None:
    async def story(scene: Scene) -> None:
        await scene.client.say(PUT + b"Expect: 100-continue\r\n\r\n")
        await (await scene.upstream()).hear()
        await is_told(scene)
        await scene.over()

    check(play(story, world))


def test_a_body_that_is_wanted_whole_and_does_not_come_is_given_up(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, Script(wants=10))

    async def story(scene: Scene) -> None:
        await scene.client.say(PUT + b"\r\nhello")
        await is_told(scene)
        assert scene.street.ends == []
        await scene.over()

    check(play(story, world))


def test_a_lease_that_does_not_come_is_given_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(_: LeaseKey) -> LeaseReply:
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    monkeypatch.setattr(world.leases, "at_hand", lambda _: None)
    monkeypatch.setattr(world.leases, "lease", never)

    async def story(scene: Scene) -> None:
        await scene.client.say(GET)
        await is_told(scene)
        assert scene.street.ends == []
        await scene.over()

    check(play(story, world))


def test_a_connection_that_does_not_come_about_is_given_up(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(_: Upstreams, origin: object) -> object:
        return await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(Upstreams, "connect", never)

    async def story(scene: Scene) -> None:
        await scene.client.say(GET)
        await is_told(scene)
        await scene.over()

    check(play(story, world))


# Of a kind that is not searched for credentials, so that nothing of it is held back.
BEGUN: Final = b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\n"


@pytest.mark.parametrize(
    ("rest", "resets"),
    [
        (b"content-length: 9\r\n\r\nhello", False),
        (b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n", False),
        # It ends with its connection.
        (b"\r\nhello", True),
    ],
)
def test_an_answer_that_has_begun_is_cut_and_does_not_look_whole(
    world: World, rest: bytes, *, resets: bool
) -> None:
    async def story(scene: Scene) -> None:
        await scene.client.say(GET)
        upstream = await scene.upstream()
        await upstream.hear()
        await upstream.say(BEGUN + rest)
        await scene.client.hear(b"hello")
        if resets:
            with pytest.raises(ConnectionResetError):
                await scene.client.hear_all()
        else:
            assert await scene.client.hear_all() in {b"", b"\r\n"}
        assert await upstream.has_ended()
        await scene.over()

    world = play(story, world)
    record = world.recorder.record
    assert (record.status, record.reason, record.ending) == (200, "granted", Ending.CUT)
    assert world.recorder.failures == [(HOST, TOO_LONG)]


def test_a_refused_body_that_does_not_end_changes_nothing_of_its_refusal(world: World) -> None:
    async def story(scene: Scene) -> None:
        await scene.client.say(PUT.replace(b"/v1/x", b"/nowhere") + b"\r\nhello")
        answer = await scene.client.hear_all()
        assert answer.startswith(b"HTTP/1.1 403 ")
        assert answer.endswith(b"}}")
        scene.client.leave()
        await scene.over()

    record = play(story, world).recorder.record
    assert (record.reason, record.ending) == (Reason.PATH_NOT_GRANTED.value, Ending.REFUSED)


def test_who_has_left_is_told_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(_: Upstreams, origin: object) -> object:
        return await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(Upstreams, "connect", never)

    async def story(scene: Scene) -> None:
        await scene.client.say(GET)
        scene.client.end()
        assert await scene.client.hear_all() == b""
        await scene.over()

    record = play(story, world).recorder.record
    assert (record.status, record.ending) == (None, Ending.CLIENT_GONE)


def limit_of(scene: Scene) -> asyncio.Timeout:
    request = scene.conversation._request
    assert isinstance(request, TimedRequest)
    assert request._limit is not None
    return request._limit


@pytest.fixture
def patient() -> World:
    return World(timeouts=timeouts(request=60.0))


def test_each_request_has_its_own_time(patient: World) -> None:
    async def story(scene: Scene) -> None:
        upstream, last = None, 0.0
        for _ in range(3):
            await scene.client.say(GET)
            upstream = upstream or await scene.upstream()
            await upstream.hear()
            ends = limit_of(scene).when()
            assert ends is not None
            assert last <= ends <= asyncio.get_running_loop().time() + 60
            last = ends
            await upstream.say(OK)
            assert await scene.client.hear_exactly(len(OK)) == OK

    assert [one.ending for one in play(story, patient).recorder.records] == [Ending.COMPLETED] * 3


def test_a_connection_that_switched_protocols_goes_on(patient: World) -> None:
    switch = b"Connection: upgrade\r\nUpgrade: websocket\r\n"

    async def story(scene: Scene) -> None:
        key = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        await scene.client.say(GET[:-2] + switch + key + b"\r\n")
        upstream = await scene.upstream()
        await upstream.hear()
        await upstream.say(b"HTTP/1.1 101 Switching Protocols\r\n" + switch + b"\r\n")
        await scene.client.hear()
        assert limit_of(scene).when() is None
        await upstream.say(b"\x81\x05hello")
        assert await scene.client.hear_exactly(7) == b"\x81\x05hello"
        scene.client.end()
        upstream.end()
        await scene.over()

    assert play(story, patient).recorder.record.ending is Ending.COMPLETED


def test_another_time_out_is_not_taken_for_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> None:
        raise TimeoutError

    monkeypatch.setattr(one_request, "final_head", broken)

    async def story(scene: Scene) -> None:
        await scene.client.say(GET)
        await scene.over()

    world = play(story, world)
    assert [where for where, _ in world.recorder.crashes] == ["fast lane"]
    assert world.recorder.failures == []


def test_without_a_limit_a_request_takes_as_long_as_it_takes() -> None:
    async def story(scene: Scene) -> None:
        assert scene.conversation._makes is one_request.OneRequest

    play(story)
