import pytest

from proxy.wire.fields import MAX_METHOD
from proxy.wire.framing import CHUNKED, NO_BODY, Length
from proxy.wire.outcomes import NEED_MORE, BadHead, HeadFault
from proxy.wire.request_head import DEFAULT_LIMITS, HeadLimits, RequestHead, read_request_head
from tests.wire_samples import (
    ABSOLUTE,
    BARE_CONNECT,
    CONNECT,
    GET,
    HEADS,
    OLD,
    POST,
    PUT_CHUNKED,
    head,
    prefixes,
)


def read(data: bytes, limits: HeadLimits = DEFAULT_LIMITS) -> RequestHead:
    reading = read_request_head(data, limits)
    assert isinstance(reading, RequestHead), reading
    return reading


# --- what clients send ---------------------------------------------------------------------------


def test_a_head_is_read_as_it_was_sent() -> None:
    assert read_request_head(GET) == RequestHead(
        "GET",
        "/v1/models?limit=20",
        1,
        (
            ("Host", "api.openai.com"),
            ("User-Agent", "OpenAI/Python 1.99.9"),
            ("Accept", "application/json"),
            ("Authorization", "Bearer placeholder"),
            ("X-Empty", ""),
            ("X-Name", "cafÃ©"),
        ),
        len(GET),
        NO_BODY,
    )


@pytest.mark.parametrize(
    ("data", "method", "target", "minor_version", "framing"),
    [
        (POST, "POST", "/v1/chat/completions", 1, Length(17)),
        (PUT_CHUNKED, "PUT", "/datasets/train.tar?partNumber=1&uploadId=a%2Fb", 1, CHUNKED),
        (CONNECT, "CONNECT", "api.openai.com:443", 1, NO_BODY),
        (BARE_CONNECT, "CONNECT", "api.openai.com:443", 0, NO_BODY),
        (ABSOLUTE, "GET", "http://deb.example.org/dists/stable/InRelease", 1, NO_BODY),
        (OLD, "HEAD", "/", 0, NO_BODY),
        (
            head(b"Content-Length: 0", first=b"CONNECT a.example:443 HTTP/1.1"),
            "CONNECT",
            "a.example:443",
            1,
            Length(0),
        ),
        (head(first=b"get <>\\^`{|}# HTTP/1.1"), "get", "<>\\^`{|}#", 1, NO_BODY),  # judged elsewhere
        (head(b"Content-Length: 5", first=b"PUT / HTTP/1.0"), "PUT", "/", 0, Length(5)),
    ],
)
def test_heads_of_all_kinds_are_read(
    data: bytes, method: str, target: str, minor_version: int, framing: object
) -> None:
    got = read(data)

    assert (got.method, got.target, got.minor_version, got.framing) == (
        method,
        target,
        minor_version,
        framing,
    )
    assert got.size == len(data)


def test_values_are_free_within_their_line() -> None:
    value = bytes({0x09, *range(0x20, 0x7F), *range(0x80, 0x100)})

    assert read(head(b"A:" + value + b"x")).headers[1] == ("A", value.strip(b" \t").decode("latin-1") + "x")
    assert read(head(b"A: \t b\tc \t ")).headers[1] == ("A", "b\tc")
    assert read(head(b"A: \xa0b\x85")).headers[1] == ("A", "\xa0b\x85")  # blanks to str.strip, not to HTTP
    assert read(head(b"A:b:c")).headers[1] == ("A", "b:c")


def test_equal_names_stay_apart_and_in_order() -> None:
    assert read(head(b"A: 1", b"a: 2", b"A: 1")).headers[1:] == (("A", "1"), ("a", "2"), ("A", "1"))


def test_other_fields_say_nothing_of_where_a_request_ends() -> None:
    got = read(head(b"Connection: close", b"Expect: 100-continue"))

    assert (got.framing, got.headers[1]) == (NO_BODY, ("Connection", "close"))


