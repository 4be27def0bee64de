"""Slow, obvious readings of patterns and paths, which the fast ones in `proxy/core` are compared with."""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import product
from typing import Final
from urllib.parse import unquote

from hypothesis import strategies as st

ANY: Final = "**"


@cache
def glob_fits(glob: str, text: str) -> bool:
    """Whether `*` as a run of anything but slashes can make the one out of the other."""
    if not glob:
        return not text
    if glob[0] == "*":
        return glob_fits(glob[1:], text) or (bool(text) and text[0] != "/" and glob_fits(glob, text[1:]))
    return bool(text) and text[0] == glob[0] and glob_fits(glob[1:], text[1:])


def segment_fits(pattern: str, segment: str) -> bool:
    """A lone star wants a segment that is there."""
    return bool(segment) if pattern == "*" else glob_fits(pattern, segment)


@cache
def segments_fit(pattern: tuple[str, ...], segments: tuple[str, ...]) -> bool:
    if not pattern:
        return not segments
    if pattern[0] == ANY:
        return segments_fit(pattern[1:], segments) or (bool(segments) and segments_fit(pattern, segments[1:]))
    return (
        bool(segments) and segment_fits(pattern[0], segments[0]) and segments_fit(pattern[1:], segments[1:])
    )


def path_fits(pattern: str, path: str) -> bool:
    return segments_fit(tuple(pattern.split("/")[1:]), tuple(path.split("/")[1:]))


def every_text(characters: str, longest: int) -> Iterator[str]:
    """All texts of these characters, the short ones first; never the empty one."""
    for length in range(1, longest + 1):
        yield from map("".join, product(characters, repeat=length))


def every_path(segments: Sequence[str], most: int) -> tuple[str, ...]:
    """All paths of up to `most` segments, the empty one among them where `segments` holds it."""
    return tuple(
        "/" + "/".join(path) for length in range(1, most + 1) for path in product(segments, repeat=length)
    )


def remove_dot_segments(path: str) -> str:
    """RFC 3986 §5.2.4, letter for letter."""
    left, out = path, ""
    while left:
        if left.startswith("../"):
            left = left[3:]
        elif left.startswith(("./", "/./")):
            left = left[2:]
        elif left == "/.":
            left = "/"
        elif left.startswith("/../") or left == "/..":
            left = "/" + left[4:]
            out = out[: max(out.rfind("/"), 0)]
        elif left in {".", ".."}:
            left = ""
        else:
            end = left.find("/", 1)
            end = len(left) if end < 0 else end
            out, left = out + left[:end], left[end:]
    return out


def server_readings(path: str) -> Iterator[str]:
    """What servers of different care make of a path before they look for dot segments."""
    for _ in range(3):
        for parameters in (path, re.sub(r";[^/]*", "", path)):
            yield parameters
            yield parameters.replace("\\", "/")
            yield re.sub(r"[/\\]+", "/", parameters)
        path = unquote(path, encoding="latin-1")


# Small alphabets on purpose: patterns and texts that have nothing in common teach nothing.
GLOBS: Final = st.text("ab*", min_size=1, max_size=7).filter(lambda glob: "**" not in glob)
TEXTS: Final = st.text("ab", max_size=9)
PATTERN_SEGMENTS: Final = st.sampled_from(("", "a", "b", "ab", "*", ANY, ANY, "a*", "*b", "a*b", "*a*b*"))
PATTERNS: Final = st.lists(PATTERN_SEGMENTS, min_size=1, max_size=6).map(lambda s: "/" + "/".join(s))
PATHS: Final = st.lists(
    st.sampled_from(("", "a", "b", "ab", "ba", "aab", "abab")), min_size=1, max_size=8
).map(lambda s: "/" + "/".join(s))

# What people write in paths, and what attackers do.
_PIECES: Final = (
    *("/", "/", "/", "a", "Bc", ".", ".", "..", "..", "-_~", ";", ";x=1", "+", ":@!$&'()*,="),
    *("%2e", "%2E", "%2f", "%2F", "%5c", "%5C", "%41", "%7e", "%7E", "%3b", "%3B", "%20", "%C3%A9"),
    *("%25", "%252e", "%252F", "%255c", "%253b", "%2541", "%32", "%65", "%00", "%1f", "%7F", "%2500"),
    *("\\", " ", "é", "\x00", "\n", "\x7f", "%", "%2", "%zz", "?", "#", '"', "<", "[", "|"),
)
_CLEAN_PIECES: Final = _PIECES[: _PIECES.index("\\")]
RAW_PATHS: Final = st.one_of(
    st.lists(st.sampled_from(_PIECES), max_size=12).map("".join),
    st.lists(st.sampled_from(_CLEAN_PIECES), max_size=12).map(lambda pieces: "/" + "".join(pieces)),
    st.lists(
        st.sampled_from(("a", "B", ".", "..", "%2e%2E", "x%41", "...", ".b")), min_size=1, max_size=7
    ).map(lambda segments: "/" + "/".join(segments)),
    st.text(max_size=30),
)


def mutated(sample: str, alphabet: str) -> st.SearchStrategy[str]:
    """The sample with some characters replaced, left out or put in."""
    edits = st.lists(
        st.tuples(st.integers(0, len(sample)), st.integers(0, 2), st.text(alphabet, max_size=2)), max_size=4
    )

    def edit(changes: list[tuple[int, int, str]]) -> str:
        text = sample
        for place, dropped, put in changes:
            text = text[:place] + put + text[place + dropped :]
        return text

    return edits.map(edit)
