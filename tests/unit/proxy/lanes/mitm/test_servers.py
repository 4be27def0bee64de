import json

import pytest
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, StreamReset
from mitmproxy.connection import ConnectionState
from mitmproxy.proxy import commands, events

from proxy.core.audit import Ending
from proxy.lanes.mitm.client_tls import HTTP2
from proxy.lanes.mitm.pacing import CLIENT_WINDOW, MAX_HEADER_LIST, UPSTREAM_WINDOW
from proxy.lanes.mitm.servers import MAX_UNREAD
from proxy.lanes.mitm.streams import EVENT_BYTES
from proxy.wire.fields import MAX_FIELDS, MAX_HEAD_BYTES
from proxy.wire.request_head import MAX_REQUEST_LINE
from tests.lane_world import H2Client, H2Upstream, Talk, Upstream, World
from tests.wire_samples import prefixes

HOST = b"Host: api.example.com\r\n"
PUT = b"PUT / HTTP/1.1\r\n" + HOST
GET = b"GET /v1/models HTTP/1.1\r\n" + HOST + b"\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
NEXT = b"GET /v1/smuggled HTTP/1.1\r\n" + HOST + b"\r\n"

MALFORMED = {
    "a second Host": b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n",
    "no Host": b"GET / HTTP/1.1\r\n\r\n",
    "a Host that is none": b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
    "length and coding": b"PUT / HTTP/1.1\r\n"
    + HOST
    + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    "two lengths": PUT + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\n",
    "a signed length": PUT + b"Content-Length: +1\r\n\r\n",
    "another coding": PUT + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
    "a coding in HTTP/1.0": b"PUT / HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n",
    "an obs-fold": b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\n b\r\n\r\n",
    "a bare LF": b"GET / HTTP/1.1\n" + HOST + b"\r\n",
    "a bare CR": b"GET / HTTP/1.1\r\n" + HOST + b"X: a\rb\r\n\r\n",
    "a NUL": b"GET / HTTP/1.1\r\n" + HOST + b"X: a\0b\r\n\r\n",
    "a space before a colon": b"GET / HTTP/1.1\r\nHost : api.example.com\r\n\r\n",
    "a field without a name": b"GET / HTTP/1.1\r\n" + HOST + b": x\r\n\r\n",
    "a line without a colon": b"GET / HTTP/1.1\r\n" + HOST + b"x\r\n\r\n",
    "two spaces": b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n",
    "HTTP/0.9": b"GET /\r\n\r\n",
    "another version": b"GET / HTTP/2.0\r\n" + HOST + b"\r\n",
    "a method that is none": b"G(T / HTTP/1.1\r\n" + HOST + b"\r\n",
    "empty lines": b"\r\n\r\nGET / HTTP/1.1\r\n" + HOST + b"\r\n",
    "a fragment": b"GET /#x HTTP/1.1\r\n" + HOST + b"\r\n",
    "a target that is none": b"GET x HTTP/1.1\r\n" + HOST + b"\r\n",
    "an asterisk for GET": b"GET * HTTP/1.1\r\n" + HOST + b"\r\n",
    "HTTP/2 without ALPN": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS within TLS": bytes([22, 3, 1, 2, 0, 1, 0]),
}
TOO_LARGE = {
    "a long line": b"GET /" + b"x" * MAX_REQUEST_LINE + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    "many fields": b"GET / HTTP/1.1\r\n" + HOST + b"X: y\r\n" * MAX_FIELDS + b"\r\n",
    "a long head": b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"y" * MAX_HEAD_BYTES,
}
NOT_400 = {
    "another absolute host": (
        b"GET https://evil.example/ HTTP/1.1\r\n" + HOST + b"\r\n",
        421,
        "name_mismatch",
    ),
    "cleartext absolute": (
        b"GET http://api.example.com/ HTTP/1.1\r\n" + HOST + b"\r\n",
        421,
        "name_mismatch",
    ),
    "a tunnel": (b"CONNECT api.example.com:443 HTTP/1.1\r\n" + HOST + b"\r\n", 403, "method_forbidden"),
}


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def talk(world: World) -> Talk:
    return Talk(world)


