import pytest
from OpenSSL import SSL

from proxy.core.hosts import Hostname
from proxy.lanes.mitm.upstream_tls import UpstreamTls
from tests.lane_world import Internet, MadeLeaf, carry, server_end, shake_hands

HOST = Hostname("api.example.com")
DEEP = Hostname("a.b.example.com")


@pytest.fixture(scope="module")
def internet() -> Internet:
    return Internet()


@pytest.fixture(scope="module")
def upstreams(internet: Internet) -> UpstreamTls:
    return UpstreamTls([internet.root])


@pytest.mark.parametrize(
    "names", [("api.example.com",), ("*.example.com",), ("other.example.com", "API.example.com")]
)
def test_a_certificate_for_the_name_passes(
    internet: Internet, upstreams: UpstreamTls, names: tuple[str, ...]
) -> None:
    client, server = upstreams.connection(HOST, (b"http/1.1",)), server_end(internet.leaf(*names))

    shake_hands(client, server)
    client.send(b"hello")
    carry(client, server)

    assert server.recv(100) == b"hello"
    assert server.get_servername() == HOST.encode()
    assert client.get_alpn_proto_negotiated() == b"http/1.1"


def refused(upstreams: UpstreamTls, leaf: MadeLeaf, host: Hostname) -> None:
    """The handshake fails, and no byte of ours can follow it."""
    client, server = upstreams.connection(host, (b"http/1.1",)), server_end(leaf)
    with pytest.raises(SSL.Error, match="certificate verify failed"):
        shake_hands(client, server)
    with pytest.raises(SSL.Error):
        client.send(b"the credential")
    carry(client, server)
    with pytest.raises(SSL.Error):
        server.recv(100)


def test_a_certificate_for_another_name_fails(internet: Internet, upstreams: UpstreamTls) -> None:
    refused(upstreams, internet.leaf("other.example.com"), HOST)


def test_an_expired_certificate_fails(internet: Internet, upstreams: UpstreamTls) -> None:
    refused(upstreams, internet.leaf(HOST, expired=True), HOST)


def test_a_certificate_of_an_authority_that_is_not_trusted_fails(upstreams: UpstreamTls) -> None:
    refused(upstreams, Internet().leaf(HOST), HOST)


def test_without_roots_nobody_is_trusted(internet: Internet) -> None:
    refused(UpstreamTls([]), internet.leaf(HOST), HOST)


@pytest.mark.parametrize(
    ("pattern", "host"),
    [
        ("*.example.com", DEEP),
        ("*.example.com", Hostname("example.com")),
        ("a*.example.com", HOST),
        ("*.b.*.com", DEEP),
    ],
)
def test_a_wildcard_stands_for_one_whole_label(
    internet: Internet, upstreams: UpstreamTls, pattern: str, host: Hostname
) -> None:
    refused(upstreams, internet.leaf(pattern), host)


def test_a_common_name_is_no_host_name(internet: Internet, upstreams: UpstreamTls) -> None:
    refused(upstreams, internet.leaf(common_name=HOST), HOST)
    refused(upstreams, internet.leaf("other.example.com", common_name=HOST), HOST)


def test_old_versions_of_tls_are_not_spoken(internet: Internet, upstreams: UpstreamTls) -> None:
    leaf = internet.leaf(HOST)
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_cipher_list(b"ALL:@SECLEVEL=0")
    context.set_max_proto_version(SSL.TLS1_1_VERSION)
    context.use_certificate(leaf.certificate)
    context.use_privatekey(leaf.key)
    server = SSL.Connection(context)
    server.set_accept_state()

    with pytest.raises(SSL.Error):
        shake_hands(upstreams.connection(HOST, (b"http/1.1",)), server)


def test_connections_of_one_context_verify_their_own_names(
    internet: Internet, upstreams: UpstreamTls
) -> None:
    first, second = upstreams.connection(HOST, (b"h2",)), upstreams.connection(DEEP, (b"h2",))

    shake_hands(first, server_end(internet.leaf(HOST)))
    shake_hands(second, server_end(internet.leaf(DEEP)))
    refused(upstreams, internet.leaf(DEEP), HOST)


def test_an_upstream_need_not_know_alpn(internet: Internet, upstreams: UpstreamTls) -> None:
    client = upstreams.connection(HOST, (b"h2",))

    shake_hands(client, server_end(internet.leaf(HOST), alpn=None))

    assert client.get_alpn_proto_negotiated() == b""
