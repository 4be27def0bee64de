"""The expressions of the ValidatingAdmissionPolicies, evaluated by a CEL implementation on real requests."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import celpy
import pytest
from celpy.adapter import json_to_cel

from tests.helm_chart import MISSING, NAMESPACE, of_kind, render

pytestmark = pytest.mark.skipif(bool(MISSING), reason=MISSING)

REVIEWS = Path(__file__).parents[1] / "data" / "k8s" / "admissionreviews"
OWN = f"system:serviceaccount:{NAMESPACE}:podkey-injector"

EXEC = "podkey-no-exec-into-the-sidecar"
DEBUG = "podkey-no-debugging-of-the-sidecar"
WORD = "podkey-injected-pods-keep-their-word"
COMPILED = "podkey-compiled-policies"


def request(name: str) -> dict[str, Any]:
    """What the API server sent to a webhook, which is what a policy sees."""
    found: dict[str, Any] = json.loads((REVIEWS / f"{name}.json").read_text())["request"]
    return found


def refusal(policy: str, sent: dict[str, Any]) -> str:
    """The message of the first validation that fails; empty where the policy lets the request pass."""
    spec = of_kind(render(), "ValidatingAdmissionPolicy")[policy]["spec"]
    known = {
        "object": json_to_cel(sent["object"]),
        "oldObject": json_to_cel(sent.get("oldObject")),
        "request": json_to_cel({k: v for k, v in sent.items() if k not in {"object", "oldObject"}}),
    }
    for condition in spec.get("matchConditions", []):
        if not _value(condition["expression"], known):
            return ""
    variables = {}
    for variable in spec.get("variables", []):
        value = _value(variable["expression"], {**known, "variables": json_to_cel({})})
        variables[variable["name"]] = value
        known["variables"] = celpy.celtypes.MapType(
            {celpy.celtypes.StringType(name): one for name, one in variables.items()}
        )
    for validation in spec["validations"]:
        if not _value(validation["expression"], known):
            return str(validation["message"])
    return ""


def _value(expression: str, known: dict[str, Any]) -> Any:
    environment = celpy.Environment()
    return environment.program(environment.compile(expression)).evaluate(known)


def injected(sent: dict[str, Any]) -> dict[str, Any]:
    """The same request about a pod with a sidecar."""
    changed = deepcopy(sent)
    for pod in (changed["object"], changed["oldObject"]):
        pod["metadata"].setdefault("annotations", {})["podkey.io/injected"] = "true"
    return changed


# --- exec ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["exec-connect", "exec-connect-stdin", "attach-connect"])
def test_commands_run_in_application_containers(name: str) -> None:
    sent = request(name)
    assert refusal(EXEC, sent) == ""
    del sent["object"]["container"]  # the API server's own choice: the first, which is the user's
    assert refusal(EXEC, sent) == ""


@pytest.mark.parametrize("name", ["exec-connect", "exec-connect-stdin", "attach-connect"])
@pytest.mark.parametrize("container", ["podkey", "podkey-redirect"])
def test_no_command_runs_in_podkeys_containers(name: str, container: str) -> None:
    sent = request(name)
    sent["object"]["container"] = container
    assert "sidecar_targeted" in refusal(EXEC, sent)


# --- ephemeral containers ------------------------------------------------------------------------


def debugging(**change: Any) -> dict[str, Any]:
    sent = injected(request("ephemeralcontainers-update"))
    container = sent["object"]["spec"]["ephemeralContainers"][0]
    container.pop("securityContext", None)
    container.pop("targetContainerName", None)
    container.update(change)
    return sent


def test_a_pod_without_a_sidecar_is_debugged_as_ever() -> None:
    assert refusal(DEBUG, request("ephemeralcontainers-update")) == ""


def test_an_application_container_can_be_debugged() -> None:
    assert refusal(DEBUG, debugging()) == ""
    assert refusal(DEBUG, debugging(targetContainerName="app", securityContext={"runAsUser": 1000})) == ""
    trust = {"name": "podkey-trust", "mountPath": "/etc/podkey/ca", "readOnly": True}
    assert refusal(DEBUG, debugging(volumeMounts=[trust, {"name": "data", "mountPath": "/data"}])) == ""


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"targetContainerName": "podkey"}, "sidecar_targeted"),
        ({"targetContainerName": "podkey-redirect"}, "sidecar_targeted"),
        ({"securityContext": {"runAsUser": 1337}}, "proxy_uid"),
        ({"securityContext": {"privileged": True}}, "privileged"),
        ({"securityContext": {"procMount": "Unmasked"}}, "privileged"),
        ({"securityContext": {"runAsGroup": 1337}}, "proxy_uid"),
        ({"volumeMounts": [{"name": "podkey-state", "mountPath": "/x"}]}, "reserved_volume"),
        ({"volumeMounts": [{"name": "podkey-trust", "mountPath": "/x"}]}, "reserved_volume"),
        ({"securityContext": {"capabilities": {"add": ["cap_sys_ptrace"]}}}, "capability"),
        ({"securityContext": {"capabilities": {"add": ["SYS_PTRACE"]}}}, "capability"),
        ({"securityContext": {"capabilities": {"add": ["CHOWN", "NET_ADMIN"]}}}, "capability"),
        ({"securityContext": {"capabilities": {"add": ["ALL"]}}}, "capability"),
    ],
)
def test_debugging_does_not_reach_the_sidecar(change: dict[str, Any], code: str) -> None:
    assert f"podkey: {code}:" in refusal(DEBUG, debugging(**change))


# --- what the injector wrote ---------------------------------------------------------------------

UPDATES = [
    "update-labels",
    "update-annotation-added",
    "update-job-finalizer-removed-by-controller",
    "update-scheduling-gate-removed",
]


@pytest.mark.parametrize("name", UPDATES)
def test_the_updates_that_controllers_and_people_make_pass(name: str) -> None:
    assert refusal(WORD, request(name)) == ""
    assert refusal(WORD, injected(request(name))) == ""


def test_an_image_of_an_injected_pod_stays() -> None:
    assert refusal(WORD, request("update-image")) == ""
    assert "image" in refusal(WORD, injected(request("update-image")))


@pytest.mark.parametrize("name", ["injected", "owner", "images", "placeholders"])
def test_annotations_of_the_injector_stay(name: str) -> None:
    key = f"podkey.io/{name}"
    changed = injected(request("update-labels"))
    changed["oldObject"]["metadata"]["annotations"][key] = "a"
    changed["object"]["metadata"]["annotations"][key] = "b"
    gone = deepcopy(changed)
    del gone["object"]["metadata"]["annotations"][key]
    for sent in (changed, gone):
        assert "reserved_annotation" in refusal(WORD, sent)
    new = injected(request("update-labels"))
    new["object"]["metadata"]["annotations"][key] = "c"
    assert name == "injected" or "reserved_annotation" in refusal(WORD, new)


# --- compiled policies ---------------------------------------------------------------------------


def config_map(name: str, operation: str, user: str) -> dict[str, Any]:
    thing = {"metadata": {"name": name, "namespace": "ml"}, "data": {"policy.yaml": ""}}
    return {
        "name": name,
        "operation": operation,
        "userInfo": {"username": user},
        "object": None if operation == "DELETE" else thing,
        "oldObject": None if operation == "CREATE" else thing,
    }


@pytest.mark.parametrize("operation", ["CREATE", "UPDATE", "DELETE"])
@pytest.mark.parametrize("name", ["podkey-policy", "podkey-trust"])
def test_only_the_injector_writes_compiled_policies(name: str, operation: str) -> None:
    assert refusal(COMPILED, config_map(name, operation, OWN)) == ""
    assert "only the injector" in refusal(COMPILED, config_map(name, operation, "jane"))
    # The request has no name where it is generated, and where a whole collection is deleted.
    assert "only the injector" in refusal(COMPILED, config_map(name, operation, "jane") | {"name": ""})


def test_other_config_maps_are_nobodys_business() -> None:
    assert refusal(COMPILED, config_map("settings", "UPDATE", "jane")) == ""


def test_a_namespace_can_be_deleted() -> None:
    accounts = ("namespace-controller", "generic-garbage-collector")
    for user in (
        *(f"system:serviceaccount:kube-system:{one}" for one in accounts),
        "system:kube-controller-manager",
    ):
        assert refusal(COMPILED, config_map("podkey-policy", "DELETE", user)) == ""
        assert refusal(COMPILED, config_map("podkey-policy", "UPDATE", user)) != ""
