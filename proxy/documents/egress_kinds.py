"""What the settings of the egress proxy may hold."""

import re
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final

from proxy.core.hosts import parse_hostname
from proxy.core.settings import EgressProxy
from proxy.documents.problems import Fault
from proxy.documents.setting_kinds import Kind, shown
from proxy.documents.setting_values import MAX_PORT, parse_network

_URL = re.compile(r"(https?)://(\[[0-9a-f:.]+\]|[^\[\]/:]+):([0-9]{1,5})/?", re.IGNORECASE).fullmatch
_FIX: Final = "write `http://proxy.example.com:3128`, or `https://…` for a proxy that speaks TLS itself"


def _proxy(text: str) -> EgressProxy:
    if "@" in text:
        # Not shown, not even its beginning: that is where the user name stands.
        message = "it holds a user name or a password, and an environment is no place for one"
        raise Fault(
            message, "write `user:password` to a file, and name that in PODKEY_EGRESS_PROXY_AUTH_FILE"
        )
    found = _URL(text)
    host = found and _host(found[2])
    if not found or not host or not 0 < int(found[3]) <= MAX_PORT:
        raise Fault(f"{shown(text)} is not the URL of a proxy", _FIX)
    return EgressProxy(host, int(found[3]), tls=found[1].lower() == "https")


def _host(text: str) -> str | None:
    try:
        return str(ip_address(text.removeprefix("[").removesuffix("]")))
    except ValueError:
        return parse_hostname(text)


def _no_proxy_entry(text: str) -> str | IPv4Network | IPv6Network:
    if "/" in text:
        return parse_network(text)
    try:
        return ip_network(text)
    except ValueError:
        name = "*" if text == "*" else parse_hostname(text.removeprefix("."))
    if name is None:
        fix = "write it without scheme and port: `.svc`, `idp.example.com`, `10.0.0.0/8` or `*`"
        raise Fault(f"{shown(text)} is neither a host nor a network", fix)
    return f".{name}" if text.startswith(".") else name


PROXY: Final = Kind("`http://HOST:PORT` or `https://HOST:PORT`", _proxy)
NO_PROXY_ENTRY: Final = Kind("a host, a `.suffix`, an address, a CIDR or `*`", _no_proxy_entry)
