"""Messages beside two other implementations: what we read they read the same, or we refuse it.

A message that only we read would be harmless to ourselves; one that is read in another way would not. Known
and left out: h11 skips no empty line before a request, where RFC 9112 §2.2 asks for it, and so is given the
message without; it lowers the case of the one coding; and it refuses trailers that look like a wrong framing,
which nobody behind us reads as fields of a head: they are handed on apart, or not at all.
"""

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mitmproxy.http import Request as TheirRequest
from mitmproxy.net.http import http1, validate

from proxy.transaction.head import Head, head_of_http1
from proxy.wire.chunks import ChunkReader
from proxy.wire.framing import CHUNKED, Chunked, Length, NoBody, ResponseFraming, UntilClose
from proxy.wire.outcomes import NEED_MORE, BadHead
from proxy.wire.request_head import RequestHead, read_request_head
from proxy.wire.response_head import ResponseHead, read_response_head
from tests.body_reading import read_body, read_request
from tests.smuggling_corpus import NEXT, REQUESTS, RESPONSES, Read, Sample, answer, request

type Fields = list[tuple[bytes, bytes]]

NOISE = st.sampled_from(
    [
        *(
            b"",
            b"\r",
            b"\n",
            b"\r\n",
            b"\n\r\n",
            b" ",
            b"\t",
            b":",
            b";",
            b",",
            b"\0",
            b"0",
            b"1",
            b"a",
            b"\xff",
        ),
        *(b"Host: b.example\r\n", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"),
        *(b"\x0b", b"0\r\n\r\n", b"5\r\n"),
    ]
)
GOOD_REQUESTS = [
    request(),
    request(b"Content-Length: 5", first=b"POST /v1/x HTTP/1.1") + b"hello" + NEXT,
    request(b"Transfer-Encoding: chunked", first=b"PUT /v1/x HTTP/1.1")
    + b"5;a\r\nhello\r\n1\r\n!\r\n0\r\nA: b\r\n\r\n"
    + NEXT,
]
GOOD_RESPONSES = [
    answer(b"Content-Length: 5") + b"hello" + answer(),
    answer(b"Transfer-Encoding: chunked") + b"5;a\r\nhello\r\n1\r\n!\r\n0\r\nA: b\r\n\r\n",
    answer(b"Server: a", first=b"HTTP/1.0 200"),
    answer(first=b"HTTP/1.1 204 No Content"),
    answer(b"Content-Length: 5", first=b"HTTP/1.1 304 "),
    answer(b"Link: a", first=b"HTTP/1.1 103 Early Hints") + answer(b"Content-Length: 0"),
]


@st.composite
def spoiled(draw: st.DrawFn, samples: list[bytes]) -> bytes:
    """A message in which a few bytes are others, or more, or fewer."""
    data = bytearray(draw(st.sampled_from(samples)))
    for _ in range(draw(st.integers(0, 3))):
        at, count = draw(st.integers(0, min(len(data), 300))), draw(st.integers(0, 2))
        data[at : at + count] = draw(NOISE)
    return bytes(data)


A_REQUEST = spoiled([*GOOD_REQUESTS, *(sample.sent for sample in REQUESTS)])
A_RESPONSE = spoiled([*GOOD_RESPONSES, *(sample.sent for sample in RESPONSES)])
METHODS = st.sampled_from(["GET", "HEAD", "POST"])


# --- the corpus ----------------------------------------------------------------------------------


@pytest.mark.parametrize("sample", REQUESTS, ids=lambda sample: f"{sample.attack}, {sample.name}")
def test_a_request_of_the_corpus_is_refused_or_read_in_the_one_way(sample: Sample) -> None:
    assert read_request(sample.sent) == sample.reading


# --- h11 -----------------------------------------------------------------------------------------


def h11_reads(connection: h11.Connection, data: bytes) -> tuple[h11.Event, bytes, bytes] | None:
    """Its head, the content, and what is behind; None where it refuses, or waits for more."""
    content = b""
    try:
        connection.receive_data(data)
        head = connection.next_event()
        event = head
        while not isinstance(event, h11.EndOfMessage | h11.InformationalResponse):
            if event is h11.NEED_DATA and connection.their_role is h11.SERVER:
                connection.receive_data(b"")
            elif event is h11.NEED_DATA or event is h11.PAUSED:
                return None
            event = connection.next_event()
            content += bytes(event.data) if isinstance(event, h11.Data) else b""
    except h11.RemoteProtocolError:
        return None
    assert isinstance(head, h11.Event)
    return head, content, connection.trailing_data[0]


def frames_in_trailers(framing: ResponseFraming, data: bytes) -> bool:
    reader = ChunkReader()
    if isinstance(framing, Chunked):
        reader.feed(data)
    return any(name.lower() in {"content-length", "transfer-encoding"} for name, _ in reader.trailers)


def lowered(fields: tuple[tuple[str, str], ...]) -> Fields:
    """As h11 shows them."""
    pairs = [(name.lower(), value) for name, value in fields]
    return [(n.encode(), (v.lower() if n == "transfer-encoding" else v).encode("latin-1")) for n, v in pairs]


@given(data=A_REQUEST)
def test_a_request_that_we_read_h11_reads_the_same(data: bytes) -> None:
    head = read_request_head(data)
    ours = read_body("", head.framing, data[head.size :]) if isinstance(head, RequestHead) else None

    if isinstance(head, RequestHead) and ours is not None and head.method != "CONNECT":
        server = h11.Connection(h11.SERVER, max_incomplete_event_size=100_000)
        theirs = h11_reads(server, data.removeprefix(b"\r\n"))
        if theirs is None and frames_in_trailers(head.framing, data[head.size :]):
            return
        assert theirs is not None
        read, content, rest = theirs
        assert isinstance(read, h11.Request)
        assert (read.method.decode(), read.target.decode()) == (head.method, head.target)
        assert read.http_version.decode() == f"1.{head.minor_version}"
        assert [*read.headers] == lowered(head.headers)
        assert (content, rest) == (ours.content, ours.rest)


def h11_client(method: str) -> h11.Connection:
    """It has asked for an upgrade, since it takes no 101 otherwise."""
    client = h11.Connection(h11.CLIENT, max_incomplete_event_size=100_000)
    fields = [("host", "a"), ("connection", "upgrade"), ("upgrade", "websocket")]
    client.send(h11.Request(method=method, target="/", headers=fields))
    client.send(h11.EndOfMessage())
    return client


@given(data=A_RESPONSE, method=METHODS)
def test_a_response_that_we_read_h11_reads_the_same(data: bytes, method: str) -> None:
    head = read_response_head(data, method)
    ours = read_body("", head.framing, data[head.size :]) if isinstance(head, ResponseHead) else None

    if isinstance(head, ResponseHead) and ours is not None:
        theirs = h11_reads(h11_client(method), data)
        if theirs is None and frames_in_trailers(head.framing, data[head.size :]):
            return
        assert theirs is not None
        read, content, rest = theirs
        assert isinstance(read, h11.Response | h11.InformationalResponse)
        assert read.status_code == head.status
        assert [*read.headers] == lowered(head.fields)
        assert (content, rest) == (ours.content, ours.rest)


@st.composite
def cuts(draw: st.DrawFn, data: bytes) -> list[bytes]:
    at = sorted(draw(st.lists(st.integers(0, len(data)), max_size=4)))
    return [data[start:end] for start, end in zip([0, *at], [*at, len(data)], strict=True)]


BODIES = [sample.sent.partition(b"\r\n\r\n")[2] for sample in REQUESTS if b"chunked" in sample.sent]


@given(
    body=spoiled([*BODIES, b"5\r\nhello\r\n0\r\n\r\n", b"a;b=c\r\n0123456789\r\n0\r\nA: b\r\n\r\n"]),
    data=st.data(),
)
def test_a_chunked_body_is_read_the_same_however_it_is_cut(body: bytes, data: st.DataObject) -> None:
    whole = ChunkReader()
    content = whole.feed(body)
    parts = ChunkReader()
    pieces = [parts.feed(piece) for piece in data.draw(cuts(body))]

    if isinstance(content, BadHead):
        assert pieces[-1] == content
    else:
        assert b"".join(piece for piece in pieces if isinstance(piece, bytes)) == content
        assert (parts.is_done, parts.rest, parts.trailers) == (whole.is_done, whole.rest, whole.trailers)
        server = h11.Connection(h11.SERVER, max_incomplete_event_size=100_000)
        head = request(b"Transfer-Encoding: chunked", first=b"POST / HTTP/1.1")
        theirs = h11_reads(server, head + body)
        assert whole.is_done or theirs is None
        assert theirs is not None or not whole.is_done or frames_in_trailers(CHUNKED, body)
        assert theirs is None or theirs[1:] == (content, whole.rest)


# --- the laws of the response's reader -----------------------------------------------------------


@given(data=A_RESPONSE, after=st.binary(max_size=9), method=METHODS)
def test_every_prefix_asks_for_more_or_agrees_with_the_whole(data: bytes, after: bytes, method: str) -> None:
    answers = [read_response_head((data + after)[:size], method) for size in range(len(data + after) + 1)]
    decided = [one for one in answers if one != NEED_MORE]

    assert answers == [NEED_MORE] * (len(answers) - len(decided)) + decided
    assert len(set(decided)) <= 1


# --- mitmproxy -----------------------------------------------------------------------------------


def size_of(framing: ResponseFraming) -> int | None:
    """As mitmproxy writes it: None for chunks, -1 for as much as comes."""
    match framing:
        case Chunked():
            return None
        case Length(size):
            return size
        case UntilClose():
            return -1
        case NoBody():
            return 0


def lines_of(head: bytes) -> list[bytes]:
    return head.removeprefix(b"\r\n").removesuffix(b"\r\n\r\n").split(b"\r\n")


@given(data=A_REQUEST)
def test_a_request_that_we_read_mitmproxy_reads_the_same(data: bytes) -> None:
    """It judges the target as it reads; so do we, one step later."""
    head = read_request_head(data)
    judged = head_of_http1(head) if isinstance(head, RequestHead) else None

    if isinstance(head, RequestHead) and isinstance(judged, Head):
        theirs = http1.read_request_head(lines_of(data[: head.size]))
        validate.validate_headers(theirs)
        assert theirs.data.method.decode() == head.method
        assert theirs.path == judged.target
        assert theirs.http_version == f"HTTP/1.{head.minor_version}"
        assert [*theirs.headers.fields] == raw(head.headers)
        assert http1.expected_http_body_size(theirs) == size_of(head.framing)


def raw(fields: tuple[tuple[str, str], ...]) -> Fields:
    return [(name.encode(), value.encode("latin-1")) for name, value in fields]


@given(data=A_RESPONSE, method=METHODS)
def test_a_response_that_we_read_mitmproxy_reads_the_same(data: bytes, method: str) -> None:
    head = read_response_head(data, method)

    if isinstance(head, ResponseHead):
        theirs = http1.read_response_head(lines_of(data[: head.size]))
        asked = TheirRequest.make(method, "https://a.example/")
        assert theirs.status_code == head.status
        assert [*theirs.headers.fields] == raw(head.fields)
        assert http1.expected_http_body_size(asked, theirs) == size_of(head.framing)


def test_the_corpus_has_both_kinds() -> None:
    assert Read(content=b"AAAAA") in [sample.reading for sample in REQUESTS]
    assert sum(sample.reading is None for sample in (*REQUESTS, *RESPONSES)) > 150
