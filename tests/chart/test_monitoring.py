"""Rules and dashboards: Prometheus' own tool reads them, and they ask for what podkey exposes.

Each alert is tried by `promtool test rules` on series with podkey's own names: it fires when it should, and
is silent when nothing is wrong.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from injector.edge.conversation import Lost
from injector.edge.http_messages import Rejected
from injector.edge.metrics import Metrics as InjectorMetrics
from injector.edge.serving import Refusal
from proxy.core.contract import ADMIN_PORT
from proxy.edge.metrics import Metrics as SidecarMetrics
from tests.helm_chart import CHART, MISSING, ROOT, of_kind, render, values_of

PROMTOOL: Final = shutil.which("promtool") or ""
RULES: Final = sorted((CHART / "rules").glob("*.yaml"))
DASHBOARDS: Final = sorted((CHART / "dashboards").glob("*.json"))
needs_promtool = pytest.mark.skipif(not PROMTOOL, reason="promtool is not installed (Debian: prometheus)")
needs_helm = pytest.mark.skipif(bool(MISSING), reason=MISSING)

POD: Final = 'namespace="ml", pod="train-0"'
DAY: Final = 86_400


class Case(NamedTuple):
    """Series as promtool's tests write them, at one value a minute; from 0 s on, which is 1970."""

    fires: Mapping[str, str]
    silent: Mapping[str, str]
    # Minutes after which it fires, with its `for`.
    minutes: int = 20


def falls(name: str, labels: str = "") -> Case:
    """A counter that should not move."""
    series = f"{name}{{{labels}}}"
    return Case({series: "0 0 1+0x60"}, {series: "5+0x60"}, 3)


def stays(name: str, bad: str, good: str, labels: str = "", minutes: int = 20) -> Case:
    series = f"{name}{{{labels}}}"
    return Case({series: f"{bad}+0x60"}, {series: f"{good}+0x60"}, minutes)


