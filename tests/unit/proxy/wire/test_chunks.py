import pytest

from proxy.wire.chunks import LAST_CHUNK, MAX_EXTENSION_BYTES, MAX_TRAILER_BYTES, ChunkReader, chunk_head
from proxy.wire.fields import MAX_FIELDS
from proxy.wire.framing import MAX_LENGTH
from proxy.wire.outcomes import BadHead, HeadFault

TRAILED = b"5\r\nhello\r\n6;a=b\r\n world\r\n0;c\r\nA: b \r\nC:\r\n\r\nrest"
BODIES = {
    b"0\r\n\r\n": b"",
    b"000;a\r\n\r\n": b"",
    b"5\r\nhello\r\n0\r\n\r\n": b"hello",
    b'1\r\na\r\nA;x="\xff;\t"\r\n0123456789\r\n0000000000000000\r\n\r\n': b"a0123456789",
    b"3\r\n\r\n0\r\n2\r\n\r\n\r\n0\r\nA: b\r\n\r\n": b"\r\n0\r\n",
    TRAILED: b"hello world",
}


def fed(data: bytes, *cuts: int) -> tuple[ChunkReader, bytes | BadHead]:
    """What is read of it in pieces; a fault counts for all."""
    reader, content = ChunkReader(), b""
    for start, end in zip((0, *cuts), (*cuts, len(data)), strict=True):
        got = reader.feed(data[start:end])
        if isinstance(got, BadHead):
            assert reader.feed(b"0\r\n\r\n") == got
            assert not reader.is_done
            return reader, got
        content += got
    return reader, content


def fault_of(data: bytes) -> BadHead | None:
    _, content = fed(data)
    return content if isinstance(content, BadHead) else None


def test_content_trailers_and_the_rest_are_told_apart() -> None:
    reader, content = fed(TRAILED)

    assert content == b"hello world"
    assert (reader.is_done, reader.rest, reader.trailers) == (True, b"rest", (("A", "b"), ("C", "")))


@pytest.mark.parametrize(("body", "content"), BODIES.items())
def test_a_body_cut_at_any_two_places_is_read_the_same(body: bytes, content: bytes) -> None:
    whole, _ = fed(body)
    for first in range(len(body) + 1):
        for second in range(first, len(body) + 1):
            reader, got = fed(body, first, second)
            assert got == content
            assert (reader.is_done, reader.rest, reader.trailers) == (True, whole.rest, whole.trailers)


@pytest.mark.parametrize("body", BODIES)
def test_every_prefix_asks_for_more(body: bytes) -> None:
    whole, _ = fed(body)
    for size in range(len(body) - len(whole.rest)):
        reader, content = fed(body[:size])
        assert isinstance(content, bytes)
        assert not reader.is_done


def test_a_body_byte_by_byte_is_read_the_same() -> None:
    reader, content = fed(TRAILED, *range(1, len(TRAILED)))

    assert (content, reader.rest) == (b"hello world", b"rest")


def test_what_comes_behind_the_end_is_kept_apart() -> None:
    reader = ChunkReader()

    assert reader.feed(b"0\r\n\r\nGET") == b""
    assert reader.feed(b" / HTTP/1.1") == b""
    assert reader.rest == b"GET / HTTP/1.1"


def test_a_piece_of_one_chunk_is_not_copied() -> None:
    reader, piece = ChunkReader(), b"a" * 100
    reader.feed(chunk_head(200))

    assert reader.feed(piece) is piece
    assert reader.feed(piece) is piece
    assert reader.feed(b"\r\n" + LAST_CHUNK) == b""
    assert reader.is_done


def test_what_is_written_is_read() -> None:
    assert chunk_head(26) == b"1a\r\n"
    _, content = fed(chunk_head(26) + b"a" * 26 + b"\r\n" + LAST_CHUNK)

    assert content == b"a" * 26


def test_the_largest_chunk_is_the_largest_length() -> None:
    assert fault_of(b"%x\r\n" % MAX_LENGTH) is None
    assert fault_of(b"%x\r\n" % (MAX_LENGTH + 1)) == fault_of(b"%x" % (MAX_LENGTH + 1))


def malformed(detail: str) -> BadHead:
    return BadHead(HeadFault.MALFORMED, detail)


NO_NUMBER = malformed("a chunk size is not a hexadecimal number (RFC 9112 §7.1)")
NO_END = malformed("no CRLF behind a chunk's data (RFC 9112 §7.1)")
TOO_LONG = malformed("a chunk is longer than 9223372036854775807 bytes (RFC 9112 §7.1)")
DIGITS = malformed("a chunk size of more than 16 digits (RFC 9112 §7.1)")


def behind(found: str) -> BadHead:
    return malformed(f"a chunk size is followed by {found} (RFC 9112 §7.1.1)")


def in_trailers(detail: str) -> BadHead:
    return malformed(f"in the trailers: {detail}")


