"""Tokens that a source signs about itself: a client's assertion (RFC 7523 §3), GitHub's app token."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from proxy.core.secret import Secret
from proxy.core.signing import SigningAlgorithm
from proxy.core.structs import Struct
from proxy.tokens.compact import signing_input, to_base64url
from proxy.tokens.jose import (
    MAX_RSA_BITS,
    MIN_RSA_BITS,
    PrivateKey,
    algorithm_of,
    read_private_key,
    sign,
)


class KeyFault(Struct, frozen=True):
    """Why a private key cannot sign: one clause with what to do about it, without a byte of the key."""

    message: str


# What a key is by its algorithm.
_NAMES: Final = {
    SigningAlgorithm.RS256: f"an RSA key of {MIN_RSA_BITS} to {MAX_RSA_BITS} bits",
    SigningAlgorithm.ES256: "an EC key on the curve P-256",
}
# What people mount in place of a private key, by a mark that each of them bears. The first that fits.
_MISTAKEN: Final = (
    (b"ENCRYPTED", "it is encrypted: mount it without a passphrase (openssl pkcs8 -topk8 -nocrypt)"),
    (b"BEGIN OPENSSH PRIVATE KEY", "it is in OpenSSH's form: convert it (ssh-keygen -p -m PKCS8)"),
    (b"PUBLIC KEY-----", "it is a public key: mount the private key that belongs to it"),
    (b"BEGIN CERTIFICATE", "it is a certificate: mount the private key that belongs to it"),
    (b"KEY-----\\n", "its line breaks are written as \\n: mount it with real line breaks"),
    (b"LS0tLS1CRUdJTi", "it is base64 on top of PEM: decode it once before it is mounted"),
    (b"-----BEGIN", "its PEM block is damaged or of an unknown kind: mount the file as it was issued"),
)
_NO_PEM: Final = "it is not PEM: mount the file that begins with -----BEGIN and has PRIVATE KEY in that line"


def signed_assertion(
    claims: Mapping[str, object],
    private_key: Secret,
    *,
    algorithm: SigningAlgorithm,
    key_id: str = "",
) -> Secret | KeyFault:
    """A token of these claims, in which times may stand as `datetime`; a naive one is taken as UTC."""
    key = _read(private_key.reveal(), algorithm)
    if isinstance(key, KeyFault):
        return key
    header = {"alg": algorithm.value, "typ": "JWT", **({"kid": key_id} if key_id else {})}
    signed = signing_input(header, {name: _json_value(value) for name, value in claims.items()})
    return Secret(signed + b"." + to_base64url(sign(signed, key)))


def _json_value(value: object) -> object:
    """RFC 7519 §2, NumericDate: whole seconds, because not every verifier reads a fraction."""
    if not isinstance(value, datetime):
        return value
    aware = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
    return int(aware.timestamp())


def _read(pem: bytes, algorithm: SigningAlgorithm) -> PrivateKey | KeyFault:
    key = read_private_key(pem)
    if key is None:
        return _no_key(pem)
    if not isinstance(key, str) and algorithm_of(key) is algorithm:
        return key
    what = key if isinstance(key, str) else _NAMES[algorithm_of(key)]
    return KeyFault(
        f"it is {what}, and {algorithm.value} needs {_NAMES[algorithm]}: mount one, or change the algorithm"
    )


def _no_key(pem: bytes) -> KeyFault:
    if not pem.strip():
        return KeyFault("it is empty: mount a private key in PEM")
    return KeyFault(next((message for mark, message in _MISTAKEN if mark in pem), _NO_PEM))