CASES: Final[dict[str, Case]] = {
    # One of two being ready is enough.
    "PodkeyInjectorAway": Case(
        {'podkey_injector_ready{pod="a"}': "0+0x60"},
        {'podkey_injector_ready{pod="a"}': "0+0x60", 'podkey_injector_ready{pod="b"}': "1+0x60"},
        3,
    ),
    "PodkeyInjectorFails": falls(
        "podkey_injector_reviews_total", 'path="/mutate", outcome="failed", code=""'
    ),
    "PodkeyInjectorTurnsAway": falls("podkey_injector_rejected_requests_total", 'why="busy"'),
    "PodkeyNobodyLeads": Case(
        {'podkey_injector_leader{pod="a"}': "0+0x60", 'podkey_injector_leader{pod="b"}': "0+0x60"},
        {'podkey_injector_leader{pod="a"}': "0+0x60", 'podkey_injector_leader{pod="b"}': "1+0x60"},
    ),
    "PodkeyWebhookCertificateEnds": stays(
        "podkey_injector_certificate_expiry_timestamp_seconds", str(DAY // 2), str(2 * DAY)
    ),
    "PodkeyWebhookUntrusted": Case(
        {'podkey_injector_ca_bundle_verified{pod="a"}': "0+0x60"},
        {
            'podkey_injector_ca_bundle_verified{pod="a"}': "0+0x60",
            'podkey_injector_ca_bundle_verified{pod="b"}': "1+0x60",
        },
    ),
    "PodkeyPodsWithoutSidecar": stays("podkey_injector_uninjected_pods", "2", "0", 'namespace="ml"'),
    "PodkeyPoliciesNotWritten": Case(
        {'podkey_injector_compile_total{outcome="failed"}': "0+1x60"},
        {'podkey_injector_compile_total{outcome="failed"}': "3+0x60"},
        25,
    ),
    "PodkeyDocumentsRejected": stays(
        "podkey_injector_documents_rejected", "1", "0", 'kind="AccessPolicy"', 20
    ),
    "PodkeyWatchSilent": Case(
        {'podkey_injector_watch_last_event_timestamp_seconds{kind="pods"}': "0+0x60"},
        {'podkey_injector_watch_last_event_timestamp_seconds{kind="pods"}': "0+60x60"},
    ),
    "PodkeyFailOpen": falls("podkey_fail_open_total", POD),
    "PodkeyAuditLost": falls("podkey_audit_write_errors_total", POD),
    "PodkeyInternalError": falls(
        "podkey_requests_total", f'{POD}, verdict="refuse", reason="internal_error", service="", lane="http"'
    ),
    "PodkeyNotReady": stays("podkey_ready", "0", "1", POD),
    "PodkeyIdentityUnverified": stays("podkey_identity_verified", "0", "1", POD),
    "PodkeyIdentityTokenEnds": stays(
        "podkey_identity_token_expiry_timestamp_seconds", str(20 * 60 + 30), str(20 * 60 + 120), POD
    ),
    "PodkeyCredentialSourceFails": stays("podkey_leases", "1", "0", f'{POD}, state="failed"'),
    "PodkeyCredentialMissing": falls(
        "podkey_requests_total",
        f'{POD}, verdict="refuse", reason="credential_unavailable", service="s3", lane="s3"',
    ),
    "PodkeyLeaseNotRevoked": falls("podkey_lease_events_total", f'{POD}, event="revoke_failed"'),
    "PodkeyPolicyRejected": falls("podkey_policy_reloads_total", f'{POD}, outcome="rejected"'),
    "PodkeyUpstreamUnverified": falls(
        "podkey_upstream_failures_total", f'{POD}, reason="upstream_unverified"'
    ),
    "PodkeyClientsDistrustUs": falls("podkey_client_tls_failures_total", POD),
    "PodkeyConnectionLimit": falls("podkey_connections_refused_total", f'{POD}, reason="limit"'),
    "PodkeyAuthorityExpires": stays(
        "podkey_certificate_authority_expiry_timestamp_seconds", str(DAY), str(30 * DAY), POD
    ),
    "PodkeyStaticCredential": falls("podkey_static_credentials_seen_total", f'{POD}, service="openai"'),
}


def rules() -> Iterator[tuple[Path, dict[str, Any]]]:
    for file in RULES:
        for group in yaml.safe_load(file.read_text())["groups"]:
            for rule in group["rules"]:
                yield file, rule


@cache
def exposed() -> set[str]:
    """Every sample's name; a histogram without series has its three, too."""
    found = set()
    for metrics in (InjectorMetrics(), SidecarMetrics()):
        for family in text_string_to_metric_families(metrics.exposition()[0].decode()):
            found |= {sample.name for sample in family.samples} | {family.name}
            if family.type == "counter":
                found.add(f"{family.name}_total")
            if family.type == "histogram":
                found |= {f"{family.name}_{part}" for part in ("bucket", "sum", "count")}
    return found


def asked(expression: str) -> set[str]:
    """The metrics that an expression names."""
    plain = re.sub(r'"[^"]*"', "", expression)
    return set(re.findall(r"\b(?:podkey|process)_\w+", plain))


def promtool(*arguments: str | Path) -> None:
    done = subprocess.run([PROMTOOL, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


# --- rules ---------------------------------------------------------------------------------------


@needs_promtool
def test_prometheus_reads_the_rules() -> None:
    promtool("check", "rules", *RULES)


def test_every_alert_has_its_case() -> None:
    assert [rule["alert"] for _, rule in rules()] == list(CASES)


@needs_promtool
@pytest.mark.parametrize("alert", CASES)
def test_an_alert_fires_when_it_should_and_then_only(alert: str, tmp_path: Path) -> None:
    case = CASES[alert]
    (file,) = [file for file, rule in rules() if rule["alert"] == alert]
    firing = f'count(ALERTS{{alertname="{alert}", alertstate="firing"}})'
    tests = [
        {
            "interval": "1m",
            "input_series": [{"series": name, "values": values} for name, values in series.items()],
            "promql_expr_test": [{"expr": firing, "eval_time": f"{case.minutes}m", "exp_samples": expected}],
        }
        for series, expected in ((case.fires, [{"labels": "{}", "value": 1}]), (case.silent, []))
    ]
    path = tmp_path / "test.yaml"
    path.write_text(yaml.safe_dump({"rule_files": [str(file)], "evaluation_interval": "1m", "tests": tests}))
    promtool("test", "rules", path)


def test_rules_ask_for_what_podkey_exposes() -> None:
    for _, rule in rules():
        assert asked(rule["expr"])
        assert asked(rule["expr"]) <= exposed(), rule["alert"]
    for case in CASES.values():
        for series in (*case.fires, *case.silent):
            assert asked(series) <= exposed()
    # Values of labels that an alert names.
    turned_away = {one.value for kind in (Refusal, Rejected, Lost) for one in kind}
    (rule,) = [rule for _, rule in rules() if rule["alert"] == "PodkeyInjectorTurnsAway"]
    (named,) = re.findall(r'why=~"([^"]+)"', rule["expr"])
    assert set(named.split("|")) <= turned_away


def test_every_alert_says_what_to_do_in_a_page_that_there_is() -> None:
    for _, rule in rules():
        page, _, anchor = rule["annotations"]["runbook"].partition("#")
        sections = re.split(r"^### ", (ROOT / page).read_text(), flags=re.MULTILINE)
        (section,) = [one for one in sections if one.startswith(f"{rule['alert']}\n")]
        assert anchor == rule["alert"].lower()
        assert len(section) > 80, rule["alert"]
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        assert rule["annotations"]["summary"].endswith(".")


def test_every_labels_value_in_a_summary_is_there() -> None:
    """What an expression sums away is empty in the message."""
    for _, rule in rules():
        told = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
        if kept := re.search(r"by \(([\w, ]+)\)", rule["expr"]):
            assert told <= set(kept[1].split(", ")), rule["alert"]


@needs_helm
def test_the_chart_brings_the_rules_as_they_are() -> None:
    def alerts(values: dict[str, Any]) -> list[Any]:
        (made,) = of_kind(render(values), "PrometheusRule").values()
        return [rule for group in made["spec"]["groups"] for rule in group["rules"]]

    every = [rule for _, rule in rules()]
    monitored = values_of("monitored")
    assert alerts(monitored) == every
    # What cert-manager writes nobody here verifies.
    untrusted = "PodkeyWebhookUntrusted"
    assert alerts(monitored | values_of("cert-manager")) == [
        one for one in every if one["alert"] != untrusted
    ]


# --- who is scraped ------------------------------------------------------------------------------


@needs_helm
def test_monitors_look_where_metrics_are() -> None:
    made = render(values_of("monitored"))
    (service,) = of_kind(made, "Service").values()
    (deployment,) = of_kind(made, "Deployment").values()
    (monitor,) = of_kind(made, "ServiceMonitor").values()
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    (endpoint,) = monitor["spec"]["endpoints"]
    (port,) = [one for one in service["spec"]["ports"] if one["name"] == endpoint["port"]]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert port["targetPort"] in {one["name"] for one in container["ports"]}
    (pods,) = of_kind(made, "PodMonitor").values()
    (endpoint,) = pods["spec"]["podMetricsEndpoints"]
    golden = ROOT / "tests" / "golden" / "injector" / "06-asked.yaml"
    assert f"name: {endpoint['port']}, containerPort: {ADMIN_PORT}" in golden.read_text()


@needs_helm
def test_nothing_of_it_is_made_unless_it_is_asked_for() -> None:
    kinds = {one["kind"] for one in render()}
    assert kinds.isdisjoint({"ServiceMonitor", "PodMonitor", "PrometheusRule", "ConfigMap"})


# --- dashboards ----------------------------------------------------------------------------------


def expressions(dashboard: dict[str, Any]) -> Iterator[str]:
    """With values in place of Grafana's variables."""
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            expression = target["expr"].replace("$__rate_interval", "5m").replace("$__range", "1h")
            yield expression.replace("$namespace", ".*")


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)
def test_a_dashboard_is_one_that_grafana_takes(file: Path) -> None:
    dashboard = json.loads(file.read_text())
    panels = dashboard["panels"]
    assert dashboard["uid"] == file.stem
    assert [panel["id"] for panel in panels] == list(range(1, len(panels) + 1))
    assert len({panel["title"] for panel in panels}) == len(panels)
    taken = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert taken.isdisjoint(cells), panel["title"]
        taken |= cells
        # Nobody's own data source is written into it.
        sources = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
        assert {one["uid"] for one in sources} == {"${datasource}"}
    # Labels in legends are kept by their expressions.
    for panel in panels:
        for target in panel["targets"]:
            legend = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            kept = re.search(r"by \(([\w, ]+)\)", target["expr"])
            assert legend <= (set(kept[1].split(", ")) if kept else {"pod"}), panel["title"]


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)
def test_a_dashboard_asks_for_what_podkey_exposes(file: Path) -> None:
    dashboard = json.loads(file.read_text())
    variables = [str(one.get("definition", "")) for one in dashboard["templating"]["list"]]
    for expression in (*expressions(dashboard), *filter(None, variables)):
        assert asked(expression), expression
        assert asked(expression) <= exposed(), expression


@needs_promtool
@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)
def test_prometheus_reads_every_query_of_a_dashboard(file: Path, tmp_path: Path) -> None:
    every = enumerate(expressions(json.loads(file.read_text())))
    recorded = [{"record": f"panel:{number}", "expr": expression} for number, expression in every]
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": recorded}]}))
    promtool("check", "rules", path)


@needs_helm
def test_the_chart_brings_the_dashboards_as_they_are() -> None:
    made = of_kind(render(values_of("monitored")), "ConfigMap")["podkey-dashboards"]
    assert {name: json.loads(text) for name, text in made["data"].items()} == {
        file.name: json.loads(file.read_text()) for file in DASHBOARDS
    }
    assert made["metadata"]["labels"]["grafana_dashboard"] == "1"
