"""The head of an HTTP/1 response, read as strictly as a request's, and by the same two laws: a good head that
is cut anywhere asks for more; an answer other than `NeedMore` stays the same, whatever bytes follow.

An upstream is trusted with the credential, and not with the connection: an answer that ends elsewhere for us
than for it would hand its rest to the next request, which may be another connection's.
"""

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final, NamedTuple

from proxy.wire.fields import FIELD_TEXT, NOT_IN_VALUE, stray
from proxy.wire.framing import (
    NO_BODY,
    UNTIL_CLOSE,
    Length,
    NoBody,
    ResponseFraming,
    has_content,
    read_framing,
)
from proxy.wire.header_lines import (
    EOL,
    MEANINGFUL,
    LineMemory,
    ReadLine,
    cut_field_lines_fault,
    read_field_lines,
    split_cut_lines,
)
from proxy.wire.outcomes import NEED_MORE, BadHead, NeedMore, malformed, too_large
from proxy.wire.request_head import DEFAULT_LIMITS, HeadLimits

_VERSION: Final = "HTTP/1."
# RFC 9112 §4: the space behind the status stands there also where there is no reason phrase. Servers leave
# it out with the phrase, as mitmproxy and Go's net/http take it; what follows is the line's end either way.
_STATUS_LINE = re.compile(rf"HTTP/1\.([01]) ([1-5][0-9]{{2}})(?: {FIELD_TEXT})?").fullmatch
_CUT_STATUS = re.compile(r"(?: (?:[1-5](?:[0-9](?:[0-9](?: .*)?)?)?)?)?", re.DOTALL).fullmatch


# What a server says every time, and says of itself: nothing that it was sent.
_REMEMBERED: Final = frozenset({
    "accept-ranges", "alt-svc", "cache-control", "connection", "content-encoding", "content-length",
    "content-type", "date", "keep-alive", "server", "strict-transport-security", "transfer-encoding", "vary",
    "via", "x-content-type-options",
})  # fmt: skip
_MEMORY: Final = LineMemory(_REMEMBERED)
# Nearly all answers begin with one of these.
_USUAL: Final = {f"HTTP/1.1 {one.value} {one.phrase}".encode("ascii"): one.value for one in HTTPStatus}
# Others may complain of the credential, or of where it was sent; and a 204 has no length, whatever it says
# (RFC 9110 §8.6).
_HAVE_BODIES: Final = {line: status for line, status in _USUAL.items() if status in {200, 201, 202, 203, 206}}
_OTHERWISE: Final = frozenset({"transfer-encoding", "upgrade"})
_HEAD_END: Final = EOL + EOL


class ResponseHead(NamedTuple):
    """Names as sent, values without the whitespace around them, both decoded as Latin-1. `size` counts up to
    and including the empty line. `keeps`: the connection may be used for another request after this."""

    status: int
    minor_version: int
    fields: tuple[tuple[str, str], ...]
    size: int
    framing: ResponseFraming
    keeps: bool
    # For who passes it on: the names in lower case, and the lines as they came, their ends taken off.
    keys: tuple[str, ...]
    lines: tuple[bytes, ...]

    def __repr__(self) -> str:
        """Fields may hold a credential, and a repr ends up in tracebacks and logs."""
        return f"<ResponseHead {self.status}, {len(self.fields)} fields, {self.size} bytes>"


class UsualAnswer(NamedTuple):
    """All of an answer: its head's lines and their names in lower case, less the one about its connection;
    `passed` is all of it, less that."""

    status: int
    keys: list[str]
    lines: list[bytes]
    body: bytes
    passed: bytes

    def __repr__(self) -> str:
        return f"<UsualAnswer {self.status}, {len(self.body)} bytes>"


type ResponseReading = ResponseHead | NeedMore | BadHead


def read_response_head(data: bytes, method: str, limits: HeadLimits = DEFAULT_LIMITS) -> ResponseReading:
    """Read the head at the start of `data`: of the answer to a request with this method."""
    end = data.find(EOL + EOL, 0, limits.max_bytes)
    if end < 0:
        return _read_cut_head(data, limits)
    lines = data[:end].split(EOL)
    first = lines.pop(0)
    status, minor_version = _USUAL.get(first, 0), 1
    if not status:
        text = first.decode("latin-1")
        line = _STATUS_LINE(text)
        if line is None or len(text) > limits.max_line:
            return _status_line_fault(text, limits.max_line)
        minor_version, status = int(line[1]), int(line[2])
    read = read_field_lines(lines, limits.max_headers, _MEMORY)
    if isinstance(read, BadHead):
        return read
    meaning = _read_meaning(method, status, minor_version, read)
    if isinstance(meaning, BadHead):
        return meaning
    framing, keeps = meaning
    fields, keys = zip(*read, strict=True) if read else ((), ())
    return ResponseHead(status, minor_version, fields, end + 2 * len(EOL), framing, keeps, keys, tuple(lines))


