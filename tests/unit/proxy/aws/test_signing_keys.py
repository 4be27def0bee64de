import gc
import hmac
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.aws.signing_keys import MAX_KEPT, DerivedKeys, HmacKey, derived_key
from proxy.aws.sigv4 import SigningScope
from proxy.core.secret import Secret

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)


class Derivations:
    """A memory whose keys say what they were made of, and how often one was made."""

    def __init__(self) -> None:
        self.made: list[tuple[bytes, str]] = []
        self.keys = DerivedKeys(self._derive)

    def _derive(self, secret: bytes, purpose: str) -> tuple[bytes, str]:
        self.made.append((secret, purpose))
        return secret, purpose


def test_a_key_is_derived_once_for_a_secret_and_a_purpose() -> None:
    world, secret = Derivations(), Secret(b"a")
    assert world.keys.of(secret, "one") == world.keys.of(secret, "one") == (b"a", "one")
    assert world.keys.of(secret, "two") == (b"a", "two")
    assert world.made == [(b"a", "one"), (b"a", "two")]


def test_equal_bytes_in_another_secret_are_another_secret() -> None:
    world, one, other = Derivations(), Secret(b"a"), Secret(b"a")
    world.keys.of(one, "p")
    world.keys.of(other, "p")
    assert len(world.made) == len(world.keys) == 2


def test_what_was_derived_goes_with_its_secret() -> None:
    world, secret, other = Derivations(), Secret(b"a"), Secret(b"b")
    world.keys.of(secret, "one")
    world.keys.of(secret, "two")
    world.keys.of(other, "one")

    del secret
    gc.collect()

    assert len(world.keys) == 1
    assert world.keys.of(other, "one") == (b"b", "one")
    assert len(world.made) == 3


def test_a_secret_at_the_address_of_another_gets_its_own_key() -> None:
    """The weak reference has the last word, not the address."""
    world = Derivations()
    gone = Secret(b"gone")
    world.keys.of(gone, "p")
    kept = dict(world.keys._kept)
    # As if the one had been freed without a word, and the other were in its place.
    new = Secret(b"new")
    world.keys._kept.clear()
    world.keys._kept[id(new), "p"] = kept[id(gone), "p"]

    assert world.keys.of(new, "p") == (b"new", "p")
    # Nor does the late end of the first take away what the second has.
    del gone, kept
    gc.collect()
    assert world.keys.of(new, "p") == (b"new", "p")
    assert world.made == [(b"gone", "p"), (b"new", "p")]


def test_the_late_end_of_a_secret_leaves_its_successor_alone() -> None:
    world = Derivations()
    gone, new = Secret(b"gone"), Secret(b"new")
    world.keys.of(gone, "p")
    world.keys.of(new, "p")
    # The callback of the first finds the second in its place.
    kept = world.keys._kept
    first = kept[id(gone), "p"]
    kept[id(gone), "p"] = kept[id(new), "p"]
    del gone
    gc.collect()

    assert first[0]() is None
    assert len(world.keys) == 2


def test_an_overwritten_secret_has_no_key() -> None:
    world, secret = Derivations(), Secret(b"a")
    world.keys.of(secret, "p")
    secret.overwrite()

    with pytest.raises(ValueError, match="was overwritten"):
        world.keys.of(secret, "p")
    # And what was kept is dropped, although somebody still holds the secret.
    assert not len(world.keys)


def test_whoever_derives_next_clears_what_others_left() -> None:
    world, secret, other = Derivations(), Secret(b"a"), Secret(b"b")
    world.keys.of(secret, "one")
    world.keys.of(secret, "two")
    secret.overwrite()
    world.keys.of(other, "p")
    assert len(world.keys) == 1


def test_no_more_is_kept_than_said_and_the_oldest_goes_first() -> None:
    world, secret = Derivations(), Secret(b"a")
    for number in range(MAX_KEPT + 3):
        world.keys.of(secret, str(number))
    assert len(world.keys) == MAX_KEPT

    del world.made[:]
    world.keys.of(secret, "3")
    assert not world.made
    world.keys.of(secret, "2")
    assert world.made == [(b"a", "2")]


# --- SigV4 -------------------------------------------------------------------------------------------


@given(st.binary(max_size=64), st.binary(max_size=300))
def test_the_prepared_key_is_an_hmac(key: bytes, text: bytes) -> None:
    assert HmacKey(key).sign(text) == hmac.digest(key, text, "sha256").hex()


def test_a_prepared_key_signs_more_than_once() -> None:
    key = HmacKey(b"key")
    assert key.sign(b"a") == key.sign(b"a") != key.sign(b"b")


def test_a_key_is_derived_as_the_user_guide_derives_it() -> None:
    """The example of "Derive a signing key" (AWS General Reference, 1.0)."""
    secret = b"wJalrXUtnFEMI/K7MDENG" + b"+bPxRfiCYEXAMPLEKEY"
    expected = "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9"
    by_hand = HmacKey(bytes.fromhex(expected))
    assert derived_key(secret, "20150830/us-east-1/iam/aws4_request").sign(b"text") == by_hand.sign(b"text")


def test_a_signing_key_counts_for_one_day_region_and_service() -> None:
    scope = SigningScope(NOON, "eu-central-1", "sts")
    scopes = [
        scope,
        scope._replace(moment=NOON + timedelta(days=1)),
        scope._replace(region="eu-west-1"),
        scope._replace(service="s3"),
    ]
    signatures = {derived_key(b"secret", one.text).sign(b"") for one in scopes}
    assert len(signatures) == len(scopes)
    later = scope._replace(moment=NOON + timedelta(hours=11))
    assert derived_key(b"secret", later.text).sign(b"") in signatures
