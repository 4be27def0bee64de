"""A pod without Kubernetes, with the real sidecar in it: `podkey run` as its own user, without a capability.

    def test_something(pod: SidecarPod, canary: Canary) -> None:
        pod.resolve("api.openai.com")                     # the name now means INTERNET_V4 and INTERNET_V6
        certificate = pod.upstream_certificate("api.openai.com")
        listener = pod.listen(443)                        # in the world outside of the pod: serve TLS there
        key = canary.secret("openai key")
        pod.start_sidecar(policy=POLICY, secrets={"openai": {"key": key.encode()}})
        done = pod.run_app(["curl", "-sS", "https://api.openai.com/v1/models"])
        assert done.stdout == …
        assert pod.sidecar.wait_audit(1)[0]["verdict"] == "attach"

The fixture `pod` is in `tests/integration/conftest.py`. The identity is `training/trainer`, pod `llama-0`.

Who is who: the sidecar is uid 1337, programs of `run_app` are uid 1000, `pod.dial` is root. All but the first
are captured. `pod.dial`, `pod.listen` and `in_namespace` make sockets of this test process inside a
namespace, so that servers and raw clients can be plain threads of the test.
"""

import contextlib
import functools
import itertools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from proxy.core.contract import (
    ADMIN_PORT,
    BUNDLE_FILE,
    CA_FILE,
    ENDPOINTS_FILE,
    EXPLICIT_PORT,
    PROXY_UID,
    TRANSPARENT_PORT,
)
from tests import netns
from tests.canary import Canary
from tests.kubelet_volume import KubeletVolume
from tests.netns import APP_UID, INTERNET_V4, INTERNET_V6, ROOT, PodNetwork, pod_network
from tests.upstream_authority import UpstreamAuthority, UpstreamCertificate

NAMESPACE: Final = "training"
ACCOUNT: Final = "trainer"
POD_NAME: Final = "llama-0"

# Far above what anything takes here; reached only when something hangs.
START_SECONDS: Final = 20.0
WAIT_SECONDS: Final = 10.0
STEP_SECONDS: Final = 0.01

ENTER_SCRIPT: Final = 'mount --bind "$1" /etc/hosts; mount --bind "$2" /etc/resolv.conf; shift 2; exec "$@"'
# Nothing listens there, so that a name that /etc/hosts lacks is unknown at once.
RESOLV_CONF: Final = "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n"

SDKS: Final = ("boto3", "botocore", "s3transfer", "httpx", "httpcore", "h2", "huggingface_hub", "openai")

CAPTURED: Final = "transparent"
EXPLICIT: Final = "explicit"

_SAMPLE: Final = re.compile(r"([A-Za-z_:][\w:]*)(?:\{(.*)\})? (\S+)").fullmatch
_LABEL: Final = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"').findall


def in_namespace[T](ns: str, work: Callable[[], T]) -> T:
    """Do something in a network namespace: sockets that it makes stay there."""
    outcome: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            with (netns.NAMESPACES / ns).open() as file:
                os.setns(file.fileno(), os.CLONE_NEWNET)
            outcome.append(work())
        except BaseException as error:  # noqa: BLE001 - raised in the caller's thread
            errors.append(error)

    # Only this thread moves, and it ends here.
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return outcome[0]


def wait_for[T](look: Callable[[], T], what: str, seconds: float = WAIT_SECONDS) -> T:
    """What `look` returns, as soon as it is true."""
    end = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds} s in vain for {what}")
        time.sleep(STEP_SECONDS)
    return found


# --- the sidecar ---------------------------------------------------------------------------------


