"""The sidecar's environment becomes `ProxySettings`, or every problem at once."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import PurePosixPath
from typing import Final

from proxy.core import contract
from proxy.core.settings import (
    BodySettings,
    Capture,
    EgressSettings,
    FolderSettings,
    IdentitySettings,
    ListenerSettings,
    OutputSettings,
    PodSettings,
    ProxySettings,
    Timeouts,
    TrustSettings,
)
from proxy.documents import settings_table as table
from proxy.documents.problems import Fault, did_you_mean
from proxy.documents.setting_kinds import PREFIX
from proxy.documents.setting_values import SettingProblem

# What `podkey redirect` reads from the same environment (redirect_settings.py), for the page and so that the
# sidecar does not call it unknown: the default and what it means.
REDIRECT: Final[Mapping[str, tuple[str, str]]] = {
    contract.PROXY_UID_VARIABLE: (
        str(contract.PROXY_UID),
        "The sidecar's user, whose traffic is not redirected. No other container may run as it.",
    ),
    contract.CAPTURE_PORTS_VARIABLE: (
        ",".join(map(str, contract.CAPTURED_PORTS)),
        "TCP ports that are redirected; a list with commas.",
    ),
    contract.EXCLUDE_PORTS_VARIABLE: ("", "TCP ports that stay out; a list with commas."),
    contract.EXCLUDE_CIDRS_VARIABLE: ("", "Networks that stay out; a list with commas."),
    contract.FENCE_METADATA_VARIABLE: (
        "true",
        "Whether cloud metadata addresses are closed to all users but the sidecar's.",
    ),
    contract.REJECT_QUIC_VARIABLE: ("true", "Whether UDP 443 is rejected, so that clients fall back to TCP."),
}
_KNOWN: Final = frozenset({*REDIRECT, *(setting.name for setting in table.SETTINGS)})

# Kubernetes puts variables for each Service of the namespace into every container, and a Service may be named
# `podkey-admin`: {NAME}_SERVICE_HOST, _SERVICE_PORT, _SERVICE_PORT_{PORT}, _PORT and _PORT_443_TCP_….
_LINK_NAME = re.compile(
    r"PODKEY_(.*_)?(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
).fullmatch
_LINK_VALUE = re.compile(r"(tcp|udp|sctp)://").match


def own_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that somebody set for us, without what Kubernetes sets for a Service of our name."""
    ours = ((name, value) for name, value in environment.items() if name.startswith(PREFIX))
    return {name: value for name, value in ours if not _LINK_NAME(name) and not _LINK_VALUE(value)}


def read_settings(environment: Mapping[str, str]) -> ProxySettings | tuple[SettingProblem, ...]:
    given = own_variables(environment)
    problems = tuple(_problems(given))
    return problems or _settings(given)


def _problems(given: Mapping[str, str]) -> Iterator[SettingProblem]:
    for name in sorted(given.keys() - _KNOWN):
        yield SettingProblem(name, "there is no such setting", did_you_mean(name, _KNOWN))
    for setting in table.SETTINGS:
        try:
            setting.read(given)
        except Fault as fault:
            yield SettingProblem(setting.name, fault.message, fault.fix)
    # What single values cannot tell; a value that is wrong by itself was reported above.
    with suppress(Fault):
        yield from _useless_endpoints(given)
    yield from _shared_ports(given)
    with suppress(Fault):
        yield from _exposed_folders(given)
    with suppress(Fault):
        yield from _useless_proxy_credentials(given)
    with suppress(Fault):
        yield from _unheld_bodies(given)
    with suppress(Fault):
        if table.DISCOVERY_CA_FILE.read(given) is None and _discovery_token(given) is not None:
            message = "the API server's token would be sent to a server that a public authority vouches for"
            fix = "set it to `-`, or give the cluster's own authority in PODKEY_DISCOVERY_CA_FILE"
            yield SettingProblem(table.DISCOVERY_TOKEN_FILE.name, message, fix)
    with suppress(Fault):
        if table.JWKS_FILE.read(given) is not None and not table.ISSUER.read(given):
            fix = "write the `iss` that tokens of this cluster have"
            yield SettingProblem(table.ISSUER.name, "a file of keys does not say whose they are", fix)


