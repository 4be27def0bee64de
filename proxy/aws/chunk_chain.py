"""The signatures in a body that is signed chunk by chunk: each covers its chunk and the signature before it.

"Signature Calculations for the Authorization Header: Transferring Payload in Multiple Chunks" and "Signature
calculations for trailing headers" (S3 API Reference). With SigV4a the scope has no region, and a signature is
padded to one length, because its DER has several; the padding is not part of what the next one covers.
"""

from collections.abc import Buffer, Callable, Iterable
from datetime import datetime
from functools import lru_cache
from hashlib import sha256
from hmac import compare_digest
from typing import Final, Protocol, Self

from proxy.aws import sigv4, sigv4a
from proxy.aws.signing_keys import derived_key, signing_keys
from proxy.aws.sigv4 import SigningKeys, SigningScope

HMAC_LENGTH: Final = 64
# The longest DER of P-256 has 72 bytes; aws-c-auth and S3 pad to that.
ECDSA_LENGTH: Final = 144
_PADDING: Final = "*"

_NOTHING: Final = sha256(b"").hexdigest()


class ChunkChain(Protocol):
    """Signs: each call gives the next signature as it stands on the wire."""

    @property
    def signature_length(self) -> int: ...

    def chunk(self, data: Buffer) -> bytes:
        """For the data of a chunk; the last chunk has none."""

    def trailer(self, canonical: Buffer) -> bytes:
        r"""For the trailing headers, `name:value\n` each: in lower case, without spaces, without the one that
        carries this signature."""


class _Texts:
    """What is signed, one after the other, under one head."""

    __slots__ = ("_chunk", "_trailer", "previous")

    def __init__(self, algorithm: str, timestamp: str, scope: str, seed: str) -> None:
        self._chunk = f"{algorithm}-PAYLOAD\n{timestamp}\n{scope}\n"
        self._trailer = f"{algorithm}-TRAILER\n{timestamp}\n{scope}\n"
        self.previous = seed

    def of_chunk(self, data: Buffer) -> bytes:
        return f"{self._chunk}{self.previous}\n{_NOTHING}\n{sha256(data).hexdigest()}".encode()

    def of_trailer(self, canonical: Buffer) -> bytes:
        return f"{self._trailer}{self.previous}\n{sha256(canonical).hexdigest()}".encode()


class _Chain:
    __slots__ = ("_sign", "_texts", "signature_length")

    def __init__(self, texts: _Texts, sign: Callable[[bytes], str], signature_length: int) -> None:
        self._texts = texts
        self._sign = sign
        self.signature_length = signature_length

    def chunk(self, data: Buffer) -> bytes:
        return self._next(self._texts.of_chunk(data))

    def trailer(self, canonical: Buffer) -> bytes:
        return self._next(self._texts.of_trailer(canonical))

    def _next(self, text: bytes) -> bytes:
        signature = self._texts.previous = self._sign(text)
        return signature.ljust(self.signature_length, _PADDING).encode()


class HmacChain(_Chain):
    __slots__ = ()

    @classmethod
    def of(cls, keys: SigningKeys, scope: SigningScope, seed: str) -> Self:
        key = signing_keys.of(keys.secret_access_key, scope.text)
        return cls(_Texts(sigv4.ALGORITHM, scope.timestamp, scope.text, seed), key.sign, HMAC_LENGTH)


class EcdsaChain(_Chain):
    __slots__ = ()

    @classmethod
    def of(cls, keys: SigningKeys, moment: datetime, service: str, seed: str) -> Self:
        key = sigv4a.ecdsa_keys.of(keys.secret_access_key, keys.access_key_id)
        scope = sigv4a.scope_text(moment, service)
        return cls(_Texts(sigv4a.ALGORITHM, sigv4.timestamp(moment), scope, seed), key.sign, ECDSA_LENGTH)


# --- what the client sent ----------------------------------------------------------------------------

type _Verifier = Callable[[bytes, bytes], bool]


class ChunkCheck:
    """Whether a chain is what one of the client's keys makes. The first signature decides which one."""

    __slots__ = ("_texts", "_verifiers", "signature_length")

    def __init__(self, texts: _Texts, verifiers: Iterable[_Verifier], signature_length: int) -> None:
        self._texts = texts
        self._verifiers = list(verifiers)
        self.signature_length = signature_length

    @classmethod
    def of(  # noqa: PLR0917 - an Authorization header, taken apart
        cls, algorithm: str, access_key_id: str, secrets: Iterable[str], timestamp: str, scope: str, seed: str
    ) -> Self | None:
        """`secrets` are placeholders, any of which the client may have signed with; the rest is what it says
        of itself. None for an algorithm that signs no chunks."""
        texts = _Texts(algorithm, timestamp, scope, seed)
        if algorithm == sigv4.ALGORITHM:
            return cls(texts, [_hmac_verifier(secret, scope) for secret in secrets], HMAC_LENGTH)
        if algorithm == sigv4a.ALGORITHM:
            keys = [_ecdsa_key(secret, access_key_id) for secret in secrets]
            return cls(texts, [key.made for key in keys], ECDSA_LENGTH)
        return None

    def matches(self, data: Buffer, claimed: bytes) -> bool:
        return self._is_next(self._texts.of_chunk(data), claimed)

    def matches_trailer(self, canonical: Buffer, claimed: bytes) -> bool:
        return self._is_next(self._texts.of_trailer(canonical), claimed)

    def _is_next(self, text: bytes, claimed: bytes) -> bool:
        """After a no, the chain stands where it stood."""
        signature = claimed.rstrip(_PADDING.encode())
        fitting = [verifier for verifier in self._verifiers if verifier(signature, text)]
        if not fitting:
            return False
        self._verifiers = fitting
        self._texts.previous = signature.decode()
        return True


# Not from the keys that are kept for leases: scopes of a client's choice would push those out.


def _hmac_verifier(secret: str, scope: str) -> _Verifier:
    key = derived_key(secret.encode(), scope)
    return lambda signature, text: compare_digest(key.sign(text).encode(), signature)


@lru_cache(maxsize=64)  # A pod's placeholders; each costs a point on the curve.
def _ecdsa_key(secret: str, access_key_id: str) -> sigv4a.EcdsaKey:
    return sigv4a.derived_ecdsa_key(secret.encode(), access_key_id)
