"""Requests that two servers read in two ways, against the real sidecar: our own check answers each.

What counts is what the upstream received: nothing of a request that was refused, and of one that was not,
exactly what was judged.
"""

import json
import ssl
from collections.abc import Callable, Iterator

import pytest

from tests.lab import FREE, HOST, OTHER, Lab, lab
from tests.netns import MISSING
from tests.raw_client import Answer
from tests.raw_h2 import Field, Http2

MARK = b"smuggled"


@pytest.fixture(scope="module")
def shared() -> Iterator[Lab]:
    if MISSING:
        pytest.skip(MISSING)
    with lab() as one:
        yield one
        one.check_health()


@pytest.fixture
def world(shared: Lab) -> Lab:
    shared.upstream.clear()
    return shared


# --- HTTP/1.1 --------------------------------------------------------------------------------------------


def request(
    *lines: bytes, first: bytes = b"GET /v1/x HTTP/1.1", host: bytes = b"Host: api.lab.example"
) -> bytes:
    return b"\r\n".join([first, *([host] if host else []), *lines, b"", b""])


POST = b"POST /v1/x HTTP/1.1"
CHUNKED = b"Transfer-Encoding: chunked"
MALFORMED: dict[str, bytes] = {
    "length and chunked": request(b"Content-Length: 6", CHUNKED, first=POST) + b"0\r\n\r\nX",
    "chunked and length": request(CHUNKED, b"Content-Length: 6", first=POST) + b"0\r\n\r\nX",
    "two lengths": request(b"Content-Length: 1", b"Content-Length: 2", first=POST) + b"ab",
    "two equal lengths": request(b"Content-Length: 1", b"Content-Length: 1", first=POST) + b"a",
    "a list of lengths": request(b"Content-Length: 1, 1", first=POST) + b"a",
    "a signed length": request(b"Content-Length: +1", first=POST) + b"a",
    "a negative length": request(b"Content-Length: -1", first=POST) + b"a",
    "a hexadecimal length": request(b"Content-Length: 0x1", first=POST) + b"a",
    "an empty length": request(b"Content-Length:", first=POST) + b"a",
    "an endless length": request(b"Content-Length: 99999999999999999999", first=POST) + b"a",
    "xchunked": request(b"Transfer-Encoding: xchunked", first=POST) + b"0\r\n\r\n",
    "chunked twice in one": request(b"Transfer-Encoding: chunked, chunked", first=POST) + b"0\r\n\r\n",
    "chunked twice": request(CHUNKED, CHUNKED, first=POST) + b"0\r\n\r\n",
    "chunked, then identity": request(CHUNKED, b"Transfer-Encoding: identity", first=POST) + b"0\r\n\r\n",
    "gzip and chunked": request(b"Transfer-Encoding: gzip, chunked", first=POST) + b"0\r\n\r\n",
    "quoted chunked": request(b'Transfer-Encoding: "chunked"', first=POST) + b"0\r\n\r\n",
    "chunked behind a vertical tab": request(b"Transfer-Encoding: \x0bchunked", first=POST) + b"0\r\n\r\n",
    "space before the colon of a coding": request(b"Transfer-Encoding : chunked", first=POST) + b"0\r\n\r\n",
    "chunked in HTTP/1.0": request(CHUNKED, first=b"POST /v1/x HTTP/1.0") + b"0\r\n\r\n",
    "obs-fold": request(b"X-A: 1", b" smuggled: 2"),
    "obs-fold with a tab": request(b"X-A: 1", b"\tsmuggled: 2"),
    "obs-fold of the first line": request(b" X-A: 1", host=b""),
    "bare LF between lines": b"GET /v1/x HTTP/1.1\nHost: api.lab.example\n\n",
    "bare LF in a value": request(b"X-A: 1\nsmuggled: 2"),
    "bare LF at the end": b"GET /v1/x HTTP/1.1\r\nHost: api.lab.example\r\nX-A: 1\n\r\n",
    "bare CR in a value": request(b"X-A: 1\rsmuggled: 2"),
    "two CR": request(b"X-A: 1\r"),
    "NUL in a value": request(b"X-A: 1\x00smuggled"),
    "NUL in a name": request(b"X-\x00A: 1"),
    "space before a colon": request(b"X-A : 1"),
    "tab before a colon": request(b"X-A\t: 1"),
    "no colon": request(b"X-A"),
    "no name": request(b": 1"),
    "a name of bytes": request(b"X-\xc3\xa4: 1"),
    "two hosts": request(b"Host: other.lab.example"),
    "two equal hosts": request(b"Host: api.lab.example"),
    "two hosts in one": request(host=b"Host: api.lab.example, other.lab.example"),
    "no host": request(host=b""),
    "an empty host": request(host=b"Host:"),
    "a host with a user": request(host=b"Host: api.lab.example@other.lab.example"),
    "a host with a path": request(host=b"Host: api.lab.example/smuggled"),
    "authorization as an option": request(b"Connection: authorization"),
    "cookie among options": request(b"Connection: keep-alive, Cookie"),
    "host as an option": request(b"Connection: close, host"),
    "two spaces": request(first=b"GET  /v1/x HTTP/1.1"),
    "two spaces before the version": request(first=b"GET /v1/x  HTTP/1.1"),
    "tabs": request(first=b"GET\t/v1/x\tHTTP/1.1"),
    "a space before the method": request(first=b" GET /v1/x HTTP/1.1"),
    "a word too many": request(first=b"GET /v1/x HTTP/1.1 smuggled"),
    "a space in the target": request(first=b"GET /v1/x smuggled HTTP/1.1"),
    "no version": request(first=b"GET /v1/x"),
    "HTTP/2.0": request(first=b"GET /v1/x HTTP/2.0"),
    "HTTP/1.10": request(first=b"GET /v1/x HTTP/1.10"),
    "http/1.1": request(first=b"GET /v1/x http/1.1"),
    "a fragment": request(first=b"GET /v1/x#smuggled HTTP/1.1"),
    "NUL in the target": request(first=b"GET /v1/\x00 HTTP/1.1"),
    "bytes in the target": request(first=b"GET /v1/\xc3\xa4 HTTP/1.1"),
    "CR in the target": request(first=b"GET /v1/\rx HTTP/1.1"),
    "a colon in the method": request(first=b"GE:T /v1/x HTTP/1.1"),
    "a star for GET": request(first=b"GET * HTTP/1.1"),
    "no slash": request(first=b"GET v1/x HTTP/1.1"),
    "a method of a hundred": request(first=b"G" * 100 + b" /v1/x HTTP/1.1"),
    "three empty lines first": b"\r\n\r\n\r\n" + request(),
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
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
    *((400, "malformed_request", case) for case in MALFORMED.items()),
    *((431, "headers_too_large", case) for case in TOO_LARGE.items()),
]


