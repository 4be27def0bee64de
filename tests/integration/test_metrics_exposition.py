"""Prometheus' own tool reads what we expose."""

import shutil
import subprocess
from datetime import UTC, datetime

import pytest

from proxy.core.arrival import LaneName
from proxy.core.settings import Capture
from proxy.edge.telemetry import Metrics, Rejection

PROMTOOL = shutil.which("promtool")


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian: prometheus)")
def test_promtool_finds_nothing_to_complain_about() -> None:
    metrics = Metrics()
    metrics.opened(LaneName.MITMPROXY, Capture.TRANSPARENT)
    metrics.decided(0.00002)
    metrics.rejected(Rejection.LIMIT)
    metrics.policy_applied("0" * 64, datetime.now(UTC))

    done = subprocess.run(
        [PROMTOOL or "", "check", "metrics"],
        input=metrics.exposition()[0],
        capture_output=True,
        check=False,
    )

    assert (done.returncode, done.stdout + done.stderr) == (0, b"")
