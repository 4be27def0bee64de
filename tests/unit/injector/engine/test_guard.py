import json
from typing import Any

import pytest

from injector.core.outcome import Refuse
from injector.engine.guard import guard
from injector.reading.reviews import Answer, Review, read_review
from tests.admission_world import CAPTURED, a_review, a_world, asked, captured, patched
from tests.sample_pods import raw_pod

OWN = "system:serviceaccount:podkey-system:podkey-injector"
EPHEMERAL = {"operation": "UPDATE", "subResource": "ephemeralcontainers"}
CONFIG_MAPS = {
    "kind": {"group": "", "version": "v1", "kind": "ConfigMap"},
    "resource": {"group": "", "version": "v1", "resource": "configmaps"},
}


def refused(answer: Answer) -> list[str]:
    assert answer.allowed is not isinstance(answer.outcome, Refuse)
    return [finding.code.value for finding in answer.outcome.reasons] if answer.outcome else []


def of_captured(name: str) -> Answer:
    review = read_review(json.dumps(captured(name)).encode())
    assert isinstance(review, Review)
    return guard(review, OWN)


def with_sidecar(*ephemeral: dict[str, Any]) -> dict[str, Any]:
    pod = raw_pod()
    made = patched(pod, asked(pod, a_world()))
    if ephemeral:
        made["spec"]["ephemeralContainers"] = list(ephemeral)
    return made


def debugged(*new: dict[str, Any], before: tuple[dict[str, Any], ...] = ()) -> list[str]:
    old, now = with_sidecar(*before), with_sidecar(*before, *new)
    return refused(guard(a_review(now, oldObject=old, **EPHEMERAL), OWN))


@pytest.mark.parametrize("name", CAPTURED)
def test_every_captured_review_is_let_through_for_it_does_nothing_to_a_sidecar(name: str) -> None:
    assert refused(of_captured(name)) == []


# --- ephemeral containers ------------------------------------------------------------------------

PLAIN = {"name": "debugger", "image": "busybox", "targetContainerName": "app"}


def with_security(**security: Any) -> dict[str, Any]:
    return {**PLAIN, "securityContext": security}


def with_mount(**mount: Any) -> dict[str, Any]:
    return {**PLAIN, "volumeMounts": [mount]}


@pytest.mark.parametrize(
    ("container", "expected"),
    [
        (PLAIN, []),
        ({"name": "debugger"}, []),
        (with_mount(name="podkey-trust", mountPath="/etc/podkey/ca", readOnly=True), []),
        ({**PLAIN, "targetContainerName": "podkey"}, ["sidecar_targeted"]),
        ({**PLAIN, "targetContainerName": "podkey-redirect"}, ["sidecar_targeted"]),
        ({**PLAIN, "name": "podkey"}, ["reserved_container"]),
        (with_security(runAsUser=1337), ["proxy_uid"]),
        (with_security(runAsGroup=1337), ["proxy_uid"]),
        (with_security(privileged=True), ["privileged"]),
        (with_security(capabilities={"add": ["SYS_PTRACE"]}), ["capability"]),
        (with_mount(name="podkey-tokens", mountPath="/tokens"), ["reserved_volume"]),
        (with_mount(name="data", mountPath="/var/run/podkey/x"), ["reserved_path"]),
        (
            {**with_security(privileged=True), "targetContainerName": "podkey"},
            ["sidecar_targeted", "privileged"],
        ),
        ({**PLAIN, "env": {}}, ["unreadable_pod"]),
    ],
)
def test_an_ephemeral_container_keeps_away_from_the_sidecar(
    container: dict[str, Any], expected: list[str]
) -> None:
    assert debugged(container) == expected


def test_containers_that_are_there_already_were_let_in() -> None:
    forced = {**PLAIN, "targetContainerName": "podkey"}

    assert debugged(before=(forced,)) == []
    assert debugged(PLAIN, before=({**forced, "name": "other"},)) == []
    assert debugged({**forced, "name": "next"}, before=(forced,)) == ["sidecar_targeted"]


def test_what_webhooks_and_defaults_change_in_a_container_makes_it_no_new_one() -> None:
    forced = {**PLAIN, "targetContainerName": "podkey"}
    old, now = with_sidecar(forced), with_sidecar({**forced, "terminationMessagePolicy": "File"})

    assert refused(guard(a_review(now, oldObject=old, **EPHEMERAL), OWN)) == []


