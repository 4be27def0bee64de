"""Colour for a terminal, plain text for a pipe, and nothing that a terminal would obey."""

import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple, TextIO

from proxy.documents.problems import Problem


class Ink(NamedTuple):
    """Marks text up, or leaves it as it is."""

    coloured: bool

    @classmethod
    def on(cls, stream: TextIO) -> "Ink":
        # https://no-color.org, and the terminals that cannot.
        plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
        return cls(stream.isatty() and not plain)

    def _in(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.coloured else text

    def strong(self, text: str) -> str:
        return self._in("1", text)

    def good(self, text: str) -> str:
        return self._in("32", text)

    def bad(self, text: str) -> str:
        return self._in("31", text)

    def faint(self, text: str) -> str:
        return self._in("2", text)


def plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def printable(text: str) -> str:
    """Text of a document or a request, with what a terminal obeys or reverses written as an escape.

    A policy from a stranger's pull request must not be able to repaint the report about it.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def problem_lines(problems: Iterable[Problem], ink: Ink) -> Iterator[str]:
    for problem in problems:
        place = f"{problem.file}:{problem.line}" if problem.line else problem.file
        where = f"{problem.path}: " if problem.path else ""
        code = ink.faint(f"[{problem.code.value}]")
        yield f"{ink.strong(printable(place))}: {printable(where + problem.message)} {code}"
        yield f"    fix: {printable(problem.fix)}"
