"""Bodies that are read whole before anything is sent, and bodies that are changed on their way."""

from typing import Final

import h2.events
import pytest
from mitmproxy.connection import ConnectionState, Server
from mitmproxy.proxy import commands, events

from proxy.attach.bodies import BodyFault
from proxy.core.audit import Ending
from proxy.core.parts import Part
from proxy.core.reasons import Reason
from proxy.core.secret import Secret
from proxy.core.structs import replace
from proxy.lanes.mitm import request_side
from proxy.lanes.mitm.client_tls import HTTP2
from proxy.lanes.mitm.events import CutStream, DrainUpstreamHook
from proxy.lanes.mitm.pacing import CLIENT_WINDOW
from proxy.lanes.mitm.request_side import PIECE
from proxy.lanes.room import Room
from tests.lane_scripts import Marked, Script, scripted
from tests.lane_world import POLICY, H2Client, H2Upstream, Talk, Upstream, World, live_lease, pod_of

HOST: Final = b"Host: api.example.com\r\n"
GO_ON: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
OK: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SPENT: Final = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 4\r\n\r\ngone"
GET: Final = b"GET /v1/models HTTP/1.1\r\n" + HOST + b"\r\n"
LIMIT: Final = 20


def post(size: int = 10, *fields: bytes, method: bytes = b"POST") -> bytes:
    length = b"Content-Length: %d\r\n" % size
    return method + b" /v1/x HTTP/1.1\r\n" + HOST + length + b"".join(fields) + b"\r\n"


CHUNKED: Final = b"POST /v1/x HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
EXPECT: Final = b"Expect: 100-continue\r\n"


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def talk(world: World) -> Talk:
    return Talk(world)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    return scripted(monkeypatch, Script(wants=LIMIT))


# --- read whole ------------------------------------------------------------------------------------------


def test_a_wanted_body_is_read_before_anything_is_sent_and_follows_the_head(
    world: World, talk: Talk, script: Script
) -> None:
    assert talk.say(post() + b"01234") == b""
    assert (talk.servers, world.room.taken, talk.conversation.busy) == ([], 10, True)

    talk.say(b"56789")

    assert talk.forwarded.startswith(b"POST /v1/x HTTP/1.1\r\n")
    assert b"\r\nContent-Length: 10\r\n" in talk.forwarded
    assert talk.forwarded.endswith(b"\r\n\r\n0123456789")
    assert script.bodies == [b"0123456789"]
    assert talk.story == ["judged", "judged", "opened", "sent upstream", "sent upstream"]
    assert world.room.taken == 10
    assert talk.reply(OK) == OK
    assert world.recorder.record.sent_bytes == 10
    assert (world.room.taken, talk.conversation.busy) == (0, False)
    assert len(world.recorder.decisions) == 1


def test_a_body_in_chunks_goes_on_in_chunks(world: World, talk: Talk, script: Script) -> None:
    talk.say(CHUNKED + b"3\r\nabc\r\n")
    assert world.room.taken == 3
    talk.say(b"2\r\nde\r\n0\r\n\r\n")

    assert talk.forwarded.endswith(b"\r\n\r\n5\r\nabcde\r\n0\r\n\r\n")
    assert script.bodies == [b"abcde"]
    assert talk.reply(OK) == OK


@pytest.mark.parametrize("request_", [CHUNKED + b"0\r\n\r\n", GET, post(0)])
def test_an_empty_body_is_one(talk: Talk, script: Script, request_: bytes) -> None:
    talk.say(request_)

    assert script.bodies == [b""]
    assert talk.reply(OK) == OK


def test_a_body_that_waited_with_its_verdict_is_read(talk: Talk, script: Script) -> None:
    talk.holds = True
    talk.say(post() + b"0123456789")
    talk.judge()
    talk.judge()

    assert script.bodies == [b"0123456789"]
    assert talk.reply(OK) == OK


def test_who_waits_is_told_to_go_on_by_us_and_nobody_else(talk: Talk, script: Script) -> None:
    assert talk.say(post(10, EXPECT)) == GO_ON

    assert talk.say(b"0123456789") == b""

    assert script.bodies == [b"0123456789"]
    assert b"expect" not in talk.forwarded.lower()
    assert talk.reply(GO_ON + OK) == OK


