"""AWS Signature Version 4 in the `Authorization` header.

As in "Create a signed AWS API request" (IAM User Guide), in the order of its steps. `sigv4a.py` signs the
same canonical request with other keys; `chunk_chain.py` goes on from the signature that is made here.
"""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from enum import Enum
from functools import lru_cache
from hashlib import sha256
from operator import itemgetter
from typing import Final, NamedTuple
from urllib.parse import quote, quote_from_bytes, unquote_to_bytes

from proxy.aws.signing_keys import signing_keys
from proxy.core.secret import Secret
from proxy.core.structs import Struct

ALGORITHM: Final = "AWS4-HMAC-SHA256"
TERMINATION: Final = "aws4_request"
TOKEN_HEADER: Final = "x-amz-security-token"  # noqa: S105 - a header's name
# A session of S3 Express has its own.
EXPRESS_TOKEN_HEADER: Final = "x-amz-s3session-token"  # noqa: S105

# Never signed, as in botocore: what stands between may change them (a proxy, a tracer).
UNSIGNED_HEADERS: Final = frozenset({
    "authorization", "baggage", "connection", "expect", "keep-alive", "proxy-authenticate",
    "proxy-authorization", "te", "traceparent", "tracestate", "trailer", "transfer-encoding", "upgrade",
    "user-agent", "x-amzn-trace-id",
})  # fmt: skip
# What a service wants signed, where it is there. Clients sign more (`content-length`, `accept`, even
# `transfer-encoding`), which our lanes and the network may write anew.
SIGNABLE_HEADERS: Final = frozenset({"host", "content-type", "content-md5", "content-encoding", "range"})

type Headers = Sequence[tuple[str, str]]
type Added = tuple[tuple[str, str | Secret], ...]


class Style(Enum):
    """How a service reads a path: S3 takes it for a key, the others normalise it and encode it twice."""

    S3 = "s3"
    GENERAL = "general"


class SigningKeys(Struct, frozen=True):
    access_key_id: str
    secret_access_key: Secret
    session_token: Secret | None = None


# These three are made for every request, and a tuple costs a third of a frozen dataclass.
class SigningScope(NamedTuple):
    """When, where and for which service a signature counts."""

    moment: datetime
    region: str
    service: str

    @property
    def timestamp(self) -> str:
        return timestamp(self.moment)

    @property
    def text(self) -> str:
        return f"{self.timestamp[:8]}/{self.region}/{self.service}/{TERMINATION}"


class Unsigned(NamedTuple):
    """A request as it goes out: `path` and `query` are percent-encoded already, `headers` are those to sign.

    They name the host, and to S3 also `x-amz-content-sha256`, whose value is the `payload_hash`. A header's
    text is its bytes, read as Latin-1.
    """

    method: str
    path: str
    query: str
    headers: tuple[tuple[str, str], ...]
    payload_hash: str


class Signed(NamedTuple):
    """The headers that the request gets besides its own, and the signature, which a chain of chunks goes on
    from."""

    headers: Added
    seed: str


def signable(name: str) -> bool:
    """Whether a header, by its name in lower case, is one that we sign."""
    return name in SIGNABLE_HEADERS or name.startswith("x-amz-")


def payload_hash(body: bytes) -> str:
    return sha256(body).hexdigest()


def timestamp(moment: datetime) -> str:
    """`20260304T120000Z`."""
    return moment.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


# --- 1: the canonical request ------------------------------------------------------------------------

# What is encoded as AWS encodes it: unreserved characters stand for themselves, all others in upper case.
# Most clients write so, and to see that takes a tenth of what it takes to decode and to encode again.
_ESCAPE: Final = "%(?:[0189A-F][0-9A-F]|2[0-9A-C]|3[A-F]|40|5[B-E]|60|7[BCDF])"
_TEXT: Final = rf"(?:[A-Za-z0-9\-._~]++|{_ESCAPE})"
_IS_ENCODED: Final = re.compile(rf"{_TEXT}*+").fullmatch
_IS_ENCODED_PATH: Final = re.compile(rf"/(?:[A-Za-z0-9\-._~/]++|{_ESCAPE})*+").fullmatch
_IS_ENCODED_QUERY: Final = re.compile(rf"{_TEXT}++={_TEXT}*+(?:&{_TEXT}++={_TEXT}*+)*+").fullmatch


def canonical_path(path: str, style: Style) -> str:
    if style is Style.S3:
        return path if _IS_ENCODED_PATH(path) else quote_from_bytes(unquote_to_bytes(path), "/~") or "/"
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment not in {"", "."}:
            kept.append(segment)
    closed = "/" if kept and path.endswith("/") else ""
    # What is left is encoded once more.
    return "/" + quote("/".join(kept), safe="/~") + closed


