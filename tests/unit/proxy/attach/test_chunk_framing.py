import pytest

from proxy.attach.chunk_framing import (
    MAX_CHUNK_LINE,
    MAX_TRAILER_BYTES,
    ChunkHeader,
    Ending,
    read_chunk_line,
    read_ending,
)
from proxy.attach.payload import MAX_TRAILER_NAME, MAX_TRAILERS

HMAC, ECDSA = 64, 144
HEX = b"0123456789abcdef" * 4
PADDED = HEX * 2 + b"0123456789" + b"*" * 6
SIGNATURES = {HMAC: HEX, ECDSA: PADDED}
CRC, SHA = "x-amz-checksum-crc32", "x-amz-checksum-sha256"
ONE, TWO = frozenset({CRC}), frozenset({CRC, SHA})
END = b"x-amz-trailer-signature:" + HEX + b"\r\n\r\n"
FORM = (
    "the last chunk is not followed by trailers, x-amz-trailer-signature with 64 characters, an empty line "
    "and the end of the body"
)


@pytest.mark.parametrize("length", SIGNATURES)
@pytest.mark.parametrize(
    ("spelled", "size"),
    [
        (b"0", 0),
        (b"0000000000000000", 0),
        (b"10000", 65536),
        (b"00010000", 65536),
        (b"14000", 81920),
        (b"aBcDeF", 0xABCDEF),
        (b"f" * 16, 2**64 - 1),
    ],
)
def test_a_size_keeps_its_spelling(spelled: bytes, size: int, length: int) -> None:
    opening, signature = spelled + b";chunk-signature=", SIGNATURES[length]

    assert read_chunk_line(opening + signature + b"\r\n", length) == ChunkHeader(opening, size, signature)


SPOILED_LINES = {
    "nothing": b"",
    "an empty line": b"\r\n",
    "no size": b";chunk-signature=" + HEX + b"\r\n",
    "no signature": b"5\r\n",
    "an empty signature": b"5;chunk-signature=\r\n",
    "17 digits": b"0" * 16 + b"5;chunk-signature=" + HEX + b"\r\n",
    "0x": b"0x5;chunk-signature=" + HEX + b"\r\n",
    "a plus sign": b"+5;chunk-signature=" + HEX + b"\r\n",
    "a minus sign": b"-5;chunk-signature=" + HEX + b"\r\n",
    "an underscore": b"1_0;chunk-signature=" + HEX + b"\r\n",
    "a digit that is no hex": b"5g;chunk-signature=" + HEX + b"\r\n",
    "a digit that is no ASCII": "٥".encode() + b";chunk-signature=" + HEX + b"\r\n",
    "a space before the size": b" 5;chunk-signature=" + HEX + b"\r\n",
    "a space after the size": b"5 ;chunk-signature=" + HEX + b"\r\n",
    "a space before the name": b"5; chunk-signature=" + HEX + b"\r\n",
    "a space before the value": b"5;chunk-signature= " + HEX + b"\r\n",
    "a space at the end": b"5;chunk-signature=" + HEX + b" \r\n",
    "a tab": b"5;\tchunk-signature=" + HEX + b"\r\n",
    "NUL in the size": b"5\0;chunk-signature=" + HEX + b"\r\n",
    "NUL at the end": b"5;chunk-signature=" + HEX + b"\0\r\n",
    "bare LF": b"5;chunk-signature=" + HEX + b"\n",
    "bare CR": b"5;chunk-signature=" + HEX + b"\r",
    "two CR": b"5;chunk-signature=" + HEX + b"\r\r\n",
    "LF CR": b"5;chunk-signature=" + HEX + b"\n\r",
    "a line before": b"\r\n5;chunk-signature=" + HEX + b"\r\n",
    "another name": b"5;chunk-Signature=" + HEX + b"\r\n",
    "another extension": b"5;a=b\r\n",
    "an extension before": b"5;a=b;chunk-signature=" + HEX + b"\r\n",
    "an extension after": b"5;chunk-signature=" + HEX + b";a=b\r\n",
    "two signatures": b"5;chunk-signature=" + HEX + b";chunk-signature=" + HEX + b"\r\n",
    "a quoted signature": b'5;chunk-signature="' + HEX + b'"\r\n',
    "an upper-case signature": b"5;chunk-signature=" + HEX.upper() + b"\r\n",
    "a signature that is no hex": b"5;chunk-signature=" + b"g" * 64 + b"\r\n",
    "a short signature": b"5;chunk-signature=" + HEX[1:] + b"\r\n",
    "a long signature": b"5;chunk-signature=" + HEX + b"0\r\n",
    "a padded signature": b"5;chunk-signature=" + HEX[1:] + b"*\r\n",
    "another mode's signature": b"5;chunk-signature=" + PADDED + b"\r\n",
}


