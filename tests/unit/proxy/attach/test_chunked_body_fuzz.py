from hypothesis import given
from hypothesis import strategies as st

from proxy.attach.bodies import BodyFault
from proxy.attach.chunk_framing import MAX_CHUNK_LINE, MAX_TRAILER_BYTES
from proxy.attach.chunked_body import MAX_CHUNK, ChunkedBody
from proxy.core.reasons import Reason
from tests.chunked_bodies import Chain, PaddedChain, stored

CRC = "x-amz-checksum-crc32"
HEX = b"0123456789abcdef" * 4
# What a body is made of, in no order.
FRAGMENTS = st.sampled_from(
    [
        b"\r\n", b"\n", b"\r", b"\0", b" ", b";", b":", b"=", b"0", b"1", b"5", b"A", b"00", b"10", b"400000",
        b"400001", b"f" * 16, b"0x1", b"+1", b"-1", b"1_0", b"hello", b"x" * 16, b"chunk-signature=",
        b";chunk-signature=" + HEX + b"\r\n", b";chunk-signature=" + HEX * 2 + b"0123456789******\r\n",
        b"0;chunk-signature=" + HEX + b"\r\n", b"5;chunk-signature=" + HEX + b"\r\nhello\r\n",
        CRC.encode(), CRC.encode() + b":Ox7nCg==\r\n", CRC.encode() + b":Ox7nCg==\n\r\n",
        b"x-amz-trailer-signature:" + HEX + b"\r\n", b"a:b\r\n",
    ]
)  # fmt: skip
ANYTHING = st.one_of(
    st.lists(FRAGMENTS, max_size=14).map(b"".join),
    st.lists(st.one_of(FRAGMENTS, st.binary(max_size=6)), max_size=14).map(b"".join),
    st.binary(max_size=400),
)
MODES = st.sampled_from([Chain, PaddedChain])
ANNOUNCED = st.sampled_from([frozenset[str](), frozenset({CRC}), frozenset({CRC, "x-amz-checksum-sha256"})])
MOST_HELD = MAX_CHUNK + MAX_CHUNK_LINE + MAX_TRAILER_BYTES


@given(
    pieces=st.lists(ANYTHING, max_size=4),
    mode=MODES,
    length=st.sampled_from([0, 1, 5, 10, 16, 21, MAX_CHUNK, 2**62]),
    announced=ANNOUNCED,
    checked=st.booleans(),
)
def test_whatever_comes_is_answered_and_no_more_is_kept_or_given(
    pieces: list[bytes], mode: type[Chain], length: int, announced: frozenset[str], *, checked: bool
) -> None:
    body = ChunkedBody(mode(b"ours"), length, announced, mode(b"placeholder") if checked else None)
    came, out, fault = 0, b"", None
    for piece in pieces:
        given_back = body.feed(piece)
        came += len(piece)
        if fault is not None:
            assert given_back == fault
        elif isinstance(given_back, BodyFault):
            fault = given_back
        else:
            out += given_back
        assert 0 <= body.held <= MOST_HELD
        assert len(out) <= came
    last = body.finish()
    if isinstance(last, BodyFault):
        assert last.reason is Reason.MALFORMED_BODY
        assert fault in {None, last}
    else:
        assert fault is None
        assert len(out + last) == came
        assert len(stored(out + last, mode(b"ours"), length, announced)) == length


@given(data=ANYTHING, length=st.sampled_from([0, 5, 10, 21]), announced=ANNOUNCED)
def test_the_pieces_do_not_change_the_answer(data: bytes, length: int, announced: frozenset[str]) -> None:
    whole, bytewise = (ChunkedBody(Chain(b"ours"), length, announced) for _ in range(2))
    whole_out = whole.feed(data)
    bytewise_out = [bytewise.feed(data[at : at + 1]) for at in range(len(data))]

    assert whole.finish() == bytewise.finish()
    if isinstance(whole_out, bytes):
        assert b"".join(piece for piece in bytewise_out if isinstance(piece, bytes)) == whole_out
