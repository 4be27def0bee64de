"""A small world for tests of lanes: a policy as text, a clock that stands, leases that are made up, and a
recorder that remembers. `Talk` plays both neighbours of mitmproxy's HTTP layer without a socket."""

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import count
from pathlib import Path
from secrets import token_hex
from typing import Final

import h2.config
import h2.connection
import h2.events
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from mitmproxy.connection import Client, Connection, ConnectionState, Server
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.mode_specs import ProxyMode
from OpenSSL import SSL

from proxy.core.arrival import Arrival, LaneName
from proxy.core.audit import AuditRecord, Own
from proxy.core.credentials import CredentialRef
from proxy.core.hosts import Hostname
from proxy.core.lease import Lease, LeaseKey, LeaseReply, NoLease
from proxy.core.parts import Part
from proxy.core.secret import Secret
from proxy.core.settings import Capture, Timeouts
from proxy.core.structs import replace
from proxy.lanes.interface import Distrust, KernelTls, LaneWorld, TlsPeer
from proxy.lanes.mitm.conversation import Conversation
from proxy.lanes.mitm.engine_options import lane_options
from proxy.lanes.mitm.events import JudgeRequestHook
from proxy.lanes.mitm.servers import GuardedHttpLayer
from proxy.lanes.room import Room
from proxy.transaction.head import Head, HttpVersion
from proxy.transaction.pod import PodState
from proxy.transaction.slots import Placeholders
from tests.judge_world import CATALOGUE, POD, PROOF, index_of, policy

HOST: Final = Hostname("api.example.com")
NOON: Final = datetime(2026, 3, 4, 12, tzinfo=UTC)
# Of this run; long enough to be looked for in answers.
LIVE: Final = f"live-{token_hex(16)}"
SOURCE: Final = CredentialRef("ml", "a")

# The host takes any GET, POST, PUT and HEAD below /v1, with a bearer token.
POLICY: Final = policy(
    "{hosts: [api.example.com], methods: [GET, HEAD, POST, PUT], paths: [/v1/**], credential: a}"
)
TIMEOUTS: Final = Timeouts(drain=5.0, idle=5.0, header=5.0, connect=5.0)


def pod_of(text: str = POLICY) -> PodState:
    return PodState(index_of(text, CATALOGUE), POD, Placeholders(frozenset({"podkey-placeholder"})), PROOF)


GOVERNING: Final = pod_of()


def arrival_of(
    host: str = HOST,
    port: int = 443,
    capture: Capture = Capture.TRANSPARENT,
    lane: LaneName = LaneName.MITMPROXY,
) -> Arrival:
    return Arrival(Hostname(host), port, capture, lane, f"192.0.2.7:{port}")


def get(target: str = "/v1/models", method: str = "GET", host: str = HOST) -> Head:
    return Head(method, target, host, (), HttpVersion.HTTP1, has_body=False)


class Clock:
    """It stands until somebody moves it."""

    def __init__(self) -> None:
        self.seconds = 100.0
        self.passed = timedelta()

    def now(self) -> datetime:
        return NOON + self.passed

    def monotonic(self) -> float:
        return self.seconds

    def wall(self) -> float:
        return NOON.timestamp() + self.seconds


