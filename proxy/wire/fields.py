"""What a header field may hold in any version of HTTP (RFC 9110 §5), and how a fault in one is told."""

import re
from typing import Final

# A whole head or trailer section. S3 and OAuth heads stay below 16 KiB, and those with several tokens reach
# 32 KiB, which is also where nginx stops (4 buffers of 8 KiB). Twice that leaves the refusing to the server.
MAX_HEAD_BYTES: Final = 65_536
# SDKs and browsers send up to 40. Apache stops at 100 (LimitRequestFields); object metadata comes as headers.
MAX_FIELDS: Final = 200
# The longest registered method has 17 characters (UPDATEREDIRECTREF); what is longer is no method.
MAX_METHOD: Final = 32

_TCHAR: Final = r"!#$%&'*+\-.^_`|~0-9A-Za-z"  # RFC 9110 §5.6.2
TOKEN: Final = rf"[{_TCHAR}]+"
METHOD: Final = rf"[{_TCHAR}]{{1,{MAX_METHOD}}}"
# RFC 9110 §5.5: VCHAR, obs-text, SP and HTAB. Other controls a recipient may keep; we do not.
FIELD_TEXT: Final = r"[\t\x20-\x7e\x80-\xff]*"
VISIBLE: Final = r"[\x21-\x7e]+"  # RFC 5234, VCHAR

# Patterns that find the first character which has no place there.
NOT_IN_TOKEN: Final = re.compile(rf"[^{_TCHAR}]")
NOT_IN_VALUE: Final = re.compile(r"[^\t\x20-\x7e\x80-\xff]")
NOT_VISIBLE: Final = re.compile(r"[^\x21-\x7e]")

# How much of a name a message shows.
SHOWN_NAME: Final = 40

_NAMED: Final = {"\n": "a bare LF", "\r": "a bare CR", "\0": "a NUL", " ": "a space", "\t": "a tab"}


def stray(text: str, forbidden: re.Pattern[str]) -> str | None:
    """The first character of `text` that `forbidden` finds, in words; None where there is none."""
    found = forbidden.search(text)
    if found is None:
        return None
    character = found[0]
    if character in _NAMED:
        return _NAMED[character]
    if character > "\x7f":
        return "a byte that is not ASCII"
    if character < "\x20" or character == "\x7f":
        return f"the control character 0x{ord(character):02x}"
    return f"`{character}`"


def shown(name: str) -> str:
    """A field's name for a message."""
    return "`" + NOT_VISIBLE.sub("?", name[:SHOWN_NAME]) + "`"


def value_fault(name: str, value: str) -> str | None:
    found = stray(value, NOT_IN_VALUE)
    return f"the value of {shown(name)} holds {found} (RFC 9110 §5.5)" if found else None


def field_fault(name: bytes, value: bytes) -> str | None:
    """What is wrong with one field, whichever version carries it; whitespace around a value is not."""
    text = name.decode("latin-1")
    if not text:
        return "a field has no name (RFC 9110 §5.1)"
    if found := stray(text, NOT_IN_TOKEN):
        return f"the field name {shown(text)} holds {found} (RFC 9110 §5.1)"
    return value_fault(text, value.decode("latin-1"))
