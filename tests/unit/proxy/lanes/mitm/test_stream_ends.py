"""Who is told to go on and who is not, on all four sides; and streams that do not end by themselves."""

from collections.abc import Callable
from typing import Final

import h2.errors
import h2.events
import pytest
from mitmproxy.connection import ConnectionState
from mitmproxy.proxy import events

from proxy.core.audit import Ending
from proxy.lanes.mitm.client_tls import HTTP2
from proxy.lanes.mitm.events import CutStream
from proxy.transaction.refusals import OwnAnswer
from tests.lane_scripts import Marked, Script, scripted
from tests.lane_world import POLICY, H2Client, H2Upstream, Talk, Upstream, World, pod_of

HOST: Final = b"Host: api.example.com\r\n"
EXPECT: Final = b"Expect: 100-continue\r\n"
GO_ON: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
OK: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
MOVED: Final = b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /v1/y\r\nContent-Length: 0\r\n\r\n"
GET: Final = b"GET /v1/models HTTP/1.1\r\n" + HOST + b"\r\n"


def upload(*fields: bytes, path: bytes = b"/v1/x", version: bytes = b"1.1") -> bytes:
    lines = b"".join(fields or (b"Content-Length: 10\r\n",))
    return b"PUT " + path + b" HTTP/" + version + b"\r\n" + HOST + EXPECT + lines + b"\r\n"


CHUNKED: Final = upload(b"Transfer-Encoding: chunked\r\n")


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def talk(world: World) -> Talk:
    return Talk(world)


# --- told to go on -------------------------------------------------------------------------------------


def test_the_upstream_says_when_the_body_may_come(world: World, talk: Talk) -> None:
    talk.holds = True
    assert talk.say(upload()) == b""
    talk.judge()
    talk.holds = False
    assert talk.answer == b""
    head = talk.forwarded
    assert head.lower().count(b"expect: 100-continue\r\n") == 1

    assert talk.reply(GO_ON) == GO_ON

    talk.say(b"01234")
    talk.say(b"56789")
    assert talk.forwarded == head + b"0123456789"
    assert talk.reply(OK) == OK
    assert world.recorder.record.sent_bytes == 10
    assert talk.half_closed == []
    talk.say(GET)
    assert talk.reply(OK) == OK
    assert len(talk.servers) == 1


def test_it_is_told_once_and_nothing_but_that(talk: Talk) -> None:
    talk.say(upload())

    assert talk.reply(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n") == b""
    assert talk.reply(GO_ON[:7]) == b""
    assert talk.reply(GO_ON[7:] + GO_ON) == GO_ON
    assert talk.reply(GO_ON) == b""


def test_who_begins_before_it_was_told_is_not_told(talk: Talk) -> None:
    """RFC 9110 §10.1.1: a client need not wait for ever; curl and boto3 wait for a second."""
    talk.say(upload())
    talk.say(b"01234")
    assert talk.forwarded.endswith(b"\r\n\r\n01234")

    assert talk.reply(GO_ON) == b""

    talk.say(b"56789")
    assert talk.reply(OK) == OK
    talk.say(GET)
    assert talk.reply(OK) == OK


def test_an_upstream_that_never_says_so_gets_the_body_all_the_same(talk: Talk) -> None:
    talk.say(upload())

    talk.say(b"0123456789")

    assert talk.forwarded.endswith(b"\r\n\r\n0123456789")
    assert talk.reply(OK) == OK


def test_an_empty_body_that_ends_at_once_has_begun(talk: Talk) -> None:
    talk.say(CHUNKED)
    talk.say(b"0\r\n\r\n")

    assert talk.reply(GO_ON + OK) == OK
    assert talk.half_closed == []


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /v1/x HTTP/1.1\r\n" + HOST + EXPECT + b"\r\n",
        b"PUT /v1/x HTTP/1.1\r\n" + HOST + EXPECT + b"Content-Length: 0\r\n\r\n",
        upload(version=b"1.0"),
        upload().replace(b"100-continue", b"the-moon"),
        upload().replace(EXPECT, b""),
    ],
    ids=["no body", "an empty body", "HTTP/1.0", "something else", "nothing"],
)
def test_who_does_not_wait_is_told_nothing_and_nothing_is_expected_of_the_upstream(
    talk: Talk, request_: bytes
) -> None:
    talk.say(request_)

    assert b"expect" not in talk.forwarded.lower()
    assert talk.reply(GO_ON) == b""


