"""Who may write policies about other namespaces: whoever may write into podkey's own.

In a folder everybody is one. In a cluster a team owns its namespace and no other one, so a namespace selector
of theirs would reach into namespaces that are not theirs.
"""

from collections.abc import Iterable, Iterator

from proxy.core.credentials import CredentialRef, CredentialSource
from proxy.core.policy import AccessPolicy
from proxy.core.source_needs import secret_keys_of
from proxy.documents.placed import Placed
from proxy.documents.problems import Problem, ProblemCode
from proxy.documents.reading import MAX_PROBLEMS


def check_cluster_wide(
    policies: Iterable[Placed[AccessPolicy]],
    sources: Iterable[Placed[CredentialSource]],
    own_namespace: str,
) -> list[Problem]:
    """Cluster-wide policies in other namespaces than podkey's, and what pods elsewhere could not use."""
    kinds = {placed.value.ref: placed.value.kind for placed in sources}
    secrets = {ref: min(keys) for ref, kind in kinds.items() if (keys := secret_keys_of(kind))}
    problems: list[Problem] = []
    for placed in policies:
        if placed.value.is_cluster_wide:
            if placed.value.namespace != own_namespace:
                problems.append(_not_yours(placed, own_namespace))
            else:
                problems.extend(_mounted(placed, secrets))
    return problems[:MAX_PROBLEMS]


def _not_yours(policy: Placed[AccessPolicy], own_namespace: str) -> Problem:
    message = f"only policies in podkey's own namespace, `{own_namespace}`, may be about other namespaces"
    fix = "remove `namespaceSelector`: the policy is then about pods of its own namespace"
    if policy.value.limits is not None:
        fix = f"move the policy to `{own_namespace}`: limits are for who looks after podkey in this cluster"
    path = "spec.workloads.namespaceSelector"
    return policy.problem(ProblemCode.NOT_ALLOWED_HERE, message, fix, path)


def _mounted(policy: Placed[AccessPolicy], secrets: dict[CredentialRef, str]) -> Iterator[Problem]:
    for index, grant in enumerate(policy.value.grants):
        secret = secrets.get(CredentialRef(policy.value.namespace, grant.credential))
        if secret is not None:
            message = (
                f"the CredentialSource `{grant.credential}` mounts the Secret `{secret}`, and pods can only "
                "mount Secrets of their own namespace"
            )
            fix = "use a source that exchanges the pod's token, or one in each namespace with its own policy"
            code = ProblemCode.NOT_ALLOWED_HERE
            yield policy.grant_problem(index, code, message, fix, "credential")
