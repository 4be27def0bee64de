import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from proxy.core.evidence import Evidence
from proxy.core.structs import replace
from proxy.tokens.compact import MAX_TOKEN_BYTES
from proxy.tokens.faults import FIXES, TokenFault, TokenFaultCode
from proxy.tokens.jwks import KeySet, read_jwks
from proxy.tokens.pod_token import MAX_SKEW, Expected, Verified, verify
from proxy.tokens.unverified import unverified_claims
from tests.forged_tokens import forged, header_of, part, signature
from tests.pod_tokens import ISSUER, TokenIssuer, jwks
from tests.real_tokens import JWKS, NAMES, REVIEWS, issued, real_claims, real_token, review

NOW = datetime(2026, 11, 20, 14, tzinfo=UTC)
SECOND = timedelta(seconds=1)
RSA_ISSUER, EC_ISSUER, STRANGER = TokenIssuer(algorithm="RS256"), TokenIssuer(), TokenIssuer()
CLAIMS = EC_ISSUER.claims(NOW)
UID = CLAIMS["kubernetes.io"]["pod"]["uid"]
EXPECTED = Expected(ISSUER, "podkey", "ml", "trainer", "train-0", UID, "gpu-7")
UNTOLD = Expected(ISSUER, "podkey", "ml", "trainer")
Code = TokenFaultCode


def keys_of(*issuers: TokenIssuer) -> KeySet:
    read = read_jwks(jwks(*issuers))
    assert isinstance(read, KeySet)
    return read


KEYS = keys_of(RSA_ISSUER, EC_ISSUER)


def fault(
    token: bytes, expected: Expected = EXPECTED, now: datetime = NOW, keys: KeySet = KEYS
) -> TokenFault | None:
    """None: it was verified."""
    answer = verify(token, keys, expected, now)
    if isinstance(answer, Verified):
        return None
    assert answer.message.endswith(f": {FIXES[answer.code]}")
    return answer


def code(token: bytes, expected: Expected = EXPECTED, now: datetime = NOW) -> TokenFaultCode | None:
    found = fault(token, expected, now)
    return found.code if found else None


def signed(**changes: Any) -> bytes:
    return EC_ISSUER.sign({**CLAIMS, **changes})


def about(**changes: Any) -> bytes:
    """With other claims in `kubernetes.io`; None leaves one out."""
    claims = {**CLAIMS["kubernetes.io"], **changes}
    return signed(**{"kubernetes.io": {name: value for name, value in claims.items() if value is not None}})


# --- what is verified ----------------------------------------------------------------------------


@pytest.mark.parametrize("issuer", [RSA_ISSUER, EC_ISSUER], ids=["RS256", "ES256"])
def test_the_token_of_this_pod_is_verified(issuer: TokenIssuer) -> None:
    claims = issuer.claims(NOW)

    assert verify(issuer.sign(claims), KEYS, EXPECTED, NOW) == Verified(
        evidence=Evidence(
            issuer=ISSUER,
            key_id=issuer.key_id,
            token_hash=sha256(claims["jti"].encode()).hexdigest(),
            pod_uid=UID,
            issued=NOW,
            expires=NOW + timedelta(hours=1),
        ),
        namespace="ml",
        service_account="trainer",
        pod_name="train-0",
        pod_uid=UID,
        node="gpu-7",
    )


def test_what_the_downward_api_does_not_say_the_token_does() -> None:
    answer = verify(signed(), KEYS, UNTOLD, NOW)

    assert isinstance(answer, Verified)
    assert (answer.pod_name, answer.pod_uid, answer.node) == ("train-0", UID, "gpu-7")


def test_a_token_without_a_node_is_enough_where_none_is_expected() -> None:
    answer = verify(about(node=None), KEYS, UNTOLD, NOW)

    assert isinstance(answer, Verified)
    assert answer.node == ""


def test_an_audience_that_stands_alone_is_as_good_as_a_list() -> None:
    assert code(signed(aud="podkey")) is None
    assert code(signed(aud=["vault", "podkey"])) is None


@pytest.mark.parametrize("kind", ["JWT", "jwt"])
def test_the_usual_type_is_accepted(kind: str) -> None:
    assert code(EC_ISSUER.sign(CLAIMS, typ=kind)) is None


