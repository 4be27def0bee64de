"""A lease that the upstream calls expired or revoked: the body and the answer that are held, and what becomes
of the request."""

from collections.abc import Callable
from datetime import timedelta
from email.utils import format_datetime
from secrets import token_hex
from typing import Final

import h2.errors
import h2.events
import pytest
from mitmproxy import http
from mitmproxy.connection import ConnectionState
from mitmproxy.proxy.layers.http._events import ResponseData, ResponseEndOfMessage, ResponseHeaders

from proxy.core.audit import Ending
from proxy.core.credentials import CredentialRef
from proxy.core.lease import LeaseReply
from proxy.core.parts import Part
from proxy.core.secret import Secret
from proxy.core.structs import replace
from proxy.lanes.held_body import HELD_ANSWER, HELD_BYTES
from proxy.lanes.mitm.client_tls import HTTP2
from proxy.lanes.mitm.second_try import EVENT_BYTES, HELD_IN_ALL, HeldAnswer
from proxy.transaction.spent import Suspicion
from tests.judge_world import policy
from tests.lane_scripts import Script, scripted
from tests.lane_world import (
    HOST,
    LIVE,
    NOON,
    POLICY,
    SOURCE,
    H2Client,
    H2Upstream,
    Talk,
    Upstream,
    World,
    live_lease,
    no_lease,
    pod_of,
)

NEXT: Final = f"next-{token_hex(16)}"
GET: Final = b"GET /v1/models HTTP/1.1\r\nHost: api.example.com\r\n\r\n"
SPENT: Final = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 4\r\n\r\ngone"
GO_ON: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
OK: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def upload(size: int, method: str = "PUT") -> bytes:
    head = f"{method} /v1/x HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: {size}\r\n\r\n"
    return head.encode() + b"x" * size


CHUNKED: Final = (
    b"PUT /v1/x HTTP/1.1\r\nHost: api.example.com\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
)


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


def tokens(sent: bytes) -> list[str]:
    """Which leases travelled, in their order."""
    lines = [line for line in sent.split(b"\r\n") if line.lower().startswith(b"authorization")]
    return [{LIVE: "first", NEXT: "next"}[line.partition(b"earer ")[2].decode()] for line in lines]


# --- sent once more ------------------------------------------------------------------------------------


