import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from injector.core.api import (
    CONFIG_MAPS,
    EVENTS,
    LEASES,
    MUTATING_WEBHOOKS,
    NAMESPACES,
    NODES,
    PODS,
    SECRETS,
    VALIDATING_WEBHOOKS,
    ClusterFault,
)
from injector.edge import cluster_side as module
from injector.edge import knowledge as knowledge_module
from injector.edge.cluster_side import DOCUMENTS, connected
from injector.edge.life import ClusterSide, Ways
from injector.edge.metrics import Metrics
from injector.edge.probes import Readiness
from injector.edge.webhooks import MUTATE
from proxy.core.contract import (
    ACCESS_POLICY,
    CREDENTIAL_SOURCE,
    INJECT,
    POLICY_CONFIG_MAP,
    POLICY_KEY,
    TRUST_CONFIG_MAP,
)
from proxy.core.structs import replace
from proxy.services.loader import built_in_catalogue
from tests.admission_world import SETTINGS, body
from tests.cluster_policies import policy, source
from tests.injector_world import PATIENCE, FakeCluster, Lines, Raw
from tests.sample_pods import raw_pod

NAME = "podkey-injector"
OWN = "podkey-system"
LEASE = LEASES.path(OWN, NAME)
MAP = CONFIG_MAPS.path("ml", POLICY_CONFIG_MAP)
TRUST = CONFIG_MAPS.path("ml", TRUST_CONFIG_MAP)
PLAIN = replace(SETTINGS, identity="a", detector_seconds=0.05)
FOLDER = replace(PLAIN, certificates=replace(PLAIN.certificates, folder="/tls"))


class House:
    def __init__(self, settings: Any = PLAIN) -> None:
        self.cluster, self.log, self.metrics = FakeCluster(), Lines(), Metrics()
        self.readiness = Readiness()
        self.secrets: list[Mapping[str, bytes]] = []
        self.settings = settings
        for path in (MUTATING_WEBHOOKS.path(name=NAME), VALIDATING_WEBHOOKS.path(name=NAME)):
            self.cluster.put(path, {"webhooks": [{"clientConfig": {}}]})
        self.cluster.put(NODES.path(name="n"), {"status": {"nodeInfo": {"kubeletVersion": "v1.31.0"}}})
        self.namespace(INJECT)

    def namespace(self, *labels: str) -> None:
        self.cluster.put(NAMESPACES.path(name="ml"), {"metadata": {"labels": dict.fromkeys(labels, "all")}})

    def apply(self, *documents: Any) -> None:
        for one in documents:
            path = DOCUMENTS[one.kind].path(one.namespace, one.name)
            metadata = {**one.document["metadata"], "uid": one.uid, "generation": one.generation}
            self.cluster.put(path, {**one.document, "metadata": metadata})

    def pod(self, name: str) -> None:
        metadata = {"name": name, "namespace": "ml", "uid": name}
        self.cluster.put(PODS.path("ml", name), {**raw_pod(), "metadata": metadata})

    def found(self, path: str) -> Raw:
        return self.cluster.objects.get(path, {})

    def text(self) -> str:
        return str(self.found(MAP).get("data", {}).get(POLICY_KEY, ""))

    def reason(self, kind: str = ACCESS_POLICY, name: str = "p") -> str:
        conditions = self.found(DOCUMENTS[kind].path("ml", name)).get("status", {}).get("conditions", [])
        return next((str(one["reason"]) for one in conditions if one["type"] == "Compiled"), "")

    def gauge(self, name: str, *labels: str) -> float | None:
        return getattr(self.metrics, name).values.get(labels)

    async def until(self, look: Callable[[], Any], what: str = "it") -> None:
        async with asyncio.timeout(PATIENCE):
            while not look():  # noqa: ASYNC110 - other threads do it
                await asyncio.sleep(0.002)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[ClusterSide]:
        ways = Ways(self.readiness, self.metrics, self.log, self.secrets.append)
        side = connected(self.settings, self.cluster, built_in_catalogue())(ways)  # type: ignore[arg-type]
        for condition in side.conditions:
            self.readiness.expect(condition)
        side.start()
        tasks = [asyncio.ensure_future(work()) for work in side.background]
        try:
            yield side
            assert not [task for task in tasks if task.done()]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await side.close()


def play(house: House, scene: Callable[[ClusterSide], Coroutine[Any, Any, None]]) -> None:
    async def go() -> None:
        async with house.running() as side:
            await scene(side)

    asyncio.run(go())
    assert not house.log.events("error")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(knowledge_module, "SETTLE_SECONDS", 0.0)


