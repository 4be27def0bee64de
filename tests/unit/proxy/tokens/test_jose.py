"""Each direction against another implementation: PyJWT signs what we check, and checks what we sign."""

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from proxy.core.secret import Secret
from proxy.core.signing import SigningAlgorithm
from proxy.tokens.jose import (
    PrivateKey,
    algorithm_of,
    is_signed,
    jwk_members,
    new_private_key,
    p256_public_key,
    private_key_pem,
    public_key_der,
    read_private_key,
    rsa_public_key,
    sign,
)

KEYS = {algorithm: new_private_key(algorithm) for algorithm in SigningAlgorithm}
EACH = pytest.mark.parametrize("algorithm", SigningAlgorithm, ids=lambda algorithm: algorithm.value)
ANYTHING = pytest.mark.parametrize(
    "signature", [b"", b"\0" * 64, b"\xff" * 64, b"\0" * 256, b"x" * 10_000], ids=len
)


@EACH
def test_what_we_sign_another_implementation_accepts(algorithm: SigningAlgorithm) -> None:
    key = KEYS[algorithm]
    theirs = jwt.get_algorithm_by_name(algorithm.value)

    assert theirs.verify(b"message", key.public_key(), sign(b"message", key))


@EACH
def test_what_another_implementation_signs_we_accept(algorithm: SigningAlgorithm) -> None:
    key = KEYS[algorithm]
    signature = jwt.get_algorithm_by_name(algorithm.value).sign(b"message", key)

    assert is_signed(b"message", signature, key.public_key())
    assert not is_signed(b"massage", signature, key.public_key())


@EACH
@ANYTHING
def test_bytes_that_are_no_signature_are_none(algorithm: SigningAlgorithm, signature: bytes) -> None:
    assert not is_signed(b"message", signature, KEYS[algorithm].public_key())


@EACH
def test_the_key_decides_by_which_algorithm(algorithm: SigningAlgorithm) -> None:
    key = KEYS[algorithm]

    assert algorithm_of(key) is algorithm_of(key.public_key()) is algorithm


# --- reading and writing keys --------------------------------------------------------------------


@EACH
@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_private_keys_are_read_in_both_forms(algorithm: SigningAlgorithm, form: PrivateFormat) -> None:
    pem = KEYS[algorithm].private_bytes(Encoding.PEM, form, NoEncryption())
    read = read_private_key(pem)

    assert isinstance(read, PrivateKey)
    assert private_key_pem(read) == private_key_pem(KEYS[algorithm])


def pem_of(key: PrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.mark.parametrize(
    ("pem", "answer"),
    [
        (pem_of(rsa.generate_private_key(65537, 1024)), "an RSA key of 1024 bits"),
        (pem_of(ec.generate_private_key(ec.SECP384R1())), "an EC key on the curve secp384r1"),
        (pem_of(ed25519.Ed25519PrivateKey.generate()), "neither an RSA nor an EC key"),
        (b"", None),
        (b"no key", None),
        (
            KEYS[SigningAlgorithm.ES256].private_bytes(
                Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")
            ),
            None,
        ),
        (
            KEYS[SigningAlgorithm.ES256]
            .public_key()
            .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
            None,
        ),
    ],
    ids=["rsa-1024", "p-384", "ed25519", "empty", "text", "encrypted", "public"],
)
def test_what_is_wrong_with_another_key_is_told(pem: bytes, answer: str | None) -> None:
    assert read_private_key(pem) == answer


@EACH
def test_the_members_of_a_jwk_make_the_same_key(algorithm: SigningAlgorithm) -> None:
    public = KEYS[algorithm].public_key()
    reader = RSAAlgorithm if algorithm is SigningAlgorithm.RS256 else ECAlgorithm

    assert reader.from_jwk(dict(jwk_members(public))) == public


@EACH
def test_a_key_is_written_as_other_programs_read_it(algorithm: SigningAlgorithm) -> None:
    key = KEYS[algorithm]

    assert isinstance(private_key_pem(key), Secret)
    assert public_key_der(key.public_key()) == key.public_key().public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )


def test_numbers_that_make_no_key_make_none() -> None:
    assert rsa_public_key(15, 2) is None
    assert p256_public_key(1, 1) is None
    assert p256_public_key(2**256 - 1, 1) is None