@pytest.mark.parametrize(
    ("status", "reason", "sent"),
    [pytest.param(status, reason, sent, id=name) for status, reason, (name, sent) in UNREADABLE],
)
def test_a_head_that_can_be_read_in_two_ways_is_answered_by_us_and_goes_nowhere(
    world: Lab, status: int, reason: str, sent: bytes
) -> None:
    # Whatever comes behind it is no request of its own.
    reply = world.talk(sent + request(first=b"GET /v1/smuggled HTTP/1.1"), answers=2)
    answer = reply.only
    assert (answer.status, answer.reason) == (status, reason)
    assert reply.end == "eof"
    assert world.upstream.connections == []


@pytest.mark.parametrize("sent", MISNAMED.values(), ids=MISNAMED)
def test_a_request_for_another_host_than_the_connection_s_is_misdirected(world: Lab, sent: bytes) -> None:
    answer = world.talk(sent, answers=1).only
    assert (answer.status, answer.reason) == (421, "name_mismatch")
    assert world.upstream.connections == []


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
    assert world.upstream.connections == []


def test_a_second_request_behind_one_that_policy_refused_is_judged_for_itself(world: Lab) -> None:
    refused = request(b"Content-Length: 5", first=b"POST /admin HTTP/1.1") + b"GET /"
    reply = world.talk(refused + request() + request(first=b"GET /admin HTTP/1.1"), answers=3)
    assert [answer.status for answer in reply.answers] == [403, 200, 403]
    assert [one.target for one in world.upstream.requests] == ["/v1/x"]


