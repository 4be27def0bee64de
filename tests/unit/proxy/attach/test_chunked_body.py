from collections.abc import Buffer, Iterable
from datetime import UTC, datetime

import pytest

from proxy.attach.bodies import BodyFault, BodyTransform
from proxy.attach.chunk_framing import MAX_CHUNK_LINE, MAX_TRAILER_BYTES
from proxy.attach.chunked_body import MAX_CHUNK, ChunkedBody
from proxy.aws import sigv4, sigv4a
from proxy.aws.chunk_chain import ChunkCheck, EcdsaChain, HmacChain
from proxy.aws.sigv4 import SigningKeys, SigningScope
from proxy.core.reasons import Reason
from proxy.core.secret import Secret
from tests.chunked_bodies import Chain, PaddedChain, Sent, stored

CLIENT, OURS = b"placeholder", b"ours"
CRC = (b"x-amz-checksum-crc32", b"Ox7nCg==")
SHA = (b"X-Amz-Checksum-SHA256", b"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=")

BODIES = {
    "empty": Sent(),
    "one chunk": Sent([b"hello"]),
    "three chunks": Sent([b"hello", b"\r\n", b"world\n"]),
    "upper case": Sent([b"x" * 0xAB, b"y" * 0x2F], size_format="{:X}"),
    "leading zeros": Sent([b"hello"], size_format="{:016x}"),
    "a trailer": Sent([b"hello"], [CRC]),
    "empty with a trailer": Sent([], [CRC]),
    "two trailers": Sent([b"hello", b"world"], [SHA, CRC]),
    "as minio-go": Sent([b"hello"], [CRC], line_end=b"\n"),
    "with spaces": Sent([b"hello"], [CRC], padding=b" \t"),
    "a label in upper case": Sent([b"hello"], [CRC], label=b"X-AMZ-TRAILER-SIGNATURE:"),
}
MODES = {"HMAC": Chain, "ECDSA": PaddedChain}
every_body = pytest.mark.parametrize("sent", BODIES.values(), ids=BODIES)
every_mode = pytest.mark.parametrize("mode", MODES.values(), ids=MODES)


def transform(sent: Sent, mode: type[Chain] = Chain, *, checked: bool = True) -> ChunkedBody:
    check = mode(CLIENT) if checked else None
    return ChunkedBody(mode(OURS), len(sent.data), sent.announced, check)


def through(body: BodyTransform, pieces: Iterable[bytes]) -> bytes | BodyFault:
    out = bytearray()
    for piece in pieces:
        given = body.feed(piece)
        if isinstance(given, BodyFault):
            return given
        out += given
    last = body.finish()
    return last if isinstance(last, BodyFault) else bytes(out) + last


def fault_of(body: BodyTransform, data: bytes) -> str:
    fault = through(body, [data])
    assert isinstance(fault, BodyFault)
    assert fault.reason is Reason.MALFORMED_BODY
    return fault.message


# --- what comes out -----------------------------------------------------------------------------------------


@every_mode
@every_body
def test_the_same_bytes_come_out_with_our_signatures(sent: Sent, mode: type[Chain]) -> None:
    assert through(transform(sent, mode), [sent.signed(mode(CLIENT))]) == sent.signed(mode(OURS))


@every_mode
@every_body
def test_a_store_commits_what_was_sent(sent: Sent, mode: type[Chain]) -> None:
    received = sent.signed(mode(CLIENT))
    out = through(transform(sent, mode), [received])

    assert isinstance(out, bytes)
    assert len(out) == len(received)
    assert stored(out, mode(OURS), len(sent.data), sent.announced) == sent.data


@every_body
def test_it_does_not_matter_where_the_pieces_are_cut(sent: Sent) -> None:
    received, expected = sent.signed(Chain(CLIENT)), sent.signed(Chain(OURS))

    for at in range(len(received) + 1):
        assert through(transform(sent), [received[:at], received[at:]]) == expected
    assert through(transform(sent), [received[at : at + 1] for at in range(len(received))]) == expected
    assert through(transform(sent), [b"", received, b""]) == expected


