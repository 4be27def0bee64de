"""Loopback listeners, and what the kernel knows of a connection that came to one."""

import errno
import resource
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final

from proxy.core.contract import METADATA_ADDRESSES
from proxy.lanes.interface import Address

LOOPBACK: Final = ("127.0.0.1", "::1")
# Connections that wait to be accepted while the loop is busy; the kernel cuts it at somaxconn.
BACKLOG: Final = 1024

# Listeners, logs, watched files, probes and scrapes.
SPARE_FILES: Final = 128

# An address that the machine has lost is taken for its own for so long at most.
NEIGHBOUR_SECONDS: Final = 5.0
# All of 127.0.0.0/8 is ours.
MAX_NEIGHBOURS: Final = 64
# Addresses that were read before: an application calls the same ones again and again.
MAX_READ: Final = 256

# linux/netfilter_ipv4.h and linux/netfilter_ipv6/ip6_tables.h: both are 80.
_SO_ORIGINAL_DST: Final = 80
_IP6T_SO_ORIGINAL_DST: Final = 80
# struct sockaddr_in: family, port, address, padding. struct sockaddr_in6: family, port, flow, address, scope.
_SOCKADDR_IN: Final = struct.Struct("!2xH4s8x")
_SOCKADDR_IN6: Final = struct.Struct("!2xH4x16s4x")

_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)

_NAT64: Final = IPv6Network("64:ff9b::/96")  # RFC 6052 §2.1
_METADATA: Final = frozenset(map(ip_address, METADATA_ADDRESSES))


def listen_on_loopback(port: int) -> list[socket.socket]:
    """Listening sockets on 127.0.0.1 and ::1. A machine without IPv6 gets the first only.

    REDIRECT in the output hook sends to the loopback address, so nothing has to listen anywhere else, and
    nobody from outside the pod can connect.
    """
    listeners = []
    try:
        for host in LOOPBACK:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            try:
                listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            except OSError as error:
                if family == socket.AF_INET6 and error.errno == errno.EAFNOSUPPORT:
                    continue
                raise
            listeners.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # A second sidecar process may listen beside this one, and the kernel shares connections out among
            # them; only processes of our own user may, and nobody else runs as that.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            try:
                listener.bind((host, port))
            except OSError as error:
                if family == socket.AF_INET6 and error.errno == errno.EADDRNOTAVAIL:
                    listeners.pop().close()  # IPv6 is compiled in and switched off
                    continue
                raise
            listener.listen(BACKLOG)
    except OSError:
        for listener in listeners:
            listener.close()
        raise
    return listeners


def connections_that_fit(wanted: int) -> int:
    """How many connections there are file descriptors for: each takes two, and the rest of us some more.

    The soft limit is raised to the hard one, which needs no privilege.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 2 * wanted + SPARE_FILES
    if hard == resource.RLIM_INFINITY or hard >= needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))
        return wanted
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return max(1, (hard - SPARE_FILES) // 2)


def original_destination(sock: socket.socket) -> Address | None:
    """Where the application meant to go before nft sent it here; None when it came straight to us."""
    try:
        if sock.family == socket.AF_INET:
            raw = sock.getsockopt(socket.SOL_IP, _SO_ORIGINAL_DST, _SOCKADDR_IN.size)
            port, packed = _SOCKADDR_IN.unpack(raw)
            found = (socket.inet_ntop(socket.AF_INET, packed), port)
        else:
            raw = sock.getsockopt(socket.IPPROTO_IPV6, _IP6T_SO_ORIGINAL_DST, _SOCKADDR_IN6.size)
            port, packed = _SOCKADDR_IN6.unpack(raw)
            found = (str(IPv6Address(packed)), port)
        here = sock.getsockname()
    except OSError:
        # No entry in the connection tracker, or no tracker: the connection was not redirected.
        return None
    # Without redirect the tracker names our own listener; to connect there would be to call ourselves.
    return None if here[1] == port and ip_address(here[0]) == ip_address(found[0]) else found


def is_of_this_machine(host: str) -> bool:
    """Whether an address is one of our own network namespace.

    A redirected connection has the pod's address as its source. Binding tells: the kernel gives only its own
    addresses away. This stands behind the loopback listener, for hosts with `route_localnet` switched on.
    """
    address = ip_address(host)
    if address.is_loopback:
        return True
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((host, 0))
    except OSError:
        return False  # also where there is no descriptor left to ask with
    return True


class Neighbours:
    """`is_of_this_machine`, asked once in a while: the applications of a pod call from an address or two."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        # Only those that are: until when that is taken for granted.
        self._until: dict[str, float] = {}

    def __call__(self, host: str) -> bool:
        now = self._now()
        if now < self._until.get(host, 0.0):
            return True
        self._until.pop(host, None)
        if not is_of_this_machine(host):
            return False
        if len(self._until) >= MAX_NEIGHBOURS:
            self._until.clear()
        self._until[host] = now + NEIGHBOUR_SECONDS
        return True


def is_fenced(host: str) -> bool:
    """Whether no connection is opened to the address on behalf of an application.

    We run as the user whom the fence in nft lets through, so we have to hold it ourselves.
    """
    address = _plain(host)
    return address in _METADATA or address.is_unspecified


def is_loopback(host: str) -> bool:
    return _plain(host).is_loopback


@lru_cache(maxsize=MAX_READ)
def _plain(host: str) -> IPv4Address | IPv6Address:
    """The address that is meant: `::ffff:169.254.169.254` and its kin reach the IPv4 host."""
    address = ip_address(host.partition("%")[0])
    if isinstance(address, IPv6Address):
        if address in _NAT64:
            return IPv4Address(address.packed[-4:])
        return address.ipv4_mapped or address.sixtofour or address
    return address


def reset(sock: socket.socket) -> None:
    """Close at once, so that the other side sees a reset instead of waiting."""
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    sock.close()
