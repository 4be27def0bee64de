from typing import Any

import pytest

from proxy.documents.cluster_wide import check_cluster_wide
from proxy.documents.placed import Placed
from proxy.documents.problems import Problem, ProblemCode
from proxy.documents.reader import ReadDocument, read_object
from proxy.documents.reading import MAX_PROBLEMS

OWN = "podkey-system"
TENANTS = {"matchLabels": {"tenant": "yes"}}


def document(kind: str, namespace: str, name: str, spec: dict[str, Any]) -> ReadDocument:
    head = {"apiVersion": "podkey.io/v1alpha1", "kind": kind}
    value = {**head, "metadata": {"name": name, "namespace": namespace}, "spec": spec}
    found = read_object(value, f"{kind}/{namespace}/{name}")
    assert found.problems == ()
    return found


def granting(namespace: str, *credentials: str, wide: bool = True) -> ReadDocument:
    who = {"serviceAccounts": ["*"], **({"namespaceSelector": TENANTS} if wide else {})}
    names = enumerate(credentials or ("one",), 1)
    grants = [{"service": "openai", "ports": [port], "credential": name} for port, name in names]
    return document("AccessPolicy", namespace, "p", {"workloads": who, "grants": grants})


def limiting(namespace: str) -> ReadDocument:
    spec = {"workloads": {"namespaceSelector": TENANTS}, "limits": {"services": ["openai"]}}
    return document("AccessPolicy", namespace, "l", spec)


MOUNTED = {"mountedSecret": {"secretName": "openai", "key": "token"}}
EXCHANGED = {
    "llmWorkloadIdentity": {"openai": {"identityProviderId": "idp_1", "serviceAccountId": "user-1"}},
}


def source(name: str, spec: dict[str, Any], namespace: str = OWN) -> ReadDocument:
    return document("CredentialSource", namespace, name, spec)


def problems_of(*documents: ReadDocument) -> list[Problem]:
    placed = [one.placed for one in documents if one.placed is not None]
    policies: list[Placed[Any]] = [one for one in placed if one.file.startswith("AccessPolicy")]
    sources: list[Placed[Any]] = [one for one in placed if one not in policies]
    return check_cluster_wide(policies, sources, OWN)


def test_policies_of_podkeys_own_namespace_may_be_about_others() -> None:
    assert problems_of(granting(OWN), limiting(OWN), source("one", EXCHANGED)) == []


def test_policies_about_their_own_namespace_may_be_anywhere_and_mount_secrets() -> None:
    documents = [granting(space, wide=False) for space in ("ml", OWN)]
    sources = [source("one", MOUNTED, space) for space in ("ml", OWN)]
    assert problems_of(*documents, *sources) == []


@pytest.mark.parametrize(
    ("policy", "fix"),
    [
        (granting("ml"), "remove `namespaceSelector`: the policy is then about pods of its own namespace"),
        (limiting("ml"), "move the policy to `podkey-system`: limits are for who looks after podkey"),
    ],
)
def test_nobody_else_may_be_about_other_namespaces(policy: ReadDocument, fix: str) -> None:
    (problem,) = problems_of(policy, source("one", EXCHANGED, "ml"))
    assert (problem.code, problem.line) == (ProblemCode.NOT_ALLOWED_HERE, 0)
    assert problem.path == "spec.workloads.namespaceSelector"
    assert "only policies in podkey's own namespace, `podkey-system`, may be" in problem.message
    assert problem.fix.startswith(fix)


def test_a_secret_cannot_be_mounted_in_pods_of_other_namespaces() -> None:
    (problem,) = problems_of(
        granting(OWN, "two", "one", "gone"), source("one", MOUNTED), source("two", EXCHANGED)
    )
    assert (problem.code, problem.path) == (ProblemCode.NOT_ALLOWED_HERE, "spec.grants[1].credential")
    assert problem.message.startswith("the CredentialSource `one` mounts the Secret `openai`, and pods can")
    assert "exchanges the pod's token" in problem.fix


def test_a_secret_of_the_same_name_elsewhere_is_another_one() -> None:
    assert problems_of(granting(OWN), source("one", EXCHANGED), source("one", MOUNTED, "ml")) == []


def test_no_more_is_told_than_anybody_mends() -> None:
    many = granting(OWN, *["one"] * (MAX_PROBLEMS + 1))
    assert len(problems_of(many, source("one", MOUNTED))) == MAX_PROBLEMS
