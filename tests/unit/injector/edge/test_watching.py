from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from injector.core.api import NAMESPACES, ClusterFault, ObjectKey
from injector.core.cluster import Namespace
from injector.edge import watching as module
from injector.edge.watching import Watcher, WatchNews
from injector.engine.reflector import Change, Reflector, Remove, Replace, Upsert
from injector.reading.objects import ObjectFault, read_namespace
from tests.injector_world import FakeCluster, Lines, Loop, thing, until


def read(raw: Any) -> Namespace:
    namespace = read_namespace(raw)
    if "odd" in namespace.labels:
        raise ObjectFault("it is odd")
    return namespace


class House:
    def __init__(self) -> None:
        self.cluster, self.loop, self.log = FakeCluster(), Loop(), Lines()
        self.batches: list[Sequence[Change[Namespace]]] = []
        self.news: list[WatchNews] = []
        self.watcher: Watcher[Namespace] = Watcher(
            self.cluster,  # type: ignore[arg-type]
            NAMESPACES,
            Reflector("Namespace", read, resync_seconds=600, page=2, most=10),
            self.batches.append,
            hand=self.loop.hand,
            log=self.log,
            counted=self.news.append,
            dice=lambda: 0.0,
        )

    def put(self, name: str, **labels: str) -> None:
        self.cluster.put(NAMESPACES.path(name=name), thing(name, metadata={"labels": labels}))

    def changes(self) -> list[Change[Namespace]]:
        return [change for batch in self.batches for change in batch]

    def names(self) -> set[str]:
        names: set[str] = set()
        for change in self.changes():
            match change:
                case Replace(values):
                    names = {key.name for key in values}
                case Upsert(key, _):
                    names.add(key.name)
                case Remove(key):
                    names.discard(key.name)
        return names

    def sees(self, *names: str) -> None:
        self.loop.run_until(lambda: self.names() == set(names), f"seeing {names}")


@pytest.fixture
def house() -> Iterator[House]:
    made = House()
    yield made
    made.watcher.stop()


def test_what_there_is_comes_as_a_whole_and_then_each_change(house: House) -> None:
    for name in ("a", "b", "c"):
        house.put(name)
    house.watcher.start()
    house.sees("a", "b", "c")
    assert house.changes() == [Replace({ObjectKey("", name): Namespace(name) for name in ("a", "b", "c")})]
    assert house.watcher.synced
    house.put("d", team="ml")
    house.sees("a", "b", "c", "d")
    assert house.changes()[-1] == Upsert(ObjectKey("", "d"), Namespace("d", {"team": "ml"}))
    house.cluster.take(NAMESPACES.path(name="a"))
    house.sees("b", "c", "d")
    assert WatchNews.LISTED in house.news


def test_nothing_is_synced_before_it_was_delivered(house: House) -> None:
    house.watcher.start()
    until(house.cluster.watches)
    assert not house.watcher.synced
    assert house.loop.run() == 1
    assert house.watcher.synced


def test_what_comes_while_the_loop_is_busy_comes_together(house: House) -> None:
    house.watcher.start()
    until(house.cluster.watches)
    for number in range(9):
        house.put(f"n{number}")
    until(lambda: len(house.watcher._pending) == 10)
    assert house.loop.run() == 1
    assert len(house.batches) == 1
    assert len(house.names()) == 9
    assert house.loop.run() == 0


def test_a_watch_that_was_cut_goes_on_where_it_was(house: House) -> None:
    house.put("a")
    house.watcher.start()
    house.sees("a")
    until(house.cluster.watches)
    house.cluster.end_watches(ClusterFault(None, "Unreachable", "the connection is gone"))
    house.put("b")
    house.sees("a", "b")
    assert house.cluster.count("LIST") == 1
    house.loop.run_until(lambda: "a watch works again" in house.log.events("info"))
    assert house.log.events("warning") == ["a watch fails and is tried again"]


def test_what_the_server_has_forgotten_is_listed_again_without_a_word(house: House) -> None:
    house.put("a")
    house.watcher.start()
    house.sees("a")
    until(house.cluster.watches)
    house.put("b")
    house.cluster.compact()
    with house.cluster.lock:
        stream = house.cluster.streams[0][1]
        stream.events.put({"type": "ERROR", "object": {"code": 410, "reason": "Expired"}})
    house.put("c")
    house.sees("a", "b", "c")
    assert house.cluster.count("LIST") == 3, "one page, and two"
    assert not house.log.events("warning")
    assert WatchNews.FAILED in house.news


def test_failures_are_told_once_and_again_when_they_are_others(house: House) -> None:
    forbidden = ClusterFault(403, "Forbidden", "GET /api/v1/namespaces: 403 Forbidden; grant it")
    house.cluster.fail("LIST", forbidden, forbidden, ClusterFault(None, "TimedOut", "no answer"))
    house.put("a")
    house.watcher.start()
    house.sees("a")
    assert [fields["why"] for level, _, fields in house.log.said if level == "warning"] == [
        forbidden.message,
        "no answer",
    ]
    assert house.log.events("info") == ["a watch works again"]


def test_more_objects_than_are_kept_are_told(house: House) -> None:
    for number in range(11):
        house.put(f"n{number}")
    house.watcher.start()
    until(lambda: house.log.events("warning"))
    assert not house.loop.run()
    house.cluster.take(NAMESPACES.path(name="n0"))
    house.loop.run_until(lambda: house.watcher.synced)


def test_an_object_that_cannot_be_read_is_named_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_COMPLAINTS", 1)
    house.put("bad", odd="yes")
    house.cluster.put(NAMESPACES.path(name="worse"), {"metadata": {"labels": {"a": 1}}})
    house.watcher.start()
    house.loop.run_until(lambda: house.watcher.synced)
    house.put("bad", odd="yes")
    house.put("bad", odd="yes")
    house.put("good")
    house.sees("good")
    errors = [fields["name"] for level, _, fields in house.log.said if level == "error"]
    # The second pushed the first out of what is remembered.
    assert errors == ["bad", "", "bad"]
    assert house.news.count(WatchNews.UNREADABLE) == 4


def test_a_watch_that_ends_in_peace_is_begun_again(house: House) -> None:
    house.watcher.start()
    until(house.cluster.watches)
    house.cluster.end_watches()
    house.put("a")
    house.sees("a")
    assert house.cluster.count("WATCH") >= 2


def test_stopping_wakes_a_watch_and_nothing_comes_after(house: House) -> None:
    house.watcher.start()
    until(house.cluster.watches)
    stream = house.cluster.streams[0][1]
    house.watcher.stop()
    assert stream.closed
    assert not house.watcher._worker._thread.is_alive()
    house.loop.run()
    assert not house.batches
    assert not house.log.said


def test_a_watch_that_begins_while_it_is_stopped_is_closed(house: House) -> None:
    def stop(method: str, _path: str) -> None:
        if method == "WATCH":
            house.watcher._worker.stop()

    house.cluster.before = stop
    house.watcher.start()
    until(lambda: not house.watcher._worker._thread.is_alive())
    assert house.cluster.streams[0][1].closed


def test_a_call_that_fails_because_it_is_stopped_is_no_failure(house: House) -> None:
    def stop(_method: str, _path: str) -> None:
        house.watcher._worker.stop()

    house.cluster.before = stop
    house.cluster.fail("LIST", ClusterFault(None, "Unreachable", "closed"))
    house.watcher.start()
    until(lambda: not house.watcher._worker._thread.is_alive())
    assert not house.log.said
