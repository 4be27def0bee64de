"""One request from its head to its record: waits, retries, second tries, early answers, ends."""

from datetime import timedelta
from secrets import token_hex
from typing import Final

import pytest

from proxy.core.audit import Ending
from proxy.core.credentials import CredentialRef
from proxy.core.lease import LeaseReply
from proxy.core.parts import Part
from proxy.core.reasons import Reason
from proxy.core.secret import Secret
from proxy.core.structs import replace
from proxy.lanes.fast import one_request as module
from proxy.lanes.fast import upstreams
from proxy.lanes.fast.upstreams import Origin, Upstream, Upstreams
from proxy.lanes.held_body import HELD_ANSWER, HELD_BYTES
from proxy.lanes.request_body import RequestBody
from proxy.transaction.refusals import OwnAnswer
from tests.fast_world import Scene, play, turns, until
from tests.judge_world import policy
from tests.lane_scripts import Marked, Script, scripted
from tests.lane_world import HOST, LIVE, POLICY, World, live_lease, no_lease, pod_of

OK: Final = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
OK_CLOSE: Final = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"
SPENT: Final = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 4\r\n\r\ngone"
GO_ON: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
NEXT: Final = f"next-{token_hex(16)}"


def head(method: str = "GET", *fields: str, path: str = "/v1/x", version: str = "1.1") -> bytes:
    lines = [f"{method} {path} HTTP/{version}", "Host: api.example.com", *fields, "", ""]
    return "\r\n".join(lines).encode()


def upload(body: bytes, method: str = "PUT", *fields: str) -> bytes:
    return head(method, f"Content-Length: {len(body)}", *fields) + body


CHUNKED: Final = head("PUT", "Transfer-Encoding: chunked") + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"


def only(world: World) -> tuple[int | None, str, Ending]:
    record = world.recorder.record
    assert world.recorder.crashes == []
    assert world.recorder.passed == []
    return record.status, record.reason, record.ending


# --- refusals, and answers of ours ---


@pytest.mark.parametrize("body", [b"", b"five!", b"x" * 200_000])
def test_a_refusal_is_whole_at_once_and_the_connection_goes_on(body: bytes) -> None:
    async def story(scene: Scene) -> None:
        sent = upload(body, "POST").replace(b"/v1/x", b"/nowhere")
        # Before any of the body, and all the same after it.
        await scene.client.say(sent[: len(sent) - len(body)])
        assert (await scene.client.hear()).startswith(b"HTTP/1.1 403 ")
        await scene.client.hear(b"}}")
        await scene.client.say(body + head())
        upstream = await scene.upstream()
        await upstream.hear()
        await upstream.say(OK)
        assert await scene.client.hear_exactly(len(OK)) == OK

    world = play(story)
    assert world.recorder.reasons == [Reason.PATH_NOT_GRANTED.value, "granted"]
    assert world.recorder.records[0].ending is Ending.REFUSED


def test_who_leaves_in_a_body_that_nobody_wants_ends_the_connection() -> None:
    async def story(scene: Scene) -> None:
        await scene.client.say(head("POST", "Content-Length: 9", path="/nowhere") + b"four")
        await scene.client.hear(b"}}")
        scene.client.end()
        assert await scene.client.hear_all() == b""
        await scene.over()

    assert only(play(story))[2] is Ending.REFUSED


def test_an_answer_of_ours_needs_no_upstream(monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, Script(answer=OwnAnswer(204, (("x-own", "1"),))))

    async def story(scene: Scene) -> None:
        await scene.client.say(head())
        assert await scene.client.hear() == b"HTTP/1.1 204 No Content\r\nx-own: 1\r\n\r\n"
        assert scene.street.ends == []

    assert only(play(story)) == (204, "granted", Ending.COMPLETED)


def test_without_a_lease_nothing_is_connected_to() -> None:
    world = World()
    world.leases.reply = no_lease

    async def story(scene: Scene) -> None:
        await scene.client.say(head())
        assert (await scene.client.hear()).startswith(b"HTTP/1.1 502 ")
        assert scene.street.ends == []

    assert only(play(story, world))[1] == Reason.CREDENTIAL_UNAVAILABLE.value


# --- bodies ---


@pytest.mark.parametrize("size", [1, 100, 70_000, 3_000_000])
def test_a_body_goes_up_as_it_comes(size: int) -> None:
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)

    async def story(scene: Scene) -> None:
        sent = upload(body)
        await scene.client.say(sent[:-size])
        upstream = await scene.upstream()
        # Its head does not wait for it.
        assert b"\r\nContent-Length: %d\r\n" % size in await upstream.hear()
        for at in range(0, size, 500_000):
            piece = body[at : at + 500_000]
            await scene.client.say(piece)
            assert await upstream.hear_exactly(len(piece)) == piece
        await upstream.say(OK)
        assert await scene.client.hear_exactly(len(OK)) == OK

    world = play(story)
    assert only(world) == (200, "granted", Ending.COMPLETED)
    assert (world.recorder.record.sent_bytes, world.recorder.record.received_bytes) == (size, 2)


