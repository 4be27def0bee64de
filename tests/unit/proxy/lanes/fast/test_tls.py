import asyncio
import socket
import ssl
from dataclasses import dataclass
from ssl import SSLContext

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from proxy.core.hosts import Hostname
from proxy.lanes.fast import tls as module
from proxy.lanes.fast.handshakes import shake_hands
from proxy.lanes.fast.tls import ClientTls, UpstreamTls, is_in_kernel
from tests.fast_world import opened_pair, perform
from tests.lane_world import Internet, MadeLeaf, ssl_client

NAME = Hostname("api.example.com")


@dataclass(frozen=True)
class Pem:
    """A leaf as the lane takes it."""

    made: MadeLeaf

    @property
    def chain_pem(self) -> bytes:
        return self.made.certificate.public_bytes(Encoding.PEM)

    def key_pem(self) -> bytes:
        return self.made.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


class Leaves:
    def __init__(self, internet: Internet) -> None:
        self._internet = internet
        self.made: dict[Hostname, Pem] = {}

    def leaf_for(self, host: Hostname) -> Pem:
        if host not in self.made:
            self.made[host] = Pem(self._internet.leaf(host))
        return self.made[host]


@pytest.fixture(scope="module")
def internet() -> Internet:
    return Internet()


def greeted(server: SSLContext, client: SSLContext, name: str = NAME) -> list[object]:
    """What came of it at the server, and at the client: the socket, or what was raised."""
    ends: list[object] = []

    async def one(sock: ssl.SSLSocket) -> object:
        try:
            await shake_hands(sock)
        except OSError as error:
            sock.close()
            return error
        return (sock.version(), sock.selected_alpn_protocol())

    async def story() -> None:
        theirs, ours = opened_pair()
        theirs.setblocking(False)  # noqa: FBT003 - its name
        a = server.wrap_socket(ours, server_side=True, do_handshake_on_connect=False)
        b = client.wrap_socket(theirs, server_hostname=name, do_handshake_on_connect=False)
        with a, b:
            ends.extend(await asyncio.gather(one(a), one(b)))

    perform(story)
    return ends


def test_a_client_that_trusts_us_gets_a_leaf_for_its_name_and_http1(internet: Internet) -> None:
    context = ClientTls(Leaves(internet)).context(NAME)

    assert greeted(context, ssl_client(internet.root)) == [("TLSv1.3", "http/1.1")] * 2


def test_a_client_that_offers_no_alpn_gets_none(internet: Internet) -> None:
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.load_verify_locations(cadata=internet.root.public_bytes(Encoding.PEM).decode())

    assert greeted(ClientTls(Leaves(internet)).context(NAME), client) == [("TLSv1.3", None)] * 2


def test_nothing_older_than_tls_1_2_is_spoken_on_either_side(internet: Internet) -> None:
    roots = internet.root.public_bytes(Encoding.PEM)
    for context in (ClientTls(Leaves(internet)).context(NAME), UpstreamTls(roots).context):
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2
        assert context.options & ssl.OP_NO_COMPRESSION
        assert context.options & ssl.OP_NO_RENEGOTIATION


def test_a_context_is_made_once_for_a_leaf_and_again_for_the_next(internet: Internet) -> None:
    leaves = Leaves(internet)
    tls = ClientTls(leaves)
    first = tls.context(NAME)

    assert tls.context(NAME) is first
    leaves.made.clear()
    assert tls.context(NAME) is not first


def test_contexts_are_kept_up_to_a_limit_and_the_one_used_last_stays(
    internet: Internet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_CONTEXTS", 2)
    tls = ClientTls(Leaves(internet))
    one, two, three = (Hostname(f"{name}.example.com") for name in ("one", "two", "three"))
    first, second = tls.context(one), tls.context(two)

    assert tls.context(one) is first
    tls.context(three)

    assert tls.context(one) is first
    assert tls.context(two) is not second


def test_a_key_is_in_no_file_that_anybody_could_open(
    internet: Internet, monkeypatch: pytest.MonkeyPatch
) -> None:
    files: list[str] = []
    real = ssl.SSLContext.load_cert_chain

    def load(self: SSLContext, file: str) -> None:
        files.append(file)
        real(self, file)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", load)
    ClientTls(Leaves(internet)).context(NAME)

    (file,) = files
    with pytest.raises(OSError, match="No such"):
        open(file, "rb")  # noqa: PTH123, SIM115 - it is gone


class Broken(Leaves):
    def leaf_for(self, host: Hostname) -> Pem:
        raise RuntimeError


def test_without_a_leaf_there_is_no_context(internet: Internet) -> None:
    with pytest.raises(RuntimeError):
        ClientTls(Broken(internet)).context(NAME)


# --- upstreams ---


@pytest.mark.parametrize(
    ("names", "how"),
    [
        (("other.example.com",), {}),
        (("example.com",), {}),
        (("*.other.example.com",), {}),
        ((NAME,), {"expired": True}),
        # The subject's common name is no host name.
        ((), {"common_name": NAME}),
    ],
)
def test_an_upstream_that_does_not_prove_its_name_is_left(
    internet: Internet, names: tuple[str, ...], how: dict[str, object]
) -> None:
    upstream = UpstreamTls(internet.root.public_bytes(Encoding.PEM)).context
    leaf = internet.leaf(*names, **how)  # type: ignore[arg-type] # as the table has it

    server = module._server_context(Pem(leaf))

    assert isinstance(greeted(server, upstream)[1], ssl.SSLCertVerificationError)


def test_an_upstream_of_another_authority_is_left(internet: Internet) -> None:
    upstream = UpstreamTls(internet.root.public_bytes(Encoding.PEM)).context
    server = module._server_context(Pem(Internet().leaf(NAME)))

    assert isinstance(greeted(server, upstream)[1], ssl.SSLCertVerificationError)


def test_an_upstream_that_proves_its_name_is_spoken_to_in_http1(internet: Internet) -> None:
    upstream = UpstreamTls(internet.root.public_bytes(Encoding.PEM)).context
    server = module._server_context(Pem(internet.leaf(NAME)))

    assert greeted(server, upstream) == [("TLSv1.3", "http/1.1")] * 2
    assert (upstream.verify_mode, upstream.check_hostname) == (ssl.CERT_REQUIRED, True)


# --- the kernel's TLS ---


def test_a_plain_socket_is_not_encrypted_by_the_kernel() -> None:
    with socket.socket() as sock:
        assert not is_in_kernel(sock)


class Ulp:
    """A socket whose upper layer protocol is this; a container may not make a real one."""

    def __init__(self, answer: bytes | OSError) -> None:
        self._answer = answer

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        assert (level, option, size) == (socket.IPPROTO_TCP, 31, 16)
        if isinstance(self._answer, OSError):
            raise self._answer
        return self._answer


@pytest.mark.parametrize(
    ("answer", "told"),
    [(b"tls", True), (b"tls\0\0", True), (b"", False), (b"mptcp", False), (OSError(), False)],
)
def test_the_kernel_is_asked_what_it_does(answer: bytes | OSError, *, told: bool) -> None:
    assert is_in_kernel(Ulp(answer)) is told  # type: ignore[arg-type] # as much of a socket as is asked
