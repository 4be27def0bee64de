"""What a request to S3 says of its body: whether it is signed, and how it is framed.

Words and modes: "Authenticating Requests: Using the Authorization Header", Amazon S3 API Reference.
"""

import re
from collections.abc import Sequence
from enum import Enum
from typing import Final

from proxy.attach.bodies import BodyFault
from proxy.core.reasons import Reason
from proxy.core.structs import Struct
from proxy.wire.framing import read_length

CONTENT_HASH: Final = "x-amz-content-sha256"
DECODED_LENGTH: Final = "x-amz-decoded-content-length"
TRAILER: Final = "x-amz-trailer"

UNSIGNED_PAYLOAD: Final = "UNSIGNED-PAYLOAD"
UNSIGNED_TRAILER: Final = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"

# S3 takes one checksum of a body and knows ten algorithms; no store needs more trailers than there are.
MAX_TRAILERS: Final = 10
# The longest is `x-amz-checksum-crc64nvme` with its 24 bytes.
MAX_TRAILER_NAME: Final = 64
# No SDK sends any other trailer, and what another one would do at the upstream nobody judged. The names are
# of the characters of a token (RFC 9110 §5.6.2).
_TRAILER_NAME: Final = re.compile(
    r"x-amz-checksum-[a-z0-9!#$%&'*+.^_`|~-]+", re.ASCII | re.IGNORECASE
).fullmatch

_HASH: Final = re.compile(r"[0-9a-f]{64}").fullmatch


class ChunkAlgorithm(Enum):
    HMAC = "AWS4-HMAC-SHA256"
    ECDSA = "AWS4-ECDSA-P256-SHA256"


class Unsigned(Struct, frozen=True):
    """The body travels as it is, and the signature says nothing of it."""


class Literal(Struct, frozen=True):
    """The body travels as it is; its hash is in the signature."""

    hash: str


class UnsignedTrailer(Struct, frozen=True):
    """aws-chunked without signatures: it travels as it is, and its checksum comes last."""


class SignedChunks(Struct, frozen=True):
    """aws-chunked, each chunk signed after the one before it."""

    algorithm: ChunkAlgorithm
    has_trailer: bool


type Payload = Unsigned | Literal | UnsignedTrailer | SignedChunks

_WORDS: Final[dict[str, Payload]] = {
    UNSIGNED_PAYLOAD: Unsigned(),
    UNSIGNED_TRAILER: UnsignedTrailer(),
    **{
        f"STREAMING-{algorithm.value}-PAYLOAD{end}": SignedChunks(algorithm, has_trailer=bool(end))
        for algorithm in ChunkAlgorithm
        for end in ("", "-TRAILER")
    },
}
_KNOWN: Final = f"the SHA-256 of the body in lower-case hexadecimal, {', '.join(_WORDS)}"


class ChunkPlan(Struct, frozen=True):
    """What a body that is signed in chunks has to turn out to be."""

    decoded_length: int
    trailers: frozenset[str]


def read_payload(values: Sequence[str], trailers: Sequence[str] = ()) -> Payload | BodyFault:
    """From the values of all `x-amz-content-sha256` fields, and of all `x-amz-trailer` fields: who signs
    nothing (anonymous pyarrow) frames a body all the same, and only the latter say so."""
    if not values:
        return UnsignedTrailer() if trailers else Unsigned()
    if len(values) > 1:
        return BodyFault(Reason.UNSUPPORTED_PAYLOAD, f"several {CONTENT_HASH} headers: send one")
    word = values[0].strip(" \t")
    if _HASH(word):
        return Literal(word)
    known = _WORDS.get(word)
    if known is None:
        return BodyFault(Reason.UNSUPPORTED_PAYLOAD, f"{CONTENT_HASH} is none of {_KNOWN}")
    return known


def read_chunk_plan(
    payload: SignedChunks, lengths: Sequence[str], trailers: Sequence[str]
) -> ChunkPlan | BodyFault:
    """From the values of all `x-amz-decoded-content-length` and all `x-amz-trailer` fields."""
    length = decoded_length(lengths)
    if length is None:
        # S3 says 411 MissingContentLength. Without it, nothing would say that chunks at the end are missing.
        return _malformed(f"a body in signed chunks needs {DECODED_LENGTH}: the object's size in bytes")
    if isinstance(length, BodyFault):
        return length
    names = announced_trailers(trailers)
    if isinstance(names, BodyFault):
        return names
    if payload.has_trailer and not names:
        return _malformed(f"{CONTENT_HASH} says that a trailer follows, and no {TRAILER} names it")
    if names and not payload.has_trailer:
        return _malformed(f"{TRAILER} names a trailer, and {CONTENT_HASH} says that none follows")
    return ChunkPlan(length, names)


def decoded_length(values: Sequence[str]) -> int | BodyFault | None:
    """From the values of all `x-amz-decoded-content-length` fields."""
    if not values:
        return None
    if len(values) > 1:
        return _malformed(f"several {DECODED_LENGTH} headers: send one")
    size = read_length(values[0].strip(" \t"))
    if size is None:
        return _malformed(f"{DECODED_LENGTH} is not a number of bytes in decimal digits")
    return size


def announced_trailers(values: Sequence[str]) -> frozenset[str] | BodyFault:
    """From the values of all `x-amz-trailer` fields, in lower case: some clients send a list, some (minio-go)
    a field for each."""
    named = [name.strip(" \t") for value in values for name in value.split(",", MAX_TRAILERS)]
    if len(named) > MAX_TRAILERS:
        return _malformed(f"{TRAILER} names more than {MAX_TRAILERS} trailers")
    if any(len(name) > MAX_TRAILER_NAME or not _TRAILER_NAME(name) for name in named):
        return _malformed(f"{TRAILER} names something else than x-amz-checksum-… headers")
    names = frozenset(name.lower() for name in named)
    if len(names) < len(named):
        return _malformed(f"{TRAILER} names a trailer twice")
    return names


def _malformed(message: str) -> BodyFault:
    return BodyFault(Reason.MALFORMED_BODY, message)
