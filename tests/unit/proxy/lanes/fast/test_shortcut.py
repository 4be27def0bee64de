"""The short way: it does what the long way does, or leaves it to that."""

import asyncio
import gc
from collections.abc import Awaitable, Callable
from secrets import token_hex
from typing import Final
from weakref import ref

import pytest

from proxy.core.audit import AuditRecord, Ending, Own
from proxy.core.credentials import CredentialRef
from proxy.core.lease import Lease
from proxy.core.parts import Part
from proxy.core.secret import Secret
from proxy.core.structs import replace
from proxy.lanes.fast import shortcut as module
from proxy.lanes.fast.side import HIGH_WATER
from tests.fast_world import ADDRESS, End, Scene, perform, play, turns, until
from tests.judge_world import policy
from tests.lane_world import HOST, LIVE, World, live_lease, pod_of

OK: Final = b"HTTP/1.1 200 OK\r\nServer:  a\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok"
PASSED: Final = b"HTTP/1.1 200 OK\r\nServer:  a\r\nContent-Length: 2\r\n\r\nok"
NEXT: Final = f"next-{token_hex(16)}"


def head(method: str = "GET", *fields: str) -> bytes:
    return "\r\n".join([f"{method} /v1/x HTTP/1.1", "Host: api.example.com", *fields, "", ""]).encode()


GET: Final = head()
ORIGIN: Final = (HOST, ADDRESS)


async def warmed(scene: Scene, request: bytes = GET) -> End:
    """Asked twice: the third one is known."""
    upstream: End | None = None
    for _ in range(2):
        await scene.client.say(request)
        upstream = upstream or await scene.upstream()
        await upstream.hear()
        await upstream.say(OK)
        await scene.client.hear_exactly(len(PASSED))
    assert upstream is not None
    assert scene.recorder.short == []
    return upstream


def story_of(
    then: Callable[[Scene, End], Awaitable[None]], request: bytes = GET
) -> Callable[[Scene], Awaitable[None]]:
    async def story(scene: Scene) -> None:
        await then(scene, await warmed(scene, request))

    return story


def only_third(world: World) -> AuditRecord:
    assert world.recorder.crashes == []
    assert len(world.recorder.records) == 3
    return world.recorder.records[-1]


def test_the_third_is_sent_answered_and_recorded_as_the_second_was() -> None:
    heard = []

    async def story(scene: Scene) -> None:
        upstream = None
        for _ in range(4):
            await scene.client.say(GET)
            upstream = upstream or await scene.upstream()
            sent = await upstream.hear()
            await upstream.say(OK)
            heard.append((sent, await scene.client.hear_exactly(len(PASSED))))
        await until(lambda: len(scene.recorder.records) == 4)
        assert scene.street.idle == 1
        assert scene.side.on_news is None

    world = play(story)

    assert heard[1:] == heard[:1] * 3
    assert heard[0][1] == PASSED
    assert LIVE.encode() in heard[0][0]
    records = world.recorder.records
    assert world.recorder.short == [one.request_id for one in records[2:]]
    assert {replace(one, request_id="", time=records[0].time) for one in records} == {
        replace(records[0], request_id="")
    }
    assert records[0].ending is Ending.COMPLETED
    assert [one.request_id for one in world.recorder.decisions] == [one.request_id for one in records]


UNUSUAL: Final = {
    "no content": b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
    "elsewhere": b"HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n",
    "refused": b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno",
    "in chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "its last": b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
    "an announcement": b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK,
    "a session": b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 2\r\n\r\nok",
    "our credential in a field": f"HTTP/1.1 200 OK\r\nX-Echo: {LIVE}\r\nContent-Length: 2\r\n\r\nok".encode(),
    "our credential": b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%b"
    % (len(LIVE), LIVE.encode()),
    "another answer behind it": OK + OK,
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
    "no answer": b"nonsense\r\n\r\n",
    "a switch": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
}


