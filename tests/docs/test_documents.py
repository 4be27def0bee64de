"""What the pages show is run: commands, and documents in YAML."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.core.services import Catalogue
from proxy.documents.problems import ProblemCode
from proxy.documents.reader import read_documents

ROOT = Path(__file__).parents[2]
PAGES = sorted(p for p in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")))


def blocks(language: str) -> list[tuple[str, str]]:
    """Every fenced block of a language, with the page it stands on."""
    pattern = re.compile(rf"^```{language}\n(.*?)^```", re.DOTALL | re.MULTILINE)
    return [(page.name, block) for page in PAGES for block in pattern.findall(page.read_text())]


def commands() -> list[tuple[str, str]]:
    """Every `podkey` command in a console block, continuation lines joined."""
    found = []
    for page, block in blocks("console"):
        for line in block.replace("\\\n", " ").splitlines():
            command = line.removeprefix("$ ").removeprefix(".venv/bin/")
            if command.startswith("podkey "):
                found.append((page, command))
    return found


@pytest.mark.parametrize(("page", "command"), commands())
def test_commands_in_the_pages_work(page: str, command: str) -> None:
    # `policies/` stands for the reader's own folder.
    words = ["examples/" if word == "policies/" else word for word in shlex.split(command)[1:]]

    done = subprocess.run(
        [sys.executable, "-m", "proxy", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    # 2 is a refusal that the page means to show; what follows the command there is part of the answer.
    assert done.returncode in {0, 2}, done.stdout + done.stderr
    assert done.stderr == ""


def test_the_refusal_in_the_readme_is_what_podkey_answers() -> None:
    [command] = [c for page, c in commands() if page == "README.md" and "explain DELETE" in c]
    shown = re.search(
        r"^policy training.*?(?=^…)", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE
    )

    done = subprocess.run(
        [sys.executable, "-m", "proxy", *shlex.split(command)[1:]],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert shown is not None
    assert shown[0] in done.stdout


@pytest.mark.parametrize(
    ("page", "text"), [(page, b) for page, b in blocks("yaml") if b.startswith("apiVersion")]
)
def test_documents_in_the_pages_are_sound(page: str, text: str, catalogue: Catalogue) -> None:
    result = read_documents({page: text.encode()}, catalogue)

    # A page may show a policy without the source that it names.
    problems = [p for p in result.problems if p.code is not ProblemCode.UNKNOWN_CREDENTIAL]
    assert problems == []
    assert result.counted


def anchors(page: Path) -> set[str]:
    """What GitHub makes of the headings."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.*)$", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    missing = []
    for link in re.findall(r"\]\((?!https?://)([^)]+)", page.read_text()):
        target, _, anchor = link.partition("#")
        place = (page.parent / target).resolve() if target else page
        if not place.exists() or (anchor and anchor not in anchors(place)):
            missing.append(link)

    assert missing == []


def test_the_adr_index_lists_every_decision() -> None:
    folder = ROOT / "docs/adr"
    listed = re.findall(r"\((\d{4}-[^)]+)\)", (folder / "README.md").read_text())

    assert listed == sorted(p.name for p in folder.glob("[0-9]*.md"))
