from typing import Any

import pytest

from injector.core.api import PODS, ClusterFault
from injector.core.cluster import Namespace
from injector.core.outcome import Finding, Inject
from injector.edge import detector as module
from injector.edge.detector import OTHERWISE_SECONDS, Detector
from injector.engine.detection import Detection, Round
from injector.engine.happenings import Happening
from proxy.core.injection_codes import InjectionCode
from tests.injector_world import FakeCluster, Lines, Loop, thing

INJECT = Inject((Finding(InjectionCode.ACCELERATOR, "it asks for a GPU"),))
SECONDS = 60.0


class House:
    def __init__(self) -> None:
        self.cluster, self.loop, self.log = FakeCluster(), Loop(), Lines()
        self.leads = True
        self.told: list[Happening] = []
        self.rounds: list[Round] = []
        self.namespaces = [Namespace("ml"), Namespace("vision")]
        self.detector = Detector(
            self.cluster,  # type: ignore[arg-type]
            Detection(lambda _raw, _namespace: INJECT, lambda _raw, _namespace: ("ml/p",)),
            lambda: self.namespaces,
            leads=lambda: self.leads,
            tell=self.told.append,
            report=self.rounds.append,
            hand=self.loop.hand,
            log=self.log,
            seconds=SECONDS,
        )

    def pod(self, namespace: str, name: str, **spec: Any) -> None:
        uid = {"uid": f"{namespace}-{name}"}
        self.cluster.put(PODS.path(namespace, name), thing(name, namespace, metadata=uid, spec=spec))

    def turn(self) -> float:
        seconds = self.detector._turn()
        self.loop.run()
        return seconds


@pytest.fixture
def house(monkeypatch: pytest.MonkeyPatch) -> House:
    monkeypatch.setattr(module, "PAUSE", 0.0)
    monkeypatch.setattr(module, "PAGE", 2)
    return House()


def test_a_round_looks_at_every_pod_of_the_enabled_namespaces(house: House) -> None:
    for number in range(5):
        house.pod("ml", f"p{number}")
    house.pod("vision", "with", containers=[{"name": "podkey"}])
    house.pod("other", "not-enabled")
    assert house.turn() == SECONDS
    assert house.rounds == [Round({"ml": 5, "vision": 0}, {"ml/p": 6}, 6)]
    assert len(house.told) == 5
    house.turn()
    assert len(house.told) == 5, "each is told of once"
    assert len(house.rounds) == 2


def test_only_the_leader_looks(house: House) -> None:
    house.leads = False
    assert house.turn() == OTHERWISE_SECONDS
    assert not house.cluster.calls
    assert not house.rounds


def test_who_leads_no_more_leaves_its_round_unreported(house: House) -> None:
    house.pod("ml", "p")

    def lose(_method: str, path: str) -> None:
        house.leads = "ml" not in path

    house.cluster.before = lose
    assert house.turn() == 0.0
    assert not house.rounds


def test_half_a_round_is_none(house: House) -> None:
    forbidden = ClusterFault(403, "Forbidden", "GET /api/v1/namespaces/ml/pods: 403 Forbidden; grant it")
    house.cluster.fail("LIST", forbidden, forbidden)
    for _ in range(2):
        assert house.turn() == OTHERWISE_SECONDS
    assert not house.rounds
    assert house.log.events() == ["running pods cannot be looked at"]
    house.turn()
    assert house.rounds == [Round({"ml": 0, "vision": 0}, {}, 0)]


def test_it_goes_round_on_a_thread_of_its_own(house: House) -> None:
    house.pod("ml", "p")
    house.detector.start()
    house.loop.run_until(lambda: house.rounds)
    house.detector.stop()
    assert not house.detector._worker._thread.is_alive()
