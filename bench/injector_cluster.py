"""What stands in the cluster of bench/injector.py: namespaces, policies and sources, and a pod to review."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from bench.injector_ends import Cluster

API: Final = "podkey.io/v1alpha1"
OWN: Final = "podkey-system"
CAPTURED: Final = Path(__file__).parents[1] / "tests" / "data" / "k8s" / "admissionreviews"
# Teams share sources among their policies.
SOURCES = 10


def policy(number: int, namespace: str, *, host: str = "") -> dict[str, Any]:
    account = "trainer" if number % 25 == 0 else f"trainer-{number}"
    source = number % SOURCES
    service: dict[str, Any] = {"service": "openai", "credential": "key-0"}
    if number:
        service = {
            "service": "s3",
            "buckets": [f"datasets-{number}"],
            "prefixes": ["imagenet/", "laion/"],
            "access": ["read", "list"],
            "credential": f"s3-{source}",
        }
    name = host or f"api-{number}.example.com"
    rest = {
        "hosts": [name],
        "methods": ["GET", "POST"],
        "paths": ["/v1/**"],
        "credential": f"key-{source}",
    }
    workloads = {"serviceAccounts": [account], "podSelector": {"matchLabels": {"app": "train"}}}
    spec = {"workloads": workloads, "grants": [service, rest]}
    return document("AccessPolicy", f"train-{number}", namespace, spec)


def sources(namespace: str) -> Iterator[dict[str, Any]]:
    for number in range(SOURCES):
        keys = {"accessKeyId": "id", "secretAccessKey": "key"}
        spec: dict[str, Any] = {"mountedSecret": {"secretName": f"s3-{number}", "keys": keys}}
        yield document("CredentialSource", f"s3-{number}", namespace, spec)
        spec = {
            "mountedSecret": {"secretName": f"key-{number}", "key": "token"},
            "attach": {"bearer": {}},
        }
        yield document("CredentialSource", f"key-{number}", namespace, spec)


def document(kind: str, name: str, namespace: str, spec: object) -> dict[str, Any]:
    metadata = {
        "name": name,
        "namespace": namespace,
        "generation": 1,
        # As kubectl leaves it: what the API server keeps of who wrote what.
        "managedFields": [{"manager": "kubectl", "operation": "Apply", "fieldsV1": {"f:spec": spec}}],
    }
    return {"apiVersion": API, "kind": kind, "metadata": metadata, "spec": spec}


def namespace_object(name: str) -> dict[str, Any]:
    labels = {"kubernetes.io/metadata.name": name, "podkey.io/inject": "enabled"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def fill(cluster: Cluster, sizes: dict[str, int]) -> None:
    """Namespaces with so many policies each."""
    for name, size in sizes.items():
        cluster.put("namespaces", namespace_object(name))
        for one in sources(name):
            cluster.put("credentialsources", one)
        for number in range(size):
            cluster.put("accesspolicies", policy(number, name))
    node = {"metadata": {"name": "gpu-1"}, "status": {"nodeInfo": {"kubeletVersion": "v1.36.0"}}}
    cluster.put("nodes", node)
    for kind in ("mutatingwebhookconfigurations", "validatingwebhookconfigurations"):
        webhook: dict[str, Any] = {"name": "pods.podkey.io", "clientConfig": {}}
        cluster.put(kind, {"metadata": {"name": "podkey-injector"}, "webhooks": [webhook]})


def gpu_job_pod(namespace: str) -> bytes:
    """A review as it was captured: a pod that asks for GPUs, made by a Job."""
    whole: dict[str, Any] = json.loads((CAPTURED / "gpu-nvidia.json").read_bytes())
    job: dict[str, Any] = json.loads((CAPTURED / "job.json").read_bytes())
    pod, owned = whole["request"]["object"], job["request"]["object"]
    metadata = pod["metadata"]
    for key in ("ownerReferences", "labels", "generateName"):
        if key in owned["metadata"]:
            metadata[key] = owned["metadata"][key]
    metadata["namespace"] = whole["request"]["namespace"] = namespace
    pod["spec"]["serviceAccountName"] = pod["spec"]["serviceAccount"] = "trainer"
    return json.dumps(whole).encode()
