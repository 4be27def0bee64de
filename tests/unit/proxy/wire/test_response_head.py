import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.lanes.fast.messages import passed_head
from proxy.wire.framing import CHUNKED, NO_BODY, UNTIL_CLOSE, Length, ResponseFraming
from proxy.wire.outcomes import NEED_MORE, BadHead, HeadFault
from proxy.wire.request_head import HeadLimits
from proxy.wire.response_head import ResponseHead, UsualAnswer, read_response_head, read_usual_answer
from tests.body_reading import read_response
from tests.smuggling_corpus import RESPONSES, Sample
from tests.wire_samples import prefixes

OK = b"HTTP/1.1 200 OK"


def head(*lines: bytes, first: bytes = OK) -> bytes:
    return b"\r\n".join([first, *lines, b"", b""])


def read(data: bytes, method: str = "GET") -> ResponseHead:
    reading = read_response_head(data, method)
    assert isinstance(reading, ResponseHead), reading
    return reading


JSON = head(b"Server:  nginx\t", b"Content-Type: application/json", b"X-Empty:", b"Content-Length: 17")


def test_a_head_is_read_as_it_was_sent() -> None:
    fields = (("Server", "nginx"), ("Content-Type", "application/json"), ("X-Empty", ""))

    assert read_response_head(JSON + b"body", "GET") == ResponseHead(
        200,
        1,
        (*fields, ("Content-Length", "17")),
        len(JSON),
        Length(17),
        keeps=True,
        keys=("server", "content-type", "x-empty", "content-length"),
        lines=(b"Server:  nginx\t", b"Content-Type: application/json", b"X-Empty:", b"Content-Length: 17"),
    )


def status(line: bytes) -> bytes:
    return b"HTTP/1.1 " + line


GOOD: list[tuple[bytes, str, ResponseFraming, bool]] = [
    (head(b"Content-Length: 5"), "GET", Length(5), True),
    (head(b"Content-Length: 0"), "GET", Length(0), True),
    (head(b"Transfer-Encoding: Chunked"), "POST", CHUNKED, True),
    (head(), "GET", UNTIL_CLOSE, False),
    (head(b"Host: a.example"), "GET", UNTIL_CLOSE, False),  # means nothing here
    (head(b"Connection: keep-alive"), "GET", UNTIL_CLOSE, False),
    (head(b"Connection: close", b"Content-Length: 5"), "GET", Length(5), False),
    (head(b"connection: Keep-Alive, CLOSE", b"Content-Length: 5"), "GET", Length(5), False),
    (head(b"Connection: a", b"Connection: \tclose ,b", b"Content-Length: 5"), "GET", Length(5), False),
    (head(b"Connection: closed, not-close", b"Content-Length: 5"), "GET", Length(5), True),
    (head(b"Content-Length: 5", first=b"HTTP/1.0 200 OK"), "GET", Length(5), False),
    (head(b"Connection: keep-alive", first=b"HTTP/1.0 200 OK"), "GET", UNTIL_CLOSE, False),
    # RFC 9112 §6.3: no body, whatever the fields say.
    (head(b"Content-Length: 5"), "HEAD", NO_BODY, True),
    (head(b"Transfer-Encoding: chunked"), "HEAD", NO_BODY, True),
    (head(), "HEAD", NO_BODY, True),
    (head(b"Content-Length: 5", first=status(b"304 Not Modified")), "GET", NO_BODY, True),
    (head(b"Connection: close", first=status(b"304 Not Modified")), "GET", NO_BODY, False),
    (head(first=status(b"204 No Content")), "DELETE", NO_BODY, True),
    (head(b"Content-Length: 0", first=status(b"204 No Content")), "DELETE", NO_BODY, True),
    # What it may not say, and may have sent.
    (head(b"Content-Length: 5", first=status(b"204 No Content")), "DELETE", NO_BODY, False),
    (head(b"Transfer-Encoding: chunked", first=status(b"204 No Content")), "DELETE", NO_BODY, False),
    (head(first=status(b"100 Continue")), "PUT", NO_BODY, True),
    (head(b"Link: </a>", first=status(b"103 Early Hints")), "GET", NO_BODY, True),
    (head(b"Upgrade: websocket", first=status(b"101 Switching Protocols")), "GET", NO_BODY, False),
    (head(b"Content-Length: 0", first=status(b"101 Switching Protocols")), "GET", NO_BODY, False),
    (head(first=status(b"200 Connection established")), "CONNECT", NO_BODY, False),
    (head(b"Content-Length: 5", first=status(b"407 No")), "CONNECT", Length(5), True),
    # RFC 9112 §4: a reason phrase may be empty, and servers leave the space out with it.
    (head(b"Content-Length: 5", first=status(b"200 ")), "GET", Length(5), True),
    (head(b"Content-Length: 5", first=status(b"200")), "GET", Length(5), True),
    (head(b"Content-Length: 5", first=status(b"599  \tcaf\xc3\xa9 ")), "GET", Length(5), True),
]


