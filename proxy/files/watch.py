"""Notices that files have other contents than before, and says so once.

It polls. The kubelet's `..data` renames, editors that write a new file, NFS and bind mounts each need their
own inotify watches, some of them raise no event at all, and a node has only so many; a look at a few files
costs microseconds. What counts is the content: a look that differs makes us read, and only a content that
differs and was read twice in a row is reported, so that half a copy never is.
"""

import asyncio
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Final

from proxy.files.snapshots import KUBELET_LINK, MAX_DEPTH

# The kubelet itself takes a minute to bring a change; a person with an editor notices no second.
PERIOD: Final = 1.0
# However they look, contents are read once a minute: a copy can keep its time stamps, and NFS shows old ones.
FULL_PERIOD: Final = 60.0

Contents = Mapping[str, bytes]
# What a path looks like from outside. Two of them are only compared.
type Look = tuple[object, ...]


def digest(contents: Contents) -> str:
    """The SHA-256 of names and contents together, in hexadecimal digits."""
    whole = sha256()
    for name, content in sorted(contents.items()):
        # Each with its length, so that no byte can move from one to the next unnoticed.
        for part in (name.encode(errors="surrogateescape"), content):
            whole.update(len(part).to_bytes(8, "big") + part)
    return whole.hexdigest()


class Settling:
    """Which content is the one: that which is not in force and was offered twice in a row."""

    def __init__(self, current: str) -> None:
        self._current = current
        self._candidate: str | None = None

    @property
    def unsettled(self) -> bool:
        return self._candidate is not None

    def offer(self, content: str) -> bool:
        """Whether this content is to be put in force, which then counts as done, whatever comes of it."""
        settled = content == self._candidate
        self._candidate = None if settled or content == self._current else content
        if settled:
            self._current = content
        return settled


class FolderWatch:
    """`read` gives what matters of `paths`, or raises OSError; `changed` gets it when it has changed and must
    not raise; `failed` is told when reading begins to fail. `current` is what is in force already."""

    def __init__(
        self,
        paths: Iterable[Path],
        read: Callable[[], Contents],
        changed: Callable[[Contents], None],
        failed: Callable[[OSError], None],
        current: Contents,
    ) -> None:
        self._paths = tuple(paths)
        self._read = read
        self._changed = changed
        self._failed = failed
        self._settling = Settling(digest(current))
        self._look: Look | None = None
        self._read_at = float("-inf")
        self._failing = False

    def step(self, now: float) -> None:
        """One look; `now` is monotonic. Reading follows where the look differs, or is due."""
        # Before reading: what changes while we read changes the next look.
        seen = look(self._paths)
        if seen == self._look and not self._settling.unsettled and now < self._read_at + FULL_PERIOD:
            return
        self._look, self._read_at = seen, now
        try:
            contents = self._read()
        except OSError as error:
            if not self._failing:
                self._failed(error)
            self._failing = True
            self._look = None
            return
        self._failing = False
        if self._settling.offer(digest(contents)):
            self._changed(contents)

    async def run(self, clock: Callable[[], float], period: float = PERIOD) -> None:
        """Step for ever."""
        while True:
            self.step(clock())
            await asyncio.sleep(period)


def look(paths: Iterable[Path]) -> Look:
    """Cheap and from outside: whatever changes a content changes this, with the rarest exceptions."""
    return tuple(tuple(_look(path, 0)) for path in paths)


def _look(path: Path, depth: int) -> Iterator[object]:
    try:
        # Through links: the kubelet's visible names keep their own inode when `..data` turns.
        status = path.stat()
        yield status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
        if path.is_dir() and depth <= MAX_DEPTH:
            link = path / KUBELET_LINK
            yield str(link.readlink()) if link.is_symlink() else None
            for name in sorted(os.listdir(path)):  # noqa: PTH208 - the names, without a Path for each
                if not name.startswith("."):
                    yield name
                    yield from _look(path / name, depth + 1)
    except OSError as error:
        yield error.errno