def test_a_request_whose_lease_is_spent_is_sent_once_more_and_the_first_answer_is_nobodys(
    world: World,
) -> None:
    talk = Talk(world)
    talk.say(GET)

    assert talk.reply(SPENT) == b""

    assert tokens(talk.forwarded) == ["first", "next"]
    assert talk.reply(OK) == OK
    assert world.leases.given_back == [(SOURCE, "lease-1")]
    record = world.recorder.record
    assert (record.retried, record.lease_id, record.status) == (True, "lease-2", 200)
    assert (record.received_bytes, record.ending) == (2, Ending.COMPLETED)
    assert world.recorder.spent == [("", True)]
    assert len(talk.servers) == 1
    assert not talk.conversation.busy


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PUT", "DELETE"])
def test_whatever_may_be_repeated_is(method: str) -> None:
    pod = pod_of(policy("{hosts: [api.example.com], credential: a}"))
    world = World(pod=pod)
    world.leases.reply = lambda ref: replace(live_lease(ref), id=f"lease-{len(world.leases.given_back)}")
    talk = Talk(world)
    talk.say(f"{method} /v1/x HTTP/1.1\r\nHost: api.example.com\r\n\r\n".encode())

    assert talk.reply(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n") == b""
    assert talk.forwarded.count(f"{method} /v1/x".encode()) == 2


def test_the_body_goes_again_byte_for_byte_and_is_counted_once(world: World) -> None:
    talk = Talk(world)
    for byte in upload(10):
        talk.say(bytes([byte]))
    before = len(talk.forwarded)

    assert talk.reply(SPENT) == b""

    again = talk.forwarded[before:]
    assert again.startswith(b"PUT /v1/x HTTP/1.1\r\n")
    assert again.endswith(b"\r\n\r\nxxxxxxxxxx")
    assert talk.http.held_bytes == 0
    talk.reply(OK)
    assert world.recorder.record.sent_bytes == 10


def test_a_chunked_body_goes_again_in_chunks(world: World) -> None:
    talk = Talk(world)
    talk.say(CHUNKED)
    before = len(talk.forwarded)

    assert talk.reply(SPENT) == b""

    assert talk.forwarded[before:].endswith(b"\r\n\r\n5\r\nabcde\r\n0\r\n\r\n")
    assert talk.reply(OK) == OK


def test_who_was_told_to_go_on_is_not_told_twice(world: World) -> None:
    talk = Talk(world)
    head = upload(2).replace(b"\r\n\r\nxx", b"\r\nExpect: 100-continue\r\n\r\n")
    talk.say(head)
    assert talk.reply(GO_ON) == GO_ON
    talk.say(b"xx")

    assert talk.reply(SPENT) == b""

    assert talk.forwarded.lower().count(b"expect: ") == 1
    assert talk.reply(GO_ON) == b""
    assert talk.reply(OK) == OK


def test_a_first_answer_that_ends_its_connection_has_the_second_go_over_another(world: World) -> None:
    talk = Talk(world)
    talk.say(GET)

    assert talk.reply(SPENT.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")) == b""

    assert len(talk.servers) == 2
    assert tokens(bytes(talk.to[talk.servers[1]])) == ["next"]
    assert talk.reply(OK) == OK
    assert not talk.closed


def test_a_first_answer_that_comes_in_pieces_is_held_to_its_end(world: World) -> None:
    talk = Talk(world)
    talk.say(GET)

    for byte in SPENT:
        assert talk.reply(bytes([byte])) == b""

    assert talk.reply(OK) == OK


def test_the_second_answer_is_searched_for_both_leases(world: World) -> None:
    talk = Talk(world)
    talk.say(GET)
    talk.reply(SPENT)
    body = f"not {LIVE}, but {NEXT}".encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(body)

    answer = talk.reply(head + body)

    assert answer.endswith(b"not " + b"*" * len(LIVE) + b", but " + b"*" * len(NEXT))


def test_the_next_request_has_its_own_second_try(world: World) -> None:
    talk = Talk(world)
    talk.say(GET)
    talk.reply(SPENT)
    talk.reply(OK)

    talk.say(GET)

    assert tokens(talk.forwarded) == ["first", "next", "next"]
    assert talk.reply(OK) == OK
    assert [record.retried for record in world.recorder.records] == [True, False]


# --- not sent once more ----------------------------------------------------------------------------------


def test_the_second_answer_is_final(world: World) -> None:
    talk = Talk(world)
    talk.say(GET)
    talk.reply(SPENT)

    assert talk.reply(SPENT) == SPENT

    assert world.leases.given_back == [(SOURCE, "lease-1"), (SOURCE, "lease-2")]
    assert (world.recorder.record.retried, world.recorder.record.status) == (True, 401)
    assert world.recorder.spent == [("", True), ("", False)]


@pytest.mark.parametrize(
    "request_",
    [upload(10, "POST"), upload(HELD_BYTES + 1)],
    ids=["not idempotent", "too large"],
)
def test_what_must_not_be_repeated_gets_the_answer_as_it_is(world: World, request_: bytes) -> None:
    talk = Talk(world)
    talk.say(request_)

    assert talk.reply(SPENT) == SPENT

    assert tokens(talk.forwarded) == ["first"]
    assert talk.http.held_bytes == 0
    assert world.leases.given_back == [(SOURCE, "lease-1")]
    assert world.recorder.spent == [("", False)]
    assert not world.recorder.record.retried


def test_a_chunked_body_that_turns_out_too_large_is_let_go(world: World) -> None:
    talk = Talk(world)
    head = CHUNKED.partition(b"3\r\n")[0]
    talk.say(head + b"%x\r\n%s\r\n" % (HELD_BYTES, b"x" * HELD_BYTES))
    assert talk.http.held_bytes == HELD_BYTES
    talk.say(b"1\r\nx\r\n0\r\n\r\n")

    assert talk.http.held_bytes == 0
    assert talk.reply(SPENT) == SPENT


def test_an_answer_before_the_body_was_sent_is_not_the_bodys(world: World) -> None:
    talk = Talk(world)
    talk.say(upload(10)[:-5])

    assert talk.reply(SPENT) == SPENT
    assert world.leases.given_back == [(SOURCE, "lease-1")]


def test_the_same_lease_again_is_not_tried_again(world: World) -> None:
    world.leases.reply = live_lease
    talk = Talk(world)
    talk.say(GET)

    assert talk.reply(SPENT) == SPENT

    assert tokens(talk.forwarded) == ["first"]
    assert world.leases.given_back == [(SOURCE, "lease-1")]
    assert world.recorder.spent == [("", False)]
    assert len(world.recorder.decisions) == 1
    talk.say(GET)
    assert talk.reply(OK) == OK


def test_without_another_lease_it_is_our_refusal(world: World) -> None:
    talk = Talk(world)
    talk.say(GET)
    world.leases.reply = no_lease

    answer = talk.reply(SPENT)

    assert b"podkey-reason: credential_unavailable" in answer
    record = world.recorder.record
    assert (record.reason, record.lease_id, record.retried) == ("credential_unavailable", "lease-1", False)
    assert (record.upstream, record.ending) == ("192.0.2.7:443", Ending.REFUSED)
    talk.say(GET)
    assert len(world.recorder.records) == 2


def test_a_policy_that_was_replaced_meanwhile_refuses_it(world: World) -> None:
    talk = Talk(world)
    talk.say(GET)
    world.pod = pod_of(POLICY.replace("/v1/**", "/v2/**"))

    assert b"podkey-reason: path_not_granted" in talk.reply(SPENT)
    assert tokens(talk.forwarded) == ["first"]


def test_a_host_that_is_governed_no_more_gets_no_request_without_a_credential(world: World) -> None:
    talk = Talk(world)
    talk.say(GET)
    world.pod = pod_of(policy("{hosts: [other.example.com], credential: a}"))

    assert talk.reply(SPENT) == SPENT
    assert talk.forwarded.count(b"GET /v1/models") == 1


def test_leases_that_raise_refuse_it(world: World) -> None:
    def broken(_: CredentialRef) -> LeaseReply:
        raise RuntimeError(LIVE)

    talk = Talk(world)
    talk.say(GET)
    world.leases.reply = broken

    answer = talk.reply(SPENT)

    assert b"podkey-reason: internal_error" in answer
    assert LIVE.encode() not in answer


def test_a_request_without_a_credential_of_ours_is_none_of_our_business(world: World) -> None:
    world.pod = pod_of(policy("{hosts: [other.example.com], credential: a}"))
    talk = Talk(world)
    talk.say(GET)

    assert talk.reply(SPENT) == SPENT
    assert world.leases.given_back == []


def test_an_upgrade_is_not_tried_again(world: World) -> None:
    talk = Talk(world)
    talk.say(
        b"GET /v1/realtime HTTP/1.1\r\nHost: api.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )

    assert talk.reply(SPENT) == SPENT
    assert world.leases.given_back == [(SOURCE, "lease-1")]


def test_an_answer_that_is_too_long_to_hold_goes_on_as_it_is(world: World) -> None:
    talk = Talk(world)
    talk.say(GET)
    body = b"x" * (HELD_ANSWER + 1)
    kind = b"Content-Type: image/png"
    head = b"HTTP/1.1 401 Unauthorized\r\n%s\r\nContent-Length: %d\r\n\r\n" % (kind, len(body) + 1)

    assert talk.reply(head) == b""
    assert talk.reply(body) == head + body
    assert talk.http.held_bytes == 0
    assert talk.reply(b"!") == b"!"
    assert world.leases.given_back == [(SOURCE, "lease-1")]
    assert world.recorder.record.received_bytes == len(body) + 1


def test_a_first_answer_that_breaks_off_is_a_502(world: World) -> None:
    talk = Talk(world)
    talk.say(GET)
    talk.reply(SPENT[:-1])

    answer = talk.hang_up()

    assert answer.startswith(b"HTTP/1.1 502 ")
    assert world.leases.given_back == [(SOURCE, "lease-1")]
    assert world.recorder.spent == [("", False)]


def test_an_upstream_that_cannot_be_connected_to_any_more_is_a_502(world: World) -> None:
    talk = Talk(world)
    talk.say(GET)
    talk.upstream = Upstream(error="no route")

    answer = talk.reply(SPENT.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))

    assert b"podkey-reason: upstream_unreachable" in answer
    assert world.recorder.record.ending is Ending.REFUSED


# --- codes ---------------------------------------------------------------------------------------------


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


def xml(code: str) -> bytes:
    body = f"<Error><Code>{code}</Code><Message>{'x' * 20}</Message></Error>".encode()
    return b"HTTP/1.1 403 Forbidden\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


@pytest.fixture
def coded(world: World) -> World:
    world.pod = pod_of(policy("{service: store, credential: a}") + CODED)
    return world


@pytest.mark.parametrize("feed", [lambda data: [data], lambda data: [data[:60], data[60:62], data[62:]]])
def test_a_code_in_the_answer_says_that_the_lease_is_spent(
    coded: World, feed: Callable[[bytes], list[bytes]]
) -> None:
    talk = Talk(coded)
    talk.say(GET)

    assert [talk.reply(piece) for piece in feed(xml("ExpiredToken"))][-1] == b""

    assert talk.reply(OK) == OK
    assert coded.recorder.spent == [("store", True)]


@pytest.mark.parametrize("feed", [lambda data: [data], lambda data: [data[:60], data[60:62], data[62:]]])
def test_another_code_is_passed_on_byte_for_byte(coded: World, feed: Callable[[bytes], list[bytes]]) -> None:
    talk = Talk(coded)
    talk.say(GET)

    answer = b"".join(talk.reply(piece) for piece in feed(xml("AccessDenied")))

    assert answer == xml("AccessDenied")
    assert coded.leases.given_back == []
    assert coded.recorder.spent == []


def test_a_code_in_an_answer_that_is_not_held_is_seen_as_it_passes(coded: World) -> None:
    talk = Talk(coded)
    talk.say(upload(3, "POST"))

    assert talk.reply(xml("ExpiredToken")) == xml("ExpiredToken")
    assert coded.leases.given_back == [(SOURCE, "lease-1")]
    assert coded.recorder.spent == [("store", False)]


def test_an_answer_without_a_body_names_no_code(coded: World) -> None:
    talk = Talk(coded)
    talk.say(GET)
    empty = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"

    assert talk.reply(empty) == empty
    assert coded.leases.given_back == []


# --- clocks --------------------------------------------------------------------------------------------


def skewed(hours: int = 1, code: str = "RequestTimeTooSkewed") -> bytes:
    date = format_datetime(NOON + timedelta(hours=hours), usegmt=True)
    return xml(code).replace(b"\r\n", f"\r\nDate: {date}\r\n".encode(), 1)


@pytest.fixture
def timed(world: World, monkeypatch: pytest.MonkeyPatch) -> Script:
    return scripted(monkeypatch, Script(is_timed=True))


def test_a_wrong_clock_is_learnt_and_the_request_sent_once_more_with_the_same_lease(
    world: World, timed: Script
) -> None:
    talk = Talk(world)
    talk.say(upload(10))

    assert talk.reply(skewed()) == b""

    assert tokens(talk.forwarded) == ["first", "first"]
    assert timed.signed == [NOON, NOON + timedelta(hours=1)]
    assert world.recorder.clocks == [(HOST, 3600.0)]
    assert (world.leases.given_back, world.recorder.spent) == ([], [])
    assert talk.reply(OK) == OK
    assert world.recorder.record.retried
    # And the next one is signed rightly at once.
    talk.say(GET)
    assert timed.signed[2] == NOON + timedelta(hours=1)
    assert talk.reply(OK) == OK
    assert not world.recorder.records[1].retried


def test_what_is_not_sent_again_teaches_the_clock_all_the_same(world: World, timed: Script) -> None:
    talk = Talk(world)
    talk.say(upload(10, "POST"))

    assert talk.reply(skewed()) == skewed()

    talk.say(upload(10, "POST"))
    assert timed.signed == [NOON, NOON + timedelta(hours=1)]
    assert not world.recorder.record.retried


def test_a_head_request_whose_answer_has_no_words_is_sent_again(world: World, timed: Script) -> None:
    talk = Talk(world)
    talk.say(GET.replace(b"GET", b"HEAD"))

    assert talk.reply(skewed().partition(b"<Error>")[0]) == b""

    assert len(timed.signed) == 2
    assert talk.reply(OK[:-2]) == OK[:-2]


@pytest.mark.parametrize("answer", [skewed(48), skewed(0), skewed(1, "AccessDenied")])
def test_what_says_nothing_of_the_time_goes_on_as_it_is(world: World, timed: Script, answer: bytes) -> None:
    talk = Talk(world)
    talk.say(GET)

    assert talk.reply(answer) == answer

    assert timed.signed == [NOON]
    assert world.recorder.clocks == []
    talk.say(GET)
    assert talk.reply(OK) == OK


@pytest.mark.parametrize(("first", "second"), [(skewed(), SPENT), (SPENT, skewed()), (skewed(), skewed(2))])
def test_nothing_is_sent_three_times(world: World, timed: Script, first: bytes, second: bytes) -> None:
    talk = Talk(world)
    talk.say(GET)

    assert talk.reply(first) == b""
    assert talk.reply(second) == second

    assert talk.forwarded.count(b"GET ") == len(timed.signed) == 2
    assert len(world.recorder.records) == 1


def elsewhere(status: str = "400 Bad Request") -> bytes:
    return f"HTTP/1.1 {status}\r\nx-amz-bucket-region: eu-west-1\r\nContent-Length: 0\r\n\r\n".encode()


def test_a_bucket_that_lies_elsewhere_is_asked_once_more(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = scripted(monkeypatch, Script(is_timed=True, guessed_region="us-east-1"))
    talk = Talk(world)
    talk.say(GET)

    assert talk.reply(elsewhere()) == b""

    assert script.regions == [None, "eu-west-1"]
    assert talk.reply(elsewhere("403 Forbidden")) == elsewhere("403 Forbidden")
    assert world.recorder.regions == [(HOST, "eu-west-1")]


def test_a_redirect_to_another_region_goes_to_the_application_and_is_remembered(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = scripted(monkeypatch, Script(is_timed=True, guessed_region="us-east-1"))
    talk = Talk(world)
    talk.say(GET)
    answer = elsewhere("307 Temporary Redirect")

    assert talk.reply(answer) == answer

    talk.say(GET)
    assert script.regions == [None, "eu-west-1"]


# --- bodies that nobody has begun ------------------------------------------------------------------------


def waiting(size: int, method: str = "PUT") -> bytes:
    return (
        upload(size, method)
        .removesuffix(b"x" * size)
        .replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n")
    )


def test_a_request_whose_body_was_not_begun_is_sent_once_more_however_large_it_is(world: World) -> None:
    size = HELD_BYTES * 2
    talk = Talk(world)
    talk.say(waiting(size))

    assert talk.reply(SPENT) == b""

    first, second = talk.servers
    assert first.state is ConnectionState.CLOSED
    assert tokens(talk.forwarded) == ["first", "next"]
    assert talk.forwarded.count(b"Expect: 100-continue\r\n") == 2
    # What becomes of the first connection is no news.
    talk.hang_up(first)
    assert talk.reply(GO_ON, second) == GO_ON
    talk.say(b"x" * size)
    assert talk.reply(OK, second) == OK
    record = world.recorder.record
    assert (record.retried, record.sent_bytes, record.ending) == (True, size, Ending.COMPLETED)
    talk.say(GET)
    assert talk.reply(OK, second) == OK


def test_a_body_that_begins_while_the_answer_is_held_goes_with_it(world: World) -> None:
    talk = Talk(world)
    talk.say(waiting(HELD_BYTES * 2))
    assert talk.reply(SPENT[:-1]) == b""

    talk.say(b"x")

    assert talk.reply(SPENT[-1:]) == SPENT
    assert tokens(talk.forwarded) == ["first"]
    assert talk.forwarded.endswith(b"\r\n\r\nx")


def test_a_body_that_begins_while_the_second_lease_is_fetched_goes_to_the_second(world: World) -> None:
    talk = Talk(world)
    talk.say(waiting(10))
    talk.holds = True
    assert talk.reply(SPENT) == b""
    talk.say(b"0123456789")

    talk.judge()

    assert bytes(talk.to[talk.servers[1]]).endswith(b"\r\n\r\n0123456789")
    assert b"0123456789" not in talk.to[talk.servers[0]]
    assert talk.reply(GO_ON + OK) == OK


def test_the_second_answer_that_comes_before_the_body_is_final(world: World) -> None:
    talk = Talk(world)
    talk.say(waiting(10))
    talk.reply(SPENT)

    answer = talk.reply(SPENT)

    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"connection: close" in answer.lower()
    assert talk.half_closed == [talk.client]
    assert [server.state for server in talk.servers] == [ConnectionState.CLOSED] * 2
    assert len(world.recorder.records) == 1


def test_who_waits_with_what_must_not_be_repeated_gets_its_answer(world: World) -> None:
    talk = Talk(world)
    talk.say(waiting(10, "POST"))

    assert talk.reply(SPENT).startswith(b"HTTP/1.1 401 ")
    assert tokens(talk.forwarded) == ["first"]


def test_who_waits_gets_the_first_answer_where_there_is_no_other_lease(world: World) -> None:
    world.leases.reply = live_lease
    talk = Talk(world)
    talk.say(waiting(10))

    answer = talk.reply(SPENT)

    assert answer.startswith(b"HTTP/1.1 401 ")
    assert answer.endswith(b"gone")
    assert talk.half_closed == [talk.client]
    assert world.recorder.record.ending is Ending.COMPLETED


def test_over_http2_too_it_is_sent_once_more_while_its_client_waits(world: World) -> None:
    talk, client = h2_talk(world)
    stream = client.request([(b"expect", b"100-continue")], method=b"PUT", path=b"/v1/x", end=False)
    upstream = H2Upstream(talk)
    first = upstream.stream

    upstream.answer([(b":status", b"401")], b"gone", end=True)

    (reset,) = upstream.of(h2.events.StreamReset)
    assert (reset.stream_id, upstream.stream != first) == (first, True)
    upstream.h2.send_headers(upstream.stream, [(b":status", b"100")])
    upstream.flush()
    assert len(client.of(h2.events.InformationalResponseReceived, stream)) == 1
    client.h2.send_data(stream, b"abc", end_stream=True)
    client.flush()
    upstream.answer([(b":status", b"200")], b"hello", end=True)
    assert (client.head(stream)[":status"], client.body(stream)) == ("200", b"hello")
    assert world.recorder.record.retried


# --- clients that leave ----------------------------------------------------------------------------------


def test_a_client_that_leaves_before_the_second_judgement_sends_nothing_more(world: World) -> None:
    talk = Talk(world)
    talk.say(GET)
    talk.holds = True
    talk.reply(SPENT)
    talk.hang_up(talk.client)

    talk.judge()

    assert tokens(talk.forwarded) == ["first"]
    assert world.recorder.record.ending is Ending.CLIENT_GONE


def test_a_client_that_leaves_while_the_first_answer_is_held_takes_the_upstream_with_it(world: World) -> None:
    talk = Talk(world)
    talk.say(GET)
    talk.reply(SPENT[:-1])

    talk.hang_up(talk.client)

    assert "closed upstream" in talk.story
    assert world.recorder.record.ending is Ending.CLIENT_GONE


def test_a_client_that_leaves_while_the_second_connection_opens_sends_nothing_more(world: World) -> None:
    talk = Talk(world)
    talk.say(GET)
    answer = talk.upstream.answer
    talk.upstream = Upstream()

    def leaves(server: object) -> str | None:
        talk.hang_up(talk.client)
        return answer(server)  # type: ignore[arg-type] # the server that is asked for

    talk.upstream.answer = leaves  # type: ignore[method-assign, assignment]
    talk.reply(SPENT.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))

    assert tokens(talk.forwarded) == ["first"]
    assert world.recorder.record.ending is Ending.CLIENT_GONE


# --- HTTP/2 ----------------------------------------------------------------------------------------------


def h2_talk(world: World) -> tuple[Talk, H2Client]:
    talk = Talk(world, alpn=HTTP2, upstream=Upstream(alpn=HTTP2))
    return talk, H2Client(talk)


def test_an_http2_request_is_sent_again_in_a_stream_of_its_own(world: World) -> None:
    talk, client = h2_talk(world)
    stream = client.request(method=b"PUT", path=b"/v1/x", end=False)
    client.h2.send_data(stream, b"abc", end_stream=True)
    client.flush()
    upstream = H2Upstream(talk)
    first = upstream.stream

    upstream.answer([(b":status", b"401")], b"gone", end=True)

    assert upstream.stream != first
    assert [request[b"authorization"] for request in upstream.requests()] == [
        f"Bearer {LIVE}".encode(),
        f"Bearer {NEXT}".encode(),
    ]
    bodies = [
        b"".join(event.data or b"" for event in upstream.of(h2.events.DataReceived, number))
        for number in (first, upstream.stream)
    ]
    assert bodies == [b"abc", b"abc"]
    upstream.answer([(b":status", b"200")], b"hello", end=True)
    assert (client.head(stream)[":status"], client.body(stream)) == ("200", b"hello")
    assert client.of(h2.events.StreamReset) == []
    assert world.recorder.record.retried
    assert len(talk.servers) == 1


def test_a_stream_whose_body_the_upstream_did_not_take_is_reset(world: World) -> None:
    """It answered and let its window shut: what waits for it is not to be sent any more."""
    talk, client = h2_talk(world)
    size = 65_000
    for _ in range(2):
        stream = client.request(method=b"PUT", path=b"/v1/x", end=False)
        for start in range(0, size, 10_000):
            client.h2.send_data(stream, b"x" * min(10_000, size - start))
            client.flush()
        client.h2.end_stream(stream)
        client.flush()
    upstream = H2Upstream(talk)
    first, second = (event.stream_id for event in upstream.of(h2.events.RequestReceived))
    assert upstream.of(h2.events.StreamEnded, second) == []

    upstream.answer([(b":status", b"401")], b"gone", end=True)

    (reset,) = upstream.of(h2.events.StreamReset)
    assert (reset.stream_id, reset.error_code) == (second, h2.errors.ErrorCodes.CANCEL)
    assert upstream.stream not in {first, second}
    # And what becomes of the connection is told the stream once, and only for its second try.
    talk.hang_up()
    assert client.head(stream)["podkey-reason"] == "upstream_failed"
    assert client.of(h2.events.StreamReset) == []


def test_other_streams_of_the_connection_go_on(world: World) -> None:
    talk, client = h2_talk(world)
    other = client.request(path=b"/v1/other")
    upstream = H2Upstream(talk)
    theirs = upstream.stream
    upstream.answer([(b":status", b"200")], b"one")
    stream = client.request()

    upstream.answer([(b":status", b"401")], b"gone", end=True)
    upstream.answer([(b":status", b"200")], b"yes", end=True)
    upstream.h2.send_data(theirs, b" two", end_stream=True)
    upstream.flush()

    assert client.body(other) == b"one two"
    assert client.body(stream) == b"yes"


def test_all_streams_of_a_connection_hold_no_more_than_this(world: World) -> None:
    talk, client = h2_talk(world)
    bodies = HELD_IN_ALL // HELD_BYTES + 4
    for _ in range(bodies):
        stream = client.request(method=b"PUT", path=b"/v1/x", end=False)
        for _ in range(HELD_BYTES // 16_384):
            client.h2.send_data(stream, b"x" * 16_384)
            client.flush()
        assert talk.http.held_bytes <= HELD_IN_ALL
    assert talk.http.held_bytes > HELD_IN_ALL // 2


# --- what is held ------------------------------------------------------------------------------------------


def test_a_held_answer_counts_its_events_too() -> None:
    head = ResponseHeaders(1, http.Response.make(401))
    held = HeldAnswer(head, Suspicion((), 401, ()))
    held.keep(ResponseData(1, b"abc"))
    held.keep(ResponseEndOfMessage(1))

    assert held.size == 2 * EVENT_BYTES + 3
    assert not held.is_too_long
    held.keep(ResponseData(1, bytes(HELD_ANSWER)))
    assert held.is_too_long