def test_a_line_break_at_the_end_of_the_file_is_forgiven_and_nothing_else() -> None:
    token = signed()

    assert code(token + b"\n") is None
    odd = (token + b"\r\n", token + b"\n\n", token + b" ", b" " + token, b"\n" + token)
    assert {code(one) for one in odd} == {Code.NOT_A_JWS}


def test_keys_may_be_older_and_newer_than_the_one_that_signed() -> None:
    assert fault(signed(), keys=keys_of(TokenIssuer(), EC_ISSUER, RSA_ISSUER)) is None


# --- real tokens ---------------------------------------------------------------------------------

REAL_KEYS = read_jwks(JWKS)


def expected_of(name: str) -> Expected:
    """The pod that the real token is for, as its downward API described it."""
    claims = real_claims(name)["kubernetes.io"]
    pod, node = claims.get("pod", {}), claims.get("node", {})
    return Expected(
        issuer=ISSUER,
        audience="podkey",
        namespace="ml",
        service_account="trainer",
        pod_name=pod.get("name", "vols"),
        pod_uid=pod.get("uid", ""),
        node=node.get("name", "lab"),
    )


def real(
    name: str,
    expected: Expected | None = None,
    *,
    later: timedelta = timedelta(0),
    change: Callable[[bytes], bytes] = bytes,
) -> TokenFaultCode | None:
    assert isinstance(REAL_KEYS, KeySet)
    token, now = change(real_token(name)), issued(name) + later
    answer = verify(token, REAL_KEYS, expected or expected_of(name), now)
    return None if isinstance(answer, Verified) else answer.code


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("kubelet-projected-aud-podkey", None),
        ("bound-pod-two-audiences", None),
        ("unbound-aud-podkey", Code.UNBOUND),
        ("kubelet-projected-aud-sts", Code.WRONG_AUDIENCE),
        ("kubelet-default-audience", Code.WRONG_AUDIENCE),
        ("bound-pod-aud-sts", Code.WRONG_AUDIENCE),
        ("rotated-1", Code.WRONG_AUDIENCE),
        ("rotated-2", Code.WRONG_AUDIENCE),
    ],
)
def test_each_real_token_is_what_it_is(name: str, answer: TokenFaultCode | None) -> None:
    assert real(name) is answer


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("unbound")])
def test_every_real_bound_token_is_verified_for_its_own_audience(name: str) -> None:
    [audience, *_] = real_claims(name)["aud"]
    own = replace(expected_of(name), audience=audience)

    assert real(name, own) is None
    assert real(name, own, later=timedelta(days=366)) is Code.EXPIRED
    assert real(name, own, later=timedelta(days=-1)) is Code.NOT_YET_VALID
    assert real(name, replace(own, pod_uid=UID)) is Code.WRONG_POD
    assert real(name, replace(own, node="gpu-7")) is Code.WRONG_NODE
    assert real(name, replace(own, namespace="default")) is Code.WRONG_NAMESPACE
    assert real(name, replace(own, issuer="https://other.example")) is Code.WRONG_ISSUER


@pytest.mark.parametrize("name", NAMES)
def test_a_real_token_that_was_tampered_with_is_refused(name: str) -> None:
    def other_claims(token: bytes) -> bytes:
        header, _, signature = token.split(b".")
        return b".".join((header, part({**real_claims(name), "sub": "system:masters"}), signature))

    def other_signature(token: bytes) -> bytes:
        last = token.rindex(b".") + 1
        return token[:last] + (b"A" if token[last] != ord("A") else b"B") + token[last + 1 :]

    assert real(name, change=other_claims) is Code.BAD_SIGNATURE
    assert real(name, change=other_signature) is Code.BAD_SIGNATURE
    assert real(name, change=lambda token: token[: token.rindex(b".") + 1]) is Code.UNSIGNED


def test_both_tokens_of_a_real_rotation_are_good_while_they_overlap() -> None:
    own = replace(expected_of("rotated-1"), audience="sts.amazonaws.com")
    renewal = issued("rotated-2") - issued("rotated-1")

    assert renewal == timedelta(seconds=476)
    assert real("rotated-1", own, later=renewal) is None
    assert real("rotated-2", own) is None
    assert real("rotated-1", own, later=timedelta(seconds=600) + MAX_SKEW) is Code.EXPIRED


