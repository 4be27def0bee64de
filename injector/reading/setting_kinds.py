"""What the injector's environment variables may hold; the table of them is in `settings_table.py`."""

import ipaddress
import re
from typing import Final

from injector.core.intent import Quantities
from injector.reading.quantities import QuantityFault, read_quantity, thousandths, whole_units
from proxy.core.structs import replace
from proxy.documents.egress_kinds import NO_PROXY_ENTRY
from proxy.documents.problems import Fault, did_you_mean
from proxy.documents.setting_kinds import Kind, matching, number, shown
from proxy.documents.setting_values import parse_flag, parse_network


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise Fault(f"{shown(text)} is not an IP address", "write one, such as `::` or `10.0.0.1`") from None


def _no_proxy_name(text: str) -> str:
    return str(NO_PROXY_ENTRY.parse(text))


# Between blanks in an annotation, so it holds none. The reference itself is the kubelet's to judge.
IMAGE: Final = matching(
    "an image",
    r"[A-Za-z0-9\[][A-Za-z0-9._:/@\[\]-]{0,511}",
    "write registry, repository and tag or digest",
)
PULL_POLICY: Final = matching(
    "`Always`, `IfNotPresent` or `Never`", r"Always|IfNotPresent|Never", "write one of the three"
)
ADDRESS: Final = Kind("an IP address", _address)
# Below 1024 a listener needs a capability (CAP_NET_BIND_SERVICE) that the injector does not have.
PORT: Final = number("a port", 1024, 65535)
TRUTH: Final = Kind("`true` or `false`", parse_flag)
NETWORK: Final = Kind("a CIDR", parse_network)
NO_PROXY: Final = Kind(NO_PROXY_ENTRY.what, _no_proxy_name)
# As Kubernetes names extended resources and device classes: a domain and a name.
ACCELERATOR: Final = matching(
    "a resource's name",
    r"(?=.{3,317}$)[a-z0-9]([a-z0-9.-]*[a-z0-9])?/[A-Za-z0-9]([A-Za-z0-9._-]*(\*|[A-Za-z0-9]))?",
    "write it with its domain, such as `example.com/npu` or `example.com/npu-*`",
)
_LABEL: Final = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_SUBDOMAIN: Final = rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*"
NAMESPACE: Final = matching("a namespace", _LABEL, "take it from the field metadata.namespace")
NAME: Final = matching("a Kubernetes name", _SUBDOMAIN, "write the name as Kubernetes shows it")
# RFC 1035, as Kubernetes asks of Services.
SERVICE: Final = matching("a Service's name", r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", "write the Service's name")
POD_NAME: Final = matching("a pod's name", _SUBDOMAIN, "take it from the field metadata.name")
DOMAIN: Final = matching("a DNS domain", _SUBDOMAIN, "write the kubelet's `clusterDomain`")

_QUANTITY_FIELDS: Final = {
    "cpu-request": "cpu_request",
    "cpu-limit": "cpu_limit",
    "memory-request": "memory_request",
    "memory-limit": "memory_limit",
}
# More than any node has. A quantity above it is a slip, and numbers of a thousand digits cost time.
_MOST_OF_A_QUANTITY: Final = 1 << 50


def _quantity(name: str, text: str) -> int:
    try:
        nanos = read_quantity(text)
    except QuantityFault as fault:
        raise Fault(f"{name}: {shown(text)} is {fault}", "write it as Kubernetes does") from None
    value = thousandths(nanos) if name.startswith("cpu-") else whole_units(nanos)
    if not 0 < value <= _MOST_OF_A_QUANTITY:
        raise Fault(
            f"{name}: {shown(text)} is no amount to run with", "write `100m` of CPU, `128Mi` of memory"
        )
    return value


def _quantities(text: str) -> Quantities:
    """Those that are named; the others stay None."""
    found: dict[str, int] = {}
    for item in text.split():
        name, equals, value = item.partition("=")
        if not equals or name not in _QUANTITY_FIELDS:
            fix = did_you_mean(name, _QUANTITY_FIELDS)
            raise Fault(f"{shown(item)} is not an amount such as `cpu-request=100m`", fix)
        if _QUANTITY_FIELDS[name] in found:
            raise Fault(f"{name} stands there twice", "write each once")
        found[_QUANTITY_FIELDS[name]] = _quantity(name, value)
    return replace(Quantities(), **found)


QUANTITIES: Final = Kind(f"`NAME=QUANTITY` between blanks, of {', '.join(_QUANTITY_FIELDS)}", _quantities)


def _variables(text: str) -> tuple[tuple[str, str], ...]:
    found: dict[str, str] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        name, equals, value = line.partition("=")
        if not equals or not re.fullmatch(r"[A-Z][A-Z0-9_]*", name):
            # Not shown: a value that went astray may be one that nobody should see.
            raise Fault("a line is not `NAME=value`", "write one setting of the sidecar on each line")
        if name in found:
            raise Fault(f"{name} stands there twice", "write each once")
        found[name] = value.strip()
    return tuple(found.items())


VARIABLES: Final = Kind("`NAME=value`, one on each line", _variables)