BROKEN_CHUNKS = {
    "a signed size": b"+5\r\nAAAAA\r\n0\r\n\r\n",
    "a size with 0x": b"0x5\r\nAAAAA\r\n0\r\n\r\n",
    "a negative size": b"-1\r\nAAAAA\r\n0\r\n\r\n",
    "a space before the size": b" 5\r\nAAAAA\r\n0\r\n\r\n",
    "no size": b"\r\nAAAAA\r\n0\r\n\r\n",
    "no line end after the data": b"5\r\nAAAAA0\r\n\r\n",
    "more data than the size": b"3\r\nAAAAA\r\n0\r\n\r\n",
    "a size that wraps around": b"10000000000000000000000005\r\nAAAAA\r\n0\r\n\r\n",
    "a bare LF after the size": b"5\nAAAAA\r\n0\r\n\r\n",
    "a bare LF after the data": b"5\r\nAAAAA\n0\r\n\r\n",
    "a bare LF in an extension": b"5;a\nb\r\nAAAAA\r\n0\r\n\r\n",
    "a bare LF at the end": b"5\r\nAAAAA\r\n0\n\n",
}


@pytest.mark.parametrize("body", BROKEN_CHUNKS.values(), ids=BROKEN_CHUNKS)
def test_a_broken_chunk_ends_its_request_and_the_connection(world: Lab, body: bytes) -> None:
    behind = request(first=b"GET /v1/smuggled HTTP/1.1")
    reply = world.talk(request(CHUNKED, first=POST) + body + behind)
    assert reply.end != "timeout"
    assert [answer.status for answer in reply.answers if answer.status < 400] == []
    world.upstream.wait_until(lambda: all(one.ended.is_set() for one in world.upstream.connections))
    assert [one.target for one in world.upstream.requests if one.complete] == []
    assert not world.upstream.seen(MARK)


def test_chunk_extensions_go_no_further_than_us(world: Lab) -> None:
    sent = request(CHUNKED, first=POST) + b"5;smuggled=1\rsmuggled\r\nAAAAA\r\n0;smuggled\r\n\r\n"
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


# --- HTTP/2 ----------------------------------------------------------------------------------------------

GET: tuple[Field, ...] = (
    (b":method", b"GET"),
    (b":scheme", b"https"),
    (b":path", b"/v1/x"),
    (b":authority", HOST.encode()),
)


def but(**changes: bytes | None) -> tuple[Field, ...]:
    """The request with other pseudo-headers, or without some."""
    fields = ((name, changes.get(name[1:].decode(), value)) for name, value in GET)
    return tuple((name, value) for name, value in fields if value is not None)


def ask(world: Lab, compose: Callable[[Http2], None], streams: int = 1) -> dict[int, Answer | str]:
    client = Http2()
    compose(client)
    reply = world.talk(client.sent, alpn=["h2"], streams=streams)
    return client.read(reply.data)


