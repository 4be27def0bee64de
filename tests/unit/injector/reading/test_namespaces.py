import pytest

from injector.core.cluster import ENFORCE_LABEL, Namespace, NamespaceInjection, PodSecurity
from injector.core.outcome import Finding
from injector.reading.namespaces import injection_of, pod_security_of
from proxy.core.contract import INJECT
from proxy.core.injection_codes import InjectionCode


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({}, NamespaceInjection.DISABLED),
        ({INJECT: "disabled"}, NamespaceInjection.DISABLED),
        ({INJECT: "enabled"}, NamespaceInjection.ENABLED),
        ({INJECT: "all"}, NamespaceInjection.ALL),
    ],
)
def test_the_label_says_which_pods_get_a_sidecar(
    labels: dict[str, str], expected: NamespaceInjection
) -> None:
    assert injection_of(Namespace("ml", labels)) is expected


@pytest.mark.parametrize("label", ["", "true", "Enabled", "enabeld", "x" * 5000])
def test_another_value_is_a_finding_that_says_what_to_write(label: str) -> None:
    found = injection_of(Namespace("ml", {INJECT: label}))
    assert isinstance(found, Finding)
    assert found.code is InjectionCode.BAD_NAMESPACE_LABEL
    assert "`ml`" in found.message
    assert "enabled" in found.fix
    assert len(str(found)) < 400


@pytest.mark.parametrize("level", PodSecurity)
def test_the_enforced_level_is_the_labels_else_the_clusters(level: PodSecurity) -> None:
    assert pod_security_of(Namespace("ml", {ENFORCE_LABEL: level.value}), PodSecurity.BASELINE) is level
    assert pod_security_of(Namespace("ml"), level) is level


def test_a_level_that_the_api_server_does_not_know_is_restricted_for_it_and_for_us() -> None:
    namespace = Namespace("ml", {ENFORCE_LABEL: "Privileged"})
    assert pod_security_of(namespace, PodSecurity.PRIVILEGED) is PodSecurity.RESTRICTED