@pytest.mark.parametrize("expects", [b"", EXPECT])
def test_a_length_above_the_limit_is_refused_before_the_body_is_asked_for(
    world: World, talk: Talk, script: Script, expects: bytes
) -> None:
    answer = talk.say(post(LIMIT + 1, expects))

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"podkey-reason: body_too_large" in answer
    assert GO_ON not in answer
    assert talk.servers == []
    assert (world.recorder.record.ending, world.room.taken) == (Ending.REFUSED, 0)
    assert talk.half_closed == ([talk.client] if expects else [])
    if not expects:
        assert talk.say(bytes(LIMIT + 1) + GET) == b""
        assert script.bodies[1:] == [b""]


def test_what_turns_out_above_the_limit_is_refused_and_its_rest_dropped(
    world: World, talk: Talk, script: Script
) -> None:
    talk.say(CHUNKED + b"14\r\n%s\r\n" % bytes(LIMIT))

    answer = talk.say(b"1\r\nx\r\n")

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert world.room.taken == 0
    (fault,) = script.bodies
    assert isinstance(fault, BodyFault)
    # The connection serves the next request.
    assert talk.say(b"1\r\ny\r\n0\r\n\r\n" + GET) == b""
    assert talk.reply(OK) == OK


@pytest.mark.parametrize("request_", [post(), CHUNKED + b"A\r\n0123456789\r\n"])
def test_a_full_room_refuses_for_now(world: World, talk: Talk, script: Script, request_: bytes) -> None:
    assert world.room.take(64 * 1024 * 1024 - 9)

    answer = talk.say(request_)

    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"podkey-reason: overloaded" in answer
    assert world.room.taken == 64 * 1024 * 1024 - 9
    assert len(script.bodies) == 1


def test_a_policy_that_was_replaced_meanwhile_counts(world: World, talk: Talk, script: Script) -> None:
    talk.say(post() + b"01234")
    world.pod = pod_of(POLICY.replace("/v1/**", "/v2/**"))

    assert b"podkey-reason: path_not_granted" in talk.say(b"56789")

    assert talk.servers == []
    assert world.room.taken == 0
    assert script.bodies == [b"0123456789"]


def test_what_need_not_be_read_any_more_is_sent_as_it_was_read(
    world: World, talk: Talk, script: Script
) -> None:
    talk.say(post() + b"01234")
    script.wants = None

    talk.say(b"56789")

    assert talk.forwarded.endswith(b"\r\n\r\n0123456789")
    assert talk.reply(OK) == OK
    assert world.room.taken == 0


def test_what_is_let_go_in_the_middle_is_never_sent_in_part(world: World, talk: Talk, script: Script) -> None:
    """As if a transaction let a request pass whose body is gone."""
    talk.say(CHUNKED + b"14\r\n%s\r\n" % bytes(LIMIT))
    script.wants = None

    answer = talk.say(b"1\r\nx\r\n")

    assert b"podkey-reason: internal_error" in answer
    assert talk.servers == []
    assert world.room.taken == 0


def test_a_client_that_leaves_before_its_body_is_whole_is_recorded_as_that(
    world: World, talk: Talk, script: Script
) -> None:
    talk.say(post() + b"01234")

    talk.hang_up(talk.client)

    record = world.recorder.record
    assert (record.ending, record.reason) == (Ending.CLIENT_GONE, "malformed_body")
    assert world.room.taken == 0
    assert len(script.bodies) == 1


def test_a_client_that_leaves_while_its_body_is_judged_sends_nothing(
    world: World, talk: Talk, script: Script
) -> None:
    talk.say(post() + b"01234")
    talk.holds = True
    talk.say(b"56789")
    talk.hang_up(talk.client)

    talk.judge()

    assert talk.servers == []
    assert world.recorder.record.ending is Ending.CLIENT_GONE
    assert world.room.taken == 0
    assert script.bodies == [b"0123456789"]


def test_a_connection_that_ends_gives_everything_back(world: World, talk: Talk, script: Script) -> None:
    talk.say(post() + b"01234")

    talk.conversation.end()

    assert world.recorder.record.ending is Ending.CUT
    assert world.room.taken == 0
    talk.say(b"56789")
    assert world.room.taken == 0
    assert talk.servers == []
    assert b"0123456789" not in script.bodies


