"""A search of large things for a test's secrets: whole file systems, memory, whatever comes as a tar.

    search_tar(canary, stream)        # findings, each with the member that holds it, and what was looked at
    search_folder(canary, folder)

A search that finds nothing proves nothing unless it looked: `Searched` counts, and a test may ask it for a
word that must be there (`also`), such as a placeholder.
"""

import io
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final, Protocol

from tests.canary import Canary

CHUNK: Final = 4 * 1024**2
# More than any form of a secret is long: what stands across two chunks is whole in one of them.
OVERLAP: Final = 4096


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


@dataclass
class Searched:
    findings: list[str] = field(default_factory=list)
    members: int = 0
    size: int = 0
    # Where each word of `also` was seen.
    seen: dict[str, list[str]] = field(default_factory=dict)
    # Small members that a test wants to read.
    kept: dict[str, bytes] = field(default_factory=dict)


class Search:
    def __init__(self, canary: Canary, also: Mapping[str, str] | None = None) -> None:
        """`also`: words that are no secrets, by name."""
        self._canary = canary
        self._also = {name: word.encode() for name, word in (also or {}).items()}
        self.result = Searched(seen={name: [] for name in self._also})

    def look_at(self, name: str, stream: _Readable) -> None:
        result = self.result
        result.members += 1
        found = dict.fromkeys(self._canary.find_in(name))
        seen: set[str] = set()
        for chunk in _chunks(stream):
            result.size += len(chunk)
            found |= dict.fromkeys(self._canary.find_in(chunk))
            seen |= {key for key, word in self._also.items() if word in chunk}
        result.findings += [f"{hit} in {name}" for hit in found]
        for key in seen:
            result.seen[key].append(name)


def search_tar(
    canary: Canary, stream: IO[bytes], *, also: Mapping[str, str] | None = None, keep: tuple[str, ...] = ()
) -> Searched:
    search = Search(canary, also)
    with tarfile.open(fileobj=stream, mode="r|") as tar:
        for entry in tar:
            # Names and targets of links can hold one as well.
            told = " ".join((entry.name, entry.linkname, *entry.pax_headers.values()))
            search.result.findings += [f"{hit} in the entry {entry.name}" for hit in canary.find_in(told)]
            if (data := tar.extractfile(entry) if entry.isreg() else None) is None:
                continue
            if entry.name in keep:
                content = search.result.kept[entry.name] = data.read()
                search.look_at(entry.name, io.BytesIO(content))
            else:
                search.look_at(entry.name, data)
    return search.result


def search_folder(canary: Canary, folder: Path, *, also: Mapping[str, str] | None = None) -> Searched:
    """All regular files below a folder, of whatever size; links are not followed."""
    search = Search(canary, also)
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as stream:
                search.look_at(str(path.relative_to(folder)), stream)
    return search.result


def search_memory(canary: Canary, pid: int, *, also: Mapping[str, str] | None = None) -> Searched:
    """All that a process has mapped and that can be read, as root sees it."""
    search = Search(canary, also)
    with Path(f"/proc/{pid}/mem").open("rb", 0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            where, access = line.split()[:2]
            if not access.startswith("r") or line.endswith(("[vvar]", "[vvar_vclock]", "[vsyscall]")):
                continue
            start, end = (int(number, 16) for number in where.split("-"))
            memory.seek(start)
            search.look_at(f"memory of {pid} at {where}", _Part(memory, end - start))
    return search.result


class _Part:
    def __init__(self, stream: IO[bytes], left: int) -> None:
        self._stream = stream
        self._left = left

    def read(self, size: int, /) -> bytes:
        try:
            data = self._stream.read(min(size, self._left))
        except OSError:  # a page that nobody may read, as guards are
            return b""
        self._left -= len(data)
        return data


def _chunks(stream: _Readable) -> Iterator[bytes]:
    """The stream in windows that overlap."""
    tail = b""
    while data := stream.read(CHUNK):
        window = tail + data
        yield window
        tail = window[-OVERLAP:]
