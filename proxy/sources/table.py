"""Which module acquires which kind of credential: the closed table."""

from typing import assert_never

from proxy.core.credentials import CredentialSource, MountedSecret
from proxy.sources import mounted_secret
from proxy.sources.steps import SourceSteps


def steps_of(source: CredentialSource) -> SourceSteps:
    match source.kind:
        case MountedSecret() as kind:
            return mounted_secret.acquire(kind)
        case _:
            assert_never(source.kind)
