"""The pod's state is one value: one policy, one identity, one proof, one set of placeholders."""

from dataclasses import FrozenInstanceError
from datetime import timedelta

import pytest

from proxy.core.credentials import CredentialRef
from proxy.core.evidence import Unverified
from proxy.core.lease import LeaseKey, NoLease
from proxy.core.reasons import Reason
from proxy.core.secret import Secret
from proxy.core.structs import replace
from proxy.sources.scopes import ScopeFault
from proxy.transaction import pod as pod_module
from proxy.transaction.pod import PodState
from tests.judge_world import NOON, PROOF
from tests.transaction_world import API, API_CREDENTIAL, POD, drive, forwarded, head, refused, to

UNVERIFIED = replace(POD, proof=Unverified("the pod's token is another pod's"))


def test_a_request_is_judged_by_one_state_that_nobody_changes() -> None:
    with pytest.raises(FrozenInstanceError):
        POD.proof = PROOF  # type: ignore[misc]


def test_each_source_that_a_grant_names_has_a_key_for_its_lease() -> None:
    key = POD.leases[API_CREDENTIAL]

    assert isinstance(key, LeaseKey)
    assert key.ref == API_CREDENTIAL
    assert set(POD.leases) == {CredentialRef("ml", name) for name in ("a", "b", "q", "plain", "aws")}


def test_a_source_that_was_withdrawn_has_none() -> None:
    reply = replace(POD, withdrawn=frozenset({API_CREDENTIAL})).leases[API_CREDENTIAL]

    assert isinstance(reply, NoLease)
    assert reply.message == "there is no CredentialSource ml/a any more, though a grant names it"


def test_what_cannot_be_narrowed_as_the_grants_say_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod_module, "_scope", lambda _kind, _grants: ScopeFault("too many prefixes"))

    assert replace(POD).leases[API_CREDENTIAL] == NoLease(API_CREDENTIAL, "too many prefixes")


def test_every_request_to_a_governed_host_is_refused_until_the_pod_is_proved() -> None:
    for host, target in (
        ("api.example.com", "/v1/models"),
        ("watched.example.com", "/"),
        ("api.openai.com", "/x"),
    ):
        driven = drive(head(target, host=host), to(host), UNVERIFIED)
        refusal = refused(head(target, host=host), to(host), UNVERIFIED)

        assert driven.wanted is None
        assert refusal.refusal.reason is Reason.IDENTITY_UNVERIFIED
        assert "the pod's token is another pod's" in refusal.refusal.message
        assert refusal.record.reason == "identity_unverified"
        assert (refusal.record.evidence, refusal.record.issuer) == ("unverified", "")


def test_other_hosts_are_none_of_our_business_all_the_same() -> None:
    assert not forwarded(head(host="elsewhere.example.com"), to("elsewhere.example.com"), UNVERIFIED).attached


def test_a_proof_ends_with_its_token() -> None:
    last = replace(PROOF, expires=NOON + timedelta(microseconds=1))
    ended = replace(PROOF, expires=NOON)

    assert forwarded(head(), API, replace(POD, proof=last)).attached
    refusal = refused(head(), API, replace(POD, proof=ended))
    assert refusal.refusal.reason is Reason.IDENTITY_UNVERIFIED
    assert "the pod's token ended at 12:00:00 UTC" in refusal.refusal.message
    assert refusal.record.evidence == "unverified"


def test_the_record_says_on_which_token_it_rests() -> None:
    record = forwarded(head()).record

    assert record.evidence == "token"
    assert (record.issuer, record.key_id, record.token_hash) == (PROOF.issuer, PROOF.key_id, PROOF.token_hash)
    assert (record.token_issued, record.token_expires) == (PROOF.issued, PROOF.expires)


def test_no_secret_is_part_of_a_state() -> None:
    assert not any(isinstance(getattr(POD, name), Secret) for name in PodState.__slots__)
