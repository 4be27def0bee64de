"""What the transaction says, written into mitmproxy's messages."""

from collections.abc import Iterable
from typing import Final

from hpack import NeverIndexedHeaderTuple
from mitmproxy import http
from mitmproxy.net.http.status_codes import RESPONSES

from proxy.core.secret import Secret
from proxy.lanes.interface import shown
from proxy.transaction.head import Head, HttpVersion
from proxy.transaction.opening import Forward
from proxy.transaction.refusals import OwnAnswer
from proxy.wire.fields import NOT_IN_TOKEN, NOT_IN_VALUE

CONTINUE: Final = "100-continue"


def write_request(
    request: http.Request, opening: Forward, head: Head, address: tuple[str, int], *, waits: bool = False
) -> None:
    """All that the upstream gets. `waits`: the client sends its body when the upstream says that it may."""
    request.data.host, request.data.port = address[:2]
    request.data.scheme = b"https"
    request.data.path = _bytes(opening.target)
    fields = [_field(name, value) for name, value in opening.fields]
    authority = opening.authority.encode("ascii")
    if head.version is HttpVersion.HTTP2:
        request.data.authority = authority
    else:
        request.data.authority = b""  # the request line is in origin form (RFC 9112 §3.2.1)
        fields.insert(0, (b"Host", authority))
    request.headers = http.Headers()
    request.headers.fields = tuple(fields)  # its constructor would make plain tuples of them
    request.headers.pop("expect", "")
    if waits:
        request.headers["Expect"] = CONTINUE


def expects_continue(request: http.Request, head: Head) -> bool:
    """Whether the client waits to be told that its body is welcome (RFC 9110 §10.1.1): one of HTTP/1.0 does
    not, whatever it says, and who sends no body need not."""
    is_old = request.data.http_version == b"HTTP/1.0"
    return head.has_body and not is_old and ",".join(head.values("expect")).strip().lower() == CONTINUE


def answer_message(answer: OwnAnswer, head: Head, *, closes: bool) -> http.Response:
    """The head of an answer of our own."""
    fields = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
    http1 = head.version is HttpVersion.HTTP1
    if http1 and closes:
        fields.append((b"Connection", b"close"))
    phrase = RESPONSES.get(answer.status, "").encode()
    version = b"HTTP/1.1" if http1 else b"HTTP/2.0"
    written = http.Headers(fields if http1 else [(name.lower(), value) for name, value in fields])
    return http.Response(version, answer.status, phrase, written, None, None, 0, None)


def text_of(fields: Iterable[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in fields]


def headers_of(fields: Iterable[tuple[str, str]]) -> http.Headers:
    return http.Headers([(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields])


def peer_shown(address: object) -> str:
    """The address of a connection's other side, for records."""
    match address:
        case (str(host), int(port), *_):
            return shown((host, port))
        case _:
            return ""


def _field(name: str, value: str | Secret) -> tuple[bytes, bytes]:
    """A credential never goes into HTTP/2's compression table, to be guessed at (RFC 7541 §7.1.3)."""
    if NOT_IN_TOKEN.search(name) or not name or NOT_IN_VALUE.search(_text(value)):
        # Whoever put it there has let it through: what a line break would begin, nobody has judged.
        raise ValueError("a header that would end another one")
    if isinstance(value, Secret):
        return NeverIndexedHeaderTuple(name.lower().encode("latin-1"), value.reveal())
    return name.encode("latin-1"), value.encode("latin-1")


def _text(value: str | Secret) -> str:
    return value.reveal().decode("latin-1") if isinstance(value, Secret) else value


def _bytes(value: str | Secret) -> bytes:
    return value.reveal() if isinstance(value, Secret) else value.encode("latin-1")