# --- answered first ------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"", b"0123456789"], ids=["no body comes", "the body comes too late"])
@pytest.mark.parametrize(
    "answer", [MOVED, OK, b"HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"]
)
def test_an_answer_that_comes_first_ends_both_connections(
    world: World, talk: Talk, answer: bytes, body: bytes
) -> None:
    talk.say(upload())
    sent = talk.forwarded

    got = talk.reply(answer)

    assert got.startswith(answer[:13])
    assert got.lower().count(b"\r\nconnection: close\r\n") == 1
    assert talk.half_closed == [talk.client]
    assert talk.servers[0].state is ConnectionState.CLOSED
    assert world.recorder.record.ending is Ending.COMPLETED
    assert not talk.conversation.busy
    assert talk.http.streams == {}
    # What comes late is taken for the body, and what follows it is not read.
    assert not talk.closed
    talk.say(body + GET)
    assert talk.forwarded == sent
    assert len(talk.servers) == 1
    assert len(world.recorder.records) == 1
    assert talk.closed


def test_the_body_that_comes_while_the_answer_does_is_dropped(world: World, talk: Talk) -> None:
    talk.say(CHUNKED)
    sent = talk.forwarded
    talk.reply(OK[:-1])

    talk.say(b"3\r\nabc\r\n")
    talk.say(b"0\r\n\r\n")
    talk.reply(b"k")

    assert talk.forwarded == sent
    assert talk.answer.endswith(b"ok")
    assert talk.closed
    assert "closed upstream" in talk.story
    assert world.recorder.record.sent_bytes == 0


def test_after_the_answers_head_nobody_is_told_to_go_on(talk: Talk) -> None:
    talk.say(upload())
    got = talk.reply(OK[:-2])

    assert b"Connection: close" in got or b"connection: close" in got
    assert talk.reply(b"ok") == b"ok"
    assert GO_ON not in talk.answer


def test_an_answer_that_breaks_off_ends_the_connection(world: World, talk: Talk) -> None:
    talk.say(upload())
    talk.reply(OK[:-1])

    talk.hang_up()

    assert talk.closed
    assert world.recorder.record.ending is Ending.UPSTREAM_FAILED


def test_a_client_that_leaves_within_an_answer_that_came_first_takes_the_upstream_with_it(
    world: World, talk: Talk
) -> None:
    talk.say(upload())
    talk.reply(OK[:-1])

    talk.hang_up(talk.client)

    assert "closed upstream" in talk.story
    assert world.recorder.record.ending is Ending.CLIENT_GONE


def test_an_answer_after_all_was_sent_keeps_the_clients_connection(talk: Talk) -> None:
    talk.say(upload())
    talk.say(b"0123456789")

    assert talk.reply(MOVED) == MOVED
    # Who answered without a 100 may take the body, which came unasked, for the next request.
    assert talk.servers[0].state is ConnectionState.CLOSED
    talk.say(GET)
    assert talk.reply(OK) == OK
    assert len(talk.servers) == 2


def test_an_upstream_that_said_go_on_is_asked_again(talk: Talk) -> None:
    talk.say(upload())
    talk.reply(GO_ON)
    talk.say(b"0123456789")

    assert talk.reply(MOVED) == MOVED
    talk.say(GET)
    assert talk.reply(OK) == OK
    assert len(talk.servers) == 1


def test_an_answer_after_a_part_was_sent_is_as_it_always_was(talk: Talk) -> None:
    talk.say(upload())
    talk.reply(GO_ON)
    talk.say(b"01234")

    assert talk.reply(OK) == OK
    assert not talk.closed
    talk.say(b"56789")
    assert talk.forwarded.endswith(b"0123456789")


def test_an_upstream_that_ends_without_a_word_is_a_502_and_the_end(world: World, talk: Talk) -> None:
    talk.say(upload())

    answer = talk.hang_up()

    assert b"podkey-reason: upstream_failed" in answer
    assert b"\r\nConnection: close\r\n" in answer
    assert talk.half_closed == [talk.client]
    assert world.recorder.record.ending is Ending.REFUSED


def test_who_is_refused_is_not_told_and_its_connection_ends(world: World, talk: Talk) -> None:
    answer = talk.say(upload(path=b"/other"))

    assert b"podkey-reason: path_not_granted" in answer
    assert b"\r\nConnection: close\r\n" in answer
    assert GO_ON not in answer
    assert talk.half_closed == [talk.client]
    talk.say(b"0123456789" + GET)
    assert talk.servers == []
    assert len(world.recorder.records) == 1


