"""Where a body ends (RFC 9112 §6), read so that nobody before or behind us can see another end.

RFC 9112 lets a recipient mend some of what is refused here: a repeated equal length, a length beside a
coding. Request smuggling lives on servers that mend differently.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from proxy.core.structs import Struct
from proxy.wire.outcomes import BadHead, malformed

# The largest length that C, Go and Java servers hold; one digit more wraps around in some.
MAX_LENGTH: Final = 2**63 - 1

# Zeros in front are one more thing that servers read differently.
_DIGITS = re.compile(r"0|[1-9][0-9]{0,18}").fullmatch
MAX_DIGITS: Final = 19


class NoBody(Struct, frozen=True):
    pass


class Length(Struct, frozen=True):
    size: int


class Chunked(Struct, frozen=True):
    pass


class UntilClose(Struct, frozen=True):
    """Of a response only: its body ends with the connection (RFC 9112 §6.3)."""


type Framing = NoBody | Length | Chunked
type ResponseFraming = NoBody | Length | Chunked | UntilClose

NO_BODY: Final = NoBody()
CHUNKED: Final = Chunked()
UNTIL_CLOSE: Final = UntilClose()


def has_content(framing: ResponseFraming) -> bool:
    """Whether any byte of a body may follow."""
    return not isinstance(framing, NoBody) and not (isinstance(framing, Length) and not framing.size)


def read_framing(lengths: Sequence[str], codings: Sequence[str], minor_version: int) -> Framing | BadHead:
    """From the values of all Content-Length and all Transfer-Encoding fields."""
    if codings:
        if minor_version == 0:
            return malformed("Transfer-Encoding in HTTP/1.0 (RFC 9112 §6.1)")
        if len(codings) > 1 or codings[0].lower() != "chunked":
            return malformed("Transfer-Encoding other than `chunked` (RFC 9112 §6.1)")
        if lengths:
            return malformed("Content-Length beside Transfer-Encoding (RFC 9112 §6.2)")
        return CHUNKED
    if not lengths:
        return NO_BODY
    if len(lengths) > 1:
        return malformed("several Content-Length fields (RFC 9112 §6.3)")
    length = _length_of(lengths[0]) if len(lengths[0]) <= MAX_DIGITS else None
    return length or malformed("Content-Length is not a number of bytes (RFC 9110 §8.6)")


@lru_cache(maxsize=512)  # Of what an application asks for, much has the same size; an entry is small.
def _length_of(text: str) -> Length | None:
    size = read_length(text)
    return None if size is None else Length(size)


def read_length(text: str) -> int | None:
    """Digits only: no sign, no list, no `0x`, and not the other digits that `int` reads."""
    if not _DIGITS(text):
        return None
    size = int(text)
    return size if size <= MAX_LENGTH else None