def test_it_comes_to_know_to_lead_and_to_write() -> None:
    house = House()
    house.apply(policy(), source())

    async def scene(side: ClusterSide) -> None:
        await house.until(lambda: not house.readiness.missing())
        assert side.handlers.keys() == {"/mutate", "/validate", "/guard"}
        await house.until(lambda: house.reason() == "InForce")
        assert "name: p" in house.text()
        await house.until(lambda: house.reason(CREDENTIAL_SOURCE, "one") == "InForce")
        assert house.found(TRUST)["data"]["SSL_CERT_FILE"]
        await house.until(lambda: house.gauge("_leader") == 1)
        await house.until(lambda: house.gauge("_bundle") == 1)
        await house.until(lambda: house.secrets)
        assert "ca.crt" in house.secrets[-1]
        # In the order of what it depends on: nothing was written before it was read.
        calls = [call for call in house.cluster.calls if call[1] == MAP or call[1] == CONFIG_MAPS.path("ml")]
        assert calls[0] == ("GET", MAP)

    play(house, scene)
    assert house.found(LEASE)["spec"]["holderIdentity"] == "", "given back"


def test_a_pod_is_reviewed_by_what_is_known_and_told_of() -> None:
    house = House()

    async def scene(side: ClusterSide) -> None:
        await house.until(lambda: not house.readiness.missing())
        status, answer = side.handlers[MUTATE](body(raw_pod()), module.SystemClock.now())
        assert status == 200
        assert json.loads(answer)["response"]["patch"]
        events = EVENTS.path("ml")
        await house.until(lambda: any(path.startswith(events) for path in house.cluster.objects))
        await house.until(lambda: house.gauge("_events", "written") == 1)

    play(house, scene)


def test_running_pods_are_looked_at() -> None:
    house = House()
    house.apply(policy(workloads={"podSelector": {"matchLabels": {}}}), source())
    house.pod("old")

    async def scene(_side: ClusterSide) -> None:
        await house.until(lambda: house.gauge("_uninjected", "ml") == 1)
        path = DOCUMENTS[ACCESS_POLICY].path("ml", "p")
        await house.until(lambda: "matchedPods" in house.found(path).get("status", {}))

    play(house, scene)


def test_a_namespace_that_is_served_no_more_is_swept_at_once() -> None:
    house = House()
    house.apply(policy(), source())

    async def scene(_side: ClusterSide) -> None:
        await house.until(lambda: "name: p" in house.text())
        house.namespace("other")
        await house.until(lambda: MAP not in house.cluster.objects and TRUST not in house.cluster.objects)
        await house.until(lambda: house.reason() == "NoNamespace")
        house.cluster.take(NAMESPACES.path(name="ml"))

    play(house, scene)


def test_what_others_change_is_undone_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SWEEP_SECONDS", 0.02)
    house = House()
    orphan = CONFIG_MAPS.path("web", POLICY_CONFIG_MAP)
    house.cluster.put(NAMESPACES.path(name="web"), {})

    async def scene(_side: ClusterSide) -> None:
        await house.until(house.text)
        ours = house.found(MAP)
        house.cluster.put(MAP, {**ours, "data": {POLICY_KEY: "theirs"}})
        await house.until(lambda: house.text() not in {"", "theirs"})
        metadata = {**ours["metadata"], "namespace": "web"}
        house.cluster.put(orphan, {**ours, "metadata": metadata})
        await house.until(lambda: orphan not in house.cluster.objects)

    play(house, scene)


def test_who_leads_no_more_stops_writing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COUNT_SECONDS", 0.01)
    house = House()

    async def scene(_side: ClusterSide) -> None:
        await house.until(lambda: house.gauge("_leader") == 1)
        await house.until(house.text)
        taken = house.found(LEASE)
        house.cluster.put(LEASE, {**taken, "spec": {**taken["spec"], "holderIdentity": "b"}})
        await house.until(lambda: house.gauge("_leader") == 0)
        assert house.gauge("_bundle") == 0
        assert not house.metrics._uninjected.values
        house.namespace("other")
        await house.until(lambda: house.gauge("_compiled") == 0)
        assert house.text(), "the leader sweeps"

    play(house, scene)


def test_somebody_elses_certificate_is_left_alone() -> None:
    house = House(FOLDER)

    async def scene(_side: ClusterSide) -> None:
        await house.until(house.text)

    play(house, scene)
    paths = {path for _, path in house.cluster.calls}
    assert not any(path.startswith(SECRETS.path(OWN)) for path in paths)
    assert not any("webhookconfigurations" in path for path in paths)


def test_a_watch_that_fails_is_counted_and_not_taken_for_news() -> None:
    house = House()
    house.cluster.fail("WATCH", *[ClusterFault(500, "InternalError", "broken")] * 4)

    async def scene(_side: ClusterSide) -> None:
        await house.until(lambda: not house.readiness.missing())
        await house.until(lambda: sum(house.metrics._restarts.values.values()) >= 4)

    play(house, scene)
    assert {reason for _, reason in house.metrics._restarts.values} == {"failed"}


def test_gauges_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COUNT_SECONDS", 0.01)
    house = House()
    house.apply(policy(), source(), replace(policy(name="bad"), document={**policy().document, "spec": 1}))

    async def scene(_side: ClusterSide) -> None:
        await house.until(lambda: house.gauge("_compiled") == 1)
        await house.until(lambda: house.gauge("_objects", "accesspolicies") == 1)
        assert house.gauge("_objects", "namespaces") == 1
        assert house.gauge("_documents", ACCESS_POLICY) is not None

    play(house, scene)
