from base64 import b64decode
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.oauth_sources import (
    ClientAuth,
    FederatedAssertion,
    Oauth2ClientCredentials,
    PrivateKeyJwt,
    SecretBasic,
    SecretPost,
)
from proxy.core.parts import SecretKey
from proxy.core.secret import Secret
from proxy.core.signing import SigningAlgorithm
from proxy.sources.oauth_clients import (
    ASSERTION_LIFETIME,
    ASSERTION_TYPE,
    Proof,
    client_hint,
    endpoint,
    form_call,
    narrowing,
    prove,
)
from proxy.sources.steps import StepFailed
from tests.source_world import NOON, OCCASION, World

URL = "https://login.example.com/token"
KEY = SecretKey("client", "key")
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
POD_TOKEN = b"header.claims.signature"


def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def proved(auth: ClientAuth | None, client: str | None = "trainer", held: bytes = b"s3cret") -> Proof:
    world = World(secrets={"client": {"key": held}}, tokens={"podkey": POD_TOKEN})
    proof = world.drive(prove(auth, client, URL, OCCASION))
    assert isinstance(proof, Proof), proof
    return proof


def fields(proof: Proof) -> dict[str, Any]:
    found = {name: value.decode() if isinstance(value, bytes) else value for name, value in proof.fields}
    assert len(found) == len(proof.fields)
    return found


def claims(auth: PrivateKeyJwt, key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> dict[str, Any]:
    found = fields(proved(auth, held=pem(key)))
    read: dict[str, Any] = jwt.decode(
        found["client_assertion"],
        key.public_key(),
        [auth.algorithm.value],
        audience=auth.audience or URL,
        options={"verify_exp": False, "verify_iat": False, "verify_nbf": False},
    )
    return read


# --- one method each -----------------------------------------------------------------------------------


def test_a_client_without_authentication_only_says_who_it_is() -> None:
    assert proved(None) == Proof((("client_id", "trainer"),))
    assert proved(None, None) == Proof()


@given(
    client=st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=12),
    secret=st.binary(min_size=1, max_size=12).filter(lambda held: held.strip() and not held.endswith(b"\n")),
)
def test_property_basic_gives_both_back_whatever_they_hold(client: str, secret: bytes) -> None:
    proof = proved(SecretBasic(KEY), client, secret)

    assert proof.fields == ()
    ((name, value),) = proof.headers
    assert (name, value.reveal()[:6]) == ("Authorization", b"Basic ")
    first, colon, second = b64decode(value.reveal()[6:], validate=True).decode("ascii").partition(":")
    assert (unquote_plus(first), colon) == (client, ":")
    assert unquote_plus(second, "latin-1").encode("latin-1") == secret


def test_post_puts_both_into_the_form_and_takes_the_line_break_off() -> None:
    proof = proved(SecretPost(KEY), held=b"s3cret\n")
    assert (fields(proof), proof.headers) == ({"client_id": "trainer", "client_secret": "s3cret"}, ())


def test_the_pods_own_token_is_the_assertion() -> None:
    proof = proved(FederatedAssertion("podkey"))
    assert proof.headers == ()
    assert fields(proof) == {
        "client_id": "trainer",
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": POD_TOKEN.decode(),
    }


def test_an_assertion_is_signed_for_the_token_endpoint_and_names_the_client_twice() -> None:
    found = claims(PrivateKeyJwt(KEY), RSA_KEY)
    assert found == {
        "iss": "trainer",
        "sub": "trainer",
        "aud": URL,
        "jti": OCCASION.nonce,
        "iat": found["iat"],
        "nbf": found["iat"],
        "exp": found["iat"] + ASSERTION_LIFETIME.total_seconds(),
    }
    now = NOON.timestamp()
    assert found["iat"] < now < found["exp"] <= now + timedelta(minutes=1).total_seconds()


def test_an_assertion_is_as_the_document_says() -> None:
    auth = PrivateKeyJwt(KEY, "k-1", SigningAlgorithm.ES256, "https://login.example.com")
    assert claims(auth, EC_KEY)["aud"] == "https://login.example.com"
    header = jwt.get_unverified_header(fields(proved(auth, held=pem(EC_KEY)))["client_assertion"])
    assert header == {"alg": "ES256", "typ": "JWT", "kid": "k-1"}
    plain = jwt.get_unverified_header(
        fields(proved(PrivateKeyJwt(KEY), held=pem(RSA_KEY)))["client_assertion"]
    )
    assert plain == {"alg": "RS256", "typ": "JWT"}


