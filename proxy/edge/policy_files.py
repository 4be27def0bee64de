"""Policy files from disk: files, folders and standard input, as bytes by name."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from proxy.documents.problems import Problem, ProblemCode
from proxy.documents.yaml_nodes import MAX_FILE_BYTES

SUFFIXES: Final = frozenset({".yaml", ".yml"})
STDIN: Final = "-"


def read_policy_files(paths: Iterable[str]) -> tuple[dict[str, bytes], list[Problem]]:
    """Every policy file below the paths, each once, and what could not be read."""
    files: dict[str, bytes] = {}
    problems: list[Problem] = []
    for path in paths:
        if path == STDIN:
            files["<stdin>"] = sys.stdin.buffer.read(MAX_FILE_BYTES + 1)
            continue
        found = 0
        for file in _below(Path(path)):
            found += 1
            try:
                with file.open("rb") as stream:
                    # One byte more than is allowed, so that the reader sees that it is too much.
                    files[str(file)] = stream.read(MAX_FILE_BYTES + 1)
            except OSError as error:
                fix = "check the path and its permissions"
                message = f"cannot be read: {error.strerror or error}"
                problems.append(Problem(str(file), 0, "", message, fix, ProblemCode.UNREADABLE_FILE))
        if not found:
            message = "the folder holds no policy files"
            fix = "policy files end in .yaml or .yml"
            problems.append(Problem(path, 0, "", message, fix, ProblemCode.NO_DOCUMENTS))
    return files, problems


def _below(path: Path) -> Iterator[Path]:
    """A file as it is; of a folder, the policy files below it in the order of their names.

    Hidden folders are left out: a mounted ConfigMap holds its files a second time below `..data`.
    """
    if not path.is_dir():
        yield path
        return
    for entry in sorted(path.iterdir()):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _below(entry)
        elif entry.suffix in SUFFIXES:
            yield entry
