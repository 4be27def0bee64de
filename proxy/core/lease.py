"""One live credential, in memory only: what a CredentialSource gave us, and until when it counts."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from proxy.core.credentials import CredentialRef, Part
from proxy.core.secret import Secret


@dataclass(frozen=True, slots=True)
class Lease:
    """`id` names the lease in audit records. It tells that two leases differ, and nothing of their value."""

    id: str
    credential: CredentialRef
    parts: Mapping[Part, Secret]
    issued: datetime
    # None: the source does not say; it is asked again when what it reads has changed.
    expires: datetime | None = None


@dataclass(frozen=True, slots=True)
class NoLease:
    """Why there is none: one sentence for the people who can mend it, without a byte of any secret."""

    credential: CredentialRef
    message: str


LeaseReply = Lease | NoLease