def test_one_empty_line_may_stand_before_the_head_and_counts() -> None:
    """RFC 9112 §2.2."""
    assert read(b"\r\n" + GET).size == len(GET) + 2


def test_a_repr_shows_neither_target_nor_headers() -> None:
    data = head(b"Authorization: Bearer sentinel", first=b"GET /?sig=sentinel HTTP/1.1")

    assert repr(read(data)) == f"<RequestHead GET, 2 headers, {len(data)} bytes>"


# --- cut, followed -------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [*HEADS, head(b"A: b\tc"), b"\r\n" + GET])
def test_a_good_head_cut_anywhere_asks_for_more(data: bytes) -> None:
    assert {read_request_head(prefix) for prefix in prefixes(data)} == {NEED_MORE}


@pytest.mark.parametrize("data", HEADS)
@pytest.mark.parametrize("after", [b"\r\n", b"\0", b"GET / HTTP/1.1\r\n\r\n", b"A" * 100_000])
def test_what_follows_a_head_does_not_change_it(data: bytes, after: bytes) -> None:
    assert read_request_head(data + after) == read_request_head(data)


# --- malformed -----------------------------------------------------------------------------------

NO_TE = "Transfer-Encoding other than `chunked` (RFC 9112 §6.1)"
BAD_LENGTH = "Content-Length is not a number of bytes (RFC 9110 §8.6)"
BAD_HOST = "Host is not a host with an optional port (RFC 9110 §7.2)"
SPACE = "the request line has a space too many (RFC 9112 §3)"
VERSION = "the version is neither HTTP/1.0 nor HTTP/1.1 (RFC 9112 §2.3)"
NO_VERSION = "the request line has no version: HTTP/0.9 is not spoken (RFC 9112 §3)"
EMPTY_LINES = "more than one empty line before the request line (RFC 9112 §2.2)"


def in_name(number: int, found: str) -> str:
    return f"header line {number}: {found} in the name or before the colon (RFC 9112 §5.1)"


def request_line(line: bytes) -> bytes:
    return head(first=line)