class Recorder:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.decisions: list[AuditRecord] = []
        self.records: list[AuditRecord] = []
        # Requests that were told of without a record of their own.
        self.short: list[str] = []
        self.arrivals: list[Arrival] = []
        self.departures: list[tuple[Arrival, int, int]] = []
        self.handshakes: list[tuple[TlsPeer, KernelTls]] = []
        self.distrusted: list[tuple[Hostname, Distrust]] = []
        self.failures: list[tuple[Hostname, str]] = []
        self.passed: list[str] = []
        self.spent: list[tuple[str, bool]] = []
        self.clocks: list[tuple[Hostname, float]] = []
        self.regions: list[tuple[Hostname, str]] = []
        self.cuts: list[AuditRecord] = []
        self.crashes: list[tuple[str, BaseException]] = []
        self.rejected: list[str] = []

    def decided(self, record: AuditRecord, seconds: float) -> None:
        self.decisions.append(record)

    def finished(self, record: AuditRecord) -> None:
        self.records.append(record)

    def repeated(self, record: AuditRecord, own: Own, seconds: float) -> None:
        self.decisions.append(record.of(own))
        self.short.append(own.request_id)

    def ended(self, record: AuditRecord, own: Own) -> None:
        self.records.append(record.of(own))

    def opened(self, arrival: Arrival) -> None:
        self.arrivals.append(arrival)

    def closed(self, arrival: Arrival, sent: int, received: int) -> None:
        self.departures.append((arrival, sent, received))

    def shook_hands(self, peer: TlsPeer, kernel: KernelTls) -> None:
        self.handshakes.append((peer, kernel))

    def client_distrusts(self, name: Hostname, sign: Distrust) -> None:
        self.distrusted.append((name, sign))

    def upstream_failed(self, name: Hostname, reason: str) -> None:
        self.failures.append((name, reason))

    def failed_open(self, where: str) -> None:
        self.passed.append(where)

    def lease_spent(self, service: str, *, retried: bool) -> None:
        self.spent.append((service, retried))

    def region_learnt(self, host: Hostname, region: str) -> None:
        self.regions.append((host, region))

    def clock_learnt(self, host: Hostname, seconds: float) -> None:
        self.clocks.append((host, seconds))

    def cut_by_policy(self, record: AuditRecord) -> None:
        self.cuts.append(record)

    def crashed(self, where: str, error: BaseException) -> None:
        self.crashes.append((where, error))

    def refused_connection(self, reason: str) -> None:
        self.rejected.append(reason)

    @property
    def record(self) -> AuditRecord:
        """The only one."""
        (record,) = self.records
        return record

    @property
    def reasons(self) -> list[str]:
        return [record.reason for record in self.records]


class Leases:
    """One live token for every source, unless `reply` says otherwise."""

    def __init__(self) -> None:
        self.asked: list[CredentialRef] = []
        self.keys: list[LeaseKey] = []
        self.given_back: list[tuple[CredentialRef, str]] = []
        # The same one each time, as long as nobody takes it away.
        self.reply: Callable[[CredentialRef], LeaseReply] = cache(live_lease)

    async def lease(self, key: LeaseKey) -> LeaseReply:
        self.asked.append(key.ref)
        self.keys.append(key)
        return self.reply(key.ref)

    def at_hand(self, key: LeaseKey) -> Lease | None:
        reply = self.reply(key.ref)
        if not isinstance(reply, Lease):
            return None
        self.asked.append(key.ref)
        self.keys.append(key)
        return reply

    def spent(self, key: LeaseKey, lease_id: str) -> None:
        self.given_back.append((key.ref, lease_id))


def live_lease(credential: CredentialRef) -> Lease:
    return Lease("lease-1", credential, {Part.TOKEN: Secret(LIVE.encode())}, NOON)


def no_lease(credential: CredentialRef) -> NoLease:
    return NoLease(credential, "the secret is not mounted")


@dataclass
class World:
    """A LaneWorld, and its parts as tests see them."""

    pod: PodState = GOVERNING
    timeouts: Timeouts = TIMEOUTS
    clock: Clock = field(default_factory=Clock)
    recorder: Recorder = field(default_factory=Recorder)
    leases: Leases = field(default_factory=Leases)
    room: Room = field(default_factory=Room)

    def __post_init__(self) -> None:
        numbers = count(1)
        self.lane_world = LaneWorld(
            lambda: self.pod,
            self.leases,
            self.recorder,
            self.clock,
            lambda: f"request-{next(numbers)}",
            self.timeouts,
            room=self.room,
        )


def timeouts(**seconds: float) -> Timeouts:
    return replace(TIMEOUTS, **seconds)


# --- mitmproxy's layers, without a socket ----------------------------------------------------------


