"""Bodies in signed chunks for tests: who writes and signs them, and who reads them as a store does.

Nothing of podkey is used here: the signatures follow "Signature calculations for the Authorization header:
transferring payload in multiple chunks" and "... for trailing headers" of the Amazon S3 API Reference.
"""

import hashlib
import hmac
from collections.abc import Buffer, Sequence
from dataclasses import dataclass

EMPTY_HASH = hashlib.sha256(b"").hexdigest()
_SCOPE = "20261121T090000Z\n20261121/eu-central-1/s3/aws4_request"


class Chain:
    """Chunk signatures with one key. It is a chain that signs and a check of what another one signed."""

    signature_length = 64

    def __init__(self, key: bytes, seed: str = "5eed" * 16) -> None:
        self._key = key
        self._previous = seed

    def chunk(self, data: Buffer) -> bytes:
        return self._next("PAYLOAD", f"{EMPTY_HASH}\n{hashlib.sha256(data).hexdigest()}")

    def trailer(self, canonical: Buffer) -> bytes:
        return self._next("TRAILER", hashlib.sha256(canonical).hexdigest())

    def matches(self, data: Buffer, claimed: bytes) -> bool:
        return self.chunk(data) == claimed

    def matches_trailer(self, canonical: Buffer, claimed: bytes) -> bool:
        return self.trailer(canonical) == claimed

    def _next(self, what: str, hashes: str) -> bytes:
        text = f"AWS4-HMAC-SHA256-{what}\n{_SCOPE}\n{self._previous}\n{hashes}"
        self._previous = hmac.digest(self._key, text.encode(), "sha256").hex()
        return self._previous.encode()


class PaddedChain(Chain):
    """As long and as padded as SigV4a's, whose DER signatures are not all of one length."""

    signature_length = 144

    def _next(self, what: str, hashes: str) -> bytes:
        digest = super()._next(what, hashes) * 3
        self._previous = digest[: 138 + 2 * (digest[0] % 4)].decode()
        return self._previous.ljust(144, "*").encode()


@dataclass(frozen=True)
class Sent:
    """What a client sends: chunks, each with the spelling of its size, and trailers in their lines."""

    chunks: Sequence[bytes] = ()
    trailers: Sequence[tuple[bytes, bytes]] = ()
    size_format: str = "{:x}"
    line_end: bytes = b"\r\n"
    label: bytes = b"x-amz-trailer-signature:"
    padding: bytes = b""

    @property
    def data(self) -> bytes:
        return b"".join(self.chunks)

    @property
    def announced(self) -> frozenset[str]:
        return frozenset(name.decode().lower() for name, _ in self.trailers)

    def signed(self, chain: Chain) -> bytes:
        out = bytearray()
        for chunk in (*self.chunks, b""):
            size = self.size_format.format(len(chunk)).encode()
            out += (
                size
                + b";chunk-signature="
                + chain.chunk(chunk)
                + b"\r\n"
                + chunk
                + (b"\r\n" if chunk else b"")
            )
        if self.trailers:
            for name, value in self.trailers:
                out += name + b":" + self.padding + value + self.padding + self.line_end
            lines = sorted(name.lower() + b":" + value + b"\n" for name, value in self.trailers)
            out += b"" if self.line_end == b"\r\n" else b"\r\n"
            out += self.label + chain.trailer(b"".join(lines)) + b"\r\n"
        return bytes(out + b"\r\n")


def stored(body: bytes, chain: Chain, length: int, announced: frozenset[str] = frozenset()) -> bytes:
    """What a store commits of the body that it was sent: it raises ValueError where it would refuse it.

    Read in the loose manner of stores: `int` for sizes, anything before the line's end as a value.
    """
    data, at, size = bytearray(), 0, -1
    while size:
        line, at = _line(body, at)
        text, _, parameter = line.partition(b";")
        size = int(text, 16)
        chunk = body[at : at + size]
        if len(chunk) < size:
            raise ValueError("cut off within a chunk")
        at += size
        if parameter != b"chunk-signature=" + chain.chunk(chunk):
            raise ValueError("the signature of a chunk does not fit")
        if size:
            empty, at = _line(body, at)
            if empty:
                raise ValueError("a chunk is longer than it says")
        data += chunk
    trailers: dict[bytes, bytes] = {}
    while (field_and_end := _line(body, at))[0] or _is_before_signature(body, field_and_end[1]):
        line, at = field_and_end
        if line:
            name, _, value = line.partition(b":")
            trailers[name.strip().lower()] = value.strip()
    if body[field_and_end[1] :]:
        raise ValueError("more follows the end")
    claimed = trailers.pop(b"x-amz-trailer-signature", None)
    if {name.decode() for name in trailers} != announced:
        raise ValueError("other trailers than were announced")
    canonical = b"".join(name + b":" + trailers[name] + b"\n" for name in sorted(trailers))
    if announced and claimed != chain.trailer(canonical):
        raise ValueError("the signature of the trailers does not fit")
    if len(data) != length:
        raise ValueError("another length than was announced")
    return bytes(data)


def _line(body: bytes, at: int) -> tuple[bytes, int]:
    end = body.find(b"\n", at)
    if end < 0:
        raise ValueError("cut off within a line")
    return body[at:end].removesuffix(b"\r"), end + 1


def _is_before_signature(body: bytes, at: int) -> bool:
    """The empty line that minio-go and AWS's documentation have between the trailers and what signs them."""
    return body[at:].lower().startswith(b"x-amz-trailer-signature:")