def test_a_chunked_body_is_framed_anew_and_its_trailers_end_here() -> None:
    async def story(scene: Scene) -> None:
        await scene.client.say(head("PUT", "Transfer-Encoding: chunked"))
        upstream = await scene.upstream()
        assert b"\r\nTransfer-Encoding: chunked\r\n" in await upstream.hear()
        await scene.client.say(b"3;ext=1\r\nabc\r\n")
        assert await upstream.hear_exactly(8) == b"3\r\nabc\r\n"
        await scene.client.say(b"0\r\nAuthorization: mine\r\n\r\n")
        assert await upstream.hear_exactly(5) == b"0\r\n\r\n"
        await upstream.say(OK)
        assert await scene.client.hear_exactly(len(OK)) == OK
        assert await upstream.is_silent()

    assert play(story).recorder.record.sent_bytes == 3


def test_chunks_that_can_be_read_in_two_ways_are_refused_and_commit_nothing() -> None:
    async def story(scene: Scene) -> None:
        await scene.client.say(head("PUT", "Transfer-Encoding: chunked") + b"3\r\nabc\r\n")
        upstream = await scene.upstream()
        await upstream.hear(b"abc\r\n")
        await scene.client.say(b"-1\r\n")
        answer = await scene.client.hear_all()
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"\r\nconnection: close\r\n" in answer
        assert await upstream.has_ended()

    assert only(play(story))[1] == Reason.MALFORMED_REQUEST.value


def test_a_body_that_is_wanted_whole_is_asked_for_and_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    script = scripted(monkeypatch, Script(wants=10))

    async def story(scene: Scene) -> None:
        await scene.client.say(head("PUT", "Content-Length: 5", "Expect: 100-continue"))
        assert await scene.client.hear() == GO_ON
        await scene.client.say(b"he")
        await turns()
        assert scene.street.ends == []
        await scene.client.say(b"llo")
        upstream = await scene.upstream()
        sent = await upstream.hear()
        assert b"xpect" not in sent
        assert await upstream.hear_exactly(5) == b"hello"
        await upstream.say(OK)
        assert await scene.client.hear_exactly(len(OK)) == OK

    world = play(story)
    assert script.bodies == [b"hello"]
    assert world.recorder.record.sent_bytes == 5


def test_a_body_that_is_wanted_whole_and_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, Script(wants=4))

    async def story(scene: Scene) -> None:
        await scene.client.say(CHUNKED)
        assert (await scene.client.hear()).startswith(b"HTTP/1.1 413 ")
        assert scene.street.ends == []

    assert play(story).recorder.reasons[0] == Reason.BODY_TOO_LARGE.value


def test_who_leaves_before_a_body_is_whole_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, Script(wants=10))

    async def story(scene: Scene) -> None:
        await scene.client.say(head("PUT", "Content-Length: 5") + b"hel")
        scene.client.end()
        assert await scene.client.hear_all() == b""
        await scene.over()
        assert scene.street.ends == []

    assert play(story).recorder.record.ending is Ending.CLIENT_GONE


def test_a_body_that_is_changed_on_its_way_is_sent_as_it_was_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, Script(rewrite=Marked))

    async def story(scene: Scene) -> None:
        await scene.client.say(head("PUT", "Content-Length: 11") + b"hello ")
        upstream = await scene.upstream()
        await upstream.hear()
        assert await upstream.hear_exactly(2) == b"HE"
        await scene.client.say(b"world")
        assert await upstream.hear_exactly(9) == b"LLO WORLD"
        await upstream.say(OK)
        assert await scene.client.hear_exactly(len(OK)) == OK

    assert only(play(story)) == (200, "granted", Ending.COMPLETED)


@pytest.mark.parametrize(("body", "kept"), [(b"hello!", b""), (b"hello?", b"HE")])
def test_a_body_that_cannot_be_changed_is_refused_and_its_end_never_arrives(
    monkeypatch: pytest.MonkeyPatch, body: bytes, kept: bytes
) -> None:
    scripted(monkeypatch, Script(rewrite=Marked))

    async def story(scene: Scene) -> None:
        await scene.client.say(head("PUT", "Content-Length: 6"))
        upstream = await scene.upstream()
        await upstream.hear()
        await scene.client.say(body)
        assert (await scene.client.hear()).startswith(b"HTTP/1.1 400 ")
        assert kept.startswith(await upstream.hear_all())
        await scene.client.hear(b"}}")
        # The body was read to its end: the next request begins where it should.
        await scene.client.say(head("GET", path="/nowhere"))
        assert (await scene.client.hear()).startswith(b"HTTP/1.1 403 ")

    assert play(story).recorder.reasons[0] == Reason.MALFORMED_BODY.value