# --- HTTP/1 heads that cannot be read ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "status", "reason"),
    [
        *(pytest.param(head, 400, "malformed_request", id=name) for name, head in MALFORMED.items()),
        *(pytest.param(head, 431, "headers_too_large", id=name) for name, head in TOO_LARGE.items()),
        *(pytest.param(*case, id=name) for name, case in NOT_400.items()),
    ],
)
def test_a_head_that_cannot_be_read_is_answered_and_nothing_is_read_after_it(
    world: World, talk: Talk, head: bytes, status: int, reason: str
) -> None:
    answer = talk.say(head + NEXT)

    top, _, body = answer.partition(b"\r\n\r\n")
    assert top.startswith(b"HTTP/1.1 %d podkey\r\n" % status)
    assert f"podkey-reason: {reason}".encode() in top
    assert b"connection: close" in top
    assert json.loads(body)["error"]["code"] == reason
    assert talk.half_closed == [talk.client]
    assert not talk.closed

    assert talk.say(NEXT) == b""
    assert talk.story == ["sent"]
    assert len(talk.http._server.buf) == 0  # type: ignore[union-attr]
    assert [(record.reason, record.ending) for record in world.recorder.records] == [(reason, Ending.REFUSED)]


def test_a_connection_that_was_half_closed_is_closed_when_the_client_ends(talk: Talk) -> None:
    talk.say(MALFORMED["no Host"])

    talk.hang_up(talk.client)

    assert talk.closed


def test_a_connection_that_was_half_closed_is_closed_after_a_while(world: World, talk: Talk) -> None:
    talk.say(MALFORMED["no Host"])
    (timer,) = talk.timers
    assert timer.delay == world.timeouts.header

    talk.ring(timer)

    assert talk.closed


def test_what_is_dropped_after_a_bad_head_is_not_kept(talk: Talk) -> None:
    talk.say(MALFORMED["no Host"])

    for _ in range(50):
        talk.say(b"x" * 65_536)
        assert len(talk.http._server.buf) == 0  # type: ignore[union-attr]


# --- HTTP/1 heads in time ------------------------------------------------------------------------------


def test_a_head_may_come_in_any_pieces(world: World) -> None:
    for cut in map(len, prefixes(GET)):
        talk = Talk(world)
        assert talk.say(GET[:cut]) == b""
        assert talk.story == []

        talk.say(GET[cut:])

        assert talk.forwarded.startswith(b"GET /v1/models HTTP/1.1\r\n")


def test_one_empty_line_may_come_before_a_head(talk: Talk) -> None:
    talk.say(b"\r\n" + GET)

    assert talk.reply(OK) == OK


def test_a_slow_head_ends_the_connection(world: World, talk: Talk) -> None:
    talk.say(GET[:10])
    talk.say(GET[10:20])
    (timer,) = talk.timers
    assert timer.delay == world.timeouts.header

    talk.ring(timer)

    assert talk.closed
    assert world.recorder.records == []


def test_a_connection_between_two_requests_has_no_timer(talk: Talk) -> None:
    talk.say(GET)
    talk.reply(OK)

    assert talk.timers == []


def test_the_timer_of_an_earlier_head_does_not_end_a_later_one(talk: Talk) -> None:
    talk.say(GET[:10])
    talk.say(GET[10:])
    talk.reply(OK)
    talk.say(GET[:10])
    earlier, later = talk.timers

    talk.ring(earlier)
    assert not talk.closed
    talk.ring(later)
    assert talk.closed


def test_a_client_that_ends_within_a_head_is_hung_up_on(world: World, talk: Talk) -> None:
    talk.say(GET[:10])

    talk.hang_up(talk.client)

    assert talk.closed
    assert world.recorder.records == []


# --- what mitmproxy makes of a head ----------------------------------------------------------------------


@pytest.mark.parametrize("option", [b"close", b"Close", b"keep-alive, close"])
def test_a_client_that_asks_for_the_end_gets_it_after_the_response(talk: Talk, option: bytes) -> None:
    talk.say(GET[:-2] + b"Connection: " + option + b"\r\n\r\n")
    assert b"connection" not in talk.forwarded.lower()
    assert not talk.closed

    talk.reply(OK)

    assert talk.closed


