"""TLS of the fast lane, both sides: a leaf for the one name that the application asked for, and upstreams
that are always verified, for exactly that name.

By the standard library, on the socket itself: OpenSSL may then leave encryption to the kernel.
"""

import errno
import os
import socket
import ssl
from collections import OrderedDict
from typing import Final, Protocol

from proxy.core.hosts import Hostname
from proxy.lanes.interface import Distrust, KernelTls

HTTP1: Final = "http/1.1"
# A context costs some 31 KiB. A pod speaks to a dozen governed hosts.
MAX_CONTEXTS: Final = 256
# RFC 8446 §4.6.1. One is enough for a client that comes back; OpenSSL's two cost a record more.
TICKETS: Final = 1
# Many clients never come back by one: Python's libraries do not, nor does Go unless it is told to. After so
# many handshakes in a row without one that was resumed, only some are given one: to make it takes a tenth of
# a handshake. Whoever comes back by it has everybody given one again.
TICKETS_IN_VAIN: Final = 64
TICKET_EVERY: Final = 8
# Of clients that resume TLS 1.2 without tickets OpenSSL keeps 20,480 sessions for two hours, and Python does
# not let us say less. One takes some 800 bytes: all of them are 16 MiB for each host, these are 0.2 MiB.
MAX_SESSIONS: Final = 256
# To count them takes 4 µs: it is done at one connection of so many.
COUNT_EVERY: Final = 64
# linux/tcp.h, linux/socket.h, linux/tls.h.
_TCP_ULP: Final = 31
_SOL_TLS: Final = 282
_TLS_TX: Final = 1
_TLS_RX: Final = 2
# `struct tls_crypto_info`, version and cipher. Who asks for more than this gets the key, too.
_CRYPTO_INFO: Final = 4
# Where OpenSSL was built with it and the kernel has it, records are encrypted on their way out.
KERNEL_TLS: Final = getattr(ssl, "OP_ENABLE_KTLS", 0)
_OPTIONS: Final = ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
# As OpenSSL names the alerts by which a client says no to our certificate (RFC 8446 §6.2: 42 to 46,
# and 48), or to its signature (51: of two authorities by one name it has the other). What stands
# before says in which version they came to be.
_DISTRUST: Final = (
    "_ALERT_BAD_CERTIFICATE", "_ALERT_UNSUPPORTED_CERTIFICATE", "_ALERT_CERTIFICATE_REVOKED",
    "_ALERT_CERTIFICATE_EXPIRED", "_ALERT_CERTIFICATE_UNKNOWN", "_ALERT_UNKNOWN_CA", "_ALERT_DECRYPT_ERROR",
)  # fmt: skip


class Leaf(Protocol):
    """A certificate for one host, and its key, as OpenSSL reads them from files."""

    @property
    def chain_pem(self) -> bytes: ...
    def key_pem(self) -> bytes: ...


class Leaves(Protocol):
    def leaf_for(self, host: Hostname) -> Leaf:
        """Raises where none can be made: the connection then ends before its handshake."""
        ...


class _Kept:
    """A context, made for a leaf."""

    __slots__ = ("_asked", "_in_vain", "context", "leaf")

    def __init__(self, leaf: Leaf) -> None:
        self.leaf = leaf
        self.context = _server_context(leaf)
        self._asked = 0
        # Handshakes since one was resumed.
        self._in_vain = 0

    def offer(self) -> None:
        """Settle whether the next handshake ends with a ticket."""
        self._in_vain += 1
        gives = self._in_vain <= TICKETS_IN_VAIN or self._in_vain % TICKET_EVERY == 0
        self.context.num_tickets = TICKETS if gives else 0

    def came_back(self) -> None:
        self._in_vain = 0

    def is_full(self) -> bool:
        """Whether it has as many sessions as it may; to be asked once for each connection."""
        self._asked += 1
        return self._asked % COUNT_EVERY == 0 and self.context.session_stats()["number"] >= MAX_SESSIONS


