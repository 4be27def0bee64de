"""What the keeper does with them stands in test_lease_keeper.py."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from proxy.core.lease import Lease, LeaseEvent
from proxy.core.parts import Part
from proxy.core.secret import Secret
from proxy.edge import lease_ends as module
from proxy.edge.lease_ends import RETIRE_SECONDS, LeaseEnds, overwrite, said, secrets_of
from proxy.leasing.book import Held
from proxy.sources.steps import Acquired, Failed, HttpCall, RevokeSteps
from tests.lease_world import OAUTH, LeaseWorld, key_of, until
from tests.source_world import NOON, OCCASION

KEY = key_of(OAUTH)


def held(name: str = "l-1") -> Held:
    acquired = Acquired(
        {Part.TOKEN: Secret(b"a token")}, timedelta(hours=1), {"lease_id": Secret(b"its handle")}
    )
    return Held(KEY, Lease(name, KEY.ref, acquired.parts, NOON), acquired, 0.0, None)


@pytest.fixture
def world(tmp_path: Path) -> LeaseWorld:
    return LeaseWorld(tmp_path)


def ends_of(world: LeaseWorld) -> LeaseEnds:
    return LeaseEnds(world.keeper._performer, lambda _key: OCCASION, world.log, world.events.append)


def test_what_cannot_be_revoked_is_overwritten_with_all_that_it_took(world: LeaseWorld) -> None:
    one = held()
    ends_of(world).end([one], "a test")
    assert len(secrets_of(one.acquired)) == 2
    assert not any(secrets_of(one.acquired))
    assert world.log.lines == []


def test_what_was_replaced_lives_on_for_a_minute(world: LeaseWorld) -> None:
    ends, one = ends_of(world), held()
    ends.retire([one], 100.0)
    ends.tick(100.0 + RETIRE_SECONDS - 0.1)
    assert all(secrets_of(one.acquired))
    ends.tick(100.0 + RETIRE_SECONDS)
    assert not any(secrets_of(one.acquired))


def test_what_comes_again_is_not_ended(world: LeaseWorld) -> None:
    ends, one, other = ends_of(world), held(), held("l-2")
    ends.retire([one, other], 100.0)
    ends.recall("l-1")
    ends.tick(1000.0)
    assert all(secrets_of(one.acquired))
    assert not any(secrets_of(other.acquired))


def test_a_revocation_that_breaks_is_told_and_overwrites_all_the_same(
    world: LeaseWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_arguments: object) -> RevokeSteps:
        raise ValueError("odd")
        yield

    monkeypatch.setattr(module, "revocation_of", broken)
    one = held()

    async def life() -> None:
        ends = ends_of(world)
        ends.end([one], "a test")
        await until(lambda: LeaseEvent.REVOKE_FAILED in world.events)
        await ends.close([])

    world.run(life())
    assert world.log.events == ["unexpected error", "a lease could not be revoked"]
    assert not any(secrets_of(one.acquired))


def test_a_revocation_that_hangs_is_cut(world: LeaseWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    def hanging(*_arguments: object) -> RevokeSteps:
        yield HttpCall("GET", "https://login.example.com/")
        return None

    async def never(_call: HttpCall) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(module, "revocation_of", hanging)
    monkeypatch.setattr(module, "FETCH_SECONDS", 0.01)
    monkeypatch.setattr(world.door, "call", never)

    async def life() -> None:
        ends = ends_of(world)
        await ends.close([held()])

    world.run(life())
    assert world.log.lines[0][1]["why"] == "no answer within 0.01 s"


def test_words_that_cannot_be_cleaned_are_not_said(world: LeaseWorld) -> None:
    run = world.keeper._performer.run()
    gone = held()
    run._secrets.extend(secrets_of(gone.acquired))
    assert said(Failed("a token is wrong"), run) == "(removed) is wrong"
    overwrite(gone.acquired)
    assert said(Failed("a token is wrong"), run) == "it failed after its lease was dropped"