def outcome(answer: bytes, *, is_short: bool, pieces: int) -> tuple[bytes, list[AuditRecord], object, int]:
    """What the client gets, to the end of what comes; the records; and what is left of the upstream."""
    got = bytearray()
    left = []

    async def then(scene: Scene, upstream: End) -> None:
        if not is_short:
            scene.conversation._short = None
        await scene.client.say(GET)
        await upstream.hear()
        size = -(-len(answer) // pieces)
        for at in range(0, len(answer), size):
            await upstream.say(answer[at : at + size])
            await turns()
        await until(lambda: len(scene.recorder.records) == 3)
        await turns()
        scene.client.end()
        got.extend(await scene.client.hear_all())
        left.append((scene.street.idle, dict(scene.street._open)))

    world = play(story_of(then))
    assert bool(world.recorder.short) is is_short
    assert world.recorder.crashes == []
    records = [replace(one, request_id="") for one in world.recorder.records]
    return bytes(got), records, left[0], len(world.recorder.decisions)


@pytest.mark.parametrize("pieces", [1, 2])
@pytest.mark.parametrize("what", UNUSUAL)
def test_an_answer_unlike_most_goes_the_long_way(what: str, pieces: int) -> None:
    answer = UNUSUAL[what]

    long, short = (outcome(answer, is_short=is_short, pieces=pieces) for is_short in (False, True))

    assert short == long
    assert LIVE.encode() not in short[0]


def test_an_answer_that_comes_in_pieces_goes_the_long_way() -> None:
    assert outcome(OK, is_short=True, pieces=5) == outcome(OK, is_short=False, pieces=5)


@pytest.mark.parametrize(("how", "ends"), [(End.end, True), (End.reset, True)])
def test_a_client_that_leaves_meanwhile_ends_the_upstream(how: Callable[[End], None], *, ends: bool) -> None:
    async def then(scene: Scene, upstream: End) -> None:
        await scene.client.say(GET)
        await upstream.hear()
        how(scene.client)
        assert await upstream.has_ended() is ends
        await until(lambda: len(scene.recorder.records) == 3)
        assert scene.street._open == {}

    world = play(story_of(then))
    assert only_third(world).ending is Ending.CLIENT_GONE
    assert world.recorder.short


def test_a_client_that_says_more_meanwhile_is_served_in_turn() -> None:
    async def then(scene: Scene, upstream: End) -> None:
        await scene.client.say(GET + GET)
        for _ in range(2):
            await upstream.hear()
            await upstream.say(OK)
            assert await scene.client.hear_exactly(len(PASSED)) == PASSED

    assert len(play(story_of(then)).recorder.short) == 2


def test_an_upstream_that_stands_still_is_told_of() -> None:
    async def then(scene: Scene, upstream: End) -> None:
        await scene.client.say(GET)
        await upstream.hear()
        scene.look(0)
        scene.look(scene.world.timeouts.idle)
        assert b"podkey-reason: upstream_stalled\r\n" in await scene.client.hear()
        assert await upstream.has_ended()

    assert only_third(play(story_of(then))).status == 504


@pytest.mark.parametrize(("method", "status"), [("GET", 200), ("POST", 502)])
def test_a_connection_that_had_died_is_replaced_for_what_may_go_twice(method: str, status: int) -> None:
    async def then(scene: Scene, upstream: End) -> None:
        await scene.client.say(head(method))
        await upstream.hear()
        upstream.leave()
        if status == 200:
            other = await scene.upstream()
            await other.hear()
            await other.say(OK)
        await scene.client.hear()
        await until(lambda: len(scene.recorder.records) == 3)

    world = play(story_of(then, head(method)))
    assert (only_third(world).status, bool(world.recorder.short)) == (status, True)


def test_half_an_answer_is_seen_to_be_half() -> None:
    async def then(scene: Scene, upstream: End) -> None:
        await scene.client.say(GET)
        await upstream.hear()
        await upstream.say(OK[:-1])
        await turns()
        upstream.leave()
        await scene.client.has_ended()
        await until(lambda: len(scene.recorder.records) == 3)

    assert only_third(play(story_of(then))).ending is Ending.UPSTREAM_FAILED


def test_another_policy_is_asked() -> None:
    async def then(scene: Scene, upstream: End) -> None:
        scene.take_away(pod_of(policy("{hosts: [api.example.com], paths: [/other], credential: a}")))
        await scene.client.say(GET)
        assert b"podkey-reason: path_not_granted\r\n" in await scene.client.hear()
        assert await upstream.is_silent()

    assert play(story_of(then)).recorder.short == []


def test_another_lease_is_another_credential() -> None:
    async def then(scene: Scene, upstream: End) -> None:
        parts = {Part.TOKEN: Secret(NEXT.encode())}
        other = replace(live_lease(scene.world.leases.asked[0]), id="lease-2", parts=parts)
        scene.world.leases.reply = lambda _: other
        for _ in range(2):
            await scene.client.say(GET)
            sent = await upstream.hear()
            assert NEXT.encode() in sent
            assert LIVE.encode() not in sent
            await upstream.say(OK)
            await scene.client.hear_exactly(len(PASSED))

    world = play(story_of(then))
    assert [one.lease_id for one in world.recorder.records] == ["lease-1", "lease-1", "lease-2", "lease-2"]
    assert len(world.recorder.short) == 1


def test_a_lease_that_was_overwritten_carries_nothing() -> None:
    secret = Secret(LIVE.encode())
    world = World()
    world.leases.reply = lambda ref: replace(live_lease(ref), parts={Part.TOKEN: secret})

    async def then(scene: Scene, upstream: End) -> None:
        secret.overwrite()
        await scene.client.say(GET)
        await scene.client.hear()
        assert await upstream.is_silent()

    assert play(story_of(then), world).recorder.short == []


def test_what_a_policy_would_cut_goes_the_long_way() -> None:
    cut = "{hosts: [api.example.com], paths: [/v1/**], credential: a}"
    world = World(pod=pod_of(policy(cut).replace("grants:", "onRevoke: cut\n  grants:", 1)))

    async def then(scene: Scene, upstream: End) -> None:
        await scene.client.say(GET)
        await upstream.hear()
        assert len(world.lane_world.in_flight) == 1
        await upstream.say(OK)
        await scene.client.hear_exactly(len(PASSED))

    assert play(story_of(then), world).recorder.short == []


def test_a_request_with_a_body_goes_the_long_way() -> None:
    async def story(scene: Scene) -> None:
        upstream: End | None = None
        for _ in range(3):
            await scene.client.say(head("PUT", "Content-Length: 2") + b"ab")
            upstream = upstream or await scene.upstream()
            await upstream.hear()
            assert await upstream.hear_exactly(2) == b"ab"
            await upstream.say(OK)
            await scene.client.hear_exactly(len(PASSED))

    assert play(story).recorder.short == []


def test_the_last_request_of_its_connection_goes_the_long_way() -> None:
    last = head("GET", "Connection: close")
    world = World()

    async def story(scene: Scene) -> None:
        await scene.client.say(last)
        upstream = await scene.upstream()
        await upstream.hear()
        await upstream.say(OK)
        assert b"connection: close\r\n" in await scene.client.hear()

    for _ in range(3):
        play(story, world)
    assert world.recorder.short == []


def test_who_is_stopped_meanwhile_is_recorded_once_and_leaves_no_connection() -> None:
    async def then(scene: Scene, upstream: End) -> None:
        await scene.client.say(GET)
        await upstream.hear()
        scene.running.cancel()
        await asyncio.wait({scene.running})
        assert scene.street._open == {}
        assert await upstream.has_ended()

    assert only_third(play(story_of(then))).ending is Ending.CUT


def test_what_could_not_be_recorded_goes_the_long_way(monkeypatch: pytest.MonkeyPatch) -> None:
    async def then(scene: Scene, upstream: End) -> None:
        def breaks(record: AuditRecord, own: Own, seconds: float) -> None:
            raise OSError(record, own, seconds)

        monkeypatch.setattr(scene.recorder, "repeated", breaks)
        await scene.client.say(GET)
        assert await upstream.has_ended()
        other = await scene.upstream()
        await other.hear()
        await other.say(OK)
        assert await scene.client.hear_exactly(len(PASSED)) == PASSED
        assert scene.street._open == {ORIGIN: 1}

    world = play(story_of(then))
    assert [where for where, _ in world.recorder.crashes] == ["fast lane"]
    assert len(world.recorder.records) == len(world.recorder.decisions) == 3


def test_who_breaks_after_that_is_recorded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: object) -> None:
        raise RuntimeError

    async def then(scene: Scene, upstream: End) -> None:
        monkeypatch.setattr(module, "read_usual_answer", breaks)
        await scene.client.say(GET)
        await upstream.hear()
        await upstream.say(OK)
        assert await scene.client.has_ended()
        await scene.over()
        assert scene.street._open == {}

    world = play(story_of(then))
    assert [where for where, _ in world.recorder.crashes] == ["fast lane"]
    assert len(world.recorder.records) == 3
    assert world.recorder.records[-1].ending is Ending.CUT


