from base64 import b64encode
from datetime import UTC, datetime, timedelta

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

from proxy.core.secret import Secret
from proxy.core.signing import SigningAlgorithm
from proxy.tokens.assertions import KeyFault, signed_assertion
from tests.canary import Canary

NOW = datetime(2026, 11, 20, 14, tzinfo=UTC)
RSA_KEY = rsa.generate_private_key(65537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
PLAIN = NoEncryption()
LOCKED = BestAvailableEncryption(b"passphrase")
RS256, ES256 = SigningAlgorithm.RS256, SigningAlgorithm.ES256
PKCS8, OLD, OPENSSH = PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL, PrivateFormat.OpenSSH
PEM = Encoding.PEM

RSA_PEM = RSA_KEY.private_bytes(PEM, PKCS8, PLAIN)
EC_PEM = EC_KEY.private_bytes(PEM, PKCS8, PLAIN)


@pytest.mark.parametrize("form", [PKCS8, OLD])
@pytest.mark.parametrize(("key", "algorithm"), [(RSA_KEY, RS256), (EC_KEY, ES256)])
def test_an_assertion_says_its_claims_under_the_key(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, algorithm: SigningAlgorithm, form: PrivateFormat
) -> None:
    claims = {
        "iss": "client",
        "aud": ["https://id.acme.example"],
        "iat": NOW,
        "exp": NOW + timedelta(minutes=5),
    }
    pem = Secret(key.private_bytes(PEM, form, PLAIN))

    made = signed_assertion(claims, pem, algorithm=algorithm, key_id="k1")

    assert isinstance(made, Secret)
    token = made.reveal().decode()
    options = {"verify_exp": False, "verify_iat": False, "verify_aud": False}
    read = jwt.decode(token, key.public_key(), [algorithm.value], options=options)
    assert read == {**claims, "iat": int(NOW.timestamp()), "exp": int(NOW.timestamp()) + 300}
    assert jwt.get_unverified_header(token) == {"alg": algorithm.value, "typ": "JWT", "kid": "k1"}


def test_a_key_without_an_id_is_not_named() -> None:
    made = signed_assertion({}, Secret(EC_PEM), algorithm=ES256)

    assert isinstance(made, Secret)
    assert jwt.get_unverified_header(made.reveal()) == {"alg": "ES256", "typ": "JWT"}


def test_a_naive_time_is_utc_and_a_fraction_is_dropped() -> None:
    naive = NOW.replace(tzinfo=None) + timedelta(seconds=0.9)
    made = signed_assertion({"iat": naive}, Secret(EC_PEM), algorithm=ES256)

    assert isinstance(made, Secret)
    claims = jwt.decode(made.reveal(), options={"verify_signature": False})
    assert claims == {"iat": int(NOW.timestamp())}


NO_PEM = "it is not PEM: mount the file that begins with -----BEGIN and has PRIVATE KEY in that line"
SOUND_RSA = "RS256 needs an RSA key of 2048 to 8192 bits: mount one, or change the algorithm"


@pytest.mark.parametrize(
    ("pem", "message"),
    [
        (b"", "it is empty: mount a private key in PEM"),
        (b" \n", "it is empty: mount a private key in PEM"),
        (b"\0\xff", NO_PEM),
        (EC_PEM, f"it is an EC key on the curve P-256, and {SOUND_RSA}"),
        (
            ec.generate_private_key(ec.SECP384R1()).private_bytes(PEM, PKCS8, PLAIN),
            f"it is an EC key on the curve secp384r1, and {SOUND_RSA}",
        ),
        (
            rsa.generate_private_key(65537, 1024).private_bytes(PEM, PKCS8, PLAIN),
            f"it is an RSA key of 1024 bits, and {SOUND_RSA}",
        ),
        (
            ed25519.Ed25519PrivateKey.generate().private_bytes(PEM, PKCS8, PLAIN),
            f"it is neither an RSA nor an EC key, and {SOUND_RSA}",
        ),
        (
            RSA_KEY.private_bytes(PEM, PKCS8, LOCKED),
            "it is encrypted: mount it without a passphrase (openssl pkcs8 -topk8 -nocrypt)",
        ),
        (
            RSA_KEY.private_bytes(PEM, OLD, LOCKED),
            "it is encrypted: mount it without a passphrase (openssl pkcs8 -topk8 -nocrypt)",
        ),
        (
            RSA_KEY.private_bytes(PEM, OPENSSH, PLAIN),
            "it is in OpenSSH's form: convert it (ssh-keygen -p -m PKCS8)",
        ),
        (
            RSA_KEY.public_key().public_bytes(PEM, PublicFormat.SubjectPublicKeyInfo),
            "it is a public key: mount the private key that belongs to it",
        ),
        (
            RSA_KEY.public_key().public_bytes(PEM, PublicFormat.PKCS1),
            "it is a public key: mount the private key that belongs to it",
        ),
        (
            b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
            "it is a certificate: mount the private key that belongs to it",
        ),
        (
            RSA_PEM.replace(b"\n", b"\\n"),
            "its line breaks are written as \\n: mount it with real line breaks",
        ),
        (b64encode(RSA_PEM), "it is base64 on top of PEM: decode it once before it is mounted"),
        (
            RSA_PEM[:300],
            "its PEM block is damaged or of an unknown kind: mount the file as it was issued",
        ),
    ],
)
def test_a_key_that_cannot_sign_is_told_apart_without_a_byte_of_it(
    pem: bytes, message: str, canary: Canary
) -> None:
    for line in pem.decode("latin-1").splitlines():
        if len(line) > 60 and "-----" not in line:
            canary.remember(line, "a line of the key")
    fault = signed_assertion({}, Secret(pem), algorithm=RS256)

    assert fault == KeyFault(message)
    canary.watch(repr(fault), "the fault")


def test_an_rsa_key_does_not_sign_es256() -> None:
    assert signed_assertion({}, Secret(RSA_PEM), algorithm=ES256) == KeyFault(
        "it is an RSA key of 2048 to 8192 bits, and ES256 needs an EC key on the curve P-256: "
        "mount one, or change the algorithm"
    )
