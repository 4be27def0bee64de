"""What an issuer says of itself (OpenID Connect Discovery 1.0 §3): its name, and where its keys are."""

from typing import Final
from urllib.parse import urlsplit

from proxy.core.structs import Struct
from proxy.tokens.faults import shown
from proxy.tokens.strict_json import NotJson, read_object

# Kubernetes' has 300 bytes, Google's 1,300, Entra's 2,100.
MAX_DISCOVERY_BYTES: Final = 64 * 1024


class Discovery(Struct, frozen=True):
    issuer: str
    jwks_uri: str


class DiscoveryFault(Struct, frozen=True):
    message: str


def read_discovery(data: bytes) -> Discovery | DiscoveryFault:
    if len(data) > MAX_DISCOVERY_BYTES:
        return DiscoveryFault(f"the discovery document has {len(data):,} bytes, more than any issuer's")
    read = read_object(data)
    if isinstance(read, NotJson):
        return DiscoveryFault(f"the discovery document {read.message}")
    issuer, jwks_uri = read.get("issuer"), read.get("jwks_uri")
    for name, value in (("issuer", issuer), ("jwks_uri", jwks_uri)):
        if not isinstance(value, str) or not value:
            return DiscoveryFault(f"the discovery document names no `{name}`")
    keys_at = str(jwks_uri)
    if not _is_https(keys_at):
        return DiscoveryFault(
            f"the issuer's keys are said to be at `{shown(keys_at)}`, which is no https URL: whoever stands "
            "between could put in keys of their own"
        )
    return Discovery(str(issuer), keys_at)


def _is_https(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return (
            parts.scheme == "https" and bool(parts.hostname) and parts.port != 0 and "@" not in parts.netloc
        )
    except ValueError:
        return False
