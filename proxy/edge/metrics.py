"""Every metric of the sidecar. Nothing that an application chooses becomes a label: no host, no path."""

from datetime import datetime
from enum import Enum
from typing import Final

from proxy import __version__
from proxy.core.arrival import LaneName
from proxy.core.audit import AuditRecord, Own
from proxy.core.evidence import ProofOutcome
from proxy.core.lease import LeaseEvent
from proxy.core.reasons import Reason
from proxy.core.settings import Capture
from proxy.edge.outgoing_faults import AskOutcome
from proxy.lanes.interface import Distrust, KernelTls, TlsPeer
from proxy.telemetry.exposition import UNLABELLED, MetricSet
from proxy.tokens.faults import TokenFaultCode

# From a cached answer to a long generation; a checkpoint upload falls into the last.
REQUEST_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 120.0, 600.0)
# A decision takes some 20 µs; a lease that has to be fetched first is in it, too.
DECISION_BUCKETS: Final = (1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 5e-3, 0.025, 0.1)
# From a token endpoint in the same region to the ten seconds after which nobody waits any more.
SOURCE_BUCKETS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Rejection(Enum):
    """Why a connection was closed before a lane had it."""

    DIRECT = "direct"  # to the proxy's own port, not by way of the redirect
    PEER = "peer"  # from outside the pod
    LIMIT = "limit"
    FENCED = "fenced"  # meant for a metadata service, or for the sidecar itself


UPSTREAM_REASONS: Final = (
    Reason.UPSTREAM_UNREACHABLE,
    Reason.UPSTREAM_UNVERIFIED,
    Reason.UPSTREAM_FAILED,
    Reason.UPSTREAM_STALLED,
    Reason.REQUEST_TIMED_OUT,
)
_LANES: Final = tuple(lane.value for lane in LaneName)
_DIRECTIONS: Final = ((KernelTls.SENDS, "sent"), (KernelTls.RECEIVES, "received"))


