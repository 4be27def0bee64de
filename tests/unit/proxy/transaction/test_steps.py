from proxy.core.credentials import CredentialRef, RegistryToken
from proxy.transaction.steps import WantBody, WantLease

REF = CredentialRef("ml", "aws")


def test_a_lease_is_wanted_as_it_is_or_for_what_is_made_of_it() -> None:
    assert WantLease(REF).derivation is None
    assert WantLease(REF) != WantLease(REF, RegistryToken("eu-west-1"))


def test_a_body_is_wanted_up_to_a_limit() -> None:
    assert WantBody(7) == WantBody(limit=7)
