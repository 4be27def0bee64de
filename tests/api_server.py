"""A real Kubernetes API server with its etcd and, unless told otherwise, its controllers. No kubelet.

    with kubernetes(folder) as server:
        namespace = server.new_namespace(labels={"podkey.io/inject": "enabled"})
        job = server.admin.create({...}, namespace).object       # tests/api_server_client.py
        pods = server.admin.wait_items("v1/pods", namespace=namespace)
        subprocess.run(["kubectl", "--kubeconfig", server.kubeconfig, ...])

.ci/api-server makes it: Kubernetes 1.20.2, the newest whose servers Debian has as source. So it is an *old*
server: what a webhook gets and may answer, reinvocation, TLS and caBundle, failurePolicy, time-outs, RBAC,
CRDs, tokens and their audiences are real. What came later is not there: an init container's `restartPolicy`
and a webhook's `matchConditions` (both dropped without a word), ValidatingAdmissionPolicy, ephemeral
containers (off), the job-tracking finalizer, strict field validation, batch/v1 CronJob and policy/v1.

Every server has a /24 of 127.0.0.0/8 to itself, from which its Services get their addresses too. So a Service
whose `clusterIP` is `server.service_address(10)` leads a webhook's `clientConfig.service` there.
"""

import base64
import http.client
import json
import os
import random
import secrets
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Final

from tests.api_server_client import Answer, ApiClient, Object
from tests.api_server_keys import ClusterKeys, private
from tests.sidecar_process import wait_for

# Made by .ci/api-server.
HOME: Final = Path(
    os.environ.get("PODKEY_API_SERVER")
    or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "podkey", "api-server")
)
MISSING: Final = (
    "" if (HOME / ".installed").is_file() else "there is no Kubernetes API server: run .ci/api-server"
)
VERSION: Final = "1.20.2"

ISSUER: Final = "https://kubernetes.default.svc.cluster.local"
# Far above the 5 s that it takes; a busy machine starts several of them at a time.
READY_SECONDS: Final = 120.0
# What etcd writes ahead, twice, and some data: room that a folder in memory must have.
ROOM: Final = 1024**3
MEMORY: Final = Path("/dev/shm")

# Where each of them listens, on the server's own address.
API, ETCD, PEER = 6443, 2379, 2380

# With it pods get the projected `kube-api-access-*` volume that every newer server adds, and not a Secret.
FEATURES: Final = "BoundServiceAccountTokenVolume=true"
NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


