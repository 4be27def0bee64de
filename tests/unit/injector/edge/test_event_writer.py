from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from injector.core.api import EVENTS, ClusterFault
from injector.edge.event_writer import IDLE_SECONDS, LEAST_GAP, EventWriter
from injector.engine import happenings as book_module
from injector.engine.happenings import EventKind, EventReason, Happening, Involved
from proxy.core.structs import replace
from tests.injector_world import FakeCluster, Lines, until

JOB = Involved("batch/v1", "Job", "train", "uid-1")
INJECTED = Happening("ml", JOB, EventKind.NORMAL, EventReason.INJECTED, "A sidecar was added.")
PATH = EVENTS.path("ml", "podkey-injector.0a")


class House:
    def __init__(self) -> None:
        self.cluster, self.log = FakeCluster(), Lines()
        self.now = 0.0
        self.counted: list[str] = []
        self.writer = EventWriter(
            self.cluster,  # type: ignore[arg-type]
            "replica",
            self.log,
            counted=self.counted.append,
            monotonic=lambda: self.now,
            wall=lambda: datetime(2026, 1, 1, 12, tzinfo=UTC),
            token=lambda: "0a",
        )


@pytest.fixture
def house() -> Iterator[House]:
    made = House()
    yield made
    made.writer.stop()


def test_what_is_told_is_written_by_another_thread(house: House) -> None:
    house.writer.start()
    house.writer.tell(INJECTED)
    event = until(lambda: house.cluster.objects.get(PATH))
    assert event["reason"] == "PodkeyInjected"
    house.now = 20
    house.writer.tell(INJECTED)
    until(lambda: house.cluster.objects[PATH]["count"] == 2)
    assert house.writer.lost == 0


def test_between_two_writes_there_is_a_pause(house: House) -> None:
    assert house.writer._turn() == IDLE_SECONDS
    house.writer.tell(INJECTED)
    assert house.writer._turn() == LEAST_GAP
    house.writer.tell(replace(INJECTED, message="another"))
    house.now = LEAST_GAP / 2
    assert house.writer._turn() == LEAST_GAP / 2, "whoever wakes the thread"
    house.now = LEAST_GAP
    assert house.writer._turn() == LEAST_GAP
    assert len(house.cluster.objects) == 1, "the names are the same in this test"
    house.now = 2 * LEAST_GAP
    house.writer.tell(INJECTED)
    assert house.writer._turn() == book_module.LEAST_GAP - 2 * LEAST_GAP


def test_what_is_only_counted_wakes_nobody(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    woken: list[None] = []
    monkeypatch.setattr(house.writer._worker, "wake", lambda: woken.append(None))
    for _ in range(1000):
        house.writer.tell(INJECTED)
    assert len(woken) == 1
    house.writer._turn()
    house.writer.tell(INJECTED)
    assert len(woken) == 2, "it waits again, and somebody has to say when it is due"


def test_a_refusal_is_counted_each_time_and_logged_once(house: House) -> None:
    forbidden = ClusterFault(403, "Forbidden", "POST: 403 Forbidden; grant it")
    house.cluster.fail("POST", forbidden, forbidden)
    for number in range(3):
        house.writer.tell(replace(INJECTED, message=f"{number}"))
        house.now += LEAST_GAP
        house.writer._turn()
    assert house.writer.lost == 2
    assert house.log.events() == ["an Event was not written"]
    house.cluster.fail("POST", forbidden)
    house.writer.tell(replace(INJECTED, message="once more"))
    house.now += LEAST_GAP
    house.writer._turn()
    assert len(house.log.events()) == 2, "it had worked in between"
    assert house.counted == ["failed", "failed", "written", "failed"]


def test_an_event_that_is_gone_is_written_anew_without_a_word(house: House) -> None:
    house.writer.tell(INJECTED)
    house.writer._turn()
    house.cluster.take(PATH)
    house.now = 20
    house.writer.tell(INJECTED)
    house.writer._turn()
    house.now += LEAST_GAP
    house.writer._turn()
    assert house.cluster.objects[PATH]["count"] == 2
    assert not house.log.said


def test_what_nobody_can_wait_for_is_counted(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(book_module, "MOST_WAITING", 1)
    house.writer.tell(INJECTED)
    house.writer.tell(replace(INJECTED, message="another"))
    assert (house.writer.lost, house.counted) == (1, ["dropped"])
