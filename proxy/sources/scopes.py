"""What the grants that use a source narrow its credential to: the second half of a lease's key."""

from collections.abc import Sequence

from proxy.aws.session_policy import WAYS_OUT, Underivable, session_policy
from proxy.core.aws_sources import AwsWebIdentity
from proxy.core.credentials import SourceKind
from proxy.core.policy import Grant
from proxy.core.services import Service
from proxy.core.structs import Struct


class ScopeFault(Struct, frozen=True):
    """Why the grants cannot be put into a scope: one clause, with the ways out."""

    message: str


def scope_of(kind: SourceKind, grants: Sequence[tuple[Grant, Service | None]]) -> str | ScopeFault:
    """Empty for a kind that cannot be narrowed."""
    match kind:
        case AwsWebIdentity():
            found = session_policy(kind, grants)
            return ScopeFault(f"{found.message}: {WAYS_OUT}") if isinstance(found, Underivable) else found
        case _:
            return ""
