"""SigV4a: SigV4 with asymmetric keys, for hosts that name no region. This room's one door to `cryptography`.

The canonical request is SigV4's with `x-amz-region-set` in it, the scope is SigV4's without the region, and
the key is one of ECDSA on P-256 that both sides derive from the secret ("Create a signed AWS API request",
IAM User Guide; AWS's open implementation is aws-c-auth). Nonces are RFC 6979's: a signature is a function.
"""

import re
from datetime import datetime
from hashlib import sha256
from hmac import digest
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, derive_private_key
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256

from proxy.aws.signing_keys import DerivedKeys
from proxy.aws.sigv4 import (
    TERMINATION,
    TOKEN_HEADER,
    Signed,
    SigningKeys,
    Style,
    Unsigned,
    authorization,
    canonical_request,
    timestamp,
    with_token,
)

ALGORITHM: Final = "AWS4-ECDSA-P256-SHA256"
REGION_SET_HEADER: Final = "x-amz-region-set"
ANY_REGION: Final = "*"

# The order of P-256 (FIPS 186-4 §D.1.2.3), less 2: the greatest candidate that is taken.
_GREATEST: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551 - 2
# The counter is one byte, and aws-c-auth stops here. To get so far has the chance of 2^-8000.
_LAST_COUNTER: Final = 254

_PREHASHED: Final = ECDSA(Prehashed(SHA256()))
_DETERMINISTIC: Final = ECDSA(Prehashed(SHA256()), deterministic_signing=True)
_LOWER_HEX: Final = re.compile(rb"(?:[0-9a-f]{2})+").fullmatch


class EcdsaKey:
    """Signs text, and tells whether a signature is its own; signatures are DER in hexadecimal."""

    __slots__ = ("_private", "_public")

    def __init__(self, number: int) -> None:
        self._private = derive_private_key(number, SECP256R1())
        self._public = self._private.public_key()

    def sign(self, text: bytes) -> str:
        return self._private.sign(sha256(text).digest(), _DETERMINISTIC).hex()

    def made(self, signature: bytes, text: bytes) -> bool:
        if not _LOWER_HEX(signature):
            return False
        try:
            self._public.verify(bytes.fromhex(signature.decode()), sha256(text).digest(), _PREHASHED)
        except InvalidSignature:
            return False
        return True

    @property
    def point(self) -> tuple[int, int]:
        """The public key."""
        numbers = self._public.public_numbers()
        return numbers.x, numbers.y


def derived_ecdsa_key(secret_access_key: bytes, access_key_id: str) -> EcdsaKey:
    """NIST SP 800-108 in counter mode with HMAC-SHA256, and once more with the next counter while the outcome
    is no private key."""
    key = b"AWS4A" + secret_access_key
    # One block of 256 bits: its number, the label, a zero, the context, the length in bits.
    opening = b"\0\0\0\1" + ALGORITHM.encode() + b"\0" + access_key_id.encode("latin-1")
    for counter in range(1, _LAST_COUNTER + 1):
        found = int.from_bytes(digest(key, opening + bytes([counter]) + b"\0\0\1\0", "sha256"))
        if found <= _GREATEST:
            return EcdsaKey(found + 1)
    raise ValueError("no key of SigV4a can be derived from this secret access key; make a new one")


ecdsa_keys: Final = DerivedKeys(derived_ecdsa_key)


def scope_text(moment: datetime, service: str) -> str:
    return f"{timestamp(moment)[:8]}/{service}/{TERMINATION}"


def sign_v4a(  # noqa: PLR0917 - what is signed, with what, and for when and where
    request: Unsigned,
    keys: SigningKeys,
    moment: datetime,
    service: str,
    region_set: str,
    style: Style,
    *,
    token_header: str = TOKEN_HEADER,
) -> Signed:
    """`region_set`: regions with commas between them, or `*`."""
    at, where = timestamp(moment), scope_text(moment, service)
    dated = (("x-amz-date", at), (REGION_SET_HEADER, region_set))
    brought, added = with_token(dated, keys.session_token, token_header)
    hashed, names = canonical_request(request, brought, style)
    key = ecdsa_keys.of(keys.secret_access_key, keys.access_key_id)
    seed = key.sign(f"{ALGORITHM}\n{at}\n{where}\n{hashed}".encode())
    return Signed((*added, authorization(ALGORITHM, keys, where, names, seed)), seed)
