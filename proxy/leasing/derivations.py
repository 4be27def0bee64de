"""Which keys are derived from a lease, and which lease each was made of."""

from collections.abc import Callable, Collection, Iterator
from typing import Final

from proxy.core.lease import LeaseKey, base_of

# Directory buckets and registries at one time. A pod uses a handful; one that makes up names (a grant may
# name buckets by a pattern) is not to make us ask, and remember, for each.
MAX_DERIVED: Final = 64


class Derivations:
    def __init__(self) -> None:
        # The id of the lease that it was made of; empty: it is yet to be made.
        self._made_of: dict[LeaseKey, str] = {}

    def __iter__(self) -> Iterator[LeaseKey]:
        return iter(tuple(self._made_of))

    def admit(self, key: LeaseKey, live: Callable[[], Collection[LeaseKey]]) -> LeaseKey | None:
        """Keep it from now on. Where there is no room, one makes it of which there is no live lease, or else
        the one that has been kept for longest: its key is returned, for whoever keeps its lease."""
        if key in self._made_of:
            return None
        gone = None
        if len(self._made_of) >= MAX_DERIVED:
            good = live()
            gone = next((kept for kept in self._made_of if kept not in good), next(iter(self._made_of)))
            del self._made_of[gone]
        self._made_of[key] = ""
        return gone

    def made(self, key: LeaseKey, lease_id: str) -> None:
        if key in self._made_of:
            self._made_of[key] = lease_id

    def is_outlived(self, key: LeaseKey, lease_id: str) -> bool:
        """Whether it was made of another lease than the live one. Said once: it is to be made anew."""
        if self._made_of[key] in {"", lease_id}:
            return False
        self._made_of[key] = ""
        return True

    def retain(self, bases: Collection[LeaseKey]) -> None:
        """Forget what is derived from anything else."""
        self._made_of = {key: made for key, made in self._made_of.items() if base_of(key) in bases}

    def forget(self, key: LeaseKey) -> None:
        del self._made_of[key]
