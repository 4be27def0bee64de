"""Every variable that `podkey run` reads: one table for the reading, the command's options and the docs.

There is no variable that turns the verification of upstream certificates off, and there will be none.
"""

import ipaddress
import re
from collections.abc import Mapping
from typing import Any, Final

from proxy.core import contract
from proxy.core.policy import Mode
from proxy.core.settings import Capture, Endpoint, LogFormat, LogLevel
from proxy.documents.egress_kinds import NO_PROXY_ENTRY, PROXY
from proxy.documents.problems import Fault
from proxy.documents.setting_kinds import (
    PATH,
    Kind,
    Setting,
    items,
    lifetime,
    matching,
    number,
    one_of,
    optional,
    or_empty,
    seconds,
    shown,
    size,
)

# --- kinds that only this table needs -------------------------------------------------------------

# Below 1024 a listener needs a capability (CAP_NET_BIND_SERVICE) that the sidecar does not have.
_PORT: Final = number("a port", 1024, 65535)


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise Fault(f"{shown(text)} is not an IP address", "write one, such as `127.0.0.1` or `::`") from None


def _endpoint(text: str) -> Endpoint:
    port, equals, target = text.partition("=")
    if not equals or not re.fullmatch(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", target):
        fix = "write a port and a service or host, such as `15101=openai` or `15102=api.example.com`"
        raise Fault(f"{shown(text)} is not an endpoint", fix)
    return Endpoint(_PORT.parse(port), target)


def _endpoint_token(text: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{32}", text):
        # Not even its beginning is shown.
        raise Fault("it is no token", "write 32 hexadecimal digits, drawn for this pod alone")
    return text


def _truth(text: str) -> bool:
    # Never by whether there is a text at all: `false` is one.
    if text not in {"true", "false"}:
        raise Fault(f"{shown(text)} is neither `true` nor `false`", "write `true` or `false`")
    return text == "true"


_TRUTH: Final = Kind("`true` or `false`", _truth)
_ENDPOINT: Final = Kind("`PORT=SERVICE` or `PORT=HOST`", _endpoint)
_AUDIT_FILE: Final = Kind("a path, or `-` for standard output", lambda t: None if t == "-" else PATH.parse(t))
# A static pod's uid is a hash without hyphens.
_UID: Final = matching("a pod's uid", r"[0-9A-Za-z-]{1,64}", "take it from the field metadata.uid")
# EKS names a cluster by an ARN, others by a path or a URL.
_CLUSTER: Final = matching(
    "a cluster's name", r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,252}", "use letters, digits, `.`, `-`, `_`, `:`, `/`"
)
# As Kubernetes names things; `values.py` has the same for documents, and drags their shapes along.
# Only a namespace is a label of 63; the labels of a longer name are not limited (apimachinery's validation).
_SUBDOMAIN: Final = r"(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
_LABEL: Final = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_NAME: Final = matching("a Kubernetes name", _SUBDOMAIN, "write the name as Kubernetes shows it")
_NAMESPACE: Final = matching("a namespace", _LABEL, "take it from the field metadata.namespace")
_ACCOUNT: Final = matching(
    "a service account's name", _SUBDOMAIN, "take it from the field spec.serviceAccountName"
)

# --- the table ------------------------------------------------------------------------------------

CAPTURE: Final = Setting(
    "PODKEY_CAPTURE",
    items(one_of(Capture), ",", "commas", least=1),
    "transparent",
    "How connections come in: redirected by nft, by CONNECT through `HTTPS_PROXY`, by loopback base URLs.",
)
TRANSPARENT_PORT: Final = Setting(
    "PODKEY_TRANSPARENT_PORT",
    _PORT,
    str(contract.TRANSPARENT_PORT),
    "Loopback port to which the redirect leads.",
)
EXPLICIT_PORT: Final = Setting(
    "PODKEY_EXPLICIT_PORT", _PORT, str(contract.EXPLICIT_PORT), "Loopback port for `HTTPS_PROXY`."
)
ENDPOINTS: Final = Setting(
    "PODKEY_ENDPOINTS",
    items(_ENDPOINT, None, "blanks"),
    "",
    "Loopback listeners for SDKs that take a base URL, each for a service of the catalogue or a host.",
)
ENDPOINT_TOKEN: Final = Setting(
    "PODKEY_ENDPOINT_TOKEN",
    or_empty(Kind("32 hexadecimal digits", _endpoint_token)),
    "",
    "What stands in the path of these base URLs, so that only the pod's own programs know them. Where it is "
    "left out, it is drawn and kept in `PODKEY_STATE_DIR`.",
)
ADMIN_ADDRESS: Final = Setting(
    "PODKEY_ADMIN_ADDRESS",
    Kind("an IP address", _address),
    "127.0.0.1",
    "Where probes and metrics are served. The kubelet and Prometheus come from outside the pod: they need "
    "the pod's address, or `::` for all.",
)
ADMIN_PORT: Final = Setting(
    "PODKEY_ADMIN_PORT", _PORT, str(contract.ADMIN_PORT), "Port of probes and metrics."
)
MAX_CONNECTIONS: Final = Setting(
    "PODKEY_MAX_CONNECTIONS",
    # Each takes two descriptors; one source address has no more ports than this.
    number("a number", 1, 65536),
    "8192",
    "Connections at one time; what comes above is refused at once and counted.",
)
POLICY_DIR: Final = Setting(
    "PODKEY_POLICY_DIR", PATH, contract.POLICY_DIR, "Folder of policy documents, re-read when they change."
)
SECRETS_DIR: Final = Setting(
    "PODKEY_SECRETS_DIR", PATH, contract.SECRETS_DIR, "Folder of mounted secrets: `SECRET/KEY`."
)
TOKENS_DIR: Final = Setting(
    "PODKEY_TOKENS_DIR",
    PATH,
    contract.TOKENS_DIR,
    "Folder of the pod's projected service-account tokens, a file for each audience. No other container may "
    "mount it.",
)
STATE_DIR: Final = Setting(
    "PODKEY_STATE_DIR",
    PATH,
    contract.STATE_DIR,
    "Folder for the CA's key, which outlives a restart of the container. No other container may mount it.",
)
TRUST_DIR: Final = Setting(
    "PODKEY_TRUST_DIR",
    PATH,
    contract.TRUST_DIR,
    "Folder for the public certificates; application containers mount it read-only.",
)
PLACEHOLDERS_FILE: Final = Setting(
    "PODKEY_PLACEHOLDERS_FILE",
    optional(PATH),
    "",
    "File of `NAME=value` lines: what the application was given in place of credentials.",
)
UPSTREAM_CA_FILES: Final = Setting(
    "PODKEY_UPSTREAM_CA_FILES",
    items(PATH, ":", "colons"),
    "",
    "More authorities that may sign upstream certificates, as PEM files.",
)
ROOTS_FILE: Final = Setting(
    "PODKEY_ROOTS_FILE", optional(PATH), "", "PEM file of root certificates in place of the system's."
)
CA_LIFETIME: Final = Setting(
    "PODKEY_CA_LIFETIME",
    # A day is the longest leaf; a year is longer than any pod should run unpatched.
    lifetime("1d", "365d"),
    "90d",
    "Lifetime of the pod's own CA; it is renewed before.",
)
LEAF_LIFETIME: Final = Setting(
    "PODKEY_LEAF_LIFETIME",
    # Clocks in one pod agree, so minutes suffice; a leaf key that leaks should be worth a day at most.
    lifetime("10m", "24h"),
    "24h",
    "Lifetime of the certificates that the application sees.",
)
EGRESS_PROXY: Final = Setting(
    "PODKEY_EGRESS_PROXY",
    optional(PROXY),
    "",
    "The company's proxy through which credential sources are asked (CONNECT). The application's requests do "
    "not take it, and `HTTPS_PROXY` is not read: in the application's container it leads to the sidecar.",
)
EGRESS_PROXY_AUTH_FILE: Final = Setting(
    "PODKEY_EGRESS_PROXY_AUTH_FILE",
    optional(PATH),
    "",
    "File of `user:password` for that proxy, read anew for each connection.",
)
EGRESS_NO_PROXY: Final = Setting(
    "PODKEY_EGRESS_NO_PROXY",
    items(NO_PROXY_ENTRY, ",", "commas"),
    "",
    "Sources that are asked without the proxy: a name covers its subdomains, `.name` only those. Names are "
    "not resolved: a network covers addresses that stand in a URL.",
)
NAMESPACE_NAME: Final = Setting("PODKEY_NAMESPACE", _NAMESPACE, None, "The pod's namespace.")
SERVICE_ACCOUNT: Final = Setting("PODKEY_SERVICE_ACCOUNT", _ACCOUNT, None, "The pod's service account.")
POD_NAME: Final = Setting("PODKEY_POD_NAME", or_empty(_NAME), "", "The pod's name, for audit records.")
POD_UID: Final = Setting("PODKEY_POD_UID", or_empty(_UID), "", "The pod's uid, for audit records.")
NODE_NAME: Final = Setting("PODKEY_NODE_NAME", or_empty(_NAME), "", "The node's name, for audit records.")
CLUSTER: Final = Setting("PODKEY_CLUSTER", or_empty(_CLUSTER), "", "The cluster's name, for audit records.")
LABELS_FILE: Final = Setting(
    "PODKEY_LABELS_FILE", optional(PATH), "", "The pod's labels as the downward API writes them."
)
OWNER_FILE: Final = Setting(
    "PODKEY_OWNER_FILE", optional(PATH), "", "What created the pod, such as `Job/train`, in a file."
)
IMAGES_FILE: Final = Setting(
    "PODKEY_IMAGES_FILE",
    optional(PATH),
    "",
    "The images of the application containers, in a file, between blanks.",
)
AUDIENCE: Final = Setting(
    "PODKEY_AUDIENCE",
    matching("an audience", r"[\x21-\x7e]{1,512}", "write it without blanks"),
    contract.IDENTITY_AUDIENCE,
    "The audience of the token that proves who the pod is.",
)
ISSUER: Final = Setting(
    "PODKEY_ISSUER",
    or_empty(matching("an issuer", r"[\x21-\x7e]{1,512}", "write the `iss` that tokens of the cluster have")),
    "",
    "The issuer of that token. Where it is left out, discovery says it.",
)
JWKS_FILE: Final = Setting(
    "PODKEY_JWKS_FILE",
    optional(PATH),
    "",
    "The issuer's keys in a file (JWKS), in place of discovery; needs `PODKEY_ISSUER`.",
)
DISCOVERY_URL: Final = Setting(
    "PODKEY_DISCOVERY_URL",
    matching("an https URL", r"https://[A-Za-z0-9.:_\[\]-]+(/[\x21-\x7e]*)?", "write `https://` and a host"),
    contract.CLUSTER_URL,
    "Below which `.well-known/openid-configuration` is asked for: the API server, or a public issuer.",
)
DISCOVERY_CA_FILE: Final = Setting(
    "PODKEY_DISCOVERY_CA_FILE",
    Kind("a path, or `-` for the system's roots", lambda t: None if t == "-" else PATH.parse(t)),
    contract.CLUSTER_CA_FILE,
    "The authorities that may sign the certificate of the discovery URL.",
)
DISCOVERY_TOKEN_FILE: Final = Setting(
    "PODKEY_DISCOVERY_TOKEN_FILE",
    or_empty(Kind("a path, or `-` for none", lambda t: t if t == "-" else PATH.parse(t))),
    "",
    "The token with which an API server is asked, and to which alone it is sent: "
    f"`{contract.CLUSTER_TOKEN_FILE}` in `PODKEY_TOKENS_DIR` where it is left out, `-` for a public issuer.",
)
GPU: Final = Setting("PODKEY_GPU", _TRUTH, "false", "Whether the pod asks for a GPU.")
MODE: Final = Setting(
    "PODKEY_MODE",
    one_of(Mode),
    Mode.ENFORCE.value,
    "`enforce`: each policy as its own `mode` says. `observe`: nothing is refused, and an application's own "
    "credential still works, while audit records say what would be refused.",
)
DRAIN_TIMEOUT: Final = Setting(
    "PODKEY_DRAIN_TIMEOUT",
    seconds("0s", "1h"),
    # Under the 30 s that Kubernetes gives a pod by default, with some left to exit.
    "25s",
    "After SIGTERM, how long a transfer may stand still before it is cut. What moves goes on until the pod's "
    "grace period ends.",
)
IDLE_TIMEOUT: Final = Setting(
    "PODKEY_IDLE_TIMEOUT",
    # A day: long polls and training runs that hold a stream open are what the longest ones are for.
    seconds("1s", "24h"),
    "10m",
    "How long a connection may be silent in both directions.",
)
HEADER_TIMEOUT: Final = Setting(
    "PODKEY_HEADER_TIMEOUT",
    seconds("1s", "5m"),
    "10s",
    "How long a client may take for a ClientHello or a request head.",
)
CONNECT_TIMEOUT: Final = Setting(
    "PODKEY_CONNECT_TIMEOUT",
    # Linux gives up on its own after 127 s of unanswered SYNs (tcp_syn_retries 6).
    seconds("1s", "127s"),
    "10s",
    "How long an upstream may take to accept a connection.",
)
REQUEST_TIMEOUT: Final = Setting(
    "PODKEY_REQUEST_TIMEOUT",
    # A day: the same as the longest silence that may be allowed.
    optional(seconds("1s", "24h")),
    "",
    "How long a request may take in all, from its head to the last byte of its answer. Then it is answered "
    "504, or cut where its answer had begun. Long generations, uploads of checkpoints and streams of gRPC "
    "count, too; WebSockets do not. Where it is left out, a request may take as long as bytes move.",
)
FAST_LANE: Final = Setting(
    "PODKEY_FAST_LANE",
    _TRUTH,
    "true",
    "Whether HTTP/1.1 has a lane of its own. `false`: mitmproxy serves it, too, at some ten times the CPU; "
    "the way out should a client not get along with ours.",
)
HASHED_BODY_LIMIT: Final = Setting(
    "PODKEY_HASHED_BODY_LIMIT",
    # Below, Bedrock's images do not fit; above, one request takes what a sidecar is usually given.
    size("1Mi", "256Mi"),
    "16Mi",
    "The largest body that is read before it is sent, because the signature covers its hash: all of AWS but "
    "S3. What is larger is answered 413.",
)
HELD_BODIES_LIMIT: Final = Setting(
    "PODKEY_HELD_BODIES_LIMIT",
    size("1Mi", "1024Mi"),
    # Four of the largest at a time, and room for them in 150 MiB.
    "64Mi",
    "What all such bodies together may take in memory; a request for which there is no room is answered 503.",
)
LOG_LEVEL: Final = Setting("PODKEY_LOG_LEVEL", one_of(LogLevel), "info", "The least severe log line shown.")
LOG_FORMAT: Final = Setting(
    "PODKEY_LOG_FORMAT", one_of(LogFormat), "json", "Log lines for machines or for people."
)
AUDIT_FILE: Final = Setting("PODKEY_AUDIT_FILE", _AUDIT_FILE, "-", "Where audit records go, one line each.")

SECTIONS: Final[Mapping[str, tuple[Setting[Any], ...]]] = {
    "Pod": (
        NAMESPACE_NAME,
        SERVICE_ACCOUNT,
        POD_NAME,
        POD_UID,
        NODE_NAME,
        CLUSTER,
        LABELS_FILE,
        OWNER_FILE,
        IMAGES_FILE,
        GPU,
        MODE,
    ),
    "Identity": (
        AUDIENCE,
        ISSUER,
        JWKS_FILE,
        DISCOVERY_URL,
        DISCOVERY_CA_FILE,
        DISCOVERY_TOKEN_FILE,
    ),
    "Listeners": (
        CAPTURE,
        TRANSPARENT_PORT,
        EXPLICIT_PORT,
        ENDPOINTS,
        ENDPOINT_TOKEN,
        ADMIN_ADDRESS,
        ADMIN_PORT,
        MAX_CONNECTIONS,
        FAST_LANE,
    ),
    "Folders": (POLICY_DIR, SECRETS_DIR, TOKENS_DIR, STATE_DIR, TRUST_DIR, PLACEHOLDERS_FILE),
    "Trust": (UPSTREAM_CA_FILES, ROOTS_FILE, CA_LIFETIME, LEAF_LIFETIME),
    "Sources": (EGRESS_PROXY, EGRESS_PROXY_AUTH_FILE, EGRESS_NO_PROXY),
    "Time-outs": (DRAIN_TIMEOUT, IDLE_TIMEOUT, HEADER_TIMEOUT, CONNECT_TIMEOUT, REQUEST_TIMEOUT),
    "Bodies": (HASHED_BODY_LIMIT, HELD_BODIES_LIMIT),
    "Output": (LOG_LEVEL, LOG_FORMAT, AUDIT_FILE),
}
SETTINGS: Final[tuple[Setting[Any], ...]] = tuple(setting for part in SECTIONS.values() for setting in part)
