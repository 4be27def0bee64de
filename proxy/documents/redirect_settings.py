"""The settings of the redirect: environment variables become a `Redirect`, or all their problems."""

from collections.abc import Mapping
from typing import Final

from proxy.core.contract import (
    CAPTURE_PORTS_VARIABLE,
    EXCLUDE_CIDRS_VARIABLE,
    EXCLUDE_PORTS_VARIABLE,
    FENCE_METADATA_VARIABLE,
    PROXY_UID_VARIABLE,
    REJECT_QUIC_VARIABLE,
    TRANSPARENT_PORT_VARIABLE,
)
from proxy.core.redirect import Network, Redirect
from proxy.documents.problems import Fault
from proxy.documents.setting_values import (
    SettingProblem,
    SettingsReader,
    parse_flag,
    parse_network,
    parse_port,
    parse_uid,
)

ROOT: Final = 0
# "nobody", and the number under which the kernel shows every user that a user namespace does not map.
OVERFLOW_UID: Final = 65_534


def read_redirect(environment: Mapping[str, str]) -> Redirect | list[SettingProblem]:
    settings = SettingsReader(environment)
    default = Redirect()
    redirect = Redirect(
        proxy_uid=settings.read(PROXY_UID_VARIABLE, _proxy_uid, default.proxy_uid),
        port=settings.read(TRANSPARENT_PORT_VARIABLE, parse_port, default.port),
        captured_ports=settings.read_list(CAPTURE_PORTS_VARIABLE, parse_port, default.captured_ports),
        excluded_ports=settings.read_list(EXCLUDE_PORTS_VARIABLE, parse_port, default.excluded_ports),
        excluded_cidrs=settings.read_list(EXCLUDE_CIDRS_VARIABLE, _excludable, default.excluded_cidrs),
        fence_metadata=settings.read(FENCE_METADATA_VARIABLE, parse_flag, default.fence_metadata),
        reject_quic=settings.read(REJECT_QUIC_VARIABLE, parse_flag, default.reject_quic),
    )
    broken = {problem.name for problem in settings.problems}
    lists = {CAPTURE_PORTS_VARIABLE, EXCLUDE_PORTS_VARIABLE}
    if not redirect.ports and not broken & lists:
        message = "every captured port is excluded, so nothing would be captured"
        fix = "leave a port to capture, or set PODKEY_CAPTURE=explicit to go without the redirect"
        settings.problems.append(SettingProblem(EXCLUDE_PORTS_VARIABLE, message, fix))
    if redirect.port in redirect.ports and not broken & {*lists, TRANSPARENT_PORT_VARIABLE}:
        message = f"{redirect.port} is the proxy's own port"
        fix = f"capture other ports, or move the proxy with {TRANSPARENT_PORT_VARIABLE}"
        settings.problems.append(SettingProblem(CAPTURE_PORTS_VARIABLE, message, fix))
    return settings.problems or redirect


def _proxy_uid(text: str) -> int:
    uid = parse_uid(text)
    fix = "give the proxy a user that nothing else in the pod has, such as 1337"
    if uid == ROOT:
        raise Fault("everything that runs as root would go around the proxy", fix)
    if uid == OVERFLOW_UID:
        message = f"many images run as {uid} (nobody), and so does what a user namespace does not map"
        raise Fault(f"{message}: it would go around the proxy", fix)
    return uid


def _excludable(text: str) -> Network:
    network = parse_network(text)
    if network.prefixlen == 0:
        fix = "name the networks that stay out, or set PODKEY_CAPTURE=explicit to go without the redirect"
        raise Fault(f"`{text}` leaves nothing of IPv{network.version} to capture", fix)
    return network
