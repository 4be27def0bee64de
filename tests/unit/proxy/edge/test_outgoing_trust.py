import ssl
from pathlib import Path

import pytest

from proxy.core.hosts import Hostname
from proxy.edge.authority import TrustProblem
from proxy.edge.leaves import Leaves
from proxy.edge.outgoing_trust import MAX_CLUSTER_CA_BYTES, cluster_tls_context, tls_context
from proxy.x509.certificates import certificate_pem
from tests.pod_authorities import DAY, authority_in, server_context, shake_hands, someones_root
from tests.upstream_authority import UpstreamAuthority


def test_every_context_verifies_the_certificate_and_the_name(tmp_path: Path) -> None:
    file = tmp_path / "ca.crt"
    file.write_bytes(certificate_pem(someones_root("Cluster")))
    of_cluster = cluster_tls_context(file)
    assert isinstance(of_cluster, ssl.SSLContext)

    for context in (tls_context([]), tls_context([someones_root("A"), someones_root("B")]), of_cluster):
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
        assert not context.hostname_checks_common_name
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_a_context_trusts_what_it_was_given_and_nothing_besides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", ssl.get_default_verify_paths().openssl_cafile)

    assert [len(tls_context(roots).get_ca_certs()) for roots in ([], [someones_root("A")])] == [0, 1]


def test_the_clusters_file_is_enough_for_its_api_server_and_for_nobody_else(tmp_path: Path) -> None:
    cluster, internet = UpstreamAuthority(tmp_path / "cluster"), UpstreamAuthority(tmp_path / "internet")
    context = cluster_tls_context(cluster.file)
    assert isinstance(context, ssl.SSLContext)
    servers = []
    for authority in (cluster, internet):
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(*authority.certificate("kubernetes.default.svc"))
        servers.append(server)

    assert shake_hands(context, servers[0], "kubernetes.default.svc").version() == "TLSv1.3"
    for server, name in ((servers[0], "other.default.svc"), (servers[1], "kubernetes.default.svc")):
        with pytest.raises(ssl.SSLCertVerificationError):
            shake_hands(context, server, name)


def test_a_common_name_is_no_host_name(tmp_path: Path) -> None:
    # A leaf of ours with its name in the subject, and somebody else's in the list of names.
    authority = authority_in(tmp_path / "state")
    leaf = Leaves(authority, lambda: authority.certificate.not_valid_before_utc + DAY, lifetime=DAY)
    made = leaf.leaf_for(Hostname("idp.example"))
    assert not isinstance(made, TrustProblem)
    server = server_context(made, tmp_path)

    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(tls_context([authority.certificate]), server, "other.example")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"", "holds no certificate"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "holds no certificate"),
        (b"x" * (MAX_CLUSTER_CA_BYTES + 1), "is larger than 65536 bytes"),
    ],
)
def test_a_file_that_gives_no_trust_is_a_problem_with_a_fix(
    tmp_path: Path, content: bytes | None, reason: str
) -> None:
    file = tmp_path / "ca.crt"
    if content is not None:
        file.write_bytes(content)

    problem = cluster_tls_context(file)

    assert isinstance(problem, TrustProblem)
    assert (problem.thing, problem.reason) == (str(file), reason)
    assert problem.fix