@pytest.mark.parametrize(("data", "method", "framing", "keeps"), GOOD)
def test_where_the_body_ends_and_whether_another_may_follow(
    data: bytes,
    method: str,
    framing: ResponseFraming,
    keeps: bool,  # noqa: FBT001 - a table
) -> None:
    got = read(data, method)

    assert (got.framing, got.keeps, got.size) == (framing, keeps, len(data))


@pytest.mark.parametrize(("data", "method", "framing", "keeps"), GOOD)
def test_a_good_head_cut_anywhere_asks_for_more_and_what_follows_does_not_change_it(
    data: bytes,
    method: str,
    framing: ResponseFraming,
    keeps: bool,  # noqa: FBT001 - a table
) -> None:
    assert {read_response_head(prefix, method) for prefix in prefixes(data)} == {NEED_MORE}
    assert read_response_head(data + b"\0" * 70_000, method) == read_response_head(data, method)


def test_a_repr_shows_no_fields() -> None:
    data = head(b"Set-Cookie: sentinel", b"Content-Length: 0")

    assert repr(read(data)) == f"<ResponseHead 200, 2 fields, {len(data)} bytes>"


VERSION = "the answer does not begin with HTTP/1.0 or HTTP/1.1 (RFC 9112 §4)"
STATUS = "the status is not a number from 100 to 599 (RFC 9112 §4, RFC 9110 §15)"
ENDS = "the status line ends before its status (RFC 9112 §4)"
NO_TE = "Transfer-Encoding other than `chunked` (RFC 9112 §6.1)"