def test_over_http2_a_client_that_leaves_after_its_answer_ends_its_body_upstream(world: World) -> None:
    talk = Talk(world, alpn=HTTP2, upstream=Upstream(alpn=HTTP2))
    client = H2Client(talk)
    stream = client.request(method=b"PUT", path=b"/v1/x", end=False)
    client.h2.send_data(stream, b"abc")
    client.flush()
    upstream = H2Upstream(talk)
    upstream.answer([(b":status", b"413")], b"no", end=True)
    assert upstream.of(h2.events.StreamReset) == []

    client.h2.reset_stream(stream)
    client.flush()

    (reset,) = upstream.of(h2.events.StreamReset)
    assert reset.error_code == h2.errors.ErrorCodes.CANCEL
    assert talk.http.streams == {}


# --- HTTP/2 --------------------------------------------------------------------------------------------


@pytest.fixture
def sides(world: World) -> tuple[Talk, H2Client, int, H2Upstream]:
    talk = Talk(world, alpn=HTTP2, upstream=Upstream(alpn=HTTP2))
    client = H2Client(talk)
    stream = client.request([(b"expect", b"100-continue")], method=b"PUT", path=b"/v1/x", end=False)
    return talk, client, stream, H2Upstream(talk)


Sides = tuple[Talk, H2Client, int, H2Upstream]


def test_over_http2_it_goes_end_to_end_as_well(sides: Sides) -> None:
    _, client, stream, upstream = sides
    assert upstream.requests()[0][b"expect"] == b"100-continue"
    assert client.of(h2.events.InformationalResponseReceived) == []

    for status in (b"103", b"100", b"100"):
        upstream.h2.send_headers(upstream.stream, [(b":status", status)])
        upstream.flush()

    (told,) = client.of(h2.events.InformationalResponseReceived, stream)
    assert [(bytes(name), bytes(value)) for name, value in told.headers or ()] == [(b":status", b"100")]
    client.h2.send_data(stream, b"abc", end_stream=True)
    client.flush()
    upstream.answer([(b":status", b"200")], b"hello", end=True)
    assert (client.head(stream)[":status"], client.body(stream)) == ("200", b"hello")


def test_over_http2_an_answer_that_comes_first_resets_the_upstreams_stream(
    world: World, sides: Sides
) -> None:
    talk, client, stream, upstream = sides

    upstream.answer([(b":status", b"403")], b"no", end=True)

    assert (client.head(stream)[":status"], client.body(stream)) == ("403", b"no")
    assert "connection" not in client.head(stream)
    (reset,) = upstream.of(h2.events.StreamReset)
    assert reset.error_code == h2.errors.ErrorCodes.CANCEL
    assert world.recorder.record.ending is Ending.COMPLETED
    client.h2.send_data(stream, b"late", end_stream=True)
    client.flush()
    assert upstream.of(h2.events.DataReceived) == []
    assert talk.half_closed == []
    assert not talk.closed
    client.request()
    assert len(upstream.requests()) == 2


def test_trailers_of_a_request_that_was_answered_first_are_dropped(sides: Sides) -> None:
    talk, client, stream, upstream = sides
    upstream.h2.send_headers(upstream.stream, [(b":status", b"403")])
    upstream.flush()

    client.h2.send_data(stream, b"late")
    client.h2.send_headers(stream, [(b"x-checksum", b"1")], end_stream=True)
    client.flush()
    upstream.h2.send_data(upstream.stream, b"no", end_stream=True)
    upstream.flush()

    assert client.body(stream) == b"no"
    assert upstream.of(h2.events.DataReceived) == []
    assert not talk.closed


def test_a_stream_that_was_reset_is_not_told_to_go_on(sides: Sides) -> None:
    talk, client, stream, upstream = sides
    theirs = upstream.stream
    client.h2.reset_stream(stream)
    # Both on their way at once.
    upstream.h2.send_headers(theirs, [(b":status", b"100")])
    reset, go_on = client.h2.data_to_send(), upstream.h2.data_to_send()
    talk.feed(events.DataReceived(talk.client, reset))
    talk.feed(events.DataReceived(talk.servers[0], go_on))

    assert client.of(h2.events.InformationalResponseReceived) == []
    assert not talk.closed


# --- answered by us --------------------------------------------------------------------------------------

SESSION: Final = OwnAnswer(200, (("content-type", "text/plain"), ("content-length", "3")), b"yes")


