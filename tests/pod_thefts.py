"""Where a thief would look in a pod: the same for real pods and for one with a planted secret."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen

from tests.canary import Canary
from tests.podman_pod import WholePod
from tests.secret_search import Searched, search_folder, search_memory, search_tar

Also = Mapping[str, str] | None


def file_system(pod: WholePod, name: str, canary: Canary, *, also: Also = None) -> Searched:
    """The container's root as root sees it: the image, and all that was written there."""
    return _from(pod.stream("export", pod.of(name)), canary, also)


def volumes(pod: WholePod, name: str, canary: Canary, *, also: Also = None) -> dict[str, Searched]:
    """Each volume that the container mounts, from the node."""
    mounts = pod.kubelet.container(name)["volumeMounts"]
    return {one["name"]: search_folder(canary, pod.kubelet.volumes[one["name"]], also=also) for one in mounts}


@dataclass
class Sight:
    """What a program of the application sees: the search, and the processes by their command lines."""

    searched: Searched
    processes: list[str]
    files: int
    memory: int


def sight(pod: WholePod, name: str, canary: Canary, *, also: Also = None) -> Sight:
    """What a program in the container reads, as its user: tests/pods/app/look.py."""
    process = pod.stream("exec", pod.of(name), "python3", "/app/look.py")
    looked = _from(process, canary, also, keep=("seen.json",))
    told = json.loads(looked.kept["seen.json"])
    return Sight(looked, list(told["processes"].values()), told["files"], told["memory"])


def memory(pod: WholePod, name: str, canary: Canary, *, also: Also = None) -> dict[str, Searched]:
    """Every process of the container by its command line, as root of the node reads it."""
    pids = pod._engine("top", pod.of(name), "hpid").stdout.decode().split()[1:]
    lines = {pid: Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode() for pid in pids}
    return {lines[pid].strip(): search_memory(canary, int(pid), also=also) for pid in pids}


def _from(process: Popen[bytes], canary: Canary, also: Also, keep: tuple[str, ...] = ()) -> Searched:
    with process:
        assert process.stdout is not None
        found = search_tar(canary, process.stdout, also=also, keep=keep)
        process.stdout.read()
    if process.returncode:
        raise AssertionError(f"{process.args!r} ended with {process.returncode}")
    return found
