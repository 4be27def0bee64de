"""An answer on its way to the application: in which framing, and how it ends."""

import pytest

from proxy.core.audit import Ending
from proxy.lanes.fast.answer import MOST_INTERIM
from proxy.lanes.fast.side import HIGH_WATER, READS_IN_TURN
from tests.fast_world import End, Scene, play, turns, until
from tests.lane_world import LIVE, World

CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\n"


def get(version: str = "1.1", method: str = "GET") -> bytes:
    return f"{method} /v1/models HTTP/{version}\r\nHost: api.example.com\r\n\r\n".encode()


async def asked(scene: Scene, version: str = "1.1", method: str = "GET") -> End:
    await scene.client.say(get(version, method))
    upstream = await scene.upstream()
    await upstream.hear()
    return upstream


def test_a_length_stays_and_the_connection_with_it() -> None:
    async def story(scene: Scene) -> None:
        upstream = await asked(scene)
        whole = b"HTTP/1.1 200 OK\r\nX-One: 1\r\nContent-Length: 5\r\n\r\nhello"
        await upstream.say(whole)
        assert await scene.client.hear_exactly(len(whole)) == whole
        await until(lambda: scene.street.idle == 1)

    play(story)


def test_chunks_are_framed_anew_and_trailers_end_here() -> None:
    async def story(scene: Scene) -> None:
        upstream = await asked(scene)
        await upstream.say(CHUNKED + b"3;x=1\r\nabc\r\n")
        assert await scene.client.hear() == CHUNKED
        await upstream.say(b"2\r\nde\r\n0\r\nX-Trailer: 1\r\n\r\n")
        got = await scene.client.hear(b"0\r\n\r\n")
        assert b"X-Trailer" not in got
        body = b"".join(line for line in got.split(b"\r\n")[1::2])
        assert body == b"abcde"
        assert await scene.client.is_silent()
        await until(lambda: scene.street.idle == 1)

    assert play(story).recorder.record.received_bytes == 5


def test_a_client_of_http_1_0_gets_no_chunks() -> None:
    async def story(scene: Scene) -> None:
        upstream = await asked(scene, "1.0")
        await upstream.say(CHUNKED + b"3\r\nabc\r\n0\r\n\r\n")
        assert await scene.client.hear_all() == b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nabc"

    play(story)


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n"),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\ncontent-length: 1000\r\n\r\n"),
        ("GET", b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
    ],
)
def test_an_answer_without_a_body_leaves_both_connections_in_order(method: str, answer: bytes) -> None:
    async def story(scene: Scene) -> None:
        upstream = await asked(scene, method=method)
        await upstream.say(answer)
        assert await scene.client.hear_exactly(len(answer)) == answer
        await scene.client.say(get())
        await upstream.hear()
        assert len(scene.street.ends) == 1

    play(story)


def test_a_body_until_the_end_arrives_whole_and_ends_as_it_ended() -> None:
    async def story(scene: Scene) -> None:
        upstream = await asked(scene)
        await upstream.say(UNTIL_CLOSE + b"all")
        await scene.client.hear()
        await upstream.say(b" of it")
        upstream.end()
        assert await scene.client.hear_all() == b"all of it"

    world = play(story)
    assert world.recorder.record.ending is Ending.COMPLETED


def test_a_body_until_an_end_that_was_none_does_not_look_whole() -> None:
    async def story(scene: Scene) -> None:
        upstream = await asked(scene)
        await upstream.say(UNTIL_CLOSE + b"x" * 1000)
        await scene.client.hear()
        await scene.client.hear_exactly(800)
        upstream.reset()
        await scene.client.has_ended()
        await scene.over()
        # Nobody said farewell: over TLS that would be an end without its alert.
        assert scene.side.is_broken

    play(story)


@pytest.mark.parametrize(
    "half",
    [b"HTTP/1.1 200 OK\r\ncontent-length: 2000\r\n\r\n" + b"x" * 1000, CHUNKED + b"7d0\r\n" + b"x" * 1000],
)
@pytest.mark.parametrize("how", ["leave", "reset"])
def test_half_an_answer_is_seen_to_be_half(half: bytes, how: str) -> None:
    async def story(scene: Scene) -> None:
        upstream = await asked(scene)
        await upstream.say(half)
        await scene.client.hear()
        await scene.client.hear_exactly(500)
        getattr(upstream, how)()
        await scene.client.has_ended()
        await scene.over()
        assert scene.side.is_broken

    assert play(story).recorder.record.ending is Ending.UPSTREAM_FAILED


def test_chunks_that_can_be_read_in_two_ways_end_both() -> None:
    async def story(scene: Scene) -> None:
        upstream = await asked(scene)
        await upstream.say(CHUNKED + b"3\r\nabc\r\n 2\r\n")
        await scene.client.has_ended()
        assert await upstream.has_ended()
        await scene.over()

    assert play(story).recorder.record.ending is Ending.UPSTREAM_FAILED


