"""Keys that are derived from a secret access key, kept for as long as it lives.

A key of SigV4 counts for a day, a region and a service, and costs four HMACs; one of SigV4a costs a point on
a curve. What is kept hangs on the `Secret` itself and never on its bytes: two leases that hold the same bytes
derive twice, and what a lease derived goes with it.
"""

from collections.abc import Callable
from hashlib import sha256
from hmac import digest
from typing import Final
from weakref import ref

from proxy.core.secret import Secret

# A pod signs for a handful of regions and services with a handful of leases. Above that the oldest is derived
# anew, which costs less than a request's path through a kernel.
MAX_KEPT: Final = 64

type _Place = tuple[int, str]


class DerivedKeys[Key]:
    """Memory for one kind of derivation: from the secret's bytes, for a purpose."""

    def __init__(self, derive: Callable[[bytes, str], Key]) -> None:
        self._derive = derive
        self._kept: dict[_Place, tuple[ref[Secret], Key]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def of(self, secret: Secret, purpose: str) -> Key:
        found = self._kept.get((id(secret), purpose))
        # An id is given again once its object is gone, so the object itself is compared. A secret that was
        # overwritten is false.
        if found is not None and found[0]() is secret and secret:
            return found[1]
        self._forget_the_dead()
        key = self._derive(secret.reveal(), purpose)
        self._keep(secret, purpose, key)
        return key

    def _keep(self, secret: Secret, purpose: str, key: Key) -> None:
        place = (id(secret), purpose)
        kept = self._kept

        def gone(dead: ref[Secret]) -> None:
            now = kept.get(place)
            if now is not None and now[0] is dead:
                del kept[place]

        while len(kept) >= MAX_KEPT:
            kept.pop(next(iter(kept)))
        kept[place] = (ref(secret, gone), key)

    def _forget_the_dead(self) -> None:
        """Those who still hold an overwritten secret do not hold what was derived from it."""
        for place, (secret, _) in list(self._kept.items()):
            if not secret():
                self._kept.pop(place, None)


# --- SigV4 -------------------------------------------------------------------------------------------

_INNER: Final = bytes(byte ^ 0x36 for byte in range(256))
_OUTER: Final = bytes(byte ^ 0x5C for byte in range(256))
_BLOCK: Final = 64


class HmacKey:
    """HMAC-SHA256 (RFC 2104 §2) with the key's half of the work done: half of what a signature would cost."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes) -> None:
        """For keys of at most a block; one that was derived has half of it."""
        padded = key.ljust(_BLOCK, b"\0")
        self._inner = sha256(padded.translate(_INNER))
        self._outer = sha256(padded.translate(_OUTER))

    def sign(self, text: bytes) -> str:
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(text)
        outer.update(inner.digest())
        return outer.hexdigest()


def derived_key(secret_access_key: bytes, scope: str) -> HmacKey:
    """For what a scope names: `20260304/eu-central-1/s3/aws4_request`."""
    key = b"AWS4" + secret_access_key
    for part in scope.split("/"):
        key = digest(key, part.encode(), "sha256")
    return HmacKey(key)


signing_keys: Final = DerivedKeys(derived_key)