def test_a_chunk_goes_as_soon_as_it_is_whole() -> None:
    sent = Sent([b"hello", b"world"])
    received, expected = sent.signed(Chain(CLIENT)), sent.signed(Chain(OURS))
    first = received.index(b"5;", 1)
    body = transform(sent)

    assert body.feed(received[: first - 1]) == b""
    assert body.feed(received[first - 1 : first]) == expected[:first]


def test_the_largest_chunk_is_still_a_chunk() -> None:
    sent = Sent([bytes(MAX_CHUNK)])

    assert through(transform(sent), [sent.signed(Chain(CLIENT))]) == sent.signed(Chain(OURS))


# --- nothing is committed too early -------------------------------------------------------------------------


@every_mode
@every_body
def test_before_the_end_no_store_can_commit(sent: Sent, mode: type[Chain]) -> None:
    received = sent.signed(mode(CLIENT))
    data_ends = sent.signed(mode(OURS)).rindex(b"0;chunk-signature=")

    for size in range(len(received)):
        body = transform(sent, mode, checked=False)
        given = body.feed(received[:size])
        assert isinstance(given, bytes)
        assert len(given) <= data_ends
        assert isinstance(body.finish(), BodyFault)


@pytest.mark.parametrize("sent", [Sent([b"hello"]), Sent([b"hello"], [CRC])])
@pytest.mark.parametrize("more", [b"\n", b"\r\n", b"0", b"5;chunk-signature=", bytes(3000)])
def test_what_follows_the_end_takes_the_end_away(sent: Sent, more: bytes) -> None:
    received = sent.signed(Chain(CLIENT))

    assert isinstance(through(transform(sent), [received + more]), BodyFault)
    assert isinstance(through(transform(sent), [received, more]), BodyFault)


def test_the_end_is_given_once() -> None:
    sent = Sent([b"hello"])
    body = transform(sent)
    fault = BodyFault(Reason.MALFORMED_BODY, "more came after the body's end")

    assert through(body, [sent.signed(Chain(CLIENT))]) == sent.signed(Chain(OURS))
    assert body.finish() == fault
    assert body.feed(b"more") == fault
    assert body.feed(b"") == fault


SIZES = "a chunk does not begin with its size and a chunk-signature of 64 characters"
ENDED = "the body ended before its last chunk"
LESS = "the chunks hold less than x-amz-decoded-content-length says"
MORE = "the chunks hold more than x-amz-decoded-content-length says"
LARGE = f"a chunk has more than {MAX_CHUNK} bytes: have the client send smaller ones"
NO_CRLF = "a chunk's data is not followed by CRLF"
AFTER = "more follows the last chunk than can belong to it"
NOT_CRLF = "the last chunk is not followed by CRLF and the end of the body"
MARK = b";chunk-signature=" + b"ab" * 32 + b"\r\n"

