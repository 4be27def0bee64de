"""A credential that HashiCorp Vault or OpenBao keeps, or makes for us."""

from datetime import timedelta
from enum import Enum
from typing import Final

from proxy.core.parts import Part
from proxy.core.structs import Struct

# KV version 2 says no lifetime. Vault Agent reads such secrets again every five minutes, too
# (`static_secret_render_interval`), so whoever rotates one for Vault's own agent knows this number.
KV_MAX_AGE: Final = timedelta(minutes=5)


class VaultMethod(Enum):
    """How the pod's service-account token is verified at login."""

    # By the cluster that issued it (TokenReview).
    KUBERNETES = "kubernetes"
    # By the issuer's published keys.
    JWT = "jwt"


class VaultAuth(Struct, frozen=True):
    method: VaultMethod
    # Where the auth method is mounted, below `auth/`.
    mount: str
    role: str
    audience: str


class VaultKv2(Struct, frozen=True):
    """A secret that somebody wrote there: which of its keys holds which part."""

    mount: str
    path: str
    fields: tuple[tuple[Part, str], ...]
    # None: the latest one.
    version: int | None = None
    max_age: timedelta = KV_MAX_AGE


class VaultDynamic(Struct, frozen=True):
    """A secret that Vault makes when it is asked: an account of a database, keys of a cloud, a token."""

    path: str
    fields: tuple[tuple[Part, str], ...]
    # With parameters it is asked by a write, without by a read; engines tell the two apart.
    parameters: tuple[tuple[str, str], ...] = ()


class VaultSecret(Struct, frozen=True):
    address: str
    auth: VaultAuth
    read: VaultKv2 | VaultDynamic
    namespace: str = ""

    @property
    def parts(self) -> frozenset[Part]:
        return frozenset(part for part, _ in self.read.fields)
