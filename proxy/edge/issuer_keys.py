"""The keys with which the pod's token is verified: those in a file, or those that discovery finds."""

import errno
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit, urlunsplit

from proxy.core.secret import Secret
from proxy.core.settings import IdentitySettings
from proxy.core.structs import Struct
from proxy.edge.performing import Door
from proxy.files.snapshots import Unread, read_snapshot
from proxy.sources.steps import HttpCall, StepFailed
from proxy.tokens.compact import MAX_TOKEN_BYTES
from proxy.tokens.discovery import DiscoveryFault, read_discovery
from proxy.tokens.jwks import MAX_JWKS_BYTES, JwksFault, KeySet, read_jwks

# OpenID Connect Discovery 1.0 §4.
WELL_KNOWN: Final = "/.well-known/openid-configuration"


class IssuerKeys(Struct, frozen=True):
    issuer: str
    keys: KeySet


class NoKeys(Struct, frozen=True):
    """Why there are none: one clause for the people who can mend it."""

    message: str


class KeySource(Protocol):
    @property
    def fresh_seconds(self) -> float:
        """After how long keys are looked at again: a withdrawn one counts this much longer."""

    async def fetch(self) -> IssuerKeys | NoKeys: ...


class FileKeys(Struct, frozen=True):
    path: Path
    issuer: str
    fresh_seconds: float = 10.0

    async def fetch(self) -> IssuerKeys | NoKeys:
        data = read_file(self.path, MAX_JWKS_BYTES)
        if isinstance(data, Unreadable):
            return NoKeys(f"the issuer's keys cannot be read: {self.path} {data.why} (PODKEY_JWKS_FILE)")
        return _keys(self.issuer, data, str(self.path))


class DiscoveredKeys(Struct, frozen=True):
    door: Door
    settings: IdentitySettings
    # Signing keys change in months, and every pod of the cluster asks the same API server.
    fresh_seconds: float = 3600.0

    async def fetch(self) -> IssuerKeys | NoKeys:
        base = self.settings.discovery_url.rstrip("/")
        headers = self._authorization()
        if isinstance(headers, NoKeys):
            return headers
        answer = await self._get(base + WELL_KNOWN, headers)
        if isinstance(answer, NoKeys):
            return answer
        found = read_discovery(answer)
        if isinstance(found, DiscoveryFault):
            return NoKeys(f"{base}: {found.message}")
        wanted = self.settings.issuer or (found.issuer if headers else base)
        if found.issuer.rstrip("/") != wanted.rstrip("/"):
            # A public issuer is its own URL (Discovery §4.3); an API server may have any name.
            return NoKeys(
                f"{base} says that the issuer is {found.issuer[:200]}, and {wanted} was expected: correct "
                "PODKEY_ISSUER or PODKEY_DISCOVERY_URL"
            )
        # With a token, everything is asked of the server that it is for: what `jwks_uri` names is often an
        # address of the control plane (1.36 writes https://10.0.0.1:6443/…), and a token goes nowhere else.
        keys_at = _at(base, found.jwks_uri) if headers else found.jwks_uri
        data = await self._get(keys_at, headers)
        if isinstance(data, NoKeys):
            return data
        return _keys(found.issuer, data, keys_at)

    def _authorization(self) -> tuple[tuple[str, str | Secret], ...] | NoKeys:
        file = self.settings.discovery_token_file
        if file is None:
            return ()
        token = read_file(Path(file), MAX_TOKEN_BYTES)
        if isinstance(token, Unreadable):
            return NoKeys(
                f"the token with which the cluster is asked for its keys cannot be read: {file} {token.why}; "
                "mount one, or name the keys in PODKEY_JWKS_FILE, or set PODKEY_DISCOVERY_TOKEN_FILE to `-`"
            )
        return (("Authorization", Secret(b"Bearer " + token.strip())),)

    async def _get(self, url: str, headers: tuple[tuple[str, str | Secret], ...]) -> bytes | NoKeys:
        reply = await self.door.call(HttpCall("GET", url, (("Accept", "application/json"), *headers)))
        if isinstance(reply, StepFailed):
            return NoKeys(f"the issuer's keys cannot be fetched: {reply.message}")
        if reply.status != 200:
            hint = (
                ": the token is not for the API server, or its account lacks the role "
                "system:service-account-issuer-discovery"
                if reply.status in {401, 403}
                else ""
            )
            return NoKeys(f"the issuer's keys cannot be fetched: {url} answered {reply.status}{hint}")
        return reply.body


def _keys(issuer: str, data: bytes, where: str) -> IssuerKeys | NoKeys:
    keys = read_jwks(data)
    if isinstance(keys, JwksFault):
        return NoKeys(f"the issuer's keys at {where} are of no use: {keys.message}")
    return IssuerKeys(issuer, keys)


def _at(base: str, url: str) -> str:
    """The path of `url`, at the server of `base`."""
    there, wanted = urlsplit(base), urlsplit(url)
    return urlunsplit((there.scheme, there.netloc, wanted.path, wanted.query, ""))


class Unreadable(Struct, frozen=True):
    """`why` goes behind the file's name. One that is too large is there, and cannot be what it should be."""

    why: str
    is_too_large: bool = False


def read_file(path: Path, most: int) -> bytes | Unreadable:
    try:
        found = read_snapshot(path.parent, [path.name], most)[path.name]
    except OSError as error:
        missing = error.errno == errno.ENOENT
        return Unreadable("does not exist" if missing else f"cannot be read: {error.strerror}")
    if isinstance(found, Unread):
        return Unreadable(found.why)
    return found if len(found) <= most else Unreadable(f"is larger than {most} bytes", is_too_large=True)
