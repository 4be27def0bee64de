"""Requests and answers that two servers read in two ways, through the real sidecar by both its lanes.

What counts is what the upstream received: nothing of a request that was refused, and of one that was not,
exactly what was judged; and that whoever asks next, on a connection of its own, gets its own answer.
"""

import json
import ssl
from collections.abc import Iterator

import pytest

from proxy.core.arrival import LaneName
from tests.conformance.stage import SETTING
from tests.lab import FREE, HOST, OTHER, Lab, lab
from tests.netns import MISSING
from tests.raw_client import Answer
from tests.smuggling_corpus import CHUNKED, MARK, NEXT, POST, REQUESTS, RESPONSES, Sample, request
from tests.upstreams import Handler, Request, echo, raw

LANES = (LaneName.FAST, LaneName.MITMPROXY)
# Where an attack leaves a lane waiting for more, as mitmproxy with chunks of 2**64 bytes: nothing is missed
# that comes later, for what counts is what the upstream got, and what the next one gets.
PATIENCE = 2.0
# What the readers have no objection to, and the transaction has: a slot of another spelling (RFC 9110 §5.1).
STRICTER = {"another name", "Content_Length"}
# What the upstream says to the next request for /v1/told.
told: list[Handler] = [echo]


def _tell(asked: Request) -> None:
    told[-1](asked)


@pytest.fixture(scope="module", params=LANES, ids=lambda lane: lane.value)
def shared(request: pytest.FixtureRequest) -> Iterator[Lab]:
    if MISSING:
        pytest.skip(MISSING)
    lane: LaneName = request.param
    with lab({"/v1/told": _tell}, fast_lane=SETTING[lane]) as one:
        yield one
        assert one.sidecar.metric("podkey_fail_open_total") == 0
        errors = [line for line in one.sidecar.log_lines() if line["event"] == "unexpected error"]
        # A client that resets in the middle of mitmproxy's farewell in TLS ends its own connection with that.
        assert [line for line in errors if line["where"] != "mitmproxy layer"] == []
        assert {record["lane"] for record in one.sidecar.audit()} <= {lane.value, LaneName.RELAY.value}


@pytest.fixture
def world(shared: Lab) -> Lab:
    shared.upstream.clear()
    return shared


def _is_fast(world: Lab) -> bool:
    return bool(world.sidecar.audit()[-1]["lane"] == LaneName.FAST.value)


def _is_honest(world: Lab) -> None:
    """Somebody else's request, after the attack: it is one of its own, and its answer is, too."""
    answer = world.talk(request(first=b"GET /v1/honest HTTP/1.1"), answers=1).only
    assert json.loads(answer.body)["head"].startswith("GET /v1/honest HTTP/1.1\r\n")
    assert MARK not in answer.body


def _arrived(world: Lab) -> list[str]:
    """Whole requests."""
    return [one.target for one in world.upstream.requests if one.complete]


# --- requests --------------------------------------------------------------------------------------------


def _named(sample: Sample) -> str:
    return f"{sample.attack}: {sample.name}"


@pytest.mark.parametrize("sample", [one for one in REQUESTS if one.reading is None], ids=_named)
def test_a_request_that_can_be_read_in_two_ways_is_read_in_none(world: Lab, sample: Sample) -> None:
    before = world.sidecar.audited()
    # Whatever comes behind it is no request of its own.
    reply = world.talk(sample.sent + NEXT, answers=2, patience=PATIENCE)
    world.sidecar.wait_idle()
    arrived = _arrived(world)
    records = world.sidecar.wait_audit(before + len(arrived))[before:]
    judged = [record["path"] for record in records if record["verdict"] == "attach"]
    _is_honest(world)
    if _is_fast(world):
        assert reply.end in {"eof", "reset"}
        assert [answer.status for answer in reply.answers if answer.status < 400] == []
        assert arrived == []
        assert not world.upstream.seen(MARK)
    else:
        # h11 mends some chunks. What arrived is what was judged, and in its order.
        assert arrived == judged[: len(arrived)]


@pytest.mark.parametrize("sample", [one for one in REQUESTS if one.reading is not None], ids=_named)
def test_a_request_that_can_be_read_in_one_way_is_read_in_that(world: Lab, sample: Sample) -> None:
    assert sample.reading is not None
    behind = [NEXT.split(b" ")[1].decode()] if sample.reading.rest else []
    reply = world.talk(sample.sent, answers=1 + len(behind))
    arrived = _arrived(world)
    if sample.name in STRICTER:
        assert (reply.only.status, reply.only.reason, arrived) == (400, "malformed_request", [])
    else:
        assert [answer.status for answer in reply.final] == [200] * (1 + len(behind))
        assert arrived == [sample.reading.target, *behind]
        assert world.upstream.requests[0].body == sample.reading.content
    _is_honest(world)