MALFORMED = [
    # the request line
    (b"\r\n\r\n" + GET, EMPTY_LINES),
    (b"\r\n\r\n", EMPTY_LINES),
    (b"\r\n\r\n\r\n", EMPTY_LINES),
    (b"\n" + GET, "the method holds a bare LF (RFC 9110 §9.1)"),
    (b"\r" + GET, "the method holds a bare CR (RFC 9110 §9.1)"),
    (b" " + GET, SPACE),
    (b"\x16\x03\x01\x02\x00\x01", "the method holds the control character 0x16 (RFC 9110 §9.1)"),
    (request_line(b"G(T / HTTP/1.1"), "the method holds `(` (RFC 9110 §9.1)"),
    (request_line(b"G\xcbT / HTTP/1.1"), "the method holds a byte that is not ASCII (RFC 9110 §9.1)"),
    (request_line(b"GET\t/ HTTP/1.1"), "the method holds a tab (RFC 9110 §9.1)"),
    (request_line(b"GET: / HTTP/1.1"), "the method holds `:` (RFC 9110 §9.1)"),
    (request_line(b"G" * 33 + b" / HTTP/1.1"), f"the method is longer than {MAX_METHOD} characters"),
    (request_line(b"GET  / HTTP/1.1"), SPACE),
    (request_line(b"GET /  HTTP/1.1"), SPACE),
    (request_line(b"GET / HTTP/1.1 "), SPACE),
    (request_line(b"GET /a b HTTP/1.1"), SPACE),
    (request_line(b"GET /\tHTTP/1.1"), "the request line holds a tab (RFC 9112 §3)"),
    (request_line(b"GET /\xe9 HTTP/1.1"), "the request line holds a byte that is not ASCII (RFC 9112 §3)"),
    (request_line(b"GET /\0 HTTP/1.1"), "the request line holds a NUL (RFC 9112 §3)"),
    (request_line(b"GET /\x7f HTTP/1.1"), "the request line holds the control character 0x7f (RFC 9112 §3)"),
    (request_line(b"GET /\ra HTTP/1.1"), "the request line holds a bare CR (RFC 9112 §3)"),
    (b"GET / HTTP/1.1\nHost: a.example\n\n", "the request line holds a bare LF (RFC 9112 §3)"),
    (b"GET / HTTP/1.1\r\r\nHost: a.example\r\n\r\n", "the request line holds a bare CR (RFC 9112 §3)"),
    (request_line(b"GET /"), NO_VERSION),
    (request_line(b"GET"), NO_VERSION),
    (b"GET /\r\n", NO_VERSION),
    (request_line(b"GET / "), VERSION),
    (request_line(b"GET / HTTP/1.2"), VERSION),
    (request_line(b"GET / HTTP/2.0"), VERSION),
    (request_line(b"GET / HTTP/0.9"), VERSION),
    (request_line(b"GET / http/1.1"), VERSION),
    (request_line(b"GET / HTTP/1.1x"), VERSION),
    (request_line(b"GET / HTTP/01.1"), VERSION),
    (request_line(b"GET / HTTP/1"), VERSION),
    (request_line(b"GET / ICAP/1.0"), VERSION),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", VERSION),
    # header lines
    (head(b" b: c", host=b""), "whitespace before the first header line (RFC 9112 §2.2)"),
    (head(b" folded"), "header line 2 continues the one before it: obs-fold (RFC 9112 §5.2)"),
    (head(b"A: b", b"\tfolded"), "header line 3 continues the one before it: obs-fold (RFC 9112 §5.2)"),
    (head(b"A : b"), in_name(2, "a space")),
    (head(b"A\t: b"), in_name(2, "a tab")),
    (head(b"A b: c"), in_name(2, "a space")),
    (head(b"A(b: c"), in_name(2, "`(`")),
    (head(b"A\0: c"), in_name(2, "a NUL")),
    (head(b"\xc3\xa9: c"), in_name(2, "a byte that is not ASCII")),
    (head(b"A\r: c"), in_name(2, "a bare CR")),
    (head(b"\rA: c"), in_name(2, "a bare CR")),
    (head(b": b"), "header line 2 has no name (RFC 9112 §5)"),
    (head(b":path: /"), "header line 2 has no name (RFC 9112 §5)"),
    (head(b"Ab"), "header line 2 has no colon (RFC 9112 §5)"),
    (head(b"A: b\nC: d"), "the value of `A` holds a bare LF (RFC 9110 §5.5)"),
    (head(b"A: b\rC: d"), "the value of `A` holds a bare CR (RFC 9110 §5.5)"),
    (head(b"A: b\r"), "the value of `A` holds a bare CR (RFC 9110 §5.5)"),
    (head(b"A: b\0"), "the value of `A` holds a NUL (RFC 9110 §5.5)"),
    (head(b"A: \x0b"), "the value of `A` holds the control character 0x0b (RFC 9110 §5.5)"),
    (head(b"A: \x7f"), "the value of `A` holds the control character 0x7f (RFC 9110 §5.5)"),
    (head(b"A" * 50 + b": \0"), f"the value of `{'A' * 40}` holds a NUL (RFC 9110 §5.5)"),
    (b"GET / HTTP/1.1\r\nHost: a.example\n\n", "the value of `Host` holds a bare LF (RFC 9110 §5.5)"),
    (b"GET / HTTP/1.1\r\nHost: a.example\r\n\n", in_name(2, "a bare LF")),
    # Host
    (head(host=b""), "no Host fields (RFC 9112 §3.2)"),
    (head(host=b"", first=b"GET / HTTP/1.0"), "no Host fields (RFC 9112 §3.2)"),
    (head(host=b"", first=b"CONNECT a.example:443 HTTP/1.1"), "no Host fields (RFC 9112 §3.2)"),
    (head(b"Host: a.example"), "several Host fields (RFC 9112 §3.2)"),
    (head(b"hOST: b.example"), "several Host fields (RFC 9112 §3.2)"),
    (head(b"Host: a", first=b"CONNECT a.example:443 HTTP/1.0"), "several Host fields (RFC 9112 §3.2)"),
    (head(host=b"Host:"), BAD_HOST),
    (head(host=b"Host: a.example, b.example"), BAD_HOST),
    (head(host=b"Host: a.example b.example"), BAD_HOST),
    (head(host=b"Host: user@a.example"), BAD_HOST),
    (head(host=b"Host: a.example/b"), BAD_HOST),
    (head(host=b"Host: a.example:port"), BAD_HOST),
    (head(host=b"Host: b\xc3\xbccher.example"), BAD_HOST),
    (head(host=b"Host: a%2eexample"), BAD_HOST),
    # framing
    (head(b"Content-Length: 5", b"Content-Length: 5"), "several Content-Length fields (RFC 9112 §6.3)"),
    (head(b"Content-Length: 5, 5"), BAD_LENGTH),
    (head(b"Content-Length: +5"), BAD_LENGTH),
    (head(b"Content-Length:"), BAD_LENGTH),
    (head(b"Content-Length: \xb2"), BAD_LENGTH),
    (head(b"Content-Length: 99999999999999999999"), BAD_LENGTH),
    (
        head(b"Content-Length: 5", b"Transfer-Encoding: chunked"),
        "Content-Length beside Transfer-Encoding (RFC 9112 §6.2)",
    ),
    (head(b"Transfer-Encoding: gzip, chunked"), NO_TE),
    (head(b"Transfer-Encoding: \xa0chunked"), NO_TE),  # blanks to str.strip, not to HTTP
    (head(b"Transfer-Encoding: chunked\x85"), NO_TE),
    (
        head(b"Transfer-Encoding: \x0bchunked"),
        "the value of `Transfer-Encoding` holds the control character 0x0b (RFC 9110 §5.5)",
    ),
    (head(b"Transfer-Encoding: chunked", b"transfer-encoding: chunked"), NO_TE),
    (head(b"Transfer-Encoding: identity", b"Transfer-Encoding: chunked"), NO_TE),
    (
        head(b"Transfer-Encoding: chunked", first=b"POST / HTTP/1.0"),
        "Transfer-Encoding in HTTP/1.0 (RFC 9112 §6.1)",
    ),
    (
        head(b"Content-Length: 5", first=b"CONNECT a.example:443 HTTP/1.1"),
        "a CONNECT with a body (RFC 9110 §9.3.6)",
    ),
    (
        head(b"Transfer-Encoding: chunked", first=b"CONNECT a.example:443 HTTP/1.1"),
        "a CONNECT with a body (RFC 9110 §9.3.6)",
    ),
    (head(b"Content-Length: x", first=b"CONNECT a.example:443 HTTP/1.1"), BAD_LENGTH),
]  # fmt: skip


