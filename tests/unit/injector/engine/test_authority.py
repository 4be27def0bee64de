from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from injector.engine.authority import (
    AUTHORITY_LIFETIME,
    MAX_PREVIOUS,
    OVERLAP,
    RETIREMENT,
    SHORT_OVERLAP,
    Publish,
    Rest,
    Step,
    Store,
    advance,
    bundle,
    read_state,
    signer,
)
from proxy.x509.certificates import (
    CLOCK_SKEW,
    certificate_pem,
    common_name,
    key_pem,
    new_key,
    read_certificates,
    sign_authority,
)
from tests.injector_authority_world import START, WEBHOOKS, World

DUE = AUTHORITY_LIFETIME * 2 / 3
SECOND = timedelta(seconds=1)


def step(data: Mapping[str, bytes] | None, *bundles: bytes, at: timedelta = timedelta()) -> Step:
    return advance(data, bundles, START + at, new_key)


def stored(found: Step) -> Mapping[str, bytes]:
    assert isinstance(found, Store), found
    return found.data


FIRST = stored(step(None))
TRUSTED = bundle(read_state(FIRST), START)


def rotating() -> World:
    """The authority is due, and the next one is published and trusted."""
    world = World()
    world.work(world.leaders[0])
    world.now += DUE
    world.work(world.leaders[0])
    return world


def test_a_new_cluster_gets_an_authority_that_signs_at_once() -> None:
    state = read_state(FIRST)

    assert set(FIRST) == {"ca.crt", "ca.key"}
    assert state.current is not None
    assert signer(state, START) == state.current
    assert common_name(state.current.certificate) == "podkey injector CA 2030-01-01"
    assert state.current.begins == START - CLOCK_SKEW
    assert state.current.ends == START - CLOCK_SKEW + AUTHORITY_LIFETIME


@pytest.mark.parametrize("bundles", [[b""], [b"", TRUSTED], [TRUSTED, b"not a certificate"]])
def test_it_is_published_to_every_webhook(bundles: list[bytes]) -> None:
    assert step(FIRST, *bundles) == Publish(TRUSTED)


def test_what_stands_everywhere_is_left_alone_until_the_authority_is_due() -> None:
    assert step(FIRST, *[TRUSTED] * WEBHOOKS) == Rest(START - CLOCK_SKEW + DUE)
    assert isinstance(step(FIRST, TRUSTED, at=DUE - CLOCK_SKEW - SECOND), Rest)
    assert set(stored(step(FIRST, TRUSTED, at=DUE - CLOCK_SKEW))) == {
        "ca.crt",
        "ca.key",
        "next.crt",
        "next.key",
    }


def test_a_stranger_in_the_bundle_is_removed() -> None:
    other = sign_authority("somebody", new_key(), begins=START, ends=START + DUE)

    assert step(FIRST, TRUSTED + certificate_pem(other)) == Publish(TRUSTED)


def test_the_next_one_signs_after_it_was_trusted_for_the_overlap() -> None:
    world = rotating()
    before = read_state(world.secret or {})
    assert before.next is not None
    assert before.trusted_since == world.now
    assert world.read(world.leaders[0]) == Rest(world.now + OVERLAP)
    assert set(read_certificates(world.bundles[0])[0]) == set(before.trusted)

    world.now += OVERLAP - SECOND
    assert isinstance(world.read(world.leaders[0]), Rest)
    world.now += SECOND
    world.work(world.leaders[0])

    after = read_state(world.secret or {})
    assert after.current is not None
    assert after.current.certificate == before.next.certificate
    assert before.current is not None
    assert after.previous == (before.current.certificate,)
    assert after.replaced_at == world.now
    assert "next.crt" not in (world.secret or {})


def test_the_old_one_is_trusted_until_no_leaf_of_it_is_left() -> None:
    world = rotating()
    world.now += OVERLAP
    world.work(world.leaders[0])
    assert world.read(world.leaders[0]) == Rest(world.now + RETIREMENT)

    world.now += RETIREMENT - SECOND
    assert isinstance(world.read(world.leaders[0]), Rest)
    world.now += SECOND
    # From the bundle first: what stands there and not in the Secret would be taken for lost.
    assert isinstance(world.read(world.leaders[0]), Publish)
    world.work(world.leaders[0])

    state = read_state(world.secret or {})
    assert state.current is not None
    assert state.trusted == (state.current.certificate,)
    assert state.replaced_at is None
    assert read_certificates(world.bundles[0])[0] == [state.current.certificate]


def test_an_overlap_that_somebody_broke_begins_anew() -> None:
    world = rotating()
    began = world.now
    world.now += OVERLAP - SECOND
    world.publish(TRUSTED)
    world.work(world.leaders[0])

    assert read_state(world.secret or {}).trusted_since == world.now != began


def test_a_lost_secret_leaves_the_old_authority_trusted() -> None:
    world = World()
    world.work(world.leaders[0])
    old = read_certificates(world.bundles[0])[0]
    world.put_secret(None)
    world.work(world.leaders[0])

    state = read_state(world.secret or {})
    assert signer(state, world.now) is None
    assert state.previous == tuple(old)
    assert state.next is not None
    assert set(read_certificates(world.bundles[0])[0]) == {*old, state.next.certificate}
    assert world.read(world.leaders[0]) == Rest(world.now + SHORT_OVERLAP)

    world.now += SHORT_OVERLAP
    world.work(world.leaders[0])
    assert signer(read_state(world.secret or {}), world.now) is not None


def test_an_authority_that_ended_is_replaced_at_once() -> None:
    found = stored(step(FIRST, TRUSTED, at=AUTHORITY_LIFETIME))

    assert set(found) == {"ca.crt", "ca.key"}
    assert found["ca.crt"] != FIRST["ca.crt"]


