"""Fields of a pod by their type: what is absent or null is what Go makes of it, another type is a fault.

Places (`spec.containers[0].env[3].value`) are put into words only where something is wrong.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

# A label's key is at most 253 + 1 + 63 characters, but this much tells which one is meant.
_MAX_SHOWN: Final = 80
# A message is about one thing to change. Who changes it sees the others.
_MAX_LISTED: Final = 5
# Go has int64 for users, groups and ports.
_INT64: Final = range(-(2**63), 2**63)
_WORDS: Final = {bool: "true or false", int: "a number", float: "a number", str: "a text", list: "a list"}

type Raw = Mapping[str, Any]

NOTHING: Final[Raw] = {}


class PodFault(Exception):  # noqa: N818 - a fault in a pod, not an error of the program
    """What is wrong with a pod, and where."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


def shown(text: str) -> str:
    """A name that anybody may have written, for a message."""
    plain = text if text.isascii() and text.isprintable() else text.encode("unicode_escape").decode()
    return f"`{plain[:_MAX_SHOWN]}{'…' if len(plain) > _MAX_SHOWN else ''}`"


def listed(names: Iterable[object]) -> str:
    """The first of them, in a row, and how many there are besides."""
    words = list(map(str, names))
    more = len(words) - _MAX_LISTED
    return ", ".join(words[:_MAX_LISTED]) + (f" and {more} more" if more > 0 else "")


def place(path: str, key: str) -> str:
    """Keys of labels and resources are anybody's; those of Kubernetes have neither dots nor slashes."""
    return f"{path}.{key}".lstrip(".") if key.isalpha() else f"{path}[{shown(key)}]"


def child(parent: Raw, key: str, path: str) -> Raw:
    """An object; empty where there is none."""
    value = parent.get(key)
    return NOTHING if value is None else as_object(value, place(path, key))


def mapping(parent: Raw, key: str, path: str) -> Raw:
    """An object whose keys are anybody's. YAML takes numbers and dates for keys, JSON does not."""
    found = child(parent, key, path)
    if not all(isinstance(name, str) for name in found):
        raise PodFault(f"{place(path, key)} has a key that is no text: write it in quotes")
    return found


def texts(parent: Raw, key: str, path: str) -> Mapping[str, str]:
    found = mapping(parent, key, path)
    if all(isinstance(value, str) for value in found.values()):
        return found
    return {name: text(found, name, place(path, key)) for name in found}


def items(parent: Raw, key: str, path: str) -> Sequence[Any]:
    value = parent.get(key)
    if value is None:
        return ()
    if not isinstance(value, list):
        raise _fault(place(path, key), value, "a list")
    return value


def objects(parent: Raw, key: str, path: str) -> list[tuple[str, Raw]]:
    """The items of a list, and their places."""
    places = ((f"{path}.{key}[{index}]", item) for index, item in enumerate(items(parent, key, path)))
    return [(where, as_object(item, where)) for where, item in places]


def text(parent: Raw, key: str, path: str) -> str:
    value = parent.get(key)
    if value is None:
        return ""
    return value if isinstance(value, str) else as_text(value, place(path, key))


def flag(parent: Raw, key: str, path: str) -> bool | None:
    value = parent.get(key)
    if value is not None and not isinstance(value, bool):
        raise _fault(place(path, key), value, "true or false")
    return value


def number(parent: Raw, key: str, path: str) -> int | None:
    value = parent.get(key)
    return None if value is None else as_int(value, place(path, key))


def as_object(value: object, path: str) -> Raw:
    if not isinstance(value, dict):
        raise _fault(path, value, "an object")
    return value


def as_text(value: object, path: str) -> str:
    if not isinstance(value, str):
        fault = _fault(path, value, "a text")
        raise PodFault(f"{fault.message}: write it in quotes") if is_number(value) else fault
    return value


def as_int(value: object, path: str) -> int:
    # True is an int to Python, and 1337.0 is none to Go.
    if type(value) is not int or value not in _INT64:
        raise _fault(path, value, "a whole number")
    return value


def is_number(value: object) -> bool:
    """Also no number is an int of so many digits that Python refuses to write them."""
    return isinstance(value, float) or (type(value) is int and value in _INT64)


def _fault(path: str, value: object, wanted: str) -> PodFault:
    found = "an object" if isinstance(value, dict) else _WORDS.get(type(value), "null")
    return PodFault(f"{path} is {found}, where Kubernetes has {wanted}")
