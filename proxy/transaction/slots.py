"""Where an application may put a credential of its own: what stands there, whose it is, how it goes.

Reading and clearing find a slot in the same way, so that nothing is left that was read. Where servers differ
in how they find one, whatever some server could read counts.
"""

import re
from base64 import b64decode
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple
from urllib.parse import unquote, unquote_plus

from proxy.core.contract import SESSION_PLACEHOLDERS
from proxy.core.queries import QUERY_AUTH, Query
from proxy.core.request import ClientCredential
from proxy.core.services import CredentialSlots, Placeholder
from proxy.core.structs import Struct

# `Bearer abc`, `Token abc`: one word, and the credential (RFC 9110 §11.4).
_SCHEME: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]+(.+)", re.DOTALL).fullmatch
# What clients send when their key is empty: a scheme, and no credential.
_LONE_SCHEMES: Final = frozenset({"basic", "bearer", "token"})
_SIGNED: Final = frozenset({"aws4-hmac-sha256", "aws4-ecdsa-p256-sha256"})
_SIGNED_BY: Final = re.compile(r"(?:^|[\s,])Credential=([^/,\s]+)").search
# Parameters that say who signed a URL; the signature beside them is no further credential.
_SIGNERS: Final = frozenset({"awsaccesskeyid", "googleaccessid", "x-amz-credential", "x-goog-credential"})
# RFC 6265 separates cookies with semicolons only; readers of Python and Java also do at spaces and commas.
_COOKIE: Final = re.compile(r"(?:^|[\s,])([^\s,=]+)\s*=\s*([^\s,]*)").finditer

Fields = Iterable[tuple[str, str]]


class Placeholders(Struct, frozen=True):
    """What this pod was given in place of credentials; where that is not known, what any pod is given."""

    values: frozenset[str] = frozenset()
    shapes: tuple[re.Pattern[str], ...] = ()

    @classmethod
    def of(cls, placeholders: Iterable[Placeholder], values: Iterable[str] = ()) -> "Placeholders":
        return cls(frozenset(values), tuple(placeholder.shape for placeholder in placeholders))

    def __contains__(self, found: object) -> bool:
        if not isinstance(found, str):
            return False
        if self.values or found in SESSION_PLACEHOLDERS:
            return found in self.values or found in SESSION_PLACEHOLDERS
        return any(shape.fullmatch(found) for shape in self.shapes)


def classify(found: Iterable[str], placeholders: Placeholders) -> ClientCredential:
    """One credential that is not ours is enough, whatever stands beside it."""
    ours = {credential in placeholders for credential in found}
    if False in ours:
        return ClientCredential.FOREIGN
    return ClientCredential.PLACEHOLDER if ours else ClientCredential.ABSENT


def read_slots(fields: Fields, query: Query, slots: CredentialSlots) -> tuple[str, ...]:
    """Each credential that the application sent, without what only wraps it."""
    found = [*_in_fields(fields, slots)]
    if query.raw:
        found += _in_query(query.raw, slots)
    return tuple([credential for credential in found if credential])


def clear_slots(fields: Fields, raw_query: str, slots: CredentialSlots) -> tuple[list[tuple[str, str]], str]:
    """The request without them. All else stays as it is, byte for byte and in its order."""
    headers, cookies, parameters = _names(slots)
    kept: list[tuple[str, str]] = []
    for field in fields:
        key = _header(field[0])
        if key == "cookie" and key not in headers:
            name, value = field
            rest = _without_cookies(value, cookies)
            if rest or not value:
                kept.append((name, rest))
        elif key not in headers:
            kept.append(field)
    return kept, _without_parameters(raw_query, parameters) if raw_query else raw_query


def _in_fields(fields: Fields, slots: CredentialSlots) -> Iterator[str]:
    headers, cookies, _ = _names(slots)
    for name, value in fields:
        key = _header(name)
        if key in headers:
            yield _unwrapped(value.strip())
        elif key == "cookie":
            yield from (held for part in value.split(";") for held in _values_in(part, cookies))