@dataclass
class Upstream:
    """How upstream connections turn out."""

    alpn: bytes | None = b"http/1.1"
    sni: str | None = HOST
    verified: bool = True
    error: str | None = None

    def answer(self, server: Server) -> str | None:
        if self.error is not None:
            server.error = self.error
            return self.error
        server.state = ConnectionState.OPEN
        server.timestamp_start = server.timestamp_tls_setup = 1.0
        server.peername = ("192.0.2.7", 443)
        if not self.verified:
            server.timestamp_tls_setup = None
        server.sni, server.alpn = self.sni, self.alpn
        return None


class Talk:
    """One connection: what is fed goes in as if it came from the wire, what came out is in `to`.

    Needs `ServerTLSLayer` in `clients` replaced by mitmproxy's MockTLSLayer: see `_cleartext_tls`.
    """

    def __init__(
        self,
        world: World,
        alpn: bytes = b"http/1.1",
        upstream: Upstream | None = None,
        arrival: Arrival | None = None,
        wrap: Callable[[Context, layer.Layer], layer.Layer] = lambda _context, inner: inner,
    ) -> None:
        self.world = world
        self.upstream = upstream or Upstream()
        self.client = Client(
            peername=("127.0.0.1", 40000),
            sockname=("127.0.0.1", 15001),
            state=ConnectionState.OPEN,
            alpn=alpn,
            proxy_mode=ProxyMode.parse("transparent"),
        )
        context = Context(self.client, lane_options(5.0))
        context.server.address = ("192.0.2.7", 443)
        context.server.sni = HOST
        self.conversation = Conversation(world.lane_world, arrival or arrival_of())
        self.http = GuardedHttpLayer(context, self.conversation)
        self.layer = wrap(context, self.http)
        self.to: dict[Connection, bytearray] = {self.client: bytearray()}
        self.servers: list[Server] = []
        self.timers: list[commands.RequestWakeup] = []
        self.half_closed: list[Connection] = []
        # What happened, in order: `judged`, `opened`, `sent upstream`, `sent`, `closed`, …
        self.story: list[str] = []
        # Hooks that wait for `judge()`, instead of being answered at once.
        self.holds = False
        self.held: list[JudgeRequestHook] = []
        self._queue: deque[events.Event] = deque()
        self.feed(events.Start())

    # --- in ---

    def feed(self, event: events.Event) -> None:
        self._queue.append(event)
        while self._queue:
            for command in self.layer.handle_event(self._queue.popleft()):
                self._perform(command)

    def say(self, data: bytes) -> bytes:
        """The application sends; returns what it got back for it."""
        before = len(self.to[self.client])
        self.feed(events.DataReceived(self.client, data))
        return bytes(self.to[self.client][before:])

    def reply(self, data: bytes, server: Server | None = None) -> bytes:
        """The upstream sends; returns what the application got of it."""
        before = len(self.to[self.client])
        self.feed(events.DataReceived(server or self.servers[-1], data))
        return bytes(self.to[self.client][before:])

    def hang_up(self, connection: Connection | None = None) -> bytes:
        """The other side of a connection ends it; returns what the application got then."""
        before = len(self.to[self.client])
        connection = connection or self.servers[-1]
        if connection.state is not ConnectionState.CLOSED:
            connection.state &= ~ConnectionState.CAN_READ
        self.feed(events.ConnectionClosed(connection))
        return bytes(self.to[self.client][before:])

    def judge(self) -> None:
        held, self.held = self.held, []
        for hook in held:
            self._judge(hook)
            self.feed(events.HookCompleted(hook))

    def ring(self, timer: commands.RequestWakeup) -> None:
        self.timers.remove(timer)
        self.feed(events.Wakeup(timer))

    # --- out ---

    @property
    def answer(self) -> bytes:
        return bytes(self.to[self.client])

    @property
    def forwarded(self) -> bytes:
        """What all upstreams got."""
        return b"".join(bytes(self.to[server]) for server in self.servers)

    @property
    def closed(self) -> bool:
        return self.client.state is ConnectionState.CLOSED

    def _perform(self, command: commands.Command) -> None:
        match command:
            case JudgeRequestHook() if self.holds:
                self.held.append(command)
            case JudgeRequestHook():
                self._judge(command)
                self._queue.append(events.HookCompleted(command))
            case commands.StartHook():
                self._queue.append(events.HookCompleted(command))
            case commands.OpenConnection(connection=Server() as server):
                self.story.append("opened")
                server.tls = True  # what the layer that is left out would have set
                self.servers.append(server)
                self.to[server] = bytearray()
                self._queue.append(events.OpenConnectionCompleted(command, self.upstream.answer(server)))
            case commands.SendData():
                self.to[command.connection] += command.data
                self.story.append("sent" if command.connection is self.client else "sent upstream")
            case commands.CloseTcpConnection(half_close=True):
                self.half_closed.append(command.connection)
                command.connection.state &= ~ConnectionState.CAN_WRITE
            case commands.CloseConnection():
                if command.connection.state is not ConnectionState.CLOSED:
                    self.story.append("closed" if command.connection is self.client else "closed upstream")
                    command.connection.state = ConnectionState.CLOSED
                    self._queue.append(events.ConnectionClosed(command.connection))
            case commands.RequestWakeup():
                self.timers.append(command)
            case commands.Log():
                pass
            case _:
                raise AssertionError(f"what is {command}?")

    def _judge(self, hook: JudgeRequestHook) -> None:
        self.story.append("judged")
        asyncio.run(hook.exchange.open())