# What the API server knows and a verifier of signatures does not: that the pod is gone.
ONLY_THE_SERVER_KNOWS = "pod-deleted"
# And what it takes for a token of the account: we want to know which pod it is.
BOUND_TO_NOTHING = "unbound"


@pytest.mark.parametrize("name", REVIEWS)
def test_the_verdict_is_that_of_the_api_server(name: str) -> None:
    told = review(name)
    claims = unverified_claims(told.token)
    verdicts = [
        verify(
            told.token,
            REAL_KEYS,
            Expected(ISSUER, audience, "ml", "trainer"),
            claims.issued if claims is not None else NOW,
        )
        for audience in told.audiences
    ]
    verified = [one for one in verdicts if isinstance(one, Verified)]

    if name in {ONLY_THE_SERVER_KNOWS, BOUND_TO_NOTHING}:
        assert bool(verified) is (name == ONLY_THE_SERVER_KNOWS)
        return
    assert bool(verified) is (told.user is not None)
    for one in verified:
        extra = {key.rpartition("/")[2]: values for key, values in (told.user or {})["extra"].items()}
        assert [one.pod_name] == extra["pod-name"]
        assert [one.pod_uid] == extra["pod-uid"]
        assert [one.node] == extra["node-name"]
        assert (told.user or {})["username"] == f"system:serviceaccount:{one.namespace}:{one.service_account}"
        (credential,) = extra["credential-id"]
        assert one.evidence.token_hash == sha256(credential.removeprefix("JTI=").encode()).hexdigest()


# --- the form ------------------------------------------------------------------------------------


def test_a_token_of_two_mebibytes_is_refused_by_its_length_alone() -> None:
    found = fault(b"A" * (2 << 20))

    assert found is not None
    assert found.code is Code.TOO_LARGE
    assert found.message.startswith("the token has 2,097,152 bytes, more than any that Kubernetes issues: ")
    assert code(b"A" * (MAX_TOKEN_BYTES + 1)) is Code.TOO_LARGE
    assert code(b"A" * MAX_TOKEN_BYTES) is Code.NOT_A_JWS


@pytest.mark.parametrize(
    "token",
    [
        b"",
        b"token",
        b"a.b.c",
        signed().replace(b".", b"..", 1),
        signed() + b".",
        signed() + b"=",
        b"Bearer " + signed(),
        part(b'{"alg":"ES256","alg":"none"}') + b"." + part(CLAIMS) + b".AAAA",
    ],
)
def test_what_is_not_in_the_compact_form_is_no_token(token: bytes) -> None:
    assert code(token) is Code.NOT_A_JWS


# --- the header ----------------------------------------------------------------------------------


@pytest.mark.parametrize("none", ["none", "None", "NONE", "nOnE"])
def test_no_algorithm_is_no_signature_in_any_spelling(none: str) -> None:
    header = header_of(EC_ISSUER, alg=none)

    assert code(forged(header, CLAIMS, lambda _: b"")) is Code.UNSIGNED
    assert code(forged(header, CLAIMS, signature(EC_ISSUER))) is Code.UNSIGNED


def test_an_empty_signature_is_none() -> None:
    assert code(signed().rpartition(b".")[0] + b".") is Code.UNSIGNED


@pytest.mark.parametrize(
    "algorithm",
    ["HS256", "RS384", "RS512", "PS256", "ES384", "EdDSA", "es256", "ES256 ", "", None, 1, ["ES256"], {}],
)
def test_another_algorithm_is_refused_by_its_name(algorithm: object) -> None:
    header = header_of(EC_ISSUER, alg=algorithm)

    assert code(forged(header, CLAIMS, signature(EC_ISSUER))) is Code.ALGORITHM


def test_the_public_key_is_no_password() -> None:
    """CVE-2015-9235 and its many children: HS256, with the published key as the secret."""
    public = RSA_ISSUER._key.public_key()
    assert isinstance(public, RSAPublicKey)
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    mac = jwt.get_algorithm_by_name("HS256")

    def sign(message: bytes) -> bytes:
        return mac.sign(message, pem)

    assert code(forged(header_of(RSA_ISSUER, alg="HS256"), CLAIMS, sign)) is Code.ALGORITHM
    assert code(forged(header_of(RSA_ISSUER), CLAIMS, sign)) is Code.BAD_SIGNATURE


