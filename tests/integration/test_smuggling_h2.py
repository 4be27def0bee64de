"""Field lists of HTTP/2 that two servers read in two ways, through the real sidecar: we answer each.

What counts is what the upstream received: nothing of a request that was refused, and of one that was not,
exactly what was judged.
"""

import json
from collections.abc import Callable, Iterator

import pytest

from tests.lab import FREE, HOST, OTHER, Lab, lab
from tests.netns import MISSING
from tests.raw_client import Answer
from tests.raw_h2 import Field, Http2


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
