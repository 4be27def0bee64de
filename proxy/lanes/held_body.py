"""What is kept of a request so that it could be sent once more."""

from collections.abc import Callable
from typing import Final

from proxy.transaction.opening import Forward, Opening

# Requests that may be sent twice without asking (RFC 9110 §9.2.2).
IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
# Of one request's body, until its answer begins. Calls of an API are some KiB; what is larger is an object,
# and its sender reads it from a file again.
HELD_BYTES: Final = 64 * 1024
# Of one first answer, to its end. That a credential is spent takes some hundred bytes to say, or a page of
# HTML; an answer that is longer goes to the application as it is.
HELD_ANSWER: Final = 16 * 1024


class HeldBody:
    """A request's body as it was sent, from its first byte; or nothing, once it was too much."""

    __slots__ = ("_data", "_is_whole", "_room", "may_go_twice")

    def __init__(self, room: Callable[[], int] | None = None) -> None:
        """`room`: what may be held on top at this moment, where others hold something, too."""
        self._room = room
        self._data = bytearray()
        self._is_whole = False
        # As far as the request itself goes, whatever its body.
        self.may_go_twice = False

    def allow(self, opening: Opening, method: str, declared: int, *, elsewhere: bool = False) -> None:
        """Begin, where the request could be sent again. `declared`: its body's length, as far as the head
        says it; `elsewhere`: the body is kept by somebody else."""
        attached = isinstance(opening, Forward) and opening.attached and not opening.is_websocket
        self.may_go_twice = attached and method in IDEMPOTENT
        self._is_whole = self.may_go_twice and (elsewhere or declared <= HELD_BYTES)

    @property
    def is_whole(self) -> bool:
        """Whether all that was sent is here."""
        return self._is_whole

    @property
    def size(self) -> int:
        return len(self._data)

    def keep(self, piece: bytes) -> None:
        if not self._is_whole:
            return
        has_room = self._room is None or len(piece) <= self._room()
        if self.size + len(piece) > HELD_BYTES or not has_room:
            self.drop()
        else:
            self._data += piece

    def drop(self) -> None:
        """It is not going to be sent again."""
        self._is_whole = False
        if self._data:
            self._data = bytearray()

    def take(self) -> bytes:
        """To send it again; not a third time."""
        data = bytes(self._data)
        self.drop()
        return data
