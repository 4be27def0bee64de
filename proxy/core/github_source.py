"""An installation token of a GitHub App, narrowed to repositories and permissions."""

from enum import Enum
from typing import Final

from proxy.core.parts import Part, SecretKey
from proxy.core.structs import Struct

GITHUB_API: Final = "https://api.github.com"


class GitHubLevel(Enum):
    """How much a permission allows, from the least to the most; each includes those before it."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


class GitHubApp(Struct, frozen=True):
    installation_id: int
    private_key: SecretKey
    # Exactly one of the two names the app.
    app_id: int | None = None
    client_id: str | None = None
    # Names without the owner: an installation belongs to one account. Empty: all that it was given.
    repositories: tuple[str, ...] = ()
    permissions: tuple[tuple[str, GitHubLevel], ...] = ()
    api_url: str = GITHUB_API

    @property
    def issuer(self) -> str:
        """What GitHub finds the app's public key by."""
        return self.client_id if self.client_id is not None else str(self.app_id)

    @property
    def parts(self) -> frozenset[Part]:
        return frozenset({Part.TOKEN})
