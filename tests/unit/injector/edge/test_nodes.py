from typing import Any

import pytest

from injector.core.api import NODES, ClusterFault
from injector.core.cluster import ClusterFacts
from injector.edge import nodes as module
from injector.edge.nodes import ASK_SECONDS, RETRY_SECONDS, Nodes
from tests.injector_world import FakeCluster, Lines, Loop, thing, until


class House:
    def __init__(self) -> None:
        self.cluster, self.loop, self.log = FakeCluster(), Loop(), Lines()
        self.facts: list[ClusterFacts] = []
        self.nodes = Nodes(self.cluster, self.facts.append, hand=self.loop.hand, log=self.log)  # type: ignore[arg-type]

    def node(self, name: str, version: object, **labels: str) -> None:
        status: Any = {"nodeInfo": {"kubeletVersion": version}}
        self.cluster.put(NODES.path(name=name), thing(name, status=status, metadata={"labels": labels}))

    def turn(self) -> float:
        seconds = self.nodes._turn()
        self.loop.run()
        return seconds


@pytest.fixture
def house() -> House:
    return House()


@pytest.mark.parametrize(
    ("versions", "native"),
    [
        (["v1.29.0"], True),
        (["v1.34.1", "v1.28.9"], False),
        (["v1.28.9", "v1.34.1"], False),
        (["v1.9.0"], False),
        (["v1.100.0", "v1.29.1-eks-1"], True),
        (["v2.0.0"], True),
    ],
)
def test_the_oldest_kubelet_decides(house: House, versions: list[str], native: object) -> None:
    for number, version in enumerate(versions):
        house.node(f"n{number}", version)
    assert house.turn() == ASK_SECONDS
    assert [facts.native_sidecars for facts in house.facts] == [native]


def test_all_pages_count(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE", 2)
    for number in range(5):
        house.node(f"n{number}", f"v1.{32 - number}.0")
    house.turn()
    assert house.facts == [ClusterFacts(native_sidecars=False)]
    assert house.cluster.count("LIST") == 3


def test_a_node_that_cannot_be_read_does_not_count_and_is_told_of_once(house: House) -> None:
    house.node("odd", "azure")
    house.node("new", "v1.31.0")
    for _ in range(2):
        assert house.turn() == ASK_SECONDS
    assert house.facts[-1] == ClusterFacts(native_sidecars=True)
    assert len(house.log.said) == 1
    house.node("odd", "v1.31.0")
    house.turn()
    house.node("odd", "azure")
    house.turn()
    assert len(house.log.said) == 2


def test_a_cluster_that_tells_nothing_changes_nothing(house: House) -> None:
    house.node("w", "v1.20.0", **{"kubernetes.io/os": "windows"})
    assert house.turn() == RETRY_SECONDS
    assert not house.facts
    assert house.log.events("warning") == ["no node tells its kubelet's version; what was known stays"]


def test_a_list_that_fails_is_tried_again_soon(house: House) -> None:
    house.cluster.fail("LIST", ClusterFault(403, "Forbidden", "GET /api/v1/nodes: 403 Forbidden; grant it"))
    assert house.turn() == RETRY_SECONDS
    assert not house.facts
    assert house.log.events("warning") == ["the nodes cannot be listed"]


def test_it_asks_on_a_thread_of_its_own(house: House) -> None:
    house.node("n", "v1.31.0")
    house.nodes.start()
    house.loop.run_until(lambda: house.facts)
    house.nodes.stop()
    until(lambda: not house.nodes._worker._thread.is_alive())
