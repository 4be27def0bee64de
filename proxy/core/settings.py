"""What one sidecar was told when it started. Read once, checked as a whole, never changed."""

from collections.abc import Mapping
from datetime import timedelta
from enum import Enum
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Final

from proxy.core.identity import ImageReference, WorkloadIdentity
from proxy.core.policy import Mode
from proxy.core.structs import Struct, hiding


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


class Endpoint(Struct, frozen=True):
    """One loopback listener for SDKs that take a base URL; `target` is a service's name or a host."""

    port: int
    target: str


class ListenerSettings(Struct, frozen=True):
    capture: frozenset[Capture]
    transparent_port: int
    explicit_port: int
    endpoints: tuple[Endpoint, ...]
    # In the path of base URLs; empty: one is drawn, and kept in the state folder.
    endpoint_token: str
    admin_address: str
    admin_port: int
    max_connections: int
    # Whether HTTP/1.1 has a lane of its own; else mitmproxy serves it, too.
    fast_lane: bool

    __repr__ = hiding("endpoint_token")


class FolderSettings(Struct, frozen=True):
    """Paths as they were given; what is relative counts from the working directory."""

    policy: str
    secrets: str
    tokens: str
    state: str
    trust: str
    placeholders_file: str | None


class TrustSettings(Struct, frozen=True):
    ca_lifetime: timedelta
    leaf_lifetime: timedelta
    upstream_ca_files: tuple[str, ...]
    roots_file: str | None  # None: the system's


class EgressProxy(Struct, frozen=True):
    """The way out of a company's network: it is asked with CONNECT, by TLS if `tls`."""

    host: str
    port: int
    tls: bool

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class EgressSettings(Struct, frozen=True):
    """How credential sources are reached."""

    proxy: EgressProxy | None  # None: straight
    # A file of `user:password`: an environment is shown by `kubectl describe`.
    auth_file: str | None
    # A name with its subdomains, `.` and a name for its subdomains alone, `*`, or a network.
    no_proxy: tuple[str | IPv4Network | IPv6Network, ...]

    def proxy_for(self, host: str) -> EgressProxy | None:
        """Names are not resolved for this: a network covers addresses that stand in the URL themselves."""
        return None if any(_covers(entry, host) for entry in self.no_proxy) else self.proxy


# For what lies inside the cluster, such as its API server.
DIRECT: Final = EgressSettings(proxy=None, auth_file=None, no_proxy=())


def _covers(entry: str | IPv4Network | IPv6Network, host: str) -> bool:
    """As Go's `httpproxy` has it, and so kubectl and most of what else reads NO_PROXY in a cluster."""
    if isinstance(entry, str):
        return entry in {"*", host} or host.endswith(f".{entry.removeprefix('.')}")
    try:
        return ip_address(host) in entry
    except ValueError:
        return False


class Timeouts(Struct, frozen=True):
    """In seconds, as asyncio takes them."""

    drain: float
    idle: float
    header: float
    connect: float
    # From a request's head to the last byte of its answer. None: as long as bytes move.
    request: float | None = None


class BodySettings(Struct, frozen=True):
    """In bytes: one body that is read before it is sent, and all of them at one time."""

    hashed_limit: int
    held_limit: int


class OutputSettings(Struct, frozen=True):
    log_level: LogLevel
    log_format: LogFormat
    audit_file: str | None  # None: standard output


class PodSettings(Struct, frozen=True):
    """What the downward API and the injector say of the pod."""

    namespace: str
    service_account: str
    pod_name: str
    pod_uid: str
    node: str
    cluster: str
    labels_file: str | None
    owner_file: str | None
    images_file: str | None
    wants_gpu: bool
    # `observe`: nothing is refused, whatever the policies' own modes are.
    mode: Mode = Mode.ENFORCE

    def identity(
        self, labels: Mapping[str, str], owner: str = "", images: tuple[ImageReference, ...] = ()
    ) -> WorkloadIdentity:
        """What nobody has vouched for yet, with what the files held."""
        return WorkloadIdentity(
            namespace=self.namespace,
            service_account=self.service_account,
            cluster=self.cluster,
            pod_name=self.pod_name,
            pod_uid=self.pod_uid,
            node=self.node,
            labels=labels,
            images=images,
            wants_gpu=self.wants_gpu,
            owner=owner,
        )


class IdentitySettings(Struct, frozen=True):
    """Which token proves the pod, and whose keys verify it: a file's, or those that discovery finds."""

    audience: str
    issuer: str  # empty: the one that discovery names
    jwks_file: str | None
    discovery_url: str
    discovery_ca_file: str | None  # None: the system's roots
    discovery_token_file: str | None


class ProxySettings(Struct, frozen=True):
    listeners: ListenerSettings
    folders: FolderSettings
    trust: TrustSettings
    egress: EgressSettings
    pod: PodSettings
    identity: IdentitySettings
    timeouts: Timeouts
    bodies: BodySettings
    output: OutputSettings
