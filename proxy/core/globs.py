"""Text patterns with `*`, and sequences of them with `**`, for pins, paths and image repositories.

Matching runs over input that the application chooses, so the compiled expressions must not backtrack:
each piece after a star takes its leftmost match and keeps it (an atomic group). For patterns made of
literals and stars alone that loses no match, and the cost stays proportional to pattern times text.
"""

import re
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from typing import Final

from proxy.core.structs import Struct

ANY_SEGMENTS: Final = "**"

# A pattern is written by a person; more stars than this in one segment is a mistake.
MAX_STARS: Final = 4


def glob_expression(glob: str, any_char: str = "[^/]") -> str:
    """The regular expression for text in which `*` stands for any run of `any_char`, also an empty one."""
    first, *rest = (re.escape(piece) for piece in glob.split("*"))
    if not rest:
        return first
    *inner, last = rest
    return first + "".join(f"(?>{any_char}*?{piece})" for piece in inner if piece) + f"{any_char}*{last}"


def segments_expression(segments: Sequence[str]) -> str:
    """The regular expression for slash-led segments; `**` stands for any number of them, also none."""
    runs: list[list[str]] = [[]]
    for segment in segments:
        if segment == ANY_SEGMENTS:
            runs.append([])
        else:
            # A lone star is one segment that is there: `/v1/*` is not `/v1/`.
            expression = "[^/]+" if segment == "*" else glob_expression(segment)
            runs[-1].append("/" + expression)
    first, *rest = ("".join(run) for run in runs)
    if not rest:
        return first
    *inner, last = rest
    # The look-ahead keeps an atomic run from settling for the beginning of a longer segment.
    kept = "".join(f"(?>(?:/[^/]*)*?{run}(?=/|\\Z))" for run in inner if run)
    return f"{first}{kept}(?:/[^/]*)*{last}"


class Glob(Struct, frozen=True):
    """A pattern for one value, such as a bucket name: `*` stands for any run of characters but a slash."""

    text: str

    @property
    def expression(self) -> str:
        return glob_expression(self.text)

    @property
    def is_literal(self) -> bool:
        return "*" not in self.text

    def common(self, other: "Glob") -> str | None:
        """A value that both patterns match, or None where there is none."""
        return common_text(self.text, other.text)


def common_text(left: str, right: str) -> str | None:
    """A text that both globs match; never empty, because a value is never empty."""
    if "*" not in left and "*" not in right:
        return left if left == right else None
    found = _walk(left, right, star="*", meet=_meet_characters)
    return None if found is None else "".join(found) or "x"


def common_segments(left: Sequence[str], right: Sequence[str]) -> tuple[str, ...] | None:
    """Segments that both patterns match."""
    found = _walk(left, right, star=ANY_SEGMENTS, meet=_meet_segments)
    return None if found is None else tuple(found)


def _meet_characters(left: str, right: str) -> str | None:
    if left == right:
        return left
    if "*" not in {left, right} or "/" in {left, right}:  # no star stands for the slash in `org/name`
        return None
    return right if left == "*" else left


def _meet_segments(left: str, right: str) -> str | None:
    # An empty segment is a literal of its own: only an empty pattern segment matches it.
    if ANY_SEGMENTS in {left, right}:
        other = right if left == ANY_SEGMENTS else left
        return other.replace("*", "") or ("x" if other else "")
    if not left or not right:
        return "" if left == right else None
    return common_text(left, right)


def _walk(
    left: Sequence[str],
    right: Sequence[str],
    star: str,
    meet: Callable[[str, str], str | None],
) -> list[str] | None:
    """The shortest sequence that both patterns match: a breadth-first walk over (place, place)."""
    start, goal = (0, 0), (len(left), len(right))
    origin: dict[Hashable, tuple[tuple[int, int], str | None]] = {}
    queue = deque([start])
    seen = {start}
    while queue:
        place = queue.popleft()
        if place == goal:
            break
        i, j = place
        a = left[i] if i < len(left) else None
        b = right[j] if j < len(right) else None
        steps: list[tuple[tuple[int, int], str | None]] = []
        if a == star:
            steps.append(((i + 1, j), None))
        if b == star:
            steps.append(((i, j + 1), None))
        if a is not None and b is not None and not (a == star and b == star):
            both = meet(a, b)
            if both is not None:
                steps.append(((i + (a != star), j + (b != star)), both))
        for step, text in steps:
            if step not in seen:
                seen.add(step)
                origin[step] = (place, text)
                queue.append(step)
    if goal not in seen:
        return None
    found: list[str] = []
    place = goal
    while place != start:
        place, text = origin[place]
        if text is not None:
            found.append(text)
    return found[::-1]
