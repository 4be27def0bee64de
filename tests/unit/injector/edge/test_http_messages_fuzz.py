"""Whatever bytes come, in whatever pieces: what is heard is the same, and an answer can be given."""

from hypothesis import example, given
from hypothesis import strategies as st

from injector.edge.http_messages import Bad, Head, Messages, Pause, Reply, Whole, reply_to

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
