"""Prometheus' own tool reads what we expose."""

import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from injector.edge.metrics import Metrics as InjectorMetrics
from injector.edge.metrics import Outcome
from proxy.core.arrival import LaneName
from proxy.core.settings import Capture
from proxy.edge.metrics import Metrics, Rejection

PROMTOOL = shutil.which("promtool")


def sidecar_metrics() -> bytes:
    metrics = Metrics()
    metrics.opened(LaneName.MITMPROXY, Capture.TRANSPARENT)
    metrics.decided(0.00002)
    metrics.rejected(Rejection.LIMIT)
    metrics.policy_applied("0" * 64, datetime.now(UTC))
    return metrics.exposition()[0]


def injector_metrics() -> bytes:
    metrics = InjectorMetrics()
    metrics.serves("/mutate")
    metrics.reviewed("/mutate", Outcome.INJECTED, "accelerator")
    metrics.review_took("/mutate", 0.001)
    metrics.uninjected({"ml": 2})
    metrics.certificate_ends(datetime.now(UTC))
    return metrics.exposition()[0]


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian: prometheus)")
@pytest.mark.parametrize("exposition", [sidecar_metrics, injector_metrics])
def test_promtool_finds_nothing_to_complain_about(exposition: Callable[[], bytes]) -> None:
    done = subprocess.run(
        [PROMTOOL or "", "check", "metrics"],
        input=exposition(),
        capture_output=True,
        check=False,
    )

    assert (done.returncode, done.stdout + done.stderr) == (0, b"")