@pytest.mark.parametrize("line", SPOILED_LINES.values(), ids=SPOILED_LINES)
def test_a_chunk_line_is_nothing_else(line: bytes) -> None:
    assert read_chunk_line(line, HMAC) is None


@pytest.mark.parametrize(
    "signature",
    [
        HEX,
        PADDED[1:],
        PADDED + b"*",
        b"*" * 144,
        b"0" + b"*" * 143,  # half a byte
        b"*" * 2 + b"0" * 142,  # padded before
        b"00*0".ljust(144, b"*"),
        PADDED.upper(),
        b"gg" * 72,
    ],
)
def test_the_padding_of_sigv4a_stands_behind_whole_bytes(signature: bytes) -> None:
    assert read_chunk_line(b"5;chunk-signature=" + signature + b"\r\n", ECDSA) is None


@pytest.mark.parametrize("signature", [b"00" * 72, b"00" * 70 + b"****", b"00".ljust(144, b"*")])
def test_a_signature_of_sigv4a_is_as_long_as_it_is(signature: bytes) -> None:
    line = b"5;chunk-signature=" + signature + b"\r\n"

    assert read_chunk_line(line, ECDSA) == ChunkHeader(b"5;chunk-signature=", 5, signature)


def test_the_longest_line_is_as_long_as_its_limit() -> None:
    line = b"f" * 16 + b";chunk-signature=" + PADDED + b"\r\n"

    assert len(line) == MAX_CHUNK_LINE
    assert read_chunk_line(line, ECDSA) is not None


# --- what follows the last chunk ----------------------------------------------------------------------------


def test_without_trailers_only_a_line_end_follows() -> None:
    assert read_ending(b"\r\n", frozenset(), HMAC) == Ending(closing=b"\r\n")


@pytest.mark.parametrize("data", [b"", b"\r", b"\n", b"\r\n\r\n", b"a:b\r\n" + END, END])
def test_without_trailers_nothing_else_follows(data: bytes) -> None:
    message = "the last chunk is not followed by CRLF and the end of the body"

    assert read_ending(data, frozenset(), HMAC) == message


@pytest.mark.parametrize("length", SIGNATURES)
@pytest.mark.parametrize("label", [b"x-amz-trailer-signature:", b"X-Amz-Trailer-Signature:"])
@pytest.mark.parametrize(
    "line",
    [
        b"x-amz-checksum-crc32:Ox7nCg==\r\n",
        b"X-Amz-Checksum-CRC32:Ox7nCg==\r\n",
        b"x-amz-checksum-crc32: \tOx7nCg==\t \r\n",
        b"x-amz-checksum-crc32:Ox7nCg==\n\r\n",  # minio-go, and AWS's documentation
    ],
)
def test_a_trailer_is_kept_as_it_is_and_signed_in_one_form(line: bytes, label: bytes, length: int) -> None:
    signature = SIGNATURES[length]

    assert read_ending(line + label + signature + b"\r\n\r\n", ONE, length) == Ending(
        line + label, b"x-amz-checksum-crc32:Ox7nCg==\n", signature, b"\r\n\r\n"
    )


@pytest.mark.parametrize(
    "lines",
    [
        b"x-amz-checksum-crc32:a\r\nx-amz-checksum-sha256:b\r\n",
        b"X-Amz-Checksum-SHA256:b\r\nx-amz-checksum-crc32:a\r\n",
        b"x-amz-checksum-sha256:b\nx-amz-checksum-crc32:a\n\r\n",
    ],
)
def test_several_trailers_are_signed_in_the_order_of_their_names(lines: bytes) -> None:
    ending = read_ending(lines + END, TWO, HMAC)

    assert isinstance(ending, Ending)
    assert ending.canonical == b"x-amz-checksum-crc32:a\nx-amz-checksum-sha256:b\n"