@pytest.mark.parametrize(("data", "detail"), MALFORMED)
def test_a_malformed_head_is_refused_and_the_detail_says_why(data: bytes, detail: str) -> None:
    assert read_request_head(data) == BadHead(HeadFault.MALFORMED, detail)


@pytest.mark.parametrize(("data", "detail"), MALFORMED)
def test_every_prefix_asks_for_more_until_the_same_fault_is_found(data: bytes, detail: str) -> None:
    readings = [read_request_head(data[:size]) for size in range(len(data) + 1)]
    found = readings.index(BadHead(HeadFault.MALFORMED, detail))

    assert set(readings[:found]) == {NEED_MORE}
    assert set(readings[found:]) == {BadHead(HeadFault.MALFORMED, detail)}


@pytest.mark.parametrize(
    "data",
    [
        b"\n",
        b"\x16",
        b"GET / HTTP/1.1\n",
        b"GET  ",
        b"GET / HTTP/1.1 ",
        b"GET / HTTP/1.1\r\r",
        b"GET / HTTP/1.1\r\n ",
        b"GET / HTTP/1.1\r\nA ",
        b"GET / HTTP/1.1\r\n:",
        b"GET / HTTP/1.1\r\nA: b\n",
        b"GET / HTTP/1.1\r\nA: b\rc",
        b"GET / HTTP/2.0\r\n",
        b"GET / HTTP/1.1\r\nA\r\n",
    ],
)
def test_what_no_bytes_can_mend_is_not_waited_for(data: bytes) -> None:
    assert read_request_head(data[:-1]) == NEED_MORE
    assert isinstance(read_request_head(data), BadHead)


