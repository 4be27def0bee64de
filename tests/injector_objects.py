"""Objects that tests of the running injector apply, made short, and what they look for in the answers."""

from collections.abc import Iterable, Mapping
from typing import Any, Final, Protocol

from proxy.core.contract import (
    ACCESS_POLICY,
    API_VERSION,
    CREDENTIAL_SOURCE,
    INJECT,
    POLICY_CONFIG_MAP,
    POLICY_KEY,
    REDIRECT_CONTAINER,
    SIDECAR_CONTAINER,
)
from tests.api_server_client import ApiClient
from tests.sidecar_process import wait_for

# Without any cause for a warning.
APP: Final[Mapping[str, Any]] = {
    "name": "app",
    "image": "registry.test/app:1",
    "securityContext": {"runAsUser": 1000},
}
POLICIES: Final = f"{API_VERSION}/accesspolicies"
SOURCES: Final = f"{API_VERSION}/credentialsources"
# A namespace or a policy that was just written is known a moment later.
PATIENCE: Final = 30.0

type Json = dict[str, Any]


class Server(Protocol):
    """An API server: `tests/api_server.py` or a real cluster's."""

    admin: ApiClient

    def new_namespace(self, prefix: str = ..., labels: Mapping[str, str] = ...) -> str: ...


class Running(Protocol):
    """A cluster where the injector runs."""

    @property
    def server(self) -> Server: ...


# --- workloads ------------------------------------------------------------------------------------


def template(*containers: Mapping[str, Any], labels: Mapping[str, str] | None = None, **spec: Any) -> Json:
    annotations = spec.pop("annotations", {})
    return {
        "metadata": {"labels": dict(labels or {}), "annotations": annotations},
        "spec": {"containers": [{**APP, **one} for one in containers or ({},)], **spec},
    }


def pod(name: str, *containers: Mapping[str, Any], **spec: Any) -> Json:
    """A name that ends with a hyphen is a `generateName`."""
    made = {"apiVersion": "v1", "kind": "Pod", **template(*containers, **spec)}
    made["metadata"]["generateName" if name.endswith("-") else "name"] = name
    return made


def job(name: str, *containers: Mapping[str, Any], **spec: Any) -> Json:
    made = template(*containers, restartPolicy="Never", **spec)
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": {"template": made}}


def replicated(kind: str, name: str, **more: Any) -> Json:
    """A Deployment, a StatefulSet or a DaemonSet."""
    labels = {"app": name}
    spec = {"selector": {"matchLabels": labels}, "template": template(labels=labels), **more}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


# --- documents ------------------------------------------------------------------------------------


def document(kind: str, name: str, spec: Mapping[str, Any]) -> Json:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": dict(spec)}


def policy(name: str, *grants: Mapping[str, Any], **workloads: Any) -> Json:
    spec = {"workloads": workloads or {"serviceAccounts": ["default"]}, "grants": list(grants or (grant(),))}
    return document(ACCESS_POLICY, name, spec)


def grant(host: str = "api.example.com", credential: str = "token", **more: Any) -> Json:
    return {"hosts": [host], "credential": credential, **more}


def source(name: str = "token", secret: str = "api-token") -> Json:
    spec = {"mountedSecret": {"secretName": secret, "key": "token"}, "attach": {"bearer": {}}}
    return document(CREDENTIAL_SOURCE, name, spec)


def exchange(name: str, audience: str) -> Json:
    """A source that mounts no Secret, but a token for the audience."""
    spec = {
        "tokenExchange": {"tokenUrl": "https://login.example.com/token", "subjectAudience": audience},
        "attach": {"bearer": {}},
    }
    return document(CREDENTIAL_SOURCE, name, spec)


# --- the cluster's answers ------------------------------------------------------------------------


def enabled(running: Running, value: str = "all", **labels: str) -> str:
    """A namespace whose pods get sidecars, as soon as they do."""
    namespace = running.server.new_namespace(labels={INJECT: value, **labels})
    probe = pod("probe", annotations={INJECT: "enabled"})
    admin = running.server.admin

    def look() -> bool:
        answer = admin.create(probe, namespace, dry_run=True)
        return answer.ok and has_sidecar(answer.object)

    wait_for(look, f"sidecars in {namespace}", PATIENCE)
    return namespace


def every_container(found: Mapping[str, Any]) -> list[Json]:
    spec = found["spec"]
    return [*(spec.get("initContainers") or ()), *spec["containers"]]


def container(found: Mapping[str, Any], name: str) -> Json:
    (one,) = (one for one in every_container(found) if one["name"] == name)
    return one


def has_sidecar(found: Mapping[str, Any]) -> bool:
    return SIDECAR_CONTAINER in {one["name"] for one in every_container(found)}


def users(found: Mapping[str, Any]) -> list[Json]:
    """The containers that are not ours."""
    ours = {SIDECAR_CONTAINER, REDIRECT_CONTAINER}
    return [one for one in every_container(found) if one["name"] not in ours]


def variables(found: Mapping[str, Any]) -> dict[str, str]:
    return {entry["name"]: entry.get("value", "") for entry in found.get("env") or ()}


def condition(running: Running, resource: str, name: str, namespace: str, kind: str) -> str:
    """`True InForce`; empty where there is none yet, or only one of an older generation."""
    found = running.server.admin.get(resource, name, namespace=namespace).object
    status = found.get("status") or {}
    if status.get("observedGeneration") != found["metadata"]["generation"]:
        return ""
    words = [f"{one['status']} {one['reason']}" for one in status["conditions"] if one["type"] == kind]
    return words[0] if words else ""


def compiled(running: Running, namespace: str) -> str:
    """What sidecars of the namespace are given; empty before there is anything."""
    found = running.server.admin.get("v1/configmaps", POLICY_CONFIG_MAP, namespace=namespace)
    return str(found.object["data"][POLICY_KEY]) if found.ok else ""


def wait_compiled(running: Running, namespace: str, *names: str, without: Iterable[str] = ()) -> str:
    """As soon as it has all of these words, and none of the others."""

    def look() -> str:
        text = compiled(running, namespace)
        is_it = text and all(n in text for n in names) and not any(n in text for n in without)
        return text if is_it else ""

    return wait_for(look, f"{names} and not {without} in {namespace}", PATIENCE)


def events(running: Running, namespace: str, reason: str = "") -> list[Json]:
    found = running.server.admin.items("v1/events", namespace=namespace)
    return [one for one in found if one["reason"].startswith("Podkey") and reason in one["reason"]]