# --- Expect ---


def test_a_body_that_waits_is_told_to_come_when_the_upstream_says_so_and_once() -> None:
    async def story(scene: Scene) -> None:
        await scene.client.say(head("PUT", "Content-Length: 5", "Expect: 100-Continue"))
        upstream = await scene.upstream()
        assert (await upstream.hear()).endswith(b"\r\nExpect: 100-continue\r\n\r\n")
        assert await scene.client.is_silent()
        await upstream.say(b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + GO_ON + GO_ON)
        assert await scene.client.hear() == GO_ON
        assert await scene.client.is_silent()
        await scene.client.say(b"hello")
        assert await upstream.hear_exactly(5) == b"hello"
        await upstream.say(OK)
        assert await scene.client.hear_exactly(len(OK)) == OK
        await scene.client.say(head())
        await upstream.hear()

    play(story)


def test_a_body_that_comes_unasked_goes_and_is_not_told_to_come() -> None:
    async def story(scene: Scene) -> None:
        await scene.client.say(head("PUT", "Content-Length: 5", "Expect: 100-continue"))
        upstream = await scene.upstream()
        await upstream.hear()
        await scene.client.say(b"hello")
        assert await upstream.hear_exactly(5) == b"hello"
        await upstream.say(GO_ON + OK)
        assert await scene.client.hear_exactly(len(OK)) == OK

    play(story)


@pytest.mark.parametrize("answer", [OK, b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n"])
def test_an_answer_that_comes_before_the_body_is_the_last_on_both_connections(answer: bytes) -> None:
    async def story(scene: Scene) -> None:
        await scene.client.say(head("PUT", "Content-Length: 5", "Expect: 100-continue"))
        upstream = await scene.upstream()
        await upstream.hear()
        await upstream.say(answer)
        got = await scene.client.hear()
        assert b"\r\nconnection: close\r\n" in got
        assert await upstream.hear_all() == b""
        # A late body, with a request in it: nobody reads it as one.
        await scene.client.say(b"hello" + head())
        scene.client.end()
        await scene.client.hear_all()
        await scene.over()
        assert len(scene.street.ends) == 1

    assert len(play(story).recorder.records) == 1


def test_who_waits_and_is_refused_is_not_told_to_come() -> None:
    async def story(scene: Scene) -> None:
        await scene.client.say(head("PUT", "Content-Length: 5", "Expect: 100-continue", path="/nowhere"))
        answer = await scene.client.hear_all()
        assert answer.startswith(b"HTTP/1.1 403 ")
        assert b"\r\nconnection: close\r\n" in answer
        scene.client.leave()
        await scene.over()

    play(story)


# --- connections that died ---


async def warm(scene: Scene) -> None:
    """A connection that has served, and is idle."""
    await scene.client.say(head())
    upstream = await scene.upstream()
    await upstream.hear()
    await upstream.say(OK)
    await scene.client.hear_exactly(len(OK))
    await until(lambda: scene.street.idle == 1)


@pytest.mark.parametrize(
    "sent", [head(), head("HEAD"), upload(b"hello"), CHUNKED], ids=["GET", "HEAD", "PUT", "chunks"]
)
def test_a_request_that_may_go_twice_goes_again_when_its_connection_had_died(sent: bytes) -> None:
    async def story(scene: Scene) -> None:
        await warm(scene)
        first = scene.street.ends[0]
        await scene.client.say(sent)
        body = {b"P": 5}.get(sent[:1], 0)
        got = await first.hear()
        if body:
            await first.hear(b"0\r\n\r\n" if b"chunked" in sent else b"hello")
        first.leave()
        second = await scene.upstream()
        assert await second.hear() == got
        if b"chunked" in sent:
            # One chunk, or several: it is the same body.
            assert await second.hear(b"0\r\n\r\n") in {
                b"5\r\nabcde\r\n0\r\n\r\n",
                b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
            }
        elif body:
            assert await second.hear_exactly(5) == b"hello"
        await second.say(OK if sent[:1] != b"H" else OK[:-2])
        await scene.client.hear()

    world = play(story)
    assert [record.status for record in world.recorder.records] == [200, 200]
    assert world.recorder.records[1].sent_bytes == (5 if sent[:1] == b"P" else 0)


@pytest.mark.parametrize(
    "sent", [upload(b"hello", "POST"), upload(b"x" * (HELD_BYTES + 1))], ids=["POST", "a long PUT"]
)
def test_what_must_not_go_twice_does_not(sent: bytes) -> None:
    async def story(scene: Scene) -> None:
        await warm(scene)
        first = scene.street.ends[0]
        await scene.client.say(sent)
        await first.hear_exactly(len(sent))
        first.leave()
        assert (await scene.client.hear()).startswith(b"HTTP/1.1 502 ")
        assert len(scene.street.ends) == 1

    assert play(story).recorder.reasons == ["granted", Reason.UPSTREAM_FAILED.value]


def test_a_new_connection_that_dies_is_not_replaced() -> None:
    async def story(scene: Scene) -> None:
        await scene.client.say(head())
        upstream = await scene.upstream()
        await upstream.hear()
        upstream.leave()
        assert (await scene.client.hear()).startswith(b"HTTP/1.1 502 ")
        assert len(scene.street.ends) == 1

    assert only(play(story))[1] == Reason.UPSTREAM_FAILED.value


def test_one_that_died_after_it_had_begun_to_answer_is_not_replaced() -> None:
    async def story(scene: Scene) -> None:
        await warm(scene)
        first = scene.street.ends[0]
        await scene.client.say(head())
        await first.hear()
        await first.say(b"HTTP/1.1 200 OK\r\n")
        first.leave()
        assert (await scene.client.hear()).startswith(b"HTTP/1.1 502 ")
        assert len(scene.street.ends) == 1

    assert play(story).recorder.reasons[1] == Reason.UPSTREAM_FAILED.value


def test_a_second_death_is_told() -> None:
    async def story(scene: Scene) -> None:
        await warm(scene)
        await scene.client.say(head())
        await scene.street.ends[0].hear()
        scene.street.ends[0].leave()
        second = await scene.upstream()
        await second.hear()
        second.leave()
        assert (await scene.client.hear()).startswith(b"HTTP/1.1 502 ")
        assert len(scene.street.ends) == 2

    assert play(story).recorder.reasons[1] == Reason.UPSTREAM_FAILED.value


# --- upstreams that cannot be had, or are not what they should be ---


def test_above_so_many_requests_under_way_the_next_one_is_refused_and_told_when_to_come_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(upstreams, "MOST_OPEN", 0)

    async def story(scene: Scene) -> None:
        for _ in range(2):
            await scene.client.say(head())
            answer = await scene.client.hear()
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert b"\r\npodkey-reason: overloaded\r\n" in answer
            assert b"\r\nretry-after: 1\r\n" in answer
            await scene.client.hear(b"}}")
        assert scene.street.ends == []

    world = play(story)
    assert {record.reason for record in world.recorder.records} == {Reason.OVERLOADED.value}
    assert world.recorder.failures == [(HOST, Reason.OVERLOADED.value)] * 2


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (OSError(), 502, Reason.UPSTREAM_UNREACHABLE),
        (TimeoutError(), 502, Reason.UPSTREAM_UNREACHABLE),
    ],
)
def test_who_cannot_be_connected_to_is_told(error: Exception, status: int, reason: Reason) -> None:
    async def story(scene: Scene) -> None:
        scene.street.error = error
        await scene.client.say(head())
        assert (await scene.client.hear()).startswith(b"HTTP/1.1 %d " % status)

    assert only(play(story))[1] == reason.value


