"""The head of one request, whatever the HTTP version: what both lanes hand to the transaction."""

from collections.abc import Sequence
from enum import Enum
from typing import Final, assert_never

from proxy.core.reasons import Reason
from proxy.core.structs import Struct
from proxy.wire.authority import read_authority
from proxy.wire.framing import has_content
from proxy.wire.h2_request import h2_request_fault
from proxy.wire.outcomes import BadHead, HeadFault
from proxy.wire.request_head import RequestHead
from proxy.wire.targets import AbsoluteForm, AsteriskForm, AuthorityForm, OriginForm, split_target


class HttpVersion(Enum):
    HTTP1 = "HTTP/1.1"
    HTTP2 = "HTTP/2"


class Head(Struct, frozen=True):
    """`target` is in origin form (RFC 9112 §3.2.1). `authority` is the one Host or `:authority`.

    `fields` are all the others, in their order and with their names as they were sent.
    """

    method: str
    target: str
    authority: str
    fields: tuple[tuple[str, str], ...]
    version: HttpVersion
    has_body: bool

    def __repr__(self) -> str:
        """Target and fields may hold a credential, and a repr ends up in tracebacks and logs."""
        return f"<Head {self.method}, {len(self.fields)} fields, {self.version.value}>"

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key.lower() == name]

    @property
    def declared_length(self) -> int:
        """The body's length, as far as the fields say it. One that is no number frames nothing: see
        proxy/wire."""
        length = next(iter(self.values("content-length")), "0")
        return int(length) if length.isascii() and length.isdigit() else 0

    @property
    def is_grpc(self) -> bool:
        """GRPC over HTTP/2: its clients read `grpc-status`, and no body of any other kind."""
        types = self.values("content-type")
        return self.version is HttpVersion.HTTP2 and any(
            value.lower().startswith("application/grpc") for value in types
        )

    @property
    def wants_websocket(self) -> bool:
        """A WebSocket handshake (RFC 6455 §4.1): the one upgrade that is let through."""
        upgrades = ",".join(self.values("upgrade")).lower()
        return bool(
            upgrades
            and self.version is HttpVersion.HTTP1
            and self.method == "GET"
            and not self.has_body
            and upgrades.strip() == "websocket"
            and "upgrade" in options_of(self)
        )


class HeadProblem(Struct, frozen=True):
    """Why a head cannot be judged: which refusal it earns, and one clause for people."""

    reason: Reason
    message: str


_REASONS: Final = {
    HeadFault.MALFORMED: Reason.MALFORMED_REQUEST,
    HeadFault.TOO_LARGE: Reason.HEADERS_TOO_LARGE,
}


def problem_of(bad: BadHead) -> HeadProblem:
    return HeadProblem(_REASONS[bad.fault], bad.detail)


def options_of(head: Head) -> frozenset[str]:
    """What the Connection header names, in lower case (RFC 9110 §7.6.1)."""
    names = ",".join(head.values("connection")).lower().split(",")
    return frozenset(name.strip() for name in names) - {""}


def head_of_http1(request: RequestHead) -> Head | HeadProblem:
    """From a head that `wire.request_head` has read."""
    # There is one, but for a CONNECT of HTTP/1.0: the reader saw to that.
    authority, fields = "", request.headers
    for at, (name, value) in enumerate(fields):
        if name.lower() == "host":
            authority, fields = value, (*fields[:at], *fields[at + 1 :])
            break
    form = split_target(request)
    target = "*"
    match form:
        case OriginForm():
            target = form.target
        case AsteriskForm():
            pass
        case AbsoluteForm(scheme="https") if form.authority == read_authority(authority):
            target = form.target
        case AbsoluteForm():
            message = "the absolute URL in the request line is not https, or names another host than Host"
            return HeadProblem(Reason.NAME_MISMATCH, message)
        case AuthorityForm():
            return HeadProblem(Reason.METHOD_FORBIDDEN, "CONNECT within a connection opens a tunnel")
        case BadHead():
            return problem_of(form)
        case _:
            assert_never(form)
    return Head(request.method, target, authority, fields, HttpVersion.HTTP1, has_content(request.framing))


def head_of_http2(fields: Sequence[tuple[bytes, bytes]], *, ended: bool) -> Head | HeadProblem:
    """From a header block as HPACK decoded it. Our own check: the library's varies with its release."""
    bad = h2_request_fault(fields)
    if bad is not None:
        return problem_of(bad)
    text = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in fields]
    pseudo = {name: value for name, value in text if name.startswith(":")}
    hosts = [value for name, value in text if name == "host"]
    authority = pseudo.get(":authority") or hosts[0]
    kept = tuple(field for field in text if not field[0].startswith(":") and field[0] != "host")
    return Head(pseudo[":method"], pseudo[":path"], authority, kept, HttpVersion.HTTP2, not ended)
