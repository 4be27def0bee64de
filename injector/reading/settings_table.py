"""Every variable that `podkey-injector serve` reads: one table for the reading, the options and the docs.

The names begin with PODKEY_INJECTOR_, and none can be taken for a variable that Kubernetes sets for a Service
called `podkey-injector` (`PODKEY_INJECTOR_PORT`, `PODKEY_INJECTOR_SERVICE_HOST` …).
"""

from collections.abc import Mapping
from typing import Any, Final

from injector.core.cluster import PodSecurity
from injector.core.settings import (
    CertificateSettings,
    NativeSidecars,
    OnDanger,
    PodRules,
    ServingSettings,
    SidecarSettings,
)
from injector.reading import setting_kinds as kinds
from proxy.core.settings import LogFormat, LogLevel
from proxy.documents import settings_table as sidecar
from proxy.documents.setting_kinds import PATH, Setting, items, number, one_of, optional, seconds

PREFIX: Final = "PODKEY_INJECTOR_"

_SIDECAR: Final = SidecarSettings(image="")
_PODS: Final = PodRules()
_SERVING: Final = ServingSettings()
_CERTIFICATES: Final = CertificateSettings()


def flag_of(name: str) -> str:
    """`PODKEY_INJECTOR_IMAGE` as the option of the command: `--image`."""
    return "--" + name.removeprefix(PREFIX).lower().replace("_", "-")


# --- the table ------------------------------------------------------------------------------------

