"""Against AWS's open implementation, aws-c-auth: its test vectors, and signatures that awscrt 0.38 made."""

from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from hmac import digest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.aws import sigv4a
from proxy.aws.sigv4 import SigningKeys, Style, Unsigned, canonical_request, payload_hash
from proxy.aws.sigv4a import ALGORITHM, EcdsaKey, derived_ecdsa_key, ecdsa_keys, scope_text, sign_v4a
from proxy.core.secret import Secret
from tests.signing_strategies import HEADERS, METHODS, MOMENTS, S3_PATHS, queries, signing_keys

# In pieces: what scanners take for a live key is an example.
ACCESS_KEY_ID = "AK" + "IDEXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG" + "+bPxRfiCYEXAMPLEKEY"
MOMENT = datetime(2015, 8, 30, 12, 36, tzinfo=UTC)
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
HOST = ("host", "example.amazonaws.com")


def keys(token: str | None = None) -> SigningKeys:
    return SigningKeys(ACCESS_KEY_ID, Secret(SECRET.encode()), Secret(token.encode()) if token else None)


# --- the key -----------------------------------------------------------------------------------------


def test_a_key_is_derived_as_aws_derives_it() -> None:
    """From `key_derivation_tests.c`: "derived in synchronicity with Golang and IAM implementations"."""
    key = derived_ecdsa_key(b"q+jcrXGc+0zWN6uzcl" + b"KVhvMmUsIfRPa4rlRandom", "AKISORANDOMAASORANDOM")
    assert key.point == (
        0x15D242CEEBF8D8169FD6A8B5A746C41140414C3B07579038DA06AF89190FFFCB,
        0x0515242CEDD82E94799482E4C0514B505AFCCF2C0C98D6A553BF539F424C5EC0,
    )


def test_the_next_counter_is_taken_where_a_candidate_is_too_great(monkeypatch: pytest.MonkeyPatch) -> None:
    """One in 2^32; so the candidates are given here."""
    candidates = [ORDER - 1, ORDER - 2]
    asked: list[bytes] = []

    def given_one(key: bytes, text: bytes, _: str) -> bytes:
        assert key == b"AWS4Asecret"
        asked.append(text)
        return candidates[len(asked) - 1].to_bytes(32)

    monkeypatch.setattr(sigv4a, "digest", given_one)
    key = derived_ecdsa_key(b"secret", "id")

    assert key.point == EcdsaKey(ORDER - 1).point
    assert asked == [b"\0\0\0\1AWS4-ECDSA-P256-SHA256\0id" + bytes([n]) + b"\0\0\1\0" for n in (1, 2)]


def test_a_secret_without_a_key_is_said_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sigv4a, "digest", lambda *_: b"\xff" * 32)
    with pytest.raises(ValueError, match="make a new one") as caught:
        derived_ecdsa_key(b"canary", "id")
    assert "canary" not in str(caught.value)


def test_the_key_of_another_id_is_another_key() -> None:
    assert derived_ecdsa_key(b"secret", "one").point != derived_ecdsa_key(b"secret", "two").point


# --- a signature -------------------------------------------------------------------------------------


def test_a_signature_is_a_function_of_key_and_text() -> None:
    """RFC 6979 appendix A.2.5, P-256 with SHA-256."""
    key = EcdsaKey(0xC9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721)
    r = "EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716"
    s = "F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8"
    assert key.sign(b"sample") == f"3046022100{r}022100{s}".lower()


@pytest.mark.parametrize(
    "broken",
    [
        lambda signature: b"",
        lambda signature: signature[:-2],
        lambda signature: signature + b"00",
        lambda signature: signature + b"**",
        lambda signature: signature.upper(),
        lambda signature: b" " + signature,
        lambda signature: signature[:-1],
        lambda signature: b"zz" + signature[2:],
        lambda signature: b"\xff\xff",
    ],
)
def test_only_the_one_form_of_a_signature_is_taken(broken: object) -> None:
    key = EcdsaKey(7)
    signature = key.sign(b"text").encode()
    assert key.made(signature, b"text")
    assert not key.made(broken(signature), b"text")  # type: ignore[operator]
    assert not key.made(signature, b"other")
    assert not EcdsaKey(8).made(signature, b"text")


# --- a request ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Vector:
    request: Unsigned
    service: str
    region_set: str
    style: Style
    # One that was made elsewhere.
    signature: str
    token: str | None = None


