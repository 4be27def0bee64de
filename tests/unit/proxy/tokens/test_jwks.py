import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from proxy.core.signing import SigningAlgorithm
from proxy.tokens.jwks import MAX_JWKS_BYTES, MAX_KEY_ID, MAX_KEYS, JwksFault, KeySet, read_jwks
from tests.forged_tokens import part
from tests.pod_tokens import TokenIssuer, jwks
from tests.real_tokens import JWKS

RSA_ISSUER, EC_ISSUER = TokenIssuer(algorithm="RS256"), TokenIssuer()
RSA_JWK = {**RSA_ISSUER.jwk, "kid": "r1"}
EC_JWK = {**EC_ISSUER.jwk, "kid": "e1"}


def bare(jwk: dict[str, Any], *left_out: str) -> dict[str, Any]:
    return {name: value for name, value in jwk.items() if name not in left_out}


def written(*keys: object) -> bytes:
    return json.dumps({"keys": keys}).encode()


def key_set(*keys: object) -> KeySet:
    read = read_jwks(written(*keys))
    assert isinstance(read, KeySet)
    return read


def fault(data: bytes) -> str:
    read = read_jwks(data)
    assert isinstance(read, JwksFault)
    return read.message


def number(value: int) -> str:
    return part(value.to_bytes((value.bit_length() + 7) // 8)).decode()


# --- what is read --------------------------------------------------------------------------------


def test_the_keys_of_a_real_cluster_are_read() -> None:
    read = read_jwks(JWKS)

    assert isinstance(read, KeySet)
    assert [key.algorithm for key in read.keys] == [SigningAlgorithm.RS256]
    assert read.find("TWWXhdm501sgw2Zc0z1R0ZDC_ziVFDkv8gFQQM_SxXI") is read.keys[0]
    assert read.notes == ()


def test_a_key_is_found_by_its_id_and_no_other() -> None:
    read = read_jwks(jwks(RSA_ISSUER, EC_ISSUER))

    assert isinstance(read, KeySet)
    found = read.find(EC_ISSUER.key_id)
    assert found is not None
    assert (found.algorithm, found.key) == (SigningAlgorithm.ES256, EC_ISSUER._key.public_key())
    assert read.find("") is None
    assert read.find(EC_ISSUER.key_id[:-1]) is None


def test_the_key_itself_says_what_it_is_for_where_nobody_else_does() -> None:
    read = key_set(*(bare(jwk, "alg", "use", "key_ops") for jwk in (RSA_JWK, EC_JWK)))

    assert [key.algorithm.value for key in read.keys] == ["RS256", "ES256"]


def test_one_key_twice_is_one_key() -> None:
    assert len(key_set(EC_JWK, bare(EC_JWK, "alg")).keys) == 1


def test_a_message_names_the_first_few_keys() -> None:
    assert key_set(RSA_JWK, EC_JWK).names() == "`r1`, `e1`"
    assert key_set(*({**EC_JWK, "kid": f"k{n}"} for n in range(4))).names() == "`k0`, `k1`, `k2`, …"


def test_as_many_keys_as_the_limit_are_read() -> None:
    assert len(key_set(*({**EC_JWK, "kid": str(n)} for n in range(MAX_KEYS))).keys) == MAX_KEYS


# --- what is left out ----------------------------------------------------------------------------


def rsa_jwk(bits: int, **changes: str) -> dict[str, Any]:
    made = RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, bits).public_key(), as_dict=True)
    return {"kid": "r1", **made, **changes}


P384 = {"kid": "e1", **ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP384R1()).public_key(), as_dict=True)}
UNSOUND = "the key `r1` has an unsound modulus or exponent"
NO_ID = f"has no id of 1 to {MAX_KEY_ID} printable characters"


