"""AccessPolicy: who may do what where, and with which credential."""

from enum import Enum

from proxy.core.globs import ANY_SEGMENTS, Glob
from proxy.core.hosts import Hostname, HostPattern
from proxy.core.labels import LabelSelector
from proxy.core.paths import PathPattern
from proxy.core.structs import Struct, field
from proxy.core.validity import Validity

EVERY_SERVICE_ACCOUNT = "*"
DEFAULT_PORTS = (443,)


class Mode(Enum):
    ENFORCE = "enforce"
    OBSERVE = "observe"


class Gpu(Enum):
    REQUIRED = "required"
    FORBIDDEN = "forbidden"
    ANY = "any"


class Access(Enum):
    """Classes of a service's operations. What is in none of them is granted by name only."""

    READ = "read"
    WRITE = "write"
    LIST = "list"
    DELETE = "delete"


class OnForeignCredential(Enum):
    """What becomes of a request that carries a credential which is not our placeholder. It never passes."""

    REPLACE = "replace"
    REFUSE = "refuse"


class OnRevoke(Enum):
    """What becomes of requests on their way when the policy or its source is taken away."""

    FINISH = "finish"
    CUT = "cut"


class ForeignPresigned(Enum):
    """What becomes of a URL that somebody else has signed. It never gets a credential on top."""

    REFUSE = "refuse"
    PASS = "pass"  # noqa: S105 - a policy's word


class Addressing(Enum):
    """Where requests to a store name the bucket: in the path, or as the first part of the host."""

    PATH = "path"
    VIRTUAL = "virtual"


# What MinIO, Ceph, Swift and most others sign for, unless they are told otherwise.
DEFAULT_STORE_REGION = "us-east-1"


class StoreEndpoint(Struct, frozen=True):
    """A store that speaks S3 and is not Amazon's. Its port stands in the grant's `ports`."""

    host: Hostname
    region: str = DEFAULT_STORE_REGION
    addressing: Addressing = Addressing.PATH

    def bucket_in(self, host: Hostname) -> str | None:
        """The bucket that a host of this store names, empty where it names none. None: no host of it."""
        if host == self.host:
            return ""
        below = self.addressing is Addressing.VIRTUAL and host.endswith(f".{self.host}")
        return host[: -len(self.host) - 1] if below else None

    @property
    def label_globs(self) -> tuple[str, ...]:
        """The labels of all its hosts, as `HostTemplate.label_globs` has them."""
        below = (ANY_SEGMENTS,) if self.addressing is Addressing.VIRTUAL else ()
        return (*below, *self.host.split("."))


class ImageRules(Struct, frozen=True):
    """Every container image of the pod must match a repository pattern and a digest, where given."""

    repositories: tuple[PathPattern, ...] = ()
    digests: tuple[str, ...] = ()


class WorkloadSelector(Struct, frozen=True):
    """Service accounts and labels select the pod; GPU and images are conditions on the selected pod."""

    service_accounts: tuple[str, ...] = ()
    pod_selector: LabelSelector | None = None
    gpu: Gpu = Gpu.ANY
    images: ImageRules | None = None
    # None: the pods of the policy's own namespace. Set, the policy is a cluster-wide one.
    namespaces: LabelSelector | None = None


class Grant(Struct, frozen=True):
    """Exactly one of `service` and `hosts` is set. An empty tuple means: not narrowed by this."""

    credential: str
    service: str | None = None
    hosts: tuple[HostPattern, ...] = ()
    ports: tuple[int, ...] = DEFAULT_PORTS
    methods: tuple[str, ...] = ()
    paths: tuple[PathPattern, ...] = ()
    # Required parameters: with one of the values, or, where there are none, with any.
    query: tuple[tuple[str, tuple[str, ...]], ...] = ()
    pins: tuple[tuple[str, tuple[Glob, ...]], ...] = ()
    prefixes: tuple[str, ...] = ()
    access: tuple[Access, ...] = ()
    actions: tuple[str, ...] = ()
    expected_bucket_owner: str | None = None
    allow_minting: tuple[str, ...] = ()
    on_foreign_credential: OnForeignCredential = OnForeignCredential.REPLACE
    # Set: the grant is for this store alone. None: for the service's own hosts.
    endpoint: StoreEndpoint | None = None
    foreign_presigned: ForeignPresigned = ForeignPresigned.REFUSE


class Limits(Struct, frozen=True):
    """What the policies of the selected namespaces may grant. Nothing of it is granted by this."""

    hosts: tuple[HostPattern, ...] = ()
    services: tuple[str, ...] = ()


class AccessPolicy(Struct, frozen=True):
    """Exactly one of `grants` and `limits` says something, and limits select namespaces alone."""

    namespace: str
    name: str
    workloads: WorkloadSelector
    grants: tuple[Grant, ...]
    mode: Mode = Mode.ENFORCE
    validity: Validity = field(default_factory=Validity)
    on_revoke: OnRevoke = OnRevoke.FINISH
    limits: Limits | None = None

    @property
    def is_cluster_wide(self) -> bool:
        return self.workloads.namespaces is not None