MALFORMED = [
    (b"\r\n" + JSON, ENDS),
    (head(first=b""), ENDS),
    (head(first=b"<html>"), VERSION),
    (head(first=b"http/1.1 200 OK"), VERSION),
    (head(first=b"HTTP/2 200 OK"), VERSION),
    (head(first=b"HTTP/1.2 200 OK"), VERSION),
    (head(first=b" HTTP/1.1 200 OK"), VERSION),
    (head(first=b"HTTP/1.10 200 OK"), STATUS),
    (head(first=b"HTTP/1.1\t200 OK"), STATUS),
    (head(first=b"HTTP/1.1  200 OK"), STATUS),
    (head(first=b"HTTP/1.1 099 OK"), STATUS),
    (head(first=b"HTTP/1.1 600 OK"), STATUS),
    (head(first=b"HTTP/1.1 +20 OK"), STATUS),
    (head(first=b"HTTP/1.1 2 0 OK"), STATUS),
    (head(first=b"HTTP/1.1 2000 OK"), STATUS),
    (head(first=b"HTTP/1.1 200\tOK"), STATUS),
    (head(first=b"HTTP/1.1 20\xb2 OK"), STATUS),
    (head(first=b"HTTP/1.1 200\n"), STATUS),
    (head(first=b"HTTP/1.1"), ENDS),
    (head(first=b"HTTP/1"), ENDS),
    (head(first=b"HTTP/1.1 "), ENDS),
    (head(first=b"HTTP/1.1 20"), ENDS),
    (head(first=b"HTTP/1.1 200 O\rK"), "the reason phrase holds a bare CR (RFC 9112 §4)"),
    (head(first=b"HTTP/1.1 200 OK\nA: b"), "the reason phrase holds a bare LF (RFC 9112 §4)"),
    (head(first=b"HTTP/1.1 200 \0"), "the reason phrase holds a NUL (RFC 9112 §4)"),
    (head(b" A: b"), "whitespace before the first header line (RFC 9112 §2.2)"),
    (head(b"A: b", b"\tc"), "header line 2 continues the one before it: obs-fold (RFC 9112 §5.2)"),
    (head(b"A : b"), "header line 1: a space in the name or before the colon (RFC 9112 §5.1)"),
    (head(b"A: b\rc"), "the value of `A` holds a bare CR (RFC 9110 §5.5)"),
    (head(b"A"), "header line 1 has no colon (RFC 9112 §5)"),
    (head(b": b"), "header line 1 has no name (RFC 9112 §5)"),
    (head(b"Content-Length: 5", b"Content-Length: 5"), "several Content-Length fields (RFC 9112 §6.3)"),
    (head(b"Content-Length: 5,5"), "Content-Length is not a number of bytes (RFC 9110 §8.6)"),
    (
        head(b"Content-Length: 5", b"Transfer-Encoding: chunked"),
        "Content-Length beside Transfer-Encoding (RFC 9112 §6.2)",
    ),
    (head(b"Transfer-Encoding: gzip, chunked"), NO_TE),
    (head(b"Transfer-Encoding: identity"), NO_TE),
    (head(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"), NO_TE),
    (
        head(b"Transfer-Encoding: chunked", first=b"HTTP/1.0 200 OK"),
        "Transfer-Encoding in HTTP/1.0 (RFC 9112 §6.1)",
    ),
    (head(b"Content-Length: 5", first=status(b"100 ")), "a 1xx answer with a body (RFC 9112 §6.3)"),
    (
        head(b"Transfer-Encoding: chunked", first=status(b"101 ")),
        "a 1xx answer with a body (RFC 9112 §6.3)",
    ),
]


@pytest.mark.parametrize(("data", "detail"), MALFORMED)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_every_prefix_of_a_malformed_head_asks_for_more_until_the_same_fault_is_found(
    data: bytes, detail: str, method: str
) -> None:
    fault = BadHead(HeadFault.MALFORMED, detail)
    readings = [read_response_head(data[:size], method) for size in range(len(data) + 1)]
    found = readings.index(fault)

    assert set(readings[:found]) == {NEED_MORE}
    assert set(readings[found:]) == {fault}
    assert read_response_head(data + b"HTTP/1.1 200 OK\r\n\r\n", method) == fault


def test_the_head_is_limited_in_line_count_and_bytes() -> None:
    limits = HeadLimits(max_bytes=60, max_line=20, max_headers=2)

    def fault_of(data: bytes) -> str | None:
        reading = read_response_head(data, "GET", limits)
        return f"{reading.fault.value}: {reading.detail}" if isinstance(reading, BadHead) else None

    line, lines = (
        "too_large: the status line is longer than 20 characters",
        "too_large: more than 2 header lines",
    )
    assert fault_of(head(first=OK + b"     ")) is None
    assert fault_of(head(first=OK + b"      ")) == line
    assert fault_of(OK + b"      ") == line
    assert fault_of(OK + b"      \0") == line
    assert fault_of(OK + b"      \r\n") == line
    assert fault_of(head(b"A:", b"B:")) is None
    assert fault_of(head(b"A:", b"B:")[:-2] + b"C") == lines
    assert fault_of(head(b"A:", b"B:", b"C:")) == lines
    assert fault_of(head(b"A: " + b"b" * (60 - len(head(b"A: "))))) is None
    assert (
        fault_of(head(b"A: " + b"b" * (61 - len(head(b"A: ")))))
        == "too_large: the head is larger than 60 bytes"
    )


def test_what_a_server_may_have_been_sent_is_not_remembered() -> None:
    """It may answer with the credential: the memory of lines must not outlive it."""
    from proxy.wire.response_head import _MEMORY  # noqa: PLC0415 - what it holds is the claim

    read(head(b"X-Echo: sentinel-4711", b"Location: /sentinel-4711", b"Content-Length: 0"))
    assert not any(b"4711" in line for line in _MEMORY.lines)
    assert b"Content-Length: 0" in _MEMORY.lines
    assert "Content" not in repr(_MEMORY)


@pytest.mark.parametrize("sample", RESPONSES, ids=lambda sample: f"{sample.attack}, {sample.name}")
def test_an_answer_of_the_corpus_is_refused_or_read_in_the_one_way(sample: Sample) -> None:
    assert read_response(sample.sent) == sample.reading


# --- an answer like most ---

USUAL = head(b"Server:  a", b"Connection: Keep-Alive", b"Content-Length: 2")


def test_an_answer_like_most_is_passed_on_less_its_connection() -> None:
    answer = read_usual_answer(USUAL + b"ok")
    assert answer == UsualAnswer(
        200,
        ["server", "content-length"],
        [b"Server:  a", b"Content-Length: 2"],
        b"ok",
        head(b"Server:  a", b"Content-Length: 2") + b"ok",
    )
    assert repr(answer) == "<UsualAnswer 200, 2 bytes>"
    plain = head(b"Content-Length: 2", first=b"HTTP/1.1 206 Partial Content") + b"ok"
    answer = read_usual_answer(plain)
    assert answer is not None
    assert (answer.status, answer.passed) == (206, plain)


def test_only_the_line_about_the_connection_is_left_out() -> None:
    data = (
        head(b"X: Connection: keep-alive", b"Content-Length: 2", b"Connection: keep-alive", b"Y: a") + b"ok"
    )
    answer = read_usual_answer(data)
    assert answer is not None
    assert answer.passed == head(b"X: Connection: keep-alive", b"Content-Length: 2", b"Y: a") + b"ok"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        USUAL[:-1],
        USUAL + b"o",
        USUAL + b"okk",
        head(b"Content-Length: 0", first=b"HTTP/1.1 204 No Content"),
        head(b"Content-Length: 0", first=b"HTTP/1.1 404 Not Found"),
        head(b"Content-Length: 0", first=b"HTTP/1.0 200 OK"),
        head(b"Content-Length: 0", first=b"HTTP/1.1 200 Fine"),
        head(),
        head(b"bad", b"Content-Length: 0"),
        head(b"Content-Length: 0", b"Content-Length: 0"),
        head(b"Content-Length: x"),
        head(b"Content-Length: 00"),
        head(b"Content-Length: 0", b"Transfer-Encoding: chunked"),
        head(b"Content-Length: 0", b"Upgrade: h2c"),
        head(b"Content-Length: 0", b"Connection: close"),
        head(b"Content-Length: 0", b"Connection: keep-alive", b"Connection: keep-alive"),
        head(b"Content-Length: 0", b"Connection: keep-alive, x"),
    ],
)
def test_any_other_is_to_be_read_by_itself(data: bytes) -> None:
    assert read_usual_answer(data) is None


