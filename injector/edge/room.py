"""How much of bodies is held at one time, counted as they arrive: what a head promises costs nothing.

Who says much and then nothing is in nobody's way: where room is short, the body goes of which nothing came
for the longest time. An API server's body comes in one go.
"""

from collections.abc import Callable
from typing import Final, final

from proxy.core.structs import Struct

# Four of the largest, or a thousand ordinary reviews.
MAX_HELD_BODIES: Final = 32 << 20


def nobody_waits() -> None:
    """For the rest of a body."""


class Part(Struct, eq=False):
    """What is there of one body. `give_up` wakes whoever waits for the rest of it."""

    give_up: Callable[[], None] = nobody_waits
    held: int = 0
    crowded_out: bool = False


@final
class Room:
    def __init__(self, most: int = MAX_HELD_BODIES) -> None:
        self._free = most
        # What is not whole yet, in the order in which something came of it last.
        self._growing: dict[Part, None] = {}

    def hold(self, part: Part, size: int) -> None:
        """So much of it is there now."""
        if part.crowded_out:
            return
        self._free -= size - part.held
        part.held = size
        self._growing.pop(part, None)
        self._growing[part] = None
        while self._free < 0:
            # Whole ones do not go, so the one that grew may be the only one that can.
            stalest = next(iter(self._growing))
            self.leave(stalest)
            stalest.crowded_out = True
            stalest.give_up()

    def whole(self, part: Part) -> None:
        """It waits for nothing but to be judged."""
        self._growing.pop(part, None)

    def leave(self, part: Part) -> None:
        self._growing.pop(part, None)
        self._free += part.held
        part.held = 0
