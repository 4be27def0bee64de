"""One connection of the application: where requests begin, and how it ends."""

import asyncio

import pytest

from proxy.core.audit import Ending
from proxy.core.reasons import Reason
from proxy.lanes.fast import conversation as module
from proxy.lanes.fast.side import HIGH_WATER, READS_IN_TURN
from proxy.wire.request_head import MAX_REQUEST_LINE
from tests.fast_world import PATIENCE, Scene, play, turns, until
from tests.lane_world import LIVE, World, timeouts

GET = b"GET /v1/models HTTP/1.1\r\nHost: api.example.com\r\n\r\n"
SENT = (
    b"GET /v1/models HTTP/1.1\r\nHost: api.example.com\r\nAccept-Encoding: identity\r\n"
    b"authorization: Bearer %b\r\n\r\n" % LIVE.encode()
)
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


def test_one_connection_serves_one_request_after_the_other_and_uses_one_upstream() -> None:
    async def story(scene: Scene) -> None:
        for number in range(3):
            await scene.client.say(GET)
            if number == 0:
                upstream = await scene.upstream()
            assert await upstream.hear() == SENT
            await upstream.say(OK)
            assert await scene.client.hear_exactly(len(OK)) == OK
        scene.client.end()
        await scene.over()
        assert scene.street.opened.empty()

    world = play(story)
    assert [record.ending for record in world.recorder.records] == [Ending.COMPLETED] * 3
    assert world.recorder.crashes == []


def test_a_head_in_single_bytes_is_one_request() -> None:
    async def story(scene: Scene) -> None:
        for byte in GET:
            await scene.client.say(bytes([byte]))
            await turns(3)
        upstream = await scene.upstream()
        assert await upstream.hear() == SENT
        await upstream.say(OK)
        assert await scene.client.hear_exactly(len(OK)) == OK

    play(story)


def test_pipelined_requests_are_answered_one_after_the_other() -> None:
    async def story(scene: Scene) -> None:
        nowhere = GET.replace(b"/v1/models", b"/nowhere")
        await scene.client.say(GET + nowhere + GET)
        upstream = await scene.upstream()
        assert await upstream.hear() == SENT
        assert await upstream.is_silent()
        await upstream.say(OK)
        assert await scene.client.hear_exactly(len(OK)) == OK
        assert (await scene.client.hear()).startswith(b"HTTP/1.1 403 ")
        assert await upstream.hear() == SENT
        await upstream.say(OK)
        assert await scene.client.hear(OK)

    world = play(story)
    assert world.recorder.reasons == ["granted", Reason.PATH_NOT_GRANTED.value, "granted"]


@pytest.mark.parametrize(
    "head",
    [
        b"GET /v1/models HTTP/1.1\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nHost: api.example.com\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nHost : api.example.com\r\n\r\n",
        b"GET /v1/models HTTP/1.1\nHost: api.example.com\n\n",
        b"GET /v1/models HTTP/2.0\r\nHost: api.example.com\r\n\r\n",
        b"\x16\x03\x01 hello\r\n\r\n",
        b"G" * (MAX_REQUEST_LINE + 1),
    ],
)
def test_a_head_that_cannot_be_read_in_one_way_is_answered_and_nothing_behind_it_is_read(head: bytes) -> None:
    async def story(scene: Scene) -> None:
        await scene.client.say(head + GET)
        scene.client.end()
        answer = await scene.client.hear_all()
        assert answer.count(b"\r\n\r\n") == 1
        assert answer.startswith(b"HTTP/1.1 4")
        assert b"\r\nconnection: close\r\n" in answer
        await scene.over()
        assert scene.street.ends == []

    world = play(story)
    assert [record.ending for record in world.recorder.records] == [Ending.REFUSED]


def test_what_is_no_head_is_answered_at_once_also_that_which_has_no_end_of_a_line() -> None:
    async def story(scene: Scene) -> None:
        await scene.client.say(bytes(1000))
        assert (await scene.client.hear()).startswith(b"HTTP/1.1 400 ")

    play(story)


def test_a_client_that_says_nothing_and_leaves_has_made_no_request() -> None:
    async def story(scene: Scene) -> None:
        scene.client.leave()
        await scene.over()

    assert play(story).recorder.records == []


def test_half_a_head_is_no_request() -> None:
    async def story(scene: Scene) -> None:
        await scene.client.say(GET[:20])
        scene.client.end()
        assert await scene.client.hear_all() == b""
        await scene.over()

    assert play(story).recorder.records == []


