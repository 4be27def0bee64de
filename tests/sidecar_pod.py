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

import itertools
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from injector.core.settings import PodRules
from injector.craft.environment import PROXY_URL, no_proxy
from injector.craft.placeholders import draw
from injector.craft.trust_variables import TRUST_VARIABLES
from injector.edge.chance import Chance
from proxy.core.contract import (
    BUNDLE_FILE,
    CA_FILE,
    ENDPOINTS_FILE,
    IDENTITY_AUDIENCE,
    PROXY_UID,
    TRUST_DIR,
    token_file,
)
from proxy.services.loader import built_in_catalogue
from tests import netns
from tests.canary import Canary
from tests.kubelet_volume import KubeletVolume
from tests.netns import APP_UID, INTERNET_V4, INTERNET_V6, ROOT, PodNetwork, pod_network
from tests.pod_tokens import TokenIssuer, jwks
from tests.sidecar_process import WAIT_SECONDS, Sidecar, in_namespace, wait_for
from tests.upstream_authority import UpstreamAuthority, UpstreamCertificate
from tests.warm_up import warm_up_sdks, warm_up_sidecar

NAMESPACE: Final = "training"
ACCOUNT: Final = "trainer"
POD_NAME: Final = "llama-0"
POD_UID: Final = "5b0c7c3e-8f5e-4d0f-9a55-0c6a3d1f2b77"
NODE: Final = "gpu-1"

# Far above what anything takes here; reached only when something hangs.
START_SECONDS: Final = 20.0

ENTER_SCRIPT: Final = 'mount --bind "$1" /etc/hosts; mount --bind "$2" /etc/resolv.conf; shift 2; exec "$@"'
# Nothing listens there, so that a name that /etc/hosts lacks is unknown at once.
RESOLV_CONF: Final = "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n"

CAPTURED: Final = "transparent"
EXPLICIT: Final = "explicit"

# Whose placeholders the application has; AWS's services share those of S3.
SERVICES: Final = ("openai", "anthropic", "huggingface", "s3")
PROXY_VARIABLES: Final = {
    **dict.fromkeys(("HTTPS_PROXY", "https_proxy", "http_proxy"), PROXY_URL),
    **dict.fromkeys(("NO_PROXY", "no_proxy"), no_proxy(PodRules())),
}


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
        # The cluster's issuer, and its keys as a file.
        self.issuer = TokenIssuer()
        self.jwks_file = self.private / "jwks.json"
        self.jwks_file.write_bytes(jwks(self.issuer))
        self.tokens = KubeletVolume(self.private / "tokens", {IDENTITY_AUDIENCE: self.new_token()})
        self.policy: KubeletVolume | None = None
        self.secrets: dict[str, KubeletVolume] = {}
        catalogue = built_in_catalogue()
        self.placeholders = dict(draw((catalogue[name] for name in SERVICES), Chance()))
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
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return in_namespace(self.network.net, lambda: socket.create_server((host, port), family=family))

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

    def new_token(self, audience: str = IDENTITY_AUDIENCE, **who: Any) -> bytes:
        """A token of this pod as of now, for `tokens.swap`; `who` is what `TokenIssuer.claims` takes."""
        this = {"namespace": NAMESPACE, "account": ACCOUNT, "pod": POD_NAME, "uid": POD_UID, "node": NODE}
        return self.issuer.token(datetime.now(UTC), audience, **{**this, **who})

    def write_tokens(self, by_audience: Mapping[str, bytes]) -> None:
        """As the kubelet renews a volume of projected tokens: a new one for us, and these for others."""
        others = {token_file(audience): token for audience, token in by_audience.items()}
        self.tokens.swap({IDENTITY_AUDIENCE: self.new_token(), **others})

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
        warm_up_sidecar()
        if policy is not None:
            self.write_policy(policy)
        for name, files in (secrets or {}).items():
            self.write_secret(name, files)
        number = next(self._count)
        audit = self.private / f"audit-{number}.jsonl"
        log = self.folder / f"log-{number}.jsonl"
        changes = {f"PODKEY_{name.upper()}": value for name, value in settings.items()}
        environment = {"HOME": str(self.state), **self._environment(capture, audit), **changes}
        with log.open("wb") as output:
            process = subprocess.Popen(
                self._command([sys.executable, "-O", "-m", "proxy", "run"], PROXY_UID, caps=()),
                env=netns._environment(environment),
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
            "PODKEY_POD_UID": POD_UID,
            "PODKEY_NODE_NAME": NODE,
            "PODKEY_ISSUER": self.issuer.issuer,
            "PODKEY_JWKS_FILE": str(self.jwks_file),
            "PODKEY_TOKENS_DIR": str(self.tokens.folder),
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
        variables: dict[str, str | None] = {
            "HOME": str(self.home),
            "AWS_DEFAULT_REGION": "eu-west-1",
            "PYTHONWARNINGS": "error",
            **{name: at.replace(TRUST_DIR, str(self.trust)) for name, at in TRUST_VARIABLES.items()},
            **self.placeholders,
        }
        if EXPLICIT in self.capture.split(","):
            variables |= PROXY_VARIABLES
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
        """Last things first; each happens whatever became of the others."""
        with ExitStack() as last:
            last.callback(self.canary.findings)  # the files are about to go
            for sidecar in self._sidecars:
                last.callback(sidecar.kill)
            for process in self._apps:
                last.callback(_end, process)
            if self._sidecars and self.sidecar.process.poll() is None:
                self.canary.search(self.sidecar.metrics_text(), "the sidecar's metrics")


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with suppress(BrokenPipeError):
                stream.close()


@contextmanager
def sidecar_pod(canary: Canary, *, v6: bool = True, internet: Sequence[str] = ()) -> Iterator[SidecarPod]:
    """For a fixture of a module together with `shared_canary`; tests with a pod of their own use `pod`."""
    with ExitStack() as last:
        folder = Path(tempfile.mkdtemp(prefix="podkey-pod-"))
        last.callback(shutil.rmtree, folder)
        folder.chmod(0o755)
        network = last.enter_context(pod_network(v6=v6, internet=internet))
        pod = SidecarPod(network, folder, canary)
        last.callback(pod.close)
        yield pod


def _argv(program: Sequence[str] | str, arguments: Sequence[str]) -> list[str]:
    if isinstance(program, str):
        return [sys.executable, "-c", program, *arguments]
    return [*program, *arguments]


def _made(folder: Path, owner: int, mode: int) -> Path:
    folder.mkdir()
    folder.chmod(mode)
    os.chown(folder, owner, owner)
    return folder


__all__ = [
    "ACCOUNT",
    "NAMESPACE",
    "POD_NAME",
    "Sidecar",
    "SidecarPod",
    "in_namespace",
    "sidecar_pod",
    "wait_for",
]
