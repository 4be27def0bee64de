import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread

import pytest

from proxy import __version__
from proxy.core.arrival import LaneName
from proxy.core.audit import AuditRecord
from proxy.core.evidence import ProofOutcome
from proxy.core.lease import LeaseEvent
from proxy.core.settings import Capture
from proxy.core.structs import replace
from proxy.edge.metrics import Metrics, Rejection
from proxy.edge.outgoing_faults import AskOutcome
from proxy.lanes.interface import Distrust, KernelTls, TlsPeer
from proxy.tokens.faults import TokenFaultCode

ROOT = Path(__file__).parents[4]
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
RECORD = AuditRecord(
    time=NOON,
    request_id="1",
    namespace="ml",
    service_account="trainer",
    pod_name="train-0",
    pod_uid="0f3d",
    node="gpu-7",
    evidence="declared",
    host="api.openai.com",
    port=443,
    method="GET",
    path="/v1/models",
    service="openai",
    verdict="attach",
    reason="granted",
    lane="mitmproxy",
    duration_ms=12.0,
)


def samples(metrics: Metrics) -> dict[str, float]:
    """Every sample of ours by its line without the value."""
    lines = metrics.exposition()[0].decode().splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if line.startswith("podkey_"))
    return {name: float(value) for name, value in pairs}


def changes(act: Callable[[Metrics], object]) -> dict[str, float]:
    """What an act changes, without the buckets."""
    metrics = Metrics()
    before = samples(metrics)
    act(metrics)
    after = samples(metrics)
    return {name: after[name] for name in after if after[name] != before.get(name) and "_bucket" not in name}


def family_names(metrics: Metrics) -> list[str]:
    return re.findall(r"^# TYPE (podkey_\S+)", metrics.exposition()[0].decode(), re.MULTILINE)


