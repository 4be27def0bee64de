"""Heads as they are written: what the transaction says, as bytes of HTTP/1.1."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Final

from proxy.core.secret import Secret
from proxy.transaction.opening import Forward
from proxy.transaction.refusals import OwnAnswer
from proxy.wire.response_head import ResponseHead

CONTINUE: Final = "100-continue"
GO_ON: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
SWITCHED: Final = 101
NO_CONTENT: Final = 204
# A reason phrase may quote what was sent; the standard's own says as much (RFC 9112 §4).
_PHRASES: Final = {status.value: status.phrase for status in HTTPStatus}
# Where a body ends is written by us, and connections are our own on either side (RFC 9110 §7.6.1).
_OF_THE_CONNECTION: Final = frozenset({"connection", "transfer-encoding", "upgrade"})
_STATUS_LINES: Final = {
    status: f"HTTP/1.1 {status} {_PHRASES.get(status, '')}\r\n".encode("ascii") for status in range(100, 600)
}
_END: Final = b"\r\n"


class UnwritableError(ValueError):
    """A head that would hold another one: whoever put a line break there has let it through."""


def request_head(opening: Forward, method: str, *, waits: bool) -> bytes:
    """All that the upstream gets before the body. `waits`: the client sends it when the upstream says that it
    may."""
    if not opening.written:
        if not opening.beside:
            opening.beside.append(_written(opening, method))
            opening.written.append(opening.beside[0])
        else:
            first = b"%s %s HTTP/1.1" % (method.encode("latin-1"), _bytes(opening.target))
            opening.written.append(_checked(first, 0) + opening.beside[0][opening.beside[0].index(_END) :])
    return opening.written[0] + (b"Expect: 100-continue\r\n\r\n" if waits else _END)


def _written(opening: Forward, method: str) -> bytes:
    """But for its end. Whether a body waits is between each two neighbours."""
    lines = [
        b"%s %s HTTP/1.1" % (method.encode("latin-1"), _bytes(opening.target)),
        b"Host: " + opening.authority.encode("ascii"),
    ]
    for name, value in opening.fields:
        if name.lower() != "expect":
            lines.append(b"%s: %s" % (name.encode("latin-1"), _bytes(value)))
    lines.append(b"")
    return _checked(_END.join(lines), len(lines) - 1)


def passed_head(response: ResponseHead, *, chunked: bool, closes: bool) -> bytes:
    """`response_head`, where no field was changed: the lines as they came, which hold no other break."""
    status, keys, lines = response.status, response.keys, response.lines
    if status == NO_CONTENT:
        return response_head(status, response.fields, chunked=chunked, closes=closes)
    if not _OF_THE_CONNECTION.isdisjoint(keys):
        passed = zip(keys, lines, strict=True)
        lines = tuple([line for key, line in passed if key not in _OF_THE_CONNECTION])
    if chunked:
        lines = (*lines, b"transfer-encoding: chunked")
    if closes:
        lines = (*lines, b"connection: close")
    return _STATUS_LINES[status] + _END.join((*lines, b"", b""))


def response_head(
    status: int, fields: Iterable[tuple[str, str]], *, chunked: bool, closes: bool, switches: bool = False
) -> bytes:
    """What the application gets before the body. `switches`: what follows is another protocol."""
    lines = []
    for name, value in fields:
        key = name.lower()
        # RFC 9110 §8.6: a 204 has no length.
        if key not in _OF_THE_CONNECTION and not (status == NO_CONTENT and key == "content-length"):
            lines.append(f"{name}: {value}\r\n")
    if chunked:
        lines.append("transfer-encoding: chunked\r\n")
    if switches:
        lines.append("upgrade: websocket\r\nconnection: upgrade\r\n")
    elif closes:
        lines.append("connection: close\r\n")
    breaks = len(lines) + 1 + switches
    lines.append("\r\n")
    return _STATUS_LINES[status] + _checked("".join(lines).encode("latin-1"), breaks)


def own_answer(answer: OwnAnswer, *, closes: bool) -> bytes:
    """An answer of ours, whole."""
    return response_head(answer.status, answer.headers, chunked=False, closes=closes) + answer.body


def _bytes(value: str | Secret) -> bytes:
    return value.reveal() if isinstance(value, Secret) else value.encode("latin-1")


def _checked(head: bytes, breaks: int) -> bytes:
    """A line break that nobody judged would begin a field, or a request, of its own."""
    if head.count(b"\n") != breaks or head.count(b"\r") != breaks or b"\0" in head:
        raise UnwritableError
    return head