SPOILED_ENDINGS = {
    "nothing": b"",
    "only a line end": b"\r\n",
    "only a signature": END,
    "no signature": b"x-amz-checksum-crc32:a\r\n\r\n",
    "no line end after it": b"x-amz-checksum-crc32:a\r\n" + END[:-2],
    "half a line end after it": b"x-amz-checksum-crc32:a\r\n" + END[:-1],
    "a third line end": b"x-amz-checksum-crc32:a\r\n" + END + b"\r\n",
    "more data": b"x-amz-checksum-crc32:a\r\n" + END + b"5;chunk-signature=" + HEX + b"\r\nhello\r\n",
    "a line end before": b"\r\nx-amz-checksum-crc32:a\r\n" + END,
    "the signature first": END[:-2] + b"x-amz-checksum-crc32:a\r\n\r\n",
    "bare LF, no CRLF after it": b"x-amz-checksum-crc32:a\n" + END,
    "CRLF twice": b"x-amz-checksum-crc32:a\r\n\r\n" + END,
    "bare CR": b"x-amz-checksum-crc32:a\r" + END,
    "LF CR": b"x-amz-checksum-crc32:a\n\r" + END,
    "LF after the signature": b"x-amz-checksum-crc32:a\r\n" + END.replace(b"\r\n", b"\n"),
    "a folded line": b"x-amz-checksum-crc32:a\r\n b\r\n" + END,
    "no colon": b"x-amz-checksum-crc32\r\n" + END,
    "an equals sign": b"x-amz-checksum-crc32=a\r\n" + END,
    "no name": b":a\r\n" + END,
    "no value": b"x-amz-checksum-crc32:\r\n" + END,
    "only spaces": b"x-amz-checksum-crc32:  \r\n" + END,
    "a space in the value": b"x-amz-checksum-crc32:a b\r\n" + END,
    "a space before the name": b" x-amz-checksum-crc32:a\r\n" + END,
    "a space after the name": b"x-amz-checksum-crc32 :a\r\n" + END,
    "NUL in the value": b"x-amz-checksum-crc32:a\0\r\n" + END,
    "no ASCII": b"x-amz-checksum-crc32:\xfc\r\n" + END,
    "a short signature": b"x-amz-checksum-crc32:a\r\nx-amz-trailer-signature:" + HEX[1:] + b"\r\n\r\n",
    "an upper-case signature": b"x-amz-checksum-crc32:a\r\nx-amz-trailer-signature:"
    + HEX.upper()
    + b"\r\n\r\n",
    "a space before the signature": b"x-amz-checksum-crc32:a\r\nx-amz-trailer-signature: "
    + HEX
    + b"\r\n\r\n",
    "another mode's signature": b"x-amz-checksum-crc32:a\r\nx-amz-trailer-signature:" + PADDED + b"\r\n\r\n",
}


@pytest.mark.parametrize("data", SPOILED_ENDINGS.values(), ids=SPOILED_ENDINGS)
def test_a_trailer_is_written_in_no_other_way(data: bytes) -> None:
    assert read_ending(data, ONE, HMAC) == FORM


def test_a_mix_of_two_ways_is_none() -> None:
    mixed = b"x-amz-checksum-crc32:a\nx-amz-checksum-sha256:b\r\n"

    assert read_ending(mixed + END, TWO, HMAC) == FORM
    assert read_ending(mixed + b"\r\n" + END, TWO, HMAC) == FORM


@pytest.mark.parametrize(
    ("lines", "announced", "message"),
    [
        (b"x-amz-meta-a:b\r\n", ONE, "a trailer came that x-amz-trailer does not name"),
        (
            b"x-amz-checksum-crc32:a\r\n" + END[:-2], ONE,
            "a trailer came that x-amz-trailer does not name",
        ),
        (
            b"x-amz-checksum-crc32:a\r\nx-amz-checksum-sha256:b\r\n", ONE,
            "a trailer came that x-amz-trailer does not name",
        ),
        (b"x-amz-checksum-crc32:a\r\nX-Amz-Checksum-Crc32:a\r\n", ONE, "a trailer came twice"),
        (b"x-amz-checksum-crc32:a\r\n", TWO, "a trailer did not come that x-amz-trailer names"),
    ],
)  # fmt: skip
def test_exactly_the_trailers_come_that_were_announced(
    lines: bytes, announced: frozenset[str], message: str
) -> None:
    assert read_ending(lines + END, announced, HMAC) == message


def test_all_trailers_that_may_be_announced_have_room() -> None:
    line = MAX_TRAILER_NAME + len(":") + 88 + len("\r\n")
    signature = len("x-amz-trailer-signature:") + ECDSA + len("\r\n\r\n")

    assert MAX_TRAILERS * line + signature < MAX_TRAILER_BYTES