H2_MALFORMED: dict[str, tuple[Field, ...]] = {
    "CR and LF in a value": (*GET, (b"x-a", b"1\r\nsmuggled: 1")),
    "CR in a value": (*GET, (b"x-a", b"1\rsmuggled: 1")),
    "LF in a value": (*GET, (b"x-a", b"1\nsmuggled: 1")),
    "NUL in a value": (*GET, (b"x-a", b"1\x00smuggled")),
    "CR and LF in a name": (*GET, (b"x-a\r\nsmuggled", b"1")),
    "NUL in a name": (*GET, (b"x\x00a", b"1")),
    "a colon in a name": (*GET, (b"x-a: 1", b"smuggled")),
    "a space in a name": (*GET, (b"x a", b"1")),
    "an empty name": (*GET, (b"", b"smuggled")),
    "a name in upper case": (*GET, (b"X-Smuggled", b"1")),
    "whitespace before a value": (*GET, (b"x-a", b" smuggled")),
    "CR and LF in the path": (*but(path=b"/v1/x HTTP/1.1\r\nsmuggled: 1"),),
    "a space in the path": (*but(path=b"/v1/x smuggled"),),
    "a fragment": (*but(path=b"/v1/x#smuggled"),),
    "an absolute URL as path": (*but(path=b"https://other.lab.example/smuggled"),),
    "an empty path": (*but(path=b""),),
    "a space in the method": (*but(method=b"GET /smuggled HTTP/1.1"),),
    "CR and LF in the authority": (*but(authority=b"api.lab.example\r\nsmuggled: 1"),),
    "a user in the authority": (*but(authority=b"smuggled@api.lab.example"),),
    "several hosts, no authority": (
        *but(authority=None),
        (b"host", HOST.encode()),
        (b"host", b"smuggled.lab.example"),
    ),
    "several equal hosts, no authority": (
        *but(authority=None),
        (b"host", HOST.encode()),
        (b"host", HOST.encode()),
    ),
    "several hosts beside the authority": (*GET, (b"host", HOST.encode()), (b"host", HOST.encode())),
    "a host that is not the authority": (*GET, (b"host", OTHER.encode())),
    "an authority that is not the host": (*but(authority=OTHER.encode()), (b"host", HOST.encode())),
    "neither host nor authority": but(authority=None),
    "two authorities": (*GET, (b":authority", OTHER.encode())),
    "two paths": (*GET, (b":path", b"/smuggled")),
    "two methods": (*GET, (b":method", b"POST")),
    "no method": but(method=None),
    "no scheme": but(scheme=None),
    "no path": but(path=None),
    "the scheme http": but(scheme=b"http"),
    "a pseudo-header behind a field": (*GET[:3], (b"x-a", b"1"), GET[3]),
    "an unknown pseudo-header": (*GET, (b":smuggled", b"1")),
    "a status": (*GET, (b":status", b"200")),
    "a protocol": (*but(method=b"CONNECT"), (b":protocol", b"websocket")),
    "CONNECT": (*but(method=b"CONNECT"),),
    "connection": (*GET, (b"connection", b"authorization")),
    "keep-alive": (*GET, (b"keep-alive", b"1")),
    "proxy-connection": (*GET, (b"proxy-connection", b"1")),
    "transfer-encoding": (*GET, (b"transfer-encoding", b"chunked")),
    "upgrade": (*GET, (b"upgrade", b"websocket")),
    "te: gzip": (*GET, (b"te", b"gzip")),
    "two lengths": (*but(method=b"POST"), (b"content-length", b"0"), (b"content-length", b"0")),
}
H2_MISNAMED: dict[str, tuple[Field, ...]] = {
    "another authority": but(authority=OTHER.encode()),
    "an ungoverned authority": but(authority=FREE.encode()),
    "another host, no authority": (*but(authority=None), (b"host", OTHER.encode())),
    "another port": but(authority=b"api.lab.example:8443"),
}
H2_TOO_LARGE: dict[str, tuple[Field, ...]] = {
    "a field of 70 KB": (*GET, (b"x-a", b"a" * 70_000)),
    "300 fields": (*GET, *((b"x-%d" % number, b"1") for number in range(300))),
}
H2_CASES = [
    *((400, "malformed_request", case) for case in H2_MALFORMED.items()),
    *((421, "name_mismatch", case) for case in H2_MISNAMED.items()),
    *((431, "headers_too_large", case) for case in H2_TOO_LARGE.items()),
]