def test_a_connection_that_is_another_names_carries_nothing() -> None:
    async def story(scene: Scene) -> None:
        scene.street.verified = "other.example.com"
        await scene.client.say(head())
        assert (await scene.client.hear()).startswith(b"HTTP/1.1 500 ")
        upstream = await scene.upstream()
        assert await upstream.is_silent() or await upstream.hear_all() == b""

    world = play(story)
    assert world.recorder.passed == ["fast"]
    assert world.recorder.reasons == [Reason.INTERNAL_ERROR.value]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\ncontent-length: 5\r\n\r\nhello",
    ],
)
def test_an_answer_that_nobody_can_be_sure_of_is_ours_to_give(answer: bytes) -> None:
    async def story(scene: Scene) -> None:
        await scene.client.say(head())
        upstream = await scene.upstream()
        await upstream.hear()
        await upstream.say(answer)
        assert (await scene.client.hear()).startswith(b"HTTP/1.1 502 ")
        assert await upstream.has_ended()

    assert only(play(story))[1] == Reason.UPSTREAM_FAILED.value


def test_what_only_announces_an_answer_is_not_taken_for_it() -> None:
    async def story(scene: Scene) -> None:
        await scene.client.say(head())
        upstream = await scene.upstream()
        await upstream.hear()
        for byte in b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + GO_ON + OK:
            await upstream.say(bytes([byte]))
            await turns(2)
        assert await scene.client.hear_exactly(len(OK)) == OK

    play(story)


# --- early answers ---