# --- one after the other ---


async def asked(scene: Scene, upstream: End, answer: bytes = OK) -> bytes:
    """One more of the same, answered."""
    before = len(scene.recorder.records)
    await scene.client.say(GET)
    await upstream.hear()
    await upstream.say(answer)
    await until(lambda: len(scene.recorder.records) > before)
    body = answer.partition(b"\r\n\r\n")[2]
    return await scene.client.hear() + await scene.client.hear_exactly(len(body))


def test_its_task_sleeps_while_one_comes_after_the_other() -> None:
    async def then(scene: Scene, upstream: End) -> None:
        await asked(scene, upstream)
        served = scene.conversation._short._done  # type: ignore[union-attr]
        for _ in range(3):
            await asked(scene, upstream)
        assert scene.conversation._short._done is served  # type: ignore[union-attr]
        assert not served.done()

    assert len(play(story_of(then)).recorder.short) == 4


def test_between_two_it_is_idle() -> None:
    async def then(scene: Scene, upstream: End) -> None:
        await asked(scene, upstream)
        assert not scene.accepted.busy()
        await scene.client.say(GET)
        await upstream.hear()
        assert scene.accepted.busy()
        await upstream.say(OK)
        await until(lambda: not scene.accepted.busy())
        scene.look(0)
        scene.look(scene.world.timeouts.idle)
        assert await scene.client.has_ended()
        await scene.over()

    assert len(play(story_of(then)).recorder.records) == 4