EMPTY = payload_hash(b"")
UNSIGNED = "UNSIGNED-PAYLOAD"
VECTORS = {
    "post-sts-header-after": Vector(
        Unsigned("POST", "/", "", (HOST,), EMPTY),
        "service",
        "us-east-1",
        Style.GENERAL,
        "30440220194490ec2a22f9887ef5ac6e7de6d33d24e5ca37cfaef719b3374fb450037e3902203a4913d7c0c1c2095b140d3c"
        "92456c33e85a3640666a8a3dee2e3a50f0648984",
    ),
    "get-vanilla-query-order-encoded": Vector(
        Unsigned("GET", "/", "Param-3=Value3&Param=Value2&%E1%88%B4=Value1", (HOST,), EMPTY),
        "service",
        "us-east-1",
        Style.GENERAL,
        "3044022042f88d908e5a81e5c14d252fa616914f9050d3d613b3c894af248abad15abfe302205b7b243179d0b66096941526"
        "2fa9f0b0de80a9ff278d02b181c720ed65a298e7",
    ),
    "a multi-region access point, by awscrt": Vector(
        Unsigned(
            "PUT",
            "/train/a%20b/%C3%A9%2B.tar",
            "partNumber=3&uploadId=a%2Fb",
            (("host", "mine.accesspoint.s3-global.amazonaws.com"), ("x-amz-content-sha256", UNSIGNED)),
            UNSIGNED,
        ),
        "s3",
        "*",
        Style.S3,
        "3045022100c8ef42f73e8d4c924ef4041997bf5ed2e69ed4092b0a2fba6c4740511a01612102206d9f898ca8b2bcf76c8edd"
        "4049f9a6871578cbe6857960906709cf531c1dc293",
        "token/of+it=",
    ),
    "two regions and a header twice, by awscrt": Vector(
        Unsigned(
            "GET",
            "/a//b/../%20c",
            "",
            (HOST, ("x-amz-meta-a", " two   words "), ("x-amz-meta-a", "2")),
            UNSIGNED,
        ),
        "service",
        "us-east-1,eu-*",
        Style.GENERAL,
        "3046022100ee5e9ef17f1a7ba9a6e5432905137750d1a9ef87715803d0f4d7a7d0d2e1f351022100929835377fc0e6800d8d"
        "1398fea0b93b186e798e4bafeaf90af405d2b83599bf",
    ),
}


@pytest.mark.parametrize("vector", VECTORS.values(), ids=VECTORS)
def test_what_others_signed_is_what_we_sign(vector: Vector) -> None:
    """Their nonces are chance, so the texts are compared: by verifying their signature and ours."""
    own = keys(vector.token)
    signed = sign_v4a(
        vector.request,
        own,
        MOMENT,
        vector.service,
        vector.region_set,
        vector.style,
        token_header="x-amz-security-token",
    )
    shown = dict(signed.headers)
    brought = [("x-amz-date", "20150830T123600Z"), ("x-amz-region-set", vector.region_set)]
    assert signed.headers[:2] == tuple(brought)
    if vector.token:
        assert shown["x-amz-security-token"] is own.session_token
        brought.append(("x-amz-security-token", vector.token))
    hashed, names = canonical_request(vector.request, brought, vector.style)
    text = f"{ALGORITHM}\n20150830T123600Z\n20150830/{vector.service}/aws4_request\n{hashed}".encode()

    key = derived_ecdsa_key(SECRET.encode(), ACCESS_KEY_ID)
    assert key.made(vector.signature.encode(), text)
    assert key.made(signed.seed.encode(), text)
    authorization = shown["authorization"]
    assert isinstance(authorization, Secret)
    assert authorization.reveal().decode() == (
        f"AWS4-ECDSA-P256-SHA256 Credential={ACCESS_KEY_ID}/20150830/{vector.service}/aws4_request, "
        f"SignedHeaders={names}, Signature={signed.seed}"
    )


@given(
    method=METHODS,
    path=S3_PATHS,
    query=queries(),
    headers=HEADERS,
    own=signing_keys(),
    moment=MOMENTS,
    style=st.sampled_from(Style),
)
def test_any_request_is_signed_for_whoever_knows_the_public_key(
    *,
    method: str,
    path: str,
    query: str,
    headers: tuple[tuple[str, str], ...],
    own: SigningKeys,
    moment: datetime,
    style: Style,
) -> None:
    request = Unsigned(method, path, query, (HOST, *headers), EMPTY)
    signed = sign_v4a(request, own, moment, "s3", "*", style, token_header="x-amz-s3session-token")
    assert signed == sign_v4a(request, own, moment, "s3", "*", style, token_header="x-amz-s3session-token")

    brought = [
        (name, value.reveal().decode() if isinstance(value, Secret) else value)
        for name, value in signed.headers
        if name != "authorization"
    ]
    hashed, _ = canonical_request(request, brought, style)
    text = f"{ALGORITHM}\n{brought[0][1]}\n{scope_text(moment, 's3')}\n{hashed}".encode()
    public = ecdsa_keys.of(own.secret_access_key, own.access_key_id)
    assert public.made(signed.seed.encode(), text)
    assert not public.made(signed.seed.encode(), text + b"0")


def test_the_vectors_are_of_this_derivation() -> None:
    """The first candidate, in the words of SP 800-108, to be read beside the code."""
    fixed = b"AWS4-ECDSA-P256-SHA256" + b"\0" + b"id" + b"\1" + (256).to_bytes(4)
    found = int.from_bytes(digest(b"AWS4A" + b"secret", (1).to_bytes(4) + fixed, sha256().name))
    assert derived_ecdsa_key(b"secret", "id").point == EcdsaKey(found + 1).point
