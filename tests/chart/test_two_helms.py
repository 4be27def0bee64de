"""Helm 3.6 and Helm 4 have nothing to object to, and make the same of the same values."""

import tarfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.helm_chart import (
    CHART,
    MISSING,
    MISSING_HELM_4,
    NAMESPACE,
    VALUES,
    Manifest,
    helm,
    helm4,
    manifests_in,
    render,
    values_of,
)

pytestmark = pytest.mark.skipif(bool(MISSING), reason=MISSING)
needs_helm_4 = pytest.mark.skipif(bool(MISSING_HELM_4), reason=MISSING_HELM_4)

# What Helm 4.2 takes a cluster for that it does not ask; any since 1.30 is the same to us.
USUAL = "1.36.0"


@cache  # loading it takes longer than the work
def by_helm_4(action: str) -> dict[str, dict[str, Any]]:
    said = helm4(action, *({"values": values_of(name)} for name in VALUES))
    return dict(zip(VALUES, said, strict=True))


def by_name(manifests: Any) -> dict[tuple[str, str], Manifest]:
    return {(one["kind"], one["metadata"]["name"]): one for one in manifests}


@pytest.mark.parametrize("name", VALUES)
def test_helm_3_has_nothing_to_object_to(name: str) -> None:
    done = helm("lint", "--strict", str(CHART), "-n", NAMESPACE, "-f", str(VALUES[name]))
    assert done.returncode == 0, done.stdout


@needs_helm_4
@pytest.mark.parametrize("name", VALUES)
def test_helm_4_has_nothing_to_object_to(name: str) -> None:
    assert "error" not in by_helm_4("check")[name]
    report = by_helm_4("lint")[name]["done"]
    assert report["errors"] == []
    # An icon is recommended; we have none.
    assert {one["error"] for one in report["messages"]} == {"icon is recommended"}


@needs_helm_4
@pytest.mark.parametrize("name", VALUES)
def test_both_make_the_same(name: str) -> None:
    files = by_helm_4("render")[name]["done"]
    new = manifests_in(*(text for path, text in files.items() if path.endswith(".yaml")))
    old = render(values_of(name), USUAL)
    assert by_name(new) == by_name(old)
    assert len(new) == len(old) == len(by_name(old)), "no object is made twice"
    assert "helm -n podkey-system test podkey" in files["podkey/templates/NOTES.txt"]


@needs_helm_4
def test_notes_say_what_comes_next_and_what_to_look_out_for() -> None:
    small = values_of("dev") | values_of("without-admission-policies")
    asked = ({"values": {}}, {"values": {}, "upgrade": True}, {"values": small})
    plain, upgraded, warned = (said["done"]["podkey/templates/NOTES.txt"] for said in helm4("render", *asked))
    assert "rollout status deployment/podkey-injector" in plain
    # Helm leaves the kinds of policies as they are.
    hint = "kubectl apply --server-side --force-conflicts -f podkey/crds/"
    assert (hint in plain, hint in upgraded) == (False, True)
    assert (plain.count("WARNING"), warned.count("WARNING")) == (0, 2)
    assert "the webhooks answer whoever reaches them" in plain


@needs_helm_4
def test_notes_warn_of_what_lets_through() -> None:
    asked: list[dict[str, Any]] = [
        {"sidecar": {"settings": {"PODKEY_MODE": "observe"}}},
        {"sidecar": {"settings": {"PODKEY_MODE": "enforce"}}},
        {"injector": {"onDanger": "warn"}},
        values_of("closed-network"),
    ]
    said = helm4("render", *({"values": values} for values in asked))
    observing, enforcing, warning, closed = (one["done"]["podkey/templates/NOTES.txt"] for one in said)
    assert "WARNING: sidecar.settings.PODKEY_MODE is observe." in observing
    assert "WARNING: injector.onDanger is warn." in warning
    assert "WARNING" not in enforcing + closed
    assert "whoever reaches them" not in closed


def test_a_package_has_what_a_release_needs_and_no_more(tmp_path: Path) -> None:
    assert helm("package", str(CHART), "-d", str(tmp_path)).returncode == 0
    (package,) = tmp_path.glob("*.tgz")
    with tarfile.open(package) as archive:
        packed = {name.removeprefix("podkey/") for name in archive.getnames()}
    there = {str(file.relative_to(CHART)) for file in CHART.rglob("*") if file.is_file()}
    assert packed == {name for name in there if not name.startswith("ci/")}


def test_one_template_makes_one_object() -> None:
    for file in sorted(CHART.rglob("templates/**/*.yaml")):
        text = file.read_text()
        made = text.count("\nkind: ") + text.count('include "podkey.admissionBinding"')
        assert made == (0 if file.name == "contradictions.yaml" else 1), file.name
