"""Every metric of the injector. Of what users write only names of namespaces become labels."""

from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from typing import Final

from injector.edge.conversation import Lost
from injector.edge.http_messages import Rejected
from injector.edge.serving import Refusal
from proxy import __version__
from proxy.telemetry.exposition import MetricSet

PREFIX: Final = "podkey_injector"
# A review takes a few milliseconds; after five seconds nobody waits for it any more.
REVIEW_BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)


class Outcome(Enum):
    """What was answered to a review."""

    INJECTED = "injected"
    SKIPPED = "skipped"
    REFUSED = "refused"
    ALLOWED = "allowed"
    FAILED = "failed"


class Metrics(MetricSet):
    """What there is to count. Every method is cheap, and none raises."""

    def __init__(self) -> None:
        super().__init__(f"{PREFIX}_series_dropped_total")
        counter, gauge, histogram = self._counter, self._gauge, self._histogram
        self._reviews = counter(
            f"{PREFIX}_reviews_total",
            "Reviews that were answered, by webhook, outcome and the code of the first reason.",
            ("path", "outcome", "code"),
            (),
        )
        self._review_seconds = histogram(
            f"{PREFIX}_review_duration_seconds",
            "From a review's last byte to its answer.",
            REVIEW_BUCKETS,
            ("path",),
        )
        self._in_flight = gauge(f"{PREFIX}_reviews_in_flight", "Reviews that are being read or answered.")
        self._connections = gauge(f"{PREFIX}_connections_open", "Connections of API servers.")
        self._rejected = counter(
            f"{PREFIX}_rejected_requests_total",
            "Connections and requests that no webhook saw, by the reason.",
            ("why",),
            [(why.value,) for kind in (Refusal, Rejected, Lost) for why in kind],
        )
        self._objects = gauge(f"{PREFIX}_objects", "Objects in the caches.", ("kind",), ())
        self._restarts = counter(
            f"{PREFIX}_watch_restarts_total",
            "Watches that began anew, by kind of object and reason.",
            ("kind", "reason"),
            (),
        )
        self._heard = gauge(
            f"{PREFIX}_watch_last_event_timestamp_seconds",
            "When a watch was last heard of: an event, a bookmark or a list.",
            ("kind",),
            (),
        )
        self._compiled = gauge(f"{PREFIX}_compiled_namespaces", "Namespaces with a compiled policy.")
        self._compiles = counter(
            f"{PREFIX}_compile_total",
            "Compilations of a namespace's policies: written, unchanged or failed.",
            ("outcome",),
            [("written",), ("unchanged",), ("failed",)],
        )
        self._documents = gauge(
            f"{PREFIX}_documents_rejected", "Documents in the cluster that have problems.", ("kind",), ()
        )
        self._uninjected = gauge(
            f"{PREFIX}_uninjected_pods",
            "Running pods without the sidecar that they should have.",
            ("namespace",),
            (),
        )
        self._events = counter(
            f"{PREFIX}_events_total",
            "Kubernetes Events: written, dropped because too many waited, or failed.",
            ("outcome",),
            [("written",), ("dropped",), ("failed",)],
        )
        self._leader = gauge(f"{PREFIX}_leader", "1 while this replica leads.")
        self._certificate = gauge(
            f"{PREFIX}_certificate_expiry_timestamp_seconds",
            "When the certificate of the webhooks ends; 0 before there is one.",
        )
        self._authority = gauge(
            f"{PREFIX}_ca_expiry_timestamp_seconds",
            "When podkey's own authority ends; 0 before there is one, or where there is none.",
        )
        self._bundle = gauge(
            f"{PREFIX}_ca_bundle_verified",
            "1 while the leader finds the right bundle in every webhook configuration.",
        )
        self._log_errors = counter(f"{PREFIX}_log_write_errors_total", "Log lines that were lost.")
        self._background = counter(
            f"{PREFIX}_background_failures_total", "Work beside reviews that broke, and began again."
        )
        self._ready = gauge(f"{PREFIX}_ready", "1 while the injector is ready.")
        build = gauge(f"{PREFIX}_build_info", "The version that runs.", ("version",), ())
        build.put((__version__,), 1)

    # --- reviews ---

    def serves(self, path: str) -> None:
        """A webhook that there is: its series begin at 0."""
        self._reviews.put((path, Outcome.FAILED.value, ""), 0)

    def reviewed(self, path: str, outcome: Outcome, code: str = "") -> None:
        """`code` is one of a closed set."""
        self._reviews.add((path, outcome.value, code))

    def review_failed(self, path: str) -> None:
        self._reviews.add((path, Outcome.FAILED.value, ""))

    def review_took(self, path: str, seconds: float) -> None:
        self._review_seconds.observe((path,), seconds)

    def review_began(self) -> None:
        self._in_flight.add(())

    def review_ended(self) -> None:
        self._in_flight.add((), -1)

    def rejected(self, why: Enum) -> None:
        self._rejected.add((str(why.value),))

    def connections(self, number: int) -> None:
        self._connections.put((), number)

    # --- the cluster ---

    def objects(self, kind: str, number: int) -> None:
        self._objects.put((kind,), number)

    def watch_restarted(self, kind: str, reason: str) -> None:
        """`reason` is one of a closed set, never the text of an error."""
        self._restarts.add((kind, reason))

    def watch_heard(self, kind: str, when: datetime) -> None:
        self._heard.put((kind,), when.timestamp())

    def compiled_namespaces(self, number: int) -> None:
        self._compiled.put((), number)

    def compiled(self, outcome: str) -> None:
        self._compiles.add((outcome,))

    def documents_rejected(self, kind: str, number: int) -> None:
        self._documents.put((kind,), number)

    def uninjected(self, pods: Mapping[str, int]) -> None:
        """By namespace: all of them, so that one that is mended disappears."""
        self._uninjected.values = {}
        for namespace, number in pods.items():
            self._uninjected.put((namespace,), number)

    def event(self, outcome: str) -> None:
        self._events.add((outcome,))

    def leads(self, *, leads: bool) -> None:
        self._leader.put((), int(leads))

    # --- certificates ---

    def certificate_ends(self, when: datetime) -> None:
        self._certificate.put((), when.timestamp())

    def authority_ends(self, when: datetime) -> None:
        self._authority.put((), when.timestamp())

    def bundle_verified(self, *, verified: bool) -> None:
        self._bundle.put((), int(verified))

    # --- the injector itself ---

    def log_lost(self) -> None:
        self._log_errors.add(())

    def background_failed(self) -> None:
        self._background.add(())

    def ready(self, *, ready: bool) -> None:
        self._ready.put((), int(ready))