def _useless_endpoints(given: Mapping[str, str]) -> Iterator[SettingProblem]:
    wanted, listed = Capture.ENDPOINT in table.CAPTURE.read(given), bool(table.ENDPOINTS.read(given))
    if listed and not wanted:
        fix = f"add `{Capture.ENDPOINT.value}` to {table.CAPTURE.name}"
        yield SettingProblem(table.ENDPOINTS.name, "the endpoints that it lists are not served", fix)
    if wanted and not listed:
        yield SettingProblem(table.ENDPOINTS.name, "it lists no endpoint", "list one, such as `15101=openai`")


def _shared_ports(given: Mapping[str, str]) -> Iterator[SettingProblem]:
    """A port for two listeners. The order of starting would decide which of them is missing."""
    users: dict[int, list[str]] = defaultdict(list)
    for setting in (table.TRANSPARENT_PORT, table.EXPLICIT_PORT, table.ADMIN_PORT):
        with suppress(Fault):
            users[setting.read(given)].append(setting.name)
    with suppress(Fault):
        for endpoint in table.ENDPOINTS.read(given):
            users[endpoint.port].append(table.ENDPOINTS.name)
    for port, names in users.items():
        if len(names) > 1:
            message = f"port {port} is given to {' and '.join(names)}"
            yield SettingProblem(names[-1], message, "give each listener a port of its own")


def _exposed_folders(given: Mapping[str, str]) -> Iterator[SettingProblem]:
    """What only the sidecar may read does not lie in the folder that the application mounts."""
    shared = PurePosixPath(table.TRUST_DIR.read(given))
    for setting in (table.STATE_DIR, table.SECRETS_DIR, table.TOKENS_DIR):
        if PurePosixPath(setting.read(given)).is_relative_to(shared):
            message = f"it lies in {table.TRUST_DIR.name}, which the application reads"
            yield SettingProblem(setting.name, message, "choose a folder that only the sidecar mounts")


def _useless_proxy_credentials(given: Mapping[str, str]) -> Iterator[SettingProblem]:
    if table.EGRESS_PROXY_AUTH_FILE.read(given) and not table.EGRESS_PROXY.read(given):
        fix = f"set {table.EGRESS_PROXY.name} to the proxy that wants them, or unset this"
        yield SettingProblem(table.EGRESS_PROXY_AUTH_FILE.name, "no proxy is set for these credentials", fix)
    proxy = table.EGRESS_PROXY.read(given)
    if table.EGRESS_PROXY_AUTH_FILE.read(given) and proxy is not None and not proxy.tls:
        # All containers of a pod share one /etc/hosts, and root in any of them can write it.
        message = "a password would go in clear text to whoever has the proxy's name in this pod's network"
        fix = f"write `https://` in {table.EGRESS_PROXY.name}, or use a proxy that needs no password"
        yield SettingProblem(table.EGRESS_PROXY_AUTH_FILE.name, message, fix)


def _unheld_bodies(given: Mapping[str, str]) -> Iterator[SettingProblem]:
    if table.HELD_BODIES_LIMIT.read(given) < table.HASHED_BODY_LIMIT.read(given):
        message = f"one body may be larger ({table.HASHED_BODY_LIMIT.name}) than all of them together"
        fix = f"set it to at least what {table.HASHED_BODY_LIMIT.name} is"
        yield SettingProblem(table.HELD_BODIES_LIMIT.name, message, fix)


def _discovery_token(given: Mapping[str, str]) -> str | None:
    file = table.DISCOVERY_TOKEN_FILE.read(given)
    if file == "-":
        return None
    return file or f"{table.TOKENS_DIR.read(given)}/{contract.CLUSTER_TOKEN_FILE}"


