"""What the pages show in YAML is sound, and their links lead somewhere. Commands: test_page_commands.py."""

import re
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
