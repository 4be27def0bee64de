"""Counting in plain numbers, and their text for Prometheus. The doorman of `prometheus_client`.

A tenth of the client's own counters, which lock; its 65 ms of imports are not paid at start but with the
first scrape, in the thread that renders it.
"""

from collections.abc import Iterable, Iterator, Sequence
from threading import Lock
from typing import TYPE_CHECKING, Final

from proxy.telemetry.series import Histogram, Key, Series

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric

# The one series of a metric without labels.
UNLABELLED: Final = ((),)


class MetricSet:
    """The metrics of a program. Every method is cheap, and none raises."""

    def __init__(self, dropped: str) -> None:
        # The name of the counter that should stay 0.
        self._dropped = dropped
        self._series: list[Series] = []
        self._histograms: list[Histogram] = []
        self._registry: CollectorRegistry | None = None
        self._rendering = Lock()

    def _counter(self, name: str, doc: str, labels: Key = (), keys: Iterable[Key] = UNLABELLED) -> Series:
        self._series.append(Series(name, "counter", doc, labels, keys))
        return self._series[-1]

    def _gauge(self, name: str, doc: str, labels: Key = (), keys: Iterable[Key] = UNLABELLED) -> Series:
        self._series.append(Series(name, "gauge", doc, labels, keys))
        return self._series[-1]

    def _histogram(
        self, name: str, doc: str, bounds: Sequence[float], labels: Key = (), keys: Iterable[Key] = ()
    ) -> Histogram:
        self._histograms.append(Histogram(name, doc, bounds, labels, keys))
        return self._histograms[-1]

    # --- out ---

    def exposition(self) -> tuple[bytes, str]:
        """The text that Prometheus reads, and its type. May run in a thread beside the event loop."""
        from prometheus_client import CollectorRegistry, ProcessCollector  # noqa: PLC0415 - not paid at start
        from prometheus_client.exposition import (  # noqa: PLC0415 - not paid at start
            CONTENT_TYPE_PLAIN_0_0_4,
            generate_latest,
        )

        with self._rendering:
            if self._registry is None:
                self._registry = CollectorRegistry()
                self._registry.register(self)
                ProcessCollector(registry=self._registry)
            return generate_latest(self._registry), CONTENT_TYPE_PLAIN_0_0_4

    def collect(self) -> "Iterator[Metric]":
        """For the registry. `list` takes a dict as it is at one moment, while the loop goes on counting."""
        from prometheus_client.core import (  # noqa: PLC0415 - not paid at start
            CounterMetricFamily,
            GaugeMetricFamily,
            HistogramMetricFamily,
        )

        for series in self._series:
            make = CounterMetricFamily if series.kind == "counter" else GaugeMetricFamily
            family = make(series.name, series.doc, labels=series.labels)
            for key, value in list(series.values.items()):
                family.add_metric(key, value)
            yield family
        for histogram in self._histograms:
            buckets = HistogramMetricFamily(histogram.name, histogram.doc, labels=histogram.labels)
            for key, counts in list(histogram.counts.items()):
                buckets.add_metric(key, list(histogram.cumulative(counts)), histogram.sums[key])
            yield buckets
        dropped = sum(series.dropped for series in self._series)
        doc = "Increments that would have needed a series too many. Must stay 0."
        yield CounterMetricFamily(self._dropped, doc, value=dropped)
