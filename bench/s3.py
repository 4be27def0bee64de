"""What S3 in bulk costs: CPU of the sidecar per GiB, its peak of memory, and the rate, beside a plain relay.

A multipart upload with eight parts in flight and a download in eight ranges, in one run: relayed (what any
proxy must do, and no more), and signed anew. The sidecar's keys change twice during each upload. Store and
client are programs of their own, and cheap; then the same with a real store, whose pace says little of ours.
"""

import argparse
import http.client
import json
import secrets
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.kubelet_volume import KubeletVolume
from tests.pod_tokens import TokenIssuer, jwks
from tests.s3_signer import Keys, Mode, Signer
from tests.swift_server import MISSING as NO_SWIFT
from tests.swift_server import Front, Swift, swift
from tests.upstream_authority import UpstreamAuthority

ROOT = Path(__file__).parents[1]
MIB = 1 << 20
GIB = 1 << 30
PART = 16 * MIB
IN_FLIGHT = 8
PIECE = 256 * 1024
BUCKET, KEY = "bench", "checkpoint"
REGION = "us-east-1"
READY_SECONDS = 30.0
RESULTS = Path(__file__).parent / "results"

POLICY = """
apiVersion: podkey.io/v1alpha1
kind: AccessPolicy
metadata: {name: bench, namespace: bench}
spec:
  workloads: {serviceAccounts: [bench]}
  grants:
    - {service: s3, endpoint: "localhost:PORT", buckets: [bench], access: [read, write, list], credential: s3}
---
apiVersion: podkey.io/v1alpha1
kind: CredentialSource
metadata: {name: s3, namespace: bench}
spec:
  mountedSecret: {secretName: s3, keys: {accessKeyId: id, secretAccessKey: secret, sessionToken: token}}
"""


# --- the store that costs nothing ----------------------------------------------------------------------


