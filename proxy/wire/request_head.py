"""The head of an HTTP/1 request, read more strictly than RFC 9112 asks.

Where a recipient MAY mend a head, servers mend it differently, and the difference smuggles requests.
Whatever reads the same bytes behind us has to read them as we did. Two laws hold for every input: a good head
that is cut anywhere asks for more; and an answer other than `NeedMore` stays the same, whatever bytes follow.
So faults are told in the order in which they stand.
"""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from proxy.core.structs import Struct
from proxy.wire.authority import read_authority
from proxy.wire.fields import (
    MAX_FIELDS,
    MAX_HEAD_BYTES,
    MAX_METHOD,
    METHOD,
    NOT_IN_TOKEN,
    NOT_VISIBLE,
    VISIBLE,
    stray,
)
from proxy.wire.framing import Framing, has_content, read_framing
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

# Presigned S3 URLs with a session token reach 4 KiB, and core reads queries of up to 16 KiB; RFC 9112 §3 asks
# for 8000 bytes at least.
MAX_REQUEST_LINE: Final = 16_384

_REQUEST_LINE = re.compile(rf"({METHOD}) ({VISIBLE}) HTTP/1\.([01])").fullmatch  # RFC 9112 §3


class HeadLimits(Struct, frozen=True):
    """A header line has no limit of its own: a token may fill the head."""

    max_bytes: int = MAX_HEAD_BYTES
    max_line: int = MAX_REQUEST_LINE
    max_headers: int = MAX_FIELDS


DEFAULT_LIMITS: Final = HeadLimits()

_MEMORY: Final = LineMemory()


class RequestHead(NamedTuple):
    """Names as sent, values without the whitespace around them, both decoded as Latin-1: encoding them again
    gives the bytes that were sent. `size` counts up to and including the empty line.

    A tuple, since each request makes one: a frozen dataclass takes a microsecond to make.
    """

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
    start = len(EOL) if data.startswith(EOL) else 0
    end = data.find(EOL + EOL, start, limits.max_bytes)
    if end < 0:
        return _read_cut_head(data, start, limits)
    lines = data[start:end].split(EOL)
    first = lines.pop(0).decode("latin-1")
    line = _REQUEST_LINE(first)
    if line is None or len(first) > limits.max_line:
        return _request_line_fault(first, limits.max_line)
    read = read_field_lines(lines, limits.max_headers, _MEMORY)
    if isinstance(read, BadHead):
        return read
    method, target, minor = line.groups()
    minor_version = int(minor)
    framing = _read_meaning(method, minor_version, read)
    if isinstance(framing, BadHead):
        return framing
    headers = tuple([field for field, _ in read])
    return RequestHead(method, target, minor_version, headers, end + 2 * len(EOL), framing)


def _read_cut_head(data: bytes, start: int, limits: HeadLimits) -> NeedMore | BadHead:
    lines, cut = split_cut_lines(data[start : limits.max_bytes])
    if not lines:
        fault = _cut_request_line_fault(cut.decode("latin-1"), limits.max_line)
    elif _REQUEST_LINE(first := lines[0].decode("latin-1")) is None or len(first) > limits.max_line:
        fault = _request_line_fault(first, limits.max_line)
    else:
        fault = cut_field_lines_fault(lines[1:], cut, limits.max_headers)
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


def _read_meaning(method: str, minor_version: int, read: Sequence[ReadLine]) -> Framing | BadHead:
    """The fields that decide where a request goes and where it ends."""
    hosts: list[str] = []
    lengths: list[str] = []
    codings: list[str] = []
    for (_, value), key in read:
        if key in MEANINGFUL:
            match key:
                case "host":
                    hosts.append(value)
                case "content-length":
                    lengths.append(value)
                case "transfer-encoding":
                    codings.append(value)
    if fault := _host_fault(hosts, method, minor_version):
        return fault
    framing = read_framing(lengths, codings, minor_version)
    # RFC 9110 §9.3.6: what follows a CONNECT is the tunnel. Some clients say so with a length of 0.
    if method == "CONNECT" and not isinstance(framing, BadHead) and has_content(framing):
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