class _H2Side:
    """One side of HTTP/2, by h2 itself: what a real one would see."""

    def __init__(self, talk: Talk, connection: Connection, *, client: bool, validate: bool = True) -> None:
        self.talk = talk
        self._connection = connection
        self._seen = 0
        self._events: list[h2.events.Event] = []
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(
                client_side=client,
                header_encoding=None,
                validate_outbound_headers=validate,
                normalize_outbound_headers=validate,
            )
        )
        self.h2.initiate_connection()
        self.flush()

    def flush(self) -> None:
        """Read and write until there is nothing left to say."""
        while True:
            new = bytes(self.talk.to[self._connection][self._seen :])
            self._seen += len(new)
            if new:
                self._events += self.h2.receive_data(new)
            data = self.h2.data_to_send()
            if not data:
                return
            self.talk.feed(events.DataReceived(self._connection, data))

    def of[E: h2.events.Event](self, kind: type[E], stream: int | None = None) -> list[E]:
        self.flush()
        found = [event for event in self._events if isinstance(event, kind)]
        return [event for event in found if stream is None or getattr(event, "stream_id", None) == stream]


class H2Client(_H2Side):
    """The application's."""

    def __init__(self, talk: Talk, *, validate: bool = True) -> None:
        super().__init__(talk, talk.client, client=True, validate=validate)

    def request(
        self,
        fields: Iterable[tuple[bytes, bytes]] = (),
        *,
        method: bytes = b"GET",
        path: bytes = b"/v1/models",
        host: bytes = HOST.encode(),
        end: bool = True,
    ) -> int:
        stream = self.h2.get_next_available_stream_id()
        head = [(b":method", method), (b":scheme", b"https"), (b":authority", host), (b":path", path)]
        self.h2.send_headers(stream, [*head, *fields], end_stream=end)
        self.flush()
        return stream

    def head(self, stream: int) -> dict[str, str]:
        (event,) = self.of(h2.events.ResponseReceived, stream)
        return {bytes(name).decode(): bytes(value).decode() for name, value in event.headers or ()}

    def body(self, stream: int) -> bytes:
        return b"".join(event.data or b"" for event in self.of(h2.events.DataReceived, stream))

    def trailers(self, stream: int) -> dict[bytes, bytes]:
        (event,) = self.of(h2.events.TrailersReceived, stream)
        return {bytes(name): bytes(value) for name, value in event.headers or ()}


