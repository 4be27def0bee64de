"""Signatures by themselves: for whom, over what, and with which keys not."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.attach.bodies import BodyFault
from proxy.attach.client_signature import ECDSA, HMAC, ClientSignature
from proxy.attach.payload import ChunkAlgorithm, SignedChunks, Unsigned, UnsignedTrailer
from proxy.attach.placing import MAX_CREDENTIAL_BYTES, Unplaceable
from proxy.attach.signing import (
    EXPRESS_TOKEN,
    MAX_ACCESS_KEY_ID,
    Call,
    SignedCall,
    Signer,
    Target,
    keys_of,
    spelled_one_way,
    target_of,
)
from proxy.aws.sigv4 import SigningKeys, Style
from proxy.core.hosts import Hostname
from proxy.core.parts import Part
from proxy.core.policy import StoreEndpoint
from proxy.core.queries import Query
from proxy.core.reasons import Reason
from proxy.core.secret import Secret
from proxy.core.structs import replace
from tests.judge_world import NOON

PARTS = {
    Part.ACCESS_KEY_ID: Secret(b"LEASEDKEY"),
    Part.SECRET_ACCESS_KEY: Secret(b"live/secret+key"),
    Part.SESSION_TOKEN: Secret(b"live//token=="),
}
KEYS = SigningKeys("LEASEDKEY", Secret(b"live/secret+key"), Secret(b"live//token=="))
EU = Target("s3", "eu-west-1", Style.S3)
ANYWHERE = Target("s3", None, Style.S3)
CALL = Call("PUT", "/k", "", "data.example.com", [("x-amz-meta-a", "b")])
CHUNKS = SignedChunks(ChunkAlgorithm.HMAC, has_trailer=False)
CLIENT = ClientSignature(HMAC, "PODKEY", "20260304/ap-south-1/s3/aws4_request", "00" * 32, "20260304T120000Z")


# --- keys --------------------------------------------------------------------------------------------


def test_a_pair_signs_with_a_session_or_without() -> None:
    assert keys_of(PARTS) == KEYS
    static = {part: value for part, value in PARTS.items() if part is not Part.SESSION_TOKEN}
    assert keys_of(static) == replace(KEYS, session_token=None)


@pytest.mark.parametrize(
    "name",
    [b"LEASED0123", b"account:user", b"test:tester", b"tenant$user", b"a" * MAX_ACCESS_KEY_ID, b"a-._~+=@"],
)
def test_stores_have_ids_of_many_kinds(name: bytes) -> None:
    assert isinstance(keys_of({**PARTS, Part.ACCESS_KEY_ID: Secret(name)}), SigningKeys)


NO_PAIR = "the credential has no AWS access key pair"
NO_ID = "the access key id is empty, too long, or holds what cannot stand in a signature"
NO_SECRET = "the secret access key is empty, or has a space or a line break at one end"
NO_TOKEN = "the session token is empty, too long, or holds what no header can carry"


@pytest.mark.parametrize(
    ("part", "value", "why"),
    [
        (Part.ACCESS_KEY_ID, None, NO_PAIR),
        (Part.SECRET_ACCESS_KEY, None, NO_PAIR),
        *(
            (Part.ACCESS_KEY_ID, value, NO_ID)
            for value in (
                *(
                    b"",
                    b"live,id",
                    b"live/id",
                    b"live;id",
                    b"live id",
                    b"live-id\n",
                    b"live\r\nid",
                    b"live\x00id",
                ),
                *("livé".encode(), b"live-id" + b"a" * MAX_ACCESS_KEY_ID),
            )
        ),
        *(
            (Part.SECRET_ACCESS_KEY, value, NO_SECRET)
            for value in (b"", b" ", b"live-secret\n", b"live-secret ", b"\tlive-secret")
        ),
        *(
            (Part.SESSION_TOKEN, value, NO_TOKEN)
            for value in (
                *(b"", b"live-token\n", b"live\r\ntoken", b"live token", "livé-token".encode()),
                b"live-token" + b"t" * MAX_CREDENTIAL_BYTES,
            )
        ),
    ],
)
def test_what_signs_nothing_is_told_by_its_part_and_not_shown(
    part: Part, value: bytes | None, why: str
) -> None:
    rest = {other: secret for other, secret in PARTS.items() if other is not part}
    found = keys_of(rest if value is None else {**rest, part: Secret(value)})

    assert found == Unplaceable(why)
    assert "live" not in repr(found)


@given(st.dictionaries(st.sampled_from(Part), st.binary(max_size=30)))
def test_whatever_signs_can_stand_in_a_header(values: dict[Part, bytes]) -> None:
    found = keys_of({part: Secret(value) for part, value in values.items()})
    if isinstance(found, SigningKeys):
        assert found.access_key_id.isprintable()
        assert not set(found.access_key_id) & set(", /;")
        assert found.session_token is None or found.session_token.reveal().isascii()


# --- targets -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "target"),
    [
        ("data.s3.eu-west-1.amazonaws.com", EU),
        ("s3.amazonaws.com", Target("s3", None, Style.S3, usual_region="us-east-1")),
        ("data.with.dots.s3.amazonaws.com", Target("s3", None, Style.S3, usual_region="us-east-1")),
        ("data.s3-accelerate.amazonaws.com", ANYWHERE),
        ("x.mrap.accesspoint.s3-global.amazonaws.com", Target("s3", None, Style.S3, is_global=True)),
        (
            "b--usw2-az1--x-s3.s3express-usw2-az1.us-west-2.amazonaws.com",
            Target("s3express", "us-west-2", Style.S3),
        ),
        ("bedrock-runtime.eu-west-1.amazonaws.com", Target("bedrock", "eu-west-1", Style.GENERAL)),
        ("dynamodb.us-gov-west-1.amazonaws.com", Target("dynamodb", "us-gov-west-1", Style.GENERAL)),
        ("api.example.com", None),
        ("s3.amazonaws.com.example.com", None),
        ("notamazonaws.com", None),
    ],
)
def test_a_host_says_for_whom_it_is(host: str, target: Target | None) -> None:
    assert target_of(Hostname(host), None) == target


def test_a_store_is_what_its_grant_says_it_is() -> None:
    store = StoreEndpoint(Hostname("s3.eu-west-1.amazonaws.com"), "eu-north-1")
    assert target_of(store.host, store) == Target("s3", "eu-north-1", Style.S3)


@pytest.mark.parametrize(("style", "is_s3"), [(Style.S3, True), (Style.GENERAL, False)])
def test_what_is_signed_as_s3_is_s3(style: Style, is_s3: bool) -> None:  # noqa: FBT001 - a table
    assert Target("s3express", "x", style).is_s3 is is_s3


# --- the query ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("query", ["", "a", "a=1&&b", "a=%2b&b=%7e", "a=/b[1]"])
def test_a_query_without_a_plus_stays_byte_for_byte(query: str) -> None:
    assert spelled_one_way(query) == query


def test_a_plus_is_the_space_that_it_was_judged_as() -> None:
    assert spelled_one_way("a+b=c+d&e&=f&g=%2B~/%FF") == "a%20b=c%20d&e&=f&g=%2B~%2F%FF"


@given(
    st.lists(
        st.sampled_from(["a", "+", "&", "=", "%20", "%2B", "%2b", "/", "~", "%C3%A9", "*"]), max_size=12
    ).map("".join)
)
def test_it_is_read_as_it_was(query: str) -> None:
    written = spelled_one_way(query)
    assert Query.parse(written).values == Query.parse(query).values
    assert "+" not in written


# --- signatures --------------------------------------------------------------------------------------


def headers(signed: SignedCall | BodyFault) -> dict[str, str]:
    assert isinstance(signed, SignedCall), signed
    revealed = ((n, v.reveal().decode() if isinstance(v, Secret) else v) for n, v in signed.headers)
    return dict(revealed)


def test_a_body_of_which_nothing_is_said_is_unsigned() -> None:
    found = headers(Signer(EU, NOON).sign_s3(CALL, KEYS, Unsigned()))
    assert found["x-amz-content-sha256"] == "UNSIGNED-PAYLOAD"


def test_what_is_said_of_the_body_is_in_the_signature_and_not_said_twice() -> None:
    def signed(said: str) -> dict[str, str]:
        call = replace(CALL, fields=[("X-Amz-Content-SHA256", said)])
        return headers(Signer(EU, NOON).sign_s3(call, KEYS, UnsignedTrailer()))

    assert "x-amz-content-sha256" not in signed("a")
    assert signed("a")["authorization"] != signed("b")["authorization"]
    assert signed("a") == signed(" a ")


def test_what_travels_anew_on_each_hop_is_not_signed() -> None:
    never = [
        ("Expect", "100-continue"),
        ("Transfer-Encoding", "chunked"),
        ("Accept", "*/*"),
        ("X_Amz_Acl", "a"),
    ]
    with_them = Signer(EU, NOON).sign_s3(replace(CALL, fields=[*CALL.fields, *never]), KEYS, Unsigned())
    assert headers(with_them) == headers(Signer(EU, NOON).sign_s3(CALL, KEYS, Unsigned()))


def test_a_body_may_be_signed_whole() -> None:
    target = Target("bedrock", "eu-west-1", Style.GENERAL)
    one, other = (
        headers(Signer(target, NOON).sign_whole(CALL, KEYS, sha256(body).hexdigest()))
        for body in (b"a", b"b")
    )
    assert one["authorization"] != other["authorization"]
    assert "x-amz-content-sha256" not in one
    anywhere = headers(Signer(replace(target, region=None), NOON).sign_whole(CALL, KEYS, "00"))
    assert anywhere["x-amz-region-set"] == "*"


FIRST = replace(ANYWHERE, usual_region="us-east-1")
SIGV4A = replace(CLIENT, algorithm=ECDSA)


@pytest.mark.parametrize(
    ("signer", "region"),
    [
        (Signer(EU, NOON), "eu-west-1"),
        (Signer(EU, NOON, CLIENT, "us-east-2"), "eu-west-1"),
        (Signer(ANYWHERE, NOON), "*"),
        (Signer(ANYWHERE, NOON, CLIENT), "ap-south-1"),
        (Signer(ANYWHERE, NOON, CLIENT, "us-east-2"), "us-east-2"),
        (Signer(FIRST, NOON), "us-east-1"),
        (Signer(FIRST, NOON, CLIENT), "ap-south-1"),
        (Signer(FIRST, NOON, replace(CLIENT, scope="x")), "us-east-1"),
        (Signer(FIRST, NOON, SIGV4A), "*"),
        (Signer(ANYWHERE, NOON, SIGV4A, "us-east-2"), "us-east-2"),
        (Signer(replace(ANYWHERE, is_global=True), NOON, CLIENT, "us-east-2"), "*"),
    ],
)
def test_the_region_is_the_hosts_or_what_the_application_has_in_mind(signer: Signer, region: str) -> None:
    found = headers(signer.sign_s3(CALL, KEYS, Unsigned()))
    scope = found["authorization"].partition("Credential=LEASEDKEY/")[2].split(",")[0]

    if region == "*":
        assert found["x-amz-region-set"] == "*"
        assert scope == "20260304/s3/aws4_request"
    else:
        assert scope == f"20260304/{region}/s3/aws4_request"
    # What is not the host's own word is a guess.
    assert signer.guess == (None if signer.target is EU or region == "*" else region)


@pytest.mark.parametrize("header", ["x-amz-security-token", EXPRESS_TOKEN])
def test_a_session_goes_into_the_header_of_its_kind(header: str) -> None:
    for target in (EU, ANYWHERE):
        found = headers(Signer(target, NOON, token_header=header).sign_s3(CALL, KEYS, Unsigned()))
        assert found[header] == "live//token=="
        assert len({name for name in found if name.endswith("-token")}) == 1
        if target is EU:
            assert header in found["authorization"]


# --- bodies in chunks --------------------------------------------------------------------------------

IN_CHUNKS = replace(
    CALL,
    fields=[
        ("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"),
        ("x-amz-decoded-content-length", "4"),
    ],
)


@pytest.mark.parametrize(
    ("target", "algorithm", "fits"),
    [
        (EU, ChunkAlgorithm.HMAC, True),
        (EU, ChunkAlgorithm.ECDSA, True),
        (ANYWHERE, ChunkAlgorithm.ECDSA, True),
        (ANYWHERE, ChunkAlgorithm.HMAC, False),
    ],
)
def test_chunks_are_signed_as_the_request_is(
    target: Target,
    algorithm: ChunkAlgorithm,
    fits: bool,  # noqa: FBT001 - a table
) -> None:
    signed = Signer(target, NOON).sign_s3(IN_CHUNKS, KEYS, SignedChunks(algorithm, has_trailer=False))
    if fits:
        assert isinstance(signed, SignedCall)
        assert signed.rewrite is not None
        assert algorithm.value in headers(signed)["authorization"]
    else:
        assert isinstance(signed, BodyFault)
        assert signed.reason is Reason.UNSUPPORTED_PAYLOAD


def test_a_head_that_does_not_say_how_long_the_object_is_is_malformed() -> None:
    call = replace(IN_CHUNKS, fields=IN_CHUNKS.fields[:1])
    signed = Signer(EU, NOON).sign_s3(call, KEYS, CHUNKS)
    assert isinstance(signed, BodyFault)
    assert signed.reason is Reason.MALFORMED_BODY


PLACEHOLDERS = frozenset({"PODKEY", "podkeysecret"})
WRONG = b"4;chunk-signature=" + b"0" * 64 + b"\r\ndata\r\n"


@pytest.mark.parametrize(
    ("client", "placeholders", "verifies"),
    [
        (CLIENT, PLACEHOLDERS, True),
        (CLIENT, frozenset(), False),  # nobody knows what the pod was given
        (None, PLACEHOLDERS, False),
        (replace(CLIENT, timestamp=None), PLACEHOLDERS, False),
        (replace(CLIENT, access_key_id="FOREIGN"), PLACEHOLDERS, False),  # nobody knows its secret
        (replace(CLIENT, algorithm=ECDSA), PLACEHOLDERS, False),
    ],
)
def test_a_chunk_is_verified_where_it_is_known_with_what_it_was_signed(
    client: ClientSignature | None,
    placeholders: frozenset[str],
    verifies: bool,  # noqa: FBT001 - a table
) -> None:
    signed = Signer(EU, NOON, client, placeholders=placeholders).sign_s3(IN_CHUNKS, KEYS, CHUNKS)
    assert isinstance(signed, SignedCall)
    assert signed.rewrite is not None
    assert isinstance(signed.rewrite.feed(WRONG), BodyFault) is verifies


def test_what_is_signed_shows_nothing_of_the_keys() -> None:
    shown = repr(Signer(EU, NOON, CLIENT, placeholders=PLACEHOLDERS).sign_s3(CALL, KEYS, Unsigned()))
    assert "live" not in shown
    assert "LEASEDKEY" not in shown