CASES: list[tuple[Callable[[Metrics], object], dict[str, float]]] = [
    (
        lambda m: m.finished(RECORD),
        {
            'podkey_requests_total{lane="mitmproxy",reason="granted",service="openai",verdict="attach"}': 1,
            'podkey_request_duration_seconds_count{lane="mitmproxy",verdict="attach"}': 1,
            'podkey_request_duration_seconds_sum{lane="mitmproxy",verdict="attach"}': 0.012,
        },
    ),
    (
        lambda m: m.decided(2e-5),
        {"podkey_decision_duration_seconds_count": 1, "podkey_decision_duration_seconds_sum": 2e-5},
    ),
    (
        lambda m: m.upstream_failed("upstream_stalled"),
        {'podkey_upstream_failures_total{reason="upstream_stalled"}': 1},
    ),
    (lambda m: m.failed_open(), {"podkey_fail_open_total": 1}),
    (lambda m: m.lease_spent(retried=True), {'podkey_leases_spent_total{retried="true"}': 1}),
    (lambda m: m.lease_spent(retried=False), {'podkey_leases_spent_total{retried="false"}': 1}),
    (lambda m: m.cut_by_policy(), {"podkey_requests_cut_total": 1}),
    (
        lambda m: m.opened(LaneName.RELAY, Capture.EXPLICIT),
        {
            'podkey_connections_total{lane="relay",way="explicit"}': 1,
            'podkey_connections_open{lane="relay"}': 1,
        },
    ),
    (lambda m: m.closed(LaneName.RELAY), {'podkey_connections_open{lane="relay"}': -1}),
    (
        lambda m: m.moved(LaneName.FAST, 3, 4),
        {
            'podkey_bytes_total{direction="sent",lane="fast"}': 3,
            'podkey_bytes_total{direction="received",lane="fast"}': 4,
        },
    ),
    (lambda m: m.rejected(Rejection.PEER), {'podkey_connections_refused_total{reason="peer"}': 1}),
    (lambda m: m.client_distrusts(Distrust.SAID), {'podkey_client_tls_failures_total{sign="said"}': 1}),
    (lambda m: m.client_distrusts(Distrust.LEFT), {'podkey_client_tls_failures_total{sign="left"}': 1}),
    (
        lambda m: m.shook_hands(TlsPeer.APPLICATION, KernelTls.NOTHING),
        {'podkey_tls_connections_total{peer="application"}': 1},
    ),
    (
        lambda m: m.shook_hands(TlsPeer.UPSTREAM, KernelTls.SENDS),
        {
            'podkey_tls_connections_total{peer="upstream"}': 1,
            'podkey_tls_kernel_connections_total{direction="sent",peer="upstream"}': 1,
        },
    ),
    (
        lambda m: m.shook_hands(TlsPeer.UPSTREAM, KernelTls.SENDS | KernelTls.RECEIVES),
        {
            'podkey_tls_connections_total{peer="upstream"}': 1,
            'podkey_tls_kernel_connections_total{direction="sent",peer="upstream"}': 1,
            'podkey_tls_kernel_connections_total{direction="received",peer="upstream"}': 1,
        },
    ),
    (lambda m: m.lease(LeaseEvent.RENEWED), {'podkey_lease_events_total{event="renewed"}': 1}),
    (
        lambda m: m.identity(NOON),
        {
            "podkey_identity_verified": 1,
            "podkey_identity_token_expiry_timestamp_seconds": NOON.timestamp(),
        },
    ),
    (lambda m: (m.identity(NOON), m.identity(None)), {}),
    (
        lambda m: m.token_judged("wrong_pod"),
        {'podkey_identity_verifications_total{outcome="wrong_pod"}': 1},
    ),
    (
        lambda m: m.leases(live=2, failed=1),
        {'podkey_leases{state="live"}': 2, 'podkey_leases{state="failed"}': 1},
    ),
    (
        lambda m: m.source_asked(AskOutcome.TOO_SLOW, 10.0),
        {
            'podkey_source_requests_total{outcome="too_slow"}': 1,
            "podkey_source_request_duration_seconds_count": 1,
            "podkey_source_request_duration_seconds_sum": 10.0,
        },
    ),
    (
        lambda m: m.certificates(issued=7, cached=5),
        {"podkey_certificates_issued_total": 7, "podkey_certificates_cached": 5},
    ),
    (
        lambda m: m.authority_expires(NOON),
        {"podkey_certificate_authority_expiry_timestamp_seconds": NOON.timestamp()},
    ),
    (
        lambda m: m.policy_applied("ab12", NOON),
        {
            'podkey_policy_reloads_total{outcome="applied"}': 1,
            'podkey_policy_info{sha256="ab12"}': 1,
            "podkey_policy_loaded_timestamp_seconds": NOON.timestamp(),
        },
    ),
    (lambda m: m.policy_rejected(), {'podkey_policy_reloads_total{outcome="rejected"}': 1}),
    (lambda m: m.audit_lost(), {"podkey_audit_write_errors_total": 1}),
    (lambda m: m.log_lost(), {"podkey_log_write_errors_total": 1}),
    (lambda m: m.ready(ready=True), {"podkey_ready": 1}),
]


@pytest.mark.parametrize(("act", "expected"), CASES)
def test_each_act_changes_its_own_samples(
    act: Callable[[Metrics], object], expected: dict[str, float]
) -> None:
    assert changes(act) == expected


def test_a_request_tells_what_the_application_and_the_upstream_gave_away() -> None:
    changed = changes(lambda m: m.finished(replace(RECORD, static_credential_seen=True, redactions=2)))

    assert changed['podkey_static_credentials_seen_total{service="openai"}'] == 1
    assert changed["podkey_redactions_total"] == 2