def test_a_whole_answer_that_comes_before_the_bodys_end_lets_it_go_on() -> None:
    async def story(scene: Scene) -> None:
        await scene.client.say(head("PUT", "Content-Length: 10") + b"hello")
        upstream = await scene.upstream()
        await upstream.hear(b"hello")
        await upstream.say(OK)
        assert await scene.client.hear_exactly(len(OK)) == OK
        await scene.client.say(b"world" + head())
        assert await upstream.hear_exactly(5) == b"world"
        await upstream.hear()
        await upstream.say(OK)
        assert await scene.client.hear_exactly(len(OK)) == OK
        assert len(scene.street.ends) == 1

    world = play(story)
    assert [record.sent_bytes for record in world.recorder.records] == [10, 0]


@pytest.mark.parametrize("leaves", [True, False])
def test_an_upstream_that_wants_no_more_gets_no_more(*, leaves: bool) -> None:
    async def story(scene: Scene) -> None:
        await scene.client.say(head("PUT", "Content-Length: 10") + b"hello")
        upstream = await scene.upstream()
        await upstream.hear(b"hello")
        if leaves:
            await upstream.say(OK)
            assert await scene.client.hear_exactly(len(OK)) == OK
            upstream.leave()
        else:
            await upstream.say(OK_CLOSE)
            await scene.client.hear_exactly(len(OK))
        assert await scene.client.hear_all() == b""
        scene.client.leave()
        await scene.over()

    assert only(play(story)) == (200, "granted", Ending.COMPLETED)


# --- who leaves ---


@pytest.mark.parametrize("how", ["leave", "reset", "end"])
def test_a_client_that_leaves_takes_its_upstream_along(how: str) -> None:
    """Also one that only ends its own side, and would read on: see docs/adr/0018."""

    async def story(scene: Scene) -> None:
        await scene.client.say(head())
        upstream = await scene.upstream()
        await upstream.hear()
        getattr(scene.client, how)()
        assert await upstream.has_ended()
        await scene.over()

    assert only(play(story))[2] is Ending.CLIENT_GONE


def test_a_client_that_leaves_during_its_upload_takes_its_upstream_along() -> None:
    async def story(scene: Scene) -> None:
        await scene.client.say(head("PUT", "Content-Length: 10") + b"hello")
        upstream = await scene.upstream()
        await upstream.hear(b"hello")
        scene.client.leave()
        assert await upstream.has_ended()
        await scene.over()

    world = play(story)
    assert (only(world)[2], world.recorder.record.sent_bytes) == (Ending.CLIENT_GONE, 5)


def test_a_client_that_leaves_while_its_upstream_is_connected_to_sends_it_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = Upstreams.connect

    async def story(scene: Scene) -> None:
        async def slow(self: Upstreams, origin: "object") -> "object":
            scene.client.leave()
            await until(lambda: scene.side.is_over)
            return await real(self, origin)  # type: ignore[arg-type] # as it came

        monkeypatch.setattr(Upstreams, "connect", slow)
        await scene.client.say(head())
        upstream = await scene.upstream()
        assert await upstream.hear_all() == b""
        await scene.over()

    assert only(play(story))[2] is Ending.CLIENT_GONE


# --- a grant that is taken away ---

CUT: Final = POLICY.replace("  grants:", "  onRevoke: cut\n  grants:")
NOTHING: Final = pod_of(POLICY.replace("/v1/", "/v2/"))


