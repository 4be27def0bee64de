"""What the pages below docs/ tell to type is typed, page by page and in order, and says what the page shows.

Commands for a cluster are left out. So they are read at least: each names a program and objects that exist.
"""

import re
import shutil
from pathlib import Path
from typing import Final

import pytest

from proxy.core.contract import POLICY_CONFIG_MAP, SIDECAR_CONTAINER, TRUST_CONFIG_MAP
from tests.console_blocks import ROOT, Ran, a_checkout, console_blocks, faults, needs_cluster, run_block

PAGES: Final = [
    page
    for page in sorted((*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")))
    if page != ROOT / "README.md" and console_blocks(page)  # which has a test of its own
]
# What the reader has in the place of it, and we the examples.
STANDS_FOR: Final = {
    "policies": "examples",
    "held.yaml": "examples/02-training-job/policy.yaml",
    "job.yaml": "examples/02-training-job/job.json",
}
# How a command begins that needs no cluster and is not typed here, and why.
ELSEWHERE: Final = {
    "make images": "it builds for minutes; .ci/run types it",
    "make pods": "it builds and runs whole pods; .ci/run types it",
    "curl -s localhost:15020": "it asks a running sidecar; tests/integration/test_life.py does",
}
# Objects by the names that the chart or the injector gives them.
CONTAINERS: Final = {SIDECAR_CONTAINER, "curl"}


def left_out(command: str) -> bool:
    return needs_cluster(command) or any(command.startswith(start) for start in ELSEWHERE)


def a_readers_folder(folder: Path) -> Path:
    checkout = a_checkout(folder)
    for name, example in STANDS_FOR.items():
        there = checkout / example
        if there.is_dir():
            (checkout / name).symlink_to(there)
        else:
            shutil.copy(there, checkout / name)
    return checkout


def run_page(page: Path, folder: Path) -> list[Ran]:
    return [ran for block in console_blocks(page) for ran in run_block(block, folder, left_out=left_out)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_commands_of_a_page_say_what_it_shows(page: Path, tmp_path: Path) -> None:
    assert faults(run_page(page, a_readers_folder(tmp_path))) == []


def test_every_quick_start_is_typed() -> None:
    typed = {
        page.stem
        for page in PAGES
        for block in console_blocks(page)
        for command in block.commands
        if not left_out(command.text)
    }

    assert {"quickstart-ml", "quickstart-platform", "troubleshooting", "policies"} <= typed


# --- what a cluster would have to know ------------------------------------------------------------


def cluster_commands() -> list[tuple[str, str]]:
    every = [ROOT / "README.md", *PAGES]
    return [
        (page.name, command.text)
        for page in every
        for block in console_blocks(page)
        for command in block.commands
        if needs_cluster(command.text)
    ]


@pytest.mark.parametrize(("page", "command"), cluster_commands())
def test_commands_for_a_cluster_name_what_there_is(page: str, command: str) -> None:
    for file in re.findall(r"(?:charts/podkey\S*|examples/\S+)", command):
        assert (ROOT / file).exists(), f"{page}: {file}"
    for name in re.findall(r"configmap (podkey-\S+)", command):
        assert name in {POLICY_CONFIG_MAP, TRUST_CONFIG_MAP}
    for name in re.findall(r"(?:logs|exec) \S+ -c (\S+)", command):
        assert name in CONTAINERS, f"{page}: {command}"
