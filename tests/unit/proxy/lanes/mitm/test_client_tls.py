from collections.abc import Sequence

import pytest
from OpenSSL import SSL
from OpenSSL.crypto import X509

from proxy.core.hosts import Hostname
from proxy.lanes.mitm import client_tls
from proxy.lanes.mitm.client_tls import HTTP1, HTTP2, ClientTls, choose_alpn
from tests.lane_world import Internet, MadeLeaf, shake_hands

HOST = Hostname("api.example.com")


class Leaves:
    """Gives the same leaf until told otherwise."""

    def __init__(self) -> None:
        self.internet = Internet()
        self.made: dict[Hostname, MadeLeaf] = {}

    def leaf_for(self, host: Hostname) -> MadeLeaf:
        return self.made.setdefault(host, self.internet.leaf(host))


@pytest.fixture
def leaves() -> Leaves:
    return Leaves()


def application(leaves: Leaves, offers: Sequence[bytes] = (), host: Hostname = HOST) -> SSL.Connection:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_verify(SSL.VERIFY_PEER)
    store = context.get_cert_store()
    assert store is not None
    store.add_cert(_as_openssl(leaves.internet))
    connection = SSL.Connection(context)
    connection.set_tlsext_host_name(host.encode())
    if offers:
        connection.set_alpn_protos(list(offers))
    connection.set_connect_state()
    return connection


def _as_openssl(internet: Internet) -> X509:
    return X509.from_cryptography(internet.root)


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ((), HTTP1),
        ((HTTP1,), HTTP1),
        ((HTTP2,), HTTP2),
        ((HTTP2, HTTP1), HTTP1),
        ((HTTP1, HTTP2), HTTP1),
        ((b"h3", HTTP2), HTTP2),
        ((b"http/1.0",), None),
        ((b"h2c",), None),
        ((b"acme-tls/1",), None),
    ],
)
def test_http1_is_chosen_wherever_it_is_offered(offered: tuple[bytes, ...], chosen: bytes | None) -> None:
    assert choose_alpn(offered) == chosen


@pytest.mark.parametrize("offered", [(HTTP1,), (HTTP2,), (HTTP2, HTTP1)])
def test_the_application_gets_a_leaf_for_its_name_and_the_protocol_that_was_chosen(
    leaves: Leaves, offered: tuple[bytes, ...]
) -> None:
    client, server = application(leaves, offered), ClientTls(leaves).connection(HOST, offered)

    shake_hands(client, server)

    assert client.get_alpn_proto_negotiated() == choose_alpn(offered)
    assert server.get_alpn_proto_negotiated() == choose_alpn(offered)
    shown = client.get_peer_certificate()
    assert shown is not None
    assert shown.to_cryptography() == leaves.made[HOST].certificate


def test_a_client_without_alpn_is_served(leaves: Leaves) -> None:
    client = application(leaves)

    shake_hands(client, ClientTls(leaves).connection(HOST, ()))

    assert client.get_alpn_proto_negotiated() == b""


def test_a_client_with_no_protocol_that_we_speak_is_told_so(leaves: Leaves) -> None:
    offered = (b"acme-tls/1",)
    client, server = application(leaves, offered), ClientTls(leaves).connection(HOST, offered)

    with pytest.raises(SSL.Error):
        shake_hands(client, server)
    with pytest.raises(SSL.Error, match="no application protocol"):
        client.do_handshake()


def test_a_context_is_made_once_for_a_host_and_a_protocol(
    leaves: Leaves, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[bytes | None] = []

    def counted(leaf: MadeLeaf, alpn: bytes | None) -> SSL.Context:
        made.append(alpn)
        return _context(leaf, alpn)

    _context = client_tls._context
    monkeypatch.setattr(client_tls, "_context", counted)
    tls = ClientTls(leaves)
    for offered in ((HTTP1,), (HTTP2, HTTP1), (), (HTTP2,), (HTTP1,)):
        tls.connection(HOST, offered)

    assert made == [HTTP1, HTTP2]


def test_a_new_leaf_makes_a_new_context(leaves: Leaves) -> None:
    tls = ClientTls(leaves)
    old = tls.connection(HOST, (HTTP1,)).get_context()
    assert tls.connection(HOST, (HTTP1,)).get_context() is old

    leaves.made[HOST] = leaves.internet.leaf(HOST)
    client, server = application(leaves), tls.connection(HOST, (HTTP1,))

    assert server.get_context() is not old
    shake_hands(client, server)
    shown = client.get_peer_certificate()
    assert shown is not None
    assert shown.to_cryptography() == leaves.made[HOST].certificate


def test_the_least_recently_used_context_goes_first(leaves: Leaves, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_tls, "MAX_CONTEXTS", 2)
    tls = ClientTls(leaves)
    a, b, c = (Hostname(f"{name}.example.com") for name in "abc")
    kept = tls.connection(a, ()).get_context()
    gone = tls.connection(b, ()).get_context()
    tls.connection(a, ())

    tls.connection(c, ())

    assert tls.connection(a, ()).get_context() is kept
    assert tls.connection(b, ()).get_context() is not gone


def test_a_host_without_a_leaf_raises(leaves: Leaves) -> None:
    class NoneToGive:
        @staticmethod
        def leaf_for(host: Hostname) -> MadeLeaf:
            raise LookupError(host)

    with pytest.raises(LookupError):
        ClientTls(NoneToGive()).connection(HOST, ())
