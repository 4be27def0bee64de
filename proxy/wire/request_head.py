"""The head of an HTTP/1 request, read more strictly than RFC 9112 asks.

Where a recipient MAY mend a head, servers mend it differently, and the difference smuggles requests.
Whatever reads the same bytes behind us has to read them as we did. Two laws hold for every input: a good head
that is cut anywhere asks for more; and an answer other than `NeedMore` stays the same, whatever bytes follow.
So faults are told in the order in which they stand.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from proxy.wire.authority import read_authority
from proxy.wire.fields import (
    FIELD_TEXT,
    MAX_FIELDS,
    MAX_HEAD_BYTES,
    MAX_METHOD,
    METHOD,
    NOT_IN_TOKEN,
    NOT_VISIBLE,
    TOKEN,
    VISIBLE,
    stray,
    value_fault,
)
from proxy.wire.framing import NO_BODY, Framing, Length, read_framing
from proxy.wire.outcomes import NEED_MORE, BadHead, NeedMore, malformed, too_large

# Presigned S3 URLs with a session token reach 4 KiB, and core reads queries of up to 16 KiB; RFC 9112 §3 asks
# for 8000 bytes at least.
MAX_REQUEST_LINE: Final = 16_384

_EOL: Final = b"\r\n"
_REQUEST_LINE = re.compile(rf"({METHOD}) ({VISIBLE}) HTTP/1\.([01])").fullmatch  # RFC 9112 §3
_FIELD_LINE = re.compile(rf"({TOKEN}):({FIELD_TEXT})").fullmatch  # RFC 9112 §5


@dataclass(frozen=True, slots=True)
class HeadLimits:
    """A header line has no limit of its own: a token may fill the head."""

    max_bytes: int = MAX_HEAD_BYTES
    max_line: int = MAX_REQUEST_LINE
    max_headers: int = MAX_FIELDS


DEFAULT_LIMITS: Final = HeadLimits()


@dataclass(frozen=True, slots=True)
class RequestHead:
    """Names as sent, values without the whitespace around them, both decoded as Latin-1: encoding them again
    gives the bytes that were sent. `size` counts up to and including the empty line."""

    method: str
    target: str
    minor_version: int
    headers: tuple[tuple[str, str], ...]
    size: int
    framing: Framing

    def __repr__(self) -> str:
        """Target and headers may hold a credential, and a repr ends up in tracebacks and logs."""
        return f"<RequestHead {self.method}, {len(self.headers)} headers, {self.size} bytes>"


type HeadReading = RequestHead | NeedMore | BadHead


def read_request_head(data: bytes, limits: HeadLimits = DEFAULT_LIMITS) -> HeadReading:
    """Read the head at the start of `data`, which may go on with a body."""
    # RFC 9112 §2.2: a server SHOULD skip at least one empty line, which old clients send after a body. More
    # than one is nobody's need.
    start = len(_EOL) if data.startswith(_EOL) else 0
    end = data.find(_EOL + _EOL, start, limits.max_bytes)
    if end < 0:
        return _read_cut_head(data, start, limits)
    first, *rest = data[start:end].decode("latin-1").split("\r\n")
    line = _REQUEST_LINE(first)
    if line is None or len(first) > limits.max_line:
        return _request_line_fault(first, limits.max_line)
    headers = _read_fields(rest, limits.max_headers)
    if isinstance(headers, BadHead):
        return headers
    method, target, minor_version = line[1], line[2], int(line[3])
    framing = _read_meaning(method, minor_version, headers)
    if isinstance(framing, BadHead):
        return framing
    return RequestHead(method, target, minor_version, tuple(headers), end + 2 * len(_EOL), framing)


def _read_cut_head(data: bytes, start: int, limits: HeadLimits) -> NeedMore | BadHead:
    *lines, cut = data[start : limits.max_bytes].decode("latin-1").split("\r\n")
    cut = cut.removesuffix("\r")  # half of a line's end
    if not lines:
        fault = _cut_request_line_fault(cut, limits.max_line)
    elif _REQUEST_LINE(lines[0]) is None or len(lines[0]) > limits.max_line:
        fault = _request_line_fault(lines[0], limits.max_line)
    else:
        headers = _read_fields(lines[1:], limits.max_headers)
        if isinstance(headers, BadHead):
            fault = headers
        elif cut and len(headers) == limits.max_headers:
            fault = _too_many(limits.max_headers)
        else:
            fault = _cut_field_line_fault(cut, len(headers) + 1)
    if fault is not None:
        return fault
    if len(data) >= limits.max_bytes:
        return too_large(f"the head is larger than {limits.max_bytes} bytes")
    return NEED_MORE


def _cut_request_line_fault(line: str, max_line: int) -> BadHead | None:
    """What is wrong with a request line of which more may follow. First come the characters, in their order:
    a method, a target and a version with one space between them (RFC 9112 §3)."""
    words = line[:max_line].split(" ")
    method = words[0][: MAX_METHOD + 1]
    if found := stray(method, NOT_IN_TOKEN):
        return malformed(f"the method holds {found} (RFC 9110 §9.1)")
    if len(method) > MAX_METHOD:
        return malformed(f"the method is longer than {MAX_METHOD} characters")
    for place, word in enumerate(words):
        if place == 3 or (not word and place < len(words) - 1):
            return malformed("the request line has a space too many (RFC 9112 §3)")
        if found := stray(word, NOT_VISIBLE):
            return malformed(f"the request line holds {found} (RFC 9112 §3)")
    if len(line) > max_line:
        return too_large(f"the request line is longer than {max_line} characters")
    return None


def _request_line_fault(line: str, max_line: int) -> BadHead:
    """What is wrong with a whole request line, of which it is known that something is."""
    if fault := _cut_request_line_fault(line, max_line):
        return fault
    if not line:
        return malformed("more than one empty line before the request line (RFC 9112 §2.2)")
    if line.count(" ") < 2:
        return malformed("the request line has no version: HTTP/0.9 is not spoken (RFC 9112 §3)")
    return malformed("the version is neither HTTP/1.0 nor HTTP/1.1 (RFC 9112 §2.3)")


def _read_fields(lines: Sequence[str], max_headers: int) -> list[tuple[str, str]] | BadHead:
    headers: list[tuple[str, str]] = []
    for line in lines:
        if len(headers) == max_headers:
            return _too_many(max_headers)
        field = _FIELD_LINE(line)
        if field is None:
            return _field_line_fault(line, len(headers) + 1)
        headers.append((field[1], field[2].strip(" \t")))
    return headers


def _too_many(max_headers: int) -> BadHead:
    return too_large(f"more than {max_headers} header lines")


def _cut_field_line_fault(line: str, number: int) -> BadHead | None:
    """What is wrong with a header line of which more may follow. The name of a bad line is not shown: it may
    be the second half of a value that somebody broke in two."""
    if line.startswith((" ", "\t")):
        if number == 1:
            return malformed("whitespace before the first header line (RFC 9112 §2.2)")
        return malformed(f"header line {number} continues the one before it: obs-fold (RFC 9112 §5.2)")
    name, colon, value = line.partition(":")
    if found := stray(name, NOT_IN_TOKEN):
        return malformed(f"header line {number}: {found} in the name or before the colon (RFC 9112 §5.1)")
    if colon and not name:
        return malformed(f"header line {number} has no name (RFC 9112 §5)")
    detail = value_fault(name, value)
    return malformed(detail) if detail else None


def _field_line_fault(line: str, number: int) -> BadHead:
    """What is wrong with a whole header line, of which it is known that something is."""
    fault = _cut_field_line_fault(line, number)
    return fault or malformed(f"header line {number} has no colon (RFC 9112 §5)")


def _read_meaning(method: str, minor_version: int, headers: Sequence[tuple[str, str]]) -> Framing | BadHead:
    """The fields that decide where a request goes and where it ends."""
    values: dict[str, list[str]] = {"host": [], "content-length": [], "transfer-encoding": []}
    for name, value in headers:
        if (lower := name.lower()) in values:
            values[lower].append(value)
    if fault := _host_fault(values["host"], method, minor_version):
        return fault
    framing = read_framing(values["content-length"], values["transfer-encoding"], minor_version)
    # RFC 9110 §9.3.6: what follows a CONNECT is the tunnel. Some clients say so with a length of 0.
    if method == "CONNECT" and not isinstance(framing, BadHead) and framing not in {NO_BODY, Length(0)}:
        return malformed("a CONNECT with a body (RFC 9110 §9.3.6)")
    return framing


def _host_fault(hosts: Sequence[str], method: str, minor_version: int) -> BadHead | None:
    """RFC 9112 §3.2. HTTP/1.0 knows no Host, and we need the name. A CONNECT has it in its target, and the
    http.client of Python before 3.12 sends just that, as HTTP/1.0 and with no Host."""
    if not hosts and method == "CONNECT" and minor_version == 0:
        return None
    if len(hosts) != 1:
        return malformed(f"{'several' if hosts else 'no'} Host fields (RFC 9112 §3.2)")
    if read_authority(hosts[0]) is None:
        return malformed("Host is not a host with an optional port (RFC 9110 §7.2)")
    return None