def test_what_is_granted_and_answered_here_reaches_no_upstream(
    world: World, talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, Script(answer=SESSION))

    answer = talk.say(GET)

    assert answer == b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 3\r\n\r\nyes"
    assert talk.servers == []
    record = world.recorder.record
    assert (record.status, record.ending, record.verdict) == (200, Ending.COMPLETED, "attach")
    assert talk.say(GET) == answer


def test_an_answer_of_ours_to_a_head_has_no_body(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, Script(answer=SESSION))

    answer = talk.say(GET.replace(b"GET", b"HEAD"))

    assert answer.endswith(b"content-length: 3\r\n\r\n")
    assert talk.say(GET.replace(b"GET", b"HEAD")) == answer


def test_the_body_of_what_is_answered_here_is_dropped(
    world: World, talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, Script(answer=SESSION))

    answer = talk.say(upload().replace(EXPECT, b"") + b"01234")

    assert answer.endswith(b"yes")
    assert talk.say(b"56789") == b""
    assert talk.say(GET) == answer
    assert talk.servers == []


# --- bodies that cannot go on, and cuts --------------------------------------------------------------------


def test_a_body_that_cannot_go_on_is_refused_and_its_upstream_has_no_whole_body(
    world: World, talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, Script(rewrite=Marked))
    talk.say(upload().replace(EXPECT, b"") + b"012345")
    sent = talk.forwarded
    assert sent.endswith(b"\r\n\r\n01")

    answer = talk.say(b"67!")

    assert b"HTTP/1.1 400 " in answer
    assert b"podkey-reason: malformed_body" in answer
    assert b"it shouts" in answer
    assert talk.forwarded == sent
    assert talk.servers[0].state is ConnectionState.CLOSED
    record = world.recorder.record
    assert (record.verdict, record.reason, record.ending) == ("refuse", "malformed_body", Ending.REFUSED)
    assert world.room.taken == 0
    # The rest of it is dropped, and the connection serves the next request, over another one.
    assert talk.say(b"9" + GET) == b""
    assert talk.reply(OK) == OK
    assert len(talk.servers) == 2


def test_a_body_that_cannot_go_on_after_its_answer_began_cuts_the_client(
    world: World, talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, Script(rewrite=Marked))
    talk.say(upload().replace(EXPECT, b"") + b"01234")
    talk.reply(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")

    assert talk.say(b"5!") == b""

    assert talk.closed
    assert talk.servers[0].state is ConnectionState.CLOSED
    record = world.recorder.record
    assert (record.reason, record.ending, record.status) == ("granted", Ending.CUT, 200)
    assert world.room.taken == 0


def test_over_http2_a_body_that_cannot_go_on_resets_one_stream(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, Script(rewrite=Marked))
    talk = Talk(world, alpn=HTTP2, upstream=Upstream(alpn=HTTP2))
    client = H2Client(talk)
    other = client.request()
    upstream = H2Upstream(talk)
    theirs = upstream.stream
    stream = client.request(method=b"PUT", path=b"/v1/x", end=False)
    client.h2.send_data(stream, b"what?", end_stream=True)
    client.flush()

    assert client.head(stream)[":status"] == "400"
    (reset,) = upstream.of(h2.events.StreamReset)
    assert reset.stream_id != theirs
    assert upstream.of(h2.events.StreamEnded, reset.stream_id) == []
    upstream.h2.send_headers(theirs, [(b":status", b"204")], end_stream=True)
    upstream.flush()
    assert client.head(other)[":status"] == "204"
    assert world.room.taken == 0


def leave(talk: Talk) -> None:
    talk.hang_up(talk.client)


def fail(talk: Talk) -> None:
    talk.hang_up()


def cut(talk: Talk) -> None:
    assert talk.world.lane_world.in_flight.recheck(pod_of("")) == 1


@pytest.mark.parametrize("end", [leave, fail, cut])
def test_whoever_ends_it_nothing_stays_of_what_a_transform_held(
    monkeypatch: pytest.MonkeyPatch, end: Callable[[Talk], None]
) -> None:
    world = World(pod=pod_of(POLICY.replace("  grants:", "  onRevoke: cut\n  grants:")))
    scripted(monkeypatch, Script(rewrite=Marked))
    talk = Talk(world)
    talk.conversation.cut_off = lambda exchange: talk.feed(CutStream(exchange))
    talk.say(upload().replace(EXPECT, b"") + b"01234")
    assert world.room.taken == 8

    end(talk)

    assert world.room.taken == 0
    assert talk.servers[0].state is ConnectionState.CLOSED
    assert not talk.conversation.busy