MALFORMED = {
    "nothing": (b"", ENDED),
    "a plain body": (b"hello", ENDED),
    "a plain text": (b"hello\n", SIZES),
    "a long plain body": (bytes(MAX_CHUNK_LINE), SIZES),
    "a chunk without signature": (b"5\r\nhello\r\n0\r\n\r\n", SIZES),
    "two signatures": (b"5" + MARK[:-2] + MARK + b"hello\r\n0" + MARK + b"\r\n", SIZES),
    "a line without end": (b"5" + MARK[:-2], ENDED),
    "bare LF after the size": (b"5" + MARK.replace(b"\r", b"") + b"hello\r\n", SIZES),
    "less data than its size": (b"5" + MARK + b"hell\r\n0" + MARK + b"\r\n", NO_CRLF),
    "more data than its size": (b"5" + MARK + b"hello!\r\n0" + MARK + b"\r\n", NO_CRLF),
    "bare LF after data": (b"5" + MARK + b"hello\n0" + MARK + b"\r\n", NO_CRLF),
    "bare CR after data": (b"5" + MARK + b"hello\r0" + MARK + b"\r\n", NO_CRLF),
    "an empty line after data": (b"5" + MARK + b"hello\r\n\r\n0" + MARK + b"\r\n", SIZES),
    "an empty chunk first": (b"0" + MARK + b"5" + MARK + b"hello\r\n0" + MARK + b"\r\n", LESS),
    "an empty chunk between": (b"2" + MARK + b"he\r\n0" + MARK + b"\r\n3" + MARK + b"llo\r\n", LESS),
    "no empty chunk": (b"5" + MARK + b"hello\r\n", ENDED),
    "no line end at the end": (b"5" + MARK + b"hello\r\n0" + MARK, NOT_CRLF),
    "half a line end at the end": (b"5" + MARK + b"hello\r\n0" + MARK + b"\r", NOT_CRLF),
    "bare LF at the end": (b"5" + MARK + b"hello\r\n0" + MARK + b"\n", NOT_CRLF),
    "other bytes at the end": (b"5" + MARK + b"hello\r\n0" + MARK + b"ab", NOT_CRLF),
    "two ends": (b"5" + MARK + b"hello\r\n0" + MARK + b"\r\n0" + MARK + b"\r\n", AFTER),
    "a trailer nobody announced": (b"5" + MARK + b"hello\r\n0" + MARK + b"a:b\r\n\r\n", AFTER),
    "one byte less": (b"4" + MARK + b"hell\r\n0" + MARK + b"\r\n", LESS),
    "one byte more": (b"6" + MARK + b"hello!\r\n0" + MARK + b"\r\n", MORE),
    "a chunk more": (b"5" + MARK + b"hello\r\n1" + MARK + b"!\r\n0" + MARK + b"\r\n", MORE),
    "a large size": (f"{MAX_CHUNK:x}".encode() + MARK, MORE),
    "a size too large": (f"{MAX_CHUNK + 1:x}".encode() + MARK, LARGE),
    "the largest size": (b"f" * 16 + MARK, LARGE),
}  # fmt: skip


@pytest.mark.parametrize(("data", "message"), MALFORMED.values(), ids=MALFORMED)
def test_a_body_of_another_form_never_ends(data: bytes, message: str) -> None:
    five = Sent([b"hello"])

    assert fault_of(transform(five, checked=False), data) == message
    pieces = (data[at : at + 1] for at in range(len(data)))
    assert through(transform(five, checked=False), pieces) == BodyFault(Reason.MALFORMED_BODY, message)


def test_a_trailer_that_was_announced_has_to_come() -> None:
    plain, announced = Sent([b"hello"]), Sent([b"hello"], [CRC])

    assert "is not followed by trailers" in fault_of(transform(announced), plain.signed(Chain(CLIENT)))


def test_trailers_are_not_read_without_limit() -> None:
    sent = Sent([], [(CRC[0], b"x" * MAX_TRAILER_BYTES)])
    body = transform(sent)

    assert fault_of(body, sent.signed(Chain(CLIENT))) == AFTER
    assert body.held == 0


def test_a_size_beyond_what_was_announced_is_refused_before_its_data() -> None:
    body = ChunkedBody(Chain(OURS), 5)

    assert isinstance(body.feed(b"6" + MARK), BodyFault)


def test_a_fault_stays() -> None:
    body = ChunkedBody(Chain(OURS), 5)
    fault = BodyFault(Reason.MALFORMED_BODY, SIZES)

    assert body.feed(b"\r\n") == fault
    assert body.feed(b"5" + MARK + b"hello\r\n") == fault
    assert body.finish() == fault
    assert body.finish() == fault


# --- the application's own signatures -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spoiled", "message"),
    [
        (0, "a chunk's signature is not the one that its data gives"),
        (1, "a chunk's signature is not the one that its data gives"),
        (2, "the last chunk's signature is not the one that its data gives"),
        (3, "x-amz-trailer-signature is not the one that the trailers give"),
    ],
)
@every_mode
def test_a_signature_that_does_not_fit_ends_the_body(mode: type[Chain], spoiled: int, message: str) -> None:
    class OneWrong(mode):  # type: ignore[valid-type, misc]
        asked = 0

        def chunk(self, data: Buffer) -> bytes:
            return self._spoiled(super().chunk(data))

        def trailer(self, canonical: Buffer) -> bytes:
            return self._spoiled(super().trailer(canonical))

        def _spoiled(self, signature: bytes) -> bytes:
            self.asked += 1
            return b"00" + signature[2:] if self.asked == spoiled + 1 else signature

    sent = Sent([b"hello", b"world"], [CRC])
    received = sent.signed(OneWrong(CLIENT))

    assert fault_of(transform(sent, mode), received) == message
    assert through(transform(sent, mode, checked=False), [received]) == sent.signed(mode(OURS))


