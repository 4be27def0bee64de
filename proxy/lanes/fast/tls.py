"""TLS of the fast lane, both sides: a leaf for the one name that the application asked for, and upstreams
that are always verified, for exactly that name.

By the standard library, on the socket itself: OpenSSL may then leave encryption to the kernel.
"""

import os
import socket
import ssl
from collections import OrderedDict
from typing import Final, Protocol

from proxy.core.hosts import Hostname

HTTP1: Final = "http/1.1"
# A context costs some 31 KiB. A pod speaks to a dozen governed hosts.
MAX_CONTEXTS: Final = 256
# RFC 8446 §4.6.1. One is enough for a client that comes back; OpenSSL's two cost a record more.
TICKETS: Final = 1
# linux/tcp.h.
_TCP_ULP: Final = 31
# Where OpenSSL was built with it and the kernel has it, records are encrypted on their way out.
KERNEL_TLS: Final = getattr(ssl, "OP_ENABLE_KTLS", 0)
_OPTIONS: Final = (
    ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE | KERNEL_TLS
)


class Leaf(Protocol):
    """A certificate for one host, and its key, as OpenSSL reads them from files."""

    @property
    def chain_pem(self) -> bytes: ...
    def key_pem(self) -> bytes: ...


class Leaves(Protocol):
    def leaf_for(self, host: Hostname) -> Leaf:
        """Raises where none can be made: the connection then ends before its handshake."""
        ...


class ClientTls:
    """Contexts by host, remade when the leaf is."""

    def __init__(self, leaves: Leaves) -> None:
        self._leaves = leaves
        self._contexts: OrderedDict[Hostname, tuple[Leaf, ssl.SSLContext]] = OrderedDict()

    def context(self, name: Hostname) -> ssl.SSLContext:
        leaf = self._leaves.leaf_for(name)
        known = self._contexts.get(name)
        if known is None or known[0] is not leaf:
            known = self._contexts[name] = (leaf, _server_context(leaf))
            if len(self._contexts) > MAX_CONTEXTS:
                self._contexts.popitem(last=False)
        self._contexts.move_to_end(name)
        return known[1]


def _server_context(leaf: Leaf) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= _OPTIONS
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
        context.options |= _OPTIONS
        context.set_alpn_protocols([HTTP1])
        context.load_verify_locations(cadata=roots_pem.decode("ascii"))
        self.context = context


def is_in_kernel(sock: socket.socket) -> bool:
    """Whether the kernel does TLS on this socket: `tls` is then its upper layer protocol."""
    try:
        return sock.getsockopt(socket.IPPROTO_TCP, _TCP_ULP, 16).startswith(b"tls")
    except OSError:
        return False