def test_a_record_is_written_whatever_breaks(
    world: World, talk: Talk, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk.say(post() + b"01234")
    script.steps = None  # type: ignore[assignment, method-assign]
    monkeypatch.setattr("proxy.lanes.judged.open_request", None)

    talk.hang_up(talk.client)

    assert [where for where, _ in world.recorder.crashes] == ["transaction"]
    assert world.recorder.record.ending is Ending.CLIENT_GONE


def test_an_upstream_that_fails_after_all_was_read_gives_everything_back(
    world: World, talk: Talk, script: Script
) -> None:
    talk.say(post() + b"0123456789")

    assert b"podkey-reason: upstream_failed" in talk.hang_up()

    assert world.room.taken == 0
    assert script.bodies == [b"0123456789"]


def test_an_upstream_that_cannot_be_connected_to_gives_everything_back(world: World, script: Script) -> None:
    talk = Talk(world, upstream=Upstream(error="no route"))

    assert b"podkey-reason: upstream_unreachable" in talk.say(post() + b"0123456789")
    assert world.room.taken == 0
    assert script.bodies == [b"0123456789"]


def test_a_client_that_leaves_while_its_upstream_is_connected_to_sends_nothing(
    world: World, talk: Talk, script: Script
) -> None:
    answer = talk.upstream.answer

    def leaves(server: Server) -> str | None:
        talk.hang_up(talk.client)
        return answer(server)

    talk.upstream.answer = leaves  # type: ignore[method-assign]

    talk.say(post() + b"0123456789")

    assert talk.forwarded == b""
    assert world.recorder.record.ending is Ending.CLIENT_GONE
    assert world.room.taken == 0
    assert script.bodies == [b"0123456789"]


# --- sent once more --------------------------------------------------------------------------------------


@pytest.fixture
def renewing(world: World) -> World:
    world.leases.reply = lambda ref: replace(
        live_lease(ref),
        id=f"lease-{len(world.leases.given_back)}",
        parts={Part.TOKEN: Secret(b"token-%d" % len(world.leases.given_back))},
    )
    return world


def test_a_body_that_was_read_goes_again_however_large_it_is(
    renewing: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = 300_000
    script = scripted(monkeypatch, Script(wants=size))
    talk = Talk(renewing)
    talk.say(post(size, method=b"PUT") + b"x" * size)
    before = len(talk.forwarded)
    assert talk.http.held_bytes == 0

    assert talk.reply(SPENT) == b""

    assert talk.forwarded[before:].endswith(b"\r\n\r\n" + b"x" * size)
    assert renewing.room.taken == size
    assert talk.reply(OK) == OK
    assert renewing.room.taken == 0
    assert renewing.recorder.record.sent_bytes == size
    assert script.bodies == [b"x" * size] * 2


def test_what_must_not_be_repeated_is_not_because_it_was_read(renewing: World, script: Script) -> None:
    talk = Talk(renewing)
    talk.say(post() + b"0123456789")

    assert talk.reply(SPENT) == SPENT
    assert len(script.bodies) == 1


def test_a_second_try_whose_policy_asks_for_a_body_that_is_gone_is_none(
    renewing: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = scripted(monkeypatch, Script())
    talk = Talk(renewing)
    talk.say(post(method=b"PUT") + b"0123456789")
    script.wants = LIMIT

    assert talk.reply(SPENT) == SPENT

    assert talk.forwarded.count(b"PUT ") == 1
    assert renewing.recorder.record.status == 401
    assert renewing.room.taken == 0


def test_a_transform_is_made_anew_for_the_second_try(
    renewing: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Marked] = []

    def make() -> Marked:
        made.append(Marked(4))
        return made[-1]

    scripted(monkeypatch, Script(rewrite=make))
    talk = Talk(renewing)
    talk.say(post(method=b"PUT") + b"abcdefghij")
    assert talk.forwarded.endswith(b"ABCDEFGHIJ")

    assert talk.reply(SPENT) == b""

    assert talk.forwarded.count(b"\r\n\r\nABCDEFGHIJ") == 2
    assert len(made) == 2
    assert talk.reply(OK) == OK
    assert renewing.room.taken == 0


def test_a_second_try_whose_body_cannot_go_on_is_a_refusal(
    renewing: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Once(Marked):
        def finish(self) -> bytes | BodyFault:
            return BodyFault(Reason.MALFORMED_BODY, "no") if renewing.leases.given_back else super().finish()

    scripted(monkeypatch, Script(rewrite=Once))
    talk = Talk(renewing)
    talk.say(post(method=b"PUT") + b"abcdefghij")

    answer = talk.reply(SPENT)

    assert b"podkey-reason: malformed_body" in answer
    assert talk.forwarded.count(b"PUT ") == 1
    assert renewing.room.taken == 0


def test_a_cut_request_is_judged_with_what_was_read_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    text = POLICY.replace("  grants:", "  onRevoke: cut\n  grants:")
    world = World(pod=pod_of(text))
    script = scripted(monkeypatch, Script(wants=LIMIT))
    monkeypatch.setattr("proxy.transaction.rejudging.open_request", rejudged(script))
    talk = Talk(world)
    talk.conversation.cut_off = lambda exchange: talk.feed(CutStream(exchange))
    talk.say(post() + b"0123456789")
    talk.reply(OK[:-1])
    assert world.room.taken == 10

    assert world.lane_world.in_flight.recheck(pod_of(text)) == 0
    assert script.bodies[-1] == b"0123456789"
    assert world.lane_world.in_flight.recheck(pod_of("")) == 1
    assert world.room.taken == 0


def rejudged(script: Script) -> object:
    return lambda pod, arrival, head, now, name: script.steps(pod, arrival, head, now, name, signed_at=now)


# --- changed on its way ----------------------------------------------------------------------------------


def test_what_a_transform_gives_goes_on_and_its_last_bytes_go_before_the_end(
    world: World, talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, Script(rewrite=Marked))
    talk.say(CHUNKED)
    head = talk.forwarded

    talk.say(b"3\r\nabc\r\n")
    assert talk.forwarded == head
    assert world.room.taken == 8
    talk.say(b"3\r\ndef\r\n")
    assert talk.forwarded == head + b"2\r\nAB\r\n"
    talk.say(b"0\r\n\r\n")

    assert talk.forwarded == head + b"2\r\nAB\r\n4\r\nCDEF\r\n0\r\n\r\n"
    assert world.room.taken == 0
    assert talk.reply(OK) == OK
    assert world.recorder.record.sent_bytes == 6


def test_a_transform_without_a_body_has_nothing_to_say(
    world: World, talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, Script(rewrite=Marked))
    talk.say(GET)
    assert talk.reply(OK) == OK

    class Wordy(Marked):
        def finish(self) -> bytes | BodyFault:
            return b"GET /smuggled HTTP/1.1\r\n\r\n"

    scripted(monkeypatch, Script(rewrite=Wordy))
    assert b"podkey-reason: internal_error" in talk.say(GET)
    assert b"smuggled" not in talk.forwarded
    assert world.room.taken == 0


def test_a_transform_for_which_there_is_no_room_is_refused_for_now(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(room=Room(3))
    scripted(monkeypatch, Script(rewrite=Marked))
    talk = Talk(world)

    answer = talk.say(post() + b"01234")

    assert b"podkey-reason: overloaded" in answer
    assert talk.servers[0].state is ConnectionState.CLOSED
    assert world.room.taken == 0


# --- HTTP/2 ----------------------------------------------------------------------------------------------


def test_over_http2_a_body_is_read_past_its_window_and_no_further_than_the_limit(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = 3 * CLIENT_WINDOW
    script = scripted(monkeypatch, Script(wants=limit))
    talk = Talk(world, alpn=HTTP2, upstream=Upstream(alpn=HTTP2))
    client = H2Client(talk)
    whole = client.request([(b"expect", b"100-continue")], method=b"POST", path=b"/v1/x", end=False)
    assert len(client.of(h2.events.InformationalResponseReceived, whole)) == 1
    for _ in range(limit // 16_384):
        client.h2.send_data(whole, bytes(16_384))
        client.flush()
    assert world.room.taken == limit
    client.h2.end_stream(whole)
    client.flush()
    assert script.bodies == [bytes(limit)]

    large = client.request(method=b"POST", path=b"/v1/x", end=False)
    for _ in range(limit // 16_384):
        client.h2.send_data(large, bytes(16_384))
        client.flush()
    assert world.room.taken == 2 * limit
    client.h2.send_data(large, b"x")
    client.flush()

    assert client.head(large)[":status"] == "413"
    assert world.room.taken == limit
    upstream = H2Upstream(talk)
    assert len(upstream.requests()) == 1
    upstream.h2.send_headers(1, [(b":status", b"204")], end_stream=True)
    upstream.flush()
    assert client.head(whole)[":status"] == "204"
    assert world.room.taken == 0


def test_over_http2_trailers_of_a_body_that_is_read_are_dropped(world: World, script: Script) -> None:
    talk = Talk(world, alpn=HTTP2, upstream=Upstream(alpn=HTTP2))
    client = H2Client(talk)
    stream = client.request(method=b"POST", path=b"/v1/x", end=False)
    client.h2.send_data(stream, b"abc")
    client.h2.send_headers(stream, [(b"x-checksum", b"1")], end_stream=True)
    client.flush()

    upstream = H2Upstream(talk)
    assert script.bodies == [b"abc"]
    assert b"".join(event.data or b"" for event in upstream.of(h2.events.DataReceived)) == b"abc"
    assert upstream.of(h2.events.TrailersReceived) == []


def test_a_grpc_call_is_not_read_whole(world: World, script: Script) -> None:
    talk = Talk(world, alpn=HTTP2)
    client = H2Client(talk)

    stream = client.request(
        [(b"content-type", b"application/grpc")], method=b"POST", path=b"/v1/x", end=False
    )

    assert client.head(stream)["podkey-reason"] == "unsupported_payload"
    assert len(script.bodies) == 1


# --- large ones, piece by piece ----------------------------------------------------------------------------


class Slow(Talk):
    """Its upstream takes what was written when it is told to."""

    def __init__(self, world: World) -> None:
        self.drains: list[DrainUpstreamHook] = []
        super().__init__(world)

    def _perform(self, command: commands.Command) -> None:
        if isinstance(command, DrainUpstreamHook):
            self.drains.append(command)
        else:
            super()._perform(command)

    def drain(self) -> None:
        self.feed(events.HookCompleted(self.drains.pop()))


@pytest.fixture
def slow(world: World, monkeypatch: pytest.MonkeyPatch) -> Slow:
    monkeypatch.setattr(request_side, "PIECE", 4)
    scripted(monkeypatch, Script(wants=LIMIT))
    talk = Slow(world)
    talk.say(post() + b"0123456789")
    return talk


def test_a_large_body_is_written_as_the_upstream_takes_it(world: World, slow: Slow) -> None:
    assert PIECE > 4
    assert slow.forwarded.endswith(b"\r\n\r\n0123")
    slow.drain()
    assert slow.forwarded.endswith(b"\r\n\r\n01234567")
    slow.drain()
    assert slow.forwarded.endswith(b"\r\n\r\n0123456789")

    assert slow.drains == []
    assert slow.reply(OK) == OK
    assert world.room.taken == 0
    slow.say(GET)
    assert len(slow.servers) == 1


@pytest.mark.parametrize("status", [b"200 OK", b"401 Unauthorized"])
def test_an_answer_that_comes_first_stops_it(world: World, slow: Slow, status: bytes) -> None:
    answer = OK.replace(b"200 OK", status)
    slow.reply(answer)
    assert slow.drains[0].is_stopped
    slow.drain()

    assert slow.answer == answer
    assert slow.forwarded.endswith(b"\r\n\r\n0123")
    assert slow.servers[0].state is ConnectionState.CLOSED
    assert world.room.taken == 0
    slow.say(GET)
    assert len(slow.servers) == 2


def test_an_upstream_that_ends_stops_it(world: World, slow: Slow) -> None:
    slow.hang_up()
    slow.drain()

    assert b"podkey-reason: upstream_failed" in slow.answer
    assert world.room.taken == 0


def test_a_client_that_leaves_stops_it(world: World, slow: Slow) -> None:
    slow.hang_up(slow.client)
    slow.drain()

    assert slow.forwarded.endswith(b"\r\n\r\n0123")
    assert slow.servers[0].state is ConnectionState.CLOSED
    assert world.recorder.record.ending is Ending.CLIENT_GONE
    assert world.room.taken == 0


def test_a_cut_stops_it(world: World, slow: Slow) -> None:
    (stream,) = slow.http.streams.values()
    slow.feed(CutStream(stream.exchange))  # type: ignore[attr-defined] # a stream of ours
    slow.drain()

    assert slow.forwarded.endswith(b"\r\n\r\n0123")
    assert slow.servers[0].state is ConnectionState.CLOSED
    assert slow.closed
    assert world.recorder.record.ending is Ending.CUT
    assert world.room.taken == 0
