import asyncio
import errno
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from ssl import SSLContext
from typing import Self

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from proxy.core.hosts import Hostname
from proxy.lanes.fast import tls as module
from proxy.lanes.fast.handshakes import shake_hands
from proxy.lanes.fast.tls import (
    TICKET_EVERY,
    TICKETS,
    TICKETS_IN_VAIN,
    ClientTls,
    UpstreamTls,
    in_kernel,
    kernel_has_tls,
    sign_of_distrust,
)
from proxy.lanes.interface import Distrust, KernelTls
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


def test_where_nobody_comes_back_only_some_are_given_a_ticket(internet: Internet) -> None:
    tls = ClientTls(Leaves(internet))
    tls.came_back(NAME)  # by a ticket of a context that is no more

    def given(count: int) -> list[int]:
        return [tls.context(NAME).num_tickets for _ in range(count)]

    assert given(TICKETS_IN_VAIN) == [TICKETS] * TICKETS_IN_VAIN
    for _ in range(3):
        assert given(TICKET_EVERY) == [0] * (TICKET_EVERY - 1) + [TICKETS]
    assert tls.context(Hostname("other.example.com")).num_tickets == TICKETS
    tls.came_back(NAME)
    assert given(TICKETS_IN_VAIN + 1) == [TICKETS] * TICKETS_IN_VAIN + [0]


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


# --- what is kept of a session ---


def _returning(internet: Internet, *, ticket: bool) -> SSLContext:
    """A client of TLS 1.2 that goes on with a session by a ticket, or only by its number."""
    context = ssl_client(internet.root)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    if not ticket:
        context.options |= ssl.OP_NO_TICKET
    return context


def _met(server: SSLContext, client: SSLContext) -> None:
    """A handshake, and a polite end: after any other OpenSSL keeps no session."""
    bios = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = server.wrap_bio(*bios, server_side=True)
    theirs = client.wrap_bio(*reversed(bios), server_hostname=NAME)
    for act in ("do_handshake", "unwrap"):
        for one in (theirs, ours) * 3:
            with suppress(ssl.SSLError):
                getattr(one, act)()
    assert ours.version() == "TLSv1.2"


@pytest.mark.parametrize(("ticket", "kept"), [(True, 0), (False, 1)])
def test_only_who_resumes_without_tickets_leaves_something_behind(
    internet: Internet, *, ticket: bool, kept: int
) -> None:
    server = ClientTls(Leaves(internet)).context(NAME)

    _met(server, _returning(internet, ticket=ticket))

    assert server.session_stats()["number"] == kept