def test_it_has_the_same_limits() -> None:
    data = head(b"X: a", b"Content-Length: 0")
    assert read_usual_answer(data, HeadLimits(max_headers=2)) is not None
    assert read_usual_answer(data, HeadLimits(max_headers=1)) is None
    assert read_usual_answer(data, HeadLimits(max_bytes=len(data))) is not None
    assert read_usual_answer(data, HeadLimits(max_bytes=len(data) - 1)) is None


LINES = [
    b"Content-Length: 2", b"content-length:2", b"Content-Length: 3", b"Connection: keep-alive",
    b"Connection: close", b"connection:\tKEEP-ALIVE ", b"Connection: keep-alivex", b"Upgrade: a", b"X: a",
    b"Transfer-Encoding: chunked", b"X: Connection: keep-alive", b"X-Connection: keep-alive", b"bad",
    b" folded", b"Set-Cookie: a=b", b"X:\x00",
]  # fmt: skip


@given(
    st.lists(st.sampled_from(LINES), max_size=4),
    st.booleans(),
    st.sampled_from([OK, status(b"206 Partial Content"), status(b"204 No Content"), b"HTTP/1.0 200 OK"]),
    st.sampled_from([b"", b"o", b"ok", b"okk", b"\r\n\r\n"]),
)
def test_it_is_read_as_any_answer_is(lines: list[bytes], has_length: bool, first: bytes, body: bytes) -> None:  # noqa: FBT001
    data = head(*([b"Content-Length: 2"] if has_length else []), *lines, first=first) + body
    answer = read_usual_answer(data)
    if answer is not None:
        whole = read(data)
        assert whole.keeps
        assert (answer.status, Length(len(answer.body))) == (whole.status, whole.framing)
        assert answer.body == data[whole.size :]
        kept = [(key, line) for key, line in zip(whole.keys, whole.lines, strict=True) if key != "connection"]
        assert list(zip(answer.keys, answer.lines, strict=True)) == kept
        assert answer.passed == passed_head(whole, chunked=False, closes=False) + answer.body
