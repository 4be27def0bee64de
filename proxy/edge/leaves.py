"""Server certificates for the hosts that we open, made when they are first asked for and kept until they age.

All leaves of a process share one key, which is not the authority's: a leaf key is handed to TLS libraries and
signs every handshake, the authority's key signs certificates only. A key per host would double the cost of a
leaf and separate nothing: whoever reads one of them in our memory reads all of them.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, NoReturn, final

from proxy.core.hosts import Hostname, parse_hostname
from proxy.core.structs import Struct, hiding
from proxy.edge.authority import PodAuthority, TrustProblem
from proxy.x509.certificates import (
    CLOCK_SKEW,
    Certificate,
    PrivateKey,
    certificate_pem,
    key_pem,
    new_key,
    sign_leaf,
)

# A stolen leaf key is of use for a day at most (docs/adr/0004).
MAX_LEAF_LIFETIME: Final = timedelta(hours=24)

# A wildcard grant opens as many names as the application makes up. A leaf takes about 2 KiB, and the TLS
# context that a lane keeps with it about 31: 512 of them stay below 17 MiB.
MAX_CACHED_LEAVES: Final = 512

# Made anew when a quarter of its life is left: 6 hours of 24, longer than most connections live.
_RENEWAL_PART: Final = 4


@final
class Leaf(Struct, frozen=True, eq=False):
    """One host's certificate. A new leaf is a new object, so a TLS context may be kept by the leaf itself."""

    host: Hostname
    certificate: Certificate
    key: PrivateKey
    begins: datetime
    ends: datetime
    # What a server sends: the leaf alone. The root is what the client has (RFC 8446 §4.4.2).
    chain_pem: bytes

    __repr__ = hiding("key", "chain_pem")

    def key_pem(self) -> bytes:
        """The secret itself, for a TLS library that takes no key objects."""
        return key_pem(self.key)

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a leaf holds a private key: it is not pickled or copied")

    def __copy__(self) -> NoReturn:
        self.__reduce_ex__(2)


@final
class Leaves:
    """The leaves of one authority, least recently used first. For one thread: an event loop's."""

    def __init__(
        self,
        authority: PodAuthority,
        now: Callable[[], datetime],
        *,
        lifetime: timedelta = MAX_LEAF_LIFETIME,
        max_cached: int = MAX_CACHED_LEAVES,
    ) -> None:
        if not CLOCK_SKEW < lifetime <= MAX_LEAF_LIFETIME:
            raise ValueError(f"a leaf lives for more than {CLOCK_SKEW} and at most {MAX_LEAF_LIFETIME}")
        self._authority = authority
        self._now = now
        self._lifetime = lifetime
        self._max_cached = max_cached
        self._key = new_key()
        # Each with the time until when it is handed out.
        self._leaves: dict[Hostname, tuple[Leaf, datetime]] = {}
        self.minted = 0

    @property
    def cached(self) -> int:
        return len(self._leaves)

    @property
    def earliest_expiry(self) -> datetime | None:
        return min((leaf.ends for leaf, _ in self._leaves.values()), default=None)

    def use(self, authority: PodAuthority) -> None:
        """Go on with a renewed authority. Leaves are made anew: the old end may have cut theirs short."""
        self._authority = authority
        self._leaves.clear()

    def leaf_for(self, host: Hostname) -> Leaf | TrustProblem:
        """The leaf of exactly this host."""
        now = self._now()
        kept = self._leaves.pop(host, None)
        if kept is None or not kept[0].begins <= now < kept[1]:
            made = self._minted(host, now)
            if isinstance(made, TrustProblem):
                return made
            kept = made, self._fresh_until(made)
        self._leaves[host] = kept  # now the most recently used
        if len(self._leaves) > self._max_cached:
            del self._leaves[next(iter(self._leaves))]
        return kept[0]

    def _fresh_until(self, leaf: Leaf) -> datetime:
        # One that ends with the authority is kept to the end: a new one could not live longer.
        last = leaf.ends == self._authority.ends
        return leaf.ends if last else leaf.ends - (leaf.ends - leaf.begins) / _RENEWAL_PART

    def _minted(self, host: Hostname, now: datetime) -> Leaf | TrustProblem:
        if parse_hostname(host) != host:
            return TrustProblem(
                repr(host), "is no host name", "a leaf names one host, never a wildcard or an address"
            )
        begins = now.replace(microsecond=0) - CLOCK_SKEW  # certificates count in seconds
        ends = min(begins + self._lifetime, self._authority.ends)
        if ends <= now:
            reason = f"has ended at {self._authority.ends}"
            return TrustProblem(self._authority.name, reason, "restart the sidecar, which renews it")
        certificate = sign_leaf(
            host, self._key, self._authority.certificate, self._authority.key, begins=begins, ends=ends
        )
        self.minted += 1
        return Leaf(host, certificate, self._key, begins, ends, certificate_pem(certificate))

    def __repr__(self) -> str:
        return f"Leaves(cached={self.cached}, minted={self.minted})"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("leaves hold a private key: they are not pickled or copied")
