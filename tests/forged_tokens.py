"""Tokens that no library would make: any header, any claims, any signature."""

import json
from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from tests.pod_tokens import TokenIssuer

Signer = Callable[[bytes], bytes]


def part(content: object) -> bytes:
    """Base64url of these bytes, or of this value's JSON."""
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    return urlsafe_b64encode(data).rstrip(b"=")


def signature(issuer: TokenIssuer, *, der: bool = False) -> Signer:
    """What the issuer's own key signs, whatever the header says; `der` is ECDSA as ASN.1 has it."""
    key = issuer._key

    def sign(message: bytes) -> bytes:
        if not isinstance(key, EllipticCurvePrivateKey):
            return key.sign(message, PKCS1v15(), SHA256())
        made = key.sign(message, ECDSA(SHA256()))
        return made if der else b"".join(number.to_bytes(32) for number in decode_dss_signature(made))

    return sign


def forged(header: object, claims: object, sign: Signer) -> bytes:
    signed = part(header) + b"." + part(claims)
    return signed + b"." + part(sign(signed))


def header_of(issuer: TokenIssuer, **changes: Any) -> dict[str, Any]:
    return {"alg": issuer.algorithm, "kid": issuer.key_id, **changes}
