"""Fields of a pod by their type: what is absent or null is what Go makes of it, another type is a fault.

Places (`spec.containers[0].env[3].value`) are put into words only where something is wrong.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

# A label's key is at most 253 + 1 + 63 characters, but this much tells which one is meant.
_MAX_SHOWN: Final = 80
# A message is about one thing to change. Who changes it sees the others.
_MAX_LISTED: Final = 5
# Go has int64 for users, groups and ports.
_INT64: Final = range(-(2**63), 2**63)
_WORDS: Final = {bool: "true or false", int: "a number", float: "a number", str: "a text", list: "a list"}

type Raw = Mapping[str, Any]
# Where a value stands: its parent's place and its key or index there; at the top, a text.
type Place = str | tuple[Place, str | int]

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


def listed[T](names: Iterable[T], word: Callable[[T], str] = str) -> str:
    """The first of them, in a row, and how many there are besides."""
    every = list(names)
    more = len(every) - _MAX_LISTED
    return ", ".join(map(word, every[:_MAX_LISTED])) + (f" and {more} more" if more > 0 else "")


def words(place: Place) -> str:
    """A place as in a message. Keys of labels and resources are anybody's; those of Kubernetes have neither
    dots nor slashes."""
    if isinstance(place, str):
        return place
    holder, key = words(place[0]), place[1]
    if isinstance(key, int):
        return f"{holder}[{key}]"
    return f"{holder}.{key}".lstrip(".") if key.isalpha() else f"{holder}[{shown(key)}]"


def child(parent: Raw, key: str, place: Place) -> Raw:
    """An object; empty where there is none. `place` is the parent's, here and below."""
    value = parent.get(key)
    return NOTHING if value is None else as_object(value, (place, key))


def mapping(parent: Raw, key: str, place: Place) -> Raw:
    """An object whose keys are anybody's. YAML takes numbers and dates for keys, JSON does not."""
    found = child(parent, key, place)
    for name in found:
        if not isinstance(name, str):
            raise PodFault(f"{words((place, key))} has a key that is no text: write it in quotes")
    return found


def texts(parent: Raw, key: str, place: Place) -> Mapping[str, str]:
    found = mapping(parent, key, place)
    for value in found.values():
        if not isinstance(value, str):
            return {name: text(found, name, (place, key)) for name in found}
    return found


def items(parent: Raw, key: str, place: Place) -> Sequence[Any]:
    value = parent.get(key)
    if value is None:
        return ()
    if not isinstance(value, list):
        raise _fault((place, key), value, "a list")
    return value


def objects(parent: Raw, key: str, place: Place) -> Sequence[tuple[Place, Raw]]:
    """The items of a list, and their places."""
    found = items(parent, key, place)
    if not found:
        return ()
    here = (place, key)
    return [((here, index), as_object(item, (here, index))) for index, item in enumerate(found)]


def text(parent: Raw, key: str, place: Place) -> str:
    value = parent.get(key)
    if value is None:
        return ""
    return value if isinstance(value, str) else as_text(value, (place, key))


def flag(parent: Raw, key: str, place: Place) -> bool | None:
    value = parent.get(key)
    if value is not None and not isinstance(value, bool):
        raise _fault((place, key), value, "true or false")
    return value


def number(parent: Raw, key: str, place: Place) -> int | None:
    value = parent.get(key)
    return None if value is None else as_int(value, (place, key))


def as_object(value: object, place: Place) -> Raw:
    if not isinstance(value, dict):
        raise _fault(place, value, "an object")
    return value


def as_text(value: object, place: Place) -> str:
    if not isinstance(value, str):
        fault = _fault(place, value, "a text")
        raise PodFault(f"{fault.message}: write it in quotes") if is_number(value) else fault
    return value


def as_int(value: object, place: Place) -> int:
    # True is an int to Python, and 1337.0 is none to Go.
    if type(value) is not int or value not in _INT64:
        raise _fault(place, value, "a whole number")
    return value


def is_number(value: object) -> bool:
    """Also no number is an int of so many digits that Python refuses to write them."""
    return isinstance(value, float) or (type(value) is int and value in _INT64)


def _fault(place: Place, value: object, wanted: str) -> PodFault:
    found = "an object" if isinstance(value, dict) else _WORDS.get(type(value), "null")
    return PodFault(f"{words(place)} is {found}, where Kubernetes has {wanted}")
