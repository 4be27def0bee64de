from datetime import UTC, datetime, timedelta

from proxy.core.credentials import CredentialRef
from proxy.core.lease import Lease, NoLease
from proxy.core.parts import Part
from proxy.core.secret import Secret

REF = CredentialRef("ml", "hf")
NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)


def test_a_lease_is_printed_without_its_value() -> None:
    lease = Lease("l-1", REF, {Part.TOKEN: Secret(b"canary-0123456789")}, NOW)

    assert "canary" not in repr(lease)
    assert "l-1" in repr(lease)


def test_a_lease_without_an_end_is_one_whose_source_does_not_say() -> None:
    lease = Lease("l-1", REF, {}, NOW)

    assert lease.expires is None
    assert Lease("l-1", REF, {}, NOW, NOW + timedelta(hours=1)) != lease


def test_leases_of_the_same_value_are_told_apart_by_their_id() -> None:
    parts = {Part.TOKEN: Secret(b"x")}

    assert Lease("l-1", REF, parts, NOW) != Lease("l-2", REF, parts, NOW)
    assert Lease("l-1", REF, parts, NOW) == Lease("l-1", REF, {Part.TOKEN: Secret(b"x")}, NOW)


def test_no_lease_names_the_credential_and_says_why() -> None:
    none = NoLease(REF, "the Secret hf is not mounted")

    assert (str(none.credential), none.message) == ("ml/hf", "the Secret hf is not mounted")
