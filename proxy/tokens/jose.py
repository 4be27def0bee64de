"""Keys and signatures of RS256 and ES256 (RFC 7518 §3.3, §3.4). The room's one door to `cryptography`.

A key carries its algorithm: a signature is made and checked by the key's kind, and a token's header is
only compared with that. So no token chooses how it is verified (RFC 8725 §3.1).
"""

from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    EllipticCurvePublicNumbers,
)
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey, RSAPublicNumbers
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from proxy.core.signing import SigningAlgorithm

PublicKey = RSAPublicKey | EllipticCurvePublicKey
PrivateKey = RSAPrivateKey | EllipticCurvePrivateKey

# RFC 7518 §3.3: "A key of size 2048 bits or larger MUST be used".
MIN_RSA_BITS: Final = 2048
# Four times that is more than anybody uses. What it costs to check a signature grows with the square.
MAX_RSA_BITS: Final = 8192
# RFC 7518 §3.4: R and S, each as 32 bytes. The ASN.1 form that libraries make is not what a token has.
_HALF: Final = 32


def algorithm_of(key: PublicKey | PrivateKey) -> SigningAlgorithm:
    if isinstance(key, RSAPublicKey | RSAPrivateKey):
        return SigningAlgorithm.RS256
    return SigningAlgorithm.ES256


def sign(message: bytes, key: PrivateKey) -> bytes:
    if isinstance(key, RSAPrivateKey):
        return key.sign(message, PKCS1v15(), SHA256())
    r, s = decode_dss_signature(key.sign(message, ECDSA(SHA256())))
    return r.to_bytes(_HALF) + s.to_bytes(_HALF)


def is_signed(message: bytes, signature: bytes, key: PublicKey) -> bool:
    try:
        if isinstance(key, RSAPublicKey):
            key.verify(signature, message, PKCS1v15(), SHA256())
            return True
        if len(signature) != 2 * _HALF:
            return False
        r, s = int.from_bytes(signature[:_HALF]), int.from_bytes(signature[_HALF:])
        key.verify(encode_dss_signature(r, s), message, ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True


# --- keys --------------------------------------------------------------------------------------------


def read_private_key(pem: bytes) -> PrivateKey | str | None:
    """PKCS #1, PKCS #8 or SEC 1, unencrypted. Text: what is wrong with a key; None: this is no key."""
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None  # what the library says of it could quote it
    if isinstance(key, RSAPrivateKey):
        return key if is_sound_size(key.key_size) else f"an RSA key of {key.key_size} bits"
    if isinstance(key, EllipticCurvePrivateKey):
        return key if isinstance(key.curve, SECP256R1) else f"an EC key on the curve {key.curve.name}"
    return "neither an RSA nor an EC key"


def is_sound_size(rsa_bits: int) -> bool:
    return MIN_RSA_BITS <= rsa_bits <= MAX_RSA_BITS


def rsa_public_key(modulus: int, exponent: int) -> PublicKey | None:
    try:
        return RSAPublicNumbers(exponent, modulus).public_key()
    except (ValueError, UnsupportedAlgorithm):
        return None


def p256_public_key(x: int, y: int) -> PublicKey | None:
    """None for a point that is not on the curve."""
    try:
        return EllipticCurvePublicNumbers(x, y, SECP256R1()).public_key()
    except (ValueError, UnsupportedAlgorithm):
        return None