OPTIONS: dict[str, bytes] = {
    "authorization as an option": request(b"Connection: authorization"),
    "cookie among options": request(b"Connection: keep-alive, Cookie"),
    "host as an option": request(b"Connection: close, host"),
    "a method of a hundred": request(first=b"G" * 100 + b" /v1/x HTTP/1.1"),
    "three empty lines first": b"\r\n\r\n\r\n" + request(),
    "CONNECT with a body": request(b"Content-Length: 4", first=b"CONNECT api.lab.example:443 HTTP/1.1")
    + b"smug",
}
MISNAMED: dict[str, bytes] = {
    "another host": request(host=b"Host: other.lab.example"),
    "an ungoverned host": request(host=b"Host: free.lab.example"),
    "an address": request(host=b"Host: 203.0.113.10"),
    "another port": request(host=b"Host: api.lab.example:8443"),
    "a subdomain": request(host=b"Host: a.api.lab.example"),
    "an absolute URL of another host": request(first=b"GET https://other.lab.example/v1/x HTTP/1.1"),
    "another host beside our URL": request(
        first=b"GET https://api.lab.example/v1/x HTTP/1.1", host=b"Host: other.lab.example"
    ),
    "both another host": request(
        first=b"GET https://other.lab.example/v1/x HTTP/1.1", host=b"Host: other.lab.example"
    ),
    "an absolute URL in cleartext": request(first=b"GET http://api.lab.example/v1/x HTTP/1.1"),
}
TOO_LARGE: dict[str, bytes] = {
    "a field of 70 KB": request(b"X-A: " + b"a" * 70_000),
    "300 fields": request(*(b"X-%d: 1" % number for number in range(300))),
    "a target of 20 KB": request(first=b"GET /v1/" + b"a" * 20_000 + b" HTTP/1.1"),
    "a head that does not end": b"GET /v1/x HTTP/1.1\r\nHost: api.lab.example\r\n"
    + b"X-A: aaaaaaaa\r\n" * 8000,
    "a line that does not end": b"GET /v1/" + b"a" * 80_000,
}
UNREADABLE = [
    *((400, "malformed_request", case) for case in OPTIONS.items()),
    *((431, "headers_too_large", case) for case in TOO_LARGE.items()),
]


@pytest.mark.parametrize(
    ("status", "reason", "sent"),
    [pytest.param(status, reason, sent, id=name) for status, reason, (name, sent) in UNREADABLE],
)
def test_a_head_that_cannot_be_judged_is_answered_by_us_and_goes_nowhere(
    world: Lab, status: int, reason: str, sent: bytes
) -> None:
    reply = world.talk(sent + NEXT, answers=2)
    answer = reply.only
    assert (answer.status, answer.reason) == (status, reason)
    assert reply.end == "eof"
    assert world.upstream.received == 0


@pytest.mark.parametrize("sent", MISNAMED.values(), ids=MISNAMED)
def test_a_request_for_another_host_than_the_connection_s_is_misdirected(world: Lab, sent: bytes) -> None:
    answer = world.talk(sent, answers=1).only
    assert (answer.status, answer.reason) == (421, "name_mismatch")
    assert world.upstream.received == 0


REFUSED: dict[str, tuple[bytes, int, str]] = {
    "TRACE": (b"TRACE /v1/x", 403, "method_forbidden"),
    "CONNECT": (b"CONNECT api.lab.example:443", 403, "method_forbidden"),
    "DELETE": (b"DELETE /v1/x", 403, "method_not_granted"),
    "get": (b"get /v1/x", 403, "method_forbidden"),
    "dot segments": (b"GET /v1/../admin", 403, "path_not_granted"),
    "encoded dot segments": (b"GET /v1/%2e%2e/admin", 403, "path_not_granted"),
    "an encoded slash": (b"GET /v1%2f..%2fadmin", 400, "ambiguous_path"),
    "a backslash": (b"GET /v1/..\\admin", 400, "ambiguous_path"),
    "two slashes": (b"GET //v1/x", 403, "path_not_granted"),
    "a NUL in the path": (b"GET /v1/%00", 400, "malformed_path"),
    "a half escape": (b"GET /v1/%2", 400, "malformed_path"),
    "a line break in the path": (b"GET /v1/%0d%0asmuggled", 400, "malformed_path"),
}


