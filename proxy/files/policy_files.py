"""Policy files from disk: files, folders and standard input, as bytes by name."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from proxy.documents.problems import Problem, ProblemCode
from proxy.documents.yaml_nodes import MAX_FILE_BYTES

SUFFIXES: Final = frozenset({".yaml", ".yml"})
STDIN: Final = "-"
STDIN_NAME: Final = "<stdin>"


def read_policy_files(paths: Iterable[str]) -> tuple[dict[str, bytes], list[Problem]]:
    """Every policy file below the paths, each once, and what could not be read."""
    reading = _Reading()
    for path in paths:
        if path == STDIN:
            reading.read_stdin()
        elif not reading.add(Path(path), frozenset()):
            message = "the folder holds no policy files"
            fix = "policy files end in .yaml or .yml"
            reading.problems.append(Problem(path, 0, "", message, fix, ProblemCode.NO_DOCUMENTS))
    return reading.files, reading.problems


def read_input_file(path: str) -> tuple[str, bytes] | Problem:
    """One file, or standard input: its name and its bytes."""
    reading = _Reading()
    if path == STDIN:
        reading.read_stdin()
    else:
        reading.read(Path(path))
    return next(iter(reading.files.items())) if reading.files else reading.problems[0]


_FileId = tuple[int, int]


class _Reading:
    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.problems: list[Problem] = []
        # By device and inode: a link, or a path that is given twice, does not define a document twice.
        self._seen: set[_FileId] = set()

    def read_stdin(self) -> None:
        if STDIN_NAME not in self.files:
            self.files[STDIN_NAME] = sys.stdin.buffer.read(MAX_FILE_BYTES + 1)

    def add(self, path: Path, above: frozenset[_FileId]) -> int:
        """Read a file, or the policy files below a folder in the order of their names. Returns their number.

        Hidden entries are left out: a mounted ConfigMap holds its files a second time below `..data`.
        `above` are the folders we came through, so that a link to one of them is an end.
        """
        try:
            if not path.is_dir():
                self.read(path)
                return 1
            this = _file_id(path)
            entries = [] if this in above else sorted(path.iterdir())
        except OSError as error:
            self._unreadable(path, error)
            return 1
        below = above | {this}
        return sum(self.add(entry, below) for entry in entries if _counts(entry))

    def read(self, path: Path) -> None:
        try:
            this = _file_id(path)
            if this in self._seen:
                return
            self._seen.add(this)
            with path.open("rb") as stream:
                # One byte more than is allowed, so that the reader sees that it is too much.
                self.files[str(path)] = stream.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            self._unreadable(path, error)

    def _unreadable(self, path: Path, error: OSError) -> None:
        message = f"cannot be read: {error.strerror}"
        fix = "check the path and its permissions"
        self.problems.append(Problem(str(path), 0, "", message, fix, ProblemCode.UNREADABLE_FILE))


def _file_id(path: Path) -> _FileId:
    status = path.stat()
    return status.st_dev, status.st_ino


def _counts(entry: Path) -> bool:
    return not entry.name.startswith(".") and (entry.suffix in SUFFIXES or entry.is_dir())