def test_a_context_that_keeps_many_sessions_is_replaced(
    internet: Internet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_SESSIONS", 3)
    monkeypatch.setattr(module, "COUNT_EVERY", 2)
    tls, client = ClientTls(Leaves(internet)), _returning(internet, ticket=False)
    contexts = []

    for _ in range(12):
        contexts.append(tls.context(NAME))
        _met(contexts[-1], client)

    different = list(dict.fromkeys(contexts))
    assert 1 < len(different) < len(contexts)
    assert max(context.session_stats()["number"] for context in different) <= 3 + 2


def test_a_context_without_sessions_stays(internet: Internet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COUNT_EVERY", 1)
    tls, client = ClientTls(Leaves(internet)), ssl_client(internet.root)

    contexts = {tls.context(NAME) for _ in range(module.MAX_SESSIONS + 1)}
    (context,) = contexts

    assert greeted(context, client) == [("TLSv1.3", "http/1.1")] * 2


# --- clients that do not trust us ---


def _fault(server: SSLContext, client: SSLContext, name: str = NAME) -> ssl.SSLError:
    error = greeted(server, client, name)[0]
    assert isinstance(error, ssl.SSLError), error
    return error


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("why", ["authority", "name", "expired"])
def test_a_client_that_says_that_it_does_not_trust_us_is_heard(
    internet: Internet, version: ssl.TLSVersion, why: str
) -> None:
    leaf = internet.leaf(NAME, expired=why == "expired")
    client = ssl_client((Internet() if why == "authority" else internet).root)
    client.minimum_version = client.maximum_version = version

    error = _fault(module._server_context(Pem(leaf)), client, "other.test" if why == "name" else NAME)

    assert sign_of_distrust(error) is Distrust.SAID


def test_a_client_that_speaks_no_tls_of_ours_does_not_distrust_us(internet: Internet) -> None:
    server, client = ClientTls(Leaves(internet)).context(NAME), ssl_client(internet.root)
    server.minimum_version = ssl.TLSVersion.TLSv1_3
    client.maximum_version = ssl.TLSVersion.TLSv1_2

    assert sign_of_distrust(_fault(server, client)) is None


@pytest.mark.parametrize(
    ("data", "sign"),
    [
        (b"", Distrust.LEFT),
        # No TLS, and the alerts that a handshake failed and that the user has had enough.
        (b"GET / HTTP/1.1\r\n\r\n", None),
        (b"\x15\x03\x03\x00\x02\x02\x28", None),
        (b"\x15\x03\x03\x00\x02\x02\x5a", None),
    ],
)
def test_who_leaves_within_the_handshake_has_said_nothing_of_trust(
    internet: Internet, data: bytes, sign: Distrust | None
) -> None:
    incoming = ssl.MemoryBIO()
    ours = ClientTls(Leaves(internet)).context(NAME).wrap_bio(incoming, ssl.MemoryBIO(), server_side=True)
    incoming.write(data)
    incoming.write_eof()

    with pytest.raises(ssl.SSLError) as raised:
        ours.do_handshake()

    assert sign_of_distrust(raised.value) is sign


# --- the kernel's TLS ---


def test_a_plain_socket_is_not_encrypted_by_the_kernel() -> None:
    with socket.socket() as sock:
        assert in_kernel(sock) is KernelTls.NOTHING


class Kernel:
    """A socket of a kernel that does TLS as it is said here: this one may not."""

    def __init__(self, ulp: bytes | OSError, sends: bytes | OSError, receives: bytes | OSError) -> None:
        self._answers = {(socket.IPPROTO_TCP, 31, 16): ulp, (282, 1, 4): sends, (282, 2, 4): receives}

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        answer = self._answers[level, option, size]
        if isinstance(answer, OSError):
            raise answer
        return answer


# TLS 1.3 and AES-256-GCM, as Linux 6.1 says it.
KEYS = b"\x04\x03\x34\x00"
BUSY = OSError(errno.EBUSY, "no keys")


@pytest.mark.parametrize(
    ("ulp", "sends", "receives", "told"),
    [
        (b"tls", KEYS, KEYS, KernelTls.SENDS | KernelTls.RECEIVES),
        (b"tls\0\0", KEYS, BUSY, KernelTls.SENDS),
        (b"tls", BUSY, KEYS, KernelTls.RECEIVES),
        # It was asked for, and the kernel does not have the cipher.
        (b"tls", BUSY, BUSY, KernelTls.NOTHING),
        (b"tls", bytes(4), bytes(4), KernelTls.NOTHING),
        (b"", KEYS, KEYS, KernelTls.NOTHING),
        (b"mptcp", KEYS, KEYS, KernelTls.NOTHING),
        (OSError(), KEYS, KEYS, KernelTls.NOTHING),
    ],
)
def test_the_kernel_is_asked_what_it_does(
    ulp: bytes | OSError, sends: bytes | OSError, receives: bytes | OSError, told: KernelTls
) -> None:
    assert in_kernel(Kernel(ulp, sends, receives)) is told  # type: ignore[arg-type] # as much as is asked


class Probe:
    def __init__(self, error: OSError | None) -> None:
        self._error = error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def setsockopt(self, *_: object) -> None:
        if self._error is not None:
            raise self._error


@pytest.mark.parametrize(
    ("error", "has"),
    [
        (OSError(errno.ENOTCONN, "not connected"), True),
        (OSError(errno.ENOENT, "no such protocol"), False),
        (OSError(errno.EPERM, "not allowed"), False),
        (None, True),
    ],
)
def test_a_kernel_that_cannot_do_tls_is_not_asked_for_it(
    monkeypatch: pytest.MonkeyPatch, internet: Internet, error: OSError | None, *, has: bool
) -> None:
    leaves = Leaves(internet)
    monkeypatch.setattr(socket, "socket", lambda: Probe(error))
    assert kernel_has_tls() is has
    asked = ClientTls(leaves).context(NAME).options & module.KERNEL_TLS
    assert bool(asked) is (has and bool(module.KERNEL_TLS))


def test_a_kernel_says_what_it_has() -> None:
    assert kernel_has_tls() or "tls" not in _ulps()


def _ulps() -> list[str]:
    with suppress(OSError):
        return Path("/proc/sys/net/ipv4/tcp_available_ulp").read_text("ascii").split()
    return []


@pytest.mark.skipif("tls" not in _ulps(), reason="this kernel does no TLS (CONFIG_TLS, module tls)")
def test_a_kernel_that_does_tls_does_it_for_us(internet: Internet) -> None:
    """Both sides' own; TLS 1.2 in both directions, where OpenSSL before 3.2 has 1.3 in one only."""
    server, client = ClientTls(Leaves(internet)).context(NAME), ssl_client(internet.root)
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    found: list[KernelTls] = []

    async def one(sock: ssl.SSLSocket) -> None:
        await shake_hands(sock)
        found.append(in_kernel(sock))

    async def story() -> None:
        theirs, ours = opened_pair()
        theirs.setblocking(False)  # noqa: FBT003 - its name
        a = server.wrap_socket(ours, server_side=True, do_handshake_on_connect=False)
        b = client.wrap_socket(theirs, server_hostname=NAME, do_handshake_on_connect=False)
        with a, b:
            await asyncio.gather(one(a), shake_hands(b))

    perform(story)
    assert found == [KernelTls.SENDS | KernelTls.RECEIVES]