@pytest.mark.parametrize("version", [b"HTTP/1.0", b"HTTP/1.1"])
def test_who_asks_for_the_end_of_the_connection_gets_it_behind_the_answer(version: bytes) -> None:
    async def story(scene: Scene) -> None:
        close = b"" if version == b"HTTP/1.0" else b"Connection: close\r\n"
        await scene.client.say(
            GET.replace(b"HTTP/1.1", version).replace(b"\r\n\r\n", b"\r\n" + close + b"\r\n") + GET
        )
        upstream = await scene.upstream()
        await upstream.hear()
        await upstream.say(OK)
        assert await scene.client.hear_all() == OK.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")
        scene.client.leave()
        await scene.over()

    assert len(play(story).recorder.records) == 1


def test_who_sends_requests_and_reads_no_answers_is_not_served_on() -> None:
    big = b"HTTP/1.1 200 OK\r\ncontent-length: 12000000\r\n\r\n" + b"x" * 12_000_000

    async def story(scene: Scene) -> None:
        await scene.client.say(GET * 3)
        upstream = await scene.upstream()
        await upstream.hear()
        saying = asyncio.ensure_future(upstream.say(big))
        await until(lambda: scene.side.unsent > HIGH_WATER)
        await turns(200)
        assert await upstream.is_silent()
        assert await scene.client.hear_exactly(len(big)) == big
        await saying
        # Only now the next one travels.
        await upstream.hear()

    play(story)


def test_a_client_of_many_requests_lets_others_in() -> None:
    """None of them has to wait: all are refused."""
    count = 40 * READS_IN_TURN
    seen: set[int] = set()

    async def story(scene: Scene) -> None:
        scene.side.unread(GET.replace(b"/v1/models", b"/nowhere") * count)
        while len(scene.recorder.records) < count:
            seen.add(len(scene.recorder.records))
            await turns(1)

    play(story)
    assert len(seen) >= 20


def test_what_was_asked_before_is_granted_the_same_and_recorded_by_itself() -> None:
    async def story(scene: Scene) -> None:
        heads = [GET, GET, GET.replace(b"models", b"others"), GET]
        await scene.client.say(b"".join(heads))
        upstream = await scene.upstream()
        for head in heads:
            sent = await upstream.hear()
            assert sent == SENT.replace(b"/v1/models", head.split(b" ")[1])
            await upstream.say(OK)
            assert await scene.client.hear_exactly(len(OK)) == OK

    world = play(story)
    assert len({record.request_id for record in world.recorder.records}) == 4
    assert {record.reason for record in world.recorder.records} == {"granted"}


# --- for a drain ---


def test_it_is_busy_while_a_request_is_under_way_and_tells_since_when_nothing_moved() -> None:
    async def story(scene: Scene) -> None:
        accepted, clock = scene.accepted, scene.world.clock
        assert not accepted.busy()
        await scene.client.say(GET)
        upstream = await scene.upstream()
        await upstream.hear()
        assert accepted.busy()
        scene.look(1)
        clock.seconds += 2
        assert accepted.idle_for() == 2
        await upstream.say(OK)
        await scene.client.hear_exactly(len(OK))
        await until(lambda: not accepted.busy())

    play(story)


# --- what stands still ---


def test_an_idle_connection_is_ended_after_its_time() -> None:
    async def story(scene: Scene) -> None:
        scene.look(0)
        scene.look(4)
        await turns()
        assert not scene.running.done()
        scene.look(1)
        await scene.client.has_ended()
        await scene.over()

    assert play(story).recorder.records == []


def test_a_head_that_does_not_come_to_its_end_is_not_waited_for_whatever_dribbles() -> None:
    async def story(scene: Scene) -> None:
        await scene.client.say(b"GET /v1")
        await until(lambda: scene.side.came == 7)
        for _ in range(4):
            await turns()
            assert not scene.running.done()
            scene.look(1)
            await scene.client.say(b"x")
        await turns()
        scene.look(1)
        await scene.client.has_ended()
        await scene.over()

    assert play(story).recorder.records == []


def test_a_client_that_does_not_end_after_the_last_answer_is_not_waited_for_long() -> None:
    async def story(scene: Scene) -> None:
        await scene.client.say(b"nonsense\r\n\r\n")
        await scene.client.hear_all()
        await scene.client.say(b"still here")
        await turns()
        assert not scene.running.done()
        scene.look(5)
        await scene.over()

    play(story)


