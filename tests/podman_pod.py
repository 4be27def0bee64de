"""An injected pod that podman plays: real images, containers, users and cgroups, in a network of the test's.

    with whole_pod(world_pod, stored, secrets=…, config_maps=…) as pod:
        assert pod.wait("train") == 0
        pod.end()                       # the sidecar stops after the application, as native sidecars do

What podman 4.3 lacks is in `tests/pod_translation.py`; the volumes are those of `tests/hand_kubelet.py`. The
engine runs inside of the pod's network namespace and makes none itself, so that all containers share it.
"""

import copy
import functools
import itertools
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final

import yaml

from tests.hand_kubelet import HandKubelet
from tests.netns import NAMESPACES, POD_V4, ROOT
from tests.pod_translation import NODE_FILES, translated
from tests.sidecar_pod import SidecarPod
from tests.sidecar_process import in_namespace, wait_for

Raw = dict[str, Any]

ENGINE: Final = ROOT / "images" / "engine"
PROXY: Final = "localhost/podkey/proxy:dev"
INJECTOR: Final = "localhost/podkey/injector:dev"
APP: Final = "localhost/podkey/lab-app:dev"

END_SECONDS: Final = 60.0
START_SECONDS: Final = 30.0
# What a pod has where it does not say terminationGracePeriodSeconds.
GRACE_SECONDS: Final = 30
REMOVALS: Final = 5
# Nothing else of this machine begins so.
PREFIX: Final = "podkey-lab"

_counter = itertools.count(1)


@functools.cache
def what_is_missing() -> str:
    """Why whole pods cannot be played here; empty when they can."""
    if os.geteuid() != 0:
        return "whole pods need root"
    if os.environ.get("ENGINE", "podman") != "podman" or shutil.which("podman") is None:
        return "`podman` is not installed (Debian: podman, runc)"
    # What a pod begins with. Without it podman refuses to play one, and Debian only recommends it.
    if shutil.which("catatonit", path=f"{os.environ.get('PATH', '')}:/usr/libexec/podman") is None:
        return "`catatonit` is not installed (Debian: catatonit)"
    for image, target in ((PROXY, "images"), (INJECTOR, "images"), (APP, "pods")):
        if engine("image", "exists", image, check=False).returncode:
            return f"there is no image {image} here: make {target}"
    return ""


def engine(
    *arguments: str, ns: str | None = None, check: bool = True, **options: Any
) -> subprocess.CompletedProcess[bytes]:
    enter = [] if ns is None else ["nsenter", f"--net={NAMESPACES / ns}"]
    settings = {"capture_output": True, "timeout": END_SECONDS, "stdin": subprocess.DEVNULL, **options}
    done = subprocess.run([*enter, str(ENGINE), *arguments], check=False, **settings)
    if check and done.returncode:
        said = (done.stderr or b"").decode(errors="replace")
        raise AssertionError(f"podman {' '.join(arguments[:3])} ended with {done.returncode}: {said}")
    return done


