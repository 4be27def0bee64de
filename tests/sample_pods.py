"""Pods as tests of the injector write them: short, and read as the API server would send them."""

from collections.abc import Mapping
from typing import Any

from injector.reading.pods import Pod, read_pod

# What a container needs to be no subject of any danger or warning.
SOUND: Mapping[str, Any] = {
    "name": "app",
    "image": "registry.test/app:1",
    "securityContext": {"runAsUser": 1000},
}


def raw_pod(*containers: Mapping[str, Any], **spec: Any) -> dict[str, Any]:
    """A pod of the containers; `annotations` and `labels` go where they belong, the rest into the spec."""
    metadata = {name: spec.pop(name) for name in ("annotations", "labels", "ownerReferences") if name in spec}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": "train-", **metadata},
        "spec": {
            "containers": [{**SOUND, **container} for container in containers or ({},)],
            # The API server fills it in, as it does much else.
            "schedulerName": "default-scheduler",
            **spec,
        },
    }


def sample_pod(*containers: Mapping[str, Any], **spec: Any) -> Pod:
    return read_pod(raw_pod(*containers, **spec), "ml")


def gpus(amount: object = "1", name: str = "nvidia.com/gpu") -> dict[str, Any]:
    """A container's resources."""
    return {"resources": {"limits": {name: amount}, "requests": {name: amount}}}
