from proxy.core.credentials import CredentialSource, RegistryToken
from proxy.core.lease import LeaseKey, derived_key
from proxy.core.mounted_sources import MountedSecret
from proxy.core.parts import Part
from proxy.leasing.derivations import MAX_DERIVED, Derivations

BASE = LeaseKey(CredentialSource("ml", "aws", MountedSecret("s", ((Part.TOKEN, "t"),))))
OTHER = LeaseKey(CredentialSource("ml", "other", MountedSecret("s", ((Part.TOKEN, "t"),))))


def derived(number: int = 0, base: LeaseKey = BASE) -> LeaseKey:
    return derived_key(base, RegistryToken(f"eu-central-{number}"))


def test_what_is_admitted_is_kept_and_admitted_again() -> None:
    kept = Derivations()
    assert kept.admit(derived())
    assert kept.admit(derived())
    assert list(kept) == [derived()]


def test_names_that_somebody_makes_up_find_an_end() -> None:
    kept = Derivations()
    assert all(kept.admit(derived(number)) for number in range(MAX_DERIVED))
    assert not kept.admit(derived(MAX_DERIVED))
    assert kept.admit(derived(0))
    kept.forget(derived(0))
    assert kept.admit(derived(MAX_DERIVED))


def test_it_is_outlived_when_another_lease_is_live_and_that_is_said_once() -> None:
    kept = Derivations()
    kept.admit(derived())
    assert not kept.is_outlived(derived(), "l-1")  # yet to be made
    kept.made(derived(), "l-1")
    assert not kept.is_outlived(derived(), "l-1")
    assert kept.is_outlived(derived(), "l-2")
    assert not kept.is_outlived(derived(), "l-2")


def test_what_was_forgotten_while_it_was_made_stays_forgotten() -> None:
    kept = Derivations()
    kept.made(derived(), "l-1")
    assert list(kept) == []


def test_only_what_is_made_of_these_stays() -> None:
    kept = Derivations()
    kept.admit(derived())
    kept.admit(derived(base=OTHER))
    kept.retain({OTHER})
    assert list(kept) == [derived(base=OTHER)]
