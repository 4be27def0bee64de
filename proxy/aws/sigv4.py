"""AWS Signature Version 4 in the `Authorization` header.

As in "Create a signed AWS API request" (IAM User Guide), in the order of its steps. Each step is a function
of its own, so that other places for a signature (chunks, a query) and other keys can stand beside it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from hmac import digest
from typing import Final
from urllib.parse import quote

from proxy.core.secret import Secret

ALGORITHM: Final = "AWS4-HMAC-SHA256"
TERMINATION: Final = "aws4_request"
# Changed by what stands between: a proxy, a tracer, a user agent's switch.
UNSIGNED_HEADERS: Final = frozenset(
    {"authorization", "expect", "transfer-encoding", "user-agent", "x-amzn-trace-id"}
)

Headers = Iterable[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class SigningKeys:
    access_key_id: str
    secret_access_key: Secret
    session_token: Secret | None = None


@dataclass(frozen=True, slots=True)
class SigningScope:
    """When, where and for which service a signature counts."""

    moment: datetime
    region: str
    service: str

    @property
    def timestamp(self) -> str:
        return self.moment.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")

    @property
    def text(self) -> str:
        return f"{self.timestamp[:8]}/{self.region}/{self.service}/{TERMINATION}"


@dataclass(frozen=True, slots=True)
class Unsigned:
    """A request as it goes out: `path` and `query` are percent-encoded already, `headers` name the host."""

    method: str
    path: str
    query: str
    headers: tuple[tuple[str, str], ...]
    payload_hash: str


# --- 1: the canonical request ------------------------------------------------------------------------


def payload_hash(body: bytes) -> str:
    return sha256(body).hexdigest()


def canonical_path(path: str) -> str:
    """As every service but S3 wants it: no dot and no empty segments, and what is left encoded once more."""
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment not in {"", "."}:
            kept.append(segment)
    closed = "/" if kept and path.endswith("/") else ""
    return "/" + quote("/".join(kept), safe="/~") + closed


def canonical_query(query: str) -> str:
    """Sorted by name, then by value; a name without a value gets an empty one."""
    if not query:
        return ""
    pairs = (pair.partition("=") for pair in query.split("&"))
    return "&".join(f"{name}={value}" for name, value in sorted((name, value) for name, _, value in pairs))


def canonical_headers(headers: Headers) -> tuple[tuple[str, str], ...]:
    """Names in lower case and in order, values trimmed, several of one name joined."""
    values: dict[str, list[str]] = {}
    for name, value in headers:
        if name.lower() not in UNSIGNED_HEADERS:
            values.setdefault(name.lower(), []).append(" ".join(value.split()))
    return tuple((name, ",".join(values[name])) for name in sorted(values))


def canonical_request(request: Unsigned, path: str, headers: tuple[tuple[str, str], ...]) -> str:
    """`path` and `headers` in their canonical form, whichever the service wants."""
    lines = "".join(f"{name}:{value}\n" for name, value in headers)
    signed = ";".join(name for name, _ in headers)
    query = canonical_query(request.query)
    return f"{request.method}\n{path}\n{query}\n{lines}\n{signed}\n{request.payload_hash}"


# --- 2: the string to sign ---------------------------------------------------------------------------


def string_to_sign(scope: SigningScope, canonical: str) -> str:
    return "\n".join((ALGORITHM, scope.timestamp, scope.text, sha256(canonical.encode()).hexdigest()))


# --- 3: the key, and the signature -------------------------------------------------------------------


def signing_key(secret_access_key: Secret, scope: SigningScope) -> bytes:
    """A key for one day, region and service."""
    key = b"AWS4" + secret_access_key.reveal()
    for part in scope.text.split("/"):
        key = digest(key, part.encode(), "sha256")
    return key


def signature(key: bytes, text: str) -> str:
    return digest(key, text.encode(), "sha256").hex()


# --- 4: onto the request -----------------------------------------------------------------------------


def signed_headers(
    request: Unsigned, keys: SigningKeys, scope: SigningScope
) -> tuple[tuple[str, str | Secret], ...]:
    """All headers of the request, with those that sign it."""
    token = keys.session_token
    added = [("x-amz-date", scope.timestamp)]
    if token is not None:
        added.append(("x-amz-security-token", token.reveal().decode("latin-1")))
    headers = canonical_headers((*request.headers, *added))
    canonical = canonical_request(request, canonical_path(request.path), headers)
    found = signature(signing_key(keys.secret_access_key, scope), string_to_sign(scope, canonical))
    authorization = (
        f"{ALGORITHM} Credential={keys.access_key_id}/{scope.text}, "
        f"SignedHeaders={';'.join(name for name, _ in headers)}, Signature={found}"
    )
    return (
        *request.headers,
        ("x-amz-date", scope.timestamp),
        *((("x-amz-security-token", token),) if token is not None else ()),
        ("authorization", Secret(authorization.encode())),
    )
