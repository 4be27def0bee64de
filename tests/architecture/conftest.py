"""A copy of the source that a test may spoil, to see whether the rule notices."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# (file, line of code) -> the number that line has in the scratch tree
AddLine = Callable[[str, str], int]


@pytest.fixture
def root() -> Path:
    return ROOT


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """proxy, injector and tests as they are."""
    for folder in ("proxy", "injector", "tests"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


@pytest.fixture
def add_line(scratch: Path) -> AddLine:
    def add(file: str, line: str) -> int:
        path = scratch / file
        path.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_text() if path.exists() else ""
        path.write_text(f"{text}{line}\n")
        return text.count("\n") + 1

    return add
