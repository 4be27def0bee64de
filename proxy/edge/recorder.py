"""What lanes report goes to the metrics, the audit trail and the log: one place that knows all three."""

from collections.abc import Callable
from typing import Final, Protocol

from proxy.core.arrival import Arrival, LaneName
from proxy.core.audit import AuditRecord
from proxy.core.hosts import Hostname
from proxy.edge.telemetry import Metrics, Rejection

# A client that does not trust us tries again, some of them forever; the first few lines tell it.
MAX_DISTRUST_LINES: Final = 20


class Log(Protocol):
    """A structured logger: an event in words, the rest in fields."""

    def info(self, event: str, **fields: object) -> object: ...
    def warning(self, event: str, **fields: object) -> object: ...
    def error(self, event: str, **fields: object) -> object: ...


class EdgeRecorder:
    def __init__(self, metrics: Metrics, audit: Callable[[AuditRecord], None], log: Log) -> None:
        self._metrics = metrics
        self._audit = audit
        self._log = log
        self._distrusted = 0

    # --- lanes ---

    def decided(self, record: AuditRecord, seconds: float) -> None:
        self._metrics.decided(seconds)
        if record.static_credential_seen:
            self._log.warning(
                "the application sent a credential of its own",
                host=record.host,
                service=record.service,
                request_id=record.request_id,
            )

    def finished(self, record: AuditRecord) -> None:
        self._metrics.finished(record)
        self._metrics.moved(LaneName(record.lane), record.sent_bytes, record.received_bytes)
        self._audit(record)

    def opened(self, arrival: Arrival) -> None:
        self._metrics.opened(arrival.lane, arrival.capture)

    def closed(self, arrival: Arrival, sent: int, received: int) -> None:
        self._metrics.closed(arrival.lane)
        self._metrics.moved(arrival.lane, sent, received)

    def client_distrusts(self, name: Hostname) -> None:
        self._metrics.client_distrusts()
        self._distrusted += 1
        if self._distrusted <= MAX_DISTRUST_LINES:
            self._log.warning(
                "a client ended the TLS handshake: it may not trust this pod's authority",
                host=name,
                fix="point its trust variable at the bundle: see docs/sidecar.md",
            )

    def upstream_failed(self, name: Hostname, reason: str) -> None:
        self._metrics.upstream_failed(reason)
        self._log.warning("upstream failed", host=name, reason=reason)

    def failed_open(self, where: str) -> None:
        self._metrics.failed_open()
        self._log.error("a request was about to pass unjudged, and was stopped", where=where)

    def crashed(self, where: str, error: BaseException) -> None:
        """The logger tells its type and its place, never its text: that may quote what was on the wire."""
        self._log.error("unexpected error", where=where, error=error)

    # --- the door ---

    def refused_connection(self, reason: str) -> None:
        self._metrics.rejected(Rejection(reason))
