from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.tokens.faults import FIXES, TokenFault
from proxy.tokens.jwks import KeySet, read_jwks
from proxy.tokens.pod_token import Expected, Verified, verify
from proxy.tokens.unverified import unverified_claims
from tests.forged_tokens import forged, header_of, part, signature
from tests.pod_tokens import ISSUER, TokenIssuer, jwks

NOW = datetime(2026, 11, 20, 14, tzinfo=UTC)
RSA_ISSUER, EC_ISSUER = TokenIssuer(algorithm="RS256"), TokenIssuer()
CLAIMS = EC_ISSUER.claims(NOW)
EXPECTED = Expected(ISSUER, "podkey", "ml", "trainer", "train-0", node="gpu-7")
KEYS = read_jwks(jwks(RSA_ISSUER, EC_ISSUER))
TOKENS = (EC_ISSUER.sign(CLAIMS), RSA_ISSUER.sign(CLAIMS))
EACH = pytest.mark.parametrize("token", TOKENS, ids=["ES256", "RS256"])

VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
    max_leaves=8,
)
HEADERS = ("alg", "kid", "typ", "crit", "b64", "jwk", "jku", "x5u", "x5c", "x5t")
NAMES = (*CLAIMS, "warnafter")


def answer_to(token: bytes) -> Verified | TokenFault:
    assert isinstance(KEYS, KeySet)
    answer = verify(token, KEYS, EXPECTED, NOW)
    unverified_claims(token)
    if isinstance(answer, TokenFault):
        assert answer.message.isprintable()
        assert answer.message.endswith(FIXES[answer.code])
        assert len(answer.message) < 1000
    return answer


@EACH
@pytest.mark.slow
def test_a_change_of_any_byte_is_refused(token: bytes) -> None:
    assert isinstance(answer_to(token), Verified)
    for at in range(len(token)):
        for changed in (token[at] ^ 1, token[at] ^ 0x20, ord("\n")):
            other = token[:at] + bytes([changed]) + token[at + 1 :]
            assert other == token or isinstance(answer_to(other), TokenFault), at


@EACH
def test_no_prefix_of_a_token_is_a_token(token: bytes) -> None:
    assert all(isinstance(answer_to(token[:size]), TokenFault) for size in range(len(token)))


@given(token=st.sampled_from(TOKENS), data=st.data())
def test_a_change_of_a_byte_to_any_other_is_refused_too(token: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(token) - 1))
    changed = data.draw(st.integers(0, 255).filter(lambda byte: byte != token[at]))

    assert isinstance(answer_to(token[:at] + bytes([changed]) + token[at + 1 :]), TokenFault)


@given(
    token=st.one_of(
        st.binary(),
        st.from_regex(rb"\A[A-Za-z0-9_-]{0,40}\.[A-Za-z0-9_-]{0,40}\.[A-Za-z0-9_-]{0,40}\Z"),
        st.builds(lambda *parts: b".".join(map(part, parts)), VALUES, VALUES, st.binary()),
    )
)
def test_whatever_the_file_holds_is_refused(token: bytes) -> None:
    assert isinstance(answer_to(token), TokenFault)


@given(
    header=st.dictionaries(st.sampled_from(HEADERS), VALUES, max_size=3),
    claims=st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=3),
    about=st.dictionaries(st.sampled_from([*CLAIMS["kubernetes.io"]]), VALUES, max_size=2),
)
def test_whatever_an_issuer_signs_is_answered(
    header: dict[str, Any], claims: dict[str, Any], about: dict[str, Any]
) -> None:
    """Also what breaks no rule: a member that is as it was, a node that is not compared."""
    said = {**CLAIMS, "kubernetes.io": {**CLAIMS["kubernetes.io"], **about}, **claims}

    answer_to(forged(header_of(EC_ISSUER, **header), said, signature(EC_ISSUER)))