class Sidecar:
    """A running `podkey run`."""

    def __init__(self, process: subprocess.Popen[bytes], network: PodNetwork, log: Path, audit: Path) -> None:
        self.process = process
        self.network = network
        self.log_file = log
        self.audit_file = audit

    @property
    def pid(self) -> int:
        return self.process.pid

    # --- what it writes ---

    def log(self) -> str:
        """Everything on standard output and standard error."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def log_lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log().splitlines(keepends=True) if _is_record(line)]

    def audit(self) -> list[dict[str, Any]]:
        if not self.audit_file.exists():
            return []
        text = self.audit_file.read_text()
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def wait_audit(self, count: int, seconds: float = WAIT_SECONDS) -> list[dict[str, Any]]:
        """The audit records, as soon as there are that many."""
        return wait_for(
            lambda: records if len(records := self.audit()) >= count else [],
            f"{count} audit records",
            seconds,
        )

    def wait_log(self, event: str, seconds: float = WAIT_SECONDS, count: int = 1) -> list[dict[str, Any]]:
        """The log lines of an event, as soon as there are that many."""

        def look() -> list[dict[str, Any]]:
            lines = [line for line in self.log_lines() if line["event"] == event]
            return lines if len(lines) >= count else []

        return wait_for(look, f"the log line {event!r}", seconds)

    # --- its admin port ---

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of a page of the admin port; status 0 while nobody listens."""
        try:
            sock = in_namespace(
                self.network.pod, lambda: socket.create_connection(("127.0.0.1", ADMIN_PORT), 5)
            )
        except OSError:
            return 0, ""
        with sock:
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            answer = b"".join(iter(functools.partial(sock.recv, 65_536), b"")).decode()
        head, _, body = answer.partition("\r\n\r\n")
        return int(head.split(" ", 2)[1]), body

    def metrics_text(self) -> str:
        return self.get("/metrics")[1]

    def metrics(self) -> dict[str, float]:
        """Samples by `name{labels}`, as they are written."""
        found = {}
        for line in self.metrics_text().splitlines():
            match = _SAMPLE(line)
            if match is not None:
                key = match[1] if match[2] is None else f"{match[1]}{{{match[2]}}}"
                found[key] = float(match[3])
        return found

    def metric(self, name: str, **labels: str) -> float:
        """The sum of all samples of this name that have these labels."""
        total = 0.0
        for key, value in self.metrics().items():
            found, _, rest = key.partition("{")
            if found == name and labels.items() <= dict(_LABEL(rest)).items():
                total += value
        return total

    # --- its memory ---

    def rss_bytes(self) -> int:
        return self._status("VmRSS")

    def peak_rss_bytes(self) -> int:
        return self._status("VmHWM")

    def status_text(self) -> str:
        """What the kernel says of it."""
        return Path(f"/proc/{self.pid}/status").read_text()

    def _status(self, field: str) -> int:
        for line in self.status_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
        raise KeyError(field)

    # --- its end ---

    def terminate(self) -> None:
        """SIGTERM: it drains."""
        self.process.send_signal(signal.SIGTERM)

    def wait(self, seconds: float = 30.0) -> int:
        """Its exit status."""
        return self.process.wait(seconds)

    def stop(self) -> int:
        self.terminate()
        return self.wait()

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def _is_record(line: str) -> bool:
    return line.startswith("{") and line.endswith("}\n")


# --- the pod -------------------------------------------------------------------------------------


