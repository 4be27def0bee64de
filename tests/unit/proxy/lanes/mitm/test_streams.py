import json

import h2.errors
import h2.events
import pytest
from mitmproxy.connection import ConnectionState, Server
from mitmproxy.proxy import events
from mitmproxy.proxy.layers.http import HttpStream

from proxy.core.audit import Ending
from proxy.core.credentials import CredentialRef
from proxy.core.hosts import Hostname
from proxy.core.lease import LeaseReply
from proxy.core.reasons import Reason
from proxy.core.structs import replace
from proxy.lanes.faults import too_long
from proxy.lanes.mitm.client_tls import HTTP2
from proxy.lanes.mitm.events import CutStream
from proxy.lanes.mitm.streams import GuardedStream
from tests.judge_world import policy
from tests.lane_scripts import Script, scripted
from tests.lane_world import (
    HOST,
    LIVE,
    POLICY,
    H2Client,
    H2Upstream,
    Talk,
    Upstream,
    World,
    get,
    no_lease,
    pod_of,
)

GET = b"GET /v1/models HTTP/1.1\r\nHost: api.example.com\r\n\r\n"
FORBIDDEN = b"PUT /other HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 100000000\r\n\r\n"
UPLOAD = b"PUT /v1/x HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 10\r\n\r\n"
CHUNKED_UPLOAD = b"PUT /v1/x HTTP/1.1\r\nHost: api.example.com\r\nTransfer-Encoding: chunked\r\n\r\n"
UPGRADE = (
    b"GET /v1/realtime HTTP/1.1\r\nHost: api.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
def world() -> World:
    return World()


def refusal(answer: bytes) -> tuple[int, str, str]:
    """Status, reason and message of the last answer in the bytes."""
    head, _, body = answer.rpartition(b"HTTP/1.1 ")[2].partition(b"\r\n\r\n")
    fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    assert len(body) == int(fields["content-length"])
    return int(head[:3]), fields["podkey-reason"], json.loads(body)["error"]["message"]


# --- granted ---------------------------------------------------------------------------------------


def test_a_granted_request_leaves_with_the_credential_and_its_answer_comes_back(world: World) -> None:
    talk = Talk(world)

    talk.say(GET)

    assert talk.forwarded.startswith(b"GET /v1/models HTTP/1.1\r\nHost: api.example.com\r\n")
    assert f"authorization: bearer {LIVE}".encode() in talk.forwarded.lower()
    assert talk.reply(OK) == OK
    record = world.recorder.record
    assert (record.verdict, record.status, record.ending) == ("attach", 200, Ending.COMPLETED)
    assert (record.upstream, record.received_bytes) == ("192.0.2.7:443", 2)


def test_nothing_is_sent_upstream_before_the_transaction_opened(world: World) -> None:
    talk = Talk(world)
    talk.holds = True

    talk.say(UPLOAD + b"0123456789")
    assert talk.story == []

    talk.judge()
    assert talk.story[:3] == ["judged", "opened", "sent upstream"]
    assert talk.forwarded.endswith(b"\r\n\r\n0123456789")


def test_a_body_is_passed_on_piece_by_piece_and_counted(world: World) -> None:
    talk = Talk(world)
    talk.say(UPLOAD)

    talk.say(b"01234")
    assert talk.forwarded.endswith(b"\r\n\r\n01234")
    talk.say(b"56789")
    talk.reply(OK)

    assert world.recorder.record.sent_bytes == 10


def test_an_empty_piece_of_a_chunked_upload_is_not_its_end(world: World) -> None:
    talk = Talk(world)

    talk.say(CHUNKED_UPLOAD)
    talk.say(b"3\r\nabc\r\n")
    assert not talk.forwarded.endswith(b"0\r\n\r\n")
    talk.say(b"0\r\n\r\n")

    assert talk.forwarded.endswith(b"\r\n\r\n3\r\nabc\r\n0\r\n\r\n")


def test_the_request_line_is_in_origin_form_whatever_form_it_came_in(world: World) -> None:
    talk = Talk(world)

    talk.say(b"GET https://api.example.com/v1/x?a=1 HTTP/1.1\r\nHost: api.example.com\r\n\r\n")

    assert talk.forwarded.startswith(b"GET /v1/x?a=1 HTTP/1.1\r\nHost: api.example.com\r\n")


def test_a_connection_serves_one_request_after_the_other(world: World) -> None:
    talk = Talk(world)

    for _ in range(3):
        talk.say(GET)
        assert talk.reply(OK) == OK

    assert len(talk.servers) == 1
    assert [record.status for record in world.recorder.records] == [200, 200, 200]
    assert not talk.conversation.busy


# --- refused ---------------------------------------------------------------------------------------


def test_a_refused_upload_is_answered_before_its_body_is_read(world: World) -> None:
    talk = Talk(world)

    status, reason, message = refusal(talk.say(FORBIDDEN))

    assert (status, reason) == (403, "path_not_granted")
    assert message.startswith("podkey refused PUT https://api.example.com/other")
    assert talk.servers == []
    assert world.recorder.record.ending is Ending.REFUSED


def test_the_body_of_a_refused_upload_is_dropped_in_constant_memory(world: World) -> None:
    talk = Talk(world)
    talk.say(FORBIDDEN)
    piece = b"x" * 1_000_000

    for _ in range(99):
        assert talk.say(piece) == b""
        assert talk.http.waiting_bytes == 0
        assert len(talk.http._server.buf) == 0  # type: ignore[union-attr]
    assert talk.http.streams == {}

    # And the connection is of use again.
    talk.say(piece + GET)
    assert talk.reply(OK) == OK


def test_what_was_to_wait_for_100_is_refused_with_the_end_of_the_connection(world: World) -> None:
    talk = Talk(world)

    answer = talk.say(FORBIDDEN.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))

    assert refusal(answer)[1] == "path_not_granted"
    assert b"\r\nConnection: close\r\n" in answer
    assert b"100 Continue" not in answer


