"""The list in images/Dockerfile of what the webhook's image takes from `proxy` is what `injector` imports."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "images" / "Dockerfile").read_text()


def copied() -> Iterator[str]:
    """Files and folders of `proxy` that the stage `injector-tree` copies."""
    stage = DOCKERFILE.partition(" AS injector-tree\n")[2].partition("\nFROM ")[0]
    for words in re.findall(r"^COPY (.+)$", stage, re.MULTILINE):
        yield from (word for word in words.split()[:-1] if word.startswith("proxy"))


def file_of(module: str) -> Path | None:
    path = ROOT / module.replace(".", "/")
    found = (path / "__init__.py", path.with_suffix(".py"))
    return next((file for file in found if file.is_file()), None)


def imported_by(file: Path) -> Iterator[str]:
    """With the names, which may be modules, and with the packages on the way."""
    for node in ast.walk(ast.parse(file.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            yield from (".".join(parts[:length]) for length in range(1, len(parts) + 1))


def needed() -> set[str]:
    """Every file of `proxy` that the injector can come to import, lazily too."""
    waiting = sorted((ROOT / "injector").rglob("*.py"))
    seen: set[Path] = set()
    while waiting:
        file = waiting.pop()
        if file not in seen:
            seen.add(file)
            waiting += [found for name in imported_by(file) if (found := file_of(name))]
    return {str(file.relative_to(ROOT)) for file in seen if file.is_relative_to(ROOT / "proxy")}


def test_the_webhook_s_image_has_every_file_that_it_imports() -> None:
    places = set(copied())
    missing = {file for file in needed() if not any(Path(file).is_relative_to(place) for place in places)}
    assert missing == set()


def test_the_webhook_s_image_takes_nothing_that_it_does_not_import() -> None:
    files = needed()
    assert [place for place in copied() if not any(Path(file).is_relative_to(place) for file in files)] == []


def test_every_stage_that_becomes_an_image_ends_without_root() -> None:
    for target, user in {"proxy": "1337:1337", "injector": "65532:65532"}.items():
        stage = DOCKERFILE.partition(f" AS {target}\n")[2].partition("\n# ---")[0]
        assert re.findall(r"^USER (.+)$", stage, re.MULTILINE) == [user]
        assert (
            "RUN" not in stage
        )  # it is put together in the stage before, and what it takes there stays there
