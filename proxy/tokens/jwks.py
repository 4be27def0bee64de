"""An issuer's public keys (RFC 7517): bytes that a server sent become keys that tokens may be verified with.

What other programs use the set for is none of our business, so a key that is not for us is left out and
noted. What would make the set itself doubtful refuses it as a whole.
"""

from typing import Any, Final

from proxy.core.signing import SigningAlgorithm
from proxy.core.structs import Struct
from proxy.tokens.compact import from_base64url
from proxy.tokens.faults import shown
from proxy.tokens.jose import (
    MAX_RSA_BITS,
    MIN_RSA_BITS,
    PublicKey,
    algorithm_of,
    is_sound_size,
    p256_public_key,
    rsa_public_key,
)
from proxy.tokens.strict_json import JsonObject, NotJson, read_object

# A key of RSA-2048 takes 450 bytes, one with a chain of certificates 5 KB. Kubernetes publishes one to three;
# the largest sets of public providers have a dozen with chains.
MAX_JWKS_BYTES: Final = 64 * 1024
MAX_KEYS: Final = 64
# Kubernetes writes 43 characters, the hash of the key. A SHA-512 in hexadecimal digits has 128.
MAX_KEY_ID: Final = 128
# NIST SP 800-56B §6.2: 2^16 < e < 2^256. OpenSSL takes at most 64 bits with a large modulus.
_EXPONENTS: Final = range(2**16 + 1, 2**64)
# RFC 7518 §6.2.1.2: the whole size of the field, with leading zeros.
_P256_BYTES: Final = 32
_KEY_TYPES: Final = ("RSA", "EC")
# RFC 7518 §6.2.2, §6.3.2: what only the owner of a key knows.
_PRIVATE: Final = ("d", "p", "q", "dp", "dq", "qi", "oth")

# What people do about it.
_ADDRESS: Final = "see whether this is the address or the file of the issuer's JWKS"
_USABLE: Final = "have the issuer sign with RS256 or ES256"
# A message has room for a few.
_MAX_NAMED: Final = 3


class VerificationKey(Struct, frozen=True):
    key_id: str
    algorithm: SigningAlgorithm
    key: PublicKey


class KeySet(Struct, frozen=True):
    keys: tuple[VerificationKey, ...]
    # Keys that were left out and why: for a log, because a token that names one will be refused.
    notes: tuple[str, ...] = ()

    def find(self, key_id: str) -> VerificationKey | None:
        return next((key for key in self.keys if key.key_id == key_id), None)

    def names(self) -> str:
        """The first few, for a message."""
        more = ", …" if len(self.keys) > _MAX_NAMED else ""
        return ", ".join(f"`{key.key_id}`" for key in self.keys[:_MAX_NAMED]) + more


class JwksFault(Struct, frozen=True):
    """Why no key of the set is used: one clause with the fix."""

    message: str


def read_jwks(data: bytes) -> KeySet | JwksFault:
    if len(data) > MAX_JWKS_BYTES:
        return JwksFault(f"the key set has {len(data):,} bytes, more than {MAX_JWKS_BYTES:,}: {_ADDRESS}")
    if not data.strip():
        return JwksFault(f"the key set is empty, without a single byte of JSON: {_ADDRESS}")
    read = read_object(data)
    if isinstance(read, NotJson):
        return JwksFault(f"the key set {read.message}: {_ADDRESS}")
    listed = read.get("keys")
    if not isinstance(listed, list):
        return JwksFault(f"the key set has no list `keys`: {_ADDRESS}")
    if not listed:
        return JwksFault("the key set holds no key: see whether the issuer has a signing key")
    if len(listed) > MAX_KEYS:
        return JwksFault(f"the key set holds {len(listed):,} keys, more than {MAX_KEYS}: {_ADDRESS}")
    for key in listed:
        if isinstance(key, dict) and any(name in key for name in _PRIVATE):
            return JwksFault(
                f"the key set publishes the private half of {_called(key)}: "
                "replace that key, because whoever read it can make tokens"
            )
    return _key_set(listed)


def _key_set(listed: list[Any]) -> KeySet | JwksFault:
    found: dict[str, VerificationKey] = {}
    notes = []
    for entry in listed:
        key = _verification_key(entry)
        if isinstance(key, str):
            notes.append(key)
        elif found.setdefault(key.key_id, key) != key:
            return JwksFault(
                f"the key set has two different keys of the id `{key.key_id}`: "
                "have the issuer give each key an id of its own"
            )
    if not found:
        return JwksFault(f"the key set holds no usable key ({'; '.join(notes[:_MAX_NAMED])}): {_USABLE}")
    return KeySet(tuple(found.values()), tuple(notes))


def _verification_key(entry: object) -> VerificationKey | str:
    """The key, or why it is left out."""
    if not isinstance(entry, dict):
        return "a key is no JSON object"
    key_id = entry.get("kid")
    # A key without an id cannot be named by a token, and an id goes into audit records.
    if not isinstance(key_id, str) or not 0 < len(key_id) <= MAX_KEY_ID or not key_id.isprintable():
        return f"{_called(entry)} has no id of 1 to {MAX_KEY_ID} printable characters"
    reason = _not_for_us(entry)
    key = reason or (_rsa(entry) if entry["kty"] == "RSA" else _p256(entry))
    if isinstance(key, str):
        return f"{_called(entry)} {key}"
    algorithm = algorithm_of(key)
    if entry.get("alg", algorithm.value) != algorithm.value:
        return f"{_called(entry)} is for the algorithm `{shown(entry['alg'])}`"
    return VerificationKey(key_id, algorithm, key)


def _called(entry: JsonObject) -> str:
    key_id = entry.get("kid")
    return f"the key `{shown(key_id)}`" if isinstance(key_id, str) else "a key without an id"


def _not_for_us(entry: JsonObject) -> str:
    """RFC 7517 §4: what the key is, and what its owner wants it used for. Empty when it is for us."""
    if entry.get("kty") not in _KEY_TYPES:
        return f"is of the type `{shown(entry.get('kty'))}`"
    if entry.get("use", "sig") != "sig":
        return "is not for signatures (`use`)"
    operations = entry.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        return "is not for verifying (`key_ops`)"
    return ""


def _rsa(entry: JsonObject) -> PublicKey | str:
    modulus, exponent = _bytes(entry, "n"), _bytes(entry, "e")
    if modulus is None or exponent is None:
        return "has an `n` or `e` that is not base64url"
    n, e = int.from_bytes(modulus), int.from_bytes(exponent)
    if not is_sound_size(n.bit_length()):
        return f"has {n.bit_length()} bits, and RSA needs {MIN_RSA_BITS} to {MAX_RSA_BITS}"
    # Both are odd in every RSA key there is.
    sound = e in _EXPONENTS and e % 2 and n % 2
    return (rsa_public_key(n, e) if sound else None) or "has an unsound modulus or exponent"


def _p256(entry: JsonObject) -> PublicKey | str:
    if entry.get("crv") != "P-256":
        return f"is on the curve `{shown(entry.get('crv'))}`"
    x, y = _bytes(entry, "x"), _bytes(entry, "y")
    if x is None or y is None or len(x) != _P256_BYTES or len(y) != _P256_BYTES:
        return f"has an `x` or `y` that is not base64url of {_P256_BYTES} bytes"
    return p256_public_key(int.from_bytes(x), int.from_bytes(y)) or "is no point of its curve"


def _bytes(entry: JsonObject, name: str) -> bytes | None:
    value = entry.get(name)
    return from_base64url(value.encode()) if isinstance(value, str) and value.isascii() else None