class WholePod:
    """`stored` is a pod as the API server stores it, with a name; containers go by their names in it."""

    def __init__(
        self,
        pod: SidecarPod,
        stored: Raw,
        *,
        secrets: Mapping[str, Mapping[str, bytes]],
        config_maps: Mapping[str, Mapping[str, bytes]],
    ) -> None:
        self.pod = pod
        self.stored = stored
        self.name = f"{PREFIX}-{os.getpid()}-{next(_counter)}"
        self.folder = pod.folder / self.name
        self.folder.mkdir()
        self.folder.chmod(0o755)
        place = copy.copy(pod)
        place.folder = self.folder
        self.kubelet = HandKubelet(place, stored, secrets=secrets, config_maps=config_maps)
        # When each container was started, and how long its beginning took.
        self.seconds: dict[str, dict[str, float]] = {}

    # --- the beginning ---

    def manifest(self) -> Raw:
        """What podman is given: the translation, under a name that no other test has."""
        folders = {
            **self.kubelet.volumes,
            **dict(zip(NODE_FILES, (self.pod._hosts, self.pod._resolv_conf), strict=True)),
        }
        names = {
            source["fieldRef"]["fieldPath"]
            for container in self._all()
            for entry in container.get("env", ())
            if (source := entry.get("valueFrom"))
        }
        made = translated(self.stored, folders, {name: self.kubelet._field(name) for name in names})
        made["metadata"]["name"] = self.name
        return made

    def _all(self) -> Iterator[Raw]:
        spec = self.stored["spec"]
        yield from (*spec.get("initContainers", ()), *spec["containers"])

    def start(self) -> None:
        """In the kubelet's order: each init container to its end, a native sidecar until it is ready."""
        self._mount_memory()
        file = self.folder / "pod.yaml"
        file.write_text(yaml.safe_dump(self.manifest(), sort_keys=False))
        self._engine("play", "kube", "--network", "host", "--start=false", str(file))
        for container in self.stored["spec"].get("initContainers", ()):
            name = container["name"]
            self.start_container(name)
            if container.get("restartPolicy") == "Always":
                self.wait_ready(name)
            elif status := self.wait(name):
                raise AssertionError(f"{name} ended with {status}: {self.log(name)}")
            else:
                state = self.state(name)
                times = self.seconds[name]
                times["from its start to its end"] = _seconds(state["FinishedAt"]) - _seconds(
                    state["StartedAt"]
                )
                times["with the engine"] = _seconds(state["FinishedAt"]) - times["began"]
        for container in self.stored["spec"]["containers"]:
            self.start_container(container["name"])

    def _mount_memory(self) -> None:
        for volume in self.stored["spec"]["volumes"]:
            kind = volume.get("emptyDir") or {}
            if kind.get("medium") == "Memory":
                size = kind["sizeLimit"].removesuffix("i").lower()
                what = ["mount", "-t", "tmpfs", "-o", f"mode=777,size={size}", "tmpfs"]
                subprocess.run([*what, str(self.kubelet.volumes[volume["name"]])], check=True)

    def start_container(self, name: str) -> None:
        began = time.time()
        self._engine("start", self.of(name))
        self.seconds[name] = {"began": began, "until `podman start` is back": time.time() - began}

    def wait_ready(self, name: str) -> None:
        """As the kubelet probes, from the node at the pod's address, but without its second between two."""

        def look() -> bool:
            # Asking the engine takes much longer than asking the page.
            end = time.monotonic() + 1
            while time.monotonic() < end:
                if self.probe(name, "startupProbe") == 200:
                    return True
                time.sleep(0.002)
            if not self.state(name)["Running"]:
                raise AssertionError(f"{name} ended: {self.pod.canary.blot(self.log(name))}")
            return False

        wait_for(look, f"the startupProbe of {name}", START_SECONDS)
        now = time.time()
        times = self.seconds[name]
        times["from its start to ready"] = now - _seconds(self.state(name)["StartedAt"])
        times["ready, with the engine"] = now - times["began"]
        times["CPU until ready"] = _cpu_seconds(self.state(name)["Pid"])

    def probe(self, name: str, kind: str) -> int:
        """The status; 0 where nobody answers."""
        asked = self.kubelet.container(name)[kind]["httpGet"]

        def ask() -> int:
            connection = HTTPConnection(POD_V4, asked["port"], timeout=1)
            try:
                connection.request("GET", asked["path"])
                return connection.getresponse().status
            except OSError:
                return 0
            finally:
                connection.close()

        return in_namespace(self.pod.network.net, ask)

    # --- while it lives ---

    def of(self, name: str) -> str:
        """What podman calls this container."""
        return f"{self.name}-{name}"

    def _engine(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
        return engine(*arguments, ns=self.pod.network.pod, **options)

    def exec(
        self, name: str, argv: Sequence[str], *options: str, timeout: float = END_SECONDS
    ) -> subprocess.CompletedProcess[str]:
        """A program in a container that runs; `options` of `podman exec`. What it says is searched."""
        done = self._engine("exec", *options, self.of(name), *argv, check=False, timeout=timeout)
        out, err = (stream.decode(errors="backslashreplace") for stream in (done.stdout, done.stderr))
        self.pod.canary.watch(out, f"standard output of {name}")
        self.pod.canary.watch(err, f"standard error of {name}")
        return subprocess.CompletedProcess(done.args, done.returncode, out, err)

    def stream(self, *arguments: str) -> "subprocess.Popen[bytes]":
        """The engine, with its standard output as a pipe."""
        enter = ["nsenter", f"--net={NAMESPACES / self.pod.network.pod}"]
        return subprocess.Popen([*enter, str(ENGINE), *arguments], stdout=subprocess.PIPE)

    def state(self, name: str) -> Raw:
        return self.inspect(name)["State"]  # type: ignore[no-any-return]

    def inspect(self, name: str) -> Raw:
        found: list[Raw] = json.loads(self._engine("container", "inspect", self.of(name)).stdout)
        return found[0]

    def log(self, name: str) -> str:
        done = self._engine("logs", self.of(name), check=False)
        return (done.stdout + done.stderr).decode(errors="backslashreplace")

    def records(self, name: str) -> list[Raw]:
        """Lines of its log that are JSON: events, and the audit trail."""
        return [json.loads(line) for line in self.log(name).splitlines() if line.startswith("{")]

    def wait_audit(self, wanted: Callable[[Raw], bool]) -> list[Raw]:
        return wait_for(
            lambda: [one for one in self.records("podkey") if "verdict" in one and wanted(one)],
            "an audit record",
        )

    def wait(self, name: str) -> int:
        """Its exit status, when it has one."""
        return int(self._engine("wait", self.of(name)).stdout)

    # --- the end ---

    def end(self) -> dict[str, int]:
        """As a kubelet ends a pod whose application ended: SIGTERM to the sidecars, last one first."""
        sidecars = [one["name"] for one in self._all() if one.get("restartPolicy") == "Always"]
        for name in reversed(sidecars):
            self._engine("stop", "--time", str(GRACE_SECONDS), self.of(name))
        return {one["name"]: self.state(one["name"])["ExitCode"] for one in self._all()}

    def close(self) -> None:
        """Everything of it goes, whatever has happened."""
        with ExitStack() as last:
            last.callback(self._forget_rules)
            last.callback(remove_folder, self.folder)
            last.callback(remove_pod, self.name)
            for one in self._all():
                # A container that was never made has no log.
                self.pod.canary.search(self.log(one["name"]), f"the log of {one['name']}")

    def _forget_rules(self) -> None:
        """A pod's rules go with its network, which the next one has again here."""
        subprocess.run(
            ["nsenter", f"--net={NAMESPACES / self.pod.network.pod}", "nft", "flush", "ruleset"], check=True
        )


def remove_pod(name: str) -> None:
    """Where a container ends while it is being ended, the engine gives up; the next time it is stopped."""
    remove = ["pod", "rm", "--force", "--time", "0", "--ignore", name]
    for _ in range(REMOVALS):
        if not engine(*remove, check=False).returncode:
            return
    engine(*remove)


def remove_folder(folder: Path) -> None:
    """With what is mounted below it."""
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for place in sorted((one for one in mounts if one.startswith(f"{folder}/")), reverse=True):
        subprocess.run(["umount", "--lazy", place], check=True)
    shutil.rmtree(folder)


@contextmanager
def whole_pod(pod: SidecarPod, stored: Raw, **given: Mapping[str, Mapping[str, bytes]]) -> Iterator[WholePod]:
    whole = WholePod(pod, stored, **given)
    try:
        whole.start()
        yield whole
    finally:
        whole.close()


def sweep() -> None:
    """What test processes that were killed have left: their pods, images, mounts and folders."""
    done = engine("pod", "ls", "--format", "{{.Name}}")
    for name in done.stdout.decode().split():
        if _is_orphan(name):
            remove_pod(name)
    for name in engine("images", "--format", "{{.Repository}}:{{.Tag}}").stdout.decode().split():
        if _is_orphan(name.rpartition("/")[2].replace(":", "-")):
            engine("rmi", "--force", name, check=False)
    for line in Path("/proc/self/mounts").read_text().splitlines():
        parts = [part for part in line.split()[1].split("/") if part.startswith(PREFIX)]
        if parts and _is_orphan(parts[0]):
            with suppress(subprocess.CalledProcessError):
                subprocess.run(["umount", "--lazy", line.split()[1]], check=True)


def _is_orphan(name: str) -> bool:
    """`podkey-lab-PID-…` of a process that is no more."""
    rest = name.removeprefix(f"{PREFIX}-").split("-")
    return name.startswith(f"{PREFIX}-") and rest[0].isdecimal() and not Path("/proc", rest[0]).exists()


def _cpu_seconds(pid: int) -> float:
    """Of a process with its threads: what a busy machine does not stretch much."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()
