"""The chart renders on the oldest Helm, for old and new clusters, into objects that Kubernetes knows."""

from pathlib import Path
from typing import Any

import pytest

from injector.reading.settings import read_injector_settings
from tests.helm_chart import CHART, MISSING, NAMESPACE, VALUES, Manifest, helm, of_kind, render, values_of
from tests.object_schemas import faults_of

pytestmark = pytest.mark.skipif(bool(MISSING), reason=MISSING)

CERT_MANAGER = {"certificates": {"issuer": "cert-manager"}}


def test_helm_has_nothing_to_object() -> None:
    """Also where nobody tells it a namespace."""
    done = helm("lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("kubernetes", [f"1.{minor}" for minor in range(29, 38)])
@pytest.mark.parametrize("name", VALUES)
def test_every_object_is_one_that_kubernetes_knows(kubernetes: str, name: str) -> None:
    for manifest in render(values_of(name), f"{kubernetes}.0"):
        assert faults_of(manifest, kubernetes) == [], manifest["metadata"]["name"]


def test_a_wrong_field_would_be_noticed() -> None:
    (service,) = of_kind(render(), "Service").values()
    service = {**service, "spec": {**service["spec"], "sessionAfinity": "None"}}
    assert "sessionAfinity" in str(faults_of(service, "1.34"))
    (monitor,) = of_kind(render(values_of("monitored")), "PodMonitor").values()
    monitor = {**monitor, "spec": {**monitor["spec"], "endpoints": []}}
    assert "endpoints" in str(faults_of(monitor, "1.34"))


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
    policies = of_kind(render(closed), "NetworkPolicy")
    servers = {"ipBlock": {"cidr": "192.0.2.0/24"}}
    (asking,) = policies["podkey-injector-ingress"]["spec"]["ingress"]
    assert asking["ports"] == [{"port": 8443, "protocol": "TCP"}]
    assert asking["from"][0] == servers
    # The other peer is the pod of `helm test`, which has these labels and is not the injector.
    (test,) = [one for one in render(closed) if one["kind"] == "Pod"]
    peer = asking["from"][1]["podSelector"]["matchLabels"]
    assert peer.items() <= test["metadata"]["labels"].items()
    (deployment,) = of_kind(render(closed), "Deployment").values()
    assert not deployment["spec"]["selector"]["matchLabels"].items() <= test["metadata"]["labels"].items()
    (asked,) = policies["podkey-injector-egress"]["spec"]["egress"]
    assert asked["to"] == [servers]
    assert [one["port"] for one in asked["ports"]] == [443, 6443]
    assert [one["spec"]["policyTypes"] for one in policies.values()] == [["Egress"], ["Ingress"]]


@pytest.mark.parametrize(
    "network", ["192.0.2.0/24", "10.0.0.1/32", "::1/128", "::/1", "fd00::/8", "2001:db8:0:1:2:3:4:5/128"]
)
def test_a_network_stays_what_it_is(network: str) -> None:
    """`::/0` without quotes is a map to YAML."""
    closed = {
        "networkPolicy": {"enabled": True, "apiServerCIDRs": [network]},
        "cluster": {"cidrs": [network]},
    }
    policies = of_kind(render(closed), "NetworkPolicy")
    (asking,) = policies["podkey-injector-ingress"]["spec"]["ingress"]
    (asked,) = policies["podkey-injector-egress"]["spec"]["egress"]
    assert asking["from"][0] == asked["to"][0] == {"ipBlock": {"cidr": network}}


def test_two_on_different_nodes_are_preferred_or_required() -> None:
    def placed(spread: str, replicas: int = 2) -> tuple[list[str], dict[str, int]]:
        values = {"injector": {"spread": spread, "replicas": replicas}}
        (deployment,) = of_kind(render(values), "Deployment").values()
        spec = deployment["spec"]
        affinity = spec["template"]["spec"]["affinity"]["podAntiAffinity"]
        return list(affinity), spec["strategy"]["rollingUpdate"]

    one_more, one_less = {"maxUnavailable": 0, "maxSurge": 1}, {"maxUnavailable": 1, "maxSurge": 0}
    assert placed("preferred") == (["preferredDuringSchedulingIgnoredDuringExecution"], one_more)
    # On as many nodes as replicas there is no place for one more: an upgrade would wait for ever.
    assert placed("required") == (["requiredDuringSchedulingIgnoredDuringExecution"], one_less)
    assert placed("required", 1) == (["requiredDuringSchedulingIgnoredDuringExecution"], one_more)


def test_a_development_cluster_refuses_what_others_refuse() -> None:
    def walls(values: dict[str, Any]) -> list[Manifest]:
        kinds = ("WebhookConfiguration", "AdmissionPolicy", "AdmissionPolicyBinding", "Role", "ClusterRole")
        return [one for one in render(values) if one["kind"].endswith(kinds)]

    dev = render(values_of("dev"))
    assert walls(values_of("dev")) == walls({})
    assert of_kind(dev, "PodDisruptionBudget") == {}
    (deployment,) = of_kind(dev, "Deployment").values()
    assert deployment["spec"]["replicas"] == 1
    assert "priorityClassName" not in deployment["spec"]["template"]["spec"]


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