@pytest.mark.parametrize(("option", "closed"), [(b"", True), (b"Connection: keep-alive\r\n", False)])
def test_a_client_of_http_1_0_stays_only_where_it_says_so(talk: Talk, option: bytes, closed: bool) -> None:  # noqa: FBT001
    talk.say(b"GET /v1/models HTTP/1.0\r\n" + HOST + option + b"\r\n")

    talk.reply(OK)

    assert talk.closed is closed


@pytest.mark.parametrize("target", [b"https://api.example.com?x=1", b"https://api.example.com"])
def test_a_target_that_mitmproxy_cannot_read_is_answered_by_us(
    world: World, talk: Talk, target: bytes
) -> None:
    answer = talk.say(b"GET " + target + b" HTTP/1.1\r\n" + HOST + b"\r\n")

    assert b"podkey-reason: path_not_granted" in answer
    assert b"<html>" not in answer
    assert len(world.recorder.records) == 1


# --- limits ----------------------------------------------------------------------------------------------


def test_requests_that_come_before_their_turn_are_not_kept_without_end(talk: Talk) -> None:
    talk.say(GET)

    while not talk.closed:
        talk.say(b"x" * 10_000)
        assert len(talk.http._server.buf) <= MAX_UNREAD  # type: ignore[union-attr]


def test_a_chunk_size_that_never_ends_is_not_kept_without_end(world: World, talk: Talk) -> None:
    talk.say(b"PUT /v1/x HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n1;")

    while not talk.closed:
        talk.say(b"x" * 10_000)
        assert len(talk.http._server.buf) <= MAX_UNREAD  # type: ignore[union-attr]

    assert "closed upstream" in talk.story
    assert world.recorder.record.ending is Ending.CLIENT_GONE


def test_a_large_piece_of_a_body_is_no_excess(talk: Talk) -> None:
    talk.say(b"PUT /v1/x HTTP/1.1\r\n" + HOST + b"Content-Length: 1000000\r\n\r\n" + b"x" * 1_000_000)

    assert talk.forwarded.endswith(b"x" * 1_000_000)
    assert talk.reply(OK) == OK


def test_what_waits_for_an_upstream_is_known(world: World, talk: Talk) -> None:
    talk.holds = True
    talk.say(b"PUT /v1/x HTTP/1.1\r\n" + HOST + b"Content-Length: 100\r\n\r\n" + b"x" * 60)
    assert talk.conversation.waiting_bytes == 60 + EVENT_BYTES

    talk.judge()

    assert talk.conversation.waiting_bytes == 0


def test_closed_upstream_connections_are_let_go(talk: Talk) -> None:
    for _ in range(20):
        talk.say(GET)
        talk.reply(OK)
        talk.hang_up()

    assert len(talk.servers) == 20
    assert len(talk.http.connections) <= 2


def test_the_end_of_a_connection_that_was_let_go_is_no_news(talk: Talk) -> None:
    talk.say(GET)
    talk.reply(OK)
    talk.hang_up()
    talk.say(GET)
    gone = talk.servers[0]
    assert gone not in talk.http.connections

    talk.feed(events.ConnectionClosed(gone))

    assert talk.reply(OK) == OK


