"""A folder that plays the cluster for a laptop: a signing key, its JWKS, and tokens for made-up pods."""

from datetime import timedelta
from pathlib import Path
from typing import Final
from uuid import uuid4

from proxy.core.secret import Secret
from proxy.core.signing import SigningAlgorithm
from proxy.edge.authority import replace_file
from proxy.edge.clock import SystemClock
from proxy.tokens.dev_issuer import (
    DevPod,
    discovery,
    key_id,
    key_set,
    pod_claims,
    public_jwk,
    signed_token,
)
from proxy.tokens.jose import PrivateKey, algorithm_of, new_private_key, private_key_pem, read_private_key
from proxy.tokens.jwks import MAX_KEYS
from proxy.tokens.strict_json import JsonObject, NotJson, read_object

KEY_FILE: Final = "signing-key.pem"
JWKS_FILE: Final = "jwks.json"
DISCOVERY_FILE: Final = "openid-configuration.json"

_SECRET: Final = 0o600
_PUBLIC: Final = 0o644
# An RSA-8192 key has 6.4 KB as PEM, and a full key set 30 KB.
_MAX_FILE_BYTES: Final = 64 * 1024
_INIT: Final = "make an issuer with `podkey dev issuer init`"


class DevIssuerError(Exception):
    """What stands in the way, and the fix."""

    def __init__(self, message: str, fix: str) -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix


def make_issuer(folder: Path, issuer: str, algorithm: SigningAlgorithm, *, replace: bool) -> str:
    """The id of its key."""
    _make_folder(folder)
    if (folder / KEY_FILE).exists() and not replace:
        fix = "choose another folder, or --force, which makes every token of this issuer worthless"
        raise DevIssuerError(f"{folder / KEY_FILE} is there already", fix)
    key = new_private_key(algorithm)
    _write(folder / JWKS_FILE, key_set(public_jwk(key)), _PUBLIC)
    _write(folder / DISCOVERY_FILE, discovery(issuer, algorithm.value), _PUBLIC)
    _write(folder / KEY_FILE, private_key_pem(key).reveal(), _SECRET)
    return key_id(key)


def issue_token(folder: Path, pod: DevPod, audience: str, lifetime: timedelta) -> Secret:
    claims = pod_claims(
        pod,
        issuer=_issuer(folder),
        audience=audience,
        token_id=str(uuid4()),
        now=SystemClock.now(),
        lifetime=lifetime,
    )
    return signed_token(claims, _signing_key(folder))


def rotate_key(folder: Path) -> str:
    """Sign with a new key; the older ones stay published, as long as tokens of theirs may live."""
    key = new_private_key(algorithm_of(_signing_key(folder)))
    keys = [public_jwk(key), *_published(folder)]
    if len(keys) > MAX_KEYS:
        raise DevIssuerError(f"the JWKS holds {MAX_KEYS} keys already", "drop the old ones: --drop-old")
    # Published before anything is signed with it.
    _write(folder / JWKS_FILE, key_set(*keys), _PUBLIC)
    _write(folder / KEY_FILE, private_key_pem(key).reveal(), _SECRET)
    return key_id(key)


def drop_old_keys(folder: Path) -> str:
    """Publish the key alone that signs: tokens of the older ones prove nothing from now on."""
    key = _signing_key(folder)
    _write(folder / JWKS_FILE, key_set(public_jwk(key)), _PUBLIC)
    return key_id(key)


def write_token(path: Path, token: Secret) -> None:
    """For its owner only, and at every moment whole: a sidecar reads it while it is renewed."""
    _make_folder(path.parent)
    _write(path, token.reveal(), _SECRET)


# --- files ---------------------------------------------------------------------------------------


def _issuer(folder: Path) -> str:
    issuer = _read_json(folder / DISCOVERY_FILE).get("issuer")
    if not isinstance(issuer, str) or not issuer:
        raise DevIssuerError(f"{folder / DISCOVERY_FILE} names no issuer", _INIT)
    return issuer


def _signing_key(folder: Path) -> PrivateKey:
    key = read_private_key(_read(folder / KEY_FILE))
    if key is None or isinstance(key, str):
        raise DevIssuerError(f"{folder / KEY_FILE} is no key that signs RS256 or ES256", _INIT)
    return key


def _published(folder: Path) -> list[dict[str, str]]:
    keys = _read_json(folder / JWKS_FILE).get("keys")
    if not isinstance(keys, list):
        raise DevIssuerError(f"{folder / JWKS_FILE} has no list `keys`", _INIT)
    return keys


def _read_json(path: Path) -> JsonObject:
    read = read_object(_read(path))
    if isinstance(read, NotJson):
        raise DevIssuerError(f"{path} {read.message}", _INIT)
    return read


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(_MAX_FILE_BYTES)
    except OSError as error:
        raise DevIssuerError(f"{path} cannot be read: {error.strerror}", _INIT) from None


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from None


def _write(path: Path, data: bytes, mode: int) -> None:
    try:
        replace_file(path, data, mode)
    except OSError as error:
        raise _unwritable(path, error) from None


def _unwritable(path: Path, error: OSError) -> DevIssuerError:
    return DevIssuerError(f"{path} cannot be written: {error.strerror}", "choose a place that you may write")
