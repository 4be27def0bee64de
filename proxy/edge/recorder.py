"""What lanes report goes to the metrics, the audit trail and the log: one place that knows all three."""

from collections import Counter
from typing import Final, Protocol

from proxy.core.arrival import Arrival
from proxy.core.audit import AuditRecord, Ending, Own
from proxy.core.hosts import Hostname
from proxy.edge.metrics import Metrics, Rejection
from proxy.lanes.interface import Clock, Distrust, KernelTls, TlsPeer
from proxy.telemetry.log import Log

# A request with a credential that takes longer than this gets an extra audit line before its end: whatever
# becomes of us, no more than this many seconds of use are unrecorded.
LONG_SECONDS: Final = 10.0
# Of how many different things it is remembered how often they were logged.
MAX_KINDS: Final = 512


class Audit(Protocol):
    """Takes a record; or that of another request, which has its `own` values in the place of this one's."""

    def __call__(self, record: AuditRecord, own: Own | None = None, /) -> object: ...


class EdgeRecorder:
    def __init__(self, metrics: Metrics, audit: Audit, log: Log, clock: Clock) -> None:
        self._metrics = metrics
        self._audit = audit
        self._log = log
        self._clock = clock
        # Requests with a credential that have not ended, oldest first, and since when.
        self._under_way: dict[str, tuple[float, AuditRecord, Own | None]] = {}
        self._warned: Counter[tuple[str, ...]] = Counter()

    # --- lanes ---

    def decided(self, record: AuditRecord, seconds: float) -> None:
        self._metrics.decided(seconds)
        if record.verdict == "attach":
            before = self._under_way.get(record.request_id)
            # One that was judged again keeps its time and its place: those behind it are younger.
            since = self._clock.monotonic() if before is None else before[0]
            self._under_way[record.request_id] = (since, record, None)
        if record.static_credential_seen:
            self._warn_of_static(record)

    def _warn_of_static(self, record: AuditRecord) -> None:
        self._warn("the application sent a credential of its own", host=record.host, service=record.service)

    def finished(self, record: AuditRecord) -> None:
        self._under_way.pop(record.request_id, None)
        self._metrics.finished(record)
        self._audit(record)

    def repeated(self, record: AuditRecord, own: Own, seconds: float) -> None:
        """`decided`, of another request that said the same; nothing of its record is made yet."""
        self._metrics.decided(seconds)
        self._under_way[own.request_id] = (self._clock.monotonic(), record, own)
        if record.static_credential_seen:
            self._warn_of_static(record)

    def ended(self, record: AuditRecord, own: Own) -> None:
        """`finished`, of another request that said the same."""
        self._under_way.pop(own.request_id, None)
        self._metrics.ended(record, own)
        self._audit(record, own)

    def tell_of_long_ones(self) -> None:
        """To be called every second or so."""
        late = self._clock.monotonic() - LONG_SECONDS
        for request_id, (since, record, own) in list(self._under_way.items()):
            if since > late:
                return
            del self._under_way[request_id]
            self._audit((record if own is None else record.of(own)).changed(ending=Ending.OPEN))

    def _warn(self, event: str, **fields: str) -> None:
        """The first time, the second, the fourth, the eighth …: what is repeated does not fill the log."""
        kind = (event, *fields.values())
        if len(self._warned) >= MAX_KINDS and kind not in self._warned:
            self._warned.clear()
        self._warned[kind] += 1
        count = self._warned[kind]
        if count & (count - 1) == 0:
            self._log.warning(event, **fields, count=count)

    def opened(self, arrival: Arrival) -> None:
        self._metrics.opened(arrival.lane, arrival.capture)

    def closed(self, arrival: Arrival, sent: int, received: int) -> None:
        self._metrics.closed(arrival.lane)
        self._metrics.moved(arrival.lane, sent, received)

    def shook_hands(self, peer: TlsPeer, kernel: KernelTls) -> None:
        self._metrics.shook_hands(peer, kernel)

    def client_distrusts(self, name: Hostname, sign: Distrust) -> None:
        self._metrics.client_distrusts(sign)
        self._warn(
            "a client does not trust this pod's authority"
            if sign is Distrust.SAID
            else "a client left within the TLS handshake: it may not trust this pod's authority",
            host=name,
            fix="point its trust variable at the bundle: see docs/sidecar.md",
        )

    def upstream_failed(self, name: Hostname, reason: str) -> None:
        self._metrics.upstream_failed(reason)
        self._warn("upstream failed", host=name, reason=reason)

    def lease_spent(self, service: str, *, retried: bool) -> None:
        self._metrics.lease_spent(retried=retried)
        if not retried:
            self._warn(
                "an upstream called a lease spent, and the request was not sent again", service=service
            )

    def region_learnt(self, host: Hostname, region: str) -> None:
        message = "a bucket lies elsewhere: requests to it are signed for its region"
        self._log.info(message, host=host, region=region)

    def clock_learnt(self, host: Hostname, seconds: float) -> None:
        self._warn(
            "an upstream's clock is not this node's: requests to it are signed with its own",
            host=host,
            minutes=f"{seconds / 60:+.0f}",
            fix="have the node's clock set by NTP",
        )

    def cut_by_policy(self, record: AuditRecord) -> None:
        self._metrics.cut_by_policy()
        self._warn(
            "a request was cut: the policy in force does not grant it any more",
            host=record.host,
            policy=record.policy,
            credential=record.credential,
        )

    def failed_open(self, where: str) -> None:
        self._metrics.failed_open()
        self._log.error("a request was about to pass unjudged, and was stopped", where=where)

    def crashed(self, where: str, error: BaseException) -> None:
        """The logger tells its type and its place, never its text: that may quote what was on the wire."""
        self._log.error("unexpected error", where=where, error=error)

    # --- the door ---

    def refused_connection(self, reason: str) -> None:
        self._metrics.rejected(Rejection(reason))
