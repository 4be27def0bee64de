"""Which module acquires, renews and revokes which kind of credential: the closed table."""

from typing import assert_never

from proxy.core.credentials import SourceKind
from proxy.core.mounted_sources import MountedSecret
from proxy.sources import mounted_secret
from proxy.sources.steps import Acquired, Occasion, RevokeSteps, SourceSteps


def steps_of(kind: SourceKind, occasion: Occasion) -> SourceSteps:  # noqa: ARG001 - remote kinds read it
    match kind:
        case MountedSecret():
            return mounted_secret.acquire(kind)
        case _:
            assert_never(kind)


def renewal_of(kind: SourceKind, acquired: Acquired, occasion: Occasion) -> SourceSteps | None:  # noqa: ARG001 - likewise
    """How what was acquired is made to last longer; None: by acquiring anew."""
    match kind:
        case MountedSecret():
            return None
        case _:
            assert_never(kind)


def revocation_of(kind: SourceKind, acquired: Acquired, occasion: Occasion) -> RevokeSteps | None:  # noqa: ARG001 - likewise
    """How the source is told that a credential is not needed any more; None: it cannot be told."""
    match kind:
        case MountedSecret():
            return None
        case _:
            assert_never(kind)


def is_local(kind: SourceKind) -> bool:
    """Whether it reads files alone: then it is read again every second, and nobody is worn out by that."""
    return isinstance(kind, MountedSecret)
