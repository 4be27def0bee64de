from collections.abc import Iterator
from typing import Any

import pytest

from injector.core.api import ACCESS_POLICIES, CONFIG_MAPS, NAMESPACE_ENDS, ClusterFault
from injector.core.cluster import Namespace
from injector.edge.policy_writer import (
    GAP_SECONDS,
    IDLE_SECONDS,
    LONGEST_PAUSE,
    NOT_LEADING_SECONDS,
    PolicyWriter,
)
from injector.engine.config_maps import policy_config_map, trust_config_map
from proxy.core.contract import INJECT, POLICY_CONFIG_MAP, POLICY_KEY, TRUST_CONFIG_MAP
from tests.injector_world import FakeCluster, Lines, Loop, until

BUSY = ClusterFault(503, "ServiceUnavailable", "GET: 503 ServiceUnavailable")
POLICY = CONFIG_MAPS.path("ml", POLICY_CONFIG_MAP)
TRUST = CONFIG_MAPS.path("ml", TRUST_CONFIG_MAP)
STATUS = ACCESS_POLICIES.path("ml", "p", "status")
OFF = Namespace("ml", {INJECT: "disabled"})
# No test gives it a tenth as much to do.
MOST_TURNS = 1000


class House:
    def __init__(self) -> None:
        self.cluster, self.loop, self.log = FakeCluster(), Loop(), Lines()
        self.leads = True
        self.now = 0.0
        self.recovered: list[tuple[str, str | None]] = []
        self.done: list[str] = []
        self.counted: list[str] = []
        self.writer = PolicyWriter(
            self.cluster,  # type: ignore[arg-type]
            leads=lambda: self.leads,
            recovered=lambda namespace, text: self.recovered.append((namespace, text)),
            counted=self.counted.append,
            hand=self.loop.hand,
            log=self.log,
            monotonic=lambda: self.now,
            # Chance would sooner or later give a pause that is no longer than the gap between two pieces.
            dice=lambda: 1.0,
        )

    def write(self, text: str = "one", namespace: str = "ml") -> None:
        maps = (
            policy_config_map(namespace, text),
            trust_config_map(namespace, {"SSL_CERT_FILE": "bundle.pem"}),
        )
        self.writer.write(maps, namespace, lambda: self.done.append(text))

    def turn(self) -> float:
        seconds = self.writer._turn()
        self.loop.run()
        return seconds

    def turns(self) -> None:
        """All that is due. What is tried again later is not: the clock stands."""
        for _ in range(MOST_TURNS):
            if self.turn() != GAP_SECONDS:
                return
        raise AssertionError("the writer does not come to rest")

    def text(self) -> Any:
        return self.cluster.objects[POLICY]["data"][POLICY_KEY]


@pytest.fixture
def house() -> Iterator[House]:
    made = House()
    yield made
    made.writer.stop()


# --- ConfigMaps -----------------------------------------------------------------------------------


def test_what_a_namespace_needs_is_written_once(house: House) -> None:
    house.write()
    house.turns()
    assert house.text() == "one"
    assert TRUST in house.cluster.objects
    house.write()
    house.turns()
    assert house.counted == ["written", "unchanged"]
    assert house.done == ["one", "one"]
    assert house.cluster.count("POST") == 2
    assert house.cluster.count("PUT") == 0


def test_only_the_last_word_is_written(house: House) -> None:
    house.write("one")
    house.write("two")
    house.turns()
    assert (house.text(), house.done) == ("two", ["two"])


def test_what_others_wrote_is_replaced_and_told_of(house: House) -> None:
    house.cluster.put(POLICY, {"data": {POLICY_KEY: "theirs"}})
    house.cluster.put(TRUST, {"data": {}, "immutable": True, "metadata": {"uid": "u"}})
    house.write()
    house.turns()
    assert house.text() == "one"
    assert "immutable" not in house.cluster.objects[TRUST]
    assert house.log.events("warning") == ["a ConfigMap of a reserved name was replaced"] * 2


def test_what_nobody_could_delete_is_let_go_first(house: House) -> None:
    planted = {"uid": "u", "finalizers": ["example.com/keep"], "labels": {"a": "b"}}
    house.cluster.put(TRUST, {"data": {}, "immutable": True, "metadata": planted})
    house.write()
    house.turns()
    assert "immutable" not in house.cluster.objects[TRUST]
    methods = [(one[0], one[1]) for one in house.cluster.calls if one[1] == TRUST]
    assert methods.index(("PUT", TRUST)) < methods.index(("DELETE", TRUST))


