"""What one sidecar was told when it started. Read once, checked as a whole, never changed."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum

from proxy.core.identity import ImageReference, WorkloadIdentity


class Capture(Enum):
    """How a connection of the application comes to us."""

    TRANSPARENT = "transparent"  # redirected by nft, without the application's knowledge
    EXPLICIT = "explicit"  # CONNECT, through HTTPS_PROXY
    ENDPOINT = "endpoint"  # a loopback base URL that an SDK was given


class LogFormat(Enum):
    JSON = "json"
    CONSOLE = "console"


class LogLevel(Enum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One loopback listener for SDKs that take a base URL; `target` is a service's name or a host."""

    port: int
    target: str


@dataclass(frozen=True, slots=True)
class ListenerSettings:
    capture: frozenset[Capture]
    transparent_port: int
    explicit_port: int
    endpoints: tuple[Endpoint, ...]
    admin_address: str
    admin_port: int
    max_connections: int


@dataclass(frozen=True, slots=True)
class FolderSettings:
    """Paths as they were given; what is relative counts from the working directory."""

    policy: str
    secrets: str
    state: str
    trust: str
    placeholders_file: str | None


@dataclass(frozen=True, slots=True)
class TrustSettings:
    ca_lifetime: timedelta
    leaf_lifetime: timedelta
    upstream_ca_files: tuple[str, ...]
    roots_file: str | None  # None: the system's


@dataclass(frozen=True, slots=True)
class Timeouts:
    """In seconds, as asyncio takes them."""

    drain: float
    idle: float
    header: float
    connect: float


@dataclass(frozen=True, slots=True)
class OutputSettings:
    log_level: LogLevel
    log_format: LogFormat
    audit_file: str | None  # None: standard output


@dataclass(frozen=True, slots=True)
class PodSettings:
    """What the downward API and the injector say of the pod."""

    namespace: str
    service_account: str
    pod_name: str
    pod_uid: str
    node: str
    cluster: str
    labels_file: str | None
    images: tuple[ImageReference, ...]
    wants_gpu: bool

    def identity(self, labels: Mapping[str, str]) -> WorkloadIdentity:
        """The identity, with the labels that `labels_file` held."""
        return WorkloadIdentity(
            namespace=self.namespace,
            service_account=self.service_account,
            cluster=self.cluster,
            pod_name=self.pod_name,
            pod_uid=self.pod_uid,
            node=self.node,
            labels=labels,
            images=self.images,
            wants_gpu=self.wants_gpu,
        )


@dataclass(frozen=True, slots=True)
class ProxySettings:
    listeners: ListenerSettings
    folders: FolderSettings
    trust: TrustSettings
    pod: PodSettings
    timeouts: Timeouts
    output: OutputSettings
