"""What holds for every body, read by a store that shares nothing with podkey and reads loosely."""

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.attach.bodies import BodyFault
from proxy.attach.chunked_body import ChunkedBody
from tests.chunked_bodies import Chain, PaddedChain, Sent, stored

CLIENT, OURS = b"placeholder", b"ours"
MODES = st.sampled_from([Chain, PaddedChain])
CHUNKS = st.lists(
    st.binary(min_size=1, max_size=300)
    | st.integers(1, 200_000).map(bytes)
    | st.sampled_from([b"\r\n", b"0;chunk-signature=", b"\r\n0;chunk-signature=" + b"0" * 64 + b"\r\n\r\n"]),
    max_size=6,
)
NAMES = st.sampled_from([b"crc32", b"CRC32C", b"crc64nvme", b"Sha1", b"sha256", b"sha512"])
TRAILERS = st.lists(
    st.tuples(NAMES.map(b"x-amz-checksum-".__add__), st.from_regex(rb"[!-~]{1,88}", fullmatch=True)),
    max_size=4,
    unique_by=lambda trailer: trailer[0].lower(),
)
BODIES = st.builds(
    Sent,
    chunks=CHUNKS,
    trailers=TRAILERS,
    size_format=st.sampled_from(["{:x}", "{:X}", "{:08x}", "{:016X}"]),
    line_end=st.sampled_from([b"\r\n", b"\n"]),
    label=st.sampled_from([b"x-amz-trailer-signature:", b"X-Amz-Trailer-Signature:"]),
    padding=st.sampled_from([b"", b" ", b"\t "]),
)
# Of every kind, and short enough to spoil each byte of them.
SMALL = {
    "plain": Sent([b"hello", b"\r\n\r\nbody\n"]),
    "a trailer": Sent([b"hello"], [(b"x-amz-checksum-crc32", b"Ox7nCg==")]),
    "as minio-go": Sent([b"hello"], [(b"x-amz-checksum-crc32", b"Ox7nCg==")], line_end=b"\n"),
    "with spaces": Sent([], [(b"X-Amz-Checksum-SHA1", b"2jmj7l5rSw0=")], size_format="{:03X}", padding=b" "),
}


def through(body: ChunkedBody, pieces: Iterable[bytes]) -> bytes | None:
    """All that a store gets, if it gets the end."""
    out = [*(body.feed(piece) for piece in pieces), body.finish()]
    given = [piece for piece in out if isinstance(piece, bytes)]
    return b"".join(given) if len(given) == len(out) else None


def cut(data: bytes, places: Iterable[float]) -> list[bytes]:
    at = sorted({0, len(data), *(int(place * len(data)) for place in places)})
    return [data[start:end] for start, end in pairwise(at)]


@given(sent=BODIES, mode=MODES, places=st.lists(st.floats(0, 1), max_size=8), checked=st.booleans())
def test_every_body_comes_out_signed_by_us_and_is_the_same(
    sent: Sent, mode: type[Chain], places: list[float], *, checked: bool
) -> None:
    received = sent.signed(mode(CLIENT))
    body = ChunkedBody(mode(OURS), len(sent.data), sent.announced, mode(CLIENT) if checked else None)
    out = through(body, cut(received, places))

    assert out is not None
    assert len(out) == len(received)
    assert stored(out, mode(OURS), len(sent.data), sent.announced) == sent.data
    assert out == sent.signed(mode(OURS))


@given(sent=BODIES, mode=MODES, places=st.lists(st.floats(0, 1), max_size=8), missing=st.integers(1, 400))
def test_a_body_that_was_cut_is_never_ended(
    sent: Sent, mode: type[Chain], places: list[float], missing: int
) -> None:
    received = sent.signed(mode(CLIENT))[:-missing]
    body = ChunkedBody(mode(OURS), len(sent.data), sent.announced)
    out = [piece for part in cut(received, places) if isinstance(piece := body.feed(part), bytes)]

    assert isinstance(body.finish(), BodyFault)
    with pytest.raises(ValueError, match="cut off"):
        stored(b"".join(out), mode(OURS), len(sent.data), sent.announced)


@given(sent=BODIES, wrong=st.integers(-3, 3).filter(bool))
def test_a_length_that_lies_is_never_ended(sent: Sent, wrong: int) -> None:
    length = max(0, len(sent.data) + wrong)
    out = through(ChunkedBody(Chain(OURS), length, sent.announced), [sent.signed(Chain(CLIENT))])

    assert (out is None) is (length != len(sent.data))


@given(sent=BODIES, announced=TRAILERS)
def test_other_trailers_than_announced_are_never_ended(
    sent: Sent, announced: list[tuple[bytes, bytes]]
) -> None:
    names = frozenset(name.decode().lower() for name, _ in announced)
    out = through(ChunkedBody(Chain(OURS), len(sent.data), names), [sent.signed(Chain(CLIENT))])

    assert (out is None) is (names != sent.announced)


@pytest.mark.parametrize("checked", [True, False])
@pytest.mark.parametrize("sent", SMALL.values(), ids=SMALL)
def test_no_byte_can_be_changed_to_make_another_object(sent: Sent, *, checked: bool) -> None:
    received = sent.signed(Chain(CLIENT))

    for at, byte in enumerate(received):
        flipped = {byte ^ (1 << bit) for bit in range(8)}
        for other in (flipped | set(b"\0\t\n\r 0*+:;=x")) - {byte}:
            check = Chain(CLIENT) if checked else None
            body = ChunkedBody(Chain(OURS), len(sent.data), sent.announced, check)
            out = through(body, [received[:at] + bytes([other]) + received[at + 1 :]])
            if out is None:
                continue
            assert len(out) == len(received)
            data = stored(out, Chain(OURS), len(sent.data), sent.announced)
            # Without a check it may be the data itself that was changed, and then it is that byte.
            changed = sum(one != two for one, two in zip(data, sent.data, strict=True))
            assert changed == 0 if checked else changed <= 1


@given(
    sent=st.sampled_from(list(SMALL.values())),
    mode=MODES,
    start=st.floats(0, 1),
    size=st.integers(0, 120),
    instead=st.one_of(
        st.binary(max_size=8), st.sampled_from([b"\r\n", b"\n", b"0;chunk-signature=" + b"0" * 64 + b"\r\n"])
    ),
    checked=st.booleans(),
)
def test_what_is_cut_out_or_put_in_makes_no_other_object(
    sent: Sent, mode: type[Chain], start: float, size: int, instead: bytes, *, checked: bool
) -> None:
    received = sent.signed(mode(CLIENT))
    at = int(start * len(received))
    spoiled = received[:at] + instead + received[at + size :]
    check = mode(CLIENT) if checked else None
    out = through(ChunkedBody(mode(OURS), len(sent.data), sent.announced, check), [spoiled])

    if out is not None:
        data = stored(out, mode(OURS), len(sent.data), sent.announced)
        assert len(out) == len(spoiled)
        assert len(data) == len(sent.data)
        assert data == sent.data or not checked
