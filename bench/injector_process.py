"""The injector of bench/injector.py as a process of its own on one core, and who asks it for reviews."""

import base64
import json
import os
import secrets
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Final

from bench.injector_cluster import OWN
from bench.injector_ends import Cluster, Server, serve
from proxy.x509.certificates import certificate_pem
from tests.built_images import INJECTOR, engine, is_podman, why_missing
from tests.injector_serving_world import TestAuthority

ROOT: Final = Path(__file__).parents[1]
READY_SECONDS: Final = 300.0
ENDS: Final = str(Path(__file__).with_name("injector_ends.py"))
CORES: Final = sorted(os.sched_getaffinity(0))
IMAGE_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
INSIDE: Final = Path("/mnt")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@cache
def image_root() -> Path | None:
    """The root of the image as it is shipped, whose Python is another than this checkout's: where `make
    images` has built it of this tree, and we may look into it."""
    if os.geteuid() or not is_podman() or why_missing():
        return None
    mounted = engine("image", "mount", INJECTOR)
    return None if mounted.returncode else Path(mounted.stdout.strip())


def in_image(folder: Path, command: list[str]) -> list[str]:
    """The command in the image's root, with the folder at `INSIDE`; its process is the one that is started"""
    mounts = (("/proc", "proc"), ("/dev", "dev"), ("/etc/hosts", "etc/hosts"), (folder, str(INSIDE)[1:]))
    script = "".join(f"mount --rbind {source} {image_root()}/{target}; " for source, target in mounts)
    return ["unshare", "--mount", "sh", "-ec", f'{script} exec chroot {image_root()} "$@"', "sh", *command]


class Process:
    """`podkey-injector serve`, and nothing else on its core that we know of."""

    def __init__(self, folder: Path, server: Server, authority: bytes) -> None:
        self.folder = folder
        self.port, self.admin = free_port(), free_port()
        kubeconfig = folder / "kubeconfig"
        place = f"https://localhost:{server.server_address[1]}"
        trusted = {"server": place, "certificate-authority-data": base64.b64encode(authority).decode()}
        whole = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "it",
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
            "users": [{"name": "it", "user": {"token": secrets.token_hex(8)}}],
            "clusters": [{"name": "it", "cluster": trusted}],
        }
        kubeconfig.write_text(json.dumps(whole))
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "PODKEY_INJECTOR_NAMESPACE": OWN,
            "PODKEY_INJECTOR_POD_NAME": "podkey-injector-0",
            "PODKEY_INJECTOR_IMAGE": "registry.example.com/podkey:1",
            "PODKEY_INJECTOR_WEBHOOK_ADDRESS": "127.0.0.1",
            "PODKEY_INJECTOR_WEBHOOK_PORT": str(self.port),
            "PODKEY_INJECTOR_ADMIN_ADDRESS": "127.0.0.1",
            "PODKEY_INJECTOR_ADMIN_PORT": str(self.admin),
            "PODKEY_INJECTOR_LINGER": "0s",
        }
        command = [sys.executable, "-O", "-m", "injector", "serve", "--kubeconfig", str(kubeconfig)]
        if image_root() is not None:
            # The client of Kubernetes writes the authority into a file, for which an image has no place.
            environment |= {"PATH": IMAGE_PATH, "TMPDIR": str(INSIDE)}
            command = in_image(folder, ["podkey-injector", *command[4:-1], str(INSIDE / "kubeconfig")])
        self.began = time.perf_counter()
        with on_core(CORES[0]), (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                command, env=environment, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self.log = folder / "log"

    def wait(self, look: Callable[[], bool], what: str) -> float:
        """Seconds from its start."""
        deadline = time.monotonic() + READY_SECONDS
        while not look():
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise SystemExit(
                    f"bench: {what} did not happen; the log ends with\n{self.log.read_text()[-2000:]}"
                )
            time.sleep(0.01)
        return time.perf_counter() - self.began

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def clocks(self) -> tuple[float, float, float]:
        """Seconds that its threads ran, that they were ready and waited for their core, and that the
        hypervisor took from that core. The scheduler's: the ticks of /proc/PID/stat are too coarse."""
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")
        ran, waited, _ = zip(*(map(int, task.read_text().split()) for task in tasks), strict=True)
        return sum(ran) / 1e9, sum(waited) / 1e9, stolen(CORES[0])

    def memory(self, what: str = "VmRSS") -> float:
        """MiB."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{what}:")) / 1024

    def end(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        finally:
            self.process.kill()
            self.process.wait()


def stolen(core: int) -> float:
    """Seconds since the machine began (proc_stat(5), the eighth number)."""
    lines = Path("/proc/stat").read_text().splitlines()
    fields = next(line.split() for line in lines if line.startswith(f"cpu{core} "))
    return int(fields[8]) / os.sysconf("SC_CLK_TCK")


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """What is started meanwhile stays there."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def running(cluster: Cluster) -> Iterator[Process]:
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        authority = TestAuthority()
        names = here / "names"
        authority.write(names, "localhost")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(names / "tls.crt", names / "tls.key")
        server = serve(cluster, context)
        process = Process(here, server, certificate_pem(authority.certificate))
        try:
            yield process
        finally:
            process.end()
            server.shutdown()
            server.server_close()


# --- asking --------------------------------------------------------------------------------------------


class Asking:
    """Reviews by a program of their own; `times` are when each began and how long it took."""

    def __init__(self, process: Process, cluster: Cluster, **asked: object) -> None:
        secret = cluster.get("secrets", OWN, "podkey-injector-ca")
        if secret is None:
            raise SystemExit("bench: the injector has made no authority")
        asked |= {"port": process.port, "ca": base64.b64decode(secret["data"]["ca.crt"]).decode()}
        file = process.folder / "asked.json"
        file.write_text(json.dumps({"by_chance": False, "rate": 0, **asked}))
        self._process = process
        self._clocks = process.clocks()
        self._program = subprocess.Popen([sys.executable, "-O", ENDS, str(file)], stdout=subprocess.PIPE)

    @property
    def is_over(self) -> bool:
        return self._program.poll() is not None

    def figures(self) -> dict[str, float]:
        output, _ = self._program.communicate()
        if self._program.returncode:
            raise SystemExit("bench: reviews failed")
        pairs = zip(self._process.clocks(), self._clocks, strict=True)
        cpu, waited, lost = (after - before for after, before in pairs)
        found = json.loads(output)
        took = sorted(duration for _, duration in found["times"])
        if not took:
            raise SystemExit("bench: every review was turned away")
        return {
            "reviews a second": len(took) / found["took"],
            "p50, ms": quantile(took, 0.5) * 1e3,
            "p99, ms": quantile(took, 0.99) * 1e3,
            "p99.9, ms": quantile(took, 0.999) * 1e3,
            "worst, ms": took[-1] * 1e3,
            # With what it does besides.
            "CPU, ms": cpu / len(took) * 1e3,
            "turned away": found["turned away"],
            # What others had of its core: a review may have waited that long.
            "waited, ms": waited * 1e3,
            "stolen, ms": lost * 1e3,
        }


def quantile(ordered: list[float], part: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]