def read_usual_answer(data: bytes, limits: HeadLimits = DEFAULT_LIMITS) -> UsualAnswer | None:
    """An answer like most, to a request whose answers have bodies: it says a length, all of it is here, and
    another one may follow. None: it is to be read by `read_response_head`, whatever it is."""
    end = data.find(_HEAD_END, 0, limits.max_bytes)
    if end < 0:
        return None
    lines = data[:end].split(EOL)
    status = _HAVE_BODIES.get(lines.pop(0))
    if status is None:
        return None
    read = read_field_lines(lines, limits.max_headers, _MEMORY)
    if isinstance(read, BadHead):
        return None
    keys = [one[1] for one in read]
    if not _OTHERWISE.isdisjoint(keys) or keys.count("content-length") != 1:
        return None
    framing = read_framing((read[keys.index("content-length")][0][1],), (), 1)
    body = data[end + len(_HEAD_END) :]
    if not isinstance(framing, Length) or len(body) != framing.size:
        return None
    if "connection" in keys:
        at = keys.index("connection")
        if read[at][0][1].lower() != "keep-alive" or keys.count("connection") != 1:
            return None
        data = data.replace(EOL + lines[at], b"", 1)  # no other line begins like it
        del lines[at], keys[at]
    return UsualAnswer(status, keys, lines, body, data)


def _read_cut_head(data: bytes, limits: HeadLimits) -> NeedMore | BadHead:
    lines, cut = split_cut_lines(data[: limits.max_bytes])
    if not lines:
        fault = _cut_status_line_fault(cut.decode("latin-1"), limits.max_line)
    elif _STATUS_LINE(first := lines[0].decode("latin-1")) is None or len(first) > limits.max_line:
        fault = _status_line_fault(first, limits.max_line)
    else:
        fault = cut_field_lines_fault(lines[1:], cut, limits.max_headers)
    if fault is not None:
        return fault
    if len(data) >= limits.max_bytes:
        return too_large(f"the head is larger than {limits.max_bytes} bytes")
    return NEED_MORE


def _cut_status_line_fault(line: str, max_line: int) -> BadHead | None:
    """What is wrong with a status line of which more may follow: first the characters, in their order."""
    seen = line[:max_line]
    if not _VERSION.startswith(seen[:7]) or seen[7:8] not in {"", "0", "1"}:
        return malformed("the answer does not begin with HTTP/1.0 or HTTP/1.1 (RFC 9112 §4)")
    if _CUT_STATUS(seen, 8) is None:
        return malformed("the status is not a number from 100 to 599 (RFC 9112 §4, RFC 9110 §15)")
    if found := stray(seen[12:], NOT_IN_VALUE):
        return malformed(f"the reason phrase holds {found} (RFC 9112 §4)")
    if len(line) > max_line:
        return too_large(f"the status line is longer than {max_line} characters")
    return None


def _status_line_fault(line: str, max_line: int) -> BadHead:
    """What is wrong with a whole status line, of which it is known that something is."""
    fault = _cut_status_line_fault(line, max_line)
    return fault or malformed("the status line ends before its status (RFC 9112 §4)")


def _read_meaning(
    method: str, status: int, minor_version: int, read: Sequence[ReadLine]
) -> tuple[ResponseFraming, bool] | BadHead:
    """Where the body ends, and whether another answer may follow (RFC 9112 §6.3, §9.3)."""
    lengths: list[str] = []
    codings: list[str] = []
    options: list[str] = []
    for (_, value), key in read:
        if key in MEANINGFUL:
            match key:
                case "content-length":
                    lengths.append(value)
                case "transfer-encoding":
                    codings.append(value)
                case "connection":
                    options.append(value)
    framing = read_framing(lengths, codings, minor_version)
    if isinstance(framing, BadHead):
        return framing
    keeps = minor_version == 1 and not _says_close(options)
    if status < 200:
        # RFC 9110 §8.6, RFC 9112 §6.1. The next answer begins behind this one, so there must be no two ways
        # to see where that is.
        if has_content(framing):
            return malformed("a 1xx answer with a body (RFC 9112 §6.3)")
        return NO_BODY, keeps and status != 101
    # What a HEAD or a 304 says of a body is true of another answer.
    if method == "HEAD" or status == 304:
        return NO_BODY, keeps
    if status == 204:
        # It may not say so, and what follows belongs to nobody.
        return NO_BODY, keeps and not has_content(framing)
    if method == "CONNECT" and status < 300:
        return NO_BODY, False
    if isinstance(framing, NoBody):
        return UNTIL_CLOSE, False
    return framing, keeps


def _says_close(values: Sequence[str]) -> bool:
    """RFC 9110 §7.6.1: one list over all its fields."""
    for value in map(str.lower, values):
        if "close" in value and any(option.strip(" \t") == "close" for option in value.split(",")):
            return True
    return False