@pytest.mark.parametrize("signer", [RSA_ISSUER, EC_ISSUER])
@pytest.mark.parametrize(
    ("named", "algorithm"), [(EC_ISSUER, "RS256"), (RSA_ISSUER, "ES256")], ids=["RS256", "ES256"]
)
def test_a_key_is_used_only_for_its_own_algorithm(
    named: TokenIssuer, algorithm: str, signer: TokenIssuer
) -> None:
    found = fault(forged(header_of(named, alg=algorithm), CLAIMS, signature(signer)))

    assert found is not None
    assert found.code is Code.ALGORITHM
    said = f"the token says {algorithm}, and its key `{named.key_id}` is for {named.algorithm}: "
    assert found.message.startswith(said)


@pytest.mark.parametrize(
    ("members", "answer"),
    [
        ({"crit": ["exp"]}, Code.CRITICAL_HEADER),
        ({"crit": []}, Code.CRITICAL_HEADER),
        ({"b64": False, "crit": ["b64"]}, Code.CRITICAL_HEADER),
        ({"b64": True}, Code.CRITICAL_HEADER),
        ({"jwk": STRANGER.jwk}, Code.EMBEDDED_KEY),
        ({"jku": "https://evil.example/jwks"}, Code.EMBEDDED_KEY),
        ({"x5u": "https://evil.example/chain"}, Code.EMBEDDED_KEY),
        ({"x5c": ["AAAA"]}, Code.EMBEDDED_KEY),
        ({"typ": "at+jwt"}, Code.WRONG_TYPE),
        ({"typ": "logout+jwt"}, Code.WRONG_TYPE),
        ({"typ": ""}, Code.WRONG_TYPE),
        ({"typ": 1}, Code.WRONG_TYPE),
        ({"typ": None}, Code.WRONG_TYPE),
    ],
)
def test_a_header_that_asks_for_more_is_refused_even_when_it_is_signed(
    members: dict[str, Any], answer: TokenFaultCode
) -> None:
    assert code(forged(header_of(EC_ISSUER, **members), CLAIMS, signature(EC_ISSUER))) is answer


@pytest.mark.parametrize("key_id", [None, 7, "", "x" * 10_000, "unknown", "../../etc/passwd", ["a"], {}])
def test_a_key_that_the_issuer_does_not_publish_is_unknown(key_id: object) -> None:
    found = fault(forged(header_of(EC_ISSUER, kid=key_id), CLAIMS, signature(EC_ISSUER)))

    assert found is not None
    assert found.code is Code.UNKNOWN_KEY
    assert len(found.message) < 500


def test_an_unknown_key_is_told_beside_those_that_are_known() -> None:
    assert fault(STRANGER.token(NOW)) == TokenFault(
        Code.UNKNOWN_KEY,
        f"the token names the key `{STRANGER.key_id}`, and the issuer's keys are "
        f"`{RSA_ISSUER.key_id}`, `{EC_ISSUER.key_id}`: {FIXES[Code.UNKNOWN_KEY]}",
    )
    missing = fault(forged({"alg": "ES256"}, CLAIMS, signature(EC_ISSUER)))
    assert missing is not None
    assert missing.message.startswith("the token names no key, and the issuer's keys are ")


# --- the signature -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "token",
    [
        STRANGER.sign(CLAIMS, kid=EC_ISSUER.key_id),
        forged(header_of(EC_ISSUER), CLAIMS, signature(EC_ISSUER, der=True)),
        forged(header_of(EC_ISSUER), CLAIMS, lambda m: signature(EC_ISSUER)(m)[:-1]),
        forged(header_of(EC_ISSUER), CLAIMS, lambda m: signature(EC_ISSUER)(m) + b"\0"),
        forged(header_of(EC_ISSUER), CLAIMS, lambda m: b"\0" * 64),
        forged(header_of(EC_ISSUER), CLAIMS, lambda m: b"\0"),
        forged(header_of(RSA_ISSUER), CLAIMS, lambda m: b"\0" * 256),
        forged(header_of(RSA_ISSUER), CLAIMS, lambda m: b"\0" + signature(RSA_ISSUER)(m)),
        forged(header_of(EC_ISSUER), {**CLAIMS, "sub": "root"}, lambda _: signature(EC_ISSUER)(b"other")),
    ],
)
def test_another_signature_is_refused(token: bytes) -> None:
    assert code(token) is Code.BAD_SIGNATURE


