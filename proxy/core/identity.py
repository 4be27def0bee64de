"""Who the pod is: what a verified token and the injector say of it. Never an address."""

import dataclasses
import re
from collections.abc import Mapping
from enum import Enum

from proxy.core.structs import Struct

# sha256 is what every registry and the kubelet report today; sha512 is the other one that OCI registers.
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}").fullmatch
_REPOSITORY = re.compile(r"[a-z0-9]+(?:[._:/-]+[a-z0-9]+)*").fullmatch


def is_digest(text: str) -> bool:
    return _DIGEST(text) is not None


class ImageReference(Struct, frozen=True):
    """`registry.example.com/team/trainer:v1@sha256:…`, parted. A tag names nothing and is not kept."""

    repository: str
    digest: str | None = None

    @classmethod
    def parse(cls, text: str) -> "ImageReference | None":
        name, at, digest = text.partition("@")
        # A colon after the last slash starts a tag; one before it belongs to the registry's port.
        path, slash, last = name.rpartition("/")
        repository = path + slash + last.partition(":")[0]
        if not _REPOSITORY(repository) or (at and not is_digest(digest)):
            return None
        return cls(repository, digest or None)


class Claim(Enum):
    """What can be said of a pod, and so what somebody may or may not have vouched for."""

    NAMESPACE = "namespace"
    SERVICE_ACCOUNT = "serviceAccount"
    POD = "pod"
    NODE = "node"
    LABELS = "labels"
    OWNER = "owner"
    IMAGES = "images"


@dataclasses.dataclass(frozen=True, slots=True)
class WorkloadIdentity:
    """One pod. Built once and handed to every decision, so its hash is computed once."""

    namespace: str
    service_account: str
    cluster: str = ""
    pod_name: str = ""
    pod_uid: str = ""
    node: str = ""
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)
    images: tuple[ImageReference, ...] = ()
    wants_gpu: bool = False
    # What created the pod, such as `Job/train-resnet`.
    owner: str = ""
    # What a verified token vouches for. The rest is what the pod's own specification says: labels, owner and
    # images are in no token of Kubernetes.
    attested: frozenset[Claim] = frozenset()
    _hash: int = dataclasses.field(init=False, repr=False, compare=False, default=0)

    def __post_init__(self) -> None:
        what = (self.namespace, self.service_account, self.pod_uid, self.images, self.wants_gpu)
        object.__setattr__(self, "_hash", hash((what, frozenset(self.labels.items()))))

    def __hash__(self) -> int:
        return self._hash

    @property
    def unattested(self) -> frozenset[Claim]:
        return frozenset(Claim) - self.attested
