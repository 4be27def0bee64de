"""Pods on their way through a real API server, real controllers and the injector as the chart installs it.

The API server is of 1.20: it knows neither native sidecars nor `matchConditions` (tests/api_server.py).
"""

import copy
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from proxy.core.contract import (
    IMAGES,
    INJECT,
    INJECTED,
    OWNER,
    REDIRECT_CONTAINER,
    SIDECAR_CONTAINER,
    TRUST_VOLUME,
)
from tests.api_server import ApiServer
from tests.api_server_client import Object
from tests.helm_chart import MISSING as NO_HELM
from tests.injector_objects import (
    container,
    enabled,
    events,
    every_container,
    has_sidecar,
    job,
    pod,
    replicated,
    users,
    variables,
)
from tests.injector_process import RunningInjector, injector
from tests.netns import ROOT
from tests.second_webhook import second_webhook
from tests.sidecar_process import wait_for

pytestmark = pytest.mark.skipif(bool(NO_HELM), reason=NO_HELM)

# Addresses of Services beyond the injector's own.
MESH: Final = 140
# The CronJob controller of 1.20 looks every ten seconds.
CONTROLLERS: Final = 40.0
WEBHOOK: Final = 'admission webhook "pods.injector.podkey.io" denied the request: podkey: '


@pytest.fixture(scope="module")
def running(api_server: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningInjector]:
    with injector(api_server, tmp_path_factory.mktemp("injector")) as made:
        yield made


@pytest.fixture(scope="module")
def namespace(running: RunningInjector) -> str:
    """Where every pod gets a sidecar, for tests that leave nothing but pods."""
    return enabled(running)


def made(running: RunningInjector, found: Object, namespace: str) -> Object:
    return running.server.admin.create(found, namespace).object


def reviews(running: RunningInjector, namespace: str, name: str) -> list[Object]:
    """What the injector says in its log of reviews of a pod."""
    lines = [json.loads(line) for line in running.log_file.read_text().splitlines() if line.startswith("{")]
    return [one for one in lines if one.get("namespace") == namespace and one.get("name") == name]


# --- whatever a pod comes from --------------------------------------------------------------------


def assert_injected(found: Object) -> None:
    names = [one["name"] for one in every_container(found)]
    # The sidecar is an ordinary container here. The user's init containers run without it, so what leads to
    # it comes after them, and they get nothing.
    assert found["spec"]["initContainers"][-1]["name"] == REDIRECT_CONTAINER
    assert names.count(SIDECAR_CONTAINER) == names.count(REDIRECT_CONTAINER) == 1
    volumes = [volume["name"] for volume in found["spec"]["volumes"]]
    assert len(volumes) == len(set(volumes))
    for one in found["spec"]["containers"]:
        if one["name"] == SIDECAR_CONTAINER:
            continue
        mounts = [mount for mount in one["volumeMounts"] if mount["name"] == TRUST_VOLUME]
        assert [mount.get("readOnly") for mount in mounts] == [True], one["name"]
        names = [entry["name"] for entry in one["env"]]
        assert names.count("SSL_CERT_FILE") == 1
    for name in (SIDECAR_CONTAINER, REDIRECT_CONTAINER):
        resources = container(found, name)["resources"]
        assert {*resources["requests"]} == {*resources["limits"]} == {"cpu", "memory"}


def test_a_bare_pod_gets_a_sidecar(running: RunningInjector, namespace: str) -> None:
    init = {"name": "download", "image": "registry.test/download:1", "securityContext": {"runAsUser": 1000}}
    found = made(running, pod("bare", initContainers=[init]), namespace)
    assert_injected(found)
    assert [one["name"] for one in users(found)] == ["download", "app"]
    annotations = found["metadata"]["annotations"]
    assert annotations[INJECTED]
    assert annotations[OWNER] == ""
    assert annotations[IMAGES].split() == ["registry.test/download:1", "registry.test/app:1"]
    wait_for(lambda: about(running, namespace, "Pod", "bare"), "an Event about it")


def test_a_pod_whose_name_is_generated_gets_one(running: RunningInjector, namespace: str) -> None:
    found = made(running, pod("worker-"), namespace)
    assert found["metadata"]["name"].startswith("worker-")
    assert_injected(found)


def about(running: RunningInjector, namespace: str, kind: str, name: str) -> list[Object]:
    involved = [(one["involvedObject"], one) for one in events(running, namespace)]
    return [one for of, one in involved if (of["kind"], of["name"]) == (kind, name)]