class _Names(NamedTuple):
    """As they are compared."""

    headers: frozenset[str]
    cookies: frozenset[str]
    parameters: frozenset[str]


# Of the slots of each host that was asked lately; those are the same object for every request to it.
_KNOWN: Final[dict[int, tuple[CredentialSlots, _Names]]] = {}
# As many hosts are remembered by a policy.
_MOST_KNOWN: Final = 256


def _names(slots: CredentialSlots) -> _Names:
    found = _KNOWN.get(id(slots))
    if found is not None and found[0] is slots:
        return found[1]
    names = _Names(
        frozenset(map(_header, slots.headers)),
        frozenset(name.casefold() for name in slots.cookies),
        frozenset(name.casefold() for name in slots.query),
    )
    if len(_KNOWN) >= _MOST_KNOWN:
        _KNOWN.clear()
    _KNOWN[id(slots)] = (slots, names)
    return names


# --- headers -----------------------------------------------------------------------------------------


def _header(name: str) -> str:
    """No case counts, and to a CGI-like server an underscore is a hyphen."""
    return name.lower().replace("_", "-")


def _unwrapped(value: str) -> str:
    """The credential in a header's value; empty where there is none."""
    match = _SCHEME(value)
    if match is None:
        return "" if value.lower() in _LONE_SCHEMES else value
    scheme, rest = match[1].lower(), match[2]
    if scheme == "basic":
        return _from_basic(rest)
    if scheme in _SIGNED:
        signer = _SIGNED_BY(rest)
        return signer[1] if signer else rest
    return rest.partition(":")[0] if scheme == "aws" else rest


def _from_basic(encoded: str) -> str:
    """The password; where it is empty, the user name, in which some services take a token."""
    try:
        text = b64decode(encoded, validate=True).decode()
    except ValueError:
        return f"Basic {encoded}"  # as it stands: that is nobody's placeholder
    user, _, password = text.partition(":")
    return password or user


# --- cookies -----------------------------------------------------------------------------------------


def _values_in(part: str, cookies: frozenset[str]) -> list[str]:
    """What could be read as one of these cookies, between two semicolons. PHP decodes their names."""
    return [
        match[2].strip('"') for match in _COOKIE(part) if unquote(match[1]).strip('"').casefold() in cookies
    ]


def _without_cookies(value: str, cookies: frozenset[str]) -> str:
    parts = value.split(";")
    kept = [part for part in parts if not _values_in(part, cookies)]
    return value if len(kept) == len(parts) else ";".join(kept).strip("; \t")


# --- the query ---------------------------------------------------------------------------------------


def _parameter(pair: str) -> str:
    """Its name, to the server that takes the most for it: `Key`, ` key` and `key[]` are `key` to some."""
    return unquote_plus(pair.partition("=")[0]).partition("[")[0].strip().casefold()


def _pairs(raw: str) -> Iterator[tuple[str, str]]:
    """Each pair with the mark before it. Some servers separate at semicolons too."""
    pieces = ["&", *re.split("([&;])", raw)]
    return zip(pieces[0::2], pieces[1::2], strict=True)


def _in_query(raw: str, slots: CredentialSlots) -> Iterator[str]:
    _, _, parameters = _names(slots)
    if not parameters:
        return
    found: list[tuple[str, str]] = []
    for _, pair in _pairs(raw):
        name = _parameter(pair)
        if name in parameters:
            found.append((name, unquote_plus(pair.partition("=")[2])))
    signed = any(name in _SIGNERS for name, _ in found)
    for name, value in found:
        if not (signed and name in QUERY_AUTH):
            # `AKID/date/region/service/aws4_request`
            yield value.partition("/")[0] if name.endswith("-credential") else value


def _without_parameters(raw: str, parameters: frozenset[str]) -> str:
    if not parameters:
        return raw
    kept = [(mark, pair) for mark, pair in _pairs(raw) if _parameter(pair) not in parameters]
    return "".join(mark + pair if index else pair for index, (mark, pair) in enumerate(kept))
