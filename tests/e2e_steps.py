"""What is shown on a cluster in which podkey was installed, in this order. The last one takes it away.

Each step is called with the cluster. It needs no internet from there but the images that it was given.
"""

import base64
import re
import time
from collections.abc import Callable, Mapping
from threading import Event, Thread
from typing import Any, Final, Self

import pytest

from proxy.core.contract import (
    ADMIN_PORT,
    INJECT,
    POLICY_CONFIG_MAP,
    REDIRECT_CONTAINER,
    SIDECAR_CONTAINER,
    TRUST_CONFIG_MAP,
    TRUST_VOLUME,
)
from tests.api_server_client import Answer, Object
from tests.e2e_cluster import RELEASE, Cluster
from tests.helm_chart import NAMESPACE
from tests.injector_objects import (
    POLICIES,
    SOURCES,
    condition,
    container,
    enabled,
    events,
    every_container,
    exchange,
    grant,
    has_sidecar,
    job,
    pod,
    policy,
    replicated,
    wait_compiled,
)
from tests.sidecar_process import wait_for

NAME: Final = "podkey-injector"
CONFIGURATIONS: Final = "admissionregistration.k8s.io/v1"
MUTATING: Final = f"{CONFIGURATIONS}/mutatingwebhookconfigurations"
VALIDATING: Final = f"{CONFIGURATIONS}/validatingwebhookconfigurations"
# Pods that are scheduled and whose images are pulled.
RUNNING: Final = 180.0
# The kubelet brings a changed ConfigMap within a minute or so; it may have a cache of its own in between.
SYNCED: Final = 240.0
# The detector's period, twice.
COUNTED: Final = 150.0
# Fails where the trust bundle is not there: in the container, and without running anything in it afterwards.
LOOK: Final = 'test -s "$SSL_CERT_FILE" && test -s "$NODE_EXTRA_CA_CERTS"'

type Step = Callable[[Cluster], None]


def needs_kubelets(cluster: Cluster) -> None:
    if not cluster.kubelets:
        pytest.skip("there are no kubelets")


def app(cluster: Cluster, script: str) -> Mapping[str, Any]:
    return {"image": cluster.app_image, "command": ["sh", "-c", script]}


def assert_injected(cluster: Cluster, found: Object) -> None:
    """Also the containers that other webhooks of the cluster added."""
    names = [one["name"] for one in every_container(found)]
    assert names.count(SIDECAR_CONTAINER) == 1
    assert len(names) == len(set(names))
    sidecar = container(found, SIDECAR_CONTAINER)
    if cluster.is_native:
        assert sidecar["restartPolicy"] == "Always"
        first = [one["name"] for one in found["spec"]["initContainers"]][:2]
        assert SIDECAR_CONTAINER in first, "before all others"
    for one in found["spec"]["containers"]:
        if one["name"] not in {SIDECAR_CONTAINER, REDIRECT_CONTAINER}:
            mounts = [mount for mount in one["volumeMounts"] if mount["name"] == TRUST_VOLUME]
            assert len(mounts) == 1, one["name"]
            assert [entry["name"] for entry in one["env"]].count("SSL_CERT_FILE") == 1


# --- it runs --------------------------------------------------------------------------------------


def replicas_answer_and_one_leads(cluster: Cluster) -> None:
    admin = cluster.admin
    if cluster.kubelets:
        status = admin.get("apps/v1/deployments", NAME, namespace=NAMESPACE).object["status"]
        assert status["availableReplicas"] == status["replicas"] >= 2

    def bundles() -> list[str]:
        found = [admin.get(resource, NAME).object["webhooks"] for resource in (MUTATING, VALIDATING)]
        return [one["clientConfig"].get("caBundle", "") for webhooks in found for one in webhooks]

    wait_for(lambda: all(bundles()), "the bundle in every webhook", 60)
    if cluster.kubelets:
        cluster.helm("test", RELEASE)
    lease = admin.get("coordination.k8s.io/v1/leases", NAME, namespace=NAMESPACE).object
    assert lease["spec"]["holderIdentity"]
    assert admin.get("v1/secrets", f"{NAME}-ca", namespace=NAMESPACE).ok


