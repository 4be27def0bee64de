from datetime import UTC, datetime, timedelta

import pytest

from proxy.core.evidence import Evidence, Proof, Unverified
from proxy.core.structs import fields

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
EVIDENCE = Evidence("https://issuer.example", "key-1", "0" * 64, "uid-1", NOON, NOON + timedelta(hours=1))


def test_evidence_holds_a_hash_and_no_token() -> None:
    assert {field.name for field in fields(Evidence)} == {
        *("issuer", "key_id", "token_hash", "pod_uid", "issued", "expires")
    }


def test_a_proof_is_either_and_cannot_be_changed() -> None:
    proofs: list[Proof] = [EVIDENCE, Unverified("the token has expired")]
    assert [isinstance(proof, Evidence) for proof in proofs] == [True, False]
    with pytest.raises(AttributeError):
        EVIDENCE.pod_uid = "uid-2"  # type: ignore[misc]
    assert Unverified("a") == Unverified("a") != Unverified("b")