def canonical_query(query: str) -> str:
    """Sorted by name and then by value, as they are encoded; a name without a value gets an empty one.

    A `+` is a plus here and a space to a decoder of forms: whoever means the space has to write `%20`.
    """
    if not query:
        return ""
    if _IS_ENCODED_QUERY(query):
        # With the lowest character between them, a name and its value sort as one text.
        pairs = query.replace("=", "\0").split("&")
        pairs.sort()
        return "&".join(pairs).replace("\0", "=")
    encoded = sorted(
        (_encoded(name), _encoded(value))
        for name, _, value in (pair.partition("=") for pair in query.split("&") if pair)
    )
    return "&".join(f"{name}={value}" for name, value in encoded)


def _encoded(text: str) -> str:
    return text if _IS_ENCODED(text) else quote_from_bytes(unquote_to_bytes(text), "~")


class _Layout(NamedTuple):
    """Where the values of a request's headers stand in the canonical ones."""

    picked: Callable[[list[str]], object]
    template: str
    names: str


@lru_cache(maxsize=128)  # An application has a handful of kinds of requests.
def _layout(names: tuple[str, ...]) -> _Layout:
    """Names in lower case and in order; several of one name in one line, in the order in which they came."""
    places: dict[str, list[int]] = {}
    for place, given in enumerate(names):
        name = given.lower()
        if name not in UNSIGNED_HEADERS:
            places.setdefault(name, []).append(place)
    order = sorted(places)
    lines = (f"{name.replace('%', '%%')}:{','.join(['%s'] * len(places[name]))}\n" for name in order)
    picked = itemgetter(*(place for name in order for place in places[name]))
    return _Layout(picked, "".join(lines), ";".join(order))


def canonical_headers(headers: Headers) -> tuple[str, str]:
    """Their lines and their names. Values are trimmed, and a run of white space is one space."""
    picked, template, names = _layout(tuple([name for name, _ in headers]))
    values = [value for _, value in headers]
    if "".join(values).isascii():
        tidy = [" ".join(value.split()) for value in values]
    else:
        # As bytes: to a `str`, half of some UTF-8 characters is white space (0x85, 0xA0).
        in_bytes = (b" ".join(value.encode("latin-1").split()) for value in values)
        tidy = [value.decode("latin-1") for value in in_bytes]
    return template % picked(tidy), names


def canonical_request(request: Unsigned, brought: Headers, style: Style) -> tuple[str, str]:
    """The hash of the request, and the names of the headers in it: its own, and what a signature brings."""
    method, path, query, headers, payload = request
    lines, names = canonical_headers((*headers, *brought))
    text = f"{method}\n{canonical_path(path, style)}\n{canonical_query(query)}\n{lines}\n{names}\n{payload}"
    return sha256(text.encode("latin-1")).hexdigest(), names


# --- 2: the string to sign, and the signature --------------------------------------------------------


@lru_cache(maxsize=32)  # Now, now to hosts whose clocks are off, and the regions of one pod.
def _dated(second: int, region: str, service: str) -> tuple[str, str, str]:
    """The timestamp, the scope, and how a string to sign begins."""
    scope = SigningScope(datetime.fromtimestamp(second, UTC), region, service)
    return scope.timestamp, scope.text, f"{ALGORITHM}\n{scope.timestamp}\n{scope.text}\n"


def sign(
    request: Unsigned,
    keys: SigningKeys,
    scope: SigningScope,
    style: Style,
    *,
    token_header: str = TOKEN_HEADER,
) -> Signed:
    moment, region, service = scope
    at, where, opening = _dated(int(moment.timestamp()), region, service)
    dated = (("x-amz-date", at),)
    brought, added = with_token(dated, keys.session_token, token_header)
    hashed, names = canonical_request(request, brought, style)
    key = signing_keys.of(keys.secret_access_key, where)
    seed = key.sign(f"{opening}{hashed}".encode())
    return Signed((*added, authorization(ALGORITHM, keys, where, names, seed)), seed)


# --- 3: onto the request -----------------------------------------------------------------------------


def with_token(
    headers: tuple[tuple[str, str], ...], token: Secret | None, name: str
) -> tuple[tuple[tuple[str, str], ...], Added]:
    """What a signature brings: as it is signed, and as it is sent."""
    if token is None:
        return headers, headers
    return (*headers, (name, token.reveal().decode("latin-1"))), (*headers, (name, token))


def authorization(
    algorithm: str, keys: SigningKeys, scope: str, names: str, signature: str
) -> tuple[str, Secret]:
    text = (
        f"{algorithm} Credential={keys.access_key_id}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    return "authorization", Secret(text.encode("latin-1"))