def owner(found: Object) -> tuple[str, str]:
    (reference,) = found["metadata"]["ownerReferences"]
    return reference["kind"], reference["name"]


def test_pods_that_controllers_make_get_one_and_their_owners_are_told(running: RunningInjector) -> None:
    namespace = enabled(running)
    admin = running.server.admin
    cron = {
        "apiVersion": "batch/v1beta1",
        "kind": "CronJob",
        "metadata": {"name": "nightly"},
        "spec": {"schedule": "* * * * *", "jobTemplate": {"spec": job("x")["spec"]}},
    }
    made(running, cron, namespace)
    # As if it had run some minutes ago; else it would be a minute until it runs.
    past = {"status": {"lastScheduleTime": "2020-01-01T00:00:00Z"}}
    since = made(running, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "now"}}, namespace)
    past["status"]["lastScheduleTime"] = minutes_before(since["metadata"]["creationTimestamp"])
    assert admin.patch("batch/v1beta1/cronjobs", "nightly", past, namespace=namespace, sub="status").object[
        "status"
    ]
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": namespace, "labels": {"of": namespace}}}
    assert admin.create(node).ok
    try:
        made(running, job("train"), namespace)
        made(running, replicated("Deployment", "serve", replicas=2), namespace)
        made(running, replicated("StatefulSet", "store", serviceName="store"), namespace)
        daemon = replicated("DaemonSet", "agent")
        daemon["spec"]["template"]["spec"]["nodeSelector"] = {"of": namespace}
        made(running, daemon, namespace)
        pods = admin.wait_items("v1/pods", 6, namespace=namespace, seconds=CONTROLLERS)
    finally:
        assert admin.delete("v1/nodes", namespace).ok
    owners = set(map(owner, pods))
    kinds = {kind for kind, _ in owners}
    assert kinds == {"Job", "ReplicaSet", "StatefulSet", "DaemonSet"}
    assert any(name.startswith("nightly-") for _, name in owners), "of the CronJob"
    for found in pods:
        assert_injected(found)
        assert found["metadata"]["annotations"][OWNER] == "/".join(owner(found))
    wait_for(lambda: all(about(running, namespace, *one) for one in owners), "an Event on each", CONTROLLERS)
    (event,) = about(running, namespace, "Job", "train")
    assert event["reason"] == "PodkeyInjected"
    assert "every_pod" in event["message"]


def minutes_before(moment: str) -> str:
    from datetime import datetime, timedelta  # noqa: PLC0415 - only here

    return f"{datetime.fromisoformat(moment) - timedelta(minutes=3):%Y-%m-%dT%H:%M:%SZ}"


def test_a_job_whose_pods_are_refused_has_an_event_that_says_why(running: RunningInjector) -> None:
    namespace = enabled(running)
    root = {"securityContext": {"privileged": True}}
    made(running, job("danger", root), namespace)
    (event,) = wait_for(lambda: about(running, namespace, "Job", "danger"), "the Event", CONTROLLERS)
    assert (event["type"], event["reason"]) == ("Warning", "PodkeyRefused")
    assert "privileged" in event["message"]


def test_a_dry_run_is_answered_the_same_and_told_to_nobody(running: RunningInjector, namespace: str) -> None:
    dry = running.server.admin.create(pod("dry"), namespace, dry_run=True).object
    assert_injected(dry)
    made(running, pod("wet"), namespace)
    wait_for(lambda: about(running, namespace, "Pod", "wet"), "the Event of what came later")
    assert not about(running, namespace, "Pod", "dry")


# --- asked twice ----------------------------------------------------------------------------------


def test_a_container_of_a_later_webhook_gets_what_it_needs(running: RunningInjector) -> None:
    namespace = enabled(running)
    mesh = {"name": "mesh", "image": "registry.test/mesh:1", "securityContext": {"runAsUser": 1001}}

    def patch(found: Object) -> list[Object]:
        if any(one["name"] == "mesh" for one in found["spec"]["containers"]):
            return []
        return [{"op": "add", "path": "/spec/containers/-", "value": mesh}]

    with second_webhook(running.server, MESH, namespace, patch) as reviewed:
        wait_for(
            lambda: (running.server.admin.create(pod("probe"), namespace, dry_run=True), reviewed)[1],
            "the other webhook",
        )
        found = made(running, pod("meshed"), namespace)
    assert has_sidecar(reviewed[0]), "it is asked after us"
    assert_injected(found)
    assert {one["name"] for one in users(found)} == {"app", "mesh"}
    assert variables(container(found, "mesh")) == variables(container(found, "app"))
    told = reviews(running, namespace, "meshed")
    assert [one["changed"] for one in told] == [True, True]
    # What it is told to run is what runs: the second call brings the annotation up to date.
    assert found["metadata"]["annotations"][IMAGES].split() == ["registry.test/app:1", "registry.test/mesh:1"]