@pytest.mark.parametrize("how", [End.end, End.reset])
def test_who_leaves_between_two_has_left(how: Callable[[End], None]) -> None:
    async def then(scene: Scene, upstream: End) -> None:
        await asked(scene, upstream)
        how(scene.client)
        if how is End.end:
            await scene.client.hear_all()
            scene.client.leave()
        await scene.over()
        assert scene.street.idle == 1

    assert len(play(story_of(then)).recorder.records) == 3


def test_another_request_and_half_a_request_are_served_behind_it() -> None:
    async def then(scene: Scene, upstream: End) -> None:
        await asked(scene, upstream)
        other = GET.replace(b"/v1/x", b"/v1/y")
        for raw in (other, GET):
            await scene.client.say(raw[:20])
            await turns()
            await scene.client.say(raw[20:])
            assert (await upstream.hear()).startswith(raw[:10])
            await upstream.say(OK)
            assert await scene.client.hear_exactly(len(PASSED)) == PASSED

    world = play(story_of(then))
    assert (len(world.recorder.records), len(world.recorder.short)) == (5, 3)


def test_who_does_not_read_is_not_served_on() -> None:
    much = b"HTTP/1.1 200 OK\r\nContent-Length: 16000\r\n\r\n" + b"x" * 16_000

    async def then(scene: Scene, upstream: End) -> None:
        count = 0
        while scene.side.unsent <= HIGH_WATER:
            await scene.client.say(GET)
            await upstream.hear()
            await upstream.say(much)
            count += 1
            await until(lambda: len(scene.recorder.records) == 2 + count)  # noqa: B023 - at once
        await scene.client.say(GET)
        assert await upstream.is_silent()
        await scene.client.hear_exactly(count * len(much))
        await upstream.hear()

    assert play(story_of(then)).recorder.crashes == []


def test_who_is_stopped_between_two_leaves_nothing() -> None:
    async def then(scene: Scene, upstream: End) -> None:
        await asked(scene, upstream)
        scene.running.cancel()
        await asyncio.wait({scene.running})
        assert scene.street.idle == 1
        assert await upstream.is_silent()

    assert len(play(story_of(then)).recorder.records) == 3


def test_a_later_one_goes_the_long_way_by_itself() -> None:
    """Not the one with which it began."""

    async def then(scene: Scene, upstream: End) -> None:
        await asked(scene, upstream)
        spent = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno"
        await scene.client.say(GET)
        await upstream.hear()
        await upstream.say(spent)
        await upstream.hear()
        await upstream.say(OK)
        assert await scene.client.hear_exactly(len(PASSED)) == PASSED
        await until(lambda: len(scene.recorder.records) == 4)
        assert scene.recorder.records[-1].retried
        assert await asked(scene, upstream) == PASSED

    def reply(ref: CredentialRef) -> Lease:
        return replace(live_lease(ref), id="lease-2") if world.leases.given_back else live_lease(ref)

    world = World()
    world.leases.reply = reply
    assert play(story_of(then), world).recorder.crashes == []


def test_each_answer_is_looked_through() -> None:
    """One that is like the last but for a part of it, and one with another credential."""

    def saying(text: str) -> bytes:
        fields = f"Content-Type: text/plain\r\nContent-Length: {len(text)}"
        return f"HTTP/1.1 200 OK\r\n{fields}\r\n\r\n{text}".encode()

    async def then(scene: Scene, upstream: End) -> None:
        for text in ("x" * len(LIVE), NEXT, NEXT, LIVE, NEXT):
            said = await asked(scene, upstream, saying(text))
            assert said.endswith(text.encode()) is (text != LIVE)
        parts = {Part.TOKEN: Secret(NEXT.encode())}
        other = replace(live_lease(scene.world.leases.asked[0]), id="lease-2", parts=parts)
        scene.world.leases.reply = lambda _: other
        for _ in range(3):
            assert not (await asked(scene, upstream, saying(NEXT))).endswith(NEXT.encode())

    assert play(story_of(then)).recorder.crashes == []


