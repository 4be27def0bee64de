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


def test_a_container_of_another_name_is_nobodys_business_whatever_its_pod() -> None:
    sent = request("exec-connect") | {"namespace": "kube-system"}
    for name in ("podkey-like", "my-podkey", "etcd"):
        sent["object"]["container"] = name
        assert refusal(EXEC, sent) == ""


# --- where the walls stand -----------------------------------------------------------------------

SELECTORS = ("namespaceSelector", "objectSelector", "excludeResourceRules")


@pytest.mark.parametrize("name", [EXEC, DEBUG, WORD, COMPILED])
def test_no_label_that_somebody_takes_away_takes_a_wall_with_it(name: str) -> None:
    spec = of_kind(render(), "ValidatingAdmissionPolicy")[name]["spec"]
    bound = of_kind(render(), "ValidatingAdmissionPolicyBinding")[name]["spec"]
    assert not any(one in spec["matchConstraints"] for one in SELECTORS)
    assert "matchResources" not in bound
    assert bound["validationActions"] == ["Deny"]
    assert spec["failurePolicy"] == "Fail"


@pytest.mark.parametrize("name", [DEBUG, WORD])
def test_pods_without_a_sidecar_are_let_through_before_anything_else_is_looked_at(name: str) -> None:
    """Of all the cluster, so it must neither fail nor cost: `matchConditions` end it."""
    (condition,) = of_kind(render(), "ValidatingAdmissionPolicy")[name]["spec"]["matchConditions"]
    for annotations in (None, {}, {"podkey.io/inject": "disabled"}, {"a": "podkey.io/injected"}):
        metadata = {"name": "etcd", "namespace": "kube-system"}
        pod = {"metadata": metadata if annotations is None else metadata | {"annotations": annotations}}
        # Even a request that breaks every rule, and an object that none of them could read.
        sent = {"object": {"spec": {}}, "oldObject": pod, "operation": "UPDATE"}
        assert not _value(condition["expression"], {"oldObject": json_to_cel(pod)})
        assert refusal(name, sent) == ""


def test_who_writes_the_annotation_into_a_request_does_not_get_past_by_leaving_it_out() -> None:
    sent = debugging(targetContainerName="podkey")
    del sent["object"]["metadata"]["annotations"]
    assert "sidecar_targeted" in refusal(DEBUG, sent)


def guarded(kubernetes: str) -> dict[str, Any]:
    found = of_kind(render(kubernetes=kubernetes), "ValidatingWebhookConfiguration")["podkey-injector"]
    name = "ephemeral-containers.injector.podkey.io"
    (webhook,) = [one for one in found["webhooks"] if one["name"] == name]
    return dict(webhook)


def test_the_webhook_is_asked_about_pods_with_a_sidecar_wherever_they_are() -> None:
    webhook = guarded("1.28.0")
    assert "namespaceSelector" not in webhook
    (condition,) = webhook["matchConditions"]

    def asked(sent: dict[str, Any]) -> bool:
        return bool(_value(condition["expression"], {"object": json_to_cel(sent["object"])}))

    plain = request("ephemeralcontainers-update")
    assert not asked(plain)
    for place in ("containers", "initContainers"):
        sent = deepcopy(plain)
        sent["object"]["spec"].setdefault(place, []).append({"name": "podkey", "image": "podkey/proxy:1"})
        assert asked(sent), place
    # Before 1.28 it cannot be told which pods: those of enabled namespaces only, or all would depend on us.
    old = guarded("1.27.0")
    assert "matchConditions" not in old
    assert {"key": "podkey.io/inject", "operator": "Exists"} in old["namespaceSelector"]["matchExpressions"]


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
