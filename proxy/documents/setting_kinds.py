"""What an environment variable may hold, and the variable itself as a row of a table.

A parser takes text and returns a value or raises `Fault`. Messages show only the beginning of a value:
whoever confuses two variables may have put a key into the wrong one.
"""

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from enum import Enum
from typing import Final

from proxy.core.structs import Struct
from proxy.documents.problems import Fault, did_you_mean

PREFIX: Final = "PODKEY_"

# Enough to recognise a value by, too little to be a key.
SHOWN_CHARACTERS: Final = 12
# Linux holds PATH_MAX, 4096 bytes with the NUL.
MAX_PATH_LENGTH: Final = 4095


class Kind[T](Struct, frozen=True):
    """What a variable may hold, in words, and the parser that makes a value of it."""

    what: str
    parse: Callable[[str], T]


class Setting[T](Struct, frozen=True):
    """`default` is text and read like any other; where it is None, the variable must be set."""

    name: str
    kind: Kind[T]
    default: str | None
    doc: str

    def read(self, environment: Mapping[str, str]) -> T:
        """The value. An empty variable counts as unset: charts render an absent value so."""
        text = environment.get(self.name, "").strip()
        if not text:
            if self.default is None:
                raise Fault("it is not set", f"set it to {self.kind.what}")
            text = self.default
        return self.kind.parse(text)


def flag_of(name: str) -> str:
    """`PODKEY_POLICY_DIR` as the option of a command: `--policy-dir`."""
    return "--" + name.removeprefix(PREFIX).lower().replace("_", "-")


def shown(text: str) -> str:
    """The beginning of a value, for a message."""
    beginning = text[:SHOWN_CHARACTERS].encode("unicode_escape").decode()
    return f"`{beginning}{'…' if len(text) > SHOWN_CHARACTERS else ''}`"


# --- kinds ---------------------------------------------------------------------------------------


def optional[T](kind: Kind[T]) -> Kind[T | None]:
    """The same, or nothing."""
    return Kind(kind.what, lambda text: kind.parse(text) if text else None)


def or_empty(kind: Kind[str]) -> Kind[str]:
    return Kind(kind.what, lambda text: kind.parse(text) if text else "")


def number(what: str, least: int, most: int) -> Kind[int]:
    words = f"{what} from {least} to {most}"

    def parse(text: str) -> int:
        value = int(text) if re.fullmatch(r"[0-9]{1,9}", text) else -1
        if not least <= value <= most:
            raise Fault(f"{shown(text)} is not {words}", f"write {words}")
        return value

    return Kind(words, parse)


# As Kubernetes writes quantities of memory, less the ones that are easily taken for these (`M`, `m`).
_BINARY: Final = {"": 1, "Ki": 1 << 10, "Mi": 1 << 20}


def _bytes_in(text: str) -> int:
    found = re.fullmatch(r"([0-9]{1,12})(Ki|Mi)?", text)
    if found is None:
        raise Fault(f"{shown(text)} is not a size", "write bytes, or a number with `Ki` or `Mi`: `16Mi`")
    return int(found[1]) * _BINARY[found[2] or ""]


def size(least: str, most: str) -> Kind[int]:
    """A size such as `16Mi`, in bytes; a plain number is bytes, too."""
    words = f"a size from {least} to {most}"

    def parse(text: str) -> int:
        value = _bytes_in(text)
        if not _bytes_in(least) <= value <= _bytes_in(most):
            raise Fault(f"{shown(text)} is not {words}", f"write {words}")
        return value

    return Kind(words, parse)


_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def _seconds_in(text: str) -> int:
    found = re.fullmatch(r"([0-9]{1,9})([smhd]?)", text)
    if found is None:
        fix = "write a whole number and its unit: `25s`, `10m`, `24h` or `90d`"
        raise Fault(f"{shown(text)} is not a time", fix)
    return int(found[1]) * _UNITS[found[2]]


def seconds(least: str, most: str) -> Kind[int]:
    """A time such as `25s`, in seconds; a plain number is seconds, too."""
    words = f"a time from {least} to {most}"

    def parse(text: str) -> int:
        value = _seconds_in(text)
        if not _seconds_in(least) <= value <= _seconds_in(most):
            raise Fault(f"{shown(text)} is not {words}", f"write {words}")
        return value

    return Kind(words, parse)


def lifetime(least: str, most: str) -> Kind[timedelta]:
    inner = seconds(least, most)
    return Kind(inner.what, lambda text: timedelta(seconds=inner.parse(text)))


def one_of[E: Enum](members: type[E]) -> Kind[E]:
    """A member of an enumeration by its value."""
    by_value = {str(member.value): member for member in members}
    *others, last = (f"`{value}`" for value in by_value)
    words = f"{', '.join(others)} or {last}"

    def parse(text: str) -> E:
        if text not in by_value:
            raise Fault(f"{shown(text)} is not {words}", did_you_mean(text, by_value))
        return by_value[text]

    return Kind(words, parse)


def items[T](kind: Kind[T], separator: str | None, between: str, *, least: int = 0) -> Kind[tuple[T, ...]]:
    """A list, in which nothing may stand twice. No separator: any blanks."""

    def parse(text: str) -> tuple[T, ...]:
        parts = (part.strip() for part in text.split(separator))
        values = tuple(kind.parse(part) for part in parts if part)
        if len(values) < least:
            raise Fault("it lists nothing", f"write {kind.what}")
        if len(set(values)) != len(values):
            raise Fault("something stands there twice", "write each once")
        return values

    return Kind(f"{kind.what}; several are separated by {between}", parse)


def _path(text: str) -> str:
    if len(text.encode(errors="surrogateescape")) > MAX_PATH_LENGTH:
        raise Fault(f"{shown(text)} is not a path", "write the path of a file or folder")
    return text


PATH: Final = Kind("a path", _path)


def matching(what: str, pattern: str, fix: str) -> Kind[str]:
    fits = re.compile(pattern).fullmatch

    def parse(text: str) -> str:
        if not fits(text):
            raise Fault(f"{shown(text)} is not {what}", fix)
        return text

    return Kind(what, parse)
