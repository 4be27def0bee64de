"""What somebody asked a real API server for, by its audit log, beside what the chart's roles let them do."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.helm_chart import NAMESPACE, Manifest


class Right(NamedTuple):
    """`name` is empty where a rule does not say it, and for lists; `namespace` where it is for all."""

    verb: str
    group: str
    resource: str
    name: str
    namespace: str


POLICY: Final = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy"}


def audit_arguments(folder: Path, user: str) -> list[str]:
    """Of kube-apiserver. The log is `folder/audit.log`."""
    rules = [{"level": "Metadata", "users": [user]}, {"level": "None"}]
    file = folder / "audit-policy.json"
    file.write_text(json.dumps({**POLICY, "omitStages": ["RequestReceived"], "rules": rules}))
    return [f"--audit-policy-file={file}", f"--audit-log-path={folder / 'audit.log'}"]


def asked_for(folder: Path) -> set[Right]:
    found = set()
    for line in (folder / "audit.log").read_text().splitlines():
        event = json.loads(line)
        what = event.get("objectRef", {})
        resource = "/".join(filter(None, [what.get("resource", ""), what.get("subresource")]))
        name, namespace = what.get("name", ""), what.get("namespace", "")
        found.add(Right(event["verb"], what.get("apiGroup", ""), resource, name, namespace))
    return found


def granted(manifests: Iterable[Manifest]) -> Iterator[Right]:
    """By the injector's own roles."""
    for one in manifests:
        if one["kind"] in {"Role", "ClusterRole"}:
            namespace = NAMESPACE if one["kind"] == "Role" else ""
            for rule in one["rules"]:
                yield from _of_rule(rule, namespace)


def _of_rule(rule: dict[str, Any], namespace: str) -> Iterator[Right]:
    for group in rule["apiGroups"]:
        for resource in rule["resources"]:
            for verb in rule["verbs"]:
                for name in rule.get("resourceNames", [""]):
                    yield Right(verb, group, resource, name, namespace)


def covers(grant: Right, use: Right) -> bool:
    """Whether this one was needed for it."""
    same = grant[:3] == use[:3]
    return same and grant.name in {"", use.name} and grant.namespace in {"", use.namespace}
