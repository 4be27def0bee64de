"""What a key prefix in a grant covers. The boundary is the slash: `train` is not `training-secret/`.

`train` covers the key `train` and every key below `train/`; `train/` covers every key below it; `train*`
covers every key that begins with `train`.
"""

from collections.abc import Iterable

from proxy.core.structs import Struct


class KeyPrefixes(Struct, frozen=True):
    """Several prefixes, made ready: keys that are covered by themselves, and beginnings of covered keys."""

    exact: frozenset[str]
    beginnings: tuple[str, ...]

    @classmethod
    def of(cls, prefixes: Iterable[str]) -> "KeyPrefixes":
        exact: list[str] = []
        beginnings: list[str] = []
        for prefix in prefixes:
            if prefix.endswith("*"):
                beginnings.append(prefix[:-1])
            elif prefix.endswith("/"):
                beginnings.append(prefix)
            else:
                exact.append(prefix)
                beginnings.append(prefix + "/")
        return cls(frozenset(exact), tuple(beginnings))

    def cover_key(self, key: str) -> bool:
        return key in self.exact or key.startswith(self.beginnings)

    def cover_listing(self, listed: str) -> bool:
        """Whether every key that begins with `listed` is covered."""
        return listed.startswith(self.beginnings)

    def meet(self, other: "KeyPrefixes") -> bool:
        """Whether some key is covered by both. Where an exact key is, so is one below it."""
        return any(map(self.cover_listing, other.beginnings)) or any(
            map(other.cover_listing, self.beginnings)
        )