BEFORE_COLON = "in the name or before the colon (RFC 9112 §5.1)"
FOLD = "header line 2 continues the one before it: obs-fold (RFC 9112 §5.2)"
# Each up to the byte that no others can mend.
FAULTS = [
    (b"+", NO_NUMBER),
    (b"-", NO_NUMBER),
    (b" ", NO_NUMBER),
    (b";", NO_NUMBER),
    (b"\r", NO_NUMBER),
    (b"\n", NO_NUMBER),
    (b"g", NO_NUMBER),
    (b"\xb2", NO_NUMBER),
    (b"0x", behind("what is no extension")),
    (b"0_", behind("what is no extension")),
    (b"5,", behind("what is no extension")),
    (b"5 ", behind("a space")),
    (b"5\t", behind("a tab")),
    (b"5\n", behind("a bare LF")),
    (b"5\ra", behind("a bare CR")),
    (b"5\r\r", behind("a bare CR")),
    (b"5;\n", behind("a bare LF")),
    (b"5;a=b\n", behind("a bare LF")),
    (b"5;a\rb", behind("a bare CR")),
    (b"5;\0", behind("a NUL")),
    (b"5;\x7f", behind("the control character 0x7f")),
    (b"F" * 16, TOO_LONG),
    (b"8000000000000000", TOO_LONG),
    (b"0" * 17, DIGITS),
    (b"7" * 17, DIGITS),
    (b"5\r\nhellox", NO_END),
    (b"5\r\nhello\n", NO_END),
    (b"5\r\nhello\ra", NO_END),
    (b"1\r\na\r\n\r", NO_NUMBER),
    (b"0\r\n\n", in_trailers(f"header line 1: a bare LF {BEFORE_COLON}")),
    (b"0\r\n ", in_trailers("whitespace before the first header line (RFC 9112 §2.2)")),
    (b"0\r\nA: b\r\n ", in_trailers(FOLD)),
    (b"0\r\nA ", in_trailers(f"header line 1: a space {BEFORE_COLON}")),
    (b"0\r\nA: b\n", in_trailers("the value of `A` holds a bare LF (RFC 9110 §5.5)")),
    (b"0\r\nA\r\n", in_trailers("header line 1 has no colon (RFC 9112 §5)")),
    (b"0\r\nA\r\n\r\n", in_trailers("header line 1 has no colon (RFC 9112 §5)")),
]


@pytest.mark.parametrize(("data", "fault"), FAULTS)
@pytest.mark.parametrize("after", [b"", b"\r\n", b"\n", b"0\r\n\r\n", b"A" * 70_000])
def test_a_fault_is_the_same_with_all_that_follows(data: bytes, fault: BadHead, after: bytes) -> None:
    assert fault_of(data + after) == fault


@pytest.mark.parametrize(("data", "fault"), [one for one in FAULTS if not one[0].endswith(b"\r\n\r\n")])
def test_a_fault_is_found_at_its_byte_however_the_bytes_are_cut(data: bytes, fault: BadHead) -> None:
    assert fault_of(data[:-1]) is None
    for cut in range(len(data)):
        assert fed(data, cut)[1] == fault
    assert fed(data, *range(1, len(data)))[1] == fault


def test_all_extensions_of_a_body_are_counted() -> None:
    most = b";" + b"a" * (MAX_EXTENSION_BYTES - 1)
    too_many = BadHead(HeadFault.TOO_LARGE, "chunk extensions of more than 1024 bytes")

    assert fault_of(b"1" + most + b"\r") is None
    assert fault_of(b"1" + most + b"\r\nA\r\n0\r\n\r\n") is None
    for bad in (b"1" + most + b"a", b"1" + most + b"\r\nA\r\n0;", b"1" + most + b"\r\nA\r\n0;\r\n"):
        assert fault_of(bad) == too_many
        assert fault_of(bad + b"\0") == too_many
        assert fed(bad, *range(1, len(bad)))[1] == too_many


def test_trailers_are_counted() -> None:
    most = b"0\r\n" + b"A: b\r\n" * MAX_FIELDS
    too_many = BadHead(HeadFault.TOO_LARGE, "in the trailers: more than 200 header lines")

    assert len(fed(most + b"\r\n")[0].trailers) == MAX_FIELDS
    assert fault_of(most + b"A") == too_many
    assert fault_of(most + b"A: b\r\n\r\n") == too_many


def test_the_trailer_section_is_counted() -> None:
    section = b"A: " + b"b" * (MAX_TRAILER_BYTES - 7) + b"\r\n\r\n"
    too_large = BadHead(HeadFault.TOO_LARGE, "in the trailers: they are larger than 8192 bytes")

    assert len(section) == MAX_TRAILER_BYTES
    assert fed(b"0\r\n" + section)[0].is_done
    assert fault_of(b"0\r\n" + section[:-1]) is None
    assert fault_of(b"0\r\nb" + section) == too_large
    assert fault_of(b"0\r\nb" + section[:-2]) is None
    assert fault_of(b"0\r\nb" + section[:-1]) == too_large
    assert fed(b"0\r\nb" + section, 8_000)[1] == too_large


def test_memory_does_not_grow_with_the_body() -> None:
    reader = ChunkReader()
    for _ in range(50):
        reader.feed(b"1000;a\r\n" + b"a" * 4096 + b"\r\n1")
        assert len(reader._held) <= 1
        reader.feed(b"\r\na\r\n")
    assert reader._held == b""
