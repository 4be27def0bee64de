"""Where the lanes and their peers are measured alike: a pod, the world outside of it, and one upstream.

Each subject has a name and an address of its own out there. What the pod sends to that address is redirected
to the subject's port, as `podkey redirect` does, whoever the subject is; what the subject sends (it runs as
the sidecar's user) goes there for real. All of them therefore pay the same for the network.
"""

import json
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.upstream import BUCKET, configuration
from proxy.core.contract import PROXY_UID
from tests import netns
from tests.netns import PodNetwork, pod_network
from tests.sidecar_process import in_namespace, wait_for
from tests.upstream_authority import UpstreamAuthority, UpstreamCertificate

ROOT: Final = Path(__file__).parents[1]
CORES: Final = sorted(os.sched_getaffinity(0))
# The subject has one core for itself; what loads it, and what it asks, share the others.
PROXY_CORE: Final = CORES[0]
LOAD_CORES: Final = frozenset(CORES[1:] or CORES)

DOMAIN: Final = "bench.test"
FIRST_ADDRESS: Final = 20
FIRST_PORT: Final = 9000
# Ports that one subject may need: the one it is asked at, an explicit one, one for its administration.
PORTS_EACH: Final = 3

IN_MOUNTS: Final = 'mount --bind "$1" /etc/hosts; shift; exec "$@"'


@dataclass(frozen=True, slots=True)
class Place:
    """Where one subject stands. `folder` is its own, and it may read and write there."""

    host: str
    address: str
    port: int
    folder: Path
    certificate: UpstreamCertificate
    authority: Path


class Ground:
    def __init__(self, network: PodNetwork, folder: Path, names: Sequence[str]) -> None:
        self.network = network
        self.folder = folder
        self.authority = UpstreamAuthority(folder / "internet")
        self._numbers = {name: number for number, name in enumerate(names)}
        self.certificate = self.authority.certificate(*(f"{name}.{DOMAIN}" for name in names))
        self._hosts = folder / "hosts"
        lines = [f"{address_of(number)} {name}.{DOMAIN}" for name, number in self._numbers.items()]
        self._hosts.write_text("\n".join(["127.0.0.1 localhost", *lines, ""]))
        self._count = 0
        netns.load_rules(network.pod, self._redirect())

    def _redirect(self) -> str:
        lines = [
            f"ip daddr {address_of(number)} tcp dport 443 redirect to :{port_of(number)}"
            for number in self._numbers.values()
        ]
        chain = "type nat hook output priority -100; policy accept;"
        rules = "\n".join([f"meta skuid {PROXY_UID} return", *lines])
        return f"table inet bench {{\nchain out {{\n{chain}\n{rules}\n}}\n}}\n"

    def place(self, name: str) -> Place:
        """A fresh folder each time: nothing is left of an earlier start."""
        self._count += 1
        number = self._numbers[name]
        folder = owned(self.folder / f"{name}-{self._count}")
        files = UpstreamCertificate(folder / "leaf.pem", folder / "leaf.key")
        for source, copy in zip(
            (*self.certificate, self.authority.file), (*files, folder / "ca.pem"), strict=True
        ):
            shutil.copy(source, copy)
            os.chown(copy, PROXY_UID, PROXY_UID)
        host = f"{name}.{DOMAIN}"
        return Place(host, address_of(number), port_of(number), folder, files, folder / "ca.pem")

    # --- programs ---

    def command(self, argv: Sequence[str], *, inside: str = "") -> list[str]:
        """In the pod's network (`inside`: another), where the names of the subjects are known."""
        words = netns.command(
            ["unshare", "--mount", "sh", "-ec", IN_MOUNTS, "sh", str(self._hosts)],
            ns=inside or self.network.pod,
        )
        return [*words, *argv]

    def run(self, argv: Sequence[str]) -> str:
        """A load generator, to its end. What it loads shares no core with it where there are two."""
        done = subprocess.run(
            self.command(argv), cwd=ROOT, capture_output=True, text=True, timeout=600, check=False
        )
        if done.returncode:
            raise SystemExit(f"bench: {' '.join(argv[:4])} …: {done.stderr[-2000:]}{done.stdout[-2000:]}")
        return done.stdout

    # --- the upstream ---

    def seen(self) -> list[dict[str, str]]:
        """What came to /BUCKET/check, in order."""
        file = self.folder / "seen"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def object(self, size: int) -> Path:
        """A file of zeros as long as this: the upstream has it, and clients send it."""
        file = self.folder / "files" / BUCKET / f"object-{size}"
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.exists():
            with file.open("wb") as stream:
                stream.truncate(size)
        return file


def address_of(number: int) -> str:
    return f"203.0.113.{FIRST_ADDRESS + number}"


def port_of(number: int) -> int:
    return FIRST_PORT + PORTS_EACH * number


def owned(folder: Path) -> Path:
    folder.mkdir()
    folder.chmod(0o755)
    os.chown(folder, PROXY_UID, PROXY_UID)
    return folder


@contextmanager
def ground(names: Sequence[str]) -> Iterator[tuple[Ground, "subprocess.Popen[bytes]"]]:
    """The ground, and its upstream."""
    os.sched_setaffinity(0, LOAD_CORES)
    with ExitStack() as last:
        folder = Path(tempfile.mkdtemp(prefix="podkey-bench-"))
        last.callback(shutil.rmtree, folder)
        folder.chmod(0o755)
        internet = [address_of(number) for number in range(len(names))]
        network = last.enter_context(pod_network(v6=False, internet=internet))
        here = Ground(network, folder, names)
        (folder / "nginx.conf").write_text(configuration(folder, here.certificate))
        (folder / "bodies").mkdir()
        bodies = f'mount -t tmpfs tmpfs {folder}/bodies; exec "$@"'
        with (folder / "upstream.log").open("wb") as log:
            process = subprocess.Popen(
                here.command(
                    ["sh", "-ec", bodies, "sh", "nginx", "-e", "stderr", "-c", str(folder / "nginx.conf")],
                    inside=network.net,
                ),
                stdout=log,
                stderr=log,
            )
        last.callback(process.wait)
        last.callback(process.terminate)

        def is_up() -> bool:
            if process.poll() is not None:
                raise SystemExit(f"bench: the upstream ended: {(folder / 'upstream.log').read_text()}")
            try:
                in_namespace(network.net, lambda: socket.create_connection((internet[0], 443), 5)).close()
            except OSError:
                return False
            return True

        wait_for(is_up, "the upstream")
        yield here, process


def environment(more: Mapping[str, str]) -> dict[str, Any]:
    """Nothing of who runs the benchmark reaches what is measured."""
    return {
        "PATH": os.pathsep.join([*os.get_exec_path(), *netns.SYSTEM_FOLDERS]),
        "LC_ALL": "C.UTF-8",
        "HOME": "/",
        **more,
    }
