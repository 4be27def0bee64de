"""What a namespace's labels say: whether its pods get a sidecar, and which Pod Security level it enforces."""

from typing import Final

from injector.core.cluster import ENFORCE_LABEL, Namespace, NamespaceInjection, PodSecurity
from injector.core.outcome import Finding
from injector.reading.pod_fields import shown
from proxy.core.contract import INJECT
from proxy.core.injection_codes import InjectionCode
from proxy.documents.problems import did_you_mean

_INJECTION: Final = {member.value: member for member in NamespaceInjection}
_LEVELS: Final = {member.value: member for member in PodSecurity}


def injection_of(namespace: Namespace) -> NamespaceInjection | Finding:
    label = namespace.labels.get(INJECT)
    if label is None:
        return NamespaceInjection.DISABLED
    if label in _INJECTION:
        return _INJECTION[label]
    return Finding(
        InjectionCode.BAD_NAMESPACE_LABEL,
        f"the label `{INJECT}` of namespace {shown(namespace.name)} is {shown(label)}",
        did_you_mean(label, _INJECTION),
    )


def pod_security_of(namespace: Namespace, default: PodSecurity) -> PodSecurity:
    """The level that the API server enforces: it takes a level that it does not know for `restricted`.

    That is `ParseLevel` of k8s.io/pod-security-admission/api.
    """
    label = namespace.labels.get(ENFORCE_LABEL)
    return default if label is None else _LEVELS.get(label, PodSecurity.RESTRICTED)