def test_what_an_upstream_says_behind_its_answer_is_nobodys() -> None:
    async def story(scene: Scene) -> None:
        upstream = await asked(scene)
        whole = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
        await upstream.say(whole + b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nsmuggled")
        assert await scene.client.hear_exactly(len(whole)) == whole
        await until(lambda: scene.world.recorder.records)
        assert scene.street.idle == 0
        await scene.client.say(get())
        second = await scene.upstream()
        await second.hear()
        assert await upstream.has_ended()

    play(story)


def test_an_upstream_that_closes_is_not_kept() -> None:
    async def story(scene: Scene) -> None:
        upstream = await asked(scene)
        await upstream.say(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")
        # Of the two connections each has an end of its own.
        assert await scene.client.hear_exactly(40) == b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"[:40]
        assert await upstream.has_ended()
        await scene.client.say(get())
        await (await scene.upstream()).hear()

    play(story)


def test_a_slow_reader_holds_up_the_upstream_and_memory_does_not_grow() -> None:
    body = b"x" * 16_000_000

    async def story(scene: Scene) -> None:
        upstream = await asked(scene)
        await upstream.say(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body))
        saying = scene.running.get_loop().create_task(upstream.say(body))
        await until(lambda: scene.side.unsent > HIGH_WATER)
        await turns(200)
        assert not saying.done()
        assert scene.side.unsent < 4 * HIGH_WATER
        await scene.client.hear()
        assert await scene.client.hear_exactly(len(body)) == body
        await saying

    assert play(story).recorder.record.received_bytes == len(body)


def test_a_client_that_leaves_in_the_middle_ends_the_upstream() -> None:
    async def story(scene: Scene) -> None:
        upstream = await asked(scene)
        await upstream.say(b"HTTP/1.1 200 OK\r\ncontent-length: 9000\r\n\r\n" + b"x" * 1000)
        await scene.client.hear()
        scene.client.reset()
        assert await upstream.has_ended()
        await scene.over()

    assert play(story).recorder.record.ending is Ending.CLIENT_GONE


@pytest.mark.parametrize("cut", range(1, len(LIVE), 7))
def test_our_credential_is_blotted_out_also_where_two_pieces_meet(cut: int) -> None:
    async def story(scene: Scene) -> None:
        upstream = await asked(scene)
        await upstream.say(CHUNKED + b"%x\r\n" % cut + LIVE[:cut].encode() + b"\r\n")
        await turns()
        rest = LIVE[cut:].encode()
        await upstream.say(b"%x\r\n%b\r\n0\r\n\r\n" % (len(rest), rest))
        got = await scene.client.hear()
        got += await scene.client.hear(b"0\r\n\r\n")
        assert b"***" in got
        assert LIVE.encode() not in got
        assert len(rest) < 4 or rest not in got

    assert play(story).recorder.record.redactions == 1


def test_one_body_that_never_has_to_be_waited_for_lets_others_in() -> None:
    """Two downloads at once, and neither waits for the other's end."""
    body = b"x" * 16_384 * READS_IN_TURN * 4
    turns_of_others: list[int] = []

    async def story(scene: Scene) -> None:
        upstream = await asked(scene)
        await upstream.say(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body))
        loop = scene.running.get_loop()
        saying = loop.create_task(upstream.say(body))
        await scene.client.hear()
        hearing = loop.create_task(scene.client.hear_exactly(len(body)))
        while not hearing.done():
            turns_of_others.append(scene.side.went)
            await turns(1)
        await saying

    play(story, World())
    assert len(set(turns_of_others)) >= 4


@pytest.mark.parametrize(("count", "status"), [(MOST_INTERIM, 200), (MOST_INTERIM + 1, 502)])
def test_announcements_without_end_are_no_answer(count: int, status: int) -> None:
    async def story(scene: Scene) -> None:
        upstream = await asked(scene)
        await upstream.say(b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" * count)
        await upstream.say(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        assert (await scene.client.hear()).startswith(b"HTTP/1.1 %d " % status)

    play(story)


@pytest.mark.parametrize(
    ("version", "half"), [("1.1", UNTIL_CLOSE + b"half"), ("1.0", CHUNKED + b"fff\r\nhalf")]
)
def test_half_a_body_that_its_connection_ends_is_reset(version: str, half: bytes) -> None:
    """Any other end looks like a proper one to those who read until it, without TLS at least."""

    async def story(scene: Scene) -> None:
        upstream = await asked(scene, version)
        await upstream.say(half)
        await scene.client.hear()
        upstream.reset()
        with pytest.raises(ConnectionResetError):
            await scene.client.hear_all()
        await scene.over()

    play(story)
