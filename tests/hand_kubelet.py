"""What a kubelet makes of a pod, by hand: volumes as folders, environments, and containers that are programs.

    kubelet = HandKubelet(pod, stored, secrets={"api-key": {"key": b"…"}}, config_maps={"podkey-policy": {…}})
    kubelet.run_to_end("podkey-redirect")
    kubelet.start("podkey"); kubelet.wait_startup("podkey")
    done = kubelet.exec("app", [sys.executable, "-c", PROGRAM])

`pod` is a SidecarPod, of which the network, the folders, the tokens and the canary are used and not its own
sidecar; `stored` is a pod as the API server would store it. A container has its user, its capabilities, its
mounts at their paths and nothing else of ours, and where its root is read-only, everything else is. What is
no container is the image: it is this machine, with this checkout.
"""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final

from tests import netns
from tests.kubelet_volume import KubeletVolume
from tests.netns import NAMESPACES, POD_V4
from tests.sidecar_pod import ACCOUNT, NAMESPACE, NODE, POD_NAME, POD_UID, SidecarPod
from tests.sidecar_process import in_namespace, wait_for

Raw = dict[str, Any]

# The API server's own audience is its issuer.
API_AUDIENCE: Final = "https://kubernetes.default.svc.cluster.local"
# A file of the image: what the servers of a test are trusted by. The platform team's setting says so.
UPSTREAM_CA: Final = "/etc/ssl/upstreams-of-this-test.pem"
# As the image sets it, so that `podkey` is found.
IMAGE_PATH: Final = (
    f"{Path(sys.executable).parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)
END_SECONDS: Final = 30.0
START_SECONDS: Final = 30.0

# $0 is this checkout, $1 where the image's own files of /etc are, $2 whether the root is read-only; then
# groups of a source, a target and `ro` or `rw`, and behind `--` the program.
ENTER_SCRIPT: Final = """
checkout=$0 image=$1 readonly=$2; shift 2
stage=$(mktemp -d)
mount -t tmpfs -o mode=755 tmpfs "$stage"
cp -a /etc/. "$stage"
cp -a "$image/." "$stage"
mount --bind "$stage" /etc
mount -t tmpfs -o mode=755 tmpfs /run
kept=' '
while [ "$1" != -- ]; do
    mkdir -p "$2"
    mount --bind "$1" "$2"
    if [ "$3" = ro ]; then mount -o remount,bind,ro "$2"; fi
    kept="$kept$(readlink -f "$2") "
    shift 3
done
shift
case "$checkout" in
/tmp/*)  # it is part of the image, and would be hidden
    mkdir /run/checkout
    mount --bind "$checkout" /run/checkout
    mount -t tmpfs -o mode=1777 tmpfs /tmp
    mkdir -p "$checkout"
    mount --move /run/checkout "$checkout"
    rmdir /run/checkout
    ;;
*) mount -t tmpfs -o mode=1777 tmpfs /tmp ;;
esac
if [ "$readonly" = yes ]; then
    mount --bind / /  # so that it can be read-only here alone
    cd /
    while read -r _ target _; do
        case "$kept" in *" $target "*) continue ;; esac
        case "$target" in /proc|/proc/*|/sys|/sys/*|/dev|/dev/*) continue ;; esac
        mountpoint -q "$target" || continue  # something else lies over it
        mount -o remount,bind,ro "$target"
    done < /proc/self/mounts
fi
cd /
exec "$@"
"""

_REFERENCE: Final = re.compile(r"\$\$|\$\(([-._a-zA-Z][-._a-zA-Z0-9]*)\)")
_ANNOTATION: Final = re.compile(r"metadata\.annotations\['(.*)'\]").fullmatch


class HandKubelet:
    """`secrets` and `config_maps` are those of the pod's namespace, by name."""

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
        self.secrets = secrets
        self.config_maps = config_maps
        self.folder = pod.folder / "volumes"
        self.folder.mkdir()
        self.folder.chmod(0o755)
        self.volumes = {one["name"]: self._volume(one) for one in stored["spec"]["volumes"]}
        self.image = pod.folder / "image"
        (self.image / "ssl").mkdir(parents=True)
        (self.image / "ssl" / Path(UPSTREAM_CA).name).write_bytes(pod.authority.file.read_bytes())
        self.started: dict[str, subprocess.Popen[bytes]] = {}

    def container(self, name: str) -> Raw:
        spec = self.stored["spec"]
        found: Raw = next(
            c for c in (*spec.get("initContainers", ()), *spec["containers"]) if c["name"] == name
        )
        return found

    # --- volumes ---

    def _volume(self, volume: Raw) -> Path:
        folder = self.folder / volume["name"]
        if "emptyDir" in volume:
            folder.mkdir()
            folder.chmod(0o777)  # as the kubelet makes it
            return folder
        files = dict(self._files(volume))
        return KubeletVolume(folder, files).folder

    def _files(self, volume: Raw) -> Iterator[tuple[str, bytes]]:
        if source := volume.get("configMap"):
            yield from _shown(source, self.config_maps.get(source["name"]))
        elif source := volume.get("secret"):
            yield from _shown(source, self.secrets.get(source["secretName"]))
        elif source := volume.get("downwardAPI"):
            for item in source["items"]:
                yield item["path"], self._field(item["fieldRef"]["fieldPath"]).encode()
        else:
            for one in volume["projected"]["sources"]:
                if token := one.get("serviceAccountToken"):
                    yield token["path"], self.pod.new_token(token.get("audience", API_AUDIENCE))
                else:
                    yield from _shown(one["configMap"], self.config_maps.get(one["configMap"]["name"]))

    def _field(self, path: str) -> str:
        metadata = self.stored["metadata"]
        if annotation := _ANNOTATION(path):
            return str(metadata.get("annotations", {}).get(annotation[1], ""))
        if path == "metadata.labels":
            labels = sorted(metadata.get("labels", {}).items())
            return "\n".join(f"{key}={json.dumps(value)}" for key, value in labels)
        return {
            "metadata.namespace": NAMESPACE,
            "metadata.name": POD_NAME,
            "metadata.uid": POD_UID,
            "spec.serviceAccountName": ACCOUNT,
            "spec.nodeName": NODE,
            "status.podIP": POD_V4,
        }[path]

    # --- environments ---

    def environment(self, name: str) -> dict[str, str]:
        """Of a container, without what its image brings."""
        container = self.container(name)
        found: dict[str, str] = {}
        for entry in container.get("envFrom", ()):
            data = self.config_maps[entry["configMapRef"]["name"]]
            found |= {entry.get("prefix", "") + key: value.decode() for key, value in data.items()}
        for entry in container.get("env", ()):
            value_from = entry.get("valueFrom")
            if value_from:
                found[entry["name"]] = self._field(value_from["fieldRef"]["fieldPath"])
            else:
                found[entry["name"]] = _expanded(entry.get("value", ""), found)
        return found

    # --- containers ---

    def command(self, name: str, argv: Sequence[str]) -> list[str]:
        container = self.container(name)
        security = {**self.stored["spec"].get("securityContext", {}), **container.get("securityContext", {})}
        mounts: list[str] = []
        for mount in container.get("volumeMounts", ()):
            access = "ro" if mount.get("readOnly") else "rw"
            mounts += [str(self.volumes[mount["name"]]), mount["mountPath"], access]
        for path in (self.pod._hosts, self.pod._resolv_conf):
            (self.image / path.name).write_bytes(path.read_bytes())
        capabilities = security.get("capabilities", {})
        caps = ",".join(["-all", *(f"+{cap.lower()}" for cap in capabilities.get("add", ()))])
        uid, gid = security["runAsUser"], security.get("runAsGroup", security["runAsUser"])
        user = ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups"]
        user += [f"--inh-caps={caps}", f"--bounding-set={caps}"]
        if security.get("allowPrivilegeEscalation") is False:
            user.append("--no-new-privs")
        readonly = "yes" if security.get("readOnlyRootFilesystem") else "no"
        entered = [
            "sh",
            "-ec",
            ENTER_SCRIPT,
            str(netns.ROOT),
            str(self.image),
            readonly,
            *mounts,
            "--",
            *user,
            *argv,
        ]
        inner = netns.unlocked(["unshare", "--mount", *entered], ())
        return ["nsenter", f"--net={NAMESPACES / self.pod.network.pod}", *inner]

    def _environment(self, name: str, image: Mapping[str, str] | None = None) -> dict[str, str]:
        """The image's own variables first: the pod's win."""
        return {"PATH": IMAGE_PATH, "HOME": "/", **(image or {}), **self.environment(name)}

    def run_to_end(self, name: str) -> str:
        """An init container, which has to succeed. What it said."""
        done = self.exec(name, self.container(name)["command"])
        if done.returncode:
            raise AssertionError(f"{name} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def exec(
        self, name: str, argv: Sequence[str], image: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """A program in a container, with its environment; `image` are variables that the image sets."""
        done = subprocess.run(
            self.command(name, argv),
            env=self._environment(name, image),
            capture_output=True,
            text=True,
            timeout=END_SECONDS,
            check=False,
        )
        self.pod.canary.watch(done.stdout, f"standard output of {name}")
        self.pod.canary.watch(done.stderr, f"standard error of {name}")
        return done

    def log(self, name: str) -> str:
        return self.pod.canary.blot((self.pod.folder / f"{name}.log").read_text(errors="replace"))

    def start(self, name: str) -> None:
        log = self.pod.folder / f"{name}.log"
        with log.open("wb") as output:
            self.started[name] = subprocess.Popen(
                self.command(name, self.container(name)["command"]),
                env=self._environment(name),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.pod.canary.watch(log, f"the log of {name}")

    def wait_startup(self, name: str) -> None:
        """As the kubelet probes: from the node, at the pod's address."""

        def look() -> bool:
            if self.started[name].poll() is not None:
                raise AssertionError(f"{name} ended with {self.started[name].returncode}:\n{self.log(name)}")
            return self.probe(name, "startupProbe") == 200

        try:
            wait_for(look, f"the startupProbe of {name}", START_SECONDS)
        except AssertionError as error:
            error.add_note(self.log(name))
            raise

    def probe(self, name: str, kind: str) -> int:
        """The status; 0 where nobody answers."""
        asked = self.container(name)[kind]["httpGet"]

        def ask() -> int:
            connection = HTTPConnection(
                POD_V4, asked["port"], timeout=self.container(name)[kind]["timeoutSeconds"]
            )
            try:
                connection.request("GET", asked["path"])
                return connection.getresponse().status
            except OSError:
                return 0
            finally:
                connection.close()

        return in_namespace(self.pod.network.net, ask)

    def records(self, name: str) -> list[Raw]:
        """What it wrote to standard output: lines of the log, and of the audit trail."""
        lines = (self.pod.folder / f"{name}.log").read_text().splitlines(keepends=True)
        return [json.loads(one) for one in lines if one.startswith("{") and one.endswith("\n")]

    def wait_audit(self, name: str, wanted: Callable[[Raw], bool]) -> list[Raw]:
        return wait_for(
            lambda: [one for one in self.records(name) if "verdict" in one and wanted(one)], "an audit record"
        )

    def close(self) -> None:
        for process in self.started.values():
            process.terminate()
        for process in self.started.values():
            try:
                process.wait(END_SECONDS)
            finally:
                process.kill()
                process.wait()


def _shown(source: Raw, data: Mapping[str, bytes] | None) -> Iterator[tuple[str, bytes]]:
    """The items of a ConfigMap or a Secret, or all of it."""
    if data is None:
        if not source.get("optional"):
            raise AssertionError(f"there is no {source}: the kubelet would not start the pod")
        return
    items = source.get("items") or [{"key": key, "path": key} for key in data]
    for item in items:
        if item["key"] in data:
            yield item["path"], data[item["key"]]
        elif not source.get("optional"):
            raise AssertionError(f"there is no {item} in {source}: the kubelet would not start the pod")


def _expanded(value: str, known: Mapping[str, str]) -> str:
    """https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/"""

    def one(match: re.Match[str]) -> str:
        return "$" if match[1] is None else known.get(match[1], match[0])

    return _REFERENCE.sub(one, value)