def test_what_others_do_between_two_calls_changes_nothing(running: RunningInjector, namespace: str) -> None:
    """ServiceAccount admission mounts the account's token into our containers, too, and asks us again."""
    found = made(running, pod("twice"), namespace)
    names = {mount["name"] for mount in container(found, SIDECAR_CONTAINER)["volumeMounts"]}
    assert any(name.startswith("kube-api-access-") for name in names)
    assert [one["changed"] for one in reviews(running, namespace, "twice")] == [True, False]


def test_a_pod_as_it_was_stored_is_not_changed_again(running: RunningInjector, namespace: str) -> None:
    stored = made(running, pod("stored"), namespace)
    again = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "again", "annotations": stored["metadata"]["annotations"]},
        "spec": {key: value for key, value in stored["spec"].items() if key != "nodeName"},
    }
    kept = copy.deepcopy(again)
    found = running.server.admin.create(again, namespace, dry_run=True).object
    assert found["spec"] == kept["spec"]
    assert found["metadata"]["annotations"] == kept["metadata"]["annotations"]


def test_a_pod_is_stored_as_podkey_inject_says(
    running: RunningInjector, namespace: str, tmp_path: Path
) -> None:
    asked = pod("expected", {"env": [{"name": "JAVA_TOOL_OPTIONS", "value": "-Xmx1g"}]})
    stored = made(running, asked, namespace)
    file = tmp_path / "pod.json"
    file.write_text(json.dumps(asked))
    label = ["--namespace", namespace, "--namespace-label", f"{INJECT}=all"]
    command = [sys.executable, "-m", "proxy", "inject", "-f", str(file), *label, "--output", "json"]
    settings = ["--image", "registry.test/podkey/proxy:1", "--native-sidecars", "never"]
    done = subprocess.run([*command, *settings], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    expected = find_pod(json.loads(done.stdout))
    assert_covers(stored["spec"], expected["spec"], "spec")
    assert_covers(stored["metadata"]["annotations"], expected["metadata"]["annotations"], "annotations")
    names = [one["name"] for one in every_container(stored)]
    assert names == [one["name"] for one in every_container(expected)]


def find_pod(found: Any) -> Object:
    """Wherever the answer has it."""
    if isinstance(found, dict) and "containers" in found.get("spec", {}):
        return found
    parts = found.values() if isinstance(found, dict) else found if isinstance(found, list) else ()
    return next((one for part in parts if (one := find_pod(part))), {})


def assert_covers(stored: Any, expected: Any, where: str) -> None:
    """All that is expected is there; the API server and its plugins may have added to it."""
    if isinstance(expected, dict):
        for key, value in expected.items():
            assert key in stored, f"{where}.{key}"
            assert_covers(stored[key], value, f"{where}.{key}")
    elif isinstance(expected, list):
        named = {one["name"]: one for one in stored if isinstance(one, dict) and "name" in one}
        for number, other in enumerate(expected):
            name = other.get("name") if isinstance(other, dict) else None
            assert_covers(named[name] if name else stored[number], other, f"{where}[{name or number}]")
    else:
        assert stored == expected, where


# --- refusals and warnings ------------------------------------------------------------------------


def test_a_refusal_says_all_reasons_at_once(running: RunningInjector, namespace: str) -> None:
    bad = pod(
        "bad",
        {"securityContext": {"runAsUser": 1337}},
        {"name": "podkey-helper"},
        {"name": "root", "securityContext": {"privileged": True}},
        shareProcessNamespace=True,
        annotations={INJECT: "true"},
    )
    answer = running.server.admin.create(bad, namespace)
    assert (answer.status, answer.reason) == (403, "Forbidden")
    assert answer.message.startswith(WEBHOOK)
    codes = ("bad_annotation", "proxy_uid", "shared_processes", "privileged", "reserved_container")
    assert [code for code in codes if code not in answer.message] == []
    assert "`enabled`" in answer.message, "the right word"
    wait_for(lambda: about(running, namespace, "Pod", "bad"), "an Event, too")


def test_warnings_reach_the_user(running: RunningInjector, namespace: str) -> None:
    answer = running.server.admin.create(pod("warned", {"securityContext": {}}), namespace)
    assert answer.ok
    assert any(text.startswith("podkey: user_unknown: ") for text in answer.warnings)
    assert all(len(text) <= 256 for text in answer.warnings)


def test_a_label_with_a_typing_error_refuses(running: RunningInjector) -> None:
    namespace = running.server.new_namespace(labels={INJECT: "enbled"})
    create = running.server.admin.create
    answer = wait_for(
        lambda: found if (found := create(pod("typo"), namespace, dry_run=True)).status == 403 else None,
        "the namespace to be known",
    )
    assert "bad_namespace_label" in answer.message


def test_who_says_no_gets_none(running: RunningInjector, namespace: str) -> None:
    assert not has_sidecar(made(running, pod("without", annotations={INJECT: "disabled"}), namespace))


def test_others_are_never_asked_about(running: RunningInjector) -> None:
    admin = running.server.admin
    # The label that every namespace has since 1.21.
    labels = {INJECT: "all", "kubernetes.io/metadata.name": "kube-system"}
    assert admin.patch("v1/namespaces", "kube-system", {"metadata": {"labels": labels}}).ok
    try:
        quiet = [running.server.new_namespace(), running.server.new_namespace(labels={INJECT: "disabled"})]
        wait_for(
            lambda: admin.get("v1/serviceaccounts", "default", namespace="kube-system").ok, "its account"
        )
        before = running.metric("podkey_injector_reviews_total", path="/mutate")
        for where in (*quiet, "kube-system"):
            assert not has_sidecar(made(running, pod("quiet"), where))
        assert running.metric("podkey_injector_reviews_total", path="/mutate") == before
    finally:
        admin.delete("v1/pods", "quiet", namespace="kube-system")
        assert admin.patch("v1/namespaces", "kube-system", {"metadata": {"labels": dict.fromkeys(labels)}}).ok


# --- what a platform team demands of pods ---------------------------------------------------------


def test_a_quota_that_demands_limits_lets_it_start(running: RunningInjector) -> None:
    namespace = enabled(running)
    admin = running.server.admin
    hard = {"requests.cpu": "4", "requests.memory": "4Gi", "limits.cpu": "8", "limits.memory": "8Gi"}
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"}, "spec": {"hard": hard}}
    made(running, quota, namespace)
    size = {"cpu": "100m", "memory": "64Mi"}
    sized = {"resources": {"requests": size, "limits": size}}
    answer = wait_for(
        lambda: found if (found := admin.create(pod("sized", sized), namespace)).ok else None,
        "the quota to be counted",
    )
    assert_injected(answer.object)
    assert admin.create(pod("unsized"), namespace).status == 403, "the quota does demand them"


def test_defaults_of_a_limit_range_are_for_others(running: RunningInjector) -> None:
    namespace = enabled(running)
    default = {"cpu": "250m", "memory": "96Mi"}
    limit = {"type": "Container", "default": default, "defaultRequest": default}
    spec = {"limits": [limit]}
    made(
        running,
        {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "l"}, "spec": spec},
        namespace,
    )
    create = running.server.admin.create
    found = wait_for(
        lambda: (
            one
            if container(one := create(pod("x"), namespace, dry_run=True).object, "app")["resources"]
            else None
        ),
        "the LimitRange to be known",
    )
    assert_injected(found)
    assert container(found, "app")["resources"]["limits"] == default
    assert container(found, SIDECAR_CONTAINER)["resources"]["limits"] != default


def test_a_restricted_namespace_gets_no_capability(running: RunningInjector) -> None:
    namespace = enabled(running, **{"pod-security.kubernetes.io/enforce": "restricted"})
    found = made(running, pod("careful"), namespace)
    assert [one["name"] for one in every_container(found)] == [SIDECAR_CONTAINER, "app"]
    assert variables(container(found, "app"))["HTTPS_PROXY"]
    assert "add" not in container(found, SIDECAR_CONTAINER)["securityContext"]["capabilities"]