def test_what_alerts_ask_for_exists_from_the_start() -> None:
    got = samples(Metrics())

    for name in (
        "podkey_fail_open_total",
        "podkey_audit_write_errors_total",
        "podkey_log_write_errors_total",
        *(f'podkey_client_tls_failures_total{{sign="{sign.value}"}}' for sign in Distrust),
        "podkey_redactions_total",
        "podkey_series_dropped_total",
        "podkey_ready",
        'podkey_leases{state="failed"}',
        *(f'podkey_lease_events_total{{event="{event.value}"}}' for event in LeaseEvent),
        "podkey_identity_verified",
        "podkey_identity_token_expiry_timestamp_seconds",
        *(
            f'podkey_identity_verifications_total{{outcome="{outcome.value}"}}'
            for outcome in (*ProofOutcome, *TokenFaultCode)
        ),
        'podkey_policy_reloads_total{outcome="rejected"}',
        *(f'podkey_source_requests_total{{outcome="{outcome.value}"}}' for outcome in AskOutcome),
        'podkey_static_credentials_seen_total{service=""}',
        *(f'podkey_connections_refused_total{{reason="{why.value}"}}' for why in Rejection),
        *(f'podkey_upstream_failures_total{{reason="upstream_{why}"}}' for why in ("unverified", "stalled")),
        'podkey_requests_total{lane="mitmproxy",reason="internal_error",service="",verdict="refuse"}',
    ):
        assert got[name] == 0
    assert got[f'podkey_build_info{{version="{__version__}"}}'] == 1


def test_only_the_policy_in_force_is_shown() -> None:
    metrics = Metrics()
    metrics.policy_applied("old", NOON)
    metrics.policy_applied("new", NOON)

    assert [name for name in samples(metrics) if "policy_info" in name] == [
        'podkey_policy_info{sha256="new"}'
    ]


def test_buckets_hold_all_below_them() -> None:
    metrics = Metrics()
    for seconds in (1e-6, 3e-4, 7.0):
        metrics.decided(seconds)
    got = samples(metrics)

    assert got['podkey_decision_duration_seconds_bucket{le="1e-05"}'] == 1
    assert got['podkey_decision_duration_seconds_bucket{le="0.0005"}'] == 2
    assert got['podkey_decision_duration_seconds_bucket{le="+Inf"}'] == 3


def test_two_sidecars_in_one_process_count_apart() -> None:
    one, other = Metrics(), Metrics()
    one.failed_open()

    assert samples(other)["podkey_fail_open_total"] == 0


def test_nothing_of_the_request_but_closed_sets_becomes_a_label() -> None:
    metrics = Metrics()
    metrics.finished(replace(RECORD, service="", host="canary.example", path="/canary", method="CANARY"))

    assert "canary" not in metrics.exposition()[0].decode().lower()


def test_the_process_is_in_it_under_the_usual_names() -> None:
    text, kind = Metrics().exposition()

    assert b"\nprocess_resident_memory_bytes " in text
    assert kind == "text/plain; version=0.0.4; charset=utf-8"


def test_it_can_be_rendered_while_the_loop_counts() -> None:
    metrics = Metrics()
    faults: list[BaseException] = []

    def render() -> None:
        try:
            for _ in range(20):
                metrics.exposition()
        except BaseException as error:  # noqa: BLE001 - told to the test
            faults.append(error)

    thread = Thread(target=render)
    thread.start()
    number = 0
    while thread.is_alive():
        metrics.finished(replace(RECORD, service=str(number)))
        number += 1
    thread.join()

    assert faults == []


def test_the_client_library_is_not_imported_before_the_first_scrape() -> None:
    code = "import sys, proxy.edge.metrics as t; t.Metrics(); print('prometheus_client' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout == "False\n"


def test_every_metric_stands_in_the_operations_page() -> None:
    page = (ROOT / "docs/operations.md").read_text()

    assert [name for name in family_names(Metrics()) if f"| `{name}`" not in page] == []
    named = set(re.findall(r"podkey_[a-z_0-9]+", page))
    known = {*family_names(Metrics()), *(f"{name}_bucket" for name in family_names(Metrics()))}
    assert named - known == set()
