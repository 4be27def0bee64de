"""Pods without Kubernetes: network namespaces, and programs that run in them as any user.

    with pod_network() as net:
        run_in(net.pod, ["curl", "https://203.0.113.10/"], uid=APP_UID)

A test that uses this carries `@requires_netns`, or its file `pytestmark = requires_netns`.
"""

import itertools
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[1]
NAMESPACES: Final = Path("/run/netns")
TOOLS: Final = ("ip", "nft", "nsenter", "setpriv", "unshare", "mount")
SYSTEM_FOLDERS: Final = ("/usr/sbin", "/sbin", "/usr/bin", "/bin")

APP_UID: Final = 1000

POD_V4: Final = "10.200.0.2"
POD_V6: Final = "fd00:200::2"
GATEWAY_V4: Final = "10.200.0.1"
GATEWAY_V6: Final = "fd00:200::1"
# Documentation addresses that stand for the internet; they live on the loopback interface of `net`.
INTERNET_V4: Final = "203.0.113.10"
INTERNET_V6: Final = "2001:db8::10"

_counter = itertools.count(1)


def _path() -> str:
    return os.pathsep.join([*os.get_exec_path(), *SYSTEM_FOLDERS])


def _environment(changes: Mapping[str, str]) -> dict[str, str]:
    """Little of ours: no variable of a developer reaches the program, and none points into our home."""
    return {"PATH": _path(), "HOME": "/", "LC_ALL": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1", **changes}


def what_is_missing() -> str:
    """Why namespaces cannot be made here; empty when they can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    for tool in TOOLS:
        if shutil.which(tool, path=_path()) is None:
            return f"`{tool}` is not installed (Debian: iproute2, nftables, util-linux)"
    done = subprocess.run(
        ["unshare", "--net", "--mount", "true"], env=_environment({}), capture_output=True, check=False
    )
    return done.stderr.decode().strip() if done.returncode else ""


MISSING: Final = what_is_missing()
requires_netns = pytest.mark.skipif(bool(MISSING), reason=MISSING)


# --- networks ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PodNetwork:
    """Names of two namespaces that a veth pair joins: the pod, and everything outside of it."""

    pod: str
    net: str


@contextmanager
def pod_network(*, v6: bool = True, internet: Sequence[str] = ()) -> Iterator[PodNetwork]:
    """A pod and its surroundings. `internet`: addresses out there besides INTERNET_V4 and INTERNET_V6."""
    sweep_leftovers()
    stem = f"podkey-{os.getpid()}-{next(_counter)}"
    network = PodNetwork(f"{stem}-pod", f"{stem}-net")
    try:
        _build(network, v6, internet)
        yield network
    finally:
        _delete(network.pod)
        _delete(network.net)


def sweep_leftovers() -> None:
    """Delete the namespaces of test processes that were killed."""
    for path in NAMESPACES.glob("podkey-*-*-*"):
        pid = path.name.split("-")[1]
        if pid.isdecimal() and not Path("/proc", pid).exists():
            _delete(path.name)


def _build(network: PodNetwork, v6: bool, internet: Sequence[str]) -> None:  # noqa: FBT001
    pod, net = network.pod, network.net
    _ip(f"netns add {pod}")
    _ip(f"netns add {net}")
    _ip(f"link add p0 netns {pod} type veth peer name n0 netns {net}")
    lines = {
        pod: ["link set lo up", f"addr add {POD_V4}/24 dev p0", "link set p0 up"],
        net: ["link set lo up", f"addr add {GATEWAY_V4}/24 dev n0", "link set n0 up"],
    }
    if v6:
        # Without duplicate address detection an address is there at once.
        lines[pod].insert(1, f"addr add {POD_V6}/64 dev p0 nodad")
        lines[net].insert(1, f"addr add {GATEWAY_V6}/64 dev n0 nodad")
        lines[pod].append(f"route add ::/0 via {GATEWAY_V6}")
    else:
        _sysctl(pod, "net/ipv6/conf/all/disable_ipv6", "1")
    lines[pod].append(f"route add default via {GATEWAY_V4}")
    for address in (INTERNET_V4, INTERNET_V6, *internet):
        if v6 or ":" not in address:
            lines[net].append(f"addr add {address} dev lo" + (" nodad" if ":" in address else ""))
    for name, commands in lines.items():
        _ip(f"-n {name} -batch -", stdin="\n".join(commands).encode() + b"\n")


def _delete(name: str) -> None:
    if (NAMESPACES / name).exists():
        _ip(f"netns delete {name}")


def _ip(line: str, stdin: bytes = b"") -> None:
    done = subprocess.run(
        ["ip", *shlex.split(line)], input=stdin, env=_environment({}), capture_output=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"ip {line}: {done.stderr.decode()}{stdin.decode()}")


def _sysctl(ns: str, name: str, value: str) -> None:
    script = f"echo {shlex.quote(value)} > /proc/sys/{name}"
    run_in(ns, ["sh", "-c", script], check=True)


def allow_ping(ns: str) -> None:
    """Let every user open ICMP sockets, as container runtimes do."""
    _sysctl(ns, "net/ipv4/ping_group_range", "0 2147483647")


def load_rules(ns: str, rules: str) -> None:
    run_in(ns, ["nft", "-f", "-"], input=rules.encode(), check=True)


# --- programs ------------------------------------------------------------------------------------


def command(
    argv: Sequence[str],
    *,
    ns: str | None = None,
    uid: int | None = None,
    gid: int | None = None,
    caps: Sequence[str] | None = None,
) -> list[str]:
    """The whole command line that runs `argv` in a namespace as a user with these capabilities and no others.

    Without `uid` it stays root; without `caps` root keeps what it has, and others have none.
    """
    words = [] if ns is None else ["nsenter", f"--net={NAMESPACES / ns}"]
    if uid is None and caps is None:
        return [*words, *argv]
    words.append("setpriv")
    if uid is not None:
        words += [f"--reuid={uid}", f"--regid={uid if gid is None else gid}", "--clear-groups"]
    if caps is not None:
        chosen = ",".join(["-all", *(f"+{cap}" for cap in caps)])
        words += [f"--inh-caps={chosen}", f"--bounding-set={chosen}"]
        if uid:  # a user other than root keeps a capability over exec only when it is ambient
            words.append(f"--ambient-caps={chosen}")
    return [*words, *argv]


def run_in(
    ns: str,
    argv: Sequence[str],
    *,
    uid: int | None = None,
    gid: int | None = None,
    caps: Sequence[str] | None = None,
    env: Mapping[str, str] = MappingProxyType({}),
    **options: Any,
) -> subprocess.CompletedProcess[bytes]:
    """Run a program of the system to its end. For our own Python as another user: `run_as`."""
    whole = command(argv, ns=ns, uid=uid, gid=gid, caps=caps)
    return _run(whole, env, options)


def popen_in(
    ns: str,
    argv: Sequence[str],
    *,
    uid: int | None = None,
    gid: int | None = None,
    caps: Sequence[str] | None = None,
    env: Mapping[str, str] = MappingProxyType({}),
    **options: Any,
) -> subprocess.Popen[bytes]:
    whole = command(argv, ns=ns, uid=uid, gid=gid, caps=caps)
    return _start(whole, env, options)


def run_as(
    uid: int,
    argv: Sequence[str],
    *,
    ns: str | None = None,
    gid: int | None = None,
    caps: Sequence[str] | None = None,
    readable: Sequence[Path] = (),
    env: Mapping[str, str] = MappingProxyType({}),
    **options: Any,
) -> subprocess.CompletedProcess[bytes]:
    """Run a program, such as this virtual environment's Python, as a user who may not read our home.

    `readable`: more files or folders, such as a `tmp_path`, that it must be able to reach.
    """
    whole = unlocked(command(argv, ns=ns, uid=uid, gid=gid, caps=caps), readable)
    return _run(whole, env, {"cwd": ROOT, **options})


def popen_as(
    uid: int,
    argv: Sequence[str],
    *,
    ns: str | None = None,
    gid: int | None = None,
    caps: Sequence[str] | None = None,
    readable: Sequence[Path] = (),
    env: Mapping[str, str] = MappingProxyType({}),
    **options: Any,
) -> subprocess.Popen[bytes]:
    whole = unlocked(command(argv, ns=ns, uid=uid, gid=gid, caps=caps), readable)
    return _start(whole, env, {"cwd": ROOT, **options})


def podkey_command(*argv: str) -> list[str]:
    return [sys.executable, "-m", "proxy", *argv]


@contextmanager
def running(process: subprocess.Popen[bytes], ready: bytes = b"ready\n") -> Iterator[subprocess.Popen[bytes]]:
    """Wait until a program (started with `stdout=PIPE`) says that it is ready; end it afterwards."""
    try:
        if process.stdout is not None and ready:
            line = process.stdout.readline()
            if line != ready:
                process.kill()
                raise RuntimeError(f"{process.args!r} did not become ready: {line!r}")
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def _run(
    whole: list[str], env: Mapping[str, str], options: dict[str, Any]
) -> subprocess.CompletedProcess[bytes]:
    # A probe that hangs is a failure, not a night.
    settings = {"capture_output": True, "timeout": 60, **options}
    check = settings.pop("check", False)
    return subprocess.run(whole, env=_environment(env), check=check, **settings)


def _start(whole: list[str], env: Mapping[str, str], options: dict[str, Any]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(whole, env=_environment(env), **options)


# --- what other users may not read ---------------------------------------------------------------
#
# The interpreter may live in root's home (pyenv, uv), the checkout in a folder of mode 0700, and pytest's
# tmp_path always does. In a mount namespace of its own a program finds, in place of each closed folder, an
# open and empty one, into which only what it needs is mounted. Nothing outside the namespace changes.


def unlocked(argv: list[str], readable: Sequence[Path]) -> list[str]:
    python = [Path(sys.prefix), Path(sys.base_prefix), Path(sys.base_prefix).resolve()]
    script = unlocking_script([ROOT, *python, *_link_folders(Path(sys.executable)), *readable])
    if not script:
        return argv
    return ["unshare", "--mount", "sh", "-ec", f'{script}cd "$PWD"\nexec "$@"', "sh", *argv]


def _link_folders(path: Path) -> Iterator[Path]:
    """The folders of all files that stand between a path and what it is a link to."""
    while path.is_symlink():
        path = path.parent / path.readlink()
        yield path.parent


def unlocking_script(needed: Sequence[Path]) -> str:
    """Shell commands that make these paths reachable for everybody; empty when they are."""
    wanted: dict[Path, set[Path]] = {}
    for path in needed:
        top = next((folder for folder in [*reversed(path.parents), path] if _is_closed(folder)), None)
        if top is not None:
            wanted.setdefault(top, set()).update(_open_parts(path))
    lines = ["umask 022"] if wanted else []
    for top, paths in sorted(wanted.items()):
        shown = [path for path in sorted(paths) if paths.isdisjoint(path.parents)]
        # What is kept waits on a file system of its own, and moves to its place once the folder is covered.
        lines += ["stage=$(mktemp -d)", 'mount -t tmpfs tmpfs "$stage"']
        for index, path in enumerate(shown):
            lines += [_make(f'"$stage/{index}"', path), f'mount --bind {_quoted(path)} "$stage/{index}"']
        lines.append(f"mount -t tmpfs -o mode=755 tmpfs {_quoted(top)}")
        for index, path in enumerate(shown):
            lines += [f"mkdir -p {_quoted(path.parent)}", _make(_quoted(path), path)]
            lines.append(f'mount --move "$stage/{index}" {_quoted(path)}')
        lines.append('umount "$stage"; rmdir "$stage"')
    return "".join(f"{line}\n" for line in lines)


def _is_closed(path: Path) -> bool:
    return path.is_dir() and not path.stat().st_mode & 0o001


def _open_parts(path: Path) -> Iterator[Path]:
    """The path, or what a closed folder holds: the folder itself would be as closed when it is mounted."""
    if _is_closed(path):
        for part in path.iterdir():
            yield from _open_parts(part)
    else:
        yield path


def _make(place: str, like: Path) -> str:
    """Something of the same kind to mount upon."""
    return f"mkdir -p {place}" if like.is_dir() else f": > {place}"


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
