"""A head from either version of HTTP, in one shape."""

import pytest

from proxy.core.reasons import Reason
from proxy.transaction.head import (
    Head,
    HeadProblem,
    HttpVersion,
    head_of_http1,
    head_of_http2,
    options_of,
    problem_of,
)
from proxy.wire.outcomes import malformed, too_large
from proxy.wire.request_head import RequestHead, read_request_head
from tests.transaction_world import WEBSOCKET, head

HTTP1, HTTP2 = HttpVersion.HTTP1, HttpVersion.HTTP2


def read(line: str, *fields: str, host: str = "Host: api.example.com") -> Head | HeadProblem:
    """From the bytes of an HTTP/1 head."""
    lines = [line, *([host] if host else []), *fields, "", ""]
    found = read_request_head("\r\n".join(lines).encode("latin-1"))
    assert isinstance(found, RequestHead), found
    return head_of_http1(found)


def test_the_host_is_taken_out_wherever_it_stands() -> None:
    found = read("GET /v1 HTTP/1.1", "A: 1", "hOsT: api.example.com", "B: 2", host="")

    assert isinstance(found, Head)
    assert (found.authority, found.fields) == ("api.example.com", (("A", "1"), ("B", "2")))


def read2(*fields: tuple[str, str], ended: bool = True, **pseudo: str) -> Head | HeadProblem:
    """From an HTTP/2 header block."""
    sent = {"method": "GET", "scheme": "https", "authority": "api.example.com", "path": "/v1"} | pseudo
    first = [(f":{name}".encode(), value.encode("latin-1")) for name, value in sent.items() if value]
    rest = [(name.encode(), value.encode("latin-1")) for name, value in fields]
    return head_of_http2([*first, *rest], ended=ended)


# --- HTTP/1 ------------------------------------------------------------------------------------------


def test_a_head_keeps_all_fields_but_host_in_their_order_and_spelling() -> None:
    assert read("GET /v1?a=1 HTTP/1.1", "X-B: 2", "x-a:  1 ", "X-B: \xe9") == Head(
        "GET",
        "/v1?a=1",
        "api.example.com",
        (("X-B", "2"), ("x-a", "1"), ("X-B", "\xe9")),
        HTTP1,
        has_body=False,
    )


@pytest.mark.parametrize(
    ("line", "target"),
    [
        ("GET /v1?a HTTP/1.1", "/v1?a"),
        ("OPTIONS * HTTP/1.1", "*"),
        ("GET https://api.example.com/v1?a HTTP/1.1", "/v1?a"),
        ("GET HTTPS://API.example.com HTTP/1.0", "/"),
    ],
)
def test_every_form_of_a_target_becomes_the_origin_form(line: str, target: str) -> None:
    found = read(line)

    assert isinstance(found, Head)
    assert found.target == target


@pytest.mark.parametrize(
    "url", ["http://api.example.com/v1", "https://evil.example/v1", "https://api.example.com:8443/v1"]
)
def test_a_url_that_names_another_host_or_no_tls_is_name_mismatch(url: str) -> None:
    found = read(f"GET {url} HTTP/1.1")

    assert isinstance(found, HeadProblem)
    assert found.reason is Reason.NAME_MISMATCH


@pytest.mark.parametrize("host", ["Host: api.example.com:443", ""])  # without one: Python before 3.12
def test_a_tunnel_within_a_connection_is_method_forbidden(host: str) -> None:
    line = f"CONNECT api.example.com:443 HTTP/1.{1 if host else 0}"

    assert read(line, host=host) == HeadProblem(
        Reason.METHOD_FORBIDDEN, "CONNECT within a connection opens a tunnel"
    )


@pytest.mark.parametrize("target", ["/v1#top", "*", "v1", "ftp://api.example.com/"])
def test_a_target_in_no_form_is_malformed_request(target: str) -> None:
    found = read(f"GET {target} HTTP/1.1")

    assert isinstance(found, HeadProblem)
    assert found.reason is Reason.MALFORMED_REQUEST


@pytest.mark.parametrize(
    ("field", "has_body"),
    [
        ("X: 1", False),
        ("Content-Length: 0", False),
        ("Content-Length: 1", True),
        ("Transfer-Encoding: chunked", True),
    ],
)
def test_a_body_is_one_that_has_bytes_or_may_have(field: str, has_body: bool) -> None:  # noqa: FBT001
    found = read("POST /v1 HTTP/1.1", field)

    assert isinstance(found, Head)
    assert found.has_body is has_body


# --- HTTP/2 ------------------------------------------------------------------------------------------


def test_a_header_block_becomes_the_same_head() -> None:
    assert read2(("x-b", "2"), ("x-a", "\xe9"), path="/v1?a=1") == Head(
        "GET", "/v1?a=1", "api.example.com", (("x-b", "2"), ("x-a", "\xe9")), HTTP2, has_body=False
    )


