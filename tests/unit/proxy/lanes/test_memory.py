from datetime import datetime, timedelta

import pytest

from proxy.core.lease import LeaseKey
from proxy.core.settings import Capture
from proxy.core.structs import replace
from proxy.lanes.exchange import Exchange
from proxy.lanes.memory import MAX_HEAD, Familiar, RequestMemory
from tests.lane_world import GOVERNING, NOON, SOURCE, World, arrival_of, get, pod_of

SECOND = timedelta(seconds=1)


def familiar(until: datetime | None = None) -> Familiar:
    exchange = Exchange(World().lane_world, arrival_of(), get())
    assert exchange.open_now()
    found = exchange.as_familiar()
    assert found is not None
    found.until = until
    return found


def test_what_is_remembered_is_found_by_its_bytes() -> None:
    memory, one = RequestMemory(), familiar()
    memory.remember(b"head", one)

    assert memory.recall(b"head", arrival_of(), one.pod, NOON) is one
    assert memory.recall(b"Head", arrival_of(), one.pod, NOON) is None


def test_it_counts_from_then_on_until_its_end() -> None:
    memory, one = RequestMemory(), familiar(NOON + SECOND)
    memory.remember(b"head", one)

    times = (NOON - SECOND, NOON, NOON + SECOND)
    assert [memory.recall(b"head", arrival_of(), one.pod, now) for now in times] == [None, one, None]


def test_another_state_of_the_pod_forgets_all_of_the_one_before() -> None:
    memory, one = RequestMemory(), familiar()
    memory.remember(b"head", one)

    assert memory.recall(b"head", arrival_of(), pod_of(), NOON) is None
    assert len(memory) == 0


@pytest.mark.parametrize(
    "arrival",
    [
        arrival_of("other.example.com"),
        arrival_of(port=8443),
        arrival_of(capture=Capture.EXPLICIT),
        replace(arrival_of(), asked="other.example.com"),
        replace(arrival_of(), path_prefix="/token"),
    ],
)
def test_whoever_came_in_another_way_is_judged_by_himself(arrival: object) -> None:
    memory, one = RequestMemory(), familiar()
    memory.remember(b"head", one)

    assert memory.recall(b"head", arrival, one.pod, NOON) is None  # type: ignore[arg-type]
    assert memory.recall(b"head", replace(arrival_of(), upstream="192.0.2.8:443"), one.pod, NOON) is one


def test_it_is_bounded_and_what_is_asked_again_stays() -> None:
    memory, one = RequestMemory(max_heads=20), familiar()
    for number in range(200):
        memory.remember(b"%d" % number, one)
        memory.remember(b"often", one) if number == 0 else memory.recall(
            b"often", arrival_of(), one.pod, NOON
        )

    assert len(memory) <= 20
    assert memory.recall(b"often", arrival_of(), one.pod, NOON) is one
    assert memory.recall(b"0", arrival_of(), one.pod, NOON) is None


def test_its_bytes_are_bounded_too() -> None:
    memory, one = RequestMemory(max_bytes=1000), familiar()
    for number in range(100):
        memory.remember(b"%0100d" % number, one)
    memory.remember(b"x" * 501, one)

    assert len(memory) <= 10
    assert memory.recall(b"x" * 501, arrival_of(), one.pod, NOON) is None
    large = RequestMemory()
    large.remember(b"x" * (MAX_HEAD + 1), one)
    assert len(large) == 0


def test_it_shows_nothing_of_what_it_holds() -> None:
    memory, one = RequestMemory(), familiar()
    memory.remember(b"secret head", one)

    assert "secret" not in repr(memory)
    assert "/v1" not in repr(one)
    assert isinstance(GOVERNING.leases[SOURCE], LeaseKey)


def test_what_is_remembered_again_is_counted_once() -> None:
    memory, one = RequestMemory(max_bytes=1000), familiar()
    memory.remember(b"a", one)
    for _ in range(100):
        memory.remember(b"x" * 100, one)

    assert memory.recall(b"a", arrival_of(), one.pod, NOON) is one