def test_after_an_ambiguous_head_the_connection_ends(world: World) -> None:
    talk = Talk(world)

    answer = talk.say(
        b"GET /v1/models HTTP/1.1\r\nHost: api.example.com\r\nConnection: authorization\r\n\r\n"
    )

    assert refusal(answer)[:2] == (400, "malformed_request")
    assert b"\r\nConnection: close\r\n" in answer
    assert talk.closed


def test_the_next_request_on_a_refused_ones_connection_is_judged_anew(world: World) -> None:
    talk = Talk(world)

    talk.say(b"GET /other HTTP/1.1\r\nHost: api.example.com\r\n\r\n")
    talk.say(GET)

    assert talk.reply(OK) == OK
    assert world.recorder.reasons == ["path_not_granted", "granted"]


def test_a_refused_head_request_has_no_body(world: World) -> None:
    talk = Talk(world)

    answer = talk.say(b"HEAD /other HTTP/1.1\r\nHost: api.example.com\r\n\r\n")

    assert answer.endswith(b"\r\n\r\n")
    assert b"podkey-reason: path_not_granted" in answer
    assert talk.say(GET) == b""
    assert talk.forwarded.startswith(b"GET")


def test_a_transaction_that_raises_refuses_and_no_credential_leaves(world: World) -> None:
    def broken(_: CredentialRef) -> LeaseReply:
        raise RuntimeError(LIVE)

    world.leases.reply = broken
    talk = Talk(world)

    status, reason, message = refusal(talk.say(GET))

    assert (status, reason) == (500, "internal_error")
    assert LIVE not in message
    assert talk.servers == []
    assert [where for where, _ in world.recorder.crashes] == ["transaction"]


def test_without_a_lease_nothing_is_sent(world: World) -> None:
    world.leases.reply = no_lease
    talk = Talk(world)

    assert refusal(talk.say(GET))[1] == "credential_unavailable"
    assert talk.servers == []


def test_a_stream_whose_transaction_never_ran_is_refused(world: World) -> None:
    talk = Talk(world)
    talk.holds = True
    talk.say(GET)

    talk.feed(events.HookCompleted(talk.held.pop()))

    assert refusal(talk.answer)[:2] == (500, "internal_error")
    assert talk.servers == []


