import re
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from injector.edge.conversation import Lost
from injector.edge.http_messages import Rejected
from injector.edge.metrics import Metrics, Outcome
from injector.edge.serving import Refusal
from proxy import __version__

WHEN = datetime(2030, 1, 1, tzinfo=UTC)


def text(metrics: Metrics) -> str:
    body, media_type = metrics.exposition()
    assert media_type.startswith("text/plain")
    return body.decode()


def value(metrics: Metrics, series: str) -> float:
    found = re.search(rf"^podkey_injector_{re.escape(series)} (\S+)$", text(metrics), re.MULTILINE)
    assert found, f"there is no {series}"
    return float(found[1])


@pytest.mark.parametrize(
    ("act", "series", "expected"),
    [
        (lambda m: m.serves("/mutate"), 'reviews_total{code="",outcome="failed",path="/mutate"}', 0),
        (
            lambda m: m.reviewed("/mutate", Outcome.INJECTED, "accelerator"),
            'reviews_total{code="accelerator",outcome="injected",path="/mutate"}',
            1,
        ),
        (lambda m: m.review_failed("/m"), 'reviews_total{code="",outcome="failed",path="/m"}', 1),
        (lambda m: m.review_took("/m", 0.002), 'review_duration_seconds_count{path="/m"}', 1),
        (lambda m: m.review_took("/m", 0.002), 'review_duration_seconds_bucket{le="0.0025",path="/m"}', 1),
        (lambda m: m.review_began(), "reviews_in_flight", 1),
        (lambda m: (m.review_began(), m.review_ended()), "reviews_in_flight", 0),
        (lambda m: m.connections(7), "connections_open", 7),
        (lambda m: m.rejected(Refusal.BUSY), 'rejected_requests_total{why="busy"}', 1),
        (lambda m: m.objects("namespaces", 200), 'objects{kind="namespaces"}', 200),
        (
            lambda m: m.watch_restarted("namespaces", "gone"),
            'watch_restarts_total{kind="namespaces",reason="gone"}',
            1,
        ),
        (
            lambda m: m.watch_heard("namespaces", WHEN),
            'watch_last_event_timestamp_seconds{kind="namespaces"}',
            WHEN.timestamp(),
        ),
        (lambda m: m.compiled_namespaces(3), "compiled_namespaces", 3),
        (lambda m: m.compiled("written"), 'compile_total{outcome="written"}', 1),
        (lambda m: m.documents_rejected("AccessPolicy", 2), 'documents_rejected{kind="AccessPolicy"}', 2),
        (lambda m: m.uninjected({"a": 2}), 'uninjected_pods{namespace="a"}', 2),
        (lambda m: m.event("dropped"), 'events_total{outcome="dropped"}', 1),
        (lambda m: m.leads(leads=True), "leader", 1),
        (lambda m: m.certificate_ends(WHEN), "certificate_expiry_timestamp_seconds", WHEN.timestamp()),
        (lambda m: m.authority_ends(WHEN), "ca_expiry_timestamp_seconds", WHEN.timestamp()),
        (lambda m: m.bundle_verified(verified=True), "ca_bundle_verified", 1),
        (lambda m: m.log_lost(), "log_write_errors_total", 1),
        (lambda m: m.background_failed(), "background_failures_total", 1),
        (lambda m: m.ready(ready=True), "ready", 1),
        (lambda _: None, f'build_info{{version="{__version__}"}}', 1),
        (lambda _: None, "series_dropped_total", 0),
    ],
)
def test_it_is_shown(act: Callable[[Metrics], object], series: str, expected: float) -> None:
    metrics = Metrics()
    act(metrics)

    assert value(metrics, series) == expected


def test_every_reason_of_a_rejection_begins_at_nothing_and_is_told_apart() -> None:
    reasons = [why.value for kind in (Refusal, Rejected, Lost) for why in kind]

    assert len(reasons) == len(set(reasons))
    for why in reasons:
        assert value(Metrics(), f'rejected_requests_total{{why="{why}"}}') == 0


def test_a_namespace_that_was_mended_disappears() -> None:
    metrics = Metrics()
    metrics.uninjected({"a": 1, "b": 2})
    metrics.uninjected({"b": 1})

    assert 'namespace="a"' not in text(metrics)
    assert value(metrics, 'uninjected_pods{namespace="b"}') == 1


def test_every_metric_has_our_prefix_and_a_text() -> None:
    lines = text(Metrics()).splitlines()
    named = [line for line in lines if line.startswith("# HELP ") and "process_" not in line]

    assert all(line.split(" ", 3)[2].startswith("podkey_injector_") for line in named)
    assert all(line.split(" ", 3)[3].endswith(".") for line in named)