def test_data_that_was_changed_on_its_way_is_not_signed_anew() -> None:
    sent = Sent([b"hello"])
    received = sent.signed(Chain(CLIENT)).replace(b"hello", b"hullo")

    assert fault_of(transform(sent), received) == "a chunk's signature is not the one that its data gives"
    assert isinstance(through(transform(sent, checked=False), [received]), bytes)


KEYS = {who: SigningKeys(f"{who}-id", Secret(f"{who}-key".encode())) for who in ("client", "ours")}
MOMENT = datetime(2026, 11, 21, 9, tzinfo=UTC)
SEED = "5eed" * 16


def real_chain(who: str, algorithm: str) -> HmacChain | EcdsaChain:
    if algorithm == sigv4.ALGORITHM:
        return HmacChain.of(KEYS[who], SigningScope(MOMENT, "eu-central-1", "s3"), SEED)
    return EcdsaChain.of(KEYS[who], MOMENT, "s3", SEED)


def real_check(who: str, algorithm: str) -> ChunkCheck:
    region = "eu-central-1/" if algorithm == sigv4.ALGORITHM else ""
    scope, secret = f"20261121/{region}s3/aws4_request", KEYS[who].secret_access_key.reveal().decode()
    check = ChunkCheck.of(algorithm, f"{who}-id", [secret], "20261121T090000Z", scope, SEED)
    assert check is not None
    return check


@pytest.mark.parametrize("algorithm", [sigv4.ALGORITHM, sigv4a.ALGORITHM])
@every_body
def test_it_signs_with_the_chains_that_aws_has(sent: Sent, algorithm: str) -> None:
    received = sent.signed(real_chain("client", algorithm))
    first = ChunkedBody(
        real_chain("ours", algorithm), len(sent.data), sent.announced, real_check("client", algorithm)
    )
    signed_by_us = through(first, [received])
    assert isinstance(signed_by_us, bytes)
    assert len(signed_by_us) == len(received)

    second = ChunkedBody(
        real_chain("client", algorithm), len(sent.data), sent.announced, real_check("ours", algorithm)
    )
    assert isinstance(through(second, [signed_by_us]), bytes)
    wrong = ChunkedBody(
        real_chain("ours", algorithm), len(sent.data), sent.announced, real_check("ours", algorithm)
    )
    assert isinstance(through(wrong, [received]), BodyFault)


# --- memory -------------------------------------------------------------------------------------------------


def test_what_is_held_counts_from_where_it_is_declared() -> None:
    sent = Sent([b"x" * 70_000], [CRC])
    received = sent.signed(Chain(CLIENT))
    line = received.index(b"\n") + 1
    chunk = line + 70_000 + 2
    body = transform(sent)

    assert body.held == 0
    body.feed(received[: line - 1])
    assert body.held == line - 1
    body.feed(received[line - 1 : line])
    assert body.held == 70_000 + line - 2  # all but the line's own end
    body.feed(received[line : chunk - 1])
    assert body.held >= 70_000
    assert body.feed(received[chunk - 1 : chunk])
    assert body.held == 0
    body.feed(received[chunk:])
    assert body.held == len(received) - chunk - 2
    assert isinstance(body.finish(), bytes)
    assert body.held == 0


def test_a_fault_lets_go_of_what_was_held() -> None:
    body = ChunkedBody(Chain(OURS), MAX_CHUNK)
    body.feed(f"{MAX_CHUNK:x}".encode() + MARK + b"x" * 1000)
    assert body.held > MAX_CHUNK

    body.finish()

    assert body.held == 0
