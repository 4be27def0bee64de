"""Chance: characters of an alphabet, from the kernel's random bytes.

A pod takes some eighty of them. `secrets.choice` asks the kernel for each, and took an eighth of a review.
"""

from collections.abc import Callable
from functools import lru_cache
from secrets import token_bytes
from typing import Final, final

# Some ten pods' worth.
_PIECE: Final = 1024
_BYTES: Final = 256
# One byte is one character.
_ENCODING: Final = "latin-1"


@final
class Chance:
    """No byte is used twice. For one thread."""

    def __init__(self, draw: Callable[[int], bytes] = token_bytes) -> None:
        self._draw = draw
        self._left = b""

    def __call__(self, alphabet: str, count: int) -> str:
        """So many of at most 256 characters of Latin-1, each as likely as the others."""
        characters, unfair = _fair(alphabet)
        text = ""
        while missing := count - len(text):
            if not self._left:
                self._left = self._draw(_PIECE)
            taken, self._left = self._left[:missing], self._left[missing:]
            text += taken.translate(characters, unfair).decode(_ENCODING)
        return text


@lru_cache(maxsize=8)  # there are three alphabets
def _fair(alphabet: str) -> tuple[bytes, bytes]:
    """The character of each byte, and the bytes that are left out: what lies above the last whole alphabet
    would make its first characters likelier."""
    size = len(alphabet)
    characters = "".join(alphabet[byte % size] for byte in range(_BYTES))
    return characters.encode(_ENCODING), bytes(range(_BYTES - _BYTES % size, _BYTES))