def test_a_slow_request_is_not_ended_while_anything_moves() -> None:
    async def story(scene: Scene) -> None:
        await scene.client.say(GET)
        upstream = await scene.upstream()
        await upstream.hear()
        await upstream.say(b"HTTP/1.1 200 OK\r\ncontent-length: 4000\r\n\r\n")
        await scene.client.hear()
        for _ in range(4):
            scene.look(4)
            await upstream.say(b"x" * 1000)
            # A part may be held back: it could be the beginning of a credential.
            await scene.client.hear_exactly(800)
        scene.look(0)
        await until(lambda: scene.world.recorder.records)

    assert play(story).recorder.record.ending is Ending.COMPLETED


def test_an_upstream_that_says_nothing_is_told_to_have_stalled_once() -> None:
    async def story(scene: Scene) -> None:
        await scene.client.say(GET)
        upstream = await scene.upstream()
        await upstream.hear()
        scene.look(0)
        scene.look(5)
        assert (await scene.client.hear()).startswith(b"HTTP/1.1 504 ")
        assert await upstream.has_ended()

    assert play(story).recorder.record.reason == Reason.UPSTREAM_STALLED.value


def test_a_client_that_stalls_in_its_body_is_told_so_and_then_ended() -> None:
    async def story(scene: Scene) -> None:
        await scene.client.say(b"POST /v1/x HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 5\r\n\r\nab")
        upstream = await scene.upstream()
        await upstream.hear(b"ab")
        scene.look(0)
        scene.look(5)
        await upstream.has_ended()
        assert (await scene.client.hear()).startswith(b"HTTP/1.1 504 ")
        # What is left of the body is read and dropped, and does not come either.
        scene.look(0)
        scene.look(5)
        await scene.client.has_ended()
        await scene.over()

    assert len(play(story).recorder.records) == 1


def test_time_outs_are_the_settings() -> None:
    async def story(scene: Scene) -> None:
        await scene.client.say(b"GET")
        await until(lambda: scene.side.came)
        await turns()
        scene.look(1)
        await turns()
        assert not scene.running.done()
        scene.look(1)
        await scene.over()

    play(story, World(timeouts=timeouts(header=2.0, idle=60.0)))


def test_a_head_is_not_read_again_for_every_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who sends byte by byte would have us read each head thousands of times."""
    readings: list[int] = []
    real = module.read_request_head

    def counted(data: bytes) -> object:
        readings.append(len(data))
        return real(data)

    monkeypatch.setattr(module, "read_request_head", counted)
    long = GET.replace(b"/v1/models", b"/v1/" + b"x" * 500)

    async def story(scene: Scene) -> None:
        for byte in long:
            await scene.client.say(bytes([byte]))
            await turns(3)
        upstream = await scene.upstream()
        await upstream.hear()

    play(story)
    assert len(readings) <= 1 + long.count(b"\n")


def test_a_conversation_that_is_cancelled_ends_its_upstream() -> None:
    async def story(scene: Scene) -> None:
        await scene.client.say(GET)
        upstream = await scene.upstream()
        await upstream.hear()
        scene.running.cancel()
        async with asyncio.timeout(PATIENCE):
            assert await upstream.has_ended()
            assert await scene.client.has_ended()

    assert len(play(story).recorder.records) == 1


def test_a_reset_behind_what_was_still_to_be_read_is_noticed_soon() -> None:
    async def story(scene: Scene) -> None:
        await scene.client.say(b"GET /v1/x HTTP/1.1\r\n")
        await turns()
        # In one turn of the event loop, which is told of an error and watches no more.
        scene.client.sock.send(b"Host: ")
        scene.client.reset()
        await turns()
        scene.look(1)
        scene.look(1)
        await scene.over()

    assert play(story).recorder.crashes == []


def test_an_upstream_that_resets_behind_a_part_of_its_answer_is_noticed_soon() -> None:
    async def story(scene: Scene) -> None:
        await scene.client.say(b"GET /v1/x HTTP/1.1\r\nHost: api.example.com\r\n\r\n")
        upstream = await scene.upstream()
        await upstream.hear()
        upstream.sock.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
        upstream.reset()
        await turns()
        scene.look(1)
        scene.look(1)
        assert (await scene.client.hear()).startswith(b"HTTP/1.1 200 OK")
        assert await scene.client.has_ended()

    assert play(story).recorder.record.ending is Ending.UPSTREAM_FAILED
