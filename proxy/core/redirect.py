"""Which calls of a pod come to the sidecar, and the nftables rules that bring them."""

from collections.abc import Iterable, Iterator
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    collapse_addresses,
    ip_address,
    ip_network,
)
from typing import Final, NamedTuple

from proxy.core.contract import CAPTURED_PORTS, METADATA_ADDRESSES, PROXY_UID, TRANSPARENT_PORT

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

TABLE: Final = "inet podkey"
# The nat hook rewrites the destination at -100; a filter at the usual 0 would see the proxy's address, and
# let a metadata address on a captured port pass. Connection tracking, which the guard asks, runs at -200.
GUARD_PRIORITY: Final = -150
NAT_PRIORITY: Final = -100


class Redirect(NamedTuple):
    """Everything the rules are made of. `documents/redirect_settings.py` refuses what makes no sense.

    No dataclass, and neither are the other records that `podkey redirect` loads: `dataclasses` takes 20 ms to
    load, while a pod waits (tests/unit/proxy/cli/test_main.py).
    """

    proxy_uid: int = PROXY_UID
    port: int = TRANSPARENT_PORT
    captured_ports: tuple[int, ...] = CAPTURED_PORTS
    excluded_ports: tuple[int, ...] = ()
    excluded_cidrs: tuple[Network, ...] = ()
    fence_metadata: bool = True
    metadata_addresses: tuple[Address, ...] = tuple(map(ip_address, METADATA_ADDRESSES))
    reject_quic: bool = True

    @property
    def ports(self) -> tuple[int, ...]:
        """The ports that are captured after all."""
        return tuple(p for p in dict.fromkeys(self.captured_ports) if p not in self.excluded_ports)


def render_ruleset(redirect: Redirect) -> str:
    """The whole table as one transaction for `nft -f`: it replaces an older one, or changes nothing."""
    spared = list(_by_family(redirect.excluded_cidrs, "accept"))
    ports = _set(redirect.ports)
    guard = [
        # `accept` ends this chain only; what other tables say still holds.
        f"meta skuid {redirect.proxy_uid} accept",
        # Also the pod's own addresses: the kernel routes them over lo.
        'oifname "lo" accept',
        # The last packets of a closed connection belong to no user any more.
        "ct state established accept",
    ]
    if redirect.fence_metadata:
        metadata = map(ip_network, redirect.metadata_addresses)
        guard += _by_family(metadata, "counter jump refuse")
    if redirect.reject_quic:
        guard += [*spared, f"udp dport {ports} counter jump refuse"]
    nat = [
        f"meta skuid {redirect.proxy_uid} accept",
        'oifname "lo" accept',
        *spared,
        # Only a beginning: a connection that is older than these rules stays as it is.
        f"tcp flags & (fin | syn | rst | ack) == syn tcp dport {ports} counter redirect to :{redirect.port}",
    ]
    # A reset, not ICMP: the kernel takes ICMP as a hint while the caller is inside connect(), and tries again
    # for a second.
    refuse = ["meta l4proto tcp reject with tcp reset", "reject with icmpx port-unreachable"]
    lines = [
        *_REMOVAL,
        f"table {TABLE} {{",
        *_chain("refuse", refuse),
        *_chain("guard", [f"type filter hook output priority {GUARD_PRIORITY}; policy accept;", *guard]),
        *_chain("capture", [f"type nat hook output priority {NAT_PRIORITY}; policy accept;", *nat]),
        "}",
    ]
    return "\n".join(lines) + "\n"


def render_removal() -> str:
    """Takes the table away, and is content when there is none."""
    return "\n".join(_REMOVAL) + "\n"


# `destroy table` would be one line, and needs Linux 6.3. Declared first, the table is always there to delete.
_REMOVAL: Final = (f"table {TABLE} {{}}", f"delete table {TABLE}")


def _chain(name: str, rules: Iterable[str]) -> Iterator[str]:
    yield f"    chain {name} {{"
    yield from (f"        {rule}" for rule in rules)
    yield "    }"


def _set(items: Iterable[object]) -> str:
    return "{ " + ", ".join(map(str, items)) + " }"


def _by_family(networks: Iterable[Network], verdict: str) -> Iterator[str]:
    """One rule per family that occurs. What a program writes as `::ffff:a.b.c.d` leaves it as IPv4."""
    everything = list(networks)
    # Overlapping items become one: older releases of nft refuse a set that holds an address twice.
    four = map(_shortest, collapse_addresses(n for n in everything if isinstance(n, IPv4Network)))
    six = map(_shortest, collapse_addresses(n for n in everything if isinstance(n, IPv6Network)))
    for keyword, found in (("ip", [*four]), ("ip6", [*six])):
        if found:
            yield f"{keyword} daddr {_set(found)} {verdict}"


def _shortest(network: Network) -> str:
    return str(network.network_address if network.prefixlen == network.max_prefixlen else network)
