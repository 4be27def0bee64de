"""Which pods a policy is about: asked by the sidecar for its own, and by the injector for every pod.

An empty selector selects nobody. Conditions on the selected pod (GPU, images, validity) are not asked here:
a pod that does not meet them is refused, and not left alone.
"""

from collections.abc import Mapping

from proxy.core.contract import NAMESPACE_NAME_LABEL
from proxy.core.labels import LabelSelector
from proxy.core.policy import EVERY_SERVICE_ACCOUNT, AccessPolicy
from proxy.core.structs import replace


def selects(
    policy: AccessPolicy,
    namespace: str,
    service_account: str,
    labels: Mapping[str, str],
    namespace_labels: Mapping[str, str],
) -> bool:
    """Whether the policy is about this pod: namespace, service account and labels.

    Limits are about what policies grant, and so about no pod.
    """
    who = policy.workloads
    accounts = who.service_accounts
    if not (accounts or who.pod_selector) or policy.limits is not None:
        return False
    if accounts and service_account not in accounts and EVERY_SERVICE_ACCOUNT not in accounts:
        return False
    if not selects_namespace(policy, namespace, namespace_labels):
        return False
    return who.pod_selector is None or who.pod_selector.matches(labels)


def selects_namespace(policy: AccessPolicy, namespace: str, labels: Mapping[str, str]) -> bool:
    """Whether it is about pods of this namespace or, with limits, about its policies."""
    namespaces = policy.workloads.namespaces
    return policy.namespace == namespace if namespaces is None else namespaces.matches(labels)


def resolved(policy: AccessPolicy, namespace: str, labels: Mapping[str, str]) -> AccessPolicy:
    """As sidecars of the namespace are given it, who know its name and none of its other labels."""
    if not policy.is_cluster_wide or not selects_namespace(policy, namespace, labels):
        return policy
    named = LabelSelector(((NAMESPACE_NAME_LABEL, namespace),))
    return replace(policy, workloads=replace(policy.workloads, namespaces=named))