class SidecarPod:
    """`network` names its two namespaces; `folder` holds everything else, and goes with the pod."""

    def __init__(self, network: PodNetwork, folder: Path, canary: Canary) -> None:
        self.network = network
        self.folder = folder
        self.canary = canary
        self.authority = UpstreamAuthority(folder / "upstream")
        # What the application's containers see.
        self.trust = _made(folder / "trust", PROXY_UID, 0o755)
        self.home = _made(folder / "app", APP_UID, 0o700)
        # What only the sidecar's container mounts.
        self.private = _made(folder / "sidecar", PROXY_UID, 0o700)
        self.state = _made(self.private / "state", PROXY_UID, 0o700)
        self.policy_folder = self.private / "policy"
        self.secrets_folder = _made(self.private / "secrets", PROXY_UID, 0o755)
        self.labels_file = self.private / "podinfo" / "labels"
        self.policy: KubeletVolume | None = None
        self.secrets: dict[str, KubeletVolume] = {}
        self.placeholders = _placeholders()
        self.capture = ""
        self._sidecars: list[Sidecar] = []
        self._apps: list[subprocess.Popen[bytes]] = []
        self._names: dict[str, tuple[str, ...]] = {}
        self._hosts = folder / "hosts"
        self._resolv_conf = folder / "resolv.conf"
        self._resolv_conf.write_text(RESOLV_CONF)
        self._write_hosts()
        self._count = itertools.count()

    # --- the world outside ---

    def resolve(self, *names: str, to: Sequence[str] = (INTERNET_V4, INTERNET_V6)) -> None:
        """From now on these names have these addresses, for the sidecar and for applications."""
        self._names |= dict.fromkeys(names, tuple(to))
        self._write_hosts()

    def _write_hosts(self) -> None:
        lines = ["127.0.0.1 localhost", "::1 localhost"]
        lines += [f"{address} {name}" for name, addresses in self._names.items() for address in addresses]
        # In place: it is mounted by its inode.
        self._hosts.write_text("\n".join([*lines, ""]))

    def upstream_certificate(
        self, *names: str, expired: bool = False, other_ca: bool = False
    ) -> UpstreamCertificate:
        """A certificate for these names, of the authority that the sidecar trusts unless `other_ca`."""
        return self.authority.certificate(*names, expired=expired, stranger=other_ca)

    def listen(self, port: int, host: str = INTERNET_V4) -> socket.socket:
        """A listening socket out there, of this process. The caller closes it."""

        def bind() -> socket.socket:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            return socket.create_server((host, port), family=family, backlog=4096)

        return in_namespace(self.network.net, bind)

    def dial(self, host: str, port: int, timeout: float = WAIT_SECONDS) -> socket.socket:
        """A connection from inside the pod, as root, which is captured like any other user."""
        return in_namespace(self.network.pod, lambda: socket.create_connection((host, port), timeout))

    # --- the sidecar ---

    @property
    def sidecar(self) -> Sidecar:
        return self._sidecars[-1]

    def write_policy(self, policy: str | Mapping[str, str]) -> None:
        """As the kubelet mounts and replaces a ConfigMap. A text is one file, `policy.yaml`."""
        texts = {"policy.yaml": policy} if isinstance(policy, str) else policy
        files = {name: text.encode() for name, text in texts.items()}
        if self.policy is None:
            self.policy = KubeletVolume(self.policy_folder, files)
        else:
            self.policy.swap(files)

    def write_secret(self, name: str, files: Mapping[str, bytes]) -> None:
        """As the kubelet mounts and replaces a Secret."""
        if name in self.secrets:
            self.secrets[name].swap(files)
        else:
            self.secrets[name] = KubeletVolume(self.secrets_folder / name, files)

    def write_labels(self, labels: Mapping[str, str]) -> None:
        """The downward API's file. Written before the sidecar starts it is one of its settings."""
        self.labels_file.parent.mkdir(exist_ok=True)
        text = "\n".join(f'{name}="{value}"' for name, value in labels.items())
        new = self.labels_file.with_suffix(".new")
        new.write_text(text)
        new.rename(self.labels_file)

    def start_sidecar(
        self,
        policy: str | Mapping[str, str] | None = None,
        secrets: Mapping[str, Mapping[str, bytes]] | None = None,
        capture: str = CAPTURED,
        *,
        ready: bool = True,
        **settings: str,
    ) -> Sidecar:
        """Start it, load the redirect where `capture` has `transparent`, and wait until it is ready.

        `settings`: the names of `PODKEY_…` in lower case without that prefix, such as `drain_timeout="5s"`.
        A second start (after the first ended) keeps policy, secrets and state where nothing new is given.
        """
        warm_up()
        if policy is not None:
            self.write_policy(policy)
        for name, files in (secrets or {}).items():
            self.write_secret(name, files)
        number = next(self._count)
        audit = self.private / f"audit-{number}.jsonl"
        log = self.folder / f"log-{number}.jsonl"
        environment = self._environment(capture, audit) | {
            f"PODKEY_{name.upper()}": value for name, value in settings.items()
        }
        with log.open("wb") as output:
            process = subprocess.Popen(
                self._command([sys.executable, "-O", "-m", "proxy", "run"], PROXY_UID, caps=()),
                env=netns._environment({"HOME": str(self.state), **environment}),
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        sidecar = Sidecar(process, self.network, log, audit)
        self._sidecars.append(sidecar)
        self.canary.watch(log, "the sidecar's log")
        self.canary.watch(audit, "the sidecar's audit trail")
        self.canary.watch(self.trust, "the trust folder")
        if CAPTURED in capture.split(",") and self.capture != capture:
            self.redirect("apply")
        self.capture = capture
        if ready:
            self.wait_ready()
        return sidecar

    def _environment(self, capture: str, audit: Path) -> dict[str, str]:
        placeholders = self.private / "placeholders.env"
        placeholders.write_text("".join(f"{name}={value}\n" for name, value in self.placeholders.items()))
        variables = {
            "PODKEY_CAPTURE": capture,
            "PODKEY_NAMESPACE": NAMESPACE,
            "PODKEY_SERVICE_ACCOUNT": ACCOUNT,
            "PODKEY_POD_NAME": POD_NAME,
            "PODKEY_POLICY_DIR": str(self.policy_folder),
            "PODKEY_SECRETS_DIR": str(self.secrets_folder),
            "PODKEY_STATE_DIR": str(self.state),
            "PODKEY_TRUST_DIR": str(self.trust),
            "PODKEY_PLACEHOLDERS_FILE": str(placeholders),
            "PODKEY_UPSTREAM_CA_FILES": str(self.authority.file),
            "PODKEY_AUDIT_FILE": str(audit),
        }
        if self.labels_file.exists():
            variables["PODKEY_LABELS_FILE"] = str(self.labels_file)
        return variables

    def wait_ready(self) -> None:
        sidecar = self.sidecar

        def look() -> bool:
            if sidecar.process.poll() is not None:
                status = sidecar.process.returncode
                raise AssertionError(f"the sidecar ended with {status}:\n{self._shown(sidecar)}")
            return sidecar.get("/readyz")[0] == 200

        try:
            wait_for(look, "the sidecar to be ready", START_SECONDS)
        except AssertionError as error:
            error.add_note(self._shown(sidecar))
            raise

    def _shown(self, sidecar: Sidecar) -> str:
        return self.canary.blot(sidecar.log())

    def redirect(self, *arguments: str) -> str:
        """Run `podkey redirect …` as root that has the capability NET_ADMIN and no other."""
        done = self._run(
            self._command([sys.executable, "-m", "proxy", "redirect", *arguments], 0, caps=("net_admin",)),
            {},
            cwd=ROOT,
            timeout=30,
        )
        if done.returncode:
            raise AssertionError(f"podkey redirect {arguments}: {done.stdout}{done.stderr}")
        return done.stdout

    # --- applications ---

    @property
    def ca(self) -> Path:
        return self.trust / CA_FILE

    @property
    def bundle(self) -> Path:
        return self.trust / BUNDLE_FILE

    def endpoints(self) -> dict[str, str]:
        """The variables of `endpoints.env`."""
        lines = (self.trust / ENDPOINTS_FILE).read_text().splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))

    def app_environment(self, changes: Mapping[str, str | None] | None = None) -> dict[str, str]:
        """What the injector gives to a container; None takes a variable away."""
        bundle = str(self.bundle)
        variables: dict[str, str | None] = {
            "HOME": str(self.home),
            "SSL_CERT_FILE": bundle,
            "REQUESTS_CA_BUNDLE": bundle,
            "CURL_CA_BUNDLE": bundle,
            "AWS_CA_BUNDLE": bundle,
            "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": bundle,
            "NODE_EXTRA_CA_CERTS": str(self.ca),
            "GIT_SSL_CAINFO": bundle,
            "AWS_DEFAULT_REGION": "eu-west-1",
            "PYTHONWARNINGS": "error",
            **self.placeholders,
        }
        if EXPLICIT in self.capture.split(","):
            proxy = f"http://127.0.0.1:{EXPLICIT_PORT}"
            # curl reads http_proxy in lower case only: a CGI program's environment holds the other one.
            variables |= {"HTTPS_PROXY": proxy, "http_proxy": proxy, "NO_PROXY": "127.0.0.1,localhost"}
        variables |= changes or {}
        return {name: value for name, value in variables.items() if value is not None}

    def run_app(
        self,
        program: Sequence[str] | str,
        *arguments: str,
        env: Mapping[str, str | None] | None = None,
        uid: int = APP_UID,
        timeout: float = 30.0,
        stdin: bytes = b"",
    ) -> subprocess.CompletedProcess[str]:
        """Run a program of the application to its end. A text is Python, with this virtual environment.

        It has what the injector gives to a container: placeholders and trust variables (`HTTPS_PROXY` where
        the capture is explicit); `env` changes that. What it prints is searched for canaries.
        """
        if isinstance(program, str):
            warm_up_sdks()
        whole = self._command(_argv(program, arguments), uid)
        done = self._run(whole, self.app_environment(env), cwd=self.home, timeout=timeout, stdin=stdin)
        self.canary.watch(done.stdout, "an application's standard output")
        self.canary.watch(done.stderr, "an application's standard error")
        return done

    def start_app(
        self,
        program: Sequence[str] | str,
        *arguments: str,
        env: Mapping[str, str | None] | None = None,
        uid: int = APP_UID,
    ) -> subprocess.Popen[bytes]:
        """The same, not waited for. Standard input and output are pipes; errors go to a file."""
        errors = self.folder / f"app-{next(self._count)}.err"
        with errors.open("wb") as stream:
            process = subprocess.Popen(
                self._command(_argv(program, arguments), uid),
                env=netns._environment(self.app_environment(env)),
                cwd=self.home,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stream,
            )
        self._apps.append(process)
        self.canary.watch(errors, "an application's standard error")
        return process

    def _command(self, argv: Sequence[str], uid: int, caps: Sequence[str] | None = None) -> list[str]:
        inner = netns.unlocked(netns.command(argv, ns=self.network.pod, uid=uid, caps=caps), ())
        mounts = [str(self._hosts), str(self._resolv_conf)]
        return ["unshare", "--mount", "sh", "-ec", ENTER_SCRIPT, "sh", *mounts, *inner]

    @staticmethod
    def _run(
        whole: Sequence[str], env: Mapping[str, str], *, cwd: Path, timeout: float, stdin: bytes = b""
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            whole,
            env=netns._environment(env),
            cwd=cwd,
            timeout=timeout,
            input=stdin,
            capture_output=True,
            check=False,
        )
        out, err = (stream.decode(errors="backslashreplace") for stream in (done.stdout, done.stderr))
        return subprocess.CompletedProcess(done.args, done.returncode, out, err)

    # --- the end ---

    def close(self) -> None:
        if self._sidecars:
            self.canary.search(self.sidecar.metrics_text(), "the sidecar's metrics")
        for process in self._apps:
            if process.poll() is None:
                process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    with contextlib.suppress(BrokenPipeError):
                        stream.close()
        for sidecar in self._sidecars:
            sidecar.kill()
        self.canary.findings()  # the files are about to go
        shutil.rmtree(self.folder)


