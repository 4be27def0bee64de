import copy
import pickle
from datetime import timedelta

import pytest

from injector.engine.authority import (
    AUTHORITY_LIFETIME,
    LEAF_LIFETIME,
    MAX_STALENESS,
    Store,
    advance,
    read_state,
)
from injector.engine.leaf import ReplicaLeaf, renewed_leaf, server_names
from proxy.core.hosts import Hostname
from proxy.x509.certificates import (
    CLOCK_SKEW,
    dns_names,
    has_key,
    is_signed_by,
    new_key,
    read_certificates,
    read_key,
)
from tests.injector_authority_world import NAMES, START

FRESH = timedelta()


def made() -> Store:
    step = advance(None, [], START, new_key)
    assert isinstance(step, Store)
    return step


STATE = read_state(made().data)


def leaf(now: timedelta = FRESH, old: ReplicaLeaf | None = None) -> ReplicaLeaf | None:
    return renewed_leaf(old, STATE, seen=FRESH, names=NAMES, now=START + now, draw=new_key)


def first() -> ReplicaLeaf:
    found = leaf()
    assert found is not None
    return found


def test_it_has_the_names_by_which_api_servers_and_people_ask() -> None:
    assert dns_names(first().certificate) == (
        "podkey-injector.podkey-system.svc",
        "podkey-injector.podkey-system.svc.cluster.local",
        "podkey-injector.podkey-system",
    )


def test_it_lives_a_week_and_has_a_key_of_its_own() -> None:
    one, other = first(), first()
    key = read_key(one.key_pem)

    assert one.begins == START - CLOCK_SKEW
    assert one.ends == one.begins + LEAF_LIFETIME
    assert key is not None
    assert has_key(one.certificate, key)
    assert one.key_pem != other.key_pem
    assert read_certificates(one.chain_pem)[0] == [one.certificate]
    assert STATE.current is not None
    assert is_signed_by(one.certificate, STATE.current.certificate)


@pytest.mark.parametrize(
    ("at", "renewed"),
    [
        (timedelta(), False),
        (LEAF_LIFETIME * 2 / 3 - CLOCK_SKEW - timedelta(seconds=1), False),
        (LEAF_LIFETIME * 2 / 3 - CLOCK_SKEW, True),
        (LEAF_LIFETIME, True),
        (-CLOCK_SKEW, False),
    ],
)
def test_it_is_renewed_when_a_third_of_its_life_is_left(at: timedelta, renewed: bool) -> None:  # noqa: FBT001
    assert (leaf(at, first()) is not None) is renewed


def test_it_is_renewed_when_another_authority_signs_or_its_names_change() -> None:
    other = read_state(made().data)

    assert renewed_leaf(first(), other, seen=FRESH, names=NAMES, now=START, draw=new_key) is not None
    names = server_names("other", "podkey-system", "cluster.local")
    renamed = renewed_leaf(first(), STATE, seen=FRESH, names=names, now=START, draw=new_key)
    assert renamed is not None
    assert renamed.names == names


def test_nothing_is_signed_by_what_was_seen_too_long_ago() -> None:
    found = renewed_leaf(
        None, STATE, seen=MAX_STALENESS + timedelta(seconds=1), names=NAMES, now=START, draw=new_key
    )

    assert found is None
    assert renewed_leaf(None, STATE, seen=MAX_STALENESS, names=NAMES, now=START, draw=new_key) is not None


def test_without_an_authority_the_old_one_is_kept() -> None:
    assert renewed_leaf(first(), read_state({}), seen=FRESH, names=NAMES, now=START, draw=new_key) is None
    assert leaf(AUTHORITY_LIFETIME, first()) is None


def test_one_that_ends_with_its_authority_is_kept_to_the_end() -> None:
    late = AUTHORITY_LIFETIME - timedelta(days=2)
    last = leaf(late)

    assert last is not None
    assert STATE.current is not None
    assert last.ends == STATE.current.ends
    assert leaf(late + timedelta(days=1), last) is None


def test_a_leaf_whose_beginning_is_in_the_future_is_made_anew() -> None:
    ahead = leaf(timedelta(days=3))

    assert leaf(FRESH, ahead) is not None


def test_a_long_name_leaves_the_subject_empty() -> None:
    names = server_names("s" * 63, "n" * 63, "cluster.local")
    found = renewed_leaf(None, STATE, seen=FRESH, names=names, now=START, draw=new_key)

    assert found is not None
    assert found.names[0] == Hostname(f"{'s' * 63}.{'n' * 63}.svc")
    assert not found.certificate.subject.rdns


def test_its_key_is_not_shown_and_it_is_not_copied() -> None:
    found = first()

    assert "PRIVATE" not in repr(found)
    for duplicate in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="private key"):
            duplicate(found)