def test_a_request_that_is_cut_ends_both_connections_without_a_word() -> None:
    async def story(scene: Scene) -> None:
        await scene.client.say(head())
        upstream = await scene.upstream()
        await upstream.hear()
        await upstream.say(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n")
        await scene.client.hear()
        assert scene.take_away(NOTHING) == 1
        assert await scene.client.has_ended()
        assert await upstream.has_ended()
        await scene.over()

    world = play(story, World(pod=pod_of(CUT)))
    assert only(world)[2] is Ending.CUT
    assert len(world.recorder.cuts) == 1


def test_a_grant_that_ends_while_it_is_connected_for_sends_nothing() -> None:
    secret = Secret(LIVE.encode())
    world = World()
    world.leases.reply = lambda ref: replace(live_lease(ref), parts={Part.TOKEN: secret})

    async def story(scene: Scene) -> None:
        real = scene.street.connect

        async def slow(origin: Origin) -> Upstream:
            scene.take_away(pod_of(policy("{hosts: [api.example.com], paths: [/other], credential: a}")))
            secret.overwrite()
            return await real(origin)

        scene.street.connect = slow  # type: ignore[method-assign]
        await scene.client.say(head())
        upstream = await scene.upstream()
        assert b"podkey-reason: path_not_granted\r\n" in await scene.client.hear()
        assert await upstream.is_silent()

    assert only(play(story, world))[2] is Ending.REFUSED


def test_a_policy_that_wants_the_body_and_came_while_it_was_connected_for_gets_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script = Script(wants=10)

    async def story(scene: Scene) -> None:
        real = scene.street.connect

        async def slow(origin: Origin) -> Upstream:
            scripted(monkeypatch, script)
            scene.take_away(pod_of(POLICY))
            return await real(origin)

        scene.street.connect = slow  # type: ignore[method-assign]
        await scene.client.say(upload(b"hello"))
        upstream = await scene.upstream()
        await upstream.hear(b"hello")
        await upstream.say(OK)
        assert await scene.client.hear_exactly(len(OK)) == OK
        await until(lambda: scene.recorder.records)

    assert only(play(story))[2] is Ending.COMPLETED
    assert script.bodies == [b"hello"]


def test_a_lease_that_ends_while_it_is_connected_for_is_replaced() -> None:
    world = World()
    tokens = [f"first-{token_hex(16)}", NEXT]

    def reply(ref: CredentialRef) -> LeaseReply:
        parts = {Part.TOKEN: Secret(tokens[world.clock.passed > timedelta()].encode())}
        return replace(live_lease(ref), parts=parts, expires=world.clock.now() + timedelta(seconds=5))

    world.leases.reply = reply

    async def story(scene: Scene) -> None:
        real = scene.street.connect

        async def slow(origin: Origin) -> Upstream:
            world.clock.passed = timedelta(seconds=8)
            return await real(origin)

        scene.street.connect = slow  # type: ignore[method-assign]
        await scene.client.say(head())
        upstream = await scene.upstream()
        sent = await upstream.hear()
        assert NEXT.encode() in sent
        assert tokens[0].encode() not in sent
        await upstream.say(OK)
        assert await scene.client.hear_exactly(len(OK)) == OK

    assert only(play(story, world))[2] is Ending.COMPLETED


def test_a_request_that_is_cut_while_it_is_connected_for_is_not_sent() -> None:
    async def story(scene: Scene) -> None:
        real = scene.street.connect

        async def condemning(origin: "object") -> "object":
            assert scene.take_away(NOTHING) == 1
            return await real(origin)  # type: ignore[arg-type] # as it came

        scene.street.connect = condemning  # type: ignore[method-assign, assignment] # in its way
        await scene.client.say(head())
        upstream = await scene.upstream()
        assert await upstream.hear_all() == b""
        await scene.over()

    assert only(play(story, World(pod=pod_of(CUT))))[2] is Ending.CUT


# --- a credential that the upstream calls spent ---


@pytest.fixture
def world() -> World:
    """A lease that was called spent is followed by another."""
    world = World()

    def reply(credential: CredentialRef) -> LeaseReply:
        first = live_lease(credential)
        if not world.leases.given_back:
            return first
        return replace(first, id="lease-2", parts={Part.TOKEN: Secret(NEXT.encode())})

    world.leases.reply = reply
    return world


@pytest.mark.parametrize(
    ("sent", "body"),
    [
        (head(), b""),
        (upload(b"hello"), b"hello"),
        (upload(b"x" * HELD_BYTES), b"x" * HELD_BYTES),
    ],
    ids=["GET", "PUT", "PUT of as much as is held"],
)
def test_the_application_sees_the_second_answer_only(world: World, sent: bytes, body: bytes) -> None:
    async def story(scene: Scene) -> None:
        await scene.client.say(sent)
        upstream = await scene.upstream()
        assert LIVE.encode() in await upstream.hear()
        assert await upstream.hear_exactly(len(body)) == body
        await upstream.say(SPENT)
        assert NEXT.encode() in await upstream.hear()
        assert await upstream.hear_exactly(len(body)) == body
        await upstream.say(OK)
        assert await scene.client.hear_exactly(len(OK)) == OK
        assert len(scene.street.ends) == 1

    play(story, world)
    record = world.recorder.record
    assert (record.retried, record.status, record.sent_bytes) == (True, 200, len(body))
    assert (record.received_bytes, record.lease_id) == (2, "lease-2")
    assert world.recorder.spent == [("", True)]


def test_a_chunked_body_is_sent_again_whole(world: World) -> None:
    async def story(scene: Scene) -> None:
        await scene.client.say(CHUNKED)
        upstream = await scene.upstream()
        await upstream.hear()
        await upstream.hear(b"0\r\n\r\n")
        await upstream.say(SPENT)
        await upstream.hear()
        assert await upstream.hear(b"0\r\n\r\n") == b"5\r\nabcde\r\n0\r\n\r\n"
        await upstream.say(OK)
        assert await scene.client.hear_exactly(len(OK)) == OK

    play(story, world)


def test_a_body_that_waits_is_still_waited_for_at_the_second_try(world: World) -> None:
    async def story(scene: Scene) -> None:
        await scene.client.say(head("PUT", "Content-Length: 5", "Expect: 100-continue"))
        first = await scene.upstream()
        await first.hear()
        await first.say(SPENT)
        # The body of the first was never sent: its connection is worth nothing more.
        assert await first.has_ended()
        second = await scene.upstream()
        assert (await second.hear()).endswith(b"\r\nExpect: 100-continue\r\n\r\n")
        await second.say(GO_ON)
        assert await scene.client.hear() == GO_ON
        await scene.client.say(b"hello")
        assert await second.hear_exactly(5) == b"hello"
        await second.say(OK)
        assert await scene.client.hear_exactly(len(OK)) == OK

    play(story, world)
    assert world.recorder.record.retried


SENT_ONCE: Final = {
    "POST": upload(b"hello", "POST"),
    "a body too long to be held": upload(b"x" * (HELD_BYTES + 1)),
}


@pytest.mark.parametrize("sent", SENT_ONCE.values(), ids=SENT_ONCE)
def test_what_must_not_be_repeated_gets_the_refusal_as_it_is(world: World, sent: bytes) -> None:
    async def story(scene: Scene) -> None:
        await scene.client.say(sent)
        upstream = await scene.upstream()
        await upstream.hear_exactly(len(sent))
        await upstream.say(SPENT)
        assert await scene.client.hear_exactly(len(SPENT)) == SPENT

    play(story, world)
    assert world.recorder.record.retried is False


def test_an_answer_that_is_longer_than_any_complaint_passes_as_it_is(world: World) -> None:
    long = (
        b"HTTP/1.1 401 Unauthorized\r\ncontent-length: %d\r\n\r\n" % (HELD_ANSWER * 3)
        + b"x" * HELD_ANSWER * 3
    )

    async def story(scene: Scene) -> None:
        await scene.client.say(head())
        upstream = await scene.upstream()
        await upstream.hear()
        await upstream.say(long)
        assert await scene.client.hear_exactly(len(long)) == long
        assert await upstream.is_silent()

    play(story, world)
    assert world.recorder.record.retried is False


def test_the_second_refusal_is_final(world: World) -> None:
    async def story(scene: Scene) -> None:
        await scene.client.say(head())
        upstream = await scene.upstream()
        for _ in range(2):
            await upstream.hear()
            await upstream.say(SPENT)
        assert await scene.client.hear_exactly(len(SPENT)) == SPENT
        assert await upstream.is_silent()

    play(story, world)
    assert (world.recorder.record.retried, world.recorder.record.status) == (True, 401)


def test_where_there_is_no_second_lease_the_first_answer_stands(world: World) -> None:
    world.leases.reply = live_lease

    async def story(scene: Scene) -> None:
        await scene.client.say(head())
        upstream = await scene.upstream()
        await upstream.hear()
        await upstream.say(SPENT)
        await scene.client.hear_exactly(len(SPENT))
        assert await upstream.is_silent()

    play(story, world)
    assert world.recorder.record.retried is False


# --- what breaks ---


BREAKS: Final[list[str]] = ["request_head", "final_head", "Answer", "Upload"]


@pytest.mark.parametrize("name", BREAKS)
def test_whatever_raises_ends_this_connection_and_shows_nothing(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError(LIVE)

    monkeypatch.setattr(module, name, broken)

    async def story(scene: Scene) -> None:
        await scene.client.say(upload(b"x" * 10))
        upstream = await scene.upstream()
        if name in {"final_head", "Answer"}:
            await upstream.hear()
            await upstream.say(OK)
        assert await scene.client.has_ended()
        assert await upstream.has_ended()
        await scene.over()

    world = play(story)
    assert [where for where, _ in world.recorder.crashes] == ["fast lane"]
    assert len(world.recorder.records) == 1


def test_an_upload_that_breaks_beside_its_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError(LIVE)

    monkeypatch.setattr("proxy.lanes.fast.upload.framed", broken)

    async def story(scene: Scene) -> None:
        await scene.client.say(head("PUT", "Content-Length: 5"))
        upstream = await scene.upstream()
        await upstream.hear()
        await scene.client.say(b"hello")
        assert (await scene.client.hear()).startswith(b"HTTP/1.1 500 ")
        assert await upstream.has_ended()

    world = play(story)
    assert [where for where, _ in world.recorder.crashes] == ["fast lane"]
    assert world.recorder.reasons == [Reason.INTERNAL_ERROR.value]


# --- and where several of these meet ---


def test_without_another_lease_it_is_our_refusal(world: World) -> None:
    world.leases.reply = lambda ref: no_lease(ref) if world.leases.given_back else live_lease(ref)

    async def story(scene: Scene) -> None:
        await scene.client.say(head())
        upstream = await scene.upstream()
        await upstream.hear()
        await upstream.say(SPENT)
        answer = await scene.client.hear()
        assert answer.startswith(b"HTTP/1.1 502 ")
        assert await upstream.is_silent()

    play(story, world)
    assert world.recorder.record.reason == Reason.CREDENTIAL_UNAVAILABLE.value


def test_a_short_body_that_cannot_be_changed_never_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    """It came with its head, and goes with it, or not at all."""
    scripted(monkeypatch, Script(rewrite=Marked))

    async def story(scene: Scene) -> None:
        await scene.client.say(upload(b"no!"))
        upstream = await scene.upstream()
        assert (await scene.client.hear()).startswith(b"HTTP/1.1 400 ")
        await upstream.has_ended()

    assert only(play(story))[1] == Reason.MALFORMED_BODY.value


def test_a_whole_body_that_cannot_be_changed_never_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, Script(wants=10, rewrite=Marked))

    async def story(scene: Scene) -> None:
        await scene.client.say(upload(b"what?"))
        upstream = await scene.upstream()
        assert (await scene.client.hear()).startswith(b"HTTP/1.1 400 ")
        assert await upstream.hear_all() == b""

    assert only(play(story))[1] == Reason.MALFORMED_BODY.value


def test_a_whole_body_of_another_length_than_its_head_says_never_leaves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One byte too few, and the next request would be taken for it."""
    scripted(monkeypatch, Script(wants=10))
    monkeypatch.setattr(RequestBody, "feed_whole", lambda _self, data: data[:-1])

    async def story(scene: Scene) -> None:
        await scene.client.say(upload(b"hello"))
        upstream = await scene.upstream()
        assert (await scene.client.hear()).startswith(b"HTTP/1.1 500 ")
        assert await upstream.hear_all() == b""

    world = play(story)
    assert world.recorder.passed == ["fast"]
    assert world.recorder.record.reason == Reason.INTERNAL_ERROR.value


def test_a_body_that_waits_waits_again_when_its_connection_had_died() -> None:
    async def story(scene: Scene) -> None:
        await warm(scene)
        await scene.client.say(head("PUT", "Content-Length: 5", "Expect: 100-continue"))
        await scene.street.ends[0].hear()
        scene.street.ends[0].leave()
        second = await scene.upstream()
        assert (await second.hear()).endswith(b"\r\nExpect: 100-continue\r\n\r\n")
        await second.say(GO_ON)
        assert await scene.client.hear() == GO_ON
        await scene.client.say(b"hello")
        assert await second.hear_exactly(5) == b"hello"
        await second.say(OK)
        assert await scene.client.hear_exactly(len(OK)) == OK

    play(story)


def test_a_body_that_was_changed_on_its_way_does_not_go_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(scene: Scene) -> None:
        await warm(scene)
        scripted(monkeypatch, Script(rewrite=Marked))
        await scene.client.say(upload(b"hello"))
        await scene.street.ends[0].hear(b"HELLO")
        scene.street.ends[0].leave()
        assert (await scene.client.hear()).startswith(b"HTTP/1.1 502 ")
        assert len(scene.street.ends) == 1

    play(story)


@pytest.mark.parametrize("whole", [True, False])
def test_a_body_that_goes_wrong_behind_its_answer_ends_both(*, whole: bool) -> None:
    async def story(scene: Scene) -> None:
        await scene.client.say(head("PUT", "Transfer-Encoding: chunked") + b"3\r\nabc\r\n")
        upstream = await scene.upstream()
        await upstream.hear(b"abc\r\n")
        answer = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n" + b"x" * 1000
        await upstream.say(answer if whole else answer[:-100])
        await scene.client.hear_exactly(500)
        await scene.client.say(b"zz\r\n")
        await scene.client.has_ended()
        assert await upstream.has_ended()
        await scene.over()

    assert len(play(story).recorder.records) == 1


CODED: Final = """---
apiVersion: podkey.io/v1alpha1
kind: CatalogueEntry
metadata: {name: store}
spec:
  title: Store
  summary: A store.
  endpoints: [{hosts: [api.example.com]}]
  attach: [{bearer: {}}]
  spent: [{status: 403, codes: [ExpiredToken]}]
"""


@pytest.mark.parametrize(("code", "tries"), [("ExpiredToken", 2), ("AccessDenied", 1)])
def test_of_two_codes_in_an_answer_only_one_means_the_credential(world: World, code: str, tries: int) -> None:
    world.pod = pod_of(policy("{service: store, credential: a}") + CODED)
    body = f"<Error><Code>{code}</Code></Error>".encode()
    answer = b"HTTP/1.1 403 Forbidden\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)

    async def story(scene: Scene) -> None:
        await scene.client.say(head())
        upstream = await scene.upstream()
        await upstream.hear()
        await upstream.say(answer[:-9])
        await turns()
        await upstream.say(answer[-9:])
        if tries == 2:
            await upstream.hear()
            await upstream.say(OK)
            assert await scene.client.hear_exactly(len(OK)) == OK
        else:
            assert await scene.client.hear_exactly(len(answer)) == answer

    play(story, world)
    assert world.recorder.record.retried is (tries == 2)
