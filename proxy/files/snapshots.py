"""Several files of one folder, read so that they belong together.

The kubelet changes a mounted ConfigMap or Secret by renaming a link: `..data` comes to lead to a new folder,
and the old one is removed. So `..data` is opened once, and names are opened below what it led to; if it was
changed in between, everything is read again. Plain folders work the same without it.

Links are followed: with the kubelet every visible name is one (so O_NOFOLLOW is no choice). What lies in
these folders comes from the cluster or the operator; applications cannot write there.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Final

from proxy.core.structs import Struct

KUBELET_LINK: Final = "..data"

# The kubelet changes a volume once in its sync period, a minute by default: nobody is unlucky that often.
MAX_TRIES: Final = 5
# A ConfigMap holds 1 MiB; what has more files or folders than this is not a folder of policies or secrets.
MAX_FILES: Final = 2000
MAX_DEPTH: Final = 8

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# Without O_NONBLOCK, opening a pipe waits for somebody who writes into it.
_FILE: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class Unread(Struct, frozen=True):
    """A file that was asked for and could not be read; `why` goes behind its name."""

    why: str


def read_snapshot(folder: Path, names: Iterable[str], max_bytes: int) -> dict[str, bytes | Unread]:
    """The named files. Of one that is too large come `max_bytes` + 1 bytes, so that its reader sees it.

    Raises OSError where the folder itself cannot be read, or never holds still.
    """
    wanted = list(names)
    return _steadily(folder, lambda fd: {name: _read(fd, name, max_bytes) for name in wanted})


def read_tree(folder: Path, suffixes: frozenset[str], max_bytes: int) -> dict[str, bytes | Unread]:
    """Every file with such a suffix, also in folders below, by its path. Hidden ones are left out."""
    return _steadily(
        folder, lambda fd: {name: _read(fd, name, max_bytes) for name in sorted(_names(fd, suffixes))}
    )


def readable(files: Mapping[str, bytes | Unread]) -> dict[str, bytes]:
    return {name: content for name, content in files.items() if not isinstance(content, Unread)}


# --- one generation -------------------------------------------------------------------------------


def _steadily[T](folder: Path, read: Callable[[int], T]) -> T:
    for _ in range(MAX_TRIES):
        with _opened(folder) as fd:
            result = read(fd)
            here = _identity(os.fstat(fd))
            # A folder that is gone is for the next round to report.
            with suppress(FileNotFoundError), _opened(folder) as now:
                if _identity(os.fstat(now)) == here:
                    return result
    raise OSError(errno.ESTALE, "the folder changed each time it was read", str(folder))


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    """The folder that holds the files at this moment: what `..data` leads to, or the folder itself."""
    with ExitStack() as opened:
        fd = os.open(folder, _FOLDER)
        opened.callback(os.close, fd)
        with suppress(FileNotFoundError):  # a plain folder
            fd = os.open(KUBELET_LINK, _FOLDER, dir_fd=fd)
            opened.callback(os.close, fd)
        yield fd


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _read(folder: int, name: str, max_bytes: int) -> bytes | Unread:
    if not _is_below(name):
        return Unread("is no name below the folder")
    try:
        fd = os.open(name, _FILE, dir_fd=folder)
    except OSError as error:
        return Unread("does not exist" if error.errno == errno.ENOENT else _why(error))
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return Unread("is not a regular file")
        with os.fdopen(fd, "rb", closefd=False) as stream:
            return stream.read(max_bytes + 1)
    except OSError as error:
        return Unread(_why(error))
    finally:
        os.close(fd)


def _why(error: OSError) -> str:
    return f"cannot be read: {error.strerror}"


def _is_below(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return bool(parts) and "/" not in parts and ".." not in parts and "\0" not in name


def _names(folder: int, suffixes: frozenset[str], above: str = "", depth: int = 0) -> Iterator[str]:
    with os.scandir(folder) as entries:
        found = [entry for entry in entries if not entry.name.startswith(".")]
    if len(found) > MAX_FILES or depth > MAX_DEPTH:
        raise OSError(errno.EFBIG, "the folder holds too many files, or folders too deep", above)
    for entry in found:
        if PurePosixPath(entry.name).suffix in suffixes:
            yield above + entry.name
        elif entry.is_dir():
            with suppress(FileNotFoundError):  # removed meanwhile; the next round does not see it
                below = os.open(entry.name, _FOLDER, dir_fd=folder)
                try:
                    yield from _names(below, suffixes, f"{above}{entry.name}/", depth + 1)
                finally:
                    os.close(below)