def test_half_of_a_broken_value_is_not_shown() -> None:
    """A key with line breaks in it becomes header lines that look like names."""
    for line in (b"sentinel", b"sentinel=", b"sentinel with blanks", b" sentinel"):
        reading = read_request_head(head(b"Authorization: Bearer sentinel", line))

        assert isinstance(reading, BadHead)
        assert "sentinel" not in reading.detail


# --- limits --------------------------------------------------------------------------------------


def test_the_limits_are_these() -> None:
    assert HeadLimits(max_bytes=65_536, max_line=16_384, max_headers=200) == DEFAULT_LIMITS


def test_a_request_line_is_refused_as_soon_as_it_is_too_long() -> None:
    long = b"GET /" + b"a" * (16_384 - 14) + b" HTTP/1.1"
    too_large = BadHead(HeadFault.TOO_LARGE, "the request line is longer than 16384 characters")

    assert len(long) == 16_384
    assert read(request_line(long)).target.startswith("/aaa")
    assert read_request_head(b"GET /" + b"a" * (16_384 - 5)) == NEED_MORE
    assert read_request_head(b"GET /" + b"a" * (16_384 - 5) + b"\r") == NEED_MORE
    assert read_request_head(b"GET /" + b"a" * (16_384 - 4)) == too_large
    assert read_request_head(request_line(long.replace(b"/", b"/a", 1))) == too_large
    assert read_request_head(request_line(long.replace(b"/", b"/a", 1))[:-2]) == too_large


def test_header_lines_are_counted() -> None:
    full = head(*[b"A: b"] * 199)
    too_large = BadHead(HeadFault.TOO_LARGE, "more than 200 header lines")

    assert len(read(full).headers) == 200
    assert read_request_head(full[:-2]) == NEED_MORE
    assert read_request_head(full[:-2] + b"\r") == NEED_MORE
    assert read_request_head(full[:-2] + b"A") == too_large
    assert read_request_head(full[:-2] + b"A: b\r\n") == too_large
    assert read_request_head(full[:-2] + b"A: b\r\n\r\n") == too_large


def test_the_whole_head_is_counted() -> None:
    full = head(b"A: " + b"b" * (65_536 - len(head(b"A: "))))
    larger = full.replace(b"A: ", b"A: b")
    too_large = BadHead(HeadFault.TOO_LARGE, "the head is larger than 65536 bytes")

    assert read(full).size == 65_536
    assert read(full + b"body").size == 65_536
    assert read_request_head(full[:-1]) == NEED_MORE
    assert read_request_head(larger) == too_large
    assert read_request_head(larger[:-1]) == too_large
    assert read_request_head(larger[:-2]) == NEED_MORE
    assert read_request_head(b"\r\n" + full) == too_large


def test_a_fault_behind_the_limit_is_not_looked_for() -> None:
    limits = HeadLimits(max_bytes=40)
    data = head(b"A: " + b"b" * 40)

    assert read_request_head(data[:39], limits) == NEED_MORE
    assert read_request_head(data[:39] + b"\0", limits) == BadHead(
        HeadFault.MALFORMED, "the value of `A` holds a NUL (RFC 9110 §5.5)"
    )
    assert read_request_head(data[:40] + b"\0", limits) == BadHead(
        HeadFault.TOO_LARGE, "the head is larger than 40 bytes"
    )
