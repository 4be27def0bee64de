"""What the whole process may hold of requests' bodies: those that are read before they are sent."""

from typing import Final

# Four bodies of the default limit. Beside the sidecar's own 64 MiB it leaves room below the 150 MiB that we
# promise.
DEFAULT_ROOM: Final = 64 * 1024 * 1024


class Room:
    """Taken before the bytes are kept, and given back when they are gone."""

    def __init__(self, size: int = DEFAULT_ROOM) -> None:
        self._size = size
        self.taken = 0

    def take(self, size: int) -> bool:
        """False: there is not that much; nothing was taken."""
        if self.taken + size > self._size:
            return False
        self.taken += size
        return True

    def give(self, size: int) -> None:
        self.taken -= size


class Share:
    """What one request has of the room. It cannot be given back twice."""

    __slots__ = ("_room", "size")

    def __init__(self, room: Room) -> None:
        self._room = room
        self.size = 0

    def resize(self, size: int) -> bool:
        """False: there is not that much; the share is what it was."""
        if size > self.size and not self._room.take(size - self.size):
            return False
        if size < self.size:
            self._room.give(self.size - size)
        self.size = size
        return True

    def release(self) -> None:
        self.resize(0)
