"""Each README of an example: it has its parts, names its files, and what it shows is run and compared.

Commands of clusters and clouds are not run here: CLUSTER_PROGRAMS in tests/console_blocks.py lists them, and
their files are looked for.
"""

import re
import shlex
from pathlib import Path

import pytest

from proxy.core.injection_codes import InjectionCode
from proxy.core.reasons import Reason
from proxy.documents.problems import ProblemCode
from tests.command_line import EXAMPLES, ROOT
from tests.console_blocks import Block, a_checkout, console_blocks, faults, needs_cluster, run_block
from tests.example_manifests import STORIES

PAGES = sorted(EXAMPLES.rglob("README.md"))
# `make demo` has tests of its own: tests/integration/test_demo.py.
ELSEWHERE = frozenset({"make demo"})
CODES = {code.value for codes in (Reason, InjectionCode, ProblemCode) for code in codes}


def is_left_out(command: str) -> bool:
    return needs_cluster(command) or command in ELSEWHERE


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.name)
def test_what_a_page_shows_is_what_happens(page: Path, tmp_path: Path) -> None:
    checkout = a_checkout(tmp_path)
    # In their order, in one place: a later block may go on with what an earlier one has written.
    ran = [one for block in console_blocks(page) for one in run_block(block, checkout, left_out=is_left_out)]

    assert faults(ran) == []
    assert len(ran) >= 1


def blocks() -> list[Block]:
    return [block for page in PAGES for block in console_blocks(page)]


def test_most_blocks_of_a_cluster_name_files_that_are_there() -> None:
    commands = [one.text for block in blocks() for one in block.commands if needs_cluster(one.text)]
    named = {
        word.removeprefix("file://")
        for command in commands
        for word in shlex.split(re.sub(r"<<'HCL'.*", "", command, flags=re.DOTALL))
        if word.removeprefix("file://").startswith("examples/")
    }

    assert len(named) > 20
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("folder", STORIES, ids=lambda path: path.name)
def test_a_readme_says_for_whom_it_is_what_there_is_and_what_goes_wrong(folder: Path) -> None:
    text = (folder / "README.md").read_text()

    assert re.search(r"\A# .+\n\nFor [A-Za-z]", text)
    assert "\n## What goes wrong\n" in text
    there = {path.name for path in folder.iterdir() if path.is_file()} - {
        "README.md",
        "request.json",
        "place.py",
    }
    assert {name for name in there if f"]({name})" not in text} == set()


@pytest.mark.parametrize("folder", STORIES, ids=lambda path: path.name)
def test_the_codes_that_a_readme_names_exist(folder: Path) -> None:
    text = (folder / "README.md").read_text()
    wrong = text.partition("## What goes wrong")[2]
    rows = [line.split("|") for line in wrong.splitlines() if line.count("|") == 4]
    named = {code for row in rows[2:] for code in re.findall(r"`([a-z_]+)`", row[2])}

    assert named <= CODES
    assert named or folder.name.startswith(("01", "08", "09"))


def test_no_readme_holds_lines_that_are_too_long() -> None:
    """But for tables, which cannot be broken."""
    long = [
        f"{page.parent.name}:{number}"
        for page in PAGES
        for number, line in enumerate(page.read_text().splitlines(), 1)
        if len(line) > 160 and not line.startswith("|")
    ]

    assert long == []