class ClientTls:
    """Contexts by host, remade when the leaf is, and before one keeps too many sessions."""

    def __init__(self, leaves: Leaves) -> None:
        self._leaves = leaves
        self._contexts: OrderedDict[Hostname, _Kept] = OrderedDict()

    def came_back(self, name: Hostname) -> None:
        """A client resumed a session with this host."""
        if (known := self._contexts.get(name)) is not None:
            known.came_back()

    def context(self, name: Hostname) -> ssl.SSLContext:
        """For the next handshake, and no other."""
        leaf = self._leaves.leaf_for(name)
        known = self._contexts.get(name)
        if known is None or known.leaf is not leaf or known.is_full():
            known = self._contexts[name] = _Kept(leaf)
            if len(self._contexts) > MAX_CONTEXTS:
                self._contexts.popitem(last=False)
        self._contexts.move_to_end(name)
        known.offer()
        return known.context


def _server_context(leaf: Leaf) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= _OPTIONS
    # OpenSSL would ask for it in every handshake, twice in each direction. This context is made anew within a
    # day, and finds out whether the kernel has learnt it since.
    if kernel_has_tls():
        context.options |= KERNEL_TLS
    context.num_tickets = TICKETS
    context.set_alpn_protocols([HTTP1])
    # OpenSSL takes a chain and a key from a file only. This one has no name and is gone when it is closed.
    number = os.memfd_create("leaf", os.MFD_CLOEXEC)
    try:
        os.write(number, leaf.chain_pem + leaf.key_pem())
        context.load_cert_chain(f"/proc/self/fd/{number}")
    finally:
        os.close(number)
    return context


class UpstreamTls:
    """One context for all connections: reading a root store takes 18 ms and some megabytes."""

    def __init__(self, roots_pem: bytes) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # There is no other mode, and no setting that asks for one.
        context.verify_mode = ssl.CERT_REQUIRED
        context.check_hostname = True
        # The subject's common name is no host name (RFC 6125 §6.4.4).
        context.hostname_checks_common_name = False
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= _OPTIONS | KERNEL_TLS
        context.set_alpn_protocols([HTTP1])
        context.load_verify_locations(cadata=roots_pem.decode("ascii"))
        self.context = context


def sign_of_distrust(error: ssl.SSLError) -> Distrust | None:
    """Whether the handshake may have ended because the client did not want our certificate.

    Its hello was read before, so that who leaves has been shown it. Clients that stand on asyncio, such as
    aiohttp, do not send the alert.
    """
    if (error.reason or "").endswith(_DISTRUST):
        return Distrust.SAID
    return Distrust.LEFT if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError) else None


def kernel_has_tls() -> bool:
    """Whether it can be asked for at all: it is refused to a socket that is not connected, and named so."""
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.IPPROTO_TCP, _TCP_ULP, b"tls")
    except OSError as error:
        return error.errno == errno.ENOTCONN
    return True


def in_kernel(sock: socket.socket) -> KernelTls:
    """In which directions the kernel does TLS on this socket, whose handshake is over.

    `tls` as its upper layer protocol is not enough: OpenSSL asks for that first, and goes on by itself where
    the kernel does not have the cipher.
    """
    try:
        if not sock.getsockopt(socket.IPPROTO_TCP, _TCP_ULP, 16).startswith(b"tls"):
            return KernelTls.NOTHING
    except OSError:
        return KernelTls.NOTHING
    sends = KernelTls.SENDS if _has_keys(sock, _TLS_TX) else KernelTls.NOTHING
    return sends | KernelTls.RECEIVES if _has_keys(sock, _TLS_RX) else sends


def _has_keys(sock: socket.socket, direction: int) -> bool:
    try:
        return any(sock.getsockopt(_SOL_TLS, direction, _CRYPTO_INFO))
    except OSError:  # EBUSY: it was given none
        return False