def test_an_upstream_connection_that_a_stream_still_uses_is_kept(talk: Talk) -> None:
    """An early response, and an upstream that ends before the upload did."""
    talk.say(b"PUT /v1/x HTTP/1.1\r\n" + HOST + b"Content-Length: 10\r\n\r\n01234")
    talk.reply(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")

    talk.hang_up()
    talk.say(b"56789")

    assert talk.answer.startswith(b"HTTP/1.1 413 ")


# --- HTTP/2 ------------------------------------------------------------------------------------------------


BAD_FIELDS = {
    "an upper-case name": [(b"X-Upper", b"1")],
    "a line end in a value": [(b"x", b"a\r\nb: c")],
    "a NUL": [(b"x", b"\0")],
    "a field of connections": [(b"connection", b"close")],
    "a coding": [(b"transfer-encoding", b"chunked")],
    "two hosts": [(b"host", b"api.example.com"), (b"host", b"api.example.com")],
    "another host": [(b"host", b"evil.example")],
    "a late pseudo-header": [(b"x", b"1"), (b":path", b"/v1/y")],
    "space around a value": [(b"x", b" 1")],
    "two lengths": [(b"content-length", b"0"), (b"content-length", b"0")],
}


@pytest.mark.parametrize("fields", [pytest.param(fields, id=name) for name, fields in BAD_FIELDS.items()])
@pytest.mark.parametrize("end", [True, False])
def test_malformed_fields_are_answered_and_reset_and_other_streams_go_on(
    world: World,
    fields: list[tuple[bytes, bytes]],
    end: bool,  # noqa: FBT001
) -> None:
    talk = Talk(world, alpn=HTTP2, upstream=Upstream(alpn=HTTP2))
    client = H2Client(talk, validate=False)
    before = client.request()

    bad = client.request(fields, end=end)

    assert client.head(bad)[":status"] == "400"
    assert client.head(bad)["podkey-reason"] == "malformed_request"
    assert json.loads(client.body(bad))["error"]["code"] == "malformed_request"
    resets = [event.error_code for event in client.of(StreamReset, bad)]
    assert resets == ([] if end else [ErrorCodes.NO_ERROR])
    upstream = H2Upstream(talk)
    upstream.answer([(b":status", b"200")], b"hello", end=True)
    assert client.body(before) == b"hello"
    after = client.request()
    upstream.answer([(b":status", b"204")], b"", end=True)
    assert client.head(after)[":status"] == "204"
    assert len(upstream.requests()) == 2
    assert [record.reason for record in world.recorder.records] == ["malformed_request", "granted", "granted"]


def test_the_body_of_a_stream_that_was_refused_is_dropped(world: World) -> None:
    talk = Talk(world, alpn=HTTP2, upstream=Upstream(alpn=HTTP2))
    client = H2Client(talk, validate=False)
    # Head and body in one read: h2 has seen all of it before we answer.
    bad = client.h2.get_next_available_stream_id()
    head = [(b":method", b"PUT"), (b":scheme", b"https"), (b":authority", b"x y"), (b":path", b"/")]
    client.h2.send_headers(bad, head)
    client.h2.send_data(bad, b"x" * 1000, end_stream=True)
    client.flush()

    assert client.head(bad)[":status"] == "400"
    assert not talk.closed
    client.request()
    assert talk.story[-1] == "sent upstream"


def test_a_malformed_stream_that_is_reset_at_once_harms_no_other(world: World) -> None:
    talk = Talk(world, alpn=HTTP2, upstream=Upstream(alpn=HTTP2))
    client = H2Client(talk, validate=False)
    bad = client.h2.get_next_available_stream_id()
    head = [(b":method", b"PUT"), (b":scheme", b"https"), (b":authority", b"x y"), (b":path", b"/")]
    client.h2.send_headers(bad, head)
    client.h2.reset_stream(bad)
    client.flush()

    client.request()

    assert talk.story[-1] == "sent upstream"
    assert world.recorder.reasons == ["malformed_request"]


def test_a_header_list_above_our_limit_is_answered(world: World) -> None:
    talk = Talk(world, alpn=HTTP2)
    client = H2Client(talk)

    stream = client.request([(b"x", b"y" * MAX_HEAD_BYTES)])

    assert client.head(stream)[":status"] == "431"
    assert client.head(stream)["podkey-reason"] == "headers_too_large"
    assert not talk.closed


def test_a_header_list_above_hpacks_limit_ends_the_connection(world: World) -> None:
    talk = Talk(world, alpn=HTTP2)
    client = H2Client(talk)

    client.request([(b"x%d" % number, b"y" * 60_000) for number in range(MAX_HEADER_LIST // 60_000 + 1)])

    assert client.of(ConnectionTerminated)
    assert talk.closed
    assert world.recorder.records == []


@pytest.mark.parametrize(
    "trailers",
    [[(b"authorization", b"x")], [(b"X-Upper", b"x")], [(b":path", b"/")], [(b"x", b"a\nb")]],
)
def test_trailers_that_could_be_taken_for_a_head_end_the_connection(
    world: World, trailers: list[tuple[bytes, bytes]]
) -> None:
    talk = Talk(world, alpn=HTTP2, upstream=Upstream(alpn=HTTP2))
    client = H2Client(talk, validate=False)
    stream = client.request(method=b"PUT", end=False)
    upstream = H2Upstream(talk)

    client.h2.send_headers(stream, trailers, end_stream=True)
    client.flush()

    assert client.of(ConnectionTerminated)
    assert talk.closed
    upstream.flush()
    assert upstream.of(StreamReset)
    assert world.recorder.record.ending is Ending.CLIENT_GONE


def test_trailers_of_a_request_are_passed_on(world: World) -> None:
    talk = Talk(world, alpn=HTTP2, upstream=Upstream(alpn=HTTP2))
    client = H2Client(talk)
    stream = client.request(method=b"PUT", end=False)
    upstream = H2Upstream(talk)

    client.h2.send_data(stream, b"abc")
    client.h2.send_headers(stream, [(b"x-checksum", b"1")], end_stream=True)
    client.flush()
    upstream.answer([(b":status", b"200")], b"", end=True)

    assert world.recorder.record.sent_bytes == 3


def test_frames_that_are_no_http2_end_the_connection(world: World) -> None:
    talk = Talk(world, alpn=HTTP2)

    talk.say(GET)

    assert talk.closed


def test_trailers_of_http1_are_dropped_and_the_request_goes_on(world: World) -> None:
    talk = Talk(world)
    talk.say(b"PUT /v1/x HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")

    talk.say(b"0\r\nAuthorization: x\r\n\r\n")

    assert talk.forwarded.endswith(b"\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
    assert talk.reply(OK) == OK


def test_an_http2_client_that_reads_slowly_does_not_make_us_hold_its_response(world: World) -> None:
    talk = Talk(world, alpn=HTTP2, upstream=Upstream(alpn=HTTP2))
    client = H2Client(talk)
    stream = client.request()  # with the 64 KiB window of RFC 9113
    upstream = H2Upstream(talk)
    upstream.h2.send_headers(upstream.stream, [(b":status", b"200"), (b"content-type", b"image/png")])

    sent = pour(upstream, upstream.stream, 8_000_000)
    assert sent <= 2 * UPSTREAM_WINDOW

    client.h2.increment_flow_control_window(8_000_000)
    client.h2.increment_flow_control_window(8_000_000, stream)
    client.flush()
    upstream.flush()
    sent += pour(upstream, upstream.stream, 8_000_000 - sent)
    assert len(client.body(stream)) == sent


def test_an_http2_upstream_that_reads_slowly_does_not_make_us_hold_an_upload(world: World) -> None:
    talk = Talk(world, alpn=HTTP2, upstream=Upstream(alpn=HTTP2))
    client = H2Client(talk)
    stream = client.request(method=b"PUT", end=False)
    upstream = H2Upstream(talk)

    sent = pour(client, stream, 8_000_000)
    assert sent <= 3 * CLIENT_WINDOW

    upstream.h2.increment_flow_control_window(8_000_000)
    upstream.h2.increment_flow_control_window(8_000_000, upstream.stream)
    upstream.flush()
    client.flush()
    assert pour(client, stream, 8_000_000 - sent) > 0


def test_an_upload_over_http2_waits_with_its_verdict(world: World) -> None:
    talk = Talk(world, alpn=HTTP2, upstream=Upstream(alpn=HTTP2))
    talk.holds = True
    client = H2Client(talk)
    stream = client.request(method=b"PUT", end=False)

    assert pour(client, stream, 8_000_000) <= 2 * CLIENT_WINDOW
    talk.judge()
    assert talk.forwarded


def pour(side: H2Client | H2Upstream, stream: int, size: int) -> int:
    """Send as much as the other side lets through; returns how much that was."""
    sent = 0
    while sent < size and side.h2.local_flow_control_window(stream) >= 16_384:
        side.h2.send_data(stream, b"x" * 16_384)
        side.flush()
        sent += 16_384
    return sent


def test_the_layer_reads_the_protocol_that_tls_agreed_on(world: World) -> None:
    assert type(Talk(world).http._server).__name__ == "GuardedHttp1Server"
    assert type(Talk(world, alpn=HTTP2).http._server).__name__ == "GuardedHttp2Server"


def test_a_timer_is_a_command_that_mitmproxy_knows(talk: Talk) -> None:
    talk.say(b"G")

    assert isinstance(talk.timers[0], commands.RequestWakeup)
    assert talk.client.state is ConnectionState.OPEN
