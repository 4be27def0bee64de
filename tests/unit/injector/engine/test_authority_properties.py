"""The invariant of `injector/engine/authority.py`, over time that is not real."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from injector.engine.authority import CURRENT, NEXT, PREVIOUS, REPLACED_AT, TRUSTED_SINCE, Rest
from proxy.x509.certificates import CLOCK_SKEW
from tests.injector_authority_world import World

LEADERS = 2
REPLICAS = 2
FIELDS = (
    f"{CURRENT}.crt",
    f"{CURRENT}.key",
    f"{NEXT}.crt",
    f"{NEXT}.key",
    TRUSTED_SINCE,
    PREVIOUS,
    REPLACED_AT,
)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
WAITS = (MINUTE / 6, MINUTE, 5 * MINUTE, 61 * MINUTE, DAY, 5 * DAY, 60 * DAY, 250 * DAY)

leader = st.integers(0, LEADERS - 1)
replica = st.integers(0, REPLICAS - 1)
skew = st.integers(-int(CLOCK_SKEW.total_seconds()) // 2, int(CLOCK_SKEW.total_seconds()) // 2)
acts = st.one_of(
    st.tuples(st.just("wait"), st.sampled_from(WAITS)),
    st.tuples(st.sampled_from(["read", "write", "work"]), leader),
    st.tuples(st.sampled_from(["look", "look", "renew", "restart"]), replica),
    st.tuples(st.just("lose"), st.none()),
    st.tuples(st.just("damage"), st.sampled_from(FIELDS)),
)


def perform(world: World, act: str, what: object) -> None:
    match act, what:
        case "wait", timedelta():
            world.now += what
        case "read", int():
            world.read(world.leaders[what])
        case "write", int():
            world.write(world.leaders[what])
        case "work", int():
            world.work(world.leaders[what])
        case "look", int():
            world.look(world.replicas[what])
        case "renew", int():
            world.renew(world.replicas[what])
        case "restart", int():
            world.replicas[what].leaf = None
        case "lose", _:
            world.put_secret(None)
        case "damage", str():
            data = dict(world.secret or {})
            if what in data:
                data[what] = data[what][: len(data[what]) // 2] + b"!"
                world.put_secret(data)


def running(skews: list[int]) -> World:
    world = World(LEADERS, REPLICAS)
    for one, ahead in zip((*world.leaders, *world.replicas), skews, strict=True):
        one.ahead = timedelta(seconds=ahead)
    world.work(world.leaders[0])
    for one in world.replicas:
        world.look(one)
    world.now += DAY
    return world


@given(st.lists(skew, min_size=LEADERS + REPLICAS, max_size=LEADERS + REPLICAS), st.lists(acts, max_size=60))
def test_a_served_leaf_verifies_by_every_bundle_that_api_servers_may_have(
    skews: list[int], story: list[tuple[str, object]]
) -> None:
    world = running(skews)
    for act, what in story:
        perform(world, act, what)
        assert world.broken() == []


@given(st.lists(acts, max_size=30), st.integers(1, 400))
def test_a_clock_that_is_set_back_takes_no_trust_away(story: list[tuple[str, object]], days: int) -> None:
    world = running([0] * (LEADERS + REPLICAS))
    for act, what in story:
        perform(world, act, what)
    for one in world.leaders:
        one.ahead = -timedelta(days=days)
        one.plan = None
    for _ in range(3):
        world.work(world.leaders[0])
        assert world.broken() == []
        world.now += DAY


@given(
    st.none() | st.dictionaries(st.sampled_from(FIELDS), st.binary(max_size=60)),
    st.lists(st.binary(max_size=60), max_size=3),
    st.lists(st.tuples(st.sampled_from(FIELDS), st.sampled_from(FIELDS)), max_size=5),
)
def test_whatever_lies_in_the_secret_there_is_an_authority_in_the_end(
    data: dict[str, bytes] | None, bundles: list[bytes], swaps: list[tuple[str, str]]
) -> None:
    world = running([0] * (LEADERS + REPLICAS))
    if swaps and world.secret is not None:
        data = {**world.secret, **(data or {})}
        for one, other in swaps:
            data[one], data[other] = data.get(other, b""), data.get(one, b"")
    world.put_secret(data)
    world.bundles = bundles or world.bundles
    world.work(world.leaders[0])
    world.now += 7 * MINUTE
    world.work(world.leaders[0])
    for one in world.replicas:
        one.leaf = None
        world.look(one)
        assert one.leaf is not None
    assert world.broken() == []


@pytest.mark.slow
def test_years_go_by() -> None:
    """Two replicas and the leader look every other day: there is always a leaf with a day to go, and the
    authority is replaced again and again."""
    world = World()
    world.work(world.leaders[0])
    world.now += DAY
    authorities = set()
    for _ in range(365):
        world.work(world.leaders[0])
        due = world.read(world.leaders[0])
        world.leaders[0].plan = None
        assert isinstance(due, Rest)
        for one in world.replicas:
            world.look(one)
            assert one.leaf is not None
            assert one.leaf.ends - world.now > DAY
        assert world.broken() == []
        authorities.add((world.secret or {})["ca.crt"])
        world.now += 2 * DAY

    assert len(authorities) == 3