@pytest.mark.parametrize("request_", [GET, UPLOAD])
def test_an_unjudged_stream_never_reaches_the_upstream(
    world: World, monkeypatch: pytest.MonkeyPatch, request_: bytes
) -> None:
    """As if a new mitmproxy found another way past our first state."""
    monkeypatch.setattr(
        GuardedStream, "state_wait_for_request_headers", HttpStream.state_wait_for_request_headers
    )
    talk = Talk(world)

    talk.say(request_.replace(b"Content-Length", b"X-Api-Key: placeholder\r\nContent-Length"))
    talk.say(b"0123456789" if request_ is UPLOAD else b"")

    assert world.recorder.passed == ["mitmproxy"]
    assert refusal(talk.answer)[:2] == (500, "internal_error")
    assert talk.forwarded == b""
    assert "closed upstream" in talk.story


@pytest.mark.parametrize("upstream", [Upstream(verified=False), Upstream(sni="other.example.com")])
def test_an_upstream_that_was_not_verified_for_the_name_gets_nothing(
    world: World, upstream: Upstream
) -> None:
    talk = Talk(world, upstream=upstream)

    assert refusal(talk.say(GET))[:2] == (500, "internal_error")
    assert talk.forwarded == b""
    assert world.recorder.passed == ["mitmproxy"]


# --- upstreams that fail -----------------------------------------------------------------------------


@pytest.mark.parametrize("request_", [GET, UPLOAD])
def test_an_upstream_that_cannot_be_connected_to_is_a_502_with_its_reason(
    world: World, request_: bytes
) -> None:
    talk = Talk(world, upstream=Upstream(error="[Errno 111] Connect call failed ('192.0.2.7', 443)"))

    status, reason, message = refusal(talk.say(request_))

    assert (status, reason) == (502, "upstream_unreachable")
    assert "api.example.com could not be connected to" in message
    assert "192.0.2.7" not in message
    assert world.recorder.failures == [(HOST, "upstream_unreachable")]


def test_an_upstream_that_does_not_prove_its_name_is_a_502_with_its_reason(world: World) -> None:
    talk = Talk(world, upstream=Upstream(error="Certificate verify failed: hostname mismatch"))
    talk.conversation.tls_fault = "its certificate does not prove the name; nothing was sent"

    status, reason, message = refusal(talk.say(GET))

    assert (status, reason) == (502, "upstream_unverified")
    assert "nothing was sent" in message


def test_an_upstream_that_ends_before_it_answered_is_a_502_with_its_reason(world: World) -> None:
    talk = Talk(world)
    talk.say(GET)

    assert refusal(talk.hang_up())[:2] == (502, "upstream_failed")


def test_an_upstream_that_answers_in_another_language_is_a_502_and_its_words_are_not_shown(
    world: World,
) -> None:
    talk = Talk(world)
    talk.say(GET)

    status, reason, message = refusal(talk.reply(b"SSH-2.0-OpenSSH_9.9\r\n\r\n"))

    assert (status, reason) == (502, "upstream_failed")
    assert "SSH" not in message


def test_an_upstream_that_stalled_is_a_504_with_its_reason(world: World) -> None:
    talk = Talk(world)
    talk.say(GET)
    talk.conversation.stalled = True

    status, reason, message = refusal(talk.hang_up())

    assert (status, reason) == (504, "upstream_stalled")
    assert "no byte moved in either direction for 5 s" in message


def test_the_refusal_of_a_failed_upstream_comes_in_the_services_own_words() -> None:
    world = World(pod=pod_of(POLICY.replace("hosts: [api.example.com]", "service: openai")))
    talk = Talk(
        world,
        upstream=Upstream(error="no route"),
        arrival=replace(Talk(world).conversation.arrival, name=Hostname("api.openai.com")),
    )

    answer = talk.say(GET.replace(b"api.example.com", b"api.openai.com"))

    error = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
    assert (error["type"], error["code"]) == ("server_error", "upstream_unreachable")


def test_after_a_failure_the_next_request_tries_anew(world: World) -> None:
    talk = Talk(world, upstream=Upstream(error="no route"))
    talk.say(GET)

    talk.upstream = Upstream()
    talk.say(GET)

    assert talk.reply(OK) == OK