@pytest.mark.parametrize(
    ("status", "reason", "fields"),
    [pytest.param(status, reason, fields, id=name) for status, reason, (name, fields) in H2_CASES],
)
def test_an_h2_field_list_that_smuggles_is_answered_on_its_stream_and_the_others_go_on(
    world: Lab, status: int, reason: str, fields: tuple[Field, ...]
) -> None:
    def compose(client: Http2) -> None:
        client.open(1, fields)
        client.open(3, GET)

    outcome = ask(world, compose, streams=2)
    refused, granted = outcome[1], outcome[3]
    assert isinstance(refused, Answer)
    assert (refused.status, refused.reason) == (status, reason)
    assert isinstance(granted, Answer)
    assert granted.status == 200
    # Of all that was sent, the upstream knows the good stream.
    assert [one.path for one in world.upstream.requests] == ["/v1/x"]
    assert not any("smuggled" in str(one.fields).lower() for one in world.upstream.requests)


H2_LENGTHS: dict[str, tuple[Field, ...]] = {
    "a signed length": ((b"content-length", b"+0"),),
    "a length in words": ((b"content-length", b"zero"),),
    "two different lengths": ((b"content-length", b"0"), (b"content-length", b"1")),
}


@pytest.mark.parametrize("lengths", H2_LENGTHS.values(), ids=H2_LENGTHS)
def test_an_h2_length_that_is_no_number_ends_the_connection(world: Lab, lengths: tuple[Field, ...]) -> None:
    """h2 counts the body by it, whether it validates fields or not, and reads it before we see the list."""
    outcome = ask(world, lambda client: client.open(1, (*but(method=b"POST"), *lengths)))
    assert isinstance(outcome.get(0, outcome.get(1)), str)
    assert world.upstream.connections == []


def test_a_list_beyond_the_limit_of_hpack_ends_the_connection(world: Lab) -> None:
    outcome = ask(world, lambda client: client.open(1, (*GET, (b"x-a", b"a" * 200_000))))
    assert isinstance(outcome.get(0, outcome.get(1)), str)
    assert world.upstream.connections == []


BAD_TRAILERS: dict[str, tuple[Field, ...]] = {
    "authorization": ((b"authorization", b"Bearer smuggled"),),
    "a pseudo-header": ((b":path", b"/smuggled"),),
    "CR and LF": ((b"x-a", b"1\r\nsmuggled: 1"),),
    "upper case": ((b"X-Smuggled", b"1"),),
    "transfer-encoding": ((b"transfer-encoding", b"smuggled"),),
    "host": ((b"host", b"smuggled"),),
}


@pytest.mark.parametrize("trailers", BAD_TRAILERS.values(), ids=BAD_TRAILERS)
def test_h2_trailers_that_could_be_a_head_reset_their_stream(world: Lab, trailers: tuple[Field, ...]) -> None:
    def compose(client: Http2) -> None:
        client.open(1, but(method=b"POST"), ends=False)
        client.data(1, b"hello", ends=False)
        client.trailers(1, trailers)

    outcome = ask(world, compose)
    assert any(isinstance(one, str) for one in outcome.values()), outcome
    assert not any("smuggled" in str(one.trailers).lower() for one in world.upstream.requests)
    assert [one for one in world.upstream.requests if one.complete] == []


def test_h2_slots_are_cleared_like_those_of_http1(world: Lab) -> None:
    fields = (*GET, (b"authorization", b"Bearer smuggled"), (b"authorization", b"Bearer smuggled"))
    outcome = ask(world, lambda client: client.open(1, fields))
    answer = outcome[1]
    assert isinstance(answer, Answer)
    assert json.loads(answer.body)["length"] == 0
    found = [value for name, value in world.upstream.requests[0].fields if name == "authorization"]
    assert found == [f"Bearer {world.token}"]


def test_an_h2_body_that_is_longer_than_its_length_is_cut_off(world: Lab) -> None:
    def compose(client: Http2) -> None:
        client.open(1, (*but(method=b"POST"), (b"content-length", b"5")), ends=False)
        client.data(1, b"hello" + b"GET /smuggled HTTP/1.1\r\n\r\n")

    outcome = ask(world, compose)
    assert any(isinstance(one, str) for one in outcome.values()), outcome
    assert not any(one.complete for one in world.upstream.requests)
