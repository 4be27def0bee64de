"""Google Cloud workload identity federation: the pod's token for an access token of Google's."""

from datetime import timedelta
from typing import Final

from proxy.core.parts import Part
from proxy.core.structs import Struct

PUBLIC_UNIVERSE: Final = "googleapis.com"
CLOUD_PLATFORM: Final = "https://www.googleapis.com/auth/cloud-platform"


class Impersonation(Struct, frozen=True):
    """The service account that the pod acts as, and those it goes through to become it."""

    service_account: str
    delegates: tuple[str, ...] = ()
    # None: Google's own default, one hour.
    lifetime: timedelta | None = None


class GcpWorkloadIdentity(Struct, frozen=True):
    """`provider` is `projects/…/providers/…`; without impersonation the token is the pool's own principal."""

    provider: str
    # Of the pod's token: what the provider allows.
    audience: str
    scopes: tuple[str, ...] = (CLOUD_PLATFORM,)
    impersonation: Impersonation | None = None
    universe: str = PUBLIC_UNIVERSE

    @property
    def parts(self) -> frozenset[Part]:
        return frozenset({Part.TOKEN})

    @property
    def pool(self) -> str:
        return self.provider.rpartition("/providers/")[0]


def default_audience(provider: str) -> str:
    """What a provider allows whose list of audiences is empty: its own name, with `https:` before it."""
    return f"https://iam.googleapis.com/{provider}"