@pytest.mark.parametrize(
    ("key", "note"),
    [
        (7, "a key is no JSON object"),
        (bare(EC_JWK, "kid"), f"a key without an id {NO_ID}"),
        ({**EC_JWK, "kid": 7}, f"a key without an id {NO_ID}"),
        ({**EC_JWK, "kid": ""}, f"the key `` {NO_ID}"),
        ({**EC_JWK, "kid": "a\n\ud800"}, f"the key `a\\n\\ud800` {NO_ID}"),
        ({**EC_JWK, "kid": "k" * 129}, f"the key `{'k' * 100}…` {NO_ID}"),
        ({"kty": "oct", "kid": "o", "k": "c2VjcmV0", "alg": "HS256"}, "the key `o` is of the type `oct`"),
        ({"kty": "OKP", "kid": "o", "crv": "Ed25519", "alg": "EdDSA"}, "the key `o` is of the type `OKP`"),
        (bare(EC_JWK, "kty"), "the key `e1` is of the type `(NoneType)`"),
        ({**EC_JWK, "kty": ["EC"]}, "the key `e1` is of the type `(list)`"),
        ({**EC_JWK, "use": "enc"}, "the key `e1` is not for signatures (`use`)"),
        ({**EC_JWK, "key_ops": ["sign"]}, "the key `e1` is not for verifying (`key_ops`)"),
        ({**EC_JWK, "key_ops": "verify"}, "the key `e1` is not for verifying (`key_ops`)"),
        ({**RSA_JWK, "alg": "RS512"}, "the key `r1` is for the algorithm `RS512`"),
        ({**RSA_JWK, "alg": "HS256"}, "the key `r1` is for the algorithm `HS256`"),
        ({**RSA_JWK, "alg": "ES256"}, "the key `r1` is for the algorithm `ES256`"),
        ({**EC_JWK, "alg": None}, "the key `e1` is for the algorithm `(NoneType)`"),
        (rsa_jwk(1024), "the key `r1` has 1024 bits, and RSA needs 2048 to 8192"),
        ({**RSA_JWK, "n": number(2**8192 + 1)}, "the key `r1` has 8193 bits, and RSA needs 2048 to 8192"),
        ({**RSA_JWK, "n": number(2**2047)}, UNSOUND),
        ({**RSA_JWK, "e": number(3)}, UNSOUND),
        ({**RSA_JWK, "e": number(65538)}, UNSOUND),
        ({**RSA_JWK, "e": number(2**64 + 1)}, UNSOUND),
        ({**RSA_JWK, "e": "AQAB=="}, "the key `r1` has an `n` or `e` that is not base64url"),
        ({**RSA_JWK, "n": "é"}, "the key `r1` has an `n` or `e` that is not base64url"),
        (bare(RSA_JWK, "n"), "the key `r1` has an `n` or `e` that is not base64url"),
        (P384, "the key `e1` is on the curve `P-384`"),
        ({**EC_JWK, "x": number(1)}, "the key `e1` has an `x` or `y` that is not base64url of 32 bytes"),
        ({**EC_JWK, "y": number(2**256)}, "the key `e1` has an `x` or `y` that is not base64url of 32 bytes"),
        ({**EC_JWK, "x": 1}, "the key `e1` has an `x` or `y` that is not base64url of 32 bytes"),
        (bare(EC_JWK, "y"), "the key `e1` has an `x` or `y` that is not base64url of 32 bytes"),
        ({**EC_JWK, "x": EC_JWK["y"]}, "the key `e1` is no point of its curve"),
    ],
)
def test_a_key_that_is_not_for_us_is_left_out_with_a_note(key: object, note: str) -> None:
    other = {**TokenIssuer().jwk, "kid": "other"}

    beside = key_set(key, other)

    assert (beside.names(), beside.notes) == ("`other`", (note,))
    assert fault(written(key)) == (f"the key set holds no usable key ({note}): {USABLE}")


# --- what is refused -----------------------------------------------------------------------------

USABLE = "have the issuer sign with RS256 or ES256"
ADDRESS = "see whether this is the address or the file of the issuer's JWKS"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", f"the key set is empty, without a single byte of JSON: {ADDRESS}"),
        (b" \n", f"the key set is empty, without a single byte of JSON: {ADDRESS}"),
        (b"<html>", f"the key set is not JSON: {ADDRESS}"),
        (b"[]", f"the key set is not a JSON object: {ADDRESS}"),
        (b"{}", f"the key set has no list `keys`: {ADDRESS}"),
        (b'{"keys": {}}', f"the key set has no list `keys`: {ADDRESS}"),
        (b'{"keys": null}', f"the key set has no list `keys`: {ADDRESS}"),
        (b'{"keys": NaN}', f"the key set is not JSON: {ADDRESS}"),
        (b'{"keys": [], "keys": []}', f"the key set has a member twice: {ADDRESS}"),
        (b'{"keys": ' + b"[" * 60_000, f"the key set is nested too deeply: {ADDRESS}"),
        (b'{"keys": []}', "the key set holds no key: see whether the issuer has a signing key"),
        (b" " * (MAX_JWKS_BYTES + 1), f"the key set has 65,537 bytes, more than 65,536: {ADDRESS}"),
        (written(*[{}] * 65), f"the key set holds 65 keys, more than 64: {ADDRESS}"),
        (
            written(*[{}] * 4),
            f"the key set holds no usable key ({'; '.join([f'a key without an id {NO_ID}'] * 3)}): {USABLE}",
        ),
    ],
)
def test_what_is_no_key_set_is_refused_with_its_reason(data: bytes, message: str) -> None:
    assert fault(data) == message


@pytest.mark.parametrize("name", ["d", "p", "q", "dp", "dq", "qi", "oth"])
def test_a_published_private_key_refuses_the_whole_set(name: str) -> None:
    assert fault(written(EC_JWK, {**RSA_JWK, name: "AQAB"})) == (
        "the key set publishes the private half of the key `r1`: "
        "replace that key, because whoever read it can make tokens"
    )


def test_two_keys_of_one_id_refuse_the_whole_set() -> None:
    assert fault(written(EC_JWK, {**TokenIssuer().jwk, "kid": "e1"})) == (
        "the key set has two different keys of the id `e1`: have the issuer give each key an id of its own"
    )
