"""What one injector was told when it started. Read once, checked as a whole, never changed."""

from collections.abc import Mapping
from enum import Enum
from ipaddress import IPv4Network, IPv6Network

from injector.core.cluster import PodSecurity
from injector.core.intent import Quantities
from proxy.core.settings import LogFormat, LogLevel
from proxy.core.structs import Struct, field


class OnDanger(Enum):
    """What becomes of a pod whose containers could break the sidecar's walls."""

    REFUSE = "refuse"
    WARN = "warn"


class NativeSidecars(Enum):
    """Whether the sidecar is an init container that goes on running (Kubernetes 1.29)."""

    AUTO = "auto"  # by the oldest kubelet of the cluster
    ALWAYS = "always"
    NEVER = "never"


class SidecarSettings(Struct, frozen=True):
    """What every injected container is made of."""

    image: str
    image_pull_policy: str = "IfNotPresent"
    cluster: str = ""
    # `PODKEY_…` settings of the sidecar that the platform team sets for all pods; checked with the sidecar's
    # own table.
    environment: Mapping[str, str] = field(default_factory=dict)
    resources: Quantities = field(
        default_factory=lambda: Quantities(
            cpu_request=100, cpu_limit=1000, memory_request=128 << 20, memory_limit=512 << 20
        )
    )
    # What a pod's annotations may ask for.
    least: Quantities = field(default_factory=lambda: Quantities(10, 10, 96 << 20, 96 << 20))
    most: Quantities = field(default_factory=lambda: Quantities(4000, 8000, 4 << 30, 8 << 30))
    # How long the kubelet keeps a projected token.
    token_seconds: int = 3600

    def __hash__(self) -> int:
        """By what no two of them share: `environment` has no hash, and this is asked for in each review."""
        return hash(self.image)


class PodRules(Struct, frozen=True):
    """Which pods get a sidecar, and how they are captured."""

    # Resource names that are accelerators besides those we know; a name may end with a star.
    accelerators: tuple[str, ...] = ()
    on_danger: OnDanger = OnDanger.REFUSE
    native_sidecars: NativeSidecars = NativeSidecars.AUTO
    # The level of namespaces without a label, as the API server's own configuration has it.
    default_pod_security: PodSecurity = PodSecurity.PRIVILEGED
    # The pods' and services' networks: left out of the redirect where `exclude_cluster`, and of HTTPS_PROXY.
    cluster_cidrs: tuple[IPv4Network | IPv6Network, ...] = ()
    exclude_cluster: bool = False
    # Names that HTTPS_PROXY is not asked for, besides the cluster's own.
    no_proxy: tuple[str, ...] = ()
    cluster_domain: str = "cluster.local"
    # podkey's own namespace. Its pods get no sidecar, and its policies may be about other namespaces.
    own_namespace: str = "podkey-system"

    def __hash__(self) -> int:
        """Hashes of networks are slow, and this is asked for in each review."""
        return hash(self.own_namespace)


class ServingSettings(Struct, frozen=True):
    address: str = "::"
    port: int = 8443
    admin_address: str = "::"
    admin_port: int = 8080
    # Whole reviews that wait for their turn; what comes above is answered 503, and the API server asks again.
    # A thousand come at once where a Job with as many pods starts, and are judged within their five seconds.
    max_concurrent: int = 1024
    max_connections: int = 1024
    # After SIGTERM, how long it goes on answering: until every API server has heard that it is going.
    linger_seconds: int = 10


class CertificateSettings(Struct, frozen=True):
    """A folder with `tls.crt` and `tls.key` that somebody else renews; None: podkey makes its own."""

    folder: str | None = None
    service: str = "podkey-injector"
    secret: str = "podkey-injector-ca"  # noqa: S105 - the name of an object
    mutating_webhook: str = "podkey-injector"
    validating_webhook: str = "podkey-injector"


class InjectorSettings(Struct, frozen=True):
    sidecar: SidecarSettings
    pods: PodRules = field(default_factory=PodRules)
    serving: ServingSettings = field(default_factory=ServingSettings)
    certificates: CertificateSettings = field(default_factory=CertificateSettings)
    # This replica, for leader election and Events.
    identity: str = ""
    # Whose writes to the compiled policies are our own.
    service_account: str = "podkey-injector"
    resync_seconds: float = 600.0
    detector_seconds: float = 60.0
    log_level: LogLevel = LogLevel.INFO
    log_format: LogFormat = LogFormat.JSON
