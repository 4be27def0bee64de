"""Policies and sources as objects of a cluster, made short, and a book of them."""

from collections.abc import Iterable, Mapping
from typing import Any

from injector.core.cluster import Namespace
from injector.core.documents import RawDocument
from injector.engine.compile import compile_namespace
from injector.engine.holdings import Compiled, DocumentKey, Standing
from injector.engine.policy_book import PolicyBook
from proxy.core.contract import ACCESS_POLICY, API_VERSION, CREDENTIAL_SOURCE, NAMESPACE_NAME_LABEL
from proxy.services.loader import built_in_catalogue

OWN = "podkey-system"
GPU = Namespace("ml", {NAMESPACE_NAME_LABEL: "ml", "team": "vision"})

Json = dict[str, Any]


def raw(
    kind: str,
    spec: object,
    *,
    name: str = "p",
    namespace: str = "ml",
    uid: str = "",
    generation: int = 1,
    status: object = None,
) -> RawDocument:
    document: Json = {
        "apiVersion": API_VERSION,
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }
    if status is not None:
        document["status"] = status
    uid = uid or f"uid-of-{namespace}-{name}"
    return RawDocument(kind, namespace, name, uid, generation, "1", document)


def grant(host: str = "api.example.com", credential: str = "one", **more: object) -> Json:
    return {"hosts": [host], "credential": credential, **more}


def policy(
    *grants: Json, accounts: Iterable[str] = ("trainer",), workloads: Json | None = None, **naming: Any
) -> RawDocument:
    who = {"serviceAccounts": list(accounts)} if workloads is None else workloads
    return raw(ACCESS_POLICY, {"workloads": who, "grants": list(grants or (grant(),))}, **naming)


def wide(*grants: Json, labels: Mapping[str, str] | None = None, **naming: Any) -> RawDocument:
    """A cluster-wide policy, for namespaces with these labels."""
    selector = {"matchLabels": dict(labels or {"team": "vision"})}
    who = {"serviceAccounts": ["*"], "namespaceSelector": selector}
    return policy(*grants, workloads=who, **{"namespace": OWN, "name": "w", **naming})


def limits(*hosts: str, services: Iterable[str] = (), **naming: Any) -> RawDocument:
    said = {key: list(value) for key, value in (("hosts", hosts), ("services", services)) if value}
    selector = {"matchLabels": {"team": "vision"}}
    spec = {"workloads": {"namespaceSelector": selector}, "limits": said}
    return raw(ACCESS_POLICY, spec, **{"namespace": OWN, "name": "limits", **naming})


def source(name: str = "one", *, secret: str = "s", **naming: Any) -> RawDocument:
    spec = {"mountedSecret": {"secretName": secret, "key": "token"}, "attach": {"bearer": {}}}
    return raw(CREDENTIAL_SOURCE, spec, name=name, **naming)


def exchange(name: str = "one", *, audience: str = "sts", **naming: Any) -> RawDocument:
    """A source that mounts nothing, such as cluster-wide policies need."""
    spec = {
        "tokenExchange": {
            "tokenUrl": "https://login.example.com/token",
            "subjectAudience": audience,
        },
        "attach": {"bearer": {}},
    }
    return raw(CREDENTIAL_SOURCE, spec, name=name, **naming)


def broken(document: RawDocument, generation: int = 2) -> RawDocument:
    """An edit that does not read."""
    spec = {"nonsense": True}
    return RawDocument(
        document.kind,
        document.namespace,
        document.name,
        document.uid,
        generation,
        "2",
        {**document.document, "spec": spec},
    )


def key(document: RawDocument) -> DocumentKey:
    return DocumentKey(document.kind, document.namespace, document.name)


def book(*documents: RawDocument) -> PolicyBook:
    made = PolicyBook(built_in_catalogue(), OWN)
    for document in documents:
        made.upsert(document)
    return made


def compiled(
    *documents: RawDocument, previous: Compiled | str | None = None, namespace: Namespace = GPU
) -> Compiled:
    return compile_namespace(namespace, book(*documents), previous)


def standings(result: Compiled) -> dict[str, str]:
    """`ml/p` -> `current`, `older 1` or `left_out`."""
    return {
        f"{key.namespace}/{key.name}": report.standing.value
        + (f" {report.generation}" if report.standing is Standing.OLDER else "")
        for key, report in result.reports.items()
    }