class Metrics(MetricSet):
    """What there is to count. Every method is cheap, and none raises."""

    def __init__(self) -> None:
        super().__init__("podkey_series_dropped_total")
        counter, gauge, histogram = self._counter, self._gauge, self._histogram
        self._requests = counter(
            "podkey_requests_total",
            "Requests that were judged, by verdict and reason code.",
            ("verdict", "reason", "service", "lane"),
            [("refuse", Reason.INTERNAL_ERROR.value, "", lane) for lane in _LANES],
        )
        self._request_seconds = histogram(
            "podkey_request_duration_seconds",
            "From a request's head to the last byte of its response.",
            REQUEST_BUCKETS,
            ("verdict", "lane"),
        )
        self._decision_seconds = histogram(
            "podkey_decision_duration_seconds",
            "From a request's head to its verdict, with the lease where one had to be fetched.",
            DECISION_BUCKETS,
            keys=UNLABELLED,
        )
        self._bytes = counter(
            "podkey_bytes_total",
            "Bytes to upstreams (sent) and from them (received).",
            ("direction", "lane"),
            [(direction, lane) for direction in ("sent", "received") for lane in _LANES],
        )
        self._connections = counter(
            "podkey_connections_total",
            "Connections that a lane served, by lane and way in.",
            ("lane", "way"),
            [(lane, way.value) for lane in _LANES for way in Capture],
        )
        self._open = gauge(
            "podkey_connections_open", "Connections at this moment.", ("lane",), [(lane,) for lane in _LANES]
        )
        self._rejected = counter(
            "podkey_connections_refused_total",
            "Connections that were closed before a lane had them.",
            ("reason",),
            [(rejection.value,) for rejection in Rejection],
        )
        self._leases = gauge(
            "podkey_leases",
            "Credentials in memory (live), and sources that give none (failed).",
            ("state",),
            [("live",), ("failed",)],
        )
        self._lease_events = counter(
            "podkey_lease_events_total",
            "What happened to leases; `failed` is a source that gave none.",
            ("event",),
            [(event.value,) for event in LeaseEvent],
        )
        self._identity = gauge(
            "podkey_identity_verified",
            "Whether a verified token proves who the pod is. Without one governed requests are refused.",
        )
        self._identity_expiry = gauge(
            "podkey_identity_token_expiry_timestamp_seconds",
            "When that token ends; 0 while there is none. The kubelet renews it at 80 % of its life.",
        )
        self._verifications = counter(
            "podkey_identity_verifications_total",
            "Looks at the pod's token that led to something new, by outcome: verified, or the fault.",
            ("outcome",),
            [(outcome.value,) for outcome in (*ProofOutcome, *TokenFaultCode)],
        )
        self._source_requests = counter(
            "podkey_source_requests_total",
            "HTTP requests to credential sources and issuers of identity, by how they ended.",
            ("outcome",),
            [(outcome.value,) for outcome in AskOutcome],
        )
        self._source_seconds = histogram(
            "podkey_source_request_duration_seconds",
            "From such a request's beginning to its end, with connecting.",
            SOURCE_BUCKETS,
            keys=UNLABELLED,
        )
        self._spent = counter(
            "podkey_leases_spent_total",
            "Answers of upstreams that called a lease expired or revoked; `retried`: the request was sent "
            "once more with another lease.",
            ("retried",),
            [("true",), ("false",)],
        )
        self._cut = counter(
            "podkey_requests_cut_total",
            "Requests on their way that were cut because their grant or source was taken away.",
        )
        self._issued = counter("podkey_certificates_issued_total", "Leaf certificates that were made.")
        self._cached = gauge("podkey_certificates_cached", "Leaf certificates that are kept.")
        self._authority_expiry = gauge(
            "podkey_certificate_authority_expiry_timestamp_seconds",
            "When the pod's own authority expires; 0 before there is one.",
        )
        self._reloads = counter(
            "podkey_policy_reloads_total",
            "Policy folders that were read: put in force, or rejected for the one before.",
            ("outcome",),
            [("applied",), ("rejected",)],
        )
        self._policy = gauge(
            "podkey_policy_info", "The policy in force, by the SHA-256 of its files.", ("sha256",), ()
        )
        self._policy_loaded = gauge(
            "podkey_policy_loaded_timestamp_seconds", "When it came into force; 0 before there is one."
        )
        self._static = counter(
            "podkey_static_credentials_seen_total",
            "Requests in which the application sent a credential of its own.",
            ("service",),
            [("",)],
        )
        self._redactions = counter(
            "podkey_redactions_total", "Credentials that were found in responses and blotted out."
        )
        self._distrusts = counter(
            "podkey_client_tls_failures_total",
            "Clients that did not want the certificate that they were shown: they said so, or left.",
            ("sign",),
            [(sign.value,) for sign in Distrust],
        )
        self._handshakes = counter(
            "podkey_tls_connections_total",
            "TLS connections of the fast lane whose handshake succeeded, by who is at the other end.",
            ("peer",),
            [(peer.value,) for peer in TlsPeer],
        )
        self._in_kernel = counter(
            "podkey_tls_kernel_connections_total",
            "Those of them whose records the kernel encrypts (sent) or decrypts (received).",
            ("peer", "direction"),
            [(peer.value, direction) for peer in TlsPeer for _, direction in _DIRECTIONS],
        )
        self._upstream_failures = counter(
            "podkey_upstream_failures_total",
            "Upstreams that could not be reached, proved another name, broke off, stalled or took too long.",
            ("reason",),
            [(reason.value,) for reason in UPSTREAM_REASONS],
        )
        self._failed_open = counter(
            "podkey_fail_open_total", "Requests that were on their way unjudged. Must stay 0."
        )
        self._audit_errors = counter("podkey_audit_write_errors_total", "Audit records that were lost.")
        self._log_errors = counter("podkey_log_write_errors_total", "Log lines that were lost.")
        self._ready = gauge("podkey_ready", "1 while the sidecar is ready.")
        build = gauge("podkey_build_info", "The version that runs.", ("version",), ())
        build.put((__version__,), 1)

    # --- requests ---

    def decided(self, seconds: float) -> None:
        self._decision_seconds.observe((), seconds)

    def finished(self, record: AuditRecord) -> None:
        """One request, at its end."""
        self.ended(record, record)

    def ended(self, record: AuditRecord, own: Own | AuditRecord) -> None:
        """`own`: of another request that said the same."""
        verdict, lane = record.verdict, record.lane
        self._requests.add((verdict, record.reason, record.service, lane))
        self._request_seconds.observe((verdict, lane), own.duration_ms / 1000)
        self._moved(lane, own.sent_bytes, own.received_bytes)
        if record.static_credential_seen:
            self._static.add((record.service,))
        if own.redactions:
            self._redactions.add((), own.redactions)

    def upstream_failed(self, reason: str) -> None:
        self._upstream_failures.add((reason,))

    def lease_spent(self, *, retried: bool) -> None:
        self._spent.add(("true" if retried else "false",))

    def cut_by_policy(self) -> None:
        self._cut.add(())

    def failed_open(self) -> None:
        self._failed_open.add(())

    # --- connections ---

    def opened(self, lane: LaneName, way: Capture) -> None:
        self._connections.add((lane.value, way.value))
        self._open.add((lane.value,))

    def moved(self, lane: LaneName, sent: int, received: int) -> None:
        """Bytes of a connection, at its end or as they go."""
        self._moved(lane.value, sent, received)

    def _moved(self, lane: str, sent: int, received: int) -> None:
        # They are there from the start, and most requests send none.
        if sent:
            self._bytes.add(("sent", lane), sent)
        if received:
            self._bytes.add(("received", lane), received)

    def closed(self, lane: LaneName) -> None:
        self._open.add((lane.value,), -1)

    def rejected(self, why: Rejection) -> None:
        self._rejected.add((why.value,))

    def client_distrusts(self, sign: Distrust) -> None:
        self._distrusts.add((sign.value,))

    def shook_hands(self, peer: TlsPeer, kernel: KernelTls) -> None:
        self._handshakes.add((peer.value,))
        if not kernel.value:
            return
        for flag, direction in _DIRECTIONS:
            if flag in kernel:
                self._in_kernel.add((peer.value, direction))

    # --- credentials and certificates ---

    def lease(self, event: LeaseEvent) -> None:
        self._lease_events.add((event.value,))

    def identity(self, ends: datetime | None) -> None:
        """Until when the pod is proved to be itself; None: it is not."""
        self._identity.put((), ends is not None)
        self._identity_expiry.put((), ends.timestamp() if ends is not None else 0)

    def token_judged(self, outcome: str) -> None:
        self._verifications.add((outcome,))

    def leases(self, live: int, failed: int) -> None:
        self._leases.put(("live",), live)
        self._leases.put(("failed",), failed)

    def source_asked(self, outcome: AskOutcome, seconds: float) -> None:
        """One HTTP request to a credential source."""
        self._source_requests.add((outcome.value,))
        self._source_seconds.observe((), seconds)

    def certificates(self, issued: int, cached: int) -> None:
        self._issued.put((), issued)
        self._cached.put((), cached)

    def authority_expires(self, when: datetime) -> None:
        self._authority_expiry.put((), when.timestamp())

    # --- the sidecar itself ---

    def policy_applied(self, sha256: str, when: datetime) -> None:
        self._reloads.add(("applied",))
        self._policy.values = {(sha256,): 1}
        self._policy_loaded.put((), when.timestamp())

    def policy_rejected(self) -> None:
        self._reloads.add(("rejected",))

    def audit_lost(self) -> None:
        self._audit_errors.add(())

    def log_lost(self) -> None:
        self._log_errors.add(())

    def ready(self, *, ready: bool) -> None:
        self._ready.put((), int(ready))
