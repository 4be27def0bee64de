"""The four forms of an HTTP/1 request target (RFC 9112 §3.2)."""

import re

from proxy.core.structs import Struct
from proxy.wire.authority import Authority, read_authority
from proxy.wire.outcomes import BadHead, malformed
from proxy.wire.request_head import RequestHead


class OriginForm(Struct, frozen=True):
    target: str


class AbsoluteForm(Struct, frozen=True):
    """What a client sends to a proxy. `target` is what goes to the origin server: it has no authority."""

    scheme: str  # http or https
    authority: Authority
    target: str


class AuthorityForm(Struct, frozen=True):
    host: str
    port: int


class AsteriskForm(Struct, frozen=True):
    pass


type TargetForm = OriginForm | AbsoluteForm | AuthorityForm | AsteriskForm

_ABSOLUTE = re.compile(r"(https?)://([^/?]*)(.*)", re.IGNORECASE).fullmatch


def split_target(head: RequestHead) -> TargetForm | BadHead:
    method, target = head.method, head.target
    if "#" in target:
        return malformed("the target has a fragment (RFC 9112 §3.2)")
    if method == "CONNECT":
        return _read_authority_form(target)
    if target == "*":
        if method != "OPTIONS":
            return malformed("the target is `*`, which only OPTIONS takes (RFC 9112 §3.2.4)")
        return AsteriskForm()
    if target.startswith("/"):
        return OriginForm(target)
    return _read_absolute_form(method, target)


def _read_authority_form(target: str) -> AuthorityForm | BadHead:
    """RFC 9112 §3.2.3: the port is never left out."""
    authority = read_authority(target)
    if authority is None or authority.port is None:
        return malformed("the target of a CONNECT is not a host and a port (RFC 9112 §3.2.3)")
    return AuthorityForm(authority.host, authority.port)


def _read_absolute_form(method: str, target: str) -> AbsoluteForm | BadHead:
    url = _ABSOLUTE(target)
    if url is None:
        return malformed("the target is neither a path nor an http or https URL (RFC 9112 §3.2)")
    authority = read_authority(url[2])
    if authority is None:
        return malformed("the target's authority is not a host with an optional port (RFC 9112 §3.2.2)")
    rest = url[3]
    if not rest.startswith("/"):
        # RFC 9112 §3.2.4: OPTIONS about a whole server is sent on as `*`. §3.2.1: an empty path is `/`.
        rest = "*" if method == "OPTIONS" and not rest else f"/{rest}"
    return AbsoluteForm(url[1].lower(), authority, rest)