class Sink:
    """It takes all, keeps nothing, gives zeros, and tells with whose keys it was asked."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate, key)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._keys: set[str] = set()
        self._bytes = 0

    def serve(self) -> None:
        print(self._listener.getsockname()[1], flush=True)
        while True:
            sock, _ = self._listener.accept()
            threading.Thread(target=self._talk, args=(sock,), daemon=True).start()

    def _talk(self, plain: socket.socket) -> None:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        buffer = memoryview(bytearray(PIECE))
        zeros = bytes(PIECE)
        try:
            with self._context.wrap_socket(plain, server_side=True) as sock:
                held = b""
                while True:
                    while b"\r\n\r\n" not in held:
                        more = sock.recv(PIECE)
                        if not more:
                            return
                        held += more
                    head, _, held = held.partition(b"\r\n\r\n")
                    held = self._answer(sock, head.decode("latin-1"), held, buffer, zeros)
        except OSError:
            return

    def _answer(self, sock: ssl.SSLSocket, head: str, held: bytes, buffer: memoryview, zeros: bytes) -> bytes:
        first, *lines = head.split("\r\n")
        method, target, _ = first.split(" ")
        fields = {name.lower(): text.strip() for name, _, text in (line.partition(":") for line in lines)}
        if "Credential=" in fields.get("authorization", ""):
            self._keys.add(fields["authorization"].partition("Credential=")[2].partition("/")[0])
        left = int(fields.get("content-length", "0"))
        taken = min(left, len(held))
        held, left = held[taken:], left - taken
        self._bytes += left + taken
        while left:
            left -= sock.recv_into(buffer[: min(left, PIECE)])
        if method == "GET" and "range" in fields:
            begin, _, end = fields["range"].removeprefix("bytes=").partition("-")
            size = int(end) - int(begin) + 1
            sock.sendall(f"HTTP/1.1 206 P\r\ncontent-type: b/o\r\ncontent-length: {size}\r\n\r\n".encode())
            while size:
                sock.sendall(zeros[: min(size, PIECE)])
                size -= min(size, PIECE)
            return held
        told = json.dumps(sorted(self._keys)) if target == "/told" else "<UploadId>1</UploadId>"
        sock.sendall(f'HTTP/1.1 200 OK\r\netag: "1"\r\ncontent-length: {len(told)}\r\n\r\n{told}'.encode())
        return held


# --- the client ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Job:
    """What the client is told. `keys`: the placeholders, or, past the relay, what the store itself takes."""

    proxy: int
    host: str
    port: int
    trust: str
    access_key_id: str
    secret_access_key: str
    mode: str
    size: int
    download: bool


class Client:
    """Raw and threaded: bodies are made once, so that most of what it does is to send."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._host = f"{job.host}:{job.port}"
        self._signer = Signer(Keys(job.access_key_id, job.secret_access_key), REGION)
        self._context = ssl.create_default_context(cafile=job.trust)
        self._part = secrets.token_bytes(MIB) * (PART // MIB)
        self._etags: dict[int, str] = {}

    def run(self) -> None:
        path = f"/{BUCKET}/{KEY}"
        sock = self._connect()
        upload = ""
        if not self._job.download:
            told = self._call(sock, "POST", f"{path}?uploads")[1].decode()
            upload = told.partition("<UploadId>")[2].partition("<")[0]
        work = iter(range(self._job.size // PART))
        lock = threading.Lock()
        failures: list[BaseException] = []

        def worker() -> None:
            try:
                connection = self._connect()
                while True:
                    with lock:
                        number = next(work, None)
                    if number is None or failures:
                        return
                    if self._job.download:
                        self._get(connection, path, number)
                    else:
                        self._put(connection, f"{path}?partNumber={number + 1}&uploadId={upload}", number + 1)
            except BaseException as error:  # noqa: BLE001 - raised below
                failures.append(error)

        threads = [threading.Thread(target=worker) for _ in range(IN_FLIGHT)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]
        if upload:
            parts = "".join(
                f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"
                for number, etag in sorted(self._etags.items())
            )
            body = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()
            self._call(self._connect(), "POST", f"{path}?uploadId={upload}", body)

    def _connect(self) -> ssl.SSLSocket:
        sock = socket.create_connection(("127.0.0.1", self._job.proxy), 120)
        sock.sendall(f"CONNECT {self._host} HTTP/1.1\r\nHost: {self._host}\r\n\r\n".encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += sock.recv(4096)
        if b" 200 " not in answer:
            raise OSError(answer.decode())
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._context.wrap_socket(sock, server_hostname=self._job.host)

    def _call(
        self, sock: ssl.SSLSocket, method: str, target: str, body: bytes = b""
    ) -> tuple[http.client.HTTPResponse, bytes]:
        one = self._signer.upload(method, self._host, target, body, Mode.UNSIGNED)
        return self._ask(sock, one.head + one.body, method)

    @staticmethod
    def _ask(sock: ssl.SSLSocket, data: bytes, method: str) -> tuple[http.client.HTTPResponse, bytes]:
        sock.sendall(data)
        answer = http.client.HTTPResponse(sock, method=method)
        answer.begin()
        body = answer.read()
        if answer.status not in {200, 206}:
            raise OSError(f"{method}: {answer.status} {body.decode(errors='replace')}")
        return answer, body

    def _put(self, sock: ssl.SSLSocket, target: str, number: int) -> None:
        one = self._signer.upload("PUT", self._host, target, self._part, Mode(self._job.mode))
        sock.sendall(one.head)
        answer, _ = self._ask(sock, one.body, "PUT")
        self._etags[number] = answer.getheader("etag") or ""

    def _get(self, sock: ssl.SSLSocket, path: str, number: int) -> None:
        span = {"range": f"bytes={number * PART}-{(number + 1) * PART - 1}"}
        headers = self._signer.signed("GET", self._host, path, span)
        lines = [f"GET {path} HTTP/1.1", *(f"{name}: {text}" for name, text in headers.items()), "", ""]
        sock.sendall("\r\n".join(lines).encode())
        buffer = memoryview(bytearray(PIECE))
        held = b""
        while b"\r\n\r\n" not in held:
            more = sock.recv(PIECE)
            if not more:
                raise OSError("the connection ended in a head")
            held += more
        head, _, body = held.partition(b"\r\n\r\n")
        if b" 206 " not in head.split(b"\r\n")[0]:
            raise OSError((head + body).decode(errors="replace"))
        left = PART - len(body)
        while left:
            got = sock.recv_into(buffer[: min(left, PIECE)])
            if not got:
                raise OSError("the connection ended in a body")
            left -= got


# --- the sidecar ---------------------------------------------------------------------------------------


class Sidecar:
    def __init__(self, folder: Path, port: int, authority: Path, keys: Keys) -> None:
        (folder / "policy").mkdir()
        (folder / "policy" / "policy.yaml").write_text(POLICY.replace("PORT", str(port)))
        (folder / "secrets").mkdir()
        self._secret = KubeletVolume(folder / "secrets" / "s3", _files(keys))
        self.placeholder = Keys("PODKEYBENCHBENCH0000", "podkey-placeholder-of-the-bench")
        (folder / "placeholders").write_text(
            f"AWS_ACCESS_KEY_ID={self.placeholder.access_key_id}\n"
            f"AWS_SECRET_ACCESS_KEY={self.placeholder.secret_access_key}\n"
        )
        issuer = TokenIssuer()
        (folder / "jwks.json").write_bytes(jwks(issuer))
        (folder / "tokens").mkdir()
        token = issuer.token(datetime.now(UTC), namespace="bench", account="bench")
        (folder / "tokens" / "podkey").write_bytes(token)
        self.port, admin = _free_port(), _free_port()
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-O", "-m", "proxy", "run", "--capture", "explicit"),
                *("--explicit-port", str(self.port), "--admin-port", str(admin)),
                *("--policy-dir", str(folder / "policy"), "--secrets-dir", str(folder / "secrets")),
                *("--state-dir", str(folder / "state"), "--trust-dir", str(folder / "trust")),
                *("--upstream-ca-files", str(authority), "--audit-file", str(folder / "audit")),
                *("--placeholders-file", str(folder / "placeholders")),
                *("--namespace", "bench", "--service-account", "bench"),
                *("--tokens-dir", str(folder / "tokens"), "--issuer", issuer.issuer),
                *("--jwks-file", str(folder / "jwks.json")),
            ],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.trust = folder / "trust" / "bundle.pem"
        try:
            self._wait_ready(admin)
        except BaseException:
            self.end()
            raise

    def _wait_ready(self, admin: int) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", admin, timeout=1)
                connection.request("GET", "/readyz")
                if connection.getresponse().status == 200:
                    return
            except OSError:
                pass
            time.sleep(0.02)
        raise SystemExit("bench: the sidecar did not become ready")

    def rotate(self, keys: Keys) -> None:
        self._secret.swap(_files(keys))

    def cpu(self) -> float:
        """Seconds, from the scheduler: the ticks of /proc/PID/stat are too coarse."""
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9

    def peak(self) -> float:
        """In MiB, since `forget_peak`."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024

    def forget_peak(self) -> None:
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def end(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _files(keys: Keys) -> dict[str, bytes]:
    return {
        "id": keys.access_key_id.encode(),
        "secret": keys.secret_access_key.encode(),
        "token": (keys.session_token or "").encode(),
    }


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


# --- the runs ------------------------------------------------------------------------------------------


@dataclass
class Store:
    """`new_keys`: what it takes next. `own`: what a client that is only relayed signs with."""

    port: int
    own: Keys
    swift: Swift | None = None

    def new_keys(self) -> Keys:
        if self.swift is not None:
            return self.swift.new_keys(session=True)
        return Keys(f"ASIA{secrets.token_hex(8).upper()}", secrets.token_hex(20), secrets.token_hex(60))


@contextmanager
def sink(authority: UpstreamAuthority) -> Iterator[Store]:
    certificate = authority.certificate("localhost", "127.0.0.1")
    command = [sys.executable, "-O", __file__, "--sink", str(certificate.chain), str(certificate.key)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            yield Store(int(process.stdout.readline()), Keys("BENCH", secrets.token_hex(20)))
        finally:
            process.terminate()


@contextmanager
def real(authority: UpstreamAuthority, room: int) -> Iterator[Store]:
    front = Front("localhost", region=REGION, more_names=("127.0.0.1",))
    with swift(authority, [front], room=room) as store:
        store.make_bucket(BUCKET)
        yield Store(store.front.port, store.own, store)


def measure(
    sidecar: Sidecar, store: Store, *, relayed: bool, download: bool, mode: Mode, size: int
) -> dict[str, Any]:
    keys = store.own if relayed else sidecar.placeholder
    job = Job(
        sidecar.port,
        "127.0.0.1" if relayed else "localhost",
        store.port,
        str(sidecar.trust),
        keys.access_key_id,
        keys.secret_access_key,
        str(mode),
        size,
        download,
    )
    sidecar.forget_peak()
    before, begun = sidecar.cpu(), time.monotonic()
    command = [sys.executable, "-O", __file__, "--client", json.dumps(asdict(job))]
    with subprocess.Popen(command) as client:
        rotations = 0
        while client.poll() is None:
            time.sleep(0.05)
            # Twice on the way, by the time that the whole is expected to take.
            seconds = time.monotonic() - begun
            if not relayed and not download and rotations < 2 and seconds > (rotations + 1) * size / GIB:
                sidecar.rotate(store.new_keys())
                rotations += 1
    if client.returncode:
        raise SystemExit("bench: the client failed")
    seconds = time.monotonic() - begun
    return {
        "cpu_s_per_gib": (sidecar.cpu() - before) / (size / GIB),
        "peak_rss_mib": sidecar.peak(),
        "mb_per_s": size / 1e6 / seconds,
        "rotations": rotations,
    }


RUNS = {
    "upload, relay": {"relayed": True, "download": False, "mode": Mode.UNSIGNED_TRAILER},
    "upload, SigV4": {"relayed": False, "download": False, "mode": Mode.UNSIGNED_TRAILER},
    "upload, chunks": {"relayed": False, "download": False, "mode": Mode.SIGNED_TRAILER},
    "download, relay": {"relayed": True, "download": True, "mode": Mode.UNSIGNED},
    "download, SigV4": {"relayed": False, "download": True, "mode": Mode.UNSIGNED},
}


def run(store: Store, authority: UpstreamAuthority, size: int) -> dict[str, dict[str, Any]]:
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        sidecar = Sidecar(Path(folder), store.port, authority.file, store.new_keys())
        try:
            for name, how in RUNS.items():
                found[name] = measure(sidecar, store, size=size, **how)
                one = found[name]
                print(
                    f"{name:<20}{one['cpu_s_per_gib']:>10.2f}{one['peak_rss_mib']:>12.0f}"
                    f"{one['mb_per_s']:>10.0f}{one['rotations']:>12}",
                    flush=True,
                )
        finally:
            sidecar.end()
    return found


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--gib", type=float, default=5.0, help="with the store that costs nothing")
    arguments.add_argument("--swift-gib", type=float, default=1.0, help="with Swift; 0: not")
    arguments.add_argument("--sink", nargs=2, type=Path, help=argparse.SUPPRESS)
    arguments.add_argument("--client", type=json.loads, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.sink:
        Sink(*given.sink).serve()
    if given.client:
        Client(Job(**given.client)).run()
        return
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        authority = UpstreamAuthority(Path(folder) / "internet")
        stores = {"sink": (given.gib, lambda: sink(authority))}
        if given.swift_gib and not NO_SWIFT:
            room = int(given.swift_gib * 4 * GIB)
            stores["swift"] = (given.swift_gib, lambda: real(authority, room))
        for name, (gib, made) in stores.items():
            size = int(gib * GIB) // PART * PART
            print(
                f"{f'{name}, {gib:g} GiB':<20}{'CPU s/GiB':>10}{'peak MiB':>12}{'MB/s':>10}{'rotations':>12}"
            )
            with made() as store:
                results[name] = {"gib": gib, **run(store, authority, size)}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "s3.json").write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
