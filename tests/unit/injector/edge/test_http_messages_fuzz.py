"""Whatever bytes come, in whatever pieces: what is heard is the same, and an answer can be given."""

import re

import h11
from hypothesis import example, given, settings
from hypothesis import strategies as st

from injector.edge.http_messages import MAX_HEAD, Bad, Head, Messages, Pause, Rejected, Reply, Whole, reply_to

GOOD = b"POST /m?timeout=5s HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n{ }  "
FRAGMENTS = [
    b"POST /m HTTP/1.1\r\n",
    b"GET / HTTP/1.0\r\n",
    b"Host: x\r\n",
    b"Content-Length: 3\r\n",
    b"Content-Length: 0\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Expect: 100-continue\r\n",
    b"Connection: close\r\n",
    b"Upgrade: h2c\r\n",
    b"\r\n",
    b"3\r\nabc\r\n0\r\n\r\n",
    b"abc",
    b"\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    GOOD,
]
streams = st.lists(st.sampled_from(FRAGMENTS) | st.binary(max_size=8), max_size=12).map(b"".join)


def played(pieces: list[bytes], *, ended: bool = True) -> list[object]:
    """What a server hears, answering each request as it comes."""
    messages = Messages()
    heard: list[object] = []
    for piece in [*pieces, *([b""] if ended else [])]:
        messages.receive(piece)
        while (event := messages.next()) not in Pause:
            heard.append(event)
            if isinstance(event, Bad):
                assert messages.answer(reply_to(event)).startswith(b"HTTP/1.1 4")
                return heard
            if isinstance(event, Head):
                messages.go_on()
            if isinstance(event, Whole):
                assert messages.answer(Reply(200, b"{}")).startswith(b"HTTP/1.1 200")
                if not messages.begin_again():
                    return heard
    return heard


@given(streams, st.data())
@example(GOOD * 3, None)
def test_pieces_make_no_difference(stream: bytes, data: st.DataObject | None) -> None:
    whole = played([stream], ended=False)
    assert played([stream[i : i + 1] for i in range(len(stream))], ended=False) == whole
    if data is not None:
        cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=5)))
        pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
        assert played([piece for piece in pieces if piece], ended=False) == whole


def test_a_good_request_cut_anywhere_asks_for_more_and_then_is_whole() -> None:
    for cut in range(1, len(GOOD)):
        assert Bad not in map(type, played([GOOD[:cut]]))
        assert played([GOOD[:cut], GOOD[cut:]]) == played([GOOD])


@given(st.lists(st.binary(max_size=400), max_size=8))
def test_any_bytes_are_heard_without_a_fault_of_ours(pieces: list[bytes]) -> None:
    played(pieces)


# --- against a reader that knows all of HTTP -----------------------------------------------------------

LINES = [
    "POST /m HTTP/1.1",
    "GET /a?b=c HTTP/1.1",
    "GET / HTTP/1.0",
    "GET / HTTP/1.2",
    "GET / HTTP/2.0",
    "GET  / HTTP/1.1",
    "G@T / HTTP/1.1",
    "GET /\x7f HTTP/1.1",
    "GET /ä HTTP/1.1",
    "GET /",
    "",
]
FIELDS = [
    "Host: x",
    "host:y",
    "Content-Length: 3",
    "Content-Length: 03",
    "content-length: 3, 3",
    "Content-Length: 4",
    "Content-Length: +3",
    "Content-Length: ",
    "Content-Length: 99999999999999999999",
    "Content-Length: 999999999999999999999",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: Chunked",
    "Transfer-Encoding: gzip, chunked",
    "Connection: close",
    "Connection: Keep-Alive, CLOSE",
    "Connection: keep-alive",
    "Expect: 100-Continue",
    "Content-Type: application/json",
    "Content-Type : application/json",
    "Content-Encoding: gzip",
    "A: b\tc",
    "A: \xff",
    "A: \x01",
    "A: \x00",
    "A: \r",
    "A:",
    "A",
    ": b",
    " folded",
]
# What h11 takes and this reader does not: control characters, a line feed alone, folds, other versions.
STRICTER = re.compile(r"[^\t\r\n -~\x80-\xff]|\r(?!\n)|(?<!\r)\n|\r\n[\t ]|HTTP/(?!1\.[01]\r)").search
heads = st.tuples(st.sampled_from(LINES), st.lists(st.sampled_from(FIELDS) | st.text(max_size=5), max_size=6))


def of_h11(data: bytes) -> tuple[h11.Request | None, bool, bool]:
    """The request, whether it waits for a word, and whether another one may follow."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
    connection.receive_data(data)
    try:
        event = connection.next_event()
    except h11.RemoteProtocolError:
        return None, False, False
    assert isinstance(event, h11.Request)
    waits = connection.they_are_waiting_for_100_continue
    return event, waits, connection.our_state is h11.SEND_RESPONSE and connection._cstate.keep_alive


@settings(max_examples=400)
@given(heads)
@example((LINES[0], ["Host: x", "Host: x"]))
@example((LINES[0], []))
@example((LINES[2], ["Connection: keep-alive"]))
def test_what_is_taken_is_understood_as_h11_does(head: tuple[str, list[str]]) -> None:
    line, fields = head
    data = "\r\n".join([line, *fields, "", ""]).encode("latin-1", "replace")
    request, waits, goes_on = of_h11(data)
    messages = Messages()
    messages.receive(data)
    found = messages.next()

    if isinstance(found, Bad):
        if found.why is Rejected.MALFORMED:
            assert request is None or STRICTER(data.decode("latin-1"))
        return
    assert isinstance(found, Head)
    assert request is not None
    said = dict(request.headers)
    assert (found.method, f"{found.path}?{found.query}".rstrip("?")) == (
        request.method.decode(),
        request.target.decode().rstrip("?"),
    )
    assert found.length == int(said.get(b"content-length", b"0"))
    assert bool(messages.go_on()) == waits
    messages.receive(bytes(found.length))
    whole = messages.next()
    assert isinstance(whole, Whole)
    assert len(whole.body) == found.length
    messages.answer(Reply(200, b""))
    assert messages.begin_again() == goes_on
