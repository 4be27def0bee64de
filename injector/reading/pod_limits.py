"""How much of a kind a pod may have, told before any of it is looked at.

Kubernetes bounds most of this by the size of an object alone, and the API server asks us before it knows that
one is too large for etcd (1.5 MiB): the 3 MiB that a client may send hold 170,000 volumes.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from injector.reading.pod_fields import Place, PodFault, Raw, child, items

# Each container gets some 2 KiB of variables and a mount: a pod of more could not be stored with what we add.
MAX_CONTAINERS: Final = 750
# A node attaches some tens of disks; of volumes from the API, too, nobody has seen a hundred in one pod.
MAX_VOLUMES: Final = 1_000
# Kubernetes takes 256 KiB of them, keys and values together: 25 bytes for each.
MAX_ANNOTATIONS: Final = 10_000
# In all containers together. Pods with 3,000 variables exist; more than these, with real names and values,
# are larger than an object may be.
MAX_IN_CONTAINERS: Final[Mapping[str, int]] = {
    "env": 30_000,
    "envFrom": 30_000,
    "ports": 20_000,
    "volumeDevices": 20_000,
    "volumeMounts": 20_000,
}


def check_limits(metadata: Raw, spec: Raw, containers: Sequence[tuple[Place, Raw]]) -> None:
    """`containers` are those of all three lists, with their places."""
    _check("containers", MAX_CONTAINERS, len(containers))
    _check("volumes", MAX_VOLUMES, len(items(spec, "volumes", "spec")))
    _check("annotations", MAX_ANNOTATIONS, len(child(metadata, "annotations", "metadata")))
    for key, most in MAX_IN_CONTAINERS.items():
        count = sum([len(items(raw, key, place)) for place, raw in containers])
        _check(f"`{key}` in its containers", most, count)


def _check(what: str, most: int, count: int) -> None:
    if count > most:
        raise PodFault(f"the pod has {count} {what}, and may have {most}")