@pytest.mark.parametrize(("line", "status", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_no_grant_can_name_is_refused(world: Lab, line: bytes, status: int, reason: str) -> None:
    answer = world.talk(request(first=line + b" HTTP/1.1"), answers=1).only
    assert (answer.status, answer.reason) == (status, reason)
    assert world.upstream.received == 0


def test_a_second_request_behind_one_that_policy_refused_is_judged_for_itself(world: Lab) -> None:
    refused = request(b"Content-Length: 5", first=b"POST /admin HTTP/1.1") + b"GET /"
    reply = world.talk(refused + request() + request(first=b"GET /admin HTTP/1.1"), answers=3)
    assert [answer.status for answer in reply.answers] == [403, 200, 403]
    assert [one.target for one in world.upstream.requests] == ["/v1/x"]


def test_chunk_extensions_go_no_further_than_us(world: Lab) -> None:
    sent = request(CHUNKED, first=POST) + b"5;smuggled=1\r\nAAAAA\r\n0;smuggled\r\n\r\n"
    assert world.talk(sent, answers=1).only.status == 200
    assert world.upstream.requests[0].body == b"AAAAA"
    assert not world.upstream.seen(MARK)


def test_trailers_of_http1_go_no_further_than_us(world: Lab) -> None:
    trailers = b"authorization: Bearer smuggled\r\nhost: other.lab.example\r\nx-note: smuggled\r\n"
    sent = request(CHUNKED, b"Trailer: x-note", first=POST) + b"5\r\nAAAAA\r\n0\r\n" + trailers + b"\r\n"
    reply = world.talk(sent + request(), answers=2)
    assert [answer.status for answer in reply.answers] == [200, 200]
    assert world.upstream.requests[0].body == b"AAAAA"
    assert world.upstream.requests[0].trailers == ()
    assert not world.upstream.seen(MARK)


def test_an_absolute_url_of_the_same_host_is_forwarded_in_origin_form(world: Lab) -> None:
    reply = world.talk(request(first=b"GET https://api.lab.example/v1/x?y=1 HTTP/1.1"), answers=1)
    assert reply.only.status == 200
    assert world.upstream.requests[0].head.startswith(b"GET /v1/x?y=1 HTTP/1.1\r\nHost: api.lab.example\r\n")


def test_the_application_s_own_credential_goes_however_its_header_is_written(world: Lab) -> None:
    names = (b"Authorization", b"authorization", b"AUTHORIZATION", b"aUTHORIZATION")
    fields = [name + b": Bearer smuggled" for name in names]
    reply = world.talk(request(*fields), answers=1)
    found = [value for name, value in world.upstream.requests[0].fields if name.lower() == "authorization"]
    assert reply.only.status == 200
    assert found == [f"Bearer {world.token}"]
    assert not world.upstream.seen(MARK)


def test_a_slot_is_found_behind_underscores_too(world: Lab) -> None:
    fields = [name + b": smuggled" for name in (b"X-Api-Key", b"x_api_key", b"X_API-KEY", b"x-api_key")]
    reply = world.talk(request(*fields, host=b"Host: other.lab.example"), name=OTHER, answers=1)
    keys = [value for name, value in world.upstream.requests[0].fields if "api" in name.lower()]
    assert reply.only.status == 200
    assert keys == [world.token]
    assert not world.upstream.seen(MARK)


def test_hop_by_hop_fields_end_here(world: Lab) -> None:
    fields = (
        b"Connection: keep-alive, Upgrade, HTTP2-Settings",
        b"Upgrade: h2c",
        b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
        b"Keep-Alive: smuggled",
        b"Proxy-Authorization: Basic smuggled",
        b"Proxy-Connection: smuggled",
        b"TE: smuggled, trailers",
    )
    assert world.talk(request(*fields), answers=1).only.status == 200
    names = {name.lower() for name, _ in world.upstream.requests[0].fields}
    assert names == {"host", "accept-encoding", "authorization"}


def test_a_governed_host_behind_an_ungoverned_server_name_gets_no_credential(world: Lab) -> None:
    # It is relayed unopened: the client meets the upstream's own certificate.
    with pytest.raises(ssl.SSLCertVerificationError):
        world.talk(request(), name=FREE)
    assert world.talk(request(), name=FREE, answers=1, ca=world.pod.authority.file).only.status == 200
    assert world.upstream.requests[0].header("host") == [HOST]
    assert world.upstream.requests[0].header("authorization") == []


# --- answers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sample", RESPONSES, ids=_named)
def test_what_an_upstream_says_too_much_is_nobody_s_answer(world: Lab, sample: Sample) -> None:
    until_its_end = sample.name == "no framing at all"
    told.append(raw(sample.sent, closes=until_its_end))
    asked = request(first=b"GET /v1/told HTTP/1.1")
    reply = world.talk(asked, answers=None if until_its_end else 1, patience=PATIENCE)
    told.pop()
    _is_honest(world)
    if sample.reading is not None:
        assert reply.only.body == sample.reading.content
    elif _is_fast(world):
        # mitmproxy mends some of these, and passes on what it read.
        answer: Answer = reply.only
        assert answer.reason == "upstream_failed" or not answer.whole
        assert MARK not in reply.data
