"""Tries out whether the redirect holds, as an application of this pod would meet it.

Needs no privilege. The probes go to documentation addresses (RFC 5737, RFC 3849), which nobody has: what
answers there is the redirect. They speak no protocol, and end with a reset.
"""

import errno
import os
import socket
import struct
from contextlib import ExitStack
from ipaddress import IPv4Address, IPv6Address, ip_address
from time import monotonic
from typing import Final, NamedTuple

from proxy.core.redirect import Redirect

# Redirects and refusals come from this kernel, in less than a millisecond; what has left the pod and is not
# answered by then would not be answered later.
PROBE_SECONDS: Final = 2.0
# Metadata services speak HTTP; on this port, which is captured, a fence behind the redirect comes too late.
METADATA_PORT: Final = 80
# RFC 863: where nothing answers. It is not captured, so that no rule against QUIC refuses it.
DISCARD_PORT: Final = 9
# linux/netfilter_ipv4.h and linux/netfilter_ipv6/ip6_tables.h have the same number.
SO_ORIGINAL_DST: Final = 80
_SOCKADDR_IN6_BYTES: Final = 28

_REAPPLY: Final = "run `podkey redirect apply` with the same settings, in an init container with NET_ADMIN"
_OTHER_RULES: Final = (
    "look for other rules in this pod (`nft list ruleset`): a service mesh needs to leave it out"
)


class Check(NamedTuple):
    """One thing that should hold; it does when there is nothing to fix."""

    name: str
    detail: str
    fix: str = ""

    @property
    def ok(self) -> bool:
        return not self.fix


class _Family(NamedTuple):
    name: str
    kind: socket.AddressFamily
    level: int
    loopback: str
    nobody: str

    def listener_at(self, port: int) -> str:
        return f"[{self.loopback}]:{port}" if ":" in self.loopback else f"{self.loopback}:{port}"

    def original_destination(self, connection: socket.socket) -> tuple[str, int]:
        try:
            raw = connection.getsockopt(self.level, SO_ORIGINAL_DST, _SOCKADDR_IN6_BYTES)
        except OSError:  # not translated by this kernel's connection tracking
            address, port = connection.getsockname()[:2]
            return str(address), int(port)
        (port,) = struct.unpack_from("!H", raw, 2)
        original = IPv4Address(raw[4:8]) if self.kind is socket.AF_INET else IPv6Address(raw[8:24])
        return str(original), port


_FOUR: Final = _Family("IPv4", socket.AF_INET, socket.IPPROTO_IP, "127.0.0.1", "192.0.2.1")
_SIX: Final = _Family("IPv6", socket.AF_INET6, socket.IPPROTO_IPV6, "::1", "2001:db8::1")


def verify_redirect(redirect: Redirect) -> list[Check]:
    """What an application meets in this network namespace, as the user that runs this."""
    # The kernel compares the user that opened the socket.
    if os.geteuid() == redirect.proxy_uid:
        detail = f"this runs as {redirect.proxy_uid}, the proxy's own user, which the redirect spares"
        return [Check("user", detail, "run it as any other user, such as an application's")]
    untried = {family: reason for family in (_FOUR, _SIX) if (reason := _untriable(family, redirect))}
    checks = [Check(family.name, reason) for family, reason in untried.items()]
    if len(checks) == 2:
        detail = "; ".join(untried.values())
        return [Check("network", detail, "run it in a pod whose network is up")]
    with ExitStack() as stack:
        tried = [family for family in (_FOUR, _SIX) if family not in untried]
        listeners = {family: _listen(family, redirect.port, stack) for family in tried}
        for family in tried:
            checks.append(_tcp(family, redirect, listeners))
            if redirect.reject_quic:
                checks.append(_quic(family, redirect))
        if redirect.fence_metadata:
            checks.append(_fence(redirect))
    return checks


def _untriable(family: _Family, redirect: Redirect) -> str:
    if error := _no_route(family, family.nobody):
        return f"no {family.name} here ({error})"
    if any(ip_address(family.nobody) in network for network in redirect.excluded_cidrs):
        return f"cannot be tried, because {family.nobody} is in an excluded network"
    return ""


# --- TCP -----------------------------------------------------------------------------------------


def _tcp(family: _Family, redirect: Redirect, listeners: dict[_Family, socket.socket | OSError]) -> Check:
    name = f"{family.name} TCP"
    place = family.listener_at(redirect.port)
    listener = listeners[family]
    if isinstance(listener, OSError) and listener.errno != errno.EADDRINUSE:
        fix = "bring the loopback interface up; below port 1024 the proxy needs NET_BIND_SERVICE"
        return Check(name, f"nobody can listen on {place}: {_words(listener)}", fix)
    for port in redirect.ports:
        if (fault := _tcp_fault(family, port, redirect, listener)) is not None:
            return Check(name, *fault)
    taken = [other for other, held in listeners.items() if isinstance(held, OSError)]
    if taken and family not in taken:
        detail = f"calls go to {place}, where nothing listens, though the proxy listens for {taken[0].name}"
        return Check(name, detail, f"let the proxy listen on {place} as well")
    return Check(name, f"calls to {_ports(redirect)} arrive at {place}")