NAMESPACE: Final = Setting(
    f"{PREFIX}NAMESPACE",
    kinds.NAMESPACE,
    None,
    "podkey's own namespace. Its pods get no sidecar; its policies may be about other namespaces.",
)
POD_NAME: Final = Setting(
    f"{PREFIX}POD_NAME", kinds.POD_NAME, None, "This replica, for leader election and Events."
)
SERVICE_ACCOUNT: Final = Setting(
    f"{PREFIX}SERVICE_ACCOUNT",
    kinds.NAME,
    "podkey-injector",
    "The service account it runs as: nobody else may change the compiled policies.",
)
IMAGE: Final = Setting(f"{PREFIX}IMAGE", kinds.IMAGE, None, "The image of every injected container.")
IMAGE_PULL_POLICY: Final = Setting(
    f"{PREFIX}IMAGE_PULL_POLICY", kinds.PULL_POLICY, _SIDECAR.image_pull_policy, "When the kubelet pulls it."
)
CLUSTER: Final = Setting(
    f"{PREFIX}CLUSTER", sidecar.CLUSTER.kind, _SIDECAR.cluster, "The cluster's name, for audit records."
)
SIDECAR_ENVIRONMENT: Final = Setting(
    f"{PREFIX}SIDECAR_ENVIRONMENT",
    kinds.VARIABLES,
    "",
    "[Settings of the sidecar](settings.md) for all pods. Those that the injector chooses for each pod are "
    "refused here.",
)
SIDECAR_RESOURCES: Final = Setting(
    f"{PREFIX}SIDECAR_RESOURCES",
    kinds.QUANTITIES,
    "cpu-request=100m cpu-limit=1 memory-request=128Mi memory-limit=512Mi",
    "What the sidecar asks for and may use. What is not named keeps its default.",
)
SIDECAR_RESOURCES_LEAST: Final = Setting(
    f"{PREFIX}SIDECAR_RESOURCES_LEAST",
    kinds.QUANTITIES,
    "cpu-request=10m cpu-limit=10m memory-request=96Mi memory-limit=96Mi",
    "The least that a pod's annotations may ask for.",
)
SIDECAR_RESOURCES_MOST: Final = Setting(
    f"{PREFIX}SIDECAR_RESOURCES_MOST",
    kinds.QUANTITIES,
    "cpu-request=4 cpu-limit=8 memory-request=4Gi memory-limit=8Gi",
    "The most that a pod's annotations may ask for.",
)
TOKEN_LIFETIME: Final = Setting(
    f"{PREFIX}TOKEN_LIFETIME",
    # Kubernetes refuses projected tokens of less than 10 minutes; the kubelet renews one after a day anyway.
    seconds("10m", "24h"),
    "1h",
    "Lifetime of the projected tokens that prove the pod; the kubelet renews them before.",
)
ACCELERATORS: Final = Setting(
    f"{PREFIX}ACCELERATORS",
    items(kinds.ACCELERATOR, None, "blanks"),
    "",
    "Resources that are accelerators besides the known ones; a name may end with `*`.",
)
ON_DANGER: Final = Setting(
    f"{PREFIX}ON_DANGER",
    one_of(OnDanger),
    _PODS.on_danger.value,
    "What becomes of a pod whose containers could break the sidecar's walls.",
)
NATIVE_SIDECARS: Final = Setting(
    f"{PREFIX}NATIVE_SIDECARS",
    one_of(NativeSidecars),
    _PODS.native_sidecars.value,
    "Whether the sidecar is an init container that goes on running (Kubernetes 1.29); `auto`: by the oldest "
    "kubelet.",
)
DEFAULT_POD_SECURITY: Final = Setting(
    f"{PREFIX}DEFAULT_POD_SECURITY",
    one_of(PodSecurity),
    _PODS.default_pod_security.value,
    "The Pod Security level of namespaces without its label, as the API server is configured.",
)
CLUSTER_CIDRS: Final = Setting(
    f"{PREFIX}CLUSTER_CIDRS",
    items(kinds.NETWORK, ",", "commas"),
    "",
    "The networks of pods and Services: no HTTPS_PROXY for them.",
)
EXCLUDE_CLUSTER: Final = Setting(
    f"{PREFIX}EXCLUDE_CLUSTER", kinds.TRUTH, "false", "Whether the redirect leaves those networks alone, too."
)
NO_PROXY: Final = Setting(
    f"{PREFIX}NO_PROXY",
    items(kinds.NO_PROXY, ",", "commas"),
    "",
    "For which HTTPS_PROXY is not used, besides the cluster's own names.",
)
CLUSTER_DOMAIN: Final = Setting(
    f"{PREFIX}CLUSTER_DOMAIN", kinds.DOMAIN, _PODS.cluster_domain, "The domain of the cluster's DNS."
)
WEBHOOK_ADDRESS: Final = Setting(
    f"{PREFIX}WEBHOOK_ADDRESS",
    kinds.ADDRESS,
    _SERVING.address,
    "Where webhooks are served; `::` is everywhere.",
)
WEBHOOK_PORT: Final = Setting(
    f"{PREFIX}WEBHOOK_PORT", kinds.PORT, str(_SERVING.port), "Port of the webhooks (HTTPS)."
)
ADMIN_ADDRESS: Final = Setting(
    f"{PREFIX}ADMIN_ADDRESS", kinds.ADDRESS, _SERVING.admin_address, "Where probes and metrics are served."
)
ADMIN_PORT: Final = Setting(
    f"{PREFIX}ADMIN_PORT", kinds.PORT, str(_SERVING.admin_port), "Port of probes and metrics (HTTP)."
)
MAX_CONCURRENT: Final = Setting(
    f"{PREFIX}MAX_CONCURRENT",
    number("a number", 1, 4096),
    str(_SERVING.max_concurrent),
    "Whole reviews that wait for their turn; what comes above is answered 503.",
)
MAX_CONNECTIONS: Final = Setting(
    f"{PREFIX}MAX_CONNECTIONS",
    # An API server keeps 25 that are idle (client-go's transport), and one for each review on its way.
    number("a number", 16, 65536),
    str(_SERVING.max_connections),
    "Connections at one time; what comes above takes the place of one that is idle, or is refused.",
)
LINGER: Final = Setting(
    f"{PREFIX}LINGER",
    # Endpoints reach every node in seconds; an hour would outlast any grace period.
    seconds("0s", "5m"),
    f"{_SERVING.linger_seconds}s",
    "After SIGTERM, how long reviews are still answered: until every API server has heard that this replica "
    "goes. The pod's grace period has to be five seconds longer.",
)
CERTIFICATE_DIR: Final = Setting(
    f"{PREFIX}CERTIFICATE_DIR",
    optional(PATH),
    "",
    "Folder with `tls.crt` and `tls.key` that somebody else renews, such as cert-manager. Left out: podkey "
    "has an authority of its own.",
)
SERVICE: Final = Setting(
    f"{PREFIX}SERVICE",
    kinds.SERVICE,
    _CERTIFICATES.service,
    "The Service by which API servers reach the webhooks: the name in the certificate.",
)
CA_SECRET: Final = Setting(
    f"{PREFIX}CA_SECRET", kinds.NAME, _CERTIFICATES.secret, "The Secret that keeps podkey's own authority."
)
MUTATING_WEBHOOK: Final = Setting(
    f"{PREFIX}MUTATING_WEBHOOK",
    kinds.NAME,
    _CERTIFICATES.mutating_webhook,
    "The MutatingWebhookConfiguration whose `caBundle` podkey writes.",
)
VALIDATING_WEBHOOK: Final = Setting(
    f"{PREFIX}VALIDATING_WEBHOOK",
    kinds.NAME,
    _CERTIFICATES.validating_webhook,
    "The ValidatingWebhookConfiguration whose `caBundle` podkey writes.",
)
RESYNC: Final = Setting(
    f"{PREFIX}RESYNC",
    seconds("1m", "24h"),
    "10m",
    "How often everything that is watched is listed anew.",
)
DETECTOR_PERIOD: Final = Setting(
    f"{PREFIX}DETECTOR_PERIOD",
    seconds("10s", "1h"),
    "60s",
    "How often pods are looked for that run without the sidecar they should have.",
)
LOG_LEVEL: Final = Setting(
    f"{PREFIX}LOG_LEVEL", one_of(LogLevel), LogLevel.INFO.value, "The least severe log line shown."
)
LOG_FORMAT: Final = Setting(
    f"{PREFIX}LOG_FORMAT", one_of(LogFormat), LogFormat.JSON.value, "Log lines for machines or for people."
)