def test_nothing_of_the_claims_is_read_or_told_before_the_signature_holds() -> None:
    evil = {"iss": "https://evil.example", "kubernetes.io": {"pod": {"name": "evil-pod"}}}

    found = fault(STRANGER.sign(evil, kid=EC_ISSUER.key_id))

    assert found is not None
    assert found.code is Code.BAD_SIGNATURE
    assert "evil" not in found.message


# --- the claims ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"\xff",
        json.dumps(CLAIMS).replace('"iss"', '"iss": "x", "iss"', 1).encode(),
        json.dumps({**CLAIMS, "exp": "1"}).encode(),
        json.dumps({**CLAIMS, "exp": True}).encode(),
        json.dumps({**CLAIMS, "exp": float("nan")}).encode(),
        json.dumps({**CLAIMS, "exp": 10**40}).encode(),
        json.dumps({**CLAIMS, "kubernetes.io": []}).encode(),
        json.dumps({**CLAIMS, "jti": None}).encode(),
        b'{"a":' * 2_000,
    ],
)
def test_claims_that_kubernetes_would_not_write_are_refused_though_signed(payload: bytes) -> None:
    assert code(forged(header_of(EC_ISSUER), payload, signature(EC_ISSUER))) is Code.CLAIMS_MALFORMED


@pytest.mark.parametrize("issuer", ["https://other.example", ISSUER + "/", ISSUER.upper(), "\u202e"])
def test_another_issuer_is_refused(issuer: str) -> None:
    assert code(signed(iss=issuer)) in {Code.WRONG_ISSUER, Code.CLAIMS_MALFORMED}


@pytest.mark.parametrize("audience", [[], "", ["vault"], ["podkey2", "Podkey"], "pod", ["a"] * 500])
def test_another_audience_is_refused(audience: list[str] | str) -> None:
    assert code(signed(aud=audience)) is Code.WRONG_AUDIENCE


def test_an_hour_ends_with_the_hour_and_a_minute() -> None:
    end = NOW + timedelta(hours=1)

    assert code(signed(), now=end + MAX_SKEW - SECOND) is None
    assert code(signed(), now=end + MAX_SKEW) is Code.EXPIRED


@pytest.mark.parametrize("claim", ["nbf", "iat"])
def test_a_token_from_the_future_is_good_within_the_skew(claim: str) -> None:
    at = int((NOW + MAX_SKEW).timestamp())

    assert code(signed(**{claim: at})) is None
    assert code(signed(**{claim: at + 1})) is Code.NOT_YET_VALID


@pytest.mark.parametrize(
    ("token", "answer"),
    [
        (signed(**{"kubernetes.io": {}}), Code.UNBOUND),
        (about(pod=None), Code.UNBOUND),
        (about(pod={}), Code.UNBOUND),
        (EC_ISSUER.token(NOW, namespace="default"), Code.WRONG_NAMESPACE),
        (EC_ISSUER.token(NOW, account="default"), Code.WRONG_SERVICE_ACCOUNT),
        (signed(sub="system:serviceaccount:ml:admin"), Code.WRONG_SERVICE_ACCOUNT),
        (signed(sub="system:serviceaccount:kube-system:trainer"), Code.WRONG_SERVICE_ACCOUNT),
        (signed(sub="trainer"), Code.WRONG_SERVICE_ACCOUNT),
        (EC_ISSUER.token(NOW, pod="train-1"), Code.WRONG_POD),
        (EC_ISSUER.token(NOW, uid="00000000-1111-4222-8333-444455556666"), Code.WRONG_POD),
        (EC_ISSUER.token(NOW, node="gpu-8"), Code.WRONG_NODE),
        (about(node=None), Code.WRONG_NODE),
    ],
)
def test_the_token_of_somebody_else_is_refused(token: bytes, answer: TokenFaultCode) -> None:
    assert code(token) is answer