# --- what cannot be proved -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("auth", "what"),
    [
        (SecretBasic(SecretKey("client", "no")), "the client's secret: "),
        (SecretPost(SecretKey("client", "no")), "the client's secret: "),
        (PrivateKeyJwt(SecretKey("client", "no")), "the client's private key: "),
        (FederatedAssertion("other"), "the pod's token for the audience `other` cannot be read: "),
    ],
)
def test_what_is_not_mounted_is_told_by_name(auth: ClientAuth, what: str) -> None:
    failed = World(secrets={"client": {}}).drive(prove(auth, "trainer", URL, OCCASION))
    assert isinstance(failed, StepFailed)
    assert failed.message.startswith(what)


def test_a_key_that_cannot_sign_is_told_by_name_and_not_shown() -> None:
    held = pem(EC_KEY)
    world = World(secrets={"client": {"key": held}})
    failed = world.drive(prove(PrivateKeyJwt(KEY), "trainer", URL, OCCASION))
    assert isinstance(failed, StepFailed)
    assert failed.message.startswith(
        "the key `key` of the secret `client` cannot sign for the client: it is "
    )
    assert held.decode().splitlines()[1] not in failed.message


# --- what is posted ------------------------------------------------------------------------------------


def test_a_form_is_one_secret_and_its_fields_come_back_as_they_were() -> None:
    call = form_call(
        URL, [("a", "x y&=+%"), ("r", "1"), ("r", b"2\xff")], Proof((("c", "d"),), (("X", Secret(b"h")),))
    )
    assert (call.method, call.url) == ("POST", URL)
    assert dict(call.headers)["Content-Type"] == "application/x-www-form-urlencoded"
    assert dict(call.headers)["X"] == Secret(b"h")
    assert call.body is not None
    pairs = parse_qsl(call.body.reveal().decode("ascii"), encoding="latin-1", strict_parsing=True)
    assert pairs == [("a", "x y&=+%"), ("r", "1"), ("r", "2\xff"), ("c", "d")]


def test_what_a_token_shall_be_good_for_is_said_as_far_as_the_document_does() -> None:
    kind = Oauth2ClientCredentials(URL, "c", FederatedAssertion("podkey"))
    assert narrowing(kind) == []
    more = Oauth2ClientCredentials(
        URL, "c", FederatedAssertion("podkey"), ("a", "b"), "d", ("urn:1", "urn:2")
    )
    assert narrowing(more) == [
        ("scope", "a b"),
        ("audience", "d"),
        ("resource", "urn:1"),
        ("resource", "urn:2"),
    ]


# --- words for people ----------------------------------------------------------------------------------


def test_an_endpoint_is_named_by_its_host_and_never_by_its_query() -> None:
    assert endpoint("token", "https://a.example:8443/t?key=x") == "the token endpoint of a.example:8443"


@pytest.mark.parametrize(
    ("auth", "client", "hint"),
    [
        (None, None, "set `clientId`"),
        (None, "c", "check that the client `c` is registered as a public client, or set `auth`"),
        (
            SecretBasic(KEY),
            "c",
            "key `key` of the secret `client`, and that the client `c` is registered for client_secret_basic",
        ),
        (SecretPost(KEY), "c", "client_secret_post"),
        (PrivateKeyJwt(KEY), "c", f"takes the audience `{URL}` (`auth.privateKeyJwt.audience`)"),
        (PrivateKeyJwt(KEY, audience="urn:a"), "c", "takes the audience `urn:a`"),
        (
            FederatedAssertion("podkey"),
            "c",
            "subject `system:serviceaccount:ml:trainer` and the audience `podkey` for the client `c`",
        ),
    ],
)
def test_a_client_that_is_not_taken_is_told_what_to_look_at(
    auth: ClientAuth | None, client: str | None, hint: str
) -> None:
    assert hint in client_hint(auth, client, URL, OCCASION)
