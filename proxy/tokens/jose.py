"""Keys and signatures of RS256 and ES256 (RFC 7518 §3.3, §3.4). The room's one door to `cryptography`.

A key carries its algorithm: a signature is made and checked by the key's kind, and a token's header is
only compared with that. So no token chooses how it is verified (RFC 8725 §3.1).
"""

from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
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
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from proxy.core.secret import Secret
from proxy.core.signing import SigningAlgorithm
from proxy.tokens.compact import to_base64url

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


# --- keys of our own: the development issuer ---------------------------------------------------------

# FIPS 186-5 appendix A.1.1, and what everybody uses.
_RSA_EXPONENT: Final = 65537


def new_private_key(algorithm: SigningAlgorithm) -> PrivateKey:
    """Chance, as in every signature of ES256. For the edge to call; nothing in this room does."""
    if algorithm is SigningAlgorithm.RS256:
        return rsa.generate_private_key(_RSA_EXPONENT, MIN_RSA_BITS)
    return ec.generate_private_key(SECP256R1())


def private_key_pem(key: PrivateKey) -> Secret:
    return Secret(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def public_key_der(key: PublicKey) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def jwk_members(key: PublicKey) -> dict[str, str]:
    """What makes the key, as RFC 7518 §6.2.1 and §6.3.1 write it."""
    if isinstance(key, RSAPublicKey):
        rsa_numbers = key.public_numbers()
        return {"kty": "RSA", "n": _unsigned(rsa_numbers.n), "e": _unsigned(rsa_numbers.e)}
    ec_numbers = key.public_numbers()
    x, y = (to_base64url(number.to_bytes(_HALF)).decode() for number in (ec_numbers.x, ec_numbers.y))
    return {"kty": "EC", "crv": "P-256", "x": x, "y": y}


def _unsigned(number: int) -> str:
    return to_base64url(number.to_bytes((number.bit_length() + 7) // 8)).decode()