def _settings(given: Mapping[str, str]) -> ProxySettings:
    return ProxySettings(
        listeners=ListenerSettings(
            capture=frozenset(table.CAPTURE.read(given)),
            transparent_port=table.TRANSPARENT_PORT.read(given),
            explicit_port=table.EXPLICIT_PORT.read(given),
            endpoints=table.ENDPOINTS.read(given),
            endpoint_token=table.ENDPOINT_TOKEN.read(given),
            admin_address=table.ADMIN_ADDRESS.read(given),
            admin_port=table.ADMIN_PORT.read(given),
            max_connections=table.MAX_CONNECTIONS.read(given),
            fast_lane=table.FAST_LANE.read(given),
        ),
        folders=FolderSettings(
            policy=table.POLICY_DIR.read(given),
            secrets=table.SECRETS_DIR.read(given),
            tokens=table.TOKENS_DIR.read(given),
            state=table.STATE_DIR.read(given),
            trust=table.TRUST_DIR.read(given),
            placeholders_file=table.PLACEHOLDERS_FILE.read(given),
        ),
        trust=TrustSettings(
            ca_lifetime=table.CA_LIFETIME.read(given),
            leaf_lifetime=table.LEAF_LIFETIME.read(given),
            upstream_ca_files=table.UPSTREAM_CA_FILES.read(given),
            roots_file=table.ROOTS_FILE.read(given),
        ),
        egress=EgressSettings(
            proxy=table.EGRESS_PROXY.read(given),
            auth_file=table.EGRESS_PROXY_AUTH_FILE.read(given),
            no_proxy=table.EGRESS_NO_PROXY.read(given),
        ),
        pod=PodSettings(
            namespace=table.NAMESPACE_NAME.read(given),
            service_account=table.SERVICE_ACCOUNT.read(given),
            pod_name=table.POD_NAME.read(given),
            pod_uid=table.POD_UID.read(given),
            node=table.NODE_NAME.read(given),
            cluster=table.CLUSTER.read(given),
            labels_file=table.LABELS_FILE.read(given),
            owner_file=table.OWNER_FILE.read(given),
            images_file=table.IMAGES_FILE.read(given),
            wants_gpu=table.GPU.read(given),
            mode=table.MODE.read(given),
        ),
        identity=IdentitySettings(
            audience=table.AUDIENCE.read(given),
            issuer=table.ISSUER.read(given),
            jwks_file=table.JWKS_FILE.read(given),
            discovery_url=table.DISCOVERY_URL.read(given),
            discovery_ca_file=table.DISCOVERY_CA_FILE.read(given),
            discovery_token_file=_discovery_token(given),
        ),
        timeouts=Timeouts(
            drain=table.DRAIN_TIMEOUT.read(given),
            idle=table.IDLE_TIMEOUT.read(given),
            header=table.HEADER_TIMEOUT.read(given),
            connect=table.CONNECT_TIMEOUT.read(given),
            request=table.REQUEST_TIMEOUT.read(given),
        ),
        bodies=BodySettings(
            hashed_limit=table.HASHED_BODY_LIMIT.read(given),
            held_limit=table.HELD_BODIES_LIMIT.read(given),
        ),
        output=OutputSettings(
            log_level=table.LOG_LEVEL.read(given),
            log_format=table.LOG_FORMAT.read(given),
            audit_file=table.AUDIT_FILE.read(given),
        ),
    )


# --- the page -------------------------------------------------------------------------------------


_PREFACE: Final = """\
`podkey run` reads these variables. Each is an option, too: `PODKEY_POLICY_DIR` is `--policy-dir`, and the
option wins. An empty variable counts as unset. Times have a unit (`25s`, `10m`, `24h`, `90d`), or are
seconds; sizes have one (`512Ki`, `16Mi`), or are bytes. A variable that begins with `PODKEY_` and is none of
these is an error, except where Kubernetes sets it for a Service of such a name. All problems are reported at
once. No setting turns the verification of upstream certificates off.""".splitlines()


def settings_page() -> Iterator[str]:
    """The lines of docs/settings.md, without its heading."""
    yield from _PREFACE
    for title, settings in table.SECTIONS.items():
        yield from ("", f"## {title}", "", "| variable | default | holds | |", "|---|---|---|---|")
        for setting in settings:
            default = "**required**" if setting.default is None else _default(setting.default)
            yield f"| `{setting.name}` | {default} | {setting.kind.what} | {setting.doc} |"
    yield from ("", "## Redirect", "")
    yield "Read by `podkey redirect`, which runs before the sidecar; the sidecar leaves them alone."
    yield from ("", "| variable | default | |", "|---|---|---|")
    for name, (default, doc) in REDIRECT.items():
        yield f"| `{name}` | {_default(default)} | {doc} |"


def _default(text: str) -> str:
    return f"`{text}`" if text else ""
