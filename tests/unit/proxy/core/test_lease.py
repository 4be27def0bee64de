from datetime import UTC, datetime, timedelta

import pytest

from proxy.core.credentials import (
    Bearer,
    CredentialRef,
    CredentialSource,
    Derived,
    ExpressSession,
    RegistryToken,
)
from proxy.core.lease import Lease, LeaseKey, NoLease, base_of, derived_key
from proxy.core.mounted_sources import MountedSecret
from proxy.core.parts import Part
from proxy.core.secret import Secret
from proxy.core.structs import replace

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


# --- keys --------------------------------------------------------------------------------------------

SOURCE = CredentialSource("ml", "hf", MountedSecret("s", ((Part.TOKEN, "t"),)))
KEY = LeaseKey(SOURCE, "bucket-1")


def test_a_key_is_its_source_and_scope() -> None:
    again = LeaseKey(CredentialSource("ml", "hf", MountedSecret("s", ((Part.TOKEN, "t"),))), "bucket-1")
    assert again == KEY
    assert hash(again) == hash(KEY)
    assert {KEY: "held"}[again] == "held"
    assert KEY.ref == REF


@pytest.mark.parametrize(
    "other",
    [
        LeaseKey(SOURCE),
        LeaseKey(SOURCE, "bucket-2"),
        replace(KEY, scope="bucket-2"),
        replace(KEY, source=replace(SOURCE, name="other")),
        replace(KEY, source=replace(SOURCE, namespace="other")),
        # A source of the same name that came to mean something else is another one.
        replace(KEY, source=replace(SOURCE, kind=MountedSecret("s", ((Part.TOKEN, "other"),)))),
        replace(KEY, source=replace(SOURCE, attach=Bearer())),
    ],
)
def test_a_key_that_differs_in_anything_is_another(other: LeaseKey) -> None:
    assert other != KEY
    assert {KEY: "held"}.get(other) is None


def test_a_key_cannot_be_changed_after_its_hash_was_computed() -> None:
    with pytest.raises(AttributeError):
        KEY.scope = "other"  # type: ignore[misc]
    assert "_hash" not in repr(KEY)


# --- derived keys ------------------------------------------------------------------------------------

TOKEN = RegistryToken("eu-central-1")


def test_a_derived_key_is_the_source_with_what_is_made_of_it() -> None:
    derived = derived_key(KEY, TOKEN)
    assert derived == LeaseKey(replace(SOURCE, kind=Derived(SOURCE.kind, TOKEN)), "bucket-1")
    assert (derived.ref, derived.scope) == (KEY.ref, KEY.scope)
    assert base_of(derived) == KEY


def test_a_key_of_a_document_is_its_own_base() -> None:
    assert base_of(KEY) is KEY


def test_what_is_made_of_a_lease_for_different_things_has_different_keys() -> None:
    session = ExpressSession("b.example.com", "eu-central-1", read_only=True)
    whats = (TOKEN, RegistryToken("us-east-1"), session, replace(session, read_only=False))
    keys = {derived_key(key, what) for key in (KEY, LeaseKey(SOURCE)) for what in whats}
    assert len(keys) == 8