# --- other paths ---


def test_another_path_is_served_at_once_and_remembered_when_it_comes_again() -> None:
    other = GET.replace(b"/v1/x", b"/v1/y")

    async def then(scene: Scene, upstream: End) -> None:
        for _ in range(4):
            await scene.client.say(other)
            assert (await upstream.hear()).startswith(b"GET /v1/y HTTP/1.1\r\n")
            await upstream.say(OK)
            assert await scene.client.hear_exactly(len(PASSED)) == PASSED
        await until(lambda: len(scene.recorder.records) == 6)

    world = play(story_of(then))
    records = world.recorder.records
    # The second of them is judged by itself, and the third opened as that was.
    assert world.recorder.short == [records[at].request_id for at in (2, 5)]
    assert [one.path for one in records] == ["/v1/x"] * 2 + ["/v1/y"] * 4
    assert len({replace(one, request_id="", path="") for one in records}) == 1


@pytest.mark.parametrize("path", ["/v2/x", "/v1/../v2/x", "/v1/%2e%2e/v2", "/v1//x/../../..", "/v1/a\\b"])
def test_a_path_that_is_not_granted_is_refused(path: str) -> None:
    async def then(scene: Scene, upstream: End) -> None:
        await scene.client.say(GET.replace(b"/v1/x", path.encode()))
        assert b"podkey-reason: " in await scene.client.hear()
        assert await upstream.is_silent()

    assert play(story_of(then)).recorder.short == []


def test_another_path_that_goes_the_long_way_is_itself() -> None:
    async def then(scene: Scene, upstream: End) -> None:
        await scene.client.say(GET.replace(b"/v1/x", b"/v1/y"))
        for answer in (b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno", OK):
            assert (await upstream.hear()).startswith(b"GET /v1/y HTTP/1.1\r\n")
            await upstream.say(answer)
        assert await scene.client.hear_exactly(len(PASSED)) == PASSED
        await until(lambda: len(scene.recorder.records) == 3)

    world = World()
    world.leases.reply = lambda ref: replace(
        live_lease(ref), id="lease-2" if world.leases.given_back else "lease-1"
    )
    last = only_third(play(story_of(then), world))
    assert (last.path, last.retried, last.lease_id) == ("/v1/y", True, "lease-2")


async def served_shortly(scene: Scene, upstream: End) -> None:
    """Once more, and now it waits for the next one."""
    await scene.client.say(GET)
    await upstream.hear()
    await upstream.say(OK)
    await scene.client.hear_exactly(len(PASSED))
    await turns()


def test_an_idle_connection_keeps_nothing_of_a_lease_that_ended() -> None:
    async def then(scene: Scene, upstream: End) -> None:
        await served_shortly(scene, upstream)
        short = scene.conversation._short
        assert short is not None
        assert short._clean_of is not None
        assert short._clean_of() is not None
        world = scene.world.lane_world
        (familiar,) = world.memory._young.values()
        lease = world.leases.at_hand(familiar.key)
        assert lease is not None
        del familiar
        for part in lease.parts.values():
            part.overwrite()
        await turns()
        assert short._clean_of() is None

    play(story_of(then))


def test_what_fails_between_two_requests_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    async def then(scene: Scene, upstream: End) -> None:
        await served_shortly(scene, upstream)

        def fails(_: object) -> bool:
            raise RuntimeError

        monkeypatch.setattr(scene.conversation._short, "_begin", fails)
        await scene.client.say(GET)
        assert await scene.client.has_ended()
        await until(scene.running.done)

    world = play(story_of(then))
    assert [where for where, _ in world.recorder.crashes] == ["fast lane"]


def test_a_connection_that_ended_waits_for_no_collector() -> None:
    gone: list[ref[object]] = []

    async def story() -> None:
        scene = Scene(World())
        await warmed(scene)
        gone.extend(map(ref, (scene.conversation._short,)))
        scene.client.leave()
        await scene.close()

    gc.collect()
    gc.disable()
    try:
        perform(story)
        assert [one() for one in gone] == [None]
    finally:
        gc.enable()