SECTIONS: Final[Mapping[str, tuple[Setting[Any], ...]]] = {
    "Itself": (NAMESPACE, POD_NAME, SERVICE_ACCOUNT),
    "The sidecar": (
        IMAGE,
        IMAGE_PULL_POLICY,
        CLUSTER,
        SIDECAR_ENVIRONMENT,
        SIDECAR_RESOURCES,
        SIDECAR_RESOURCES_LEAST,
        SIDECAR_RESOURCES_MOST,
        TOKEN_LIFETIME,
    ),
    "Pods": (
        ACCELERATORS,
        ON_DANGER,
        NATIVE_SIDECARS,
        DEFAULT_POD_SECURITY,
        CLUSTER_CIDRS,
        EXCLUDE_CLUSTER,
        NO_PROXY,
        CLUSTER_DOMAIN,
    ),
    "Serving": (
        WEBHOOK_ADDRESS,
        WEBHOOK_PORT,
        ADMIN_ADDRESS,
        ADMIN_PORT,
        MAX_CONCURRENT,
        MAX_CONNECTIONS,
        LINGER,
    ),
    "Certificates": (CERTIFICATE_DIR, SERVICE, CA_SECRET, MUTATING_WEBHOOK, VALIDATING_WEBHOOK),
    "The cluster": (RESYNC, DETECTOR_PERIOD),
    "Output": (LOG_LEVEL, LOG_FORMAT),
}
SETTINGS: Final[tuple[Setting[Any], ...]] = tuple(setting for part in SECTIONS.values() for setting in part)