def test_a_host_field_stands_in_for_a_missing_authority_and_goes() -> None:
    found = read2(("host", "api.example.com"), ("x", "1"), authority="")

    assert isinstance(found, Head)
    assert (found.authority, found.fields) == ("api.example.com", (("x", "1"),))


def test_the_authority_counts_before_the_host_that_agrees_with_it() -> None:
    found = read2(("host", "API.example.com:443"))

    assert isinstance(found, Head)
    assert (found.authority, found.fields) == ("api.example.com", ())


def test_a_stream_that_goes_on_has_a_body() -> None:
    found = read2(method="POST", ended=False)

    assert isinstance(found, Head)
    assert found.has_body


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ((("host", "evil.example"),), Reason.MALFORMED_REQUEST),
        ((("X", "1"),), Reason.MALFORMED_REQUEST),
        ((("x", "1\r\nauthorization: y"),), Reason.MALFORMED_REQUEST),
        ((("connection", "close"),), Reason.MALFORMED_REQUEST),
        ((("x", "1"),) * 200, Reason.HEADERS_TOO_LARGE),
    ],
)
def test_a_header_block_that_breaks_a_rule_is_a_problem(
    fields: tuple[tuple[str, str], ...], reason: Reason
) -> None:
    found = read2(*fields)

    assert isinstance(found, HeadProblem)
    assert found.reason is reason


# --- both --------------------------------------------------------------------------------------------


def test_each_fault_of_the_wire_has_its_reason() -> None:
    assert problem_of(malformed("a")) == HeadProblem(Reason.MALFORMED_REQUEST, "a")
    assert problem_of(too_large("b")) == HeadProblem(Reason.HEADERS_TOO_LARGE, "b")


def test_values_are_found_whatever_the_case_of_their_name() -> None:
    found = head("/", ("X-A", "1"), ("x-b", "2"), ("x-a", "3"))

    assert found.values("x-a") == ["1", "3"]
    assert found.values("x-c") == []


@pytest.mark.parametrize(
    ("sent", "options"),
    [
        ([], set()),
        (["close"], {"close"}),
        ([" Keep-Alive ,, TE", "UPGRADE,"], {"keep-alive", "te", "upgrade"}),
        ([""], set()),
    ],
)
def test_the_connection_header_is_a_list_over_all_its_fields(sent: list[str], options: set[str]) -> None:
    assert options_of(head("/", *(("Connection", value) for value in sent))) == options


@pytest.mark.parametrize(
    ("version", "content_type", "is_grpc"),
    [
        (HTTP2, "application/grpc", True),
        (HTTP2, "Application/gRPC+proto", True),
        (HTTP2, "application/json", False),
        (HTTP1, "application/grpc", False),  # there it is gRPC-Web, if anything
    ],
)
def test_grpc_is_told_by_its_content_type_over_http2(
    version: HttpVersion,
    content_type: str,
    is_grpc: bool,  # noqa: FBT001 - a table
) -> None:
    assert head("/", ("Content-Type", content_type), version=version).is_grpc is is_grpc
    assert not head("/", version=version).is_grpc


@pytest.mark.parametrize(
    ("made", "wants"),
    [
        (head("/", *WEBSOCKET), True),
        (head("/", ("connection", "UPGRADE"), ("upgrade", " WebSocket ")), True),
        (head("/", *WEBSOCKET, version=HTTP2), False),
        (head("/", *WEBSOCKET, method="POST"), False),
        (head("/", *WEBSOCKET, has_body=True), False),
        (head("/", *WEBSOCKET[1:]), False),  # without `Connection: Upgrade` it is a header like any other
        (head("/", *WEBSOCKET[:1]), False),
        (head("/", ("Connection", "Upgrade"), ("Upgrade", "h2c")), False),
        (head("/", ("Connection", "Upgrade"), ("Upgrade", "h2c, websocket")), False),
        (head("/", *WEBSOCKET, ("Upgrade", "websocket")), False),
    ],
)
def test_a_websocket_handshake_is_all_that_rfc_6455_asks_of_one(made: Head, wants: bool) -> None:  # noqa: FBT001
    assert made.wants_websocket is wants


def test_a_head_is_printed_without_what_may_be_a_credential() -> None:
    shown = repr(head("/v1?key=canary", ("Authorization", "canary")))

    assert shown == "<Head GET, 1 fields, HTTP/1.1>"


# --- how long its body says it is --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "length"),
    [
        ((), 0),
        ((("Content-Length", "17"),), 17),
        ((("content-LENGTH", "0017"), ("Other", "1")), 17),
        ((("Content-Length", ""),), 0),
        ((("Content-Length", "-1"),), 0),
        ((("Content-Length", "\xb2"),), 0),  # a digit to Python, and no number to anybody
        ((("Content-Length", "seventeen"),), 0),
    ],
)
def test_a_body_is_as_long_as_a_field_says_that_is_a_number(
    fields: tuple[tuple[str, str], ...], length: int
) -> None:
    found = Head("POST", "/", "api.example.com", fields, HTTP1, has_body=True)

    assert found.declared_length == length