@pytest.mark.parametrize(
    ("token", "said"),
    [
        (signed(iss="https://x.example"), f"the token is from `https://x.example`, not from `{ISSUER}`"),
        (signed(aud=["a\x1b", "b", "c", "d"]), "the token is for `a\\x1b`, `b`, `c`, not for `podkey`"),
        (signed(aud=[]), "the token is for nobody, not for `podkey`"),
        (signed(iat=0, nbf=0, exp=60), "the token ended at 1970-01-01 00:01:00 UTC"),
        (
            signed(nbf=int(NOW.timestamp()) + 120),
            "the token begins at 2026-11-20 14:02:00 UTC, and here it is 14:00:00",
        ),
        (EC_ISSUER.token(NOW, pod="train-1"), "the token's pod is `train-1`, and this pod's is `train-0`"),
        (
            EC_ISSUER.token(NOW, namespace="n" * 300),
            f"the token's namespace is `{'n' * 100}…`, and this pod's is `ml`",
        ),
        (about(node=None), "the token's node is none, and this pod's is `gpu-7`"),
        (signed(jti=None), "the token has no claim `jti`"),
    ],
)
def test_a_refusal_names_what_it_found_and_what_to_do(token: bytes, said: str) -> None:
    found = fault(token)

    assert found is not None
    assert found.message == f"{said}: {FIXES[found.code]}"


@pytest.mark.parametrize(
    "token",
    [
        signed()[:-1],
        signed().replace(b".", b".e", 1),
        STRANGER.sign(CLAIMS, kid=EC_ISSUER.key_id),
        STRANGER.sign(CLAIMS),
        EC_ISSUER.token(NOW, "vault"),
        EC_ISSUER.token(NOW, pod="train-1"),
        signed(exp=[]),
        b"opaque-" * 20,
        b"A" * 20_000,
    ],
)
def test_no_refusal_holds_a_piece_of_the_token(token: bytes) -> None:
    found = fault(token)

    assert found is not None
    assert not any(token[at : at + 8].decode() in repr(found) for at in range(len(token) - 8))


def test_codes_come_in_the_order_of_the_checks() -> None:
    """A token with every fault shows the first, and each one mended shows the next."""
    key = header_of(EC_ISSUER)
    foreign = {"iss": "x", "aud": ["x"], "iat": 0, "nbf": 0, "exp": 60, "sub": "x", "jti": "1"}
    bound = {
        "namespace": "x",
        "serviceaccount": {"name": "x"},
        "pod": {"name": "x", "uid": "x"},
        "node": {"name": "x"},
    }
    times = {"iat": CLAIMS["iat"], "nbf": CLAIMS["nbf"], "exp": CLAIMS["exp"]}
    late = {**times, "nbf": times["nbf"] + 600}
    steps: list[dict[str, Any]] = [
        {},
        foreign,
        {"iss": ISSUER},
        {"aud": ["podkey"]},
        late,
        times,
        {"kubernetes.io": bound},
        {"kubernetes.io": (bound := {**bound, "namespace": "ml"})},
        {"kubernetes.io": (bound := {**bound, "serviceaccount": {"name": "trainer"}})},
        {"sub": "system:serviceaccount:ml:trainer"},
        {"kubernetes.io": (bound := {**bound, "pod": {"name": "train-0", "uid": UID}})},
        {"kubernetes.io": {**bound, "node": {"name": "gpu-7"}}},
    ]
    headers: list[dict[str, Any]] = [
        {"alg": "none"},
        {"alg": "HS256", "crit": [], "jwk": {}, "typ": "x"},
        {"alg": "ES256", "crit": [], "jwk": {}, "typ": "x"},
        {"alg": "ES256", "jwk": {}, "typ": "x"},
        {"alg": "ES256", "typ": "x"},
        {"alg": "ES256"},
    ]
    found = [fault(forged(header, {}, lambda _: b"x")) for header in headers]
    found.append(fault(forged(key, {}, lambda _: b"x")))
    claims: dict[str, Any] = {}
    for step in steps:
        claims |= step
        found.append(fault(forged(key, claims, signature(EC_ISSUER))))

    assert found.pop() is None
    codes = [one.code for one in found if one is not None]
    assert list(dict.fromkeys(codes)) == list(Code)[2:]
