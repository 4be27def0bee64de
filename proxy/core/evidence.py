"""What the pod's identity rests on: a service-account token that was verified, or why there is none."""

from datetime import datetime
from enum import Enum

from proxy.core.structs import Struct


class Evidence(Struct, frozen=True):
    """A token that was verified against its issuer's keys. The token itself is not kept."""

    issuer: str
    key_id: str
    # SHA-256 of the token's id (`jti`), in hexadecimal digits: it tells tokens apart and opens nothing.
    token_hash: str
    pod_uid: str
    issued: datetime
    # Past this the token proves nothing any more, whatever was verified before.
    expires: datetime


class Unverified(Struct, frozen=True):
    """Why nobody has proved yet who the pod is: one clause for the people who can mend it."""

    message: str


Proof = Evidence | Unverified


class ProofOutcome(Enum):
    """How a look at the pod's token ended, besides the faults of the token itself."""

    VERIFIED = "verified"
    UNREADABLE = "unreadable"
    NO_KEYS = "no_keys"
