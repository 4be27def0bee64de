"""Whom credential sources are verified with. There is no way to make a context that does not verify."""

import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from proxy.edge.authority import TrustProblem
from proxy.x509.certificates import Certificate, certificate_pem, read_certificates

# A cluster has one authority, or two while it is replaced, of some 2 KiB each.
MAX_CLUSTER_CA_BYTES: Final = 65_536


def tls_context(roots: Iterable[Certificate]) -> ssl.SSLContext:
    """For sources on the internet or in the company: `UpstreamRoots.certificates`, and nothing besides.

    Also not what SSL_CERT_FILE names, which in a pod with a sidecar includes the sidecar's own authority.
    """
    # As it is made, it wants a certificate, of the right name, by an authority that is loaded into it.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # The subject's common name is no host name (RFC 6125 §6.4.4).
    context.hostname_checks_common_name = False
    context.set_alpn_protocols(["http/1.1"])
    pem = b"".join(map(certificate_pem, roots)).decode("ascii")
    if pem:  # without any, nobody is trusted
        context.load_verify_locations(cadata=pem)
    return context


def cluster_tls_context(file: Path) -> ssl.SSLContext | TrustProblem:
    """For the cluster's API server: the authority that the kubelet mounts beside the token, and no other."""
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_CLUSTER_CA_BYTES + 1)
    except OSError as error:
        return TrustProblem(
            str(file), f"cannot be read: {error.strerror}", "mount the cluster's `ca.crt` there"
        )
    if len(data) > MAX_CLUSTER_CA_BYTES:
        fix = "give the cluster's own authority alone"
        return TrustProblem(str(file), f"is larger than {MAX_CLUSTER_CA_BYTES} bytes", fix)
    found, _ = read_certificates(data)
    if not found:
        return TrustProblem(str(file), "holds no certificate", "mount the cluster's `ca.crt` there")
    return tls_context(found)
