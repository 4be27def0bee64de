"""What the programs of the examples ask for, and what comes of it: `requests.json`, by `podkey explain`."""

import json
from pathlib import Path
from typing import Any

import pytest

from proxy.core.identity import ImageReference
from tests.command_line import podkey
from tests.example_manifests import STORIES, Raw, manifest_files, objects_of, pods_in

ROWS = [
    pytest.param(folder, row, id=f"{folder.name}-{row['does']}")
    for folder in STORIES
    for row in json.loads((folder / "requests.json").read_text())
]
REQUEST = "request.json"


def identity_of(folder: Path) -> Raw:
    found: Raw = json.loads((folder / REQUEST).read_text())["identity"]
    return found


@pytest.mark.parametrize(("folder", "row"), ROWS)
def test_a_request_gets_what_the_example_says(
    folder: Path, row: Raw, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = {"identity": {**identity_of(folder), **row.get("identity", {})}, "request": row["request"]}
    file = tmp_path / "asked.json"
    file.write_text(json.dumps(asked))

    status = podkey("explain", "--policies", str(folder), "--input", str(file), "--output", "json")

    verdict = json.loads(capsys.readouterr().out)["verdict"]
    assert (verdict["verdict"], verdict["reason"]) == (row["verdict"], row["reason"])
    assert status == (2 if row["verdict"] == "refuse" else 0)
    namespace = asked["identity"]["namespace"]
    credential = row.get("credential")
    assert verdict["credential"] == (credential and f"{namespace}/{credential}")
    assert (verdict["would"] or {}).get("reason") == row.get("would")


@pytest.mark.parametrize("folder", STORIES, ids=lambda path: path.name)
def test_every_example_shows_what_is_granted_and_what_is_not(folder: Path) -> None:
    rows: list[dict[str, Any]] = json.loads((folder / "requests.json").read_text())
    verdicts = [row["verdict"] if "would" not in row else row["reason"] for row in rows]

    assert "attach" in verdicts
    assert {"refuse", "would_refuse"} & set(verdicts)


@pytest.mark.parametrize("folder", STORIES[1:], ids=lambda path: path.name)
def test_it_is_the_workload_of_the_example_that_asks(folder: Path) -> None:
    """Account, labels, images and accelerators are those of a pod in the manifests."""
    asks = identity_of(folder)
    pods = [pod for file in manifest_files(folder) for one in objects_of(file) for pod in pods_in(one)]

    assert any(is_of(asks, pod) for pod in pods)


def is_of(asks: Raw, pod: Raw) -> bool:
    metadata, spec = pod["metadata"], pod["spec"]
    containers = [*spec.get("initContainers", ()), *spec["containers"]]
    limits = {name for one in containers for name in one.get("resources", {}).get("limits", {})}
    images = [str(ImageReference.parse(one["image"])) for one in containers]
    asked = [str(ImageReference.parse(image)) for image in asks.get("images", ())]
    return (
        metadata["namespace"] == asks["namespace"]
        and spec["serviceAccountName"] == asks["serviceAccount"]
        and asks.get("labels", {}).items() <= metadata["labels"].items()
        and set(asked) <= set(images)
        and asks.get("gpu", False) == ("nvidia.com/gpu" in limits)
    )
