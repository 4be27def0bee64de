import dataclasses

import pytest

from proxy.core.structs import Struct, hiding, replace


class Point(Struct, frozen=True):
    x: int
    y: int = 0


class Hidden(Struct, frozen=True):
    name: str
    key: bytes = b""

    __repr__ = hiding("key")


@dataclasses.dataclass(frozen=True)
class Old:
    x: int
    y: int = 0


@pytest.mark.parametrize("kind", [Point, Old])
def test_another_one_with_other_values(kind: type[Point] | type[Old]) -> None:
    first = kind(1, 2)
    assert replace(first, y=3) == kind(1, 3)
    assert first == kind(1, 2)


def test_a_value_does_not_change() -> None:
    with pytest.raises(AttributeError):
        Point(1).x = 2  # type: ignore[misc]


def test_values_of_two_classes_are_never_equal() -> None:
    class Place(Struct, frozen=True):
        x: int
        y: int = 0

    assert Point(1) != Place(1)
    assert len({Point(1), Point(1), Point(2)}) == 2


def test_what_is_hidden_is_not_printed() -> None:
    assert repr(Hidden("a", b"b")) == "Hidden(name='a')"
    assert repr([Hidden("a")]) == "[Hidden(name='a')]"
