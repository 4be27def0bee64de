"""What the grants that use a source narrow its credential to: the second half of a lease's key."""

from collections.abc import Sequence
from dataclasses import dataclass

from proxy.core.credentials import SourceKind
from proxy.core.policy import Grant
from proxy.core.services import Service


@dataclass(frozen=True, slots=True)
class ScopeFault:
    """Why the grants cannot be put into a scope: one clause, with the ways out."""

    message: str


def scope_of(kind: SourceKind, grants: Sequence[tuple[Grant, Service | None]]) -> str | ScopeFault:  # noqa: ARG001 - kinds that can be narrowed read them
    """Empty for a kind that cannot be narrowed."""
    return ""
