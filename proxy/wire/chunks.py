"""A body in chunks (RFC 9112 §7.1), its framing taken off, from an application or from an upstream.

It is framed anew when it is sent on, so what stands here is read in one way or not at all: extensions are
dropped, and whatever two servers could see two ends in is a fault. A fault is found at the byte that no
others can mend, however the bytes were cut.
"""

import re
from enum import Enum
from typing import Final, assert_never

from proxy.wire.fields import MAX_FIELDS, NOT_VISIBLE, stray
from proxy.wire.framing import MAX_LENGTH
from proxy.wire.header_lines import (
    EOL,
    Field,
    LineMemory,
    cut_field_lines_fault,
    read_field_lines,
    split_cut_lines,
)
from proxy.wire.outcomes import BadHead, malformed, too_large

LAST_CHUNK: Final = b"0\r\n\r\n"

# Checksums of an upload are some hundred bytes. They are read again with each piece that comes of them.
MAX_TRAILER_BYTES: Final = 8192
# As many as a 64-bit length has.
MAX_SIZE_DIGITS: Final = 16
# All extensions of one body (RFC 9112 §7.1.1 asks for such a limit: CVE-2023-39326 was a body made of them).
# No client or server that we know sends one: the signatures of aws-chunked stand inside the content. A
# handful of lines with a long one each fit.
MAX_EXTENSION_BYTES: Final = 1024

_EXTENSION_TEXT: Final = rb";[\t\x20-\x7e\x80-\xff]*"
_EXTENSIONS = re.compile(_EXTENSION_TEXT).match
_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,%d})(%b)?\r\n" % (MAX_SIZE_DIGITS, _EXTENSION_TEXT)).match
_HEX: Final = b"0123456789ABCDEFabcdef"


class _Part(Enum):
    SIZE = "size"
    DATA = "data"  # and the CRLF behind it
    TRAILERS = "trailers"


def chunk_head(size: int) -> bytes:
    """What stands before a chunk of this many bytes; CRLF stands behind it. No chunk has none: that ends."""
    return b"%x\r\n" % size


class ChunkReader:
    """Fed with what came, in pieces of any size, it gives the content in it.

    It holds no content, and of the framing no more than a line or a trailer section that is not whole yet.
    """

    def __init__(self) -> None:
        self.is_done = False
        # What came behind the end.
        self.rest = b""
        # Nobody has judged their names: a field that means something before a body means nothing here.
        self.trailers: tuple[Field, ...] = ()
        self._part = _Part.SIZE
        self._left = 0  # of the data of the present chunk
        self._held = b""
        self._extension_bytes = 0
        self._fault: BadHead | None = None

    def feed(self, data: bytes) -> bytes | BadHead:
        """A fault stays: nothing behind it has a meaning, and nothing that came with it."""
        if self._fault is not None:
            return self._fault
        if self._left > len(data):
            self._left -= len(data)
            return data
        if self.is_done:
            self.rest += data
            return b""
        content = self._read(self._held + data)
        if isinstance(content, BadHead):
            self._fault, self._held = content, b""
        return content

    def _read(self, data: bytes) -> bytes | BadHead:
        pieces: list[memoryview] = []
        at = 0
        while not self.is_done:
            match self._part:
                case _Part.SIZE:
                    after = self._read_size(data, at)
                case _Part.DATA:
                    after = self._read_data(data, at, pieces)
                case _Part.TRAILERS:
                    after = self._read_trailers(data, at)
                case _:
                    assert_never(self._part)
            if isinstance(after, BadHead):
                return after
            if after is None:
                break
            at = after
        self._held, self.rest = (b"", data[at:]) if self.is_done else (data[at:], b"")
        # One copy where there are several pieces; none where all of it is one.
        return data if len(pieces) == 1 and len(pieces[0]) == len(data) else b"".join(pieces)

    # Each reads a part that begins at `at`, and answers where the next begins; None where it is not whole.

    def _read_size(self, data: bytes, at: int) -> int | BadHead | None:
        line = _SIZE_LINE(data, at)
        if line is None:
            return _cut_size_fault(data[at:], MAX_EXTENSION_BYTES - self._extension_bytes)
        digits, extensions = line.groups()
        size = int(digits, 16)
        if size > MAX_LENGTH:
            return _TOO_LONG
        self._extension_bytes += len(extensions or b"")
        if self._extension_bytes > MAX_EXTENSION_BYTES:
            return _TOO_MANY_EXTENSIONS
        self._left = size
        self._part = _Part.DATA if self._left else _Part.TRAILERS
        return line.end()

    def _read_data(self, data: bytes, at: int, pieces: list[memoryview]) -> int | BadHead | None:
        if self._left:
            piece = memoryview(data)[at : at + self._left]
            pieces.append(piece)
            self._left -= len(piece)
            return at + len(piece) if piece else None
        end = data[at : at + len(EOL)]
        if end == EOL:
            self._part = _Part.SIZE
            return at + len(EOL)
        return None if EOL.startswith(end) else malformed("no CRLF behind a chunk's data (RFC 9112 §7.1)")

    def _read_trailers(self, data: bytes, at: int) -> int | BadHead | None:
        if data.startswith(EOL, at):
            self.is_done = True
            return at + len(EOL)
        end = data.find(EOL + EOL, at, at + MAX_TRAILER_BYTES)
        if end < 0:
            lines, cut = split_cut_lines(data[at : at + MAX_TRAILER_BYTES])
            fault = cut_field_lines_fault(lines, cut, MAX_FIELDS)
            if fault is None and len(data) - at >= MAX_TRAILER_BYTES:
                fault = too_large(f"they are larger than {MAX_TRAILER_BYTES} bytes")
            return fault and _in_trailers(fault)
        read = read_field_lines(data[at:end].split(EOL), MAX_FIELDS, LineMemory())
        if isinstance(read, BadHead):
            return _in_trailers(read)
        self.trailers = tuple(field for field, _ in read)
        self.is_done = True
        return end + 2 * len(EOL)


_TOO_LONG: Final = malformed(f"a chunk is longer than {MAX_LENGTH} bytes (RFC 9112 §7.1)")
_TOO_MANY_EXTENSIONS: Final = too_large(f"chunk extensions of more than {MAX_EXTENSION_BYTES} bytes")


def _cut_size_fault(line: bytes, extensions_left: int) -> BadHead | None:
    """What is wrong with a size line of which more may follow, and which is not whole: the first of it."""
    digits = line[: MAX_SIZE_DIGITS + 1]
    digits = digits[: len(digits) - len(digits.lstrip(_HEX))]
    if int(digits[:MAX_SIZE_DIGITS] or b"0", 16) > MAX_LENGTH:
        return _TOO_LONG
    if len(digits) > MAX_SIZE_DIGITS:
        return malformed(f"a chunk size of more than {MAX_SIZE_DIGITS} digits (RFC 9112 §7.1)")
    after = line[len(digits) :]
    if not digits and after:
        return malformed("a chunk size is not a hexadecimal number (RFC 9112 §7.1)")
    extensions = _EXTENSIONS(after)
    if extensions is not None:
        if extensions.end() > extensions_left:
            return _TOO_MANY_EXTENSIONS
        after = after[extensions.end() :]
    if after in {b"", b"\r"}:
        return None
    found = stray(after[:1].decode("latin-1"), NOT_VISIBLE) or "what is no extension"
    return malformed(f"a chunk size is followed by {found} (RFC 9112 §7.1.1)")


def _in_trailers(fault: BadHead) -> BadHead:
    return BadHead(fault.fault, f"in the trailers: {fault.detail}")
