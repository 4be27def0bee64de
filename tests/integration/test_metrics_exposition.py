"""Prometheus' own tool reads what we expose."""

import re
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from proxy.core.arrival import LaneName
from proxy.core.settings import Capture
from proxy.edge.metrics import Metrics, Rejection

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


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian: prometheus)")
def test_the_alerts_in_the_operations_page_are_rules(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs/operations.md").read_text()
    [block] = re.findall(r"^```yaml\n(groups:.*?)^```", page, re.DOTALL | re.MULTILINE)
    rules = tmp_path / "rules.yaml"
    rules.write_text(block)

    done = subprocess.run(
        [PROMTOOL or "", "check", "rules", str(rules)], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