def the_first_pod_is_ready_soon(cluster: Cluster) -> None:
    """From `helm install` on: what a newcomer waits for."""
    namespace = enabled(cluster)
    cluster.measured.append(f"helm install to the first injected pod: {_since(cluster):.1f} s")
    if cluster.kubelets:
        ready = {"readinessProbe": {"exec": {"command": ["sh", "-c", LOOK]}, "periodSeconds": 1}}
        first = pod("first", {**app(cluster, "sleep 3600"), **ready})
        assert cluster.admin.create(first, namespace).object
        wait_for(lambda: is_ready(cluster, namespace, "first"), "the first pod to be ready", RUNNING)
        cluster.measured.append(f"helm install to the first injected pod ready: {_since(cluster):.1f} s")


def _since(cluster: Cluster) -> float:
    return time.monotonic() - cluster.installed_at


def is_ready(cluster: Cluster, namespace: str, name: str) -> bool:
    status = cluster.admin.get("v1/pods", name, namespace=namespace).object.get("status", {})
    found = {one["type"]: one["status"] for one in status.get("conditions", ())}
    return found.get("Ready") == "True"


def jobs_and_deployments_get_sidecars_and_run(cluster: Cluster) -> None:
    admin = cluster.admin
    namespace = enabled(cluster)
    made = (
        job("train", app(cluster, LOOK)),
        replicated("Deployment", "serve"),
    )
    made[1]["spec"]["template"]["spec"]["containers"][0] |= app(cluster, f"{LOOK} && sleep 3600")
    for one in made:
        assert admin.create(one, namespace).object
    for labels in ("job-name=train", "app=serve"):
        (found,) = admin.wait_items("v1/pods", namespace=namespace, labels=labels, seconds=60)
        assert_injected(cluster, found)
    for kind in ("Job", "ReplicaSet"):
        wait_for(lambda k=kind: told(cluster, namespace, k), f"an Event on the {kind}", 60)  # type: ignore[misc]
    if cluster.kubelets:
        wait_for(lambda: has_run(cluster, namespace), "the Job's application to end well", RUNNING)
        wait_for(lambda: is_available(cluster, namespace), "the Deployment", RUNNING)


def told(cluster: Cluster, namespace: str, kind: str) -> list[Object]:
    found = events(cluster, namespace, "Injected")
    return [one for one in found if one["involvedObject"]["kind"] == kind]


def has_run(cluster: Cluster, namespace: str) -> bool:
    """With a native sidecar the whole Job ends; an ordinary container goes on after the application."""
    if cluster.is_native:
        status = cluster.admin.get("batch/v1/jobs", "train", namespace=namespace).object.get("status", {})
        return bool(status.get("succeeded"))
    (found,) = cluster.admin.items("v1/pods", namespace=namespace, labels="job-name=train")
    every = found.get("status", {}).get("containerStatuses", ())
    ended = [one["state"].get("terminated") for one in every if one["name"] == "app"]
    return any(one and one["exitCode"] == 0 for one in ended)


def is_available(cluster: Cluster, namespace: str) -> bool:
    status = cluster.admin.get("apps/v1/deployments", "serve", namespace=namespace).object.get("status", {})
    return bool(status.get("availableReplicas"))


def what_is_asked_again_is_not_changed(cluster: Cluster) -> None:
    """Reinvocation, as far as it can be had without another webhook: a pod that went through, once more."""
    namespace = enabled(cluster)
    stored = cluster.admin.create(pod("stored"), namespace, dry_run=True).object
    kept = {"nodeName", "tolerations", "priority", "preemptionPolicy"}
    again = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "again", "annotations": stored["metadata"]["annotations"]},
        "spec": {key: value for key, value in stored["spec"].items() if key not in kept},
    }
    found = cluster.admin.create(again, namespace, dry_run=True).object
    assert every_container(found) == every_container(stored)
    assert found["spec"]["volumes"] == stored["spec"]["volumes"]
    assert found["metadata"]["annotations"] == stored["metadata"]["annotations"]


# --- it refuses -----------------------------------------------------------------------------------


def what_would_break_the_promise_is_refused(cluster: Cluster) -> None:
    namespace = enabled(cluster)
    bad = pod("bad", {"securityContext": {"runAsUser": 1337}}, shareProcessNamespace=True)
    answer = cluster.admin.create(bad, namespace, dry_run=True)
    assert answer.status == 403
    assert "proxy_uid" in answer.message
    assert "shared_processes" in answer.message
    answer = cluster.admin.create(policy("bad", grant("https://x")), namespace, dry_run=True)
    assert answer.status == 403
    assert "spec.grants[0]" in answer.message
    assert cluster.admin.create(pod("warned", {"securityContext": {}}), namespace, dry_run=True).warnings


