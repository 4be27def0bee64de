from collections import Counter
from collections.abc import Iterator

import pytest

from injector.edge.chance import Chance
from proxy.core.services import ALPHABETS


def every_byte() -> Iterator[bytes]:
    while True:
        yield bytes(range(256))


@pytest.mark.parametrize("alphabet", [*ALPHABETS.values(), "a", "abc", bytes(range(256)).decode("latin-1")])
def test_with_every_byte_once_every_character_comes_equally_often(alphabet: str) -> None:
    pieces = every_byte()
    choose = Chance(lambda _size: next(pieces))
    whole = 256 // len(alphabet)
    found = Counter(choose(alphabet) for _ in range(whole * len(alphabet)))
    assert found == dict.fromkeys(alphabet, whole)


def test_no_byte_is_used_twice_and_none_is_drawn_before_it_is_needed() -> None:
    drawn: list[int] = []

    def draw(size: int) -> bytes:
        drawn.append(size)
        return bytes([len(drawn)]) * size

    choose = Chance(draw)
    assert drawn == []
    first = [choose("abcd") for _ in range(1024)]
    assert (set(first), len(drawn)) == ({"b"}, 1)
    assert (choose("abcd"), len(drawn)) == ("c", 2)


def test_it_is_chance() -> None:
    choose = Chance()
    texts = {"".join(choose(ALPHABETS["hex"]) for _ in range(32)) for _ in range(100)}
    assert len(texts) == 100
