"""The field lines of a head or trailer section of HTTP/1 (RFC 9112 §5): one rule for both directions.

Faults are told in the order in which they stand, so that a fault which is found does not change with what
follows.
"""

import re
from collections.abc import Sequence
from typing import Final, cast

from proxy.wire.fields import FIELD_TEXT, NOT_IN_TOKEN, TOKEN, stray, value_fault
from proxy.wire.outcomes import BadHead, malformed, too_large

type Field = tuple[str, str]
# A field, and its name in lower case.
type ReadLine = tuple[Field, str]

EOL: Final = b"\r\n"
MEANINGFUL: Final = frozenset({"host", "content-length", "transfer-encoding", "connection"})

# Some hundred kinds of requests of an application, with their dates, lengths and ids. Then all is forgotten:
# reading a line costs a microsecond, and ten requests later what repeats is known again.
MAX_LINES: Final = 1024
MAX_BYTES: Final = 262_144
# Most tokens fit. What is longer is a cookie jar, or fills the memory to no use.
MAX_LINE: Final = 2048

_FIELD_LINE = re.compile(rf"({TOKEN}):({FIELD_TEXT})").fullmatch


class LineMemory:
    """Lines that were read before, since most of a head is what the last one said. A line means the same
    wherever it stands, so nothing is ever wrong in here.

    It is bounded in lines and bytes: who sends ever new ones only makes it forget. Of requests it may hold
    what an application sent as a credential, and never one of ours; of responses it holds the fields of
    `names` only, since a server may answer with the credential that we sent.
    """

    def __init__(self, names: frozenset[str] | None = None) -> None:
        self.lines: dict[bytes, ReadLine] = {}
        self._names = names
        self._bytes = 0

    def keep(self, line: bytes, read: ReadLine) -> None:
        size = len(line)
        if size > MAX_LINE or (self._names is not None and read[1] not in self._names):
            return
        if len(self.lines) == MAX_LINES or self._bytes + size > MAX_BYTES:
            self.lines.clear()
            self._bytes = 0
        self.lines[line] = read
        self._bytes += size


def read_field_lines(lines: Sequence[bytes], max_lines: int, memory: LineMemory) -> list[ReadLine] | BadHead:
    """Names as sent, values without the whitespace around them, both decoded as Latin-1."""
    counted = lines[:max_lines]
    found = list(map(memory.lines.get, counted))
    if not all(found):  # None is false, and no line that was read is
        for at, line in enumerate(counted):
            if found[at] is None:
                read = _read_line(line)
                if read is None:
                    return _line_fault(line.decode("latin-1"), at + 1)
                found[at] = read
                memory.keep(line, read)
    return cast("list[ReadLine]", found) if len(lines) <= max_lines else _too_many(max_lines)


def _read_line(line: bytes) -> ReadLine | None:
    match = _FIELD_LINE(line.decode("latin-1"))
    if match is None:
        return None
    name, value = match.groups()
    return (name, value.strip(" \t")), name.lower()


def cut_field_lines_fault(lines: Sequence[bytes], cut: bytes, max_lines: int) -> BadHead | None:
    """What is wrong with whole lines and a last one of which more may follow."""
    read = read_field_lines(lines, max_lines, LineMemory())
    if isinstance(read, BadHead):
        return read
    if cut and len(lines) == max_lines:
        return _too_many(max_lines)
    return _cut_line_fault(cut.decode("latin-1"), len(lines) + 1)


def split_cut_lines(data: bytes) -> tuple[list[bytes], bytes]:
    """The whole lines, and what there is of the next one."""
    *lines, cut = data.split(EOL)
    return lines, cut.removesuffix(b"\r")  # half of a line's end


def _too_many(max_lines: int) -> BadHead:
    return too_large(f"more than {max_lines} header lines")


def _cut_line_fault(line: str, number: int) -> BadHead | None:
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


def _line_fault(line: str, number: int) -> BadHead:
    """What is wrong with a whole header line, of which it is known that something is."""
    return _cut_line_fault(line, number) or malformed(f"header line {number} has no colon (RFC 9112 §5)")