def nobody_gets_into_the_sidecar(cluster: Cluster) -> None:
    needs_kubelets(cluster)
    if cluster.version < (1, 30):
        pytest.skip("the cluster has no ValidatingAdmissionPolicies")
    namespace = enabled(cluster)
    running(cluster, namespace, "guarded")
    path = f"/api/v1/namespaces/{namespace}/pods/guarded"
    query = {"container": SIDECAR_CONTAINER, "command": "true", "stdout": "true"}
    answer = cluster.admin.call("POST", f"{path}/exec", query=query)
    assert (answer.status, "sidecar_targeted" in answer.message) == (403, True)
    debugger = {
        "name": "debugger",
        "image": cluster.app_image,
        "targetContainerName": SIDECAR_CONTAINER,
    }
    patch = {"spec": {"ephemeralContainers": [debugger]}}
    answer = cluster.admin.patch(
        "v1/pods", "guarded", patch, namespace=namespace, how="strategic", sub="ephemeralcontainers"
    )
    assert (answer.status, "sidecar_targeted" in answer.message) == (403, True)


def running(cluster: Cluster, namespace: str, name: str) -> None:
    assert cluster.admin.create(pod(name, app(cluster, "sleep 3600")), namespace).object

    def is_running() -> bool:
        found = cluster.admin.get("v1/pods", name, namespace=namespace).object
        return bool(found["status"].get("phase") == "Running")

    wait_for(is_running, f"{name} to run", RUNNING)


# --- policies -------------------------------------------------------------------------------------


def policies_are_compiled_and_reach_running_pods(cluster: Cluster) -> None:
    admin = cluster.admin
    namespace = enabled(cluster)
    # It exchanges the pod's token, of nobody that is asked here: no Secret is needed for the pod to start.
    source = exchange("token", "podkey-e2e")
    for one in (source, policy("train", grant("one.example.com"))):
        assert admin.create(one, namespace).object
    wait_compiled(cluster, namespace, "one.example.com")
    assert admin.get("v1/configmaps", TRUST_CONFIG_MAP, namespace=namespace).ok
    for resource, name in ((POLICIES, "train"), (SOURCES, "token")):
        wait_for(
            lambda r=resource, n=name: condition(cluster, r, n, namespace, "Compiled") == "True InForce",  # type: ignore[misc]
            f"{name} to say that it is in force",
            30,
        )
    if cluster.kubelets:
        running(cluster, namespace, "worker")
        before = wait_for(lambda: digest(cluster, namespace, "worker"), "the sidecar's metrics", RUNNING)
    else:
        assert admin.create(pod("worker"), namespace).object
    wait_for(lambda: matched(cluster, namespace) == 1, "the policy's count of pods", COUNTED)

    grants = {"spec": {"grants": [grant("one.example.com"), grant("two.example.com")]}}
    assert admin.patch(POLICIES, "train", grants, namespace=namespace).ok
    wait_compiled(cluster, namespace, "two.example.com")
    if cluster.kubelets:
        wait_for(
            lambda: digest(cluster, namespace, "worker") not in {"", before},
            "the running sidecar to take it",
            SYNCED,
        )


def digest(cluster: Cluster, namespace: str, name: str) -> str:
    found = re.search(r'podkey_policy_info\{sha256="(\w+)"\}', cluster.metrics(namespace, name, ADMIN_PORT))
    return found[1] if found else ""


def matched(cluster: Cluster, namespace: str) -> object:
    status = cluster.admin.get(POLICIES, "train", namespace=namespace).object.get("status", {})
    return status.get("matchedPods")


# --- its life -------------------------------------------------------------------------------------