def test_a_thread_does_it(house: House) -> None:
    house.writer.start()
    house.write()
    house.loop.run_until(lambda: house.done)
    house.write("two")
    house.loop.run_until(lambda: house.done == ["one", "two"])


@pytest.mark.parametrize(
    "fault",
    [ClusterFault(404, "NotFound", "gone"), ClusterFault(403, NAMESPACE_ENDS, "being terminated")],
)
def test_a_namespace_that_is_gone_needs_nothing(house: House, fault: ClusterFault) -> None:
    house.cluster.fail("POST", fault)
    house.write()
    house.turns()
    assert house.turn() == IDLE_SECONDS
    assert not house.done
    assert not house.counted
    assert not house.log.said


# --- what fails -----------------------------------------------------------------------------------


def test_what_fails_is_tried_again_later_and_said_once(house: House) -> None:
    house.cluster.fail("GET", BUSY, BUSY, BUSY)
    house.write()
    house.turns()
    assert not house.cluster.objects
    for _ in range(3):
        house.now += LONGEST_PAUSE
        house.turns()
    assert house.text() == "one"
    assert house.counted == ["failed", "failed", "failed", "written"]
    assert len(house.log.events("warning")) == 1


def test_a_server_that_wants_peace_has_it(house: House) -> None:
    house.cluster.fail("GET", ClusterFault(429, "TooManyRequests", "", retry_after=7.0))
    house.write()
    house.turn()
    assert house.turn() == 7.0
    house.now = 7.0
    house.turns()
    assert house.done == ["one"]


def test_a_conflict_is_no_news(house: House) -> None:
    house.cluster.fail("POST", ClusterFault(409, "Conflict", "409 Conflict"))
    house.write()
    house.turn()
    assert not house.log.said
    house.now = LONGEST_PAUSE
    house.turns()
    assert house.text() == "one"


def test_what_fails_holds_nobody_up_and_gives_way_to_what_is_newer(house: House) -> None:
    house.cluster.fail("GET", BUSY)
    house.write("old")
    house.turn()
    house.write("other", "nlp")
    house.turns()
    assert house.done == ["other"]
    house.write("new")
    house.turns()
    assert house.done == ["other", "new"]
    house.now = LONGEST_PAUSE
    house.turns()
    assert house.text() == "new"


def test_what_came_while_it_failed_is_what_counts(house: House) -> None:
    def meanwhile(method: str, _path: str) -> None:
        if method == "GET" and not house.done:
            house.cluster.before = lambda _method, _path: None
            house.write("new")

    house.cluster.fail("GET", BUSY)
    house.cluster.before = meanwhile
    house.write("old")
    house.turns()
    assert (house.text(), house.done) == ("new", ["new"])


@pytest.mark.parametrize("how", ["drop", "forget"])
def test_what_is_over_while_it_fails_is_not_tried_again(house: House, how: str) -> None:
    def meanwhile(_method: str, _path: str) -> None:
        house.writer.drop("ml") if how == "drop" else house.writer.forget()

    house.cluster.fail("GET", BUSY)
    house.cluster.before = meanwhile
    house.write()
    house.turn()
    assert house.turn() == IDLE_SECONDS


# --- who leads ------------------------------------------------------------------------------------


def test_who_does_not_lead_only_reads(house: House) -> None:
    house.leads = False
    house.write()
    house.writer.read_back("ml")
    assert house.turn() == GAP_SECONDS
    assert house.recovered == [("ml", None)]
    assert house.turn() == NOT_LEADING_SECONDS
    assert not house.cluster.objects
    house.leads = True
    house.turns()
    assert house.text() == "one"


def test_who_leads_no_more_has_nothing_left_to_write_but_to_read(house: House) -> None:
    house.write()
    house.writer.tell(ACCESS_POLICIES, "ml", "p", {"status": {}})
    house.writer.read_back("ml")
    house.writer.forget()
    house.turns()
    assert house.recovered == [("ml", None)]
    assert not house.cluster.objects


@pytest.mark.parametrize("at", ["write", "sweep"])
def test_leading_is_asked_for_before_each_write(house: House, at: str) -> None:
    def lose(_method: str, _path: str) -> None:
        house.leads = False

    if at == "sweep":
        house.cluster.put(POLICY, dict(policy_config_map("ml", "one")))
        house.writer.sweep(OFF, "podkey-system")
    else:
        house.write()
    house.cluster.before = lose
    house.turn()
    assert {method for method, _ in house.cluster.calls} == {"GET"}
    assert not house.done


