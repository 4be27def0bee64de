"""What the pages name exists: commands, targets, settings, metrics, annotations, values, alerts, objects."""

import re
from collections.abc import Iterable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from injector.edge.metrics import Metrics as InjectorMetrics
from injector.reading.annotations import INJECTOR_ANNOTATIONS, USER_ANNOTATIONS
from injector.reading.settings_table import SETTINGS as INJECTOR_SETTINGS
from proxy.cli.main import COMMANDS, ENTRY_POINTS
from proxy.core import contract
from proxy.documents.settings_table import SETTINGS
from proxy.edge.metrics import Metrics as SidecarMetrics
from tests.console_blocks import ROOT
from tests.helm_chart import CHART, MISSING, is_hook, render

# What is generated says what the code says; CHANGELOG names what was.
PAGES: Final = [
    page
    for page in sorted((*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("charts/**/*.md")))
    if page.name != "CHANGELOG.md"
]
# Variables of scripts and images that pages tell of, which no program of podkey reads as its setting.
OTHER_VARIABLES: Final = {"PODKEY_PYTHON", "PODKEY_IMAGE"}


# Values whose keys the user chooses.
OPEN: Final = {"labels", "nodeSelector", "settings"}
# Of the init container that loads the redirect.
REDIRECT_VARIABLES: Final = {value for name, value in vars(contract).items() if name.endswith("_VARIABLE")}


def named(page: Path, pattern: str) -> set[str]:
    return set(re.findall(pattern, page.read_text()))


def every(*tables: Iterable[Any]) -> set[str]:
    return {setting.name for table in tables for setting in table}


def metrics_of(exposed: bytes) -> set[str]:
    families = re.findall(r"^# TYPE (\S+) (\w+)$", exposed.decode(), re.MULTILINE)
    return {name for name, _ in families} | {
        f"{name}{end}"
        for name, kind in families
        for end in ("_bucket", "_sum", "_count")
        if kind == "histogram"
    }


METRICS: Final = metrics_of(SidecarMetrics().exposition()[0]) | metrics_of(InjectorMetrics().exposition()[0])
TARGETS: Final = {
    target
    for line in re.findall(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for target in line.split()
}
PROGRAM: Final = {*COMMANDS, *(one.name for one in entry_points(group=ENTRY_POINTS))}

by_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@by_page
def test_commands_exist(page: Path) -> None:
    assert named(page, r"`podkey ([a-z]+)") <= PROGRAM


@by_page
def test_make_targets_exist(page: Path) -> None:
    assert named(page, r"(?m)(?:`|^\$ |^)make ([a-z][a-z0-9-]*)(?=[ `]|$)") <= TARGETS


@by_page
def test_settings_exist(page: Path) -> None:
    known = every(SETTINGS, INJECTOR_SETTINGS) | REDIRECT_VARIABLES | OTHER_VARIABLES

    assert named(page, r"\bPODKEY_[A-Z][A-Z_]*[A-Z]\b") <= known


@by_page
def test_metrics_exist(page: Path) -> None:
    assert named(page, r"\bpodkey_[a-z_]+[a-z]\b") <= METRICS


@by_page
def test_annotations_and_labels_exist(page: Path) -> None:
    known = {
        *USER_ANNOTATIONS,
        *INJECTOR_ANNOTATIONS,
        contract.API_VERSION,
        f"{contract.API_GROUP}/schemas",
        f"{contract.API_GROUP}/digest",
    }

    assert named(page, rf"\b{re.escape(contract.API_GROUP)}/[a-z0-9-]*[a-z0-9]") <= known


# --- the chart -----------------------------------------------------------------------------------


@by_page
def test_values_of_the_chart_exist(page: Path) -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())

    unknown = []
    for path in named(page, r"(?:--set(?:-string)?[ =]|,)([A-Za-z0-9]+(?:\.[A-Za-z0-9]+)+)="):
        at = values
        for key in path.split("."):
            at = at.get(key) if isinstance(at, dict) else None
            if key in OPEN:
                break
        if at is None:
            unknown.append(path)
    assert unknown == []


@by_page
def test_alerts_exist(page: Path) -> None:
    events = {"PodkeyInjected", "PodkeySkipped", "PodkeyRefused", "PodkeyMissing"}
    alerts = set()
    for file in CHART.glob("rules/*.yaml"):
        alerts |= set(re.findall(r"alert: (Podkey\w+)", file.read_text()))

    assert named(page, r"\bPodkey[A-Z]\w+") <= alerts | events


@pytest.mark.skipif(bool(MISSING), reason=MISSING)
def test_what_the_chart_makes_outside_of_its_namespace_stands_in_the_page_about_taking_it_away() -> None:
    page = (ROOT / "docs/uninstall.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("|")]
    outside = [one for one in render() if not one["metadata"].get("namespace") and not is_hook(one)]

    kinds = {
        one["kind"].removesuffix("Binding") if "Admission" in one["kind"] else one["kind"] for one in outside
    }
    missing = [
        (kind, one["metadata"]["name"])
        for one in outside
        for kind in kinds
        if one["kind"].startswith(kind)
        and not any(kind in row and f"`{one['metadata']['name']}`" in row for row in rows)
    ]
    assert outside
    assert missing == []
    # The last block of the page finds them by this label.
    assert all(one["metadata"]["labels"]["app.kubernetes.io/name"] == "podkey" for one in outside)


# --- the index -----------------------------------------------------------------------------------


def test_the_index_leads_to_every_page() -> None:
    folder = ROOT / "docs"
    index = (folder / "README.md").read_text()

    missing = [
        page.name
        for page in folder.glob("*.md")
        if page.name != "README.md" and f"]({page.name})" not in index
    ]
    assert missing == []
