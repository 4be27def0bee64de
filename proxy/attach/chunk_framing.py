"""The framing of a body that is signed in chunks, read strictly: what is accepted can be read in one way.

"Signature calculations for trailing headers (chunked uploads)", Amazon S3 API Reference. Where a reading is
loose (`int(size, 16)` takes `0x`, `+`, `_` and spaces), a store and we could see two bodies in one.
"""

import re
from collections.abc import Mapping
from typing import Final

from proxy.core.structs import Struct

CRLF: Final = b"\r\n"

# As many as a 64-bit length has; .NET writes them in upper case, the others in lower.
MAX_SIZE_DIGITS: Final = 16
# Size, `;chunk-signature=`, the longest signature (SigV4a's, padded to 144) and CRLF.
MAX_CHUNK_LINE: Final = MAX_SIZE_DIGITS + 17 + 144 + 2
# Ten trailers (payload.py) with the longest checksum, a SHA-512 in 88 characters, and the line that signs
# them come to some 1,700 bytes.
MAX_TRAILER_BYTES: Final = 2048

# By the length of a mode's signatures. SigV4a's are DER, so not all of one length: aws-c-auth and .NET pad
# them with `*`, and the padding counts in no signature that follows.
_SIGNATURES: Final[Mapping[int, bytes]] = {
    64: rb"[0-9a-f]{64}",
    144: rb"(?=[0-9a-f*]{144}\r)(?:[0-9a-f]{2})+\**",
}
_CHUNK_LINES: Final = {
    length: re.compile(rb"([0-9A-Fa-f]{1,%d})(;chunk-signature=)(%b)\r\n" % (MAX_SIZE_DIGITS, signature))
    for length, signature in _SIGNATURES.items()
}
# No SDK sends a space in a trailer; S3 allows them around the value, and they are not part of it.
_TRAILER: Final = rb"[A-Za-z0-9!#$%&'*+.^_`|~-]+:[ \t]*[\x21-\x7e]+[ \t]*"
# Each line ends with CRLF: so write the SDKs for Java, .NET, Kotlin and Swift. minio-go ends a trailer with
# LF and all of them with one CRLF, which is how AWS's documentation prints it (`value\n\r\n`), and S3 and
# MinIO take that too. No third way is known, so none is read. No data can hide between the two: what stands
# here are values without blanks, under names that were announced.
_ENDINGS: Final = {
    length: re.compile(
        rb"((?:%b\r\n)+|(?:%b\n)+\r\n)((?i:x-amz-trailer-signature):)(%b)\r\n\r\n"
        % (_TRAILER, _TRAILER, signature)
    )
    for length, signature in _SIGNATURES.items()
}


class ChunkHeader(Struct, frozen=True):
    """`opening` is all before the signature, as the client spelled it."""

    opening: bytes
    size: int
    signature: bytes


class Ending(Struct, frozen=True):
    """What follows the last chunk's header: `opening`, a signature unless nothing is signed, `closing`.

    `canonical` is what is signed: a line for each trailer, in the order of their names, as Java, .NET and
    Swift's server sort them. S3 itself takes no more than one.
    """

    opening: bytes = b""
    canonical: bytes = b""
    signature: bytes = b""
    closing: bytes = CRLF


def read_chunk_line(line: bytes, signature_length: int) -> ChunkHeader | None:
    found = _CHUNK_LINES[signature_length].fullmatch(line)
    if found is None:
        return None
    size, extension, signature = found.groups()
    return ChunkHeader(size + extension, int(size, 16), signature)


def read_ending(data: bytes, announced: frozenset[str], signature_length: int) -> Ending | str:
    """From all that follows the last chunk's header; or why it is none: one clause."""
    if not announced:
        return Ending() if data == CRLF else "the last chunk is not followed by CRLF and the end of the body"
    found = _ENDINGS[signature_length].fullmatch(data)
    if found is None:
        return (
            "the last chunk is not followed by trailers, x-amz-trailer-signature with "
            f"{signature_length} characters, an empty line and the end of the body"
        )
    lines, label, signature = found.groups()
    split = (line.partition(b":") for line in lines.splitlines() if line)
    trailers = sorted((name.lower(), value.strip()) for name, _, value in split)
    names = [name.decode("ascii") for name, _ in trailers]
    if not announced.issuperset(names):
        return "a trailer came that x-amz-trailer does not name"
    if len(set(names)) < len(names):
        return "a trailer came twice"
    if len(names) < len(announced):
        return "a trailer did not come that x-amz-trailer names"
    canonical = b"".join(b"%b:%b\n" % trailer for trailer in trailers)
    return Ending(lines + label, canonical, signature, CRLF + CRLF)
