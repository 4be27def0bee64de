"""Colour for a terminal, plain text for a pipe."""

import os
import sys
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ink:
    """Marks text up, or leaves it as it is."""

    coloured: bool

    @classmethod
    def for_stdout(cls) -> "Ink":
        # https://no-color.org, and the terminals that cannot.
        plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
        return cls(sys.stdout.isatty() and not plain)

    def _in(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.coloured else text

    def strong(self, text: str) -> str:
        return self._in("1", text)

    def good(self, text: str) -> str:
        return self._in("32", text)

    def bad(self, text: str) -> str:
        return self._in("31", text)

    def warning(self, text: str) -> str:
        return self._in("33", text)

    def faint(self, text: str) -> str:
        return self._in("2", text)


def plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
