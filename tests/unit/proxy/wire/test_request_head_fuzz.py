import h11
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire.framing import Chunked, Length, NoBody
from proxy.wire.outcomes import NEED_MORE, BadHead, NeedMore
from proxy.wire.request_head import HeadLimits, RequestHead, read_request_head
from proxy.wire.targets import split_target
from tests.wire_samples import HEADS

# Lines that are good, or nearly.
FIRST = st.sampled_from(
    [
        b"GET / HTTP/1.1",
        b"POST /a?b HTTP/1.1",
        b"GET / HTTP/1.0",
        b"CONNECT a.example:443 HTTP/1.0",
        b"GET  / HTTP/1.1",
        b"GET /a\tb HTTP/1.1",
        b"GET /\xff HTTP/1.1",
        b"GET / HTTP/1.9",
        b"GET /",
        b"",
    ]
)
NAMES = st.sampled_from(
    [
        b"Host",
        b"host ",
        b"Content-Length",
        b"content-length",
        b"Transfer-Encoding",
        b"A",
        b" A",
        b"",
        b"A\xff",
    ]
)
VALUES = st.one_of(
    st.sampled_from(
        [b"a.example", b"a.example:443", b"5", b"5, 5", b"chunked", b"gzip, chunked", b"\x00", b"b\rc"]
    ),
    st.binary(max_size=8),
)
FIELDS = st.builds(
    lambda name, between, value: name + between + value, NAMES, st.sampled_from([b":", b": ", b""]), VALUES
)
ENDS = st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b"\r\r\n", b"\r\n "])


@st.composite
def nearly_heads(draw: st.DrawFn) -> bytes:
    lines = [draw(FIRST), b"Host: a.example", *draw(st.lists(FIELDS, max_size=3))]
    end = draw(ENDS)
    odd = draw(st.integers(0, 9))
    before = draw(st.sampled_from([b"", b"", b"\r\n", b"\n"]))
    return before + b"".join(line + (end if odd == at else b"\r\n") for at, line in enumerate([*lines, b""]))


@st.composite
def spoiled(draw: st.DrawFn) -> bytes:
    """A real head in which a few bytes are others, or more, or fewer."""
    data = bytearray(draw(st.sampled_from(HEADS)))
    for _ in range(draw(st.integers(0, 3))):
        at, count = draw(st.integers(0, len(data))), draw(st.integers(0, 2))
        data[at : at + count] = draw(
            st.sampled_from([b"", b"\r", b"\n", b" ", b":", b"\0", b"a", b"\r\n", b"\xff"])
        )
    return bytes(data)


ANYTHING = st.one_of(st.binary(), st.text("GET /:\r\nHTP1.0a").map(str.encode), nearly_heads(), spoiled())
LIMITS = st.builds(
    HeadLimits, max_bytes=st.integers(0, 300), max_line=st.integers(0, 60), max_headers=st.integers(0, 5)
)


@given(data=ANYTHING, limits=st.one_of(LIMITS, st.just(HeadLimits())))
def test_every_prefix_asks_for_more_or_agrees_with_the_whole(data: bytes, limits: HeadLimits) -> None:
    answers = [read_request_head(data[:size], limits) for size in range(len(data) + 1)]
    decided = [answer for answer in answers if answer != NEED_MORE]

    assert answers == [NEED_MORE] * (len(answers) - len(decided)) + decided
    assert len(set(decided)) <= 1


@given(data=ANYTHING, after=ANYTHING, limits=LIMITS)
def test_more_bytes_do_not_change_an_answer(data: bytes, after: bytes, limits: HeadLimits) -> None:
    for some in (limits, HeadLimits()):
        early = read_request_head(data, some)
        assert isinstance(early, NeedMore) or early == read_request_head(data + after, some)


@given(data=ANYTHING, limits=LIMITS)
def test_a_head_stays_within_its_limits_and_waiting_ends(data: bytes, limits: HeadLimits) -> None:
    reading = read_request_head(data, limits)

    if isinstance(reading, RequestHead):
        assert reading.size <= min(limits.max_bytes, len(data))
        assert len(reading.headers) <= limits.max_headers
        assert len(reading.method) + len(reading.target) + len("  HTTP/1.1") <= limits.max_line
    elif isinstance(reading, NeedMore):
        assert len(data) < limits.max_bytes or limits.max_bytes == 0 == len(data)


@given(data=ANYTHING)
def test_a_head_written_again_is_read_the_same(data: bytes) -> None:
    reading = read_request_head(data)

    if isinstance(reading, RequestHead):
        first = f"{reading.method} {reading.target} HTTP/1.{reading.minor_version}"
        lines = [first, *(f"{name}: {value}" for name, value in reading.headers), "", ""]
        written = "\r\n".join(lines).encode("latin-1")
        again = read_request_head(written)
        assert isinstance(again, RequestHead)
        assert (again.headers, again.framing, again.size) == (reading.headers, reading.framing, len(written))


@given(data=ANYTHING)
def test_every_head_that_is_read_has_a_target_or_a_fault(data: bytes) -> None:
    reading = read_request_head(data)

    if isinstance(reading, RequestHead):
        split_target(reading)


@given(data=ANYTHING)
def test_a_detail_is_printable_and_short(data: bytes) -> None:
    reading = read_request_head(data)

    if isinstance(reading, BadHead):
        assert reading.detail.isprintable()
        assert len(reading.detail) < 120


# --- beside h11 ----------------------------------------------------------------------------------


def h11_reads(data: bytes) -> h11.Request | None:
    """What h11 makes of a whole head; None where it refuses."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=100_000)
    try:
        connection.receive_data(data)
        event = connection.next_event()
    except h11.RemoteProtocolError:
        return None
    assert isinstance(event, h11.Request), event
    return event


@given(data=st.one_of(nearly_heads(), spoiled(), st.sampled_from(HEADS)))
def test_what_h11_refuses_we_refuse_and_what_we_read_it_reads_the_same(data: bytes) -> None:
    """A head after an empty line is the exception: h11 skips none, where RFC 9112 §2.2 asks for it. And
    a Host it wants in HTTP/1.1 only, where we want one always, so it never refuses for that alone."""
    reading = read_request_head(data)

    if isinstance(reading, RequestHead):
        theirs = h11_reads(data[: reading.size].removeprefix(b"\r\n"))
        assert theirs is not None
        assert theirs.method.decode() == reading.method
        assert theirs.target.decode() == reading.target
        assert theirs.http_version.decode() == f"1.{reading.minor_version}"
        headers = [(name.lower(), value) for name, value in reading.headers]
        ours = [(name.encode(), value.encode("latin-1")) for name, value in headers]
        # It lowers the case of the one value too.
        assert [*theirs.headers] == [(n, v.lower() if n == b"transfer-encoding" else v) for n, v in ours]
        match reading.framing:
            case NoBody() | Length(0):
                assert dict(theirs.headers).get(b"content-length") in {None, b"0"}
            case Length(size):
                assert int(dict(theirs.headers)[b"content-length"]) == size
            case Chunked():
                assert dict(theirs.headers)[b"transfer-encoding"] == b"chunked"