class H2Upstream(_H2Side):
    """The upstream's, behind a Talk that has opened its connection."""

    def __init__(self, talk: Talk) -> None:
        super().__init__(talk, talk.servers[-1], client=False)

    def requests(self) -> list[dict[bytes, bytes]]:
        found = self.of(h2.events.RequestReceived)
        return [{bytes(name): bytes(value) for name, value in event.headers or ()} for event in found]

    @property
    def stream(self) -> int:
        return self.of(h2.events.RequestReceived)[-1].stream_id or 0

    def answer(self, head: Iterable[tuple[bytes, bytes]], body: bytes, *, end: bool = False) -> None:
        self.h2.send_headers(self.stream, list(head))
        self.h2.send_data(self.stream, body, end_stream=end)
        self.flush()

    def trail(self, fields: Iterable[tuple[bytes, bytes]]) -> None:
        self.h2.send_headers(self.stream, list(fields), end_stream=True)
        self.flush()


# --- TLS, in memory ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MadeLeaf:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


class Internet:
    """An authority, made when a test runs, and the certificates it signs."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "The Internet")])
        self.root = self._signed(self._name, self._key.public_key(), (), expired=False, ca=True)

    def leaf(self, *names: str, common_name: str = "a server", expired: bool = False) -> MadeLeaf:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        return MadeLeaf(self._signed(subject, key.public_key(), names, expired=expired, ca=False), key)

    def leaf_for(self, host: Hostname) -> MadeLeaf:
        return self.leaf(host)

    def _signed(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePublicKey,
        names: Iterable[str],
        *,
        expired: bool,
        ca: bool,
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        ends = now + timedelta(days=-1 if expired else 1)
        builder = x509.CertificateBuilder(
            self._name, subject, key, x509.random_serial_number(), now - timedelta(days=3), ends
        ).add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        alternatives = [x509.DNSName(name) for name in names]
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        return builder.sign(self._key, hashes.SHA256())


def server_end(leaf: MadeLeaf, alpn: bytes | None = b"http/1.1") -> SSL.Connection:
    """A TLS server in memory that takes any client, and chooses `alpn` where it is offered."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.use_certificate(leaf.certificate)
    context.use_privatekey(leaf.key)
    context.set_alpn_select_callback(
        lambda _, offered: alpn if alpn in offered else SSL.NO_OVERLAPPING_PROTOCOLS
    )
    connection = SSL.Connection(context)
    connection.set_accept_state()
    return connection


def shake_hands(client: SSL.Connection, server: SSL.Connection) -> None:
    """Until both are done; raises what either of them raises, once the other has heard of it."""
    unfinished = [client, server]
    failure: SSL.Error | None = None
    for _ in range(10):
        for end, other in ((client, server), (server, client)):
            try:
                end.do_handshake()
                unfinished = [one for one in unfinished if one is not end]
            except SSL.WantReadError:
                pass
            except SSL.Error as error:
                failure = failure or error
            carry(end, other)
        if failure is not None:
            raise failure
        if not unfinished:
            return
    raise AssertionError("a handshake without an end")


def carry(source: SSL.Connection, sink: SSL.Connection) -> None:
    with suppress(SSL.WantReadError):
        while True:
            sink.bio_write(source.bio_read(65_536))


# --- sockets -------------------------------------------------------------------------------------------


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Two ends of one loopback connection: the application's, which blocks, and ours, which does not."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
    ours.setblocking(False)  # noqa: FBT003 - its name
    return theirs, ours


def ssl_server(leaf: MadeLeaf, folder: Path, alpn: str = "http/1.1") -> ssl.SSLContext:
    """For asyncio's servers; `load_cert_chain` takes files only."""
    file = folder / f"{token_hex(4)}.pem"
    pem = serialization.Encoding.PEM
    file.write_bytes(
        leaf.key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + leaf.certificate.public_bytes(pem)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    context.set_alpn_protocols([alpn])
    return context


def ssl_client(root: x509.Certificate, alpn: str = "http/1.1") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=root.public_bytes(serialization.Encoding.PEM).decode())
    context.set_alpn_protocols([alpn])
    return context
