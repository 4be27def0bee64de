import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial

import pytest

from injector.core.api import LEASES, ClusterFault
from injector.edge.leading import CALL_SECONDS, LEAST_SECONDS, Leading, boot_clock
from injector.engine.election import LEASE_SECONDS, RENEW_DEADLINE
from tests.injector_world import FakeCluster, Lines, Loop, Raw, until

PATH = LEASES.path("podkey-system", "podkey-injector")
LOST = ClusterFault(None, "TimedOut", "no answer")


class House:
    """Time is the test's: turns are made by hand, but where a thread is what is tested."""

    def __init__(self) -> None:
        self.cluster, self.loop, self.log = FakeCluster(), Loop(), Lines()
        self.now = 1000.0
        self.calls: list[str] = []
        self.leading = self.replica("one")

    def replica(self, identity: str) -> Leading:
        return Leading(
            self.cluster,  # type: ignore[arg-type]
            "podkey-system",
            "podkey-injector",
            identity,
            on_start=partial(self.calls.append, f"{identity} starts"),
            on_stop=partial(self.calls.append, f"{identity} stops"),
            hand=self.loop.hand,
            log=self.log,
            clock=lambda: self.now,
            wall=lambda: datetime(2026, 1, 1, 12, tzinfo=UTC),
            dice=lambda: 0.0,
            token="t",
        )

    def turns(self, seconds: float, *replicas: Leading) -> None:
        end = self.now + seconds
        while self.now < end:
            for replica in replicas or (self.leading,):
                while replica._turn() == 0.0:
                    pass
            self.loop.run()
            self.now += 0.5

    @property
    def spec(self) -> Raw:
        spec: Raw = self.cluster.objects[PATH]["spec"]
        return spec


@pytest.fixture
def house() -> House:
    return House()


def test_the_first_makes_the_lease_and_leads(house: House) -> None:
    assert not house.leading.leads()
    house.turns(1)
    assert house.leading.leads()
    assert house.calls == ["one starts"]
    assert house.spec["holderIdentity"] == "one_t"
    assert house.log.events() == ["this replica leads"]


def test_it_leads_as_long_as_it_renews(house: House) -> None:
    house.turns(60)
    assert house.calls == ["one starts"]
    assert 20 <= house.cluster.count("PATCH") <= 30
    assert house.cluster.count("GET") == 1


def test_another_waits_and_takes_over_when_nothing_is_renewed(house: House) -> None:
    two = house.replica("two")
    house.turns(5, house.leading, two)
    assert "another replica leads" in house.log.events()
    house.turns(LEASE_SECONDS + 5, two)
    assert two.leads()
    assert not house.leading.leads(), "by its own clock, although it did not come to look"
    house.turns(3, house.leading, two)
    assert house.calls == ["one starts", "two starts", "one stops"]


def test_who_cannot_renew_is_told_when_it_ends_and_why_once(house: House) -> None:
    house.turns(3)
    house.cluster.before = lambda _method, _path: house.cluster.fail(_method, LOST)
    house.turns(RENEW_DEADLINE + 1)
    assert house.calls == ["one starts", "one stops"]
    assert house.log.events("warning") == ["the lease cannot be kept"]
    house.cluster.before = lambda _method, _path: None
    house.cluster.faults.clear()
    house.turns(5)
    assert house.calls == ["one starts", "one stops", "one starts"]


def test_no_call_takes_longer_than_leading_lasts(house: House) -> None:
    house.turns(0.5)
    house.cluster.fail("PATCH", LOST)
    house.now = 1000 + RENEW_DEADLINE - 1.5
    house.leading._turn()
    assert house.cluster.seconds[-1] == pytest.approx(1.5)
    assert max(filter(None, house.cluster.seconds)) <= CALL_SECONDS
    assert min(filter(None, house.cluster.seconds)) >= LEAST_SECONDS


def test_a_rest_ends_when_leading_does(house: House) -> None:
    house.turns(0.5)
    house.cluster.fail("PATCH", LOST)
    house.now = 1000 + RENEW_DEADLINE - 1
    house.leading._turn()
    assert house.leading._turn() == pytest.approx(1.0)


def test_a_lease_that_is_no_lease_is_a_failure(house: House) -> None:
    house.cluster.put(PATH, {"spec": {"holderIdentity": 5}})
    house.turns(1)
    assert not house.leading.leads()
    assert house.log.events("warning") == ["the lease cannot be kept"]


def test_who_was_faster_is_no_complaint(house: House) -> None:
    house.cluster.fail("POST", ClusterFault(409, "AlreadyExists", ""))
    house.turns(1)
    assert not house.log.events("warning")


def test_a_beginning_that_is_over_when_the_loop_comes_to_it_is_none(house: House) -> None:
    house.leading._turn()
    house.leading._turn()
    assert house.leading.leads()
    house.now += RENEW_DEADLINE
    house.loop.run()
    assert house.calls == []


@contextmanager
def started(leading: Leading) -> Iterator[None]:
    leading.start()
    try:
        yield
    finally:
        leading._worker.stop()
        leading._worker.join()


def test_closing_gives_the_lease_back_after_leading_has_ended(house: House) -> None:
    with started(house.leading):
        house.loop.run_until(lambda: house.calls)
        seen: list[bool] = []
        house.cluster.before = lambda _method, _path: seen.append(house.leading.leads())
        asyncio.run(house.leading.close())
    assert house.calls == ["one starts", "one stops"]
    assert house.spec["holderIdentity"] == ""
    assert not any(seen)
    two = house.replica("two")
    house.turns(1, two)
    assert two.leads(), "at once"
    assert house.spec["leaseTransitions"] == 1


def test_a_lease_that_cannot_be_given_back_runs_out(house: House) -> None:
    with started(house.leading):
        house.loop.run_until(lambda: house.calls)
        house.cluster.fail("PATCH", LOST)
        asyncio.run(house.leading.close())
    assert house.log.events("warning") == ["the lease was not given back"]
    assert not house.leading.leads()


def test_who_does_not_lead_has_nothing_to_give_back(house: House) -> None:
    asyncio.run(house.leading.close())
    assert not house.cluster.calls
    assert house.calls == []


def test_two_processes_of_one_name_are_two(house: House) -> None:
    made = [
        Leading(
            house.cluster, "n", "l", "same", on_start=int, on_stop=int, hand=house.loop.hand, log=house.log
        )
        for _ in "ab"
    ]  # type: ignore[arg-type,call-overload]
    assert len({one._identity for one in made}) == 2


def test_the_clock_goes_on() -> None:
    before = boot_clock()
    until(lambda: boot_clock() > before)