class Asking:
    """Somebody who makes pods, as dry runs, all the time; `failures` are those that nobody answered."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._ended = Event()
        self._thread = Thread(target=self._ask)
        self.answers = 0
        self.failures: list[Answer] = []

    def _ask(self) -> None:
        while not self._ended.wait(0.1):
            answer = self._cluster.admin.create(pod("asking"), self._namespace, dry_run=True)
            self.answers += 1
            if not answer.ok or not has_sidecar(answer.object):
                self.failures.append(answer)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()


def a_rolling_restart_fails_no_review(cluster: Cluster) -> None:
    needs_kubelets(cluster)
    admin = cluster.admin
    moment = {"kubectl.kubernetes.io/restartedAt": str(time.time())}
    restart = {"spec": {"template": {"metadata": {"annotations": moment}}}}
    with Asking(cluster, enabled(cluster)) as asking:
        assert admin.patch("apps/v1/deployments", NAME, restart, namespace=NAMESPACE).ok

        def is_done() -> bool:
            found = admin.get("apps/v1/deployments", NAME, namespace=NAMESPACE).object
            status, wanted = found["status"], found["spec"]["replicas"]
            is_seen = status.get("observedGeneration") == found["metadata"]["generation"]
            counts = [status.get(key, 0) for key in ("updatedReplicas", "availableReplicas", "replicas")]
            return is_seen and counts == [wanted] * 3

        wait_for(is_done, "the rollout", RUNNING)
    assert asking.answers
    assert not asking.failures


def a_lost_authority_is_made_anew_while_reviews_are_answered(cluster: Cluster) -> None:
    admin = cluster.admin
    secret = f"{NAME}-ca"
    before = admin.get("v1/secrets", secret, namespace=NAMESPACE).object["data"]["ca.crt"]
    old = base64.b64decode(before)

    def trusts_both() -> bool:
        found = [admin.get(resource, NAME).object["webhooks"] for resource in (MUTATING, VALIDATING)]
        bundles = [base64.b64decode(one["clientConfig"]["caBundle"]) for every in found for one in every]
        return all(old in bundle and len(bundle) > len(old) for bundle in bundles)

    with Asking(cluster, enabled(cluster)) as asking:
        assert admin.delete("v1/secrets", secret, namespace=NAMESPACE).ok
        wait_for(lambda: admin.get("v1/secrets", secret, namespace=NAMESPACE).ok, "another Secret", 60)
        wait_for(trusts_both, "both authorities in every bundle", 60)
    assert asking.answers
    assert not asking.failures


# --- its end --------------------------------------------------------------------------------------


def a_namespace_without_the_label_loses_what_was_written_there(cluster: Cluster) -> None:
    admin = cluster.admin
    namespace = enabled(cluster)
    wait_compiled(cluster, namespace)
    assert admin.patch("v1/namespaces", namespace, {"metadata": {"labels": {INJECT: None}}}).ok
    for name in (POLICY_CONFIG_MAP, TRUST_CONFIG_MAP):
        wait_for(
            lambda n=name: admin.get("v1/configmaps", n, namespace=namespace).status == 404,  # type: ignore[misc]
            f"{name} to be swept",
            60,
        )
    made = wait_for(
        lambda: (
            one
            if not has_sidecar((one := admin.create(pod("plain"), namespace, dry_run=True)).object)
            else None
        ),
        "pods without a sidecar",
        30,
    )
    assert made.ok


def it_leaves_no_webhook_when_it_is_taken_away(cluster: Cluster) -> None:
    admin = cluster.admin
    namespace = enabled(cluster)
    cluster.uninstall()
    for resource in (MUTATING, VALIDATING):
        assert admin.get(resource, NAME).status == 404
    made = wait_for(
        lambda: one if (one := admin.create(pod("free"), namespace, dry_run=True)).ok else None,
        "pods to start without it",
        30,
    )
    assert not has_sidecar(made.object)


STEPS: Final[tuple[Step, ...]] = (
    # First: it measures from the installation on.
    the_first_pod_is_ready_soon,
    replicas_answer_and_one_leads,
    jobs_and_deployments_get_sidecars_and_run,
    what_is_asked_again_is_not_changed,
    what_would_break_the_promise_is_refused,
    nobody_gets_into_the_sidecar,
    policies_are_compiled_and_reach_running_pods,
    a_rolling_restart_fails_no_review,
    a_namespace_without_the_label_loses_what_was_written_there,
    # Late: replicas that start after it wait for six minutes.
    a_lost_authority_is_made_anew_while_reviews_are_answered,
    it_leaves_no_webhook_when_it_is_taken_away,
)
