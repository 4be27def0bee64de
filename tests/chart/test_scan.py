"""The policy scanner checkov finds nothing but what is explained in scan.yaml."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.helm_chart import MISSING, TOOLS, render, values_of

CHECKOV: Final = TOOLS / "checkov"
EXPLAINED: Final = yaml.safe_load((Path(__file__).parent / "scan.yaml").read_text())

pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=MISSING),
    pytest.mark.skipif(
        not (CHECKOV / ".installed").is_file(), reason="checkov is not installed: run .ci/chart-tools"
    ),
]


def findings(values: dict[str, Any], folder: Path) -> set[tuple[str, str]]:
    """Each as check and object."""
    file = folder / "chart.yaml"
    file.write_text(yaml.safe_dump_all(render(values), sort_keys=False))
    what = ("--framework", "kubernetes", "--skip-download", "--output", "json", "--file", str(file))
    done = subprocess.run(
        [CHECKOV / "bin" / "checkov", *what],
        env={"PATH": os.defpath, "HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    # A scan that could not be done finds nothing.
    report = json.loads(done.stdout)
    reports = report if isinstance(report, list) else [report]
    assert sum(one["summary"]["passed"] for one in reports) > 150, done.stderr
    assert sum(one["summary"]["parsing_errors"] for one in reports) == 0
    return {
        (one["check_id"], _object(one["resource"]))
        for every in reports
        for one in every["results"]["failed_checks"]
    }


def _object(resource: str) -> str:
    """`Deployment.podkey-system.podkey-injector`; a pod of a template has its labels behind the name."""
    kind, _, name = resource.split(".")[:3]
    return f"{kind} {name}"


@pytest.mark.slow
def test_what_a_scanner_finds_is_explained(tmp_path: Path) -> None:
    assert findings({}, tmp_path) == {(one["check"], one["object"]) for one in EXPLAINED}
    assert all(len(one["reason"]) > 25 for one in EXPLAINED)


@pytest.mark.slow
def test_what_can_be_set_away_is_gone_when_it_is(tmp_path: Path) -> None:
    values = values_of("pinned-images") | values_of("cert-manager")
    closed = values_of("closed-network")["networkPolicy"]
    values["networkPolicy"] = closed
    values["injector"]["image"]["pullPolicy"] = "Always"
    found = findings(values, tmp_path)
    assert {one for one in found if one[1] != "Pod podkey-injector-test"} == set()