@contextmanager
def sidecar_pod(canary: Canary, *, v6: bool = True, internet: Sequence[str] = ()) -> Iterator[SidecarPod]:
    """For a fixture of a module together with `shared_canary`; tests with a pod of their own use `pod`."""
    folder = Path(tempfile.mkdtemp(prefix="podkey-pod-"))
    folder.chmod(0o755)
    with pod_network(v6=v6, internet=internet) as network:
        pod = SidecarPod(network, folder, canary)
        try:
            yield pod
        finally:
            pod.close()


@functools.cache
def warm_up() -> None:
    """The sidecar's user cannot keep bytecode of `python -O` in the checkout; root can, once for all."""
    subprocess.run(
        [sys.executable, "-O", "-c", "import proxy.cli.run, proxy.edge.assembly, proxy.cli.redirect"],
        cwd=ROOT,
        env={key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"},
        check=True,
    )


@functools.cache
def warm_up_sdks() -> None:
    """Applications may not write into the virtual environment either, and SDKs are large."""
    folders = [
        Path(sys.prefix, "lib", f"python{sys.version_info[0]}.{sys.version_info[1]}", "site-packages", name)
        for name in SDKS
    ]
    compileall = [sys.executable, "-m", "compileall", "-q", *map(str, filter(Path.is_dir, folders))]
    subprocess.run(compileall, check=True)


def _argv(program: Sequence[str] | str, arguments: Sequence[str]) -> list[str]:
    if isinstance(program, str):
        return [sys.executable, "-c", program, *arguments]
    return [*program, *arguments]


def _made(folder: Path, owner: int, mode: int) -> Path:
    folder.mkdir()
    folder.chmod(mode)
    os.chown(folder, owner, owner)
    return folder


def _placeholders() -> dict[str, str]:
    """In the shapes of the catalogue, random for each pod."""
    return {
        "OPENAI_API_KEY": f"sk-podkey-{os.urandom(16).hex()}",
        "ANTHROPIC_API_KEY": f"sk-ant-podkey-{os.urandom(16).hex()}",
        "HF_TOKEN": f"hf_podkey{os.urandom(14).hex()}",
        "AWS_ACCESS_KEY_ID": f"PODKEY{os.urandom(7).hex().upper()}",
        "AWS_SECRET_ACCESS_KEY": f"podkey{os.urandom(17).hex()}",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


__all__ = [
    "ACCOUNT",
    "NAMESPACE",
    "POD_NAME",
    "TRANSPARENT_PORT",
    "Sidecar",
    "SidecarPod",
    "in_namespace",
    "sidecar_pod",
    "wait_for",
]
