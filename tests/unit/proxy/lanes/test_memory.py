from datetime import datetime, timedelta

import pytest

from proxy.core.lease import LeaseKey
from proxy.core.settings import Capture
from proxy.core.structs import replace
from proxy.lanes.exchange import Exchange
from proxy.lanes.memory import MAX_HEAD, MAX_HEADS, MAX_KIN, Familiar, RequestMemory
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


# --- heads that differ in their paths ---


def raw(path: str = "/v1/models", rest: bytes = b"Host: a\r\n\r\n", method: str = "GET") -> bytes:
    return f"{method} {path} HTTP/1.1\r\n".encode() + rest


def test_one_is_found_for_another_path_once() -> None:
    memory, one = RequestMemory(), familiar()
    memory.remember(raw(), one)

    assert memory.akin(raw("/v1/b"), arrival_of(), one.pod, NOON) == (one, "/v1/b")
    assert memory.akin(raw("/v1/b"), arrival_of(), one.pod, NOON) is None
    assert memory.akin(raw("/v1/c"), arrival_of(), one.pod, NOON) == (one, "/v1/c")


@pytest.mark.parametrize(
    "other",
    [
        raw("/v1/b", b"Host: b\r\n\r\n"),
        raw("/v1/b", b"Host: a\r\nX: y\r\n\r\n"),
        raw("/v1/b", method="HEAD"),
        raw("/v1/b?c=d"),
        raw("/v1/b%20"),
        raw("https://a/v1/b"),
        raw("*"),
        raw("/v1/b").replace(b"1.1", b"1.0"),
        b"\r\n" + raw("/v1/b"),
        raw("/" + "a" * 4000),
        b"",
    ],
)
def test_what_differs_in_more_has_none(other: bytes) -> None:
    memory, one = RequestMemory(), familiar()
    memory.remember(raw(), one)

    assert memory.akin(other, arrival_of(), one.pod, NOON) is None


def test_it_counts_for_the_same_state_time_and_arrival() -> None:
    memory, one = RequestMemory(), familiar(NOON + SECOND)
    memory.remember(raw(), one)

    assert memory.akin(raw("/b"), arrival_of(), pod_of(), NOON) is None
    assert memory.akin(raw("/b"), arrival_of(), one.pod, NOON + SECOND) is None
    assert memory.akin(raw("/b"), arrival_of(port=8443), one.pod, NOON) is None
    assert memory.akin(raw("/b"), arrival_of(), one.pod, NOON) is not None
    memory.clear()
    assert memory.akin(raw("/c"), arrival_of(), one.pod, NOON) is None


def test_a_path_that_was_not_judged_as_it_stands_is_no_pattern() -> None:
    memory, one = RequestMemory(), familiar()
    memory.remember(raw("/token/v1/models"), one)

    assert memory.akin(raw("/token/b"), arrival_of(), one.pod, NOON) is None


def test_of_those_few_are_kept_too() -> None:
    memory, one = RequestMemory(), familiar()
    for number in range(MAX_KIN + 1):
        memory.remember(raw(rest=b"X: %d\r\n\r\n" % number), one)
    assert len(memory._kin) == 1
    for number in range(MAX_HEADS):
        memory.akin(raw(f"/{number}", rest=b"X: %d\r\n\r\n" % MAX_KIN), arrival_of(), one.pod, NOON)
    assert len(memory._seen) <= MAX_HEADS
