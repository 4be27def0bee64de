"""One live credential, in memory only: what a CredentialSource gave us, and until when it counts."""

from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from functools import lru_cache
from typing import Final

from proxy.core.credentials import CredentialRef, CredentialSource, Derivation, Derived
from proxy.core.parts import Part
from proxy.core.secret import Secret
from proxy.core.structs import Struct, replace


class LeaseKey(Struct, frozen=True, cache_hash=True):
    """Which credential, for what: one lease is kept for each. Made when a policy is put in force, and asked
    for with every request, so its hash is computed once."""

    source: CredentialSource
    # What the pod's grants narrow the credential to; empty where its kind cannot be narrowed.
    scope: str = ""

    @property
    def ref(self) -> CredentialRef:
        return self.source.ref


# Some directory buckets and registries, for each of which a pod asks again and again.
_REMEMBERED: Final = 256


@lru_cache(_REMEMBERED)
def derived_key(key: LeaseKey, what: Derivation) -> LeaseKey:
    """The key of what is made of that lease. Remembered, because each request asks for it."""
    return LeaseKey(replace(key.source, kind=Derived(key.source.kind, what)), key.scope)


def base_of(key: LeaseKey) -> LeaseKey:
    """The key of what a derived lease is made of; of any other, that key itself."""
    return _base_of(key) if isinstance(key.source.kind, Derived) else key


@lru_cache(_REMEMBERED)
def _base_of(key: LeaseKey) -> LeaseKey:
    kind = key.source.kind
    return LeaseKey(replace(key.source, kind=kind.base), key.scope) if isinstance(kind, Derived) else key


class Lease(Struct, frozen=True):
    """`id` names the lease in audit records. It tells that two leases differ, and nothing of their value."""

    id: str
    credential: CredentialRef
    parts: Mapping[Part, Secret]
    issued: datetime
    # None: the source does not say; it is asked again when what it reads has changed.
    expires: datetime | None = None


class LeaseEvent(Enum):
    """What can happen to a lease, as metrics count it."""

    ACQUIRED = "acquired"
    RENEWED = "renewed"
    FAILED = "failed"
    REVOKED = "revoked"
    REVOKE_FAILED = "revoke_failed"


class NoLease(Struct, frozen=True):
    """Why there is none: one sentence for the people who can mend it, without a byte of any secret."""

    credential: CredentialRef
    message: str


LeaseReply = Lease | NoLease
