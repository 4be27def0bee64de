from datetime import UTC, datetime, timedelta

import pytest

from proxy.tokens.compact import MAX_TOKEN_BYTES
from proxy.tokens.unverified import UnverifiedClaims, unverified_claims
from tests.pod_tokens import TokenIssuer
from tests.real_tokens import issued, real_token

NOW = datetime(2026, 11, 20, 14, tzinfo=UTC)


def test_a_token_says_for_whom_it_is_and_until_when() -> None:
    token = TokenIssuer().token(NOW, "vault", lifetime=timedelta(minutes=10))

    assert unverified_claims(token) == UnverifiedClaims(("vault",), NOW, NOW + timedelta(minutes=10))
    assert unverified_claims(token + b"\n") == unverified_claims(token)


def test_the_kubelet_renewed_a_real_token_at_four_fifths_of_its_life() -> None:
    first, second = (unverified_claims(real_token(f"rotated-{number}")) for number in (1, 2))

    assert first is not None
    assert second is not None
    assert first.audiences == second.audiences == ("sts.amazonaws.com",)
    assert first.expires - first.issued == timedelta(seconds=600)
    assert second.issued - first.issued == timedelta(seconds=476)
    assert second.issued == issued("rotated-2")


@pytest.mark.parametrize(
    "token", [b"", b"opaque", b"e30.e30.", b"e30." + b"A" * MAX_TOKEN_BYTES + b"."], ids=len
)
def test_other_bytes_say_nothing(token: bytes) -> None:
    assert unverified_claims(token) is None