class ApiServer:
    """`admin` may do everything (system:masters); `folder` keeps the logs."""

    def __init__(self, folder: Path, data: Path, *, controllers: bool, arguments: Sequence[str]) -> None:
        self.folder = folder
        self.has_controllers = controllers
        self._data = data
        self._arguments = arguments
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._net = _free_net()
        self.address = self.service_address(1)
        self.url = f"https://{self.address}:{API}"
        folder.mkdir()
        self.keys = ClusterKeys(folder / "keys", self.address, "kubernetes.default.svc")
        self.ca_file = self.keys.file
        self.admin = self.client("admin", "system:masters")
        self.kubeconfig = self._kubeconfig("admin", self.keys.user("admin", "system:masters"))

    def service_address(self, number: int) -> str:
        """Of the addresses that its Services may have, and that a test may listen on; 1 is its own."""
        return f"{self._net}.{number}"

    # --- who asks ---

    def client(self, user: str, *groups: str) -> ApiClient:
        """With a client certificate of this name and these groups."""
        trust = ssl.create_default_context(cafile=self.ca_file)
        trust.load_cert_chain(self.keys.user(user, *groups))
        return ApiClient((self.address, API), trust)

    def client_of(self, namespace: str, account: str) -> ApiClient:
        """With a token of a service account."""
        trust = ssl.create_default_context(cafile=self.ca_file)
        bearer = ("Authorization", f"Bearer {self.token(namespace, account)}")
        return ApiClient((self.address, API), trust, [bearer])

    def anonymous(self) -> ApiClient:
        return ApiClient((self.address, API), ssl.create_default_context(cafile=self.ca_file))

    def token(
        self,
        namespace: str,
        account: str,
        *,
        audiences: Sequence[str] = (),
        seconds: int = 3600,
        pod: str = "",
    ) -> str:
        """Through TokenRequest; bound to a pod where one is named, as a kubelet asks for them."""
        spec: Object = {"audiences": list(audiences), "expirationSeconds": seconds}
        if pod:
            spec["boundObjectRef"] = {"apiVersion": "v1", "kind": "Pod", "name": pod}
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        return str(self.admin.call("POST", path, request).object["status"]["token"])

    def kubeconfig_for(self, namespace: str, account: str) -> Path:
        name = f"{namespace}-{account}"
        return self._kubeconfig(name, {"token": self.token(namespace, account)}, namespace)

    def _kubeconfig(self, name: str, user: Mapping[str, str] | Path, namespace: str = "default") -> Path:
        if isinstance(user, Path):
            user = {"client-certificate": str(user), "client-key": str(user)}
        cluster = {"server": self.url, "certificate-authority": str(self.ca_file)}
        context = {"cluster": "here", "user": name, "namespace": namespace}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "here", "cluster": cluster}],
            "users": [{"name": name, "user": dict(user)}],
            "contexts": [{"name": "here", "context": context}],
            "current-context": "here",
        }
        # JSON is YAML, and a token in it is nobody else's.
        return private(self.folder / f"{name}.kubeconfig", json.dumps(config).encode())

    # --- a place for a test ---

    def new_namespace(self, prefix: str = "team", labels: Mapping[str, str] = NOTHING) -> str:
        """Of its own name, and with the service account that pods of it need."""
        name = f"{prefix}-{secrets.token_hex(3)}"
        metadata = {"name": name, "labels": dict(labels)}
        assert self.admin.create({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}).object
        if not self.has_controllers:
            assert self.new_account(name, "default").ok
        wait_for(
            lambda: self.admin.get("v1/serviceaccounts", "default", namespace=name).ok,
            f"accounts of {name}",
            30,
        )
        return name

    def new_account(self, namespace: str, name: str) -> Answer:
        return self.admin.create(
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}, namespace
        )

    # --- its life ---

    @contextmanager
    def down(self) -> Iterator[None]:
        """An outage: nobody listens, connections are cut, the data stays."""
        self._end("kube-apiserver")
        try:
            yield
        finally:
            self._start_api()

    def compact(self) -> None:
        """Forget all history. A watch that goes on from an old version gets 410 after the next outage."""
        now = self._ask_etcd("range", {"key": base64.b64encode(b"/").decode()})["header"]["revision"]
        self._ask_etcd("compaction", {"revision": now, "physical": True})

    def _ask_etcd(self, what: str, asked: Object) -> Object:
        connection = http.client.HTTPConnection(self.address, ETCD, timeout=READY_SECONDS)
        try:
            connection.request("POST", f"/v3/kv/{what}", json.dumps(asked))
            answer: Object = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        assert "header" in answer, answer
        return answer

    def log(self, program: str = "kube-apiserver") -> str:
        file = self.folder / f"{program}.log"
        return file.read_text(errors="replace") if file.exists() else ""

    def start(self) -> None:
        self._start_etcd()
        self._start_api()
        if self.has_controllers:
            self._start_controllers()

    def stop(self) -> None:
        """At once: nothing of it is kept."""
        for program in reversed(list(self._running)):
            self._end(program)

    def _start_etcd(self) -> None:
        here, peer = f"http://{self.address}:{ETCD}", f"http://{self.address}:{PEER}"
        self._run(
            "etcd",
            f"--data-dir={self._data}",
            "--unsafe-no-fsync",
            f"--listen-client-urls={here}",
            f"--advertise-client-urls={here}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
        )

    def _start_api(self) -> None:
        self._run(
            "kube-apiserver",
            f"--etcd-servers=http://{self.address}:{ETCD}",
            f"--bind-address={self.address}",
            f"--secure-port={API}",
            # Told to pods only, and there are none: an address for documentation (RFC 5737).
            "--advertise-address=192.0.2.1",
            "--endpoint-reconciler-type=none",
            f"--service-cluster-ip-range={self.service_address(0)}/24",
            f"--tls-cert-file={self.keys.serving}",
            f"--tls-private-key-file={self.keys.serving}",
            f"--client-ca-file={self.keys.file}",
            f"--service-account-issuer={ISSUER}",
            f"--service-account-key-file={self.keys.accounts}",
            f"--service-account-signing-key-file={self.keys.accounts}",
            "--authorization-mode=RBAC",
            "--allow-privileged=true",
            f"--feature-gates={FEATURES}",
            *self._arguments,
        )
        client = self.anonymous()
        self._wait("kube-apiserver", lambda: client.call("GET", "/readyz").ok)

    def _start_controllers(self) -> None:
        self._run(
            "kube-controller-manager",
            f"--kubeconfig={self.kubeconfig}",
            "--port=0",
            "--secure-port=0",
            "--leader-elect=false",
            "--use-service-account-credentials=true",
            f"--service-account-private-key-file={self.keys.accounts}",
            f"--root-ca-file={self.keys.file}",
            f"--feature-gates={FEATURES}",
            # Its own default of 20 a second is made for clusters that others use too.
            "--kube-api-qps=500",
            "--kube-api-burst=500",
        )
        accounts = "v1/serviceaccounts"
        self._wait(
            "kube-controller-manager", lambda: self.admin.get(accounts, "default", namespace="default").ok
        )

    def _run(self, program: str, *arguments: str) -> None:
        # Should the test's own process be killed, these end with it.
        apart = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        with (self.folder / f"{program}.log").open("ab") as log:
            self._running[program] = subprocess.Popen(
                [*apart, HOME / "bin" / program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                # No proxy of the machine's stands between it and a webhook. GOGC: its start is mostly
                # garbage, and with less collecting of it takes a sixth less time, for some 200 MB.
                env={"PATH": os.defpath, "HOME": str(self.folder), "GOGC": "400"},
            )

    def _end(self, program: str) -> None:
        process = self._running.pop(program)
        process.kill()
        process.wait()

    def _wait(self, program: str, look: Callable[[], bool]) -> None:
        """Until it answers; with the log, should it have ended."""
        deadline = time.monotonic() + READY_SECONDS
        while not _holds(look):
            ended = [name for name, process in self._running.items() if process.poll() is not None]
            if ended or time.monotonic() > deadline:
                log = "".join(self.log(ended[0] if ended else program).splitlines(keepends=True)[-40:])
                raise AssertionError(f"{program} did not become ready; ended: {ended}\n{log}")
            time.sleep(0.02)


@contextmanager
def kubernetes(
    folder: Path, *, controllers: bool = True, arguments: Sequence[str] = ()
) -> Iterator[ApiServer]:
    """`folder` gets logs, keys and kubeconfigs; `arguments` are further flags of kube-apiserver."""
    with tempfile.TemporaryDirectory(prefix="podkey-etcd-", dir=_place(), ignore_cleanup_errors=True) as data:
        server = ApiServer(folder, Path(data), controllers=controllers, arguments=arguments)
        try:
            server.start()
            yield server
        finally:
            server.stop()


def _holds(look: Callable[[], bool]) -> bool:
    try:
        return look()
    except OSError:
        return False


def _place() -> Path | None:
    try:
        return MEMORY if shutil.disk_usage(MEMORY).free > ROOM else None
    except OSError:
        return None


def _free_net() -> str:
    """The first three numbers of a /24 in which nobody listens where we shall: no port has to be guessed."""
    dice = random.SystemRandom()
    while True:
        # The low ones are where people listen by hand.
        net = f"127.{dice.randrange(64, 255)}.{dice.randrange(256)}"
        try:
            with socket.create_server((f"{net}.1", API)), socket.create_server((f"{net}.1", ETCD)):
                return net
        except OSError:
            continue
