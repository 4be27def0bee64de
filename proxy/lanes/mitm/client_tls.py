"""TLS towards the application: a leaf for the one name it asked for, and the ALPN that we choose."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, Protocol

from OpenSSL import SSL

from proxy.core.hosts import Hostname

HTTP1: Final = b"http/1.1"
HTTP2: Final = b"h2"

# A context costs some 31 KiB. A pod speaks to a dozen governed hosts.
MAX_CONTEXTS: Final = 256


class Leaf(Protocol):
    """A certificate for one host, and its key, as pyOpenSSL takes them."""

    @property
    def certificate(self) -> object: ...
    @property
    def key(self) -> object: ...


class Leaves(Protocol):
    def leaf_for(self, host: Hostname) -> Leaf:
        """Raises where none can be made: the connection then ends before its handshake."""
        ...


def choose_alpn(offered: Sequence[bytes]) -> bytes | None:
    """HTTP/1.1 wherever the client offers it, or offers nothing; HTTP/2 for those that speak nothing else.

    An HTTP/2 upload without Content-Length towards an HTTP/1.1 upstream loses its body in mitmproxy, and the
    client reads 200. Who offers both loses nothing by the older one; gRPC, which offers only `h2`, meets
    upstreams that speak it. None: the client speaks neither.
    """
    if HTTP1 in offered or not offered:
        return HTTP1
    return HTTP2 if HTTP2 in offered else None


class ClientTls:
    """Contexts by host and protocol, remade when the leaf is."""

    def __init__(self, leaves: Leaves) -> None:
        self._leaves = leaves
        self._contexts: OrderedDict[tuple[Hostname, bytes | None], tuple[Leaf, SSL.Context]] = OrderedDict()

    def connection(self, name: Hostname, offered: Sequence[bytes]) -> SSL.Connection:
        leaf = self._leaves.leaf_for(name)
        key = (name, choose_alpn(offered))
        known = self._contexts.get(key)
        if known is None or known[0] is not leaf:
            known = self._contexts[key] = (leaf, _context(leaf, key[1]))
            if len(self._contexts) > MAX_CONTEXTS:
                self._contexts.popitem(last=False)
        self._contexts.move_to_end(key)
        connection = SSL.Connection(known[1])
        connection.set_accept_state()
        return connection


def _context(leaf: Leaf, alpn: bytes | None) -> SSL.Context:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION | SSL.OP_CIPHER_SERVER_PREFERENCE)
    # OpenSSL's own table would hold twenty thousand sessions per host. Clients resume with tickets.
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.use_certificate(leaf.certificate)  # type: ignore[arg-type] # an x509.Certificate; not our package
    context.use_privatekey(leaf.key)  # type: ignore[arg-type] # likewise

    def select(_connection: SSL.Connection, offered: list[bytes]) -> bytes:
        if alpn is None or alpn not in offered:
            raise NoCommonProtocolError
        return alpn

    context.set_alpn_select_callback(select)
    return context


class NoCommonProtocolError(SSL.Error):
    """pyOpenSSL sends a fatal alert (RFC 7301 §3.2) and raises it from the handshake, where mitmproxy expects
    this kind."""
