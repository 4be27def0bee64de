"""A metric as plain numbers: the values of one name by the values of its labels. Not for several threads to
write; `telemetry.py` reads them from another one."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from proxy.core.structs import Struct, field

# All reasons on all lanes for the services that one pod uses stay below. What comes above is a defect in what
# was chosen as a label, and must not eat the pod's memory; it is counted in podkey_series_dropped_total.
MAX_SERIES: Final = 2000

Key = tuple[str, ...]


class Series(Struct):
    """A counter or a gauge."""

    name: str
    kind: str
    doc: str
    labels: Key = ()
    # Those that exist from the start, at 0: a rate cannot see the step from nothing to 1.
    keys: Iterable[Key] = ()
    values: dict[Key, float] = field(default_factory=dict)
    dropped: int = 0

    def __post_init__(self) -> None:
        self.values.update(dict.fromkeys(self.keys, 0))

    def add(self, key: Key, amount: float = 1) -> None:
        try:
            self.values[key] += amount
        except KeyError:
            self.put(key, amount)

    def put(self, key: Key, value: float) -> None:
        if key in self.values or len(self.values) < MAX_SERIES:
            self.values[key] = value
        else:
            self.dropped += 1


class Histogram(Struct):
    """For each set of labels the number of values per bucket, and their sum. Its labels are closed sets."""

    name: str
    doc: str
    bounds: Sequence[float]
    labels: Key = ()
    keys: Iterable[Key] = ()
    counts: dict[Key, list[int]] = field(default_factory=dict)
    sums: dict[Key, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for key in self.keys:
            self._begin(key)

    def _begin(self, key: Key) -> None:
        # The sum first: whoever sees the counts finds it.
        self.sums[key] = 0.0
        self.counts[key] = [0] * (len(self.bounds) + 1)

    def observe(self, key: Key, value: float) -> None:
        if key not in self.counts:
            self._begin(key)
        self.counts[key][bisect_left(self.bounds, value)] += 1
        self.sums[key] += value

    def cumulative(self, counts: Iterable[int]) -> Iterator[tuple[str, int]]:
        """Buckets as Prometheus counts them: each holds all below it."""
        total = 0
        for bound, count in zip((*map(repr, self.bounds), "+Inf"), list(counts), strict=True):
            total += count
            yield bound, total
