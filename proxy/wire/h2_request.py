"""The field list of an HTTP/2 request, judged as it came out of HPACK (RFC 9113 §8).

The h2 release that mitmproxy pins lets several Host fields and stray line ends through, so this judges again.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from proxy.wire.authority import read_authority
from proxy.wire.fields import (
    MAX_FIELDS,
    MAX_HEAD_BYTES,
    MAX_METHOD,
    NOT_IN_TOKEN,
    NOT_VISIBLE,
    field_fault,
    shown,
    stray,
    value_fault,
)
from proxy.wire.framing import read_length
from proxy.wire.outcomes import BadHead, malformed, too_large

type RawField = tuple[bytes, bytes]

# RFC 9113 §6.5.2 counts this much for each field besides its name and value.
FIELD_OVERHEAD: Final = 32
HTTPS_PORT: Final = 443

# RFC 9113 §8.3.1. `:protocol` (RFC 8441) is missing on purpose: it opens a tunnel, and may only be sent after
# a setting that we do not send.
_PSEUDO: Final = frozenset({":method", ":scheme", ":authority", ":path"})
# RFC 9113 §8.2.2. They mean something to one connection of HTTP/1, and smuggle when they are turned into it.
_CONNECTION_SPECIFIC: Final = frozenset({
    "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade",
})  # fmt: skip

# RFC 9110 §6.5.1: what is needed before the body, or a recipient could merge it into the head after that was
# judged. Framing, routing, modifiers, credentials and the body's form (the list of RFC 7230 §4.1.2).
FORBIDDEN_TRAILERS: Final = frozenset({
    "content-length", "transfer-encoding", "trailer",
    "host",
    "cache-control", "expect", "if-match", "if-modified-since", "if-none-match", "if-range",
    "if-unmodified-since", "max-forwards", "pragma", "range", "te",
    "authorization", "cookie", "proxy-authenticate", "proxy-authorization", "set-cookie", "www-authenticate",
    "content-encoding", "content-range", "content-type",
})  # fmt: skip


def h2_request_fault(fields: Sequence[RawField]) -> BadHead | None:
    """What is wrong with a request's field list; None where it may be judged further."""
    if fault := _size_fault(fields):
        return fault
    pseudo: dict[str, str] = {}
    regular: list[tuple[str, str]] = []
    for raw_name, raw_value in fields:
        if detail := _field_fault(raw_name, raw_value):
            return malformed(detail)
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        if not name.startswith(":"):
            regular.append((name, value))
            continue
        if regular:
            return malformed(f"{shown(name)} stands after a regular field (RFC 9113 §8.3)")
        if name not in _PSEUDO:
            return malformed(f"{shown(name)} is no pseudo-header of a request (RFC 9113 §8.3)")
        if name in pseudo:
            return malformed(f"{shown(name)} is there twice (RFC 9113 §8.3)")
        pseudo[name] = value
    hosts = [value for name, value in regular if name == "host"]
    lengths = [value for name, value in regular if name == "content-length"]
    detail = (
        _pseudo_fault(pseudo) or _authority_fault(pseudo.get(":authority"), hosts) or _length_fault(lengths)
    )
    return malformed(detail) if detail else None


def h2_trailers_fault(fields: Sequence[RawField]) -> BadHead | None:
    """What is wrong with the fields after a body."""
    if fault := _size_fault(fields):
        return fault
    for raw_name, raw_value in fields:
        name = raw_name.decode("latin-1")
        if name.startswith(":"):
            return malformed(f"{shown(name)} in the trailers: a pseudo-header (RFC 9113 §8.1)")
        if detail := _field_fault(raw_name, raw_value):
            return malformed(detail)
        if name in FORBIDDEN_TRAILERS:
            return malformed(f"{shown(name)} in the trailers (RFC 9110 §6.5.1)")
    return None


def _size_fault(fields: Iterable[RawField]) -> BadHead | None:
    sizes = [len(name) + len(value) + FIELD_OVERHEAD for name, value in fields]
    if len(sizes) > MAX_FIELDS:
        return too_large(f"more than {MAX_FIELDS} fields")
    if sum(sizes) > MAX_HEAD_BYTES:
        return too_large(f"the field list is larger than {MAX_HEAD_BYTES} bytes")
    return None


def _field_fault(raw_name: bytes, raw_value: bytes) -> str | None:
    """RFC 9113 §8.2: the rules of one field, pseudo-header or not."""
    name = raw_name.decode("latin-1")
    if detail := field_fault(raw_name.removeprefix(b":"), b"") or value_fault(
        name, raw_value.decode("latin-1")
    ):
        return detail
    if name != name.lower():
        return f"the field name {shown(name)} is not in lower case (RFC 9113 §8.2.1)"
    if raw_value != raw_value.strip(b" \t"):
        return f"whitespace around the value of {shown(name)} (RFC 9113 §8.2.1)"
    if name in _CONNECTION_SPECIFIC:
        return f"{shown(name)} is a field of HTTP/1 connections (RFC 9113 §8.2.2)"
    if name == "te" and raw_value.lower() != b"trailers":
        return "`te` is not `trailers` (RFC 9113 §8.2.2)"
    return None


def _pseudo_fault(pseudo: dict[str, str]) -> str | None:
    """RFC 9113 §8.3.1. Tunnels are refused: we would carry what we cannot judge."""
    if pseudo.get(":method") == "CONNECT":
        return "CONNECT opens a tunnel, which is not served over HTTP/2 (RFC 9113 §8.5)"
    for name in (":method", ":scheme", ":path"):
        if name not in pseudo:
            return f"`{name}` is missing (RFC 9113 §8.3.1)"
    method, scheme, path = pseudo[":method"], pseudo[":scheme"], pseudo[":path"]
    if not method or len(method) > MAX_METHOD or stray(method, NOT_IN_TOKEN):
        return f"`:method` is not a token of at most {MAX_METHOD} characters (RFC 9110 §9.1)"
    if scheme != "https":
        return "`:scheme` is not https (RFC 9113 §8.3.1)"
    if found := stray(path, NOT_VISIBLE):
        return f"`:path` holds {found} (RFC 9113 §8.3.1)"
    if "#" in path:
        return "`:path` has a fragment (RFC 9113 §8.3.1)"
    if not path.startswith("/") and (method, path) != ("OPTIONS", "*"):
        return "`:path` does not start with a slash (RFC 9113 §8.3.1)"
    return None


def _authority_fault(authority: str | None, hosts: Sequence[str]) -> str | None:
    """RFC 9113 §8.3.1: one name. A request may lack both fields there; here it would go nowhere."""
    if len(hosts) > 1:
        return "several `host` fields (RFC 9110 §7.2)"
    named = hosts if authority is None else [authority, *hosts]
    if not named:
        return "neither `:authority` nor `host` is there (RFC 9113 §8.3.1)"
    read = [read_authority(text) for text in named]
    if None in read:
        return "`:authority` or `host` is not a host with an optional port (RFC 9113 §8.3.1)"
    if len({(one.host, one.port or HTTPS_PORT) for one in read if one}) > 1:
        return "`host` differs from `:authority` (RFC 9113 §8.3.1)"
    return None


def _length_fault(lengths: Sequence[str]) -> str | None:
    if len(lengths) > 1:
        return "several `content-length` fields (RFC 9110 §8.6)"
    if lengths and read_length(lengths[0]) is None:
        return "`content-length` is not a number of bytes (RFC 9110 §8.6)"
    return None