def test_one_that_ends_while_the_next_waits_hands_over_sooner() -> None:
    world = rotating()
    world.now = START + AUTHORITY_LIFETIME - timedelta(minutes=10)
    world.work(world.leaders[0])
    state = read_state(world.secret or {})

    assert state.next is None
    assert signer(state, world.now) == state.current


def test_a_next_one_that_is_of_no_use_is_drawn_anew() -> None:
    world = rotating()
    held = dict(world.secret or {})
    key = new_key()
    ended = sign_authority("podkey injector CA x", key, begins=START - DUE, ends=START)
    held |= {"next.crt": certificate_pem(ended), "next.key": key_pem(key)}

    found = advance(held, world.bundles, world.now, new_key)

    assert isinstance(found, Store)
    assert found.why == "the next authority was of no use"
    assert read_state(found.data).trusted_since is None


@pytest.mark.parametrize(
    "moment", [b"2031-01-01T00:00:00+00:00", b"yesterday", b"\xff", b"9999-12-31T23:59:59-23:59"]
)
def test_a_time_that_cannot_be_is_taken_again(moment: bytes) -> None:
    world = rotating()
    world.put_secret({**(world.secret or {}), "next.trusted-since": moment})
    world.work(world.leaders[0])

    assert read_state(world.secret or {}).trusted_since == world.now


@pytest.mark.parametrize("moment", [b"2031-01-01T00:00:00+00:00", b"yesterday", None])
def test_the_retirement_counts_from_now_where_its_beginning_is_not_known(moment: bytes | None) -> None:
    world = rotating()
    world.now += OVERLAP
    world.work(world.leaders[0])
    held = dict(world.secret or {})
    del held["previous.replaced-at"]
    world.put_secret(held if moment is None else {**held, "previous.replaced-at": moment})
    world.now += timedelta(hours=1)
    world.work(world.leaders[0])

    assert read_state(world.secret or {}).replaced_at == world.now


@pytest.mark.parametrize("name", ["ca.crt", "ca.key"])
def test_half_an_authority_is_none_and_stays_trusted(name: str) -> None:
    world = World()
    world.work(world.leaders[0])
    (old,) = read_certificates(world.bundles[0])[0]
    held = dict(world.secret or {})
    del held[name]
    assert read_state(held).damaged == ("ca",)
    world.put_secret(held)
    world.work(world.leaders[0])

    assert old in read_state(world.secret or {}).previous
    assert world.log[-2] == "the authority was lost; of the Secret could not be read: ca"


def test_a_key_of_another_certificate_is_none() -> None:
    state = read_state({**FIRST, "ca.key": key_pem(new_key())})

    assert state.current is None
    assert state.damaged == ("ca",)
    assert len(state.previous) == 1


def test_a_strangers_certificate_without_its_key_is_not_trusted() -> None:
    other = sign_authority("somebody", new_key(), begins=START, ends=START + DUE)

    assert read_state({"ca.crt": certificate_pem(other)}).trusted == ()


def test_a_damage_is_told_once_and_mended() -> None:
    world = rotating()
    world.put_secret({**(world.secret or {}), "previous.crt": b"-----BEGIN CERTIFICATE-----"})
    world.work(world.leaders[0])
    world.work(world.leaders[0])

    assert [why for why in world.log if "previous.crt" in why] == [
        "the Secret was damaged; of the Secret could not be read: previous.crt"
    ]


def test_what_is_trusted_and_was_lost_from_the_secret_stays_trusted() -> None:
    world = rotating()
    world.now += OVERLAP
    world.work(world.leaders[0])
    held = dict(world.secret or {})
    lost = read_state(held).previous
    del held["previous.crt"], held["previous.replaced-at"]
    world.put_secret(held)
    world.work(world.leaders[0])

    assert read_state(world.secret or {}).previous == lost


def test_only_so_many_are_kept() -> None:
    many = b"".join(
        certificate_pem(sign_authority(f"podkey injector CA {n}", new_key(), begins=START, ends=START + DUE))
        for n in range(2 * MAX_PREVIOUS)
    )
    world = World()
    world.work(world.leaders[0])
    world.publish(many)
    world.work(world.leaders[0])

    assert len(read_state(world.secret or {}).previous) == MAX_PREVIOUS
    assert len(read_certificates(world.bundles[0])[0]) == MAX_PREVIOUS + 1


@pytest.mark.parametrize("between", [timedelta(), timedelta(hours=1)])
def test_a_secret_that_is_lost_again_and_again_takes_no_trust_away(between: timedelta) -> None:
    """Faster than a new authority comes to sign, or after each of them has."""
    world = World()
    world.work(world.leaders[0])
    world.look(world.replicas[0])
    world.now += timedelta(hours=1)
    for _ in range(3 * MAX_PREVIOUS):
        world.put_secret(None)
        world.work(world.leaders[0])
        assert world.broken() == []
        world.now += between
        world.work(world.leaders[0])
        world.look(world.replicas[0])
        assert world.broken() == []


def test_without_webhooks_there_is_nothing_to_publish() -> None:
    assert isinstance(step(FIRST), Rest)


def test_a_slow_leader_writes_nothing_old() -> None:
    world = World(leaders=2)
    slow, quick = world.leaders
    world.work(quick)
    world.now += DUE
    world.read(slow)
    world.work(quick)
    held, published = world.secret, list(world.bundles)
    world.write(slow)

    assert (world.secret, world.bundles) == (held, published)


def test_no_key_is_shown() -> None:
    shown: list[Any] = [step(None), read_state(FIRST)]

    assert "PRIVATE" not in repr(shown)
    assert "ca.key" not in repr(shown)
