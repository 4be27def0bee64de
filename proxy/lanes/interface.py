"""What every lane gets and gives. The edge implements the protocols; the entry wires them together."""

import socket
from collections.abc import Callable
from datetime import datetime
from enum import Enum, Flag
from typing import Protocol

from proxy.core.arrival import Arrival, LaneName
from proxy.core.audit import AuditRecord, Own
from proxy.core.hosts import Hostname
from proxy.core.lease import Lease, LeaseKey, LeaseReply
from proxy.core.settings import Timeouts
from proxy.core.structs import Struct, field
from proxy.lanes.in_flight import InFlight
from proxy.lanes.memory import RequestMemory
from proxy.lanes.room import Room
from proxy.transaction.clocks import HostClocks
from proxy.transaction.pod import PodState
from proxy.transaction.regions import BucketRegions

# An address to connect to, as sockets take it.
Address = tuple[str, int]


def shown(address: Address) -> str:
    """For records: an IPv6 address in brackets (RFC 3986 §3.2.2)."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Accepted(Struct):
    """One connection, handed to a lane with its first unread byte being the first that concerns the lane.

    `alpn` is None where the client does not speak TLS to us (an endpoint).
    """

    sock: socket.socket
    arrival: Arrival
    address: Address
    alpn: tuple[bytes, ...] | None
    # What the upstream is sent before the client's own bytes (relay only).
    first: bytes = b""
    # Whether something is on its way, and since how many seconds nothing moved: for a drain. The lane sets
    # both; until it has, a connection counts as busy and moving.
    busy: Callable[[], bool] = lambda: True
    idle_for: Callable[[], float] = lambda: 0.0


class TlsPeer(Enum):
    """With whom a lane shook hands."""

    APPLICATION = "application"
    UPSTREAM = "upstream"


class Distrust(Enum):
    """What a client did in the handshake when it had seen our certificate."""

    SAID = "said"  # by an alert: it does not want it
    LEFT = "left"  # without a word: who does not trust it may do so, and who gives up


class KernelTls(Flag):
    """In which directions a connection's TLS is the kernel's work."""

    NOTHING = 0
    SENDS = 1
    RECEIVES = 2


class Lane(Protocol):
    """Serves one connection to its end. It raises nothing but cancellation."""

    @property
    def name(self) -> LaneName: ...
    async def serve(self, accepted: Accepted) -> None: ...


class Clock(Protocol):
    def now(self) -> datetime: ...
    def monotonic(self) -> float: ...
    def wall(self) -> float: ...


class Leases(Protocol):
    """Where live credentials come from. It answers NoLease rather than raise."""

    async def lease(self, key: LeaseKey) -> LeaseReply: ...

    def at_hand(self, key: LeaseKey) -> Lease | None:
        """The live one, where there is one; for `lease` it is the same, but that nobody has to wait."""

    def spent(self, key: LeaseKey, lease_id: str) -> None:
        """The upstream said that this lease is expired or revoked: it is not handed out again."""


class Recorder(Protocol):
    """Who is told: the audit sink, the metrics and the log."""

    def decided(self, record: AuditRecord, seconds: float) -> None: ...
    def finished(self, record: AuditRecord) -> None: ...

    def repeated(self, record: AuditRecord, own: Own, seconds: float) -> None:
        """`decided`, of another request that said the same: `record.of(own)`."""

    def ended(self, record: AuditRecord, own: Own) -> None:
        """`finished`, of that."""

    def opened(self, arrival: Arrival) -> None: ...
    def closed(self, arrival: Arrival, sent: int, received: int) -> None: ...
    def shook_hands(self, peer: TlsPeer, kernel: KernelTls) -> None: ...
    def client_distrusts(self, name: Hostname, sign: Distrust) -> None: ...
    def upstream_failed(self, name: Hostname, reason: str) -> None: ...
    def failed_open(self, where: str) -> None: ...
    def lease_spent(self, service: str, *, retried: bool) -> None: ...
    def clock_learnt(self, host: Hostname, seconds: float) -> None: ...
    def region_learnt(self, host: Hostname, region: str) -> None: ...
    def cut_by_policy(self, record: AuditRecord) -> None: ...
    def crashed(self, where: str, error: BaseException) -> None: ...


class LaneWorld(Struct, frozen=True):
    """What all lanes of one sidecar share."""

    pod: Callable[[], PodState]
    leases: Leases
    recorder: Recorder
    clock: Clock
    new_id: Callable[[], str]
    timeouts: Timeouts
    # Asked anew by whoever replaces the policy.
    in_flight: InFlight = field(default_factory=InFlight)
    # Shared by all connections.
    room: Room = field(default_factory=Room)
    clocks: HostClocks = field(default_factory=HostClocks)
    regions: BucketRegions = field(default_factory=BucketRegions)
    memory: RequestMemory = field(default_factory=RequestMemory)
