"""Keys that are derived from a secret access key, kept for as long as it lives.

A key of SigV4 counts for a day, a region and a service, and costs four HMACs; one of SigV4a costs a point on
a curve. What is kept hangs on the `Secret` itself and never on its bytes: two leases that hold the same bytes
derive twice, and what a lease derived goes with it.
"""

from collections.abc import Callable
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


def derived_key(secret_access_key: bytes, scope: str) -> bytes:
    """For what a scope names: `20260304/eu-central-1/s3/aws4_request`."""
    key = b"AWS4" + secret_access_key
    for part in scope.split("/"):
        key = digest(key, part.encode(), "sha256")
    return key


_KEPT: Final = DerivedKeys(derived_key)
signing_key: Final = _KEPT.of