# --- what is in force before us -------------------------------------------------------------------


def test_what_we_wrote_is_read_back(house: House) -> None:
    house.write("in force")
    house.turns()
    house.writer.read_back("ml")
    house.turns()
    house.cluster.put(POLICY, {**house.cluster.objects[POLICY], "data": {POLICY_KEY: "edited"}})
    house.writer.read_back("ml")
    house.turns()
    assert house.recovered == [("ml", "in force"), ("ml", None)]


def test_reading_is_tried_again_and_comes_first(house: House) -> None:
    house.cluster.fail("GET", BUSY)
    house.write()
    house.writer.read_back("ml")
    house.turns()
    assert house.done == ["one"], "others need not wait"
    house.now = LONGEST_PAUSE
    house.turns()
    assert house.recovered == [("ml", "one")]
    assert not house.counted.count("failed"), "it is no write"


# --- the end of it --------------------------------------------------------------------------------


def test_what_nobody_needs_is_swept(house: House) -> None:
    house.write()
    house.turns()
    theirs = CONFIG_MAPS.path("ml", "theirs")
    house.cluster.put(theirs, {"data": {}})
    house.writer.sweep(OFF, "podkey-system")
    house.turns()
    assert list(house.cluster.objects) == [theirs]
    assert house.log.events("info") == ["a ConfigMap that nobody needs was removed"] * 2
    house.writer.sweep(OFF, "podkey-system")
    house.turns()


def test_a_namespace_is_written_or_swept_as_was_said_last(house: House) -> None:
    house.writer.sweep(OFF, "podkey-system")
    house.write()
    house.turns()
    assert house.done == ["one"]
    house.write("two")
    house.writer.sweep(OFF, "podkey-system")
    house.turns()
    assert not house.cluster.objects
    house.write("three")
    house.writer.read_back("ml")
    house.writer.drop("ml")
    assert house.turn() == IDLE_SECONDS


def test_policies_are_written_before_thousands_of_namespaces_are_looked_through(house: House) -> None:
    for number in range(3):
        house.writer.sweep(Namespace(f"web-{number}"), "podkey-system")
    house.write()
    house.turn()
    assert house.done == ["one"]
    house.turns()
    assert house.cluster.calls[-1] == ("GET", CONFIG_MAPS.path("web-2", TRUST_CONFIG_MAP))


def test_a_sweep_that_failed_does_not_come_after_what_was_written_since(house: House) -> None:
    def meanwhile(_method: str, _path: str) -> None:
        house.cluster.before = lambda _method, _path: None
        house.write()

    house.cluster.fail("GET", BUSY)
    house.cluster.before = meanwhile
    house.writer.sweep(OFF, "podkey-system")
    house.turns()
    house.now = LONGEST_PAUSE
    house.turns()
    assert house.text() == "one"


# --- statuses -------------------------------------------------------------------------------------


def test_a_status_is_told_after_all_else(house: House) -> None:
    house.cluster.put(STATUS, {})
    house.writer.tell(ACCESS_POLICIES, "ml", "p", {"status": {"matchedPods": 1}})
    house.writer.tell(ACCESS_POLICIES, "ml", "p", {"status": {"matchedPods": 2}})
    house.write()
    house.turns()
    assert house.cluster.objects[STATUS]["status"] == {"matchedPods": 2}
    assert house.cluster.count("PATCH") == 1
    assert house.cluster.calls[-1] == ("PATCH", STATUS)


def test_a_status_that_is_right_by_now_is_not_written(house: House) -> None:
    house.writer.tell(ACCESS_POLICIES, "ml", "p", {"status": {"matchedPods": 1}})
    house.writer.tell(ACCESS_POLICIES, "ml", "p", None)
    assert house.turn() == IDLE_SECONDS


def test_a_document_that_is_gone_is_told_nothing(house: House) -> None:
    house.writer.tell(ACCESS_POLICIES, "ml", "p", {"status": {}})
    house.turns()
    assert not house.log.said
    house.cluster.fail("PATCH", BUSY)
    house.cluster.put(STATUS, {})
    house.writer.tell(ACCESS_POLICIES, "ml", "p", {"status": {"matchedPods": 1}})
    house.turn()
    assert "tried again" in house.log.events("warning")[0]
    assert house.counted == [], "no ConfigMap"
    house.now = LONGEST_PAUSE
    house.turns()
    assert until(lambda: house.cluster.objects[STATUS].get("status"))
