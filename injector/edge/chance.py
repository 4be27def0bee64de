"""Chance: characters of an alphabet, from the kernel's random bytes.

A pod takes some eighty of them. `secrets.choice` asks the kernel for each, and took an eighth of a review.
"""

from collections.abc import Callable, Iterator
from secrets import token_bytes
from typing import Final, final

# Some ten pods' worth.
_PIECE: Final = 1024
_BYTES: Final = 256


@final
class Chance:
    """No byte is used twice. For one thread."""

    def __init__(self, draw: Callable[[int], bytes] = token_bytes) -> None:
        self._draw = draw
        self._left: Iterator[int] = iter(b"")

    def __call__(self, alphabet: str) -> str:
        """One of at most 256 characters, each as likely as the others."""
        # What lies above the last whole alphabet would make its first characters likelier.
        fair = _BYTES - _BYTES % len(alphabet)
        while True:
            for byte in self._left:
                if byte < fair:
                    return alphabet[byte % len(alphabet)]
            self._left = iter(self._draw(_PIECE))
