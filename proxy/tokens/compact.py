"""The compact form of a signed token: three parts of base64url with dots between them (RFC 7515 §3.1)."""

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final

from proxy.core.structs import Struct
from proxy.tokens.strict_json import JsonObject, NotJson, read_object

# RFC 7515 §2: the URL-safe alphabet without padding. Python's decoder skips what it does not know.
_BASE64URL: Final = re.compile(rb"[A-Za-z0-9_-]*").fullmatch
_PARTS: Final = 3
# A kubelet's token has 1 to 2 KiB; with long names and a dozen audiences it stays below 4. Servers that take
# tokens in a header end at 8 to 16 KiB, so a longer one could not be used anyway.
MAX_TOKEN_BYTES: Final = 16 * 1024


class Compact(Struct, frozen=True):
    """A token in its parts. Nothing of it is proved."""

    header: JsonObject
    # Left as it is: nobody reads claims before the signature holds.
    payload: bytes
    signature: bytes
    # What the signature is made over: the first two parts as they were sent, and the dot.
    signed: bytes


class NotCompact(Struct, frozen=True):
    """What keeps bytes from being a token, without one of them."""

    message: str


def read_compact(token: bytes) -> Compact | NotCompact:
    """`token` is a file's content: the line break that `echo` and editors leave at the end is forgiven, and
    nothing else is."""
    token = token.removesuffix(b"\n")
    if not token:
        return NotCompact("the token is empty")
    parts = token.split(b".", _PARTS)
    if len(parts) != _PARTS:
        return NotCompact("the token does not have three parts with dots between them")
    decoded = [from_base64url(part) for part in parts]
    match decoded:
        case bytes(header), bytes(payload), bytes(signature):
            pass
        case _:
            names = ("header", "claims", "signature")
            return NotCompact(f"the token's {names[decoded.index(None)]} cannot be read as base64url")
    read = read_object(header)
    if isinstance(read, NotJson):
        return NotCompact(f"the token's header {read.message}")
    return Compact(read, payload, signature, token[: token.rindex(b".")])


def signing_input(header: JsonObject, claims: JsonObject) -> bytes:
    return b".".join(
        to_base64url(json.dumps(part, separators=(",", ":"), allow_nan=False).encode())
        for part in (header, claims)
    )


def to_base64url(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")


def from_base64url(text: bytes) -> bytes | None:
    """None for any text that `to_base64url` would not write, so that one value has one form.

    The last character may carry bits that belong to no byte. Were they skipped, a token could be changed
    and still be the same to us, and another one to whoever compares its text.
    """
    if not _BASE64URL(text) or len(text) % 4 == 1:
        return None
    data = urlsafe_b64decode(text + b"=" * (-len(text) % 4))
    return data if to_base64url(data) == text else None