def _tcp_fault(
    family: _Family, port: int, redirect: Redirect, listener: socket.socket | OSError
) -> tuple[str, str] | None:
    """What is wrong and its fix; None when the call arrived where it should."""
    place = family.listener_at(redirect.port)
    with socket.socket(family.kind, socket.SOCK_STREAM) as probe:
        probe.settimeout(PROBE_SECONDS)
        # The end is a reset: a sidecar that answers must not wait for a request.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        try:
            probe.connect((family.nobody, port))
        except ConnectionRefusedError:
            detail = f"port {port} is refused: a rule rejects it, or sends it to where nothing listens"
            return detail, f"{_REAPPLY}; if that does not help {_OTHER_RULES}"
        except OSError as error:
            return f"port {port} left the pod: it is not redirected ({_words(error)})", _REAPPLY
        if isinstance(listener, OSError):
            return None  # the sidecar has the port, and nobody else could answer
        arrived = _arrival(family, listener, probe.getsockname(), port)
    if arrived is None:
        return f"port {port} was answered, but not at {place}: something else redirects it", _OTHER_RULES
    if arrived != (family.nobody, port):
        detail = f"port {port} arrives at {place}, but its original destination is lost"
        return f"{detail} ({arrived[0]} port {arrived[1]})", _OTHER_RULES
    return None


def _listen(family: _Family, port: int, stack: ExitStack) -> socket.socket | OSError:
    """Stands in for the sidecar while it does not run yet; else the error: its port is taken already."""
    listener = stack.enter_context(socket.socket(family.kind, socket.SOCK_STREAM))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family.kind is socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    try:
        listener.bind((family.loopback, port))
        listener.listen()
    except OSError as error:
        return error
    return listener


def _arrival(
    family: _Family, listener: socket.socket, sender: tuple[str, int], port: int
) -> tuple[str, int] | None:
    """The original destination of the call from `sender`; calls of other programs are dropped.

    It may arrive with another port: calls to all destinations end at one, so a port that is free at the first
    may be taken here, and the kernel changes it. But who calls an address that nobody has is the probe.
    """
    until = monotonic() + PROBE_SECONDS
    left = PROBE_SECONDS
    while left > 0:
        listener.settimeout(left)
        try:
            connection, peer = listener.accept()
        except TimeoutError:
            break
        with connection:
            arrived = family.original_destination(connection)
            if peer[:2] == sender[:2] or arrived == (family.nobody, port):
                return arrived
        left = until - monotonic()
    return None


# --- UDP and the metadata addresses --------------------------------------------------------------


def _quic(family: _Family, redirect: Redirect) -> Check:
    name = f"{family.name} QUIC"
    for port in redirect.ports:
        if not _stopped_here(family, family.nobody, port):
            return Check(name, f"UDP port {port} leaves the pod: QUIC goes around the proxy", _REAPPLY)
    return Check(name, f"UDP to {_ports(redirect)} is refused at once")


def _fence(redirect: Redirect) -> Check:
    for address in map(str, redirect.metadata_addresses):
        family = _SIX if ":" in address else _FOUR
        if _no_route(family, address) is None and (fault := _fence_fault(family, address)):
            fix = f"{_REAPPLY}; or say with PODKEY_FENCE_METADATA=false that applications may use it"
            return Check("metadata", f"{address} is not fenced: {fault}", fix)
    return Check("metadata", f"{len(redirect.metadata_addresses)} metadata addresses are out of reach")


def _fence_fault(family: _Family, address: str) -> str:
    if not _stopped_here(family, address, DISCARD_PORT):
        return "calls to it leave the pod"
    with socket.socket(family.kind, socket.SOCK_STREAM) as probe:
        probe.settimeout(PROBE_SECONDS)
        try:
            probe.connect((address, METADATA_PORT))
        except ConnectionRefusedError:
            return ""
        except OSError as error:
            return f"TCP is not refused at once ({_words(error)})"
    return f"TCP port {METADATA_PORT} answers; a fence behind the redirect never sees it"


def _stopped_here(family: _Family, address: str, port: int) -> bool:
    """Whether this kernel refuses to send a datagram there. Only a rule of this pod makes that an EPERM."""
    with socket.socket(family.kind, socket.SOCK_DGRAM) as probe:
        try:
            probe.sendto(b"\0", (address, port))
        except PermissionError:
            return True
        except OSError:
            return False
    return False


# --- words ---------------------------------------------------------------------------------------


def _no_route(family: _Family, address: str) -> str | None:
    """Why nothing can be sent there; a UDP connect asks the routes and sends nothing."""
    try:
        with socket.socket(family.kind, socket.SOCK_DGRAM) as probe:
            probe.connect((address, METADATA_PORT))
    except OSError as error:
        return _words(error)
    return None


def _ports(redirect: Redirect) -> str:
    return ", ".join(map(str, redirect.ports))


def _words(error: OSError) -> str:
    return "no answer" if isinstance(error, TimeoutError) else str(error.strerror)
