"""What the injector knows of the API server, against a real one (an old one: see tests/api_server.py)."""

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from injector.core.api import (
    ACCESS_POLICIES,
    CONFIG_MAPS,
    EVENTS,
    LEASES,
    NAMESPACES,
    NODES,
    PODS,
    SECRETS,
    ClusterFault,
    ObjectKey,
)
from injector.core.cluster import ClusterFacts, Namespace
from injector.core.documents import RawDocument
from injector.core.outcome import Finding, Inject
from injector.edge.cluster import Cluster
from injector.edge.detector import Detector
from injector.edge.event_writer import EventWriter
from injector.edge.leading import Leading
from injector.edge.nodes import Nodes
from injector.edge.watching import Watcher
from injector.engine.detection import Detection, Round
from injector.engine.happenings import EventKind, EventReason, Happening, Involved, about_namespace
from injector.engine.reflector import Change, Reflector, Remove, Replace, Upsert
from injector.reading.objects import read_document, read_namespace
from proxy.core.injection_codes import InjectionCode
from tests.api_server import MISSING, ApiServer, kubernetes
from tests.injector_world import Lines, Loop, until

pytestmark = pytest.mark.skipif(bool(MISSING), reason=MISSING)

ROOT: Final = Path(__file__).parents[2]
CRDS: Final = sorted(ROOT.joinpath("charts", "podkey", "crds").glob("*.yaml"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with kubernetes(tmp_path_factory.mktemp("api") / "server", controllers=False) as made:
        made.admin.install([yaml.safe_load(file.read_text()) for file in CRDS])
        yield made


@pytest.fixture
def cluster(server: ApiServer) -> Iterator[Cluster]:
    made = Cluster.of_kubeconfig(str(server.kubeconfig))
    yield made
    made.close()


@pytest.fixture
def namespace(server: ApiServer) -> str:
    return server.new_namespace(labels={"podkey.io/inject": "enabled"})


def fault(call: Any) -> ClusterFault:
    with pytest.raises(ClusterFault) as told:
        call()
    return told.value


class Copy:
    """A watcher, and what its changes add up to."""

    def __init__(
        self, cluster: Cluster, resource: Any, read: Any, namespace: str = "", page: int = 500
    ) -> None:
        self.loop, self.log = Loop(), Lines()
        self.values: dict[ObjectKey, Any] = {}
        self.batches = 0
        self.reflector: Reflector[Any] = Reflector(resource.plural, read, resync_seconds=600, page=page)
        self.watcher: Watcher[Any] = Watcher(
            cluster,
            resource,
            self.reflector,
            self.apply,
            hand=self.loop.hand,
            log=self.log,
            namespace=namespace,
            dice=lambda: 0.1,
        )
        self.watcher.start()

    def apply(self, changes: Sequence[Change[Any]]) -> None:
        self.batches += 1
        for change in changes:
            match change:
                case Replace(values):
                    self.values = dict(values)
                case Upsert(key, value):
                    self.values[key] = value
                case Remove(key):
                    self.values.pop(key, None)

    def until(self, look: Any, what: str = "the change") -> None:
        self.loop.run_until(look, what)


def policy(name: str, **spec: Any) -> dict[str, Any]:
    documents = yaml.safe_load_all((ROOT / "examples/02-training-job/policy.yaml").read_text())
    document = next(one for one in documents if one["kind"] == "AccessPolicy")
    return {**document, "metadata": {"name": name}, "spec": {**document["spec"], **spec}}


# --- calls ----------------------------------------------------------------------------------------


def test_objects_are_made_changed_and_deleted_with_preconditions(cluster: Cluster, namespace: str) -> None:
    path = CONFIG_MAPS.path(namespace, "a")
    head = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
    made = cluster.create(CONFIG_MAPS.path(namespace), {**head, "data": {"k": "1"}})
    assert fault(lambda: cluster.create(CONFIG_MAPS.path(namespace), head)).reason == "AlreadyExists"
    changed = cluster.replace(path, {**made, "data": {"k": "2"}})
    assert fault(lambda: cluster.replace(path, made)).reason == "Conflict"
    stale = {"metadata": {"resourceVersion": made["metadata"]["resourceVersion"]}, "data": {"k": "3"}}
    assert fault(lambda: cluster.merge_patch(path, stale)).is_conflict
    assert cluster.merge_patch(path, {"data": {"k": None, "l": "4"}})["data"] == {"l": "4"}
    test = [{"op": "test", "path": "/data/l", "value": "4"}, {"op": "remove", "path": "/data"}]
    assert "data" not in cluster.json_patch(path, test)
    assert fault(lambda: cluster.json_patch(path, test)).status == 422
    assert fault(lambda: cluster.delete(path, uid="another")).is_conflict
    cluster.delete(path, uid=changed["metadata"]["uid"])
    assert fault(lambda: cluster.get(path)).is_missing


def test_a_right_that_is_missing_is_named(server: ApiServer, namespace: str) -> None:
    server.new_account(namespace, "poor")
    poor = Cluster.of_kubeconfig(str(server.kubeconfig_for(namespace, "poor")))
    told = fault(lambda: poor.list_page(ACCESS_POLICIES.path(), limit=5))
    assert told.status == 403
    assert (
        'cannot list resource "accesspolicies" in API group "podkey.io" at the cluster scope' in told.message
    )
    assert "grant it" in told.message
    told = fault(lambda: poor.watch(SECRETS.path(namespace), resource_version="0", seconds=5))
    assert 'cannot watch resource "secrets"' in told.message


def test_a_kind_that_is_not_installed_says_so(cluster: Cluster) -> None:
    told = fault(lambda: cluster.list_page("/apis/podkey.io/v9/nothings", limit=5))
    assert told.is_missing
    assert "CustomResourceDefinitions" in told.message


def test_the_pods_own_account_reaches_it_and_so_does_its_renewed_token(
    server: ApiServer, namespace: str, tmp_path: Path
) -> None:
    (tmp_path / "ca.crt").write_bytes(server.ca_file.read_bytes())
    (tmp_path / "token").write_text(server.token(namespace, "default"))
    names = {"KUBERNETES_SERVICE_HOST": server.address, "KUBERNETES_SERVICE_PORT": "6443"}
    cluster = Cluster.in_pod(names, str(tmp_path))
    assert fault(lambda: cluster.get(PODS.path(namespace))).status == 403, "known, and not allowed"
    (tmp_path / "token").write_text("not a token")
    loader = cluster._configuration.refresh_api_key_hook.__closure__[0].cell_contents
    loader.token_expires_at -= loader._token_refresh_period
    assert fault(lambda: cluster.get(PODS.path(namespace))).status == 401
    cluster.close()


# --- watches --------------------------------------------------------------------------------------


def test_a_copy_follows_what_is_there(cluster: Cluster, server: ApiServer) -> None:
    copy = Copy(cluster, NAMESPACES, read_namespace, page=2)
    try:
        copy.until(lambda: copy.watcher.synced, "the first list")
        assert ObjectKey("", "kube-system") in copy.values
        name = server.new_namespace(labels={"podkey.io/inject": "enabled"})
        key = ObjectKey("", name)
        copy.until(lambda: key in copy.values)
        assert copy.values[key].labels["podkey.io/inject"] == "enabled"
        cluster.merge_patch(NAMESPACES.path(name=name), {"metadata": {"labels": {"podkey.io/inject": "all"}}})
        copy.until(lambda: copy.values[key].labels["podkey.io/inject"] == "all")
        assert not copy.log.said
    finally:
        copy.watcher.stop()


def test_policies_come_with_their_generation_and_go(cluster: Cluster, namespace: str) -> None:
    def read(raw: object) -> RawDocument:
        return read_document(raw, "AccessPolicy")

    copy = Copy(cluster, ACCESS_POLICIES, read)
    key = ObjectKey(namespace, "p")
    try:
        cluster.create(ACCESS_POLICIES.path(namespace), policy("p"))
        copy.until(lambda: key in copy.values)
        assert copy.values[key].generation == 1
        path = ACCESS_POLICIES.path(namespace, "p")
        cluster.merge_patch(path, {"spec": {"mode": "observe"}})
        copy.until(lambda: copy.values[key].generation == 2)
        assert copy.values[key].document["spec"]["mode"] == "observe"
        cluster.delete(path)
        copy.until(lambda: key not in copy.values)
    finally:
        copy.watcher.stop()


def test_a_watcher_lives_through_an_outage(cluster: Cluster, server: ApiServer, namespace: str) -> None:
    copy = Copy(cluster, CONFIG_MAPS, lambda raw: raw["metadata"]["uid"], namespace)
    path = CONFIG_MAPS.path(namespace)
    head = {"apiVersion": "v1", "kind": "ConfigMap"}
    try:
        cluster.create(path, {**head, "metadata": {"name": "before"}, "data": {}})
        copy.until(lambda: ObjectKey(namespace, "before") in copy.values)
        with server.down():
            until(lambda: copy.log.events("warning"), "the outage is noticed")
        cluster.delete(CONFIG_MAPS.path(namespace, "before"))
        server.compact()
        cluster.create(path, {**head, "metadata": {"name": "after"}, "data": {}})
        copy.until(lambda: set(copy.values) == {ObjectKey(namespace, "after")}, "what changed after it")
        assert copy.log.events("info") == ["a watch works again"]
    finally:
        copy.watcher.stop()


def test_a_watch_on_a_quiet_server_is_stopped_within_a_second(cluster: Cluster, namespace: str) -> None:
    copy = Copy(cluster, CONFIG_MAPS, lambda raw: raw, namespace)
    until(lambda: copy.watcher._stream, "the watch")
    copy.watcher.stop()
    assert not copy.watcher._worker._thread.is_alive()


# --- leading --------------------------------------------------------------------------------------


def replica(cluster: Cluster, namespace: str, name: str, calls: list[str], loop: Loop) -> Leading:
    return Leading(
        cluster,
        namespace,
        "podkey-injector",
        name,
        on_start=lambda: calls.append(f"{name} starts"),
        on_stop=lambda: calls.append(f"{name} stops"),
        hand=loop.hand,
        log=Lines(),
    )


def test_one_leads_and_the_other_follows_when_it_leaves(cluster: Cluster, namespace: str) -> None:
    loop, calls = Loop(), []
    one, two = (replica(cluster, namespace, name, calls, loop) for name in ("one", "two"))
    one.start()
    loop.run_until(one.leads, "one leads")
    two.start()
    until(lambda: two._election.holder, "two looks")
    assert not two.leads()
    asyncio.run(one.close())
    loop.run_until(two.leads, "two leads")
    asyncio.run(two.close())
    assert calls == ["one starts", "one stops", "two starts", "two stops"]
    spec = cluster.get(LEASES.path(namespace, "podkey-injector"))["spec"]
    assert spec["holderIdentity"] == ""
    assert spec["leaseTransitions"] == 1
    assert datetime.fromisoformat(spec["renewTime"]) <= datetime.now(UTC)


# --- Events ---------------------------------------------------------------------------------------


def test_events_are_written_counted_and_written_anew(cluster: Cluster, namespace: str) -> None:
    log = Lines()
    clock = [0.0]
    writer = EventWriter(cluster, "replica", log, monotonic=lambda: clock[0] + time.monotonic())
    job = Involved("batch/v1", "Job", "train", "0e2e9a53-9e5b-4f9c-8e59-2d7d3f2f3a11")
    happening = Happening(namespace, job, EventKind.NORMAL, EventReason.INJECTED, "A sidecar was added.")
    writer.start()
    try:
        writer.tell(happening)
        event = until(lambda: found(cluster, namespace), "the Event")[0]
        assert event["involvedObject"]["name"] == "train"
        assert (event["reason"], event["count"]) == ("PodkeyInjected", 1)
        clock[0] = 20
        writer.tell(happening)
        until(lambda: found(cluster, namespace)[0]["count"] == 2, "the count")
        cluster.delete(EVENTS.path(namespace, event["metadata"]["name"]))
        clock[0] = 40
        writer.tell(happening)
        until(lambda: found(cluster, namespace), "another one")
        others = (about_namespace(namespace), Involved("v1", "Pod", "bare"))
        for about in others:
            writer.tell(Happening(namespace, about, EventKind.WARNING, EventReason.REFUSED, "ä" * 2000))
        until(lambda: len(found(cluster, namespace)) == 3, "Events without a uid")
        assert writer.lost == 0
        assert not log.said
    finally:
        writer.stop()


def found(cluster: Cluster, namespace: str) -> list[Any]:
    return list(cluster.list_page(EVENTS.path(namespace), limit=50).items)


# --- nodes and pods -------------------------------------------------------------------------------


def test_the_oldest_kubelet_decides(cluster: Cluster) -> None:
    loop, facts = Loop(), []
    for name, version in (("new", "v1.31.0"), ("old", "v1.28.4-eks-1")):
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}
        cluster.create(NODES.path(), node)
        status = {"status": {"nodeInfo": {"kubeletVersion": version}}}
        cluster.merge_patch(NODES.path(name=name, sub="status"), status)
    nodes = Nodes(cluster, facts.append, hand=loop.hand, log=Lines())
    nodes.start()
    loop.run_until(lambda: facts)
    nodes.stop()
    assert facts == [ClusterFacts(native_sidecars=False)]


def test_pods_without_a_sidecar_are_found_and_told_of(cluster: Cluster, namespace: str) -> None:
    containers = [{"name": "app", "image": "app.test/app:1"}]
    for name, more in (("without", []), ("with", [{"name": "podkey", "image": "p"}]), ("over", [])):
        spec = {"containers": [*containers, *more]}
        metadata = {"name": name}
        cluster.create(
            PODS.path(namespace), {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
        )
    cluster.merge_patch(PODS.path(namespace, "over", "status"), {"status": {"phase": "Succeeded"}})
    outcome = Inject((Finding(InjectionCode.ACCELERATOR, "a GPU"),))
    loop, rounds = Loop(), []
    writer = EventWriter(cluster, "replica", Lines())
    detector = Detector(
        cluster,
        Detection(lambda _raw, _namespace: outcome, lambda _raw, _namespace: ("ml/p",)),
        lambda: [Namespace(namespace)],
        leads=lambda: True,
        tell=writer.tell,
        report=rounds.append,
        hand=loop.hand,
        log=Lines(),
        seconds=3600,
    )
    writer.start()
    detector.start()
    try:
        loop.run_until(lambda: rounds, "a round")
        assert rounds == [Round({namespace: 1}, {"ml/p": 2}, 2)]
        event = until(lambda: found(cluster, namespace), "the Event")[0]
        assert (event["reason"], event["involvedObject"]["name"]) == ("PodkeyMissing", "without")
        pod = cluster.get(PODS.path(namespace, "without"))
        assert event["involvedObject"]["uid"] == pod["metadata"]["uid"], "so kubectl describe shows it"
    finally:
        detector.stop()
        writer.stop()


def test_threads_share_one_cluster(cluster: Cluster) -> None:
    seen: list[int] = []

    def ask() -> None:
        seen.extend(len(cluster.list_page(NAMESPACES.path(), limit=500).items) for _ in range(20))

    threads = [threading.Thread(target=ask) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 240
