"""The certificate that one replica serves: signed by itself with the authority's key, kept in memory only."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, NoReturn, final

from injector.engine.authority import (
    LEAF_LIFETIME,
    MAX_STALENESS,
    Authority,
    AuthorityState,
    DrawKey,
    signer,
)
from proxy.core.hosts import Hostname
from proxy.core.structs import Struct, hiding
from proxy.x509.certificates import CLOCK_SKEW, Certificate, certificate_pem, is_signed_by, key_pem, sign_leaf

# Renewed when a third of its life is left: more than two days in which the API server may be away.
_RENEWAL_PART: Final = 3


@final
class ReplicaLeaf(Struct, frozen=True, eq=False):
    names: tuple[Hostname, ...]
    certificate: Certificate
    key_pem: bytes

    __repr__ = hiding("key_pem")

    @property
    def chain_pem(self) -> bytes:
        """What is sent: the leaf alone. The authority is what API servers have (RFC 8446 §4.4.2)."""
        return certificate_pem(self.certificate)

    @property
    def begins(self) -> datetime:
        return self.certificate.not_valid_before_utc

    @property
    def ends(self) -> datetime:
        return self.certificate.not_valid_after_utc

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a leaf holds a private key: it is not pickled or copied")

    def __copy__(self) -> NoReturn:
        self.__reduce_ex__(2)


def server_names(service: str, namespace: str, cluster_domain: str) -> tuple[Hostname, ...]:
    """API servers ask for `SERVICE.NAMESPACE.svc`; the others are for people and their tools."""
    names = (
        f"{service}.{namespace}.svc",
        f"{service}.{namespace}.svc.{cluster_domain}",
        f"{service}.{namespace}",
    )
    return tuple(map(Hostname, names))


def renewed_leaf(
    leaf: ReplicaLeaf | None,
    state: AuthorityState,
    *,
    seen: timedelta,
    names: Sequence[Hostname],
    now: datetime,
    draw: DrawKey,
) -> ReplicaLeaf | None:
    """A new leaf where one is due; `seen` is how long ago the state was known to be the Secret's.

    None: it goes on with the one that it has. That is so, too, when nobody may sign, or when the state is too
    old: the authority in it may have retired since, and be forgotten before such a leaf ends.
    """
    authority = signer(state, now)
    if authority is None or seen > MAX_STALENESS or not _is_due(leaf, authority, tuple(names), now):
        return None
    key = draw()
    begins = now.replace(microsecond=0) - CLOCK_SKEW  # certificates count in seconds
    certificate = sign_leaf(
        names[0],
        key,
        authority.certificate,
        authority.key,
        begins=begins,
        ends=min(begins + LEAF_LIFETIME, authority.ends),
        aliases=names[1:],
    )
    return ReplicaLeaf(tuple(names), certificate, key_pem(key))


def _is_due(
    leaf: ReplicaLeaf | None, authority: Authority, names: tuple[Hostname, ...], now: datetime
) -> bool:
    if leaf is None or leaf.names != names or not is_signed_by(leaf.certificate, authority.certificate):
        return True
    # One that ends with the authority is kept to the end: a new one could not live longer.
    margin = timedelta() if leaf.ends == authority.ends else (leaf.ends - leaf.begins) / _RENEWAL_PART
    return not leaf.begins <= now < leaf.ends - margin