def test_an_upload_whose_upstream_fails_is_answered_and_its_rest_is_dropped(world: World) -> None:
    talk = Talk(world)
    talk.say(UPLOAD + b"01234")

    assert refusal(talk.hang_up())[1] == "upstream_failed"
    assert talk.say(b"56789") == b""
    talk.say(GET)
    assert talk.reply(OK) == OK


def test_a_response_that_breaks_off_ends_the_connection_and_not_as_if_it_were_whole(world: World) -> None:
    talk = Talk(world)
    talk.say(GET)
    talk.reply(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234")

    assert talk.hang_up() == b""

    assert talk.closed
    assert world.recorder.record.ending is Ending.UPSTREAM_FAILED


def test_an_upstream_for_http1_is_refused_to_a_client_for_http2_only(world: World) -> None:
    talk = Talk(world, alpn=HTTP2, upstream=Upstream(alpn=b"http/1.1"))
    client = H2Client(talk)

    stream = client.request()

    assert client.head(stream)[":status"] == "502"
    assert client.head(stream)["podkey-reason"] == "upstream_failed"
    assert LIVE.encode() not in talk.forwarded
    # It is of no use, and the next stream must not wait for it.
    assert talk.servers[0].state is ConnectionState.CLOSED


# --- responses -----------------------------------------------------------------------------------------


def test_fields_of_a_response_are_edited(world: World) -> None:
    talk = Talk(world)
    talk.say(GET)

    answer = talk.reply(
        b"HTTP/1.1 200 OK\r\nSet-Cookie: session=1\r\nX-Echo: "
        + f"Bearer {LIVE}".encode()
        + b"\r\nETag: x\r\nContent-Length: 0\r\n\r\n"
    )

    assert b"Set-Cookie" not in answer
    assert b"\r\nETag: x\r\n" in answer
    assert LIVE.encode() not in answer
    assert world.recorder.record.redactions == 1


def test_a_text_that_shows_the_credential_is_blotted_out_however_it_is_cut(world: World) -> None:
    talk = Talk(world)
    talk.say(GET)
    body = b'{"authorization": "Bearer ' + LIVE.encode() + b'"}'
    got = talk.reply(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    )

    for byte in body:
        got += talk.reply(bytes([byte]))

    assert got.endswith(b'{"authorization": "Bearer ' + b"*" * len(LIVE) + b'"}')
    assert world.recorder.record.redactions == 1


def test_a_piece_that_the_redactor_holds_back_writes_no_chunk_of_length_zero(world: World) -> None:
    talk = Talk(world)
    talk.say(GET)
    got = talk.reply(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n")

    # The beginning of the credential is held back as a whole.
    assert talk.reply(b"4\r\n%s\r\n" % LIVE[:4].encode()) == b""
    got += talk.reply(b"2\r\n!\n\r\n")
    got += talk.reply(b"0\r\n\r\n")

    assert got.endswith(b"\r\n\r\n6\r\n%s!\n\r\n0\r\n\r\n" % LIVE[:4].encode())
    assert got.count(b"\r\n0\r\n") == 1


def test_what_is_held_back_at_the_end_is_sent_before_the_end(world: World) -> None:
    talk = Talk(world)
    talk.say(GET)
    talk.reply(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n")

    got = talk.reply(b"4\r\n%s\r\n0\r\n\r\n" % LIVE[:4].encode())

    assert got == b"4\r\n%s\r\n0\r\n\r\n" % LIVE[:4].encode()


def test_a_response_without_a_body_is_passed_on(world: World) -> None:
    talk = Talk(world)
    talk.say(GET)

    assert talk.reply(b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n").startswith(
        b"HTTP/1.1 304 Not Modified"
    )
    assert world.recorder.record.status == 304


def test_a_response_that_ends_with_its_connection_ends_ours(world: World) -> None:
    talk = Talk(world)
    talk.say(GET)
    talk.reply(b"HTTP/1.1 200 OK\r\n\r\nto the ")
    talk.reply(b"end")

    talk.hang_up()

    assert talk.answer.endswith(b"to the end")
    assert talk.closed
    assert world.recorder.record.ending is Ending.COMPLETED


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    ],
)
def test_a_response_that_can_be_read_in_two_ways_is_a_502(world: World, head: bytes) -> None:
    talk = Talk(world)
    talk.say(GET)

    assert refusal(talk.reply(head))[:2] == (502, "upstream_failed")
    assert "closed upstream" in talk.story


def test_an_interim_response_is_not_taken_for_the_last_word(world: World) -> None:
    talk = Talk(world)
    talk.say(GET)

    assert talk.reply(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n") == b""
    assert talk.reply(b"\r\nHTTP/1.1 100 Continue\r\n\r\n") == b""
    assert talk.reply(OK) == OK
    assert world.recorder.record.status == 200


def test_trailers_are_edited_like_fields(world: World) -> None:
    talk = Talk(world, alpn=HTTP2, upstream=Upstream(alpn=HTTP2))
    client = H2Client(talk)
    stream = client.request()
    upstream = H2Upstream(talk)

    upstream.answer([(b":status", b"200"), (b"content-type", b"application/grpc")], b"\0\0\0\0\0")
    upstream.trail([(b"grpc-status", b"16"), (b"grpc-message", LIVE.encode()), (b"set-cookie", b"a=b")])

    trailers = client.trailers(stream)
    assert trailers[b"grpc-status"] == b"16"
    assert LIVE.encode() not in trailers[b"grpc-message"]
    assert b"set-cookie" not in trailers
    assert world.recorder.record.ending is Ending.COMPLETED


def test_http2_is_spoken_on_both_sides(world: World) -> None:
    talk = Talk(world, alpn=HTTP2, upstream=Upstream(alpn=HTTP2))
    client = H2Client(talk)
    stream = client.request([(b"te", b"trailers"), (b"x-mixed", b"1")], path=b"/v1/models?a=1")
    upstream = H2Upstream(talk)

    (sent,) = upstream.requests()
    upstream.answer([(b":status", b"200")], b"hello", end=True)

    assert sent[b":path"] == b"/v1/models?a=1"
    assert sent[b":authority"] == HOST.encode()
    assert sent[b"authorization"] == f"Bearer {LIVE}".encode()
    assert sent[b"te"] == b"trailers"
    assert client.head(stream)[":status"] == "200"
    assert client.body(stream) == b"hello"


# --- upgrades ------------------------------------------------------------------------------------------


def test_a_switch_of_protocols_that_nobody_asked_for_is_refused(world: World) -> None:
    talk = Talk(world)
    talk.say(GET)

    assert refusal(talk.reply(SWITCHED))[:2] == (502, "upstream_failed")
    assert "closed upstream" in talk.story


def test_an_upgraded_connection_passes_bytes_both_ways_and_keeps_none(world: World) -> None:
    talk = Talk(world)
    talk.say(UPGRADE)
    assert b"\r\nUpgrade: websocket\r\n" in talk.forwarded
    assert talk.reply(SWITCHED) == SWITCHED
    before = len(talk.forwarded)

    talk.say(b"\x81\x05hello")
    assert talk.reply(b"\x81\x03yes") == b"\x81\x03yes"

    assert talk.forwarded[before:] == b"\x81\x05hello"
    (stream,) = talk.http.streams.values()
    assert stream.flow.websocket is None
    assert len(stream.request_body_buf) == len(stream.response_body_buf) == 0
    assert talk.conversation.busy
    assert world.recorder.records == []


@pytest.mark.parametrize("first", ["client", "server"])
def test_an_upgraded_connection_is_recorded_when_its_sides_part(world: World, first: str) -> None:
    talk = Talk(world)
    talk.say(UPGRADE)
    talk.reply(SWITCHED)
    talk.say(b"12345")
    talk.reply(b"123")

    talk.hang_up(talk.client if first == "client" else talk.servers[0])
    talk.conversation.end()

    record = world.recorder.record
    assert (record.sent_bytes, record.received_bytes, record.status) == (5, 3, 101)
    assert record.ending is Ending.COMPLETED


def test_an_upgrade_that_the_upstream_declines_is_an_ordinary_response(world: World) -> None:
    talk = Talk(world)
    talk.say(UPGRADE)

    assert talk.reply(OK) == OK
    assert world.recorder.record.status == 200


# --- clients that leave --------------------------------------------------------------------------------


def test_a_client_that_leaves_while_it_is_judged_sends_nothing(world: World) -> None:
    talk = Talk(world)
    talk.holds = True
    talk.say(GET)
    talk.hang_up(talk.client)

    talk.judge()

    assert talk.servers == []
    assert world.recorder.record.ending is Ending.CLIENT_GONE


def test_a_client_that_leaves_while_its_upstream_cannot_be_connected_to_is_told_nothing(world: World) -> None:
    talk = Talk(world)

    def fails(_server: Server) -> str | None:
        talk.hang_up(talk.client)
        return "client disconnected"

    talk.upstream.answer = fails  # type: ignore[method-assign]
    talk.say(UPLOAD)

    assert talk.answer == b""
    assert world.recorder.record.ending is Ending.CLIENT_GONE
    assert talk.http.streams == {}


def test_a_client_that_leaves_in_its_upload_takes_the_upstream_connection_with_it(world: World) -> None:
    talk = Talk(world)
    talk.say(UPLOAD + b"01234")

    talk.hang_up(talk.client)

    assert "closed upstream" in talk.story
    assert world.recorder.record.ending is Ending.CLIENT_GONE


def test_a_refusal_does_not_wait_for_a_stream_that_is_long_gone(world: World) -> None:
    """What still comes for a dropped stream is nothing."""
    talk = Talk(world, alpn=HTTP2)
    client = H2Client(talk)
    stream = client.request(method=b"PUT", path=b"/other", end=False)

    client.h2.send_data(stream, b"late", end_stream=True)
    client.flush()

    assert client.head(stream)["podkey-reason"] == Reason.PATH_NOT_GRANTED.value
    assert not talk.closed


# --- grants that are taken away --------------------------------------------------------------------------


CUT = POLICY.replace("  grants:", "  onRevoke: cut\n  grants:")
TAKEN_AWAY = pod_of(policy("{hosts: [other.example.com], credential: a}"))


def talk_with_cuts(alpn: bytes = HTTP2) -> tuple[World, Talk]:
    world = World(pod=pod_of(CUT))
    talk = Talk(world, alpn=alpn, upstream=Upstream(alpn=alpn))
    talk.conversation.cut_off = lambda exchange: talk.feed(CutStream(exchange))
    return world, talk


def test_a_stream_that_is_cut_is_reset_on_both_sides_and_the_others_go_on() -> None:
    world, talk = talk_with_cuts()
    client = H2Client(talk)
    stream = client.request(path=b"/v1/a")
    upstream = H2Upstream(talk)
    theirs = upstream.stream
    upstream.answer([(b":status", b"200")], b"some")
    world.pod = pod_of(CUT.replace("/v1/**", "/v1/b"))
    other = client.request(path=b"/v1/b")

    assert world.lane_world.in_flight.recheck(world.pod) == 1

    (reset,) = client.of(h2.events.StreamReset)
    assert (reset.stream_id, reset.error_code) == (stream, h2.errors.ErrorCodes.INTERNAL_ERROR)
    (reset,) = upstream.of(h2.events.StreamReset)
    assert (reset.stream_id, reset.error_code) == (theirs, h2.errors.ErrorCodes.CANCEL)
    assert world.recorder.record.ending is Ending.CUT
    upstream.answer([(b":status", b"200")], b"yes", end=True)
    assert client.body(other) == b"yes"


def test_an_upload_that_is_cut_sends_nothing_more() -> None:
    world, talk = talk_with_cuts()
    client = H2Client(talk)
    stream = client.request(method=b"PUT", path=b"/v1/x", end=False)
    upstream = H2Upstream(talk)
    world.lane_world.in_flight.recheck(TAKEN_AWAY)

    client.flush()
    before = len(talk.forwarded)
    talk.feed(CutStream(talk.conversation.exchange(get())))  # of nobody that is known

    assert len(talk.forwarded) == before
    assert [event.stream_id for event in client.of(h2.events.StreamReset)] == [stream]
    assert len(upstream.of(h2.events.StreamReset)) == 1
    assert talk.http.streams == {}


def test_a_request_that_is_cut_before_it_left_does_not_leave() -> None:
    world, talk = talk_with_cuts()
    answer = talk.upstream.answer

    def meanwhile(server: Server) -> str | None:
        world.lane_world.in_flight.recheck(TAKEN_AWAY)
        return answer(server)

    talk.upstream.answer = meanwhile  # type: ignore[method-assign]
    client = H2Client(talk)
    stream = client.request()
    upstream = H2Upstream(talk)

    assert upstream.requests() == []
    assert [event.stream_id for event in client.of(h2.events.StreamReset)] == [stream]
    assert world.recorder.record.ending is Ending.CUT


def test_over_http1_it_does_not_leave_either() -> None:
    world, talk = talk_with_cuts(b"http/1.1")
    talk.conversation.cut_off = None
    answer = talk.upstream.answer

    def meanwhile(server: Server) -> str | None:
        world.lane_world.in_flight.recheck(TAKEN_AWAY)
        return answer(server)

    talk.upstream.answer = meanwhile  # type: ignore[method-assign]
    talk.say(UPLOAD)

    assert talk.forwarded == b""
    assert talk.closed
    assert world.recorder.record.ending is Ending.CUT


def test_a_stream_that_has_ended_is_not_cut_once_more() -> None:
    world, talk = talk_with_cuts()
    client = H2Client(talk)
    client.request()
    (stream,) = talk.http.streams.values()
    assert isinstance(stream, GuardedStream)
    world.lane_world.in_flight.recheck(TAKEN_AWAY)
    before = len(talk.answer)

    assert list(stream.handle_event(CutStream(stream.exchange))) == []
    assert len(talk.answer) == before


# --- requests that take too long in all ------------------------------------------------------------------

LATE = too_long(HOST, 5.0)


@pytest.mark.parametrize("method", [b"GET", b"PUT"])
def test_a_stream_that_takes_too_long_is_told_and_the_others_go_on(world: World, method: bytes) -> None:
    talk = Talk(world, alpn=HTTP2, upstream=Upstream(alpn=HTTP2))
    client = H2Client(talk)
    late = client.request(method=method, path=b"/v1/a", end=method == b"GET")
    upstream = H2Upstream(talk)
    theirs = upstream.stream
    (stream,) = talk.http.streams.values()
    other = client.request(path=b"/v1/b")

    talk.feed(CutStream(stream.exchange, LATE))  # type: ignore[attr-defined] # a stream of ours

    head = client.head(late)
    assert (head[":status"], head["podkey-reason"]) == ("504", "request_timed_out")
    (reset,) = upstream.of(h2.events.StreamReset)
    assert (reset.stream_id, reset.error_code) == (theirs, h2.errors.ErrorCodes.CANCEL)
    record = world.recorder.record
    assert (record.status, record.reason, record.ending) == (504, "request_timed_out", Ending.REFUSED)
    upstream.answer([(b":status", b"200")], b"yes", end=True)
    assert client.body(other) == b"yes"


def test_a_stream_whose_answer_has_begun_is_reset_when_it_takes_too_long(world: World) -> None:
    talk = Talk(world, alpn=HTTP2, upstream=Upstream(alpn=HTTP2))
    client = H2Client(talk)
    late = client.request()
    H2Upstream(talk).answer([(b":status", b"200")], b"some")
    (stream,) = talk.http.streams.values()

    talk.feed(CutStream(stream.exchange, LATE))  # type: ignore[attr-defined] # a stream of ours

    assert client.head(late)[":status"] == "200"
    assert [event.stream_id for event in client.of(h2.events.StreamReset)] == [late]
    assert world.recorder.record.ending is Ending.CUT


def test_a_body_that_is_collected_for_too_long_is_told_so(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, Script(wants=10))
    talk = Talk(world)
    talk.say(UPLOAD + b"012")
    (stream,) = talk.http.streams.values()

    talk.feed(CutStream(stream.exchange, LATE))  # type: ignore[attr-defined] # a stream of ours

    assert talk.answer.startswith(b"HTTP/1.1 504 ")
    assert b"connection: close" in talk.answer.lower()
    assert talk.forwarded == b""
    assert world.recorder.record.reason == "request_timed_out"
