import pytest
from hpack import NeverIndexedHeaderTuple
from mitmproxy import http

from proxy.core.audit import AuditRecord
from proxy.core.secret import Secret
from proxy.lanes.mitm.messages import (
    answer_message,
    expects_continue,
    headers_of,
    peer_shown,
    text_of,
    write_request,
)
from proxy.transaction.head import Head, HttpVersion
from proxy.transaction.opening import Forward
from proxy.transaction.pod import PodState
from proxy.transaction.recording import began
from proxy.transaction.refusals import OwnAnswer
from tests.lane_world import GOVERNING, HOST, LIVE, NOON, arrival_of, get


def record_of(pod: PodState = GOVERNING) -> AuditRecord:
    return began(pod, arrival_of(), NOON, "request-1")


def written(version: HttpVersion, *fields: tuple[str, str | Secret], waits: bool = False) -> http.Request:
    head = Head("PUT", "/v1/x", HOST, (), version, has_body=True)
    opening = Forward(record_of(), HOST, Secret(b"/v1/x?Key=" + LIVE.encode()), fields)
    request = http.Request.make("PUT", "http://127.0.0.1/other")
    write_request(request, opening, head, ("192.0.2.7", 443), waits=waits)
    return request


def test_all_that_an_http1_request_says_comes_from_the_transaction() -> None:
    request = written(HttpVersion.HTTP1, ("Accept", "*/*"))

    assert (request.data.host, request.data.port, request.data.scheme) == ("192.0.2.7", 443, b"https")
    assert request.data.path == b"/v1/x?Key=" + LIVE.encode()
    assert request.data.authority == b""
    assert request.headers.fields == ((b"Host", HOST.encode()), (b"Accept", b"*/*"))


def test_an_http2_request_has_an_authority_and_no_host() -> None:
    request = written(HttpVersion.HTTP2, ("accept", "*/*"))

    assert request.data.authority == HOST.encode()
    assert request.headers.fields == ((b"accept", b"*/*"),)


def test_a_credential_never_goes_into_the_compression_table() -> None:
    request = written(HttpVersion.HTTP2, ("Authorization", Secret(LIVE.encode())))

    (field,) = request.headers.fields
    assert isinstance(field, NeverIndexedHeaderTuple)
    assert tuple(field) == (b"authorization", LIVE.encode())


@pytest.mark.parametrize("version", [HttpVersion.HTTP1, HttpVersion.HTTP2])
def test_an_expectation_goes_on_for_who_waits_and_no_other(version: HttpVersion) -> None:
    for said in ("100-Continue", "the moon"):
        assert "expect" not in written(version, ("Expect", said)).headers
        assert written(version, ("Expect", said), waits=True).headers["expect"] == "100-continue"


def test_who_waits_to_be_told_to_go_on_says_so_and_has_a_body() -> None:
    def waits(value: str, minor: int = 1, *, has_body: bool = True) -> bool:
        request = http.Request.make("PUT", "http://127.0.0.1/")
        request.http_version = f"HTTP/1.{minor}"
        head = Head("PUT", "/v1/x", HOST, (("Expect", value),), HttpVersion.HTTP1, has_body)
        return expects_continue(request, head)

    assert waits("100-continue")
    assert waits("100-Continue ")
    assert not waits("100-continue", has_body=False)
    assert not waits("100-continue", minor=0)
    assert not waits("the moon")
    assert not expects_continue(http.Request.make("PUT", "http://127.0.0.1/"), get())


@pytest.mark.parametrize("closes", [True, False])
def test_an_answer_of_ours_ends_the_connection_where_what_follows_cannot_be_trusted(*, closes: bool) -> None:
    answer = OwnAnswer(403, (("Podkey-Reason", "granted"),), b"no")

    response = answer_message(answer, get(), closes=closes)

    assert (response.status_code, response.reason, response.http_version) == (403, "Forbidden", "HTTP/1.1")
    assert response.headers.get("connection") == ("close" if closes else None)


def test_an_http2_answer_has_names_in_lower_case_and_no_connection() -> None:
    head = Head("GET", "/v1/x", HOST, (), HttpVersion.HTTP2, has_body=False)

    response = answer_message(OwnAnswer(403, (("Podkey-Reason", "x"),), b""), head, closes=True)

    assert response.headers.fields == ((b"podkey-reason", b"x"),)


def test_fields_are_read_and_written_byte_for_byte() -> None:
    fields = [("A", "\xe9"), ("a", "2")]

    assert text_of(headers_of(fields).fields) == fields


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (("192.0.2.7", 443), "192.0.2.7:443"),
        (("2001:db8::7", 443, 0, 0), "[2001:db8::7]:443"),
        (None, ""),
    ],
)
def test_addresses_are_shown_with_their_port(address: object, text: str) -> None:
    assert peer_shown(address) == text


@pytest.mark.parametrize(
    "field",
    [
        ("x-a: 1\r\ntransfer-encoding: chunked\r\nx", "1"),
        ("", "1"),
        ("x a", "1"),
        ("x-a", "1\r\nx-b: 2"),
        ("x-a", "1\x00"),
        ("x-a", Secret(b"1\nx-b: 2")),
    ],
)
def test_a_header_that_would_end_another_one_is_never_written(field: tuple[str, str | Secret]) -> None:
    with pytest.raises(ValueError, match="a header that would end another one"):
        written(HttpVersion.HTTP1, field)
