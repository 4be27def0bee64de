"""TLS towards upstreams: always verified, for exactly the name that the application asked for."""

from collections.abc import Iterable, Sequence
from typing import Final

from OpenSSL import SSL
from OpenSSL.crypto import X509

from proxy.core.hosts import Hostname

# RFC 8446 and RFC 5246; what is older is forbidden by RFC 8996.
MIN_VERSION: Final = SSL.TLS1_2_VERSION

# OpenSSL's x509v3.h: the subject's common name is no host name (RFC 6125 §6.4.4), `f*.example.com` matches
# nothing, and a wildcard stands for one label.
_NO_PARTIAL_WILDCARDS: Final = 0x4
_SINGLE_LABEL_SUBDOMAINS: Final = 0x10
_NEVER_CHECK_SUBJECT: Final = 0x20
_HOST_FLAGS: Final = _NO_PARTIAL_WILDCARDS | _SINGLE_LABEL_SUBDOMAINS | _NEVER_CHECK_SUBJECT


class UpstreamTls:
    """One context for all connections: reading a root store takes 18 ms and some megabytes."""

    def __init__(self, roots: Iterable[object]) -> None:
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_min_proto_version(MIN_VERSION)
        context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
        # There is no other mode, and no setting that asks for one.
        context.set_verify(SSL.VERIFY_PEER)
        store = context.get_cert_store()
        if store is None:
            raise ValueError("OpenSSL gave no certificate store")
        for certificate in roots:
            store.add_cert(X509.from_cryptography(certificate))  # type: ignore[arg-type] # an x509.Certificate
        self._context = context

    def connection(self, name: Hostname, alpn: Sequence[bytes]) -> SSL.Connection:
        """A connection in memory that completes its handshake only with a certificate for `name`."""
        connection = SSL.Connection(self._context)
        host = name.encode("ascii")
        connection.set_tlsext_host_name(host)
        parameters = SSL._lib.SSL_get0_param(connection._ssl)  # type: ignore[attr-defined] # noqa: SLF001 - pyOpenSSL has no public way
        SSL._lib.X509_VERIFY_PARAM_set_hostflags(parameters, _HOST_FLAGS)  # type: ignore[attr-defined] # noqa: SLF001
        done = SSL._lib.X509_VERIFY_PARAM_set1_host(parameters, host, len(host))  # type: ignore[attr-defined] # noqa: SLF001
        if done != 1:
            raise ValueError("OpenSSL did not take the host name to verify")
        connection.set_alpn_protos(list(alpn))
        connection.set_connect_state()
        return connection
