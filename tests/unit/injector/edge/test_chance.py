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
    # Twice, for between the two are the bytes that would make some likelier.
    found = Counter(choose(alphabet, 2 * whole * len(alphabet)))
    assert found == dict.fromkeys(alphabet, 2 * whole)


def test_no_byte_is_used_twice_and_none_is_drawn_before_it_is_needed() -> None:
    drawn: list[int] = []

    def draw(size: int) -> bytes:
        drawn.append(size)
        return bytes([len(drawn)]) * size

    choose = Chance(draw)
    assert drawn == []
    assert (choose("abcd", 1000), len(drawn)) == ("b" * 1000, 1)
    assert (choose("abcd", 24), len(drawn)) == ("b" * 24, 1)
    assert (choose("abcd", 0), len(drawn)) == ("", 1)
    assert (choose("abcd", 1025), len(drawn)) == ("c" * 1024 + "d", 3)


def test_it_is_chance() -> None:
    choose = Chance()
    texts = {choose(ALPHABETS["hex"], 32) for _ in range(100)}
    assert len(texts) == 100
