# ruff: noqa: PTH116, PTH118, PTH123, PTH208
"""Everything that a program in this container may see, as a tar on standard output: what a thief would take.

Every file that it may read outside of the image, and of every process that it sees what /proc tells: its
environment, its command line, its maps, and the memory itself where the kernel allows it. The image's own
files are searched from outside, with those that this user may not read. `seen.json` tells which processes.
"""

import io
import json
import os
import stat
import sys
import tarfile
from collections.abc import Iterator
from typing import Any

Seen = dict[str, Any]
Found = Iterator[tuple[str, bytes]]

# The kernel's, not a program's.
NOT_WALKED = ("/proc", "/sys", "/dev/pts", "/dev/mqueue")
OF_PROCESS = ("cmdline", "environ", "maps", "status", "mountinfo", "cgroup", "auxv", "limits")
# Whatever this or another user wrote into the image's own tree.
WRITTEN = ("/tmp", "/var/tmp", "/run", "/root", "/home")
LARGEST = 256 * 1024**2


def main() -> None:
    seen: Seen = {"processes": {}, "files": 0, "memory": 0}
    with tarfile.open(fileobj=sys.stdout.buffer, mode="w|") as out:
        for places in (files(seen), processes(seen)):
            for name, data in places:
                put(out, name, data)
        put(out, "seen.json", json.dumps(seen).encode())


def put(out: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    out.addfile(entry, io.BytesIO(data))


def files(seen: Seen) -> Found:
    with open("/proc/self/mountinfo") as mounts:
        tops = {line.split()[4] for line in mounts} - {"/"}
    for top in sorted(one for one in tops if not one.startswith(NOT_WALKED)):
        yield from read(top, seen)
        yield from below(top, seen)
    yield from below("/proc/net/", seen)
    root = os.stat("/").st_dev
    for top in WRITTEN:
        yield from below(top, seen, root)


def below(top: str, seen: Seen, device: int | None = None) -> Found:
    for folder, _, names in os.walk(top):
        for name in sorted(names):
            path = os.path.join(folder, name)
            if device is None or os.lstat(path).st_dev == device:
                yield from read(path, seen)


def read(path: str, seen: Seen) -> Found:
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST:
            return
        with open(path, "rb") as file:
            data = file.read()
    except OSError:
        return
    seen["files"] += 1
    yield path, data


def processes(seen: Seen) -> Found:
    for pid in sorted(filter(str.isdecimal, os.listdir("/proc"))):
        told = {}
        for name in OF_PROCESS:
            for path, data in read(f"/proc/{pid}/{name}", seen):
                told[name] = data
                yield path, data
        if "cmdline" in told:
            seen["processes"][pid] = told["cmdline"].replace(b"\0", b" ").decode(errors="replace").strip()
        # Its own memory has what it has just read.
        if int(pid) != os.getpid():
            yield from memory(pid, told.get("maps", b"").decode(), seen)


def memory(pid: str, maps: str, seen: Seen) -> Found:
    for line in maps.splitlines():
        where, access = line.split()[:2]
        start, end = (int(number, 16) for number in where.split("-"))
        if not access.startswith("r") or end - start > LARGEST:
            continue
        try:
            with open(f"/proc/{pid}/mem", "rb", 0) as file:
                file.seek(start)
                data = file.read(end - start)
        except OSError:
            continue
        seen["memory"] += len(data)
        yield f"/proc/{pid}/mem/{where}", data


main()
