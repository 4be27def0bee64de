"""No secret in what is said about a source: an identity provider may quote what it was sent."""

import json
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from string import ascii_letters, digits
from typing import Final
from urllib.parse import quote, quote_plus

from proxy.core.secret import Secret

# Shorter ones are words: to blot out every `admin` would leave nothing to read.
LEAST_BYTES: Final = 6
# A JSON object in base64url and what hangs on it with dots: a JWS or JWE in its compact form (RFC 7515 §3.1,
# RFC 7516 §3.1), whosesoever it is and wherever it was cut. `{` and a quote or white space begin so, and
# hardly a word or a host name does. Before it may stand an urlencoded character, but no part of a word.
_TOKEN: Final = re.compile(
    r"(?:(?<![A-Za-z0-9])|(?<=%[0-9A-Fa-f]{2}))e(?:y[ABIJ]|w[klop01])[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*)*"
)
_BASE64: Final = frozenset(ascii_letters + digits + "+/_-")
_SCHEME: Final = re.compile(rb"(?i)\A(?:bearer|basic|token) +")
_BLOT: Final = "(removed)"
# What `answers.shown` puts where it cuts.
_CUT: Final = "…"


def scrubbed(message: str, secrets: Iterable[Secret]) -> str:
    """The message without any of these, as they are, in base64 and as form fields, and without any JWT.

    Everything is looked for in the message as it came, so that of two secrets that overlap no end is left.
    """
    spans = [match.span() for match in _TOKEN.finditer(message)]
    values = {secret.reveal() for secret in secrets}
    # A server that quotes a header seldom quotes the scheme.
    for value in values | {_SCHEME.sub(b"", value) for value in values}:
        if len(value) >= LEAST_BYTES:
            for form in _forms(value):
                spans += _found(form, message)
            for form in _base64_forms(value):
                spans += [_whole_run(span, message) for span in _found(form, message)]
    said, end = "", 0
    for first, last in sorted(spans):
        if last > end:
            if first >= end:
                said += message[end:first] + _BLOT
            end = last
    return said + message[end:]


def _forms(value: bytes) -> set[str]:
    plain = {value.decode("latin-1"), value.decode("utf-8", "replace")}
    # As `answers.shown` makes one line of several.
    lines = {" ".join("".join(c if c.isprintable() else " " for c in text).split()) for text in plain}
    encoded = {quote_plus(value), quote(value, safe="")}
    lower = {re.sub(r"%..", lambda octet: octet[0].lower(), text) for text in encoded}
    from html import escape  # noqa: PLC0415 - it brings two thousand names of characters along

    # As a server that answers in JSON or HTML would quote it, and one that shows bytes.
    escaped = {json.dumps(text)[1:-1] for text in plain} | {escape(text) for text in plain} | {value.hex()}
    every = plain | lines | encoded | lower | escaped
    return {form for form in every if len(form.encode()) >= LEAST_BYTES}


def _base64_forms(value: bytes) -> set[str]:
    """What stands in base64 whatever stands before and after it, as in `Basic base64(user:password)`."""
    found = set()
    for before in range(3):
        whole = b64encode(bytes(before) + value).decode().rstrip("=")
        # Characters that are made of a neighbour's bits too are left out.
        first = (before * 8 + 5) // 6
        last = (before + len(value)) * 8 // 6
        found |= {whole[first:last], whole[first:last].translate(str.maketrans("+/", "-_"))}
    return found


def _found(form: str, message: str) -> Iterator[tuple[int, int]]:
    """Where it stands, whole, or begun at the end where the message was cut."""
    at = message.find(form)
    while at >= 0:
        yield at, at + len(form)
        at = message.find(form, at + 1)
    said = message.removesuffix(_CUT)
    for length in range(min(len(form) - 1, len(said)), LEAST_BYTES - 1, -1):
        if said.endswith(form[:length]):
            yield len(said) - length, len(said)
            break


def _whole_run(span: tuple[int, int], message: str) -> tuple[int, int]:
    """With the characters of its neighbours' bits, and so with all that was encoded together with it."""
    first, last = span
    while first > 0 and message[first - 1] in _BASE64:
        first -= 1
    while last < len(message) and message[last] in _BASE64:
        last += 1
    return first, last