@pytest.mark.parametrize("use", ["volumeMounts", "volumeDevices"])
def test_a_volume_that_shows_the_node_is_not_mounted_later(use: str) -> None:
    where = {"mountPath": "/node"} if use == "volumeMounts" else {"devicePath": "/node"}
    mounting = {**PLAIN, use: [{"name": "node", **where}]}
    old, now = with_sidecar(), with_sidecar(mounting)
    for pod in (old, now):
        pod["spec"]["volumes"].append({"name": "node", "hostPath": {"path": "/var/lib"}})

    assert refused(guard(a_review(now, oldObject=old, **EPHEMERAL), OWN)) == ["state_exposed"]
    now["spec"]["ephemeralContainers"] = [PLAIN]
    assert refused(guard(a_review(now, oldObject=old, **EPHEMERAL), OWN)) == []


def test_a_pod_without_a_sidecar_has_nothing_to_protect() -> None:
    pod = raw_pod(ephemeralContainers=[{**with_security(privileged=True), "targetContainerName": "podkey"}])

    assert refused(guard(a_review(pod, oldObject=raw_pod(), **EPHEMERAL), OWN)) == []
    assert refused(guard(a_review(pod, **EPHEMERAL), OWN)) == []


# --- commands ------------------------------------------------------------------------------------


@pytest.mark.parametrize("sub_resource", ["exec", "attach"])
@pytest.mark.parametrize(
    ("container", "expected"),
    [
        ("podkey", ["sidecar_targeted"]),
        ("podkey-redirect", ["sidecar_targeted"]),
        ("podkeyed", []),
        ("app", []),
        ("", []),
        (None, []),
        (7, []),
    ],
)
def test_a_command_in_the_sidecar_is_refused(sub_resource: str, container: Any, expected: list[str]) -> None:
    options = {"kind": "PodExecOptions", "container": container, "command": ["id"]}
    review = a_review(options, operation="CONNECT", subResource=sub_resource, name="x")

    assert refused(guard(review, OWN)) == expected


def test_a_command_without_options_and_a_port_are_let_through() -> None:
    assert refused(guard(a_review(None, operation="CONNECT", subResource="exec"), OWN)) == []
    options = {"kind": "PodPortForwardOptions", "container": "podkey"}
    assert refused(guard(a_review(options, operation="CONNECT", subResource="portforward"), OWN)) == []


# --- ConfigMaps ----------------------------------------------------------------------------------


def written(operation: str, user: str, name: str = "podkey-policy", **request: Any) -> list[str]:
    config_map = {"kind": "ConfigMap", "metadata": {"name": name}}
    objects: dict[str, Any] = {
        "object": None if operation == "DELETE" else config_map,
        "oldObject": None if operation == "CREATE" else config_map,
    }
    fields = {**CONFIG_MAPS, "operation": operation, "userInfo": {"username": user}, "name": name}
    return refused(guard(a_review(None, **{**fields, **objects, **request}), OWN))


@pytest.mark.parametrize("operation", ["CREATE", "UPDATE", "DELETE"])
@pytest.mark.parametrize("name", ["podkey-policy", "podkey-trust"])
def test_only_the_injector_writes_what_sidecars_obey(operation: str, name: str) -> None:
    assert written(operation, OWN, name) == []
    assert written(operation, "alice", name) == ["reserved_config_map"]
    assert written(operation, OWN.replace("podkey-system", "ml"), name) == ["reserved_config_map"]
    assert written(operation, "alice", "settings") == []


@pytest.mark.parametrize("cleaner", ["namespace-controller", "generic-garbage-collector"])
def test_a_namespace_that_is_deleted_is_emptied(cleaner: str) -> None:
    user = f"system:serviceaccount:kube-system:{cleaner}"

    assert written("DELETE", user) == []
    assert written("UPDATE", user) == ["reserved_config_map"]


def test_a_collection_is_deleted_object_by_object_and_named_by_none_but_the_object() -> None:
    assert written("DELETE", "alice", name="podkey-policy") == ["reserved_config_map"]
    old = {"metadata": {"name": "podkey-trust"}}
    assert written("DELETE", "alice", name="", oldObject=old) == ["reserved_config_map"]
    for odd in ({"metadata": []}, {"metadata": {"name": 1}}, {}, None):
        assert written("DELETE", "alice", name="", oldObject=odd) == []


def test_other_kinds_of_requests_are_let_through() -> None:
    assert written("CONNECT", "alice") == []
    assert written("UPDATE", "alice", subResource="status") == []
    other = {"group": "apps", "version": "v1", "resource": "configmaps"}
    assert written("UPDATE", "alice", resource=other) == []


def test_a_refusal_says_what_to_do_and_a_dry_run_stays_one() -> None:
    review = a_review({"container": "podkey"}, operation="CONNECT", subResource="exec", dryRun=True, name="x")
    answer = guard(review, OWN)

    assert (answer.dry_run, answer.uid) == (True, review.uid)
    assert answer.message == (
        "sidecar_targeted: exec is meant for container `podkey`; name an application container"
    )
    assert guard(a_review(raw_pod(), dryRun=True), OWN).dry_run
