"""The chart renders on the oldest Helm, for old and new clusters, into objects that Kubernetes knows."""

from pathlib import Path
from typing import Any

import pytest
from kubernetes_validate import validate

from injector.reading.settings import read_injector_settings
from tests.helm_chart import CHART, MISSING, NAMESPACE, Manifest, helm, of_kind, render

pytestmark = pytest.mark.skipif(bool(MISSING), reason=MISSING)

CERT_MANAGER = {"certificates": {"issuer": "cert-manager"}}
# Kinds of others, which Kubernetes' own schemas do not know.
FOREIGN = {"Issuer", "Certificate"}


def test_helm_has_nothing_to_object() -> None:
    done = helm("lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("kubernetes", ["1.29", "1.30", "1.32", "1.34", "1.37"])
@pytest.mark.parametrize("values", [{}, CERT_MANAGER, {"injector": {"replicas": 1}}], ids=["", "cm", "one"])
def test_every_object_is_one_that_kubernetes_knows(kubernetes: str, values: dict[str, Any]) -> None:
    for manifest in render(values, f"{kubernetes}.0"):
        if manifest["kind"] not in FOREIGN:
            validate(manifest, kubernetes, strict=True)


def test_a_mistyped_value_is_refused() -> None:
    with pytest.raises(AssertionError, match="replica"):
        render({"injector": {"replica": 3}})


@pytest.fixture(params=["1.21.0", "1.28.0", "1.34.0"])
def manifests(request: pytest.FixtureRequest) -> list[Manifest]:
    return render(kubernetes=request.param)


def test_pods_that_the_cluster_needs_never_reach_the_webhook(manifests: list[Manifest]) -> None:
    (webhook,) = of_kind(manifests, "MutatingWebhookConfiguration")["podkey-injector"]["webhooks"]
    asked = {(one["key"], one["operator"]): one.get("values") for one in _selector(webhook)}
    assert asked["podkey.io/inject", "Exists"] is None
    assert asked["podkey.io/inject", "NotIn"] == ["disabled"]
    spared = asked["kubernetes.io/metadata.name", "NotIn"]
    assert set(spared or []) == {"kube-system", "kube-public", "kube-node-lease", NAMESPACE}


def _selector(webhook: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = webhook["namespaceSelector"]["matchExpressions"]
    return found


def test_the_webhook_for_pods_fails_closed_and_is_asked_about_new_pods_only(
    manifests: list[Manifest],
) -> None:
    (webhook,) = of_kind(manifests, "MutatingWebhookConfiguration")["podkey-injector"]["webhooks"]
    assert webhook["failurePolicy"] == "Fail"
    assert webhook["timeoutSeconds"] == 5
    assert webhook["sideEffects"] == "NoneOnDryRun"
    assert webhook["reinvocationPolicy"] == "IfNeeded"
    assert [(rule["operations"], rule["resources"]) for rule in webhook["rules"]] == [(["CREATE"], ["pods"])]
    assert "caBundle" not in webhook["clientConfig"]


def test_conditions_appear_where_the_cluster_knows_them() -> None:
    def conditions(kubernetes: str) -> bool:
        found = of_kind(render(kubernetes=kubernetes), "MutatingWebhookConfiguration")
        return "matchConditions" in found["podkey-injector"]["webhooks"][0]

    assert (conditions("1.27.9"), conditions("1.28.0")) == (False, True)


def test_admission_policies_appear_where_the_cluster_knows_them() -> None:
    def count(kubernetes: str, values: dict[str, Any] | None = None) -> int:
        return len(of_kind(render(values, kubernetes), "ValidatingAdmissionPolicy"))

    assert count("1.29.0") == 0
    assert count("1.30.0") == 4
    assert count("1.30.0", {"admissionPolicies": False}) == 0
    new = render(kubernetes="1.34.0")
    policies = of_kind(new, "ValidatingAdmissionPolicy")
    bound = {one["spec"]["policyName"] for one in of_kind(new, "ValidatingAdmissionPolicyBinding").values()}
    assert bound == set(policies)


def test_two_replicas_stay_two(manifests: list[Manifest]) -> None:
    (deployment,) = of_kind(manifests, "Deployment").values()
    (budget,) = of_kind(manifests, "PodDisruptionBudget").values()
    assert deployment["spec"]["replicas"] == 2
    assert budget["spec"]["minAvailable"] == 1
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    selector = budget["spec"]["selector"]["matchLabels"]
    assert selector.items() <= labels.items()
    assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()


def test_the_injector_passes_the_restricted_level(manifests: list[Manifest]) -> None:
    (deployment,) = of_kind(manifests, "Deployment").values()
    pod = deployment["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    for container in pod["containers"]:
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"]
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["requests"]
        assert container["resources"]["limits"]


def test_its_settings_are_ones_that_it_knows(manifests: list[Manifest]) -> None:
    (deployment,) = of_kind(manifests, "Deployment").values()
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    fields = {
        "metadata.namespace": NAMESPACE,
        "metadata.name": "podkey-injector-0",
        "spec.serviceAccountName": "podkey-injector",
    }
    environment = {
        one["name"]: one["value"] if "value" in one else fields[one["valueFrom"]["fieldRef"]["fieldPath"]]
        for one in container["env"]
    }
    settings = read_injector_settings(environment)
    assert not isinstance(settings, tuple), settings
    assert settings.pods.own_namespace == NAMESPACE


def test_settings_for_sidecars_are_passed_on() -> None:
    (deployment,) = of_kind(
        render({"sidecar": {"settings": {"PODKEY_LOG_LEVEL": "debug"}}}), "Deployment"
    ).values()
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    (variable,) = [one for one in container["env"] if one["name"] == "PODKEY_INJECTOR_SIDECAR_ENVIRONMENT"]
    assert variable["value"].split() == ["PODKEY_LOG_LEVEL=debug"]


def test_cert_manager_takes_the_place_of_our_own_authority() -> None:
    manifests = render(CERT_MANAGER)
    (deployment,) = of_kind(manifests, "Deployment").values()
    (certificate,) = of_kind(manifests, "Certificate").values()
    pod = deployment["spec"]["template"]["spec"]
    names = {one["name"]: one.get("value") for one in pod["containers"][0]["env"]}
    assert names["PODKEY_INJECTOR_CERTIFICATE_DIR"] == "/var/run/podkey-injector/tls"
    assert pod["volumes"][-1]["secret"]["secretName"] == certificate["spec"]["secretName"]
    for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"):
        (webhook,) = of_kind(manifests, kind).values()
        reference = webhook["metadata"]["annotations"]["cert-manager.io/inject-ca-from"]
        assert reference == f"{NAMESPACE}/{certificate['metadata']['name']}"


def test_the_way_to_the_webhooks_can_be_closed() -> None:
    assert of_kind(render(), "NetworkPolicy") == {}
    closed = {"networkPolicy": {"enabled": True, "apiServerCIDRs": ["192.0.2.0/24"]}}
    (policy,) = of_kind(render(closed), "NetworkPolicy").values()
    assert policy["spec"]["ingress"] == [
        {"from": [{"ipBlock": {"cidr": "192.0.2.0/24"}}], "ports": [{"port": 8443, "protocol": "TCP"}]}
    ]
    with pytest.raises(AssertionError, match="apiServerCIDRs"):
        render({"networkPolicy": {"enabled": True}})


def test_with_cert_manager_the_injector_cannot_touch_webhooks() -> None:
    rules = of_kind(render(CERT_MANAGER), "ClusterRole")["podkey-injector"]["rules"]
    assert not any("admissionregistration.k8s.io" in rule["apiGroups"] for rule in rules)


def test_the_release_can_do_what_it_must_and_little_else() -> None:
    manifests = render()
    rules = of_kind(manifests, "ClusterRole")["podkey-injector"]["rules"]
    assert not any("*" in rule["verbs"] + rule["resources"] + rule["apiGroups"] for rule in rules)
    # Secrets: its own authority, in its own namespace.
    assert not any("secrets" in rule["resources"] for rule in rules)
    (role,) = of_kind(manifests, "Role").values()
    named = [rule for rule in role["rules"] if "secrets" in rule["resources"] and rule["verbs"] != ["create"]]
    assert [rule["resourceNames"] for rule in named] == [["podkey-injector-ca"]]


def test_the_kinds_of_policies_come_with_the_chart() -> None:
    assert sorted(path.name for path in (Path(CHART) / "crds").iterdir()) == [
        "accesspolicies.yaml",
        "credentialsources.yaml",
    ]
