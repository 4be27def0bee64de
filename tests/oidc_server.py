"""The npm package `oidc-provider` as a running authorization server; see tests/oidc_provider/server.mjs."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.pod_tokens import TokenIssuer, jwks
from tests.upstream_authority import UpstreamAuthority

ROOT: Final = Path(__file__).parents[1]
# Made by .ci/oidc-provider, which `make test` calls.
MODULES: Final = ROOT / ".tools" / "oidc-provider"
MISSING: Final = (
    "node is not installed"
    if shutil.which("node") is None
    else ""
    if (MODULES / ".installed").is_file()
    else "npm oidc-provider is not installed: run .ci/oidc-provider"
)

# What the server trusts the cluster's tokens for.
AUDIENCE: Final = "https://login.acme.example"
ACTOR_AUDIENCE: Final = "https://actor.acme.example"
# A resource that has JWT access tokens, and how long they live.
RESOURCE: Final = "https://api.acme.example"
RESOURCE_SECONDS: Final = 120
OPAQUE_SECONDS: Final = 600

EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
GRANTS: Final = ["client_credentials", EXCHANGE]


@dataclass(frozen=True)
class OidcServer:
    """`ca` is the file with the authority that its certificate comes from."""

    issuer: str
    ca: Path
    cluster: TokenIssuer

    @property
    def token_url(self) -> str:
        return f"{self.issuer}/token"

    @property
    def revocation_url(self) -> str:
        return f"{self.issuer}/token/revocation"

    @property
    def introspection_url(self) -> str:
        return f"{self.issuer}/token/introspection"


@contextmanager
def oidc_server(folder: Path, cluster: TokenIssuer, clients: list[dict[str, Any]]) -> Iterator[OidcServer]:
    authority = UpstreamAuthority(folder / "authority")
    certificate = authority.certificate("localhost")
    settings = {
        "modules": str(MODULES),
        "certificate": str(certificate.chain),
        "key": str(certificate.key),
        "clients": [{"grant_types": GRANTS, "scope": "read", **client} for client in clients],
        "cluster": {
            "issuer": cluster.issuer,
            "jwks": json.loads(jwks(cluster)),
            "audience": AUDIENCE,
            "actorAudience": ACTOR_AUDIENCE,
        },
        "resources": {RESOURCE: {"scope": "read", "accessTokenTTL": RESOURCE_SECONDS}},
    }
    log = folder / "oidc-provider.log"
    with (
        log.open("wb") as errors,
        subprocess.Popen(
            ["node", ROOT / "tests" / "oidc_provider" / "server.mjs"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(settings).encode())
            process.stdin.close()
            # It says one line when it listens, and none when it cannot: then its output ends.
            said = process.stdout.readline()
            assert said, log.read_text()
            yield OidcServer(json.loads(said)["issuer"], authority.file, cluster)
        finally:
            process.terminate()
