"""Request paths, normalised once. What is matched is what is forwarded, byte for byte.

The normal form (RFC 3986 §6.2.2, less what S3 keys forbid): percent-escapes of unreserved characters are
decoded and all others written in upper case; dot segments are removed; empty segments and case are kept.
Where two correct servers could read the outcome differently there is no normal form but a fault.
"""

import re
from typing import Final
from urllib.parse import unquote, unquote_to_bytes

from proxy.core.globs import common_segments, segments_expression
from proxy.core.reasons import Reason
from proxy.core.structs import Struct

# The request line that nginx, Apache and gunicorn accept by default is about this long; S3 keys end at
# 1,024 bytes, three times that when every byte is escaped.
MAX_PATH_LENGTH: Final = 8192

# The common case, told by one expression: nothing to decode and no segment that begins with a dot.
_PLAIN = re.compile(r"(?:/(?!\.)[A-Za-z0-9\-._~!$&'()*+,;=:@]*)+").fullmatch
# pchar and the slash; everything else has to arrive percent-encoded (RFC 3986 §3.3).
_LEGAL = re.compile(r"/(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/]|%[0-9A-Fa-f]{2})*").fullmatch
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
# An escaped slash or backslash is a separator to some servers and data to others. `%25` before one of
# them, or before another `%25`, is the same trick one decoding later.
_TWO_READINGS = re.compile(r"%(?:25)*(?:2F|5C)|%25(?:25)*(?:2E|[01][0-9A-F]|7F)", re.IGNORECASE)
_CONTROL = re.compile(r"%(?:[01][0-9A-F]|7F)")
# Tomcat and its kin drop a path parameter before they resolve dots: `/a/..;x/b` is `/b` to them. Others trim
# what an escape adds (`..%20`, `..%3B`), or cut there.
_DOTS_AND_MORE = re.compile(r"/\.{1,2}[;%]")
# The same in what is no path, and comes as it is.
_BEFORE, _DOT = r"(?:\A|[/\\]|%(?:25)*(?:2F|5C))", r"(?:\.|%(?:25)*2E)"
_DOTS_IN_KEY = re.compile(rf"{_BEFORE}{_DOT}{{1,2}}(?:[/\\;% ]|\Z)", re.IGNORECASE).search
_DOTS_IN_PREFIX = re.compile(rf"{_BEFORE}(?:{_DOT}{{1,2}}[/\\;% ]|{_DOT}{{2}}\Z)", re.IGNORECASE).search
# What a lax server does not see: path parameters, empty segments, dots and spaces at a segment's end.
_LAX = re.compile(r"//|;|[./ ](?:/|\Z)").search


class RequestPath(Struct, frozen=True):
    """A path in normal form, or the reason why it has none; then `text` is empty."""

    text: str
    fault: Reason | None = None
    # A service whose keys may contain dot segments reads the original differently: it must refuse.
    had_dot_segments: bool = False

    @classmethod
    def parse(cls, raw_path: str) -> "RequestPath":
        if len(raw_path) > MAX_PATH_LENGTH:
            return cls("", Reason.MALFORMED_PATH)
        if _PLAIN(raw_path):
            return cls(raw_path)
        if not _LEGAL(raw_path):
            two_readings = "\\" in raw_path
            return cls("", Reason.AMBIGUOUS_PATH if two_readings else Reason.MALFORMED_PATH)
        text = _ESCAPE.sub(_decode_unreserved, raw_path)
        if _CONTROL.search(text):
            return cls("", Reason.MALFORMED_PATH)
        if _TWO_READINGS.search(text) or _DOTS_AND_MORE.search(text) or not _is_utf8(text):
            return cls("", Reason.AMBIGUOUS_PATH)
        segments = text.split("/")
        if "." not in segments and ".." not in segments:
            return cls(text)
        if any(
            not segment or segment[0] == ";" for segment in segments[1:-1]
        ):  # does `/a//../b` leave `/a/b`, or does `//` count as one: `/b`?
            return cls("", Reason.AMBIGUOUS_PATH)
        return _without_dot_segments(segments)


def _decode_unreserved(escape: re.Match[str]) -> str:
    character = chr(int(escape[1], 16))
    return character if character in _UNRESERVED else escape[0].upper()


def _without_dot_segments(segments: list[str]) -> RequestPath:
    """RFC 3986 §5.2.4, but a path that climbs above the root is refused instead of clamped."""
    kept: list[str] = []
    for segment in segments[1:]:
        if segment == "..":
            if not kept:
                return RequestPath("", Reason.AMBIGUOUS_PATH)
            kept.pop()
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in {".", ".."}:
        kept.append("")
    return RequestPath("/" + "/".join(kept), had_dot_segments=True)


def _is_utf8(text: str) -> bool:
    """Whether the escapes are UTF-8; an overlong form (`%C0%AE`) is a dot to old servers."""
    if "%" not in text:
        return True
    try:
        unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        return False
    return True


def has_dot_segments(key: str, *, is_prefix: bool = False) -> bool:
    """Whether a store that makes file paths of keys would take the key for another one's.

    The last segment of a prefix is the beginning of one: `data/.` lists what is hidden there.
    """
    return (_DOTS_IN_PREFIX if is_prefix else _DOTS_IN_KEY)(key) is not None


def folded(path: str) -> str:
    """The widest reading of a path: decoded twice, lower case, without what a lax server does not see.

    Rules that deny are matched against this, so that `/API//Token;v=1/` does not slip past `/api/token`.
    """
    plain = path.lower()
    if "%" in plain:
        plain = re.split("[?#]", unquote(unquote(plain)).lower())[0]
    if not _LAX(plain):
        return plain
    segments = (segment.partition(";")[0].rstrip(". ") for segment in plain.split("/"))
    return "/" + "/".join(segment for segment in segments if segment)


class PathPattern(Struct, frozen=True):
    """`/v1/*/files/**`: `*` is a run within one segment, `**` any number of segments."""

    text: str

    @property
    def segments(self) -> tuple[str, ...]:
        return tuple(self.text.split("/")[1:])

    @property
    def expression(self) -> str:
        return segments_expression(self.segments)

    def common(self, other: "PathPattern") -> str | None:
        """A path that both patterns match, or None where there is none."""
        found = common_segments(self.segments, other.segments)
        return None if found is None else "/" + "/".join(found)
