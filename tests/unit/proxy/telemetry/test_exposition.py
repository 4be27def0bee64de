from proxy.telemetry.exposition import MetricSet


class Metrics(MetricSet):
    def __init__(self) -> None:
        super().__init__("lost_total")
        self.calls = self._counter("calls_total", "Calls.", ("who",), ())
        self.open = self._gauge("open", "Open ones.")
        self.seconds = self._histogram("seconds", "How long.", (0.1, 1.0), (), ((),))


def test_what_was_counted_is_told_as_prometheus_reads_it() -> None:
    metrics = Metrics()
    metrics.calls.add(("me",))
    metrics.calls.add(("me",))
    metrics.open.put((), 3)
    metrics.seconds.observe((), 0.5)

    text, kind = metrics.exposition()

    lines = text.decode().splitlines()
    assert kind.startswith("text/plain")
    assert 'calls_total{who="me"} 2.0' in lines
    assert "open 3.0" in lines
    assert 'seconds_bucket{le="0.1"} 0.0' in lines
    assert 'seconds_bucket{le="1.0"} 1.0' in lines
    assert "seconds_count 1.0" in lines
    assert "lost_total 0.0" in lines


def test_it_can_be_asked_again() -> None:
    metrics = Metrics()
    metrics.exposition()
    metrics.open.put((), 7)

    assert b"open 7.0" in metrics.exposition()[0]
