from proxy.core.credentials import CredentialSource, RegistryToken
from proxy.core.lease import LeaseKey, derived_key
from proxy.core.mounted_sources import MountedSecret
from proxy.core.parts import Part
from proxy.leasing.derivations import MAX_DERIVED, Derivations

BASE = LeaseKey(CredentialSource("ml", "aws", MountedSecret("s", ((Part.TOKEN, "t"),))))
OTHER = LeaseKey(CredentialSource("ml", "other", MountedSecret("s", ((Part.TOKEN, "t"),))))


def derived(number: int = 0, base: LeaseKey = BASE) -> LeaseKey:
    return derived_key(base, RegistryToken(f"eu-central-{number}"))


def admit(kept: Derivations, key: LeaseKey, *live: LeaseKey) -> LeaseKey | None:
    return kept.admit(key, lambda: live)


def test_what_is_admitted_is_kept_and_admitted_again() -> None:
    kept = Derivations()
    assert admit(kept, derived()) is None
    assert admit(kept, derived()) is None
    assert list(kept) == [derived()]


def test_names_that_somebody_makes_up_push_none_out_that_is_good() -> None:
    kept = Derivations()
    for number in range(MAX_DERIVED):
        assert admit(kept, derived(number)) is None
    assert admit(kept, derived(MAX_DERIVED), derived(0), derived(1)) == derived(2)
    assert len(list(kept)) == MAX_DERIVED


def test_where_all_are_good_the_one_that_was_kept_for_longest_goes() -> None:
    kept = Derivations()
    every = [derived(number) for number in range(MAX_DERIVED)]
    for key in every:
        admit(kept, key)
    assert admit(kept, derived(MAX_DERIVED), *every) == derived(0)


def test_it_is_outlived_when_another_lease_is_live_and_that_is_said_once() -> None:
    kept = Derivations()
    admit(kept, derived())
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
    admit(kept, derived())
    admit(kept, derived(base=OTHER))
    kept.retain({OTHER})
    assert list(kept) == [derived(base=OTHER)]


def test_what_nobody_asks_for_is_forgotten() -> None:
    kept = Derivations()
    admit(kept, derived())
    admit(kept, derived(1))
    kept.forget(derived())
    assert list(kept) == [derived(1)]
