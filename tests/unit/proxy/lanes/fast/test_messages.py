import asyncio

import pytest

from proxy.core.secret import Secret
from proxy.lanes.exchange import Exchange
from proxy.lanes.fast.messages import UnwritableError, own_answer, passed_head, request_head, response_head
from proxy.transaction.opening import Fields, Forward
from proxy.transaction.refusals import OwnAnswer
from proxy.wire.response_head import ResponseHead, read_response_head
from tests.lane_world import LIVE, World, arrival_of, get


def forward(*fields: tuple[str, str | Secret], target: str | Secret = "/v1/x", host: str = "h") -> Forward:
    world = World()
    exchange = Exchange(world.lane_world, arrival_of(), get())
    asyncio.run(exchange.open())
    pairs: Fields = fields
    return Forward(exchange.record, host, target, pairs)


def test_a_request_is_written_with_its_own_host_and_the_fields_as_they_are() -> None:
    opening = forward(("X-One", "1"), ("x-two", "\xe9"), target="/v1/x?y=\xe9", host="api.example.com:8443")

    assert request_head(opening, "POST", waits=False) == (
        b"POST /v1/x?y=\xe9 HTTP/1.1\r\nHost: api.example.com:8443\r\nX-One: 1\r\nx-two: \xe9\r\n\r\n"
    )


def test_a_secret_is_written_where_it_stands() -> None:
    live = Secret(LIVE.encode())
    opening = forward(("authorization", live), target=Secret(b"/v1/x?token=1"))

    assert request_head(opening, "GET", waits=False) == (
        b"GET /v1/x?token=1 HTTP/1.1\r\nHost: h\r\nauthorization: " + LIVE.encode() + b"\r\n\r\n"
    )


@pytest.mark.parametrize("waits", [True, False])
def test_whoever_waits_says_so_once(*, waits: bool) -> None:
    opening = forward(("Expect", "100-continue"), ("expect", "100-continue"), ("a", "b"))

    head = request_head(opening, "PUT", waits=waits)

    assert head.lower().count(b"expect") == waits
    assert head.endswith(b"\r\na: b\r\nExpect: 100-continue\r\n\r\n" if waits else b"\r\na: b\r\n\r\n")


BREAKS = ["a\r\nb: c", "a\nb", "a\rb", "a\0b", "\r\n\r\nGET / HTTP/1.1"]


@pytest.mark.parametrize("text", BREAKS)
def test_a_line_break_in_a_request_is_never_written(text: str) -> None:
    places = [
        forward(("x", text)),
        forward((text, "x")),
        forward(("x", Secret(text.encode()))),
        forward(target="/" + text),
        forward(target=Secret(text.encode())),
        forward(host=text),
    ]
    for opening in places:
        with pytest.raises(UnwritableError):
            request_head(opening, "GET", waits=False)
    with pytest.raises(UnwritableError):
        request_head(forward(), text, waits=True)


@pytest.mark.parametrize("text", BREAKS)
@pytest.mark.parametrize(
    ("chunked", "closes", "switches"), [(False, True, False), (True, False, False), (False, False, True)]
)
def test_a_line_break_in_an_answer_is_never_written(
    text: str, *, chunked: bool, closes: bool, switches: bool
) -> None:
    for field in (("x", text), (text, "x")):
        with pytest.raises(UnwritableError):
            response_head(200, [field], chunked=chunked, closes=closes, switches=switches)


def test_an_error_says_nothing_of_what_it_was_about() -> None:
    with pytest.raises(UnwritableError) as told:
        request_head(forward(("x", Secret(f"{LIVE}\r\n".encode()))), "GET", waits=False)

    assert LIVE not in repr(told.value)


def test_the_connection_is_our_own_and_its_fields_are_written_anew() -> None:
    fields = [("Connection", "keep-alive"), ("Transfer-Encoding", "chunked"), ("upgrade", "h2c"), ("a", "b")]

    assert response_head(200, fields, chunked=False, closes=False) == b"HTTP/1.1 200 OK\r\na: b\r\n\r\n"
    assert response_head(404, fields, chunked=True, closes=True) == (
        b"HTTP/1.1 404 Not Found\r\na: b\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
    )
    assert response_head(101, fields, chunked=False, closes=False, switches=True) == (
        b"HTTP/1.1 101 Switching Protocols\r\na: b\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n"
    )


def test_a_status_without_a_phrase_of_the_standards_has_none() -> None:
    assert response_head(299, [], chunked=False, closes=False) == b"HTTP/1.1 299 \r\n\r\n"


def test_an_answer_of_ours_is_whole() -> None:
    answer = OwnAnswer(403, (("content-length", "2"),), b"no")

    assert own_answer(answer, closes=True) == (
        b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno"
    )


def test_a_head_is_written_once_for_all_that_are_opened_alike() -> None:
    first = forward(("x", Secret(LIVE.encode())))
    written = request_head(first, "GET", waits=False)
    other = first.with_record(first.record.changed(request_id="another"))

    assert request_head(other, "GET", waits=False) == written
    assert other.written is first.written
    assert request_head(other, "GET", waits=True) == written[:-2] + b"Expect: 100-continue\r\n\r\n"
    assert LIVE not in repr(first)


def test_what_is_changed_in_a_request_is_written_anew() -> None:
    first = forward(("x", "1"))
    request_head(first, "GET", waits=False)

    assert b"x: 2\r\n" in request_head(first.changed(fields=(("x", "2"),)), "GET", waits=False)


@pytest.mark.parametrize("status", [200, 204, 404])
@pytest.mark.parametrize(("chunked", "closes"), [(False, False), (True, False), (False, True)])
@pytest.mark.parametrize(
    "fields",
    [b"", b"A:  b \r\n", b"a: b\r\nConnection: keep-alive\r\nContent-Length: 5\r\nUpgrade: x\r\nc: \xe9\r\n"],
)
def test_lines_that_are_passed_mean_what_they_mean_when_they_are_written_anew(
    status: int, fields: bytes, *, chunked: bool, closes: bool
) -> None:
    if chunked:  # then it came so
        fields = fields.replace(b"Content-Length: 5", b"Transfer-Encoding: chunked")
    came = read_response_head(b"HTTP/1.1 %d Whatever\r\n%b\r\n" % (status, fields), "GET")
    assert isinstance(came, ResponseHead)

    passed = passed_head(came, chunked=chunked, closes=closes)
    written = response_head(status, came.fields, chunked=chunked, closes=closes)

    one, other = (read_response_head(data, "GET") for data in (passed, written))
    assert isinstance(one, ResponseHead)
    assert isinstance(other, ResponseHead)
    assert one[:3] == other[:3]
    assert (one.framing, one.keeps) == (other.framing, other.keeps)
