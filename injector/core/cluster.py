"""What is known of the cluster when a pod is judged: from caches, never asked for at that time."""

from collections.abc import Mapping
from enum import Enum

from proxy.core.structs import Struct, field


class NamespaceInjection(Enum):
    """The namespace's label `podkey.io/inject`."""

    # Pods that ask for accelerators, or that a policy selects.
    ENABLED = "enabled"
    ALL = "all"
    DISABLED = "disabled"


class PodSecurity(Enum):
    """The level that the namespace enforces (`pod-security.kubernetes.io/enforce`)."""

    PRIVILEGED = "privileged"
    BASELINE = "baseline"
    RESTRICTED = "restricted"


# kubernetes.io/docs/concepts/security/pod-security-standards: `baseline` lists the capabilities that may be
# added, and NET_ADMIN is none of them.
ALLOWS_REDIRECT = frozenset({PodSecurity.PRIVILEGED})
ENFORCE_LABEL = "pod-security.kubernetes.io/enforce"


class Namespace(Struct, frozen=True):
    """A namespace as it was last seen. What its labels mean is read by `reading/namespaces.py`."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)


class ClusterFacts(Struct, frozen=True):
    # Whether every kubelet knows `restartPolicy: Always` of init containers (1.29).
    native_sidecars: bool = True


class PodNeeds(Struct, frozen=True):
    """What the policies that select a pod need in it. All of it sorted, so that it is the same each time."""

    # `namespace/name`
    policies: tuple[str, ...] = ()
    # Of the catalogue, by name.
    services: tuple[str, ...] = ()
    # Ports of grants that name hosts or services.
    ports: tuple[int, ...] = ()
    # Audiences of projected tokens, without podkey's own.
    audiences: tuple[str, ...] = ()
    # Secrets of the pod's own namespace, and which of their keys.
    secrets: tuple[tuple[str, tuple[str, ...]], ...] = ()
