"""How a kind of credential is acquired, renewed and revoked: the closed table.

Kinds that ask somebody stand in `asking_table.py`, which is loaded when the first of them is used: their
modules take 20 ms of a start, and a pod whose secrets are mounted needs none of them.
"""

from proxy.core.aws_sources import AwsStatic
from proxy.core.credentials import SourceKind
from proxy.core.mounted_sources import MountedSecret
from proxy.sources import aws_static, mounted_secret
from proxy.sources.steps import Acquired, Occasion, RevokeSteps, SourceSteps


def steps_of(kind: SourceKind, occasion: Occasion) -> SourceSteps:
    match kind:
        case MountedSecret():
            return mounted_secret.acquire(kind)
        case AwsStatic():
            return aws_static.acquire(kind)
    from proxy.sources import asking_table  # noqa: PLC0415 - the joint

    return asking_table.steps_of(kind, occasion)


def renewal_of(kind: SourceKind, acquired: Acquired, occasion: Occasion) -> SourceSteps | None:
    """How what was acquired is made to last longer; None: by acquiring anew."""
    if isinstance(kind, MountedSecret | AwsStatic):
        return None
    from proxy.sources import asking_table  # noqa: PLC0415 - the joint

    return asking_table.renewal_of(kind, acquired, occasion)


def revocation_of(kind: SourceKind, acquired: Acquired, occasion: Occasion) -> RevokeSteps | None:
    """How the source is told that a credential is not needed any more; None: it cannot be told."""
    if isinstance(kind, MountedSecret | AwsStatic):
        return None
    from proxy.sources import asking_table  # noqa: PLC0415 - the joint

    return asking_table.revocation_of(kind, acquired, occasion)


def is_local(kind: SourceKind) -> bool:
    """Whether it reads files alone: then it is read again every second, and nobody is worn out by that."""
    return isinstance(kind, MountedSecret | AwsStatic)
