"""The container that holds what the application does not: its environment, mounts, probes and walls."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from injector.core.intent import Wish
from injector.craft.endpoints import render_endpoints
from injector.craft.measures import Measures
from injector.craft.volumes import sidecar_mounts
from injector.reading.settled import SETTLED
from proxy.core import contract
from proxy.core.policy import Mode
from proxy.core.settings import Capture
from proxy.documents import settings_table as table
from proxy.documents.settings import REDIRECT

COMMAND: Final = ("podkey", "run")
ADMIN_PORT_NAME: Final = "podkey-admin"

# Pod Security's `restricted`, to the word.
SECURITY: Final[Mapping[str, Any]] = {
    "runAsUser": contract.PROXY_UID,
    "runAsGroup": contract.PROXY_UID,
    "runAsNonRoot": True,
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
# The kubelet starts what stands behind a native sidecar when this has succeeded once. Two minutes: it waits
# for the keys of the issuer, and on a new node for a slow API server.
_STARTUP: Final = {"periodSeconds": 1, "timeoutSeconds": 1, "failureThreshold": 120}
# A minute without an answer. There is no readinessProbe: a sidecar that waits for a new token must not take
# the application out of its Services, whose calls may have nothing to do with it.
_LIVENESS: Final = {"periodSeconds": 10, "timeoutSeconds": 1, "failureThreshold": 6}

# Fields of the pod that the downward API fills in; the admin port must be the pod's own address, for the
# kubelet and Prometheus come from outside.
FIELDS: Final[Mapping[str, str]] = {
    table.NAMESPACE_NAME.name: "metadata.namespace",
    table.SERVICE_ACCOUNT.name: "spec.serviceAccountName",
    table.POD_NAME.name: "metadata.name",
    table.POD_UID.name: "metadata.uid",
    table.NODE_NAME.name: "spec.nodeName",
    table.ADMIN_ADDRESS.name: "status.podIP",
}
_FILES: Final[Mapping[str, str]] = {
    table.LABELS_FILE.name: contract.LABELS_FILE,
    table.OWNER_FILE.name: contract.OWNER_FILE,
    table.IMAGES_FILE.name: contract.IMAGES_FILE,
    table.PLACEHOLDERS_FILE.name: contract.PLACEHOLDERS_FILE,
}


def sidecar_container(measures: Measures, resources: Mapping[str, Any]) -> Mapping[str, Any]:
    """As every pod of these measures has it: `with_token` writes what is the pod's own."""
    sidecar = measures.sidecar
    return {
        "name": contract.SIDECAR_CONTAINER,
        "image": sidecar.image,
        "imagePullPolicy": sidecar.image_pull_policy,
        "command": list(COMMAND),
        # What makes an init container go on running; kubelets before 1.29 do not know it.
        **({"restartPolicy": "Always"} if measures.native else {}),
        "ports": [{"name": ADMIN_PORT_NAME, "containerPort": contract.ADMIN_PORT, "protocol": "TCP"}],
        "env": list(_env(measures)),
        **({"resources": resources} if resources else {}),
        "volumeMounts": list(sidecar_mounts(measures.needs)),
        "startupProbe": _probe("/readyz", _STARTUP),
        "livenessProbe": _probe("/healthz", _LIVENESS),
        "securityContext": SECURITY,
    }


def with_token(container: Mapping[str, Any], token: str) -> Mapping[str, Any]:
    """Where the sidecar has endpoints: the path segment that their callers must know."""
    name = table.ENDPOINT_TOKEN.name
    env = [{**entry, "value": token} if entry["name"] == name else entry for entry in container["env"]]
    return {**container, "env": env}


def _probe(path: str, times: Mapping[str, int]) -> Mapping[str, Any]:
    return {"httpGet": {"path": path, "port": contract.ADMIN_PORT, "scheme": "HTTP"}, **times}


def _env(measures: Measures) -> Iterator[Mapping[str, Any]]:
    sidecar = measures.sidecar
    for name, path in FIELDS.items():
        yield {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}
    values = {
        table.DISCOVERY_CA_FILE.name: f"{contract.TOKENS_DIR}/{contract.CLUSTER_CA_PATH}",
        # The platform's, which may name another issuer, but none that would contradict the rest of the pod.
        **{n: v for n, v in sidecar.environment.items() if n not in SETTLED and n not in REDIRECT},
        table.CAPTURE.name: ",".join(way.value for way in Capture if way in measures.capture),
        # Written either way, so that it can be mended when another webhook adds an accelerator.
        table.GPU.name: "true" if measures.accelerated else "false",
        **{name: f"{contract.POD_DIR}/{file}" for name, file in _FILES.items()},
    }
    if sidecar.cluster:
        values[table.CLUSTER.name] = sidecar.cluster
    if measures.intent.wish is Wish.OBSERVE:
        values[table.MODE.name] = Mode.OBSERVE.value
    if Capture.ENDPOINT in measures.capture:
        values[table.ENDPOINTS.name] = render_endpoints(measures.endpoints)
        values[table.ENDPOINT_TOKEN.name] = ""
    for name, value in sorted(values.items()):
        yield {"name": name, "value": value}
