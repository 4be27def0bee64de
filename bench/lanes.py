"""What the lanes cost: CPU of the sidecar per request and per GiB, its memory, and its start.

The peer in the same run is the relay lane: it does what any proxy must, and no more. Client and upstream are
Python and share the machine, so wall times say little; the sidecar's own CPU time is what counts.
"""

import http.client
import json
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.pod_tokens import TokenIssuer, jwks
from tests.upstream_authority import UpstreamAuthority, UpstreamCertificate

GIB = 1 << 30
PIECE = bytes(256 * 1024)
REQUESTS = 400
ROUNDS = 5
READY_SECONDS = 20.0
RESULTS = Path(__file__).parent / "results"

POLICY = """
apiVersion: podkey.io/v1alpha1
kind: AccessPolicy
metadata: {name: bench, namespace: bench}
spec:
  workloads: {serviceAccounts: [bench]}
  grants:
    - {hosts: [localhost], ports: [PORT], credential: key}
---
apiVersion: podkey.io/v1alpha1
kind: CredentialSource
metadata: {name: key, namespace: bench}
spec:
  mountedSecret: {secretName: key, key: token}
  attach: {bearer: {}}
"""


class Upstream(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        size = int(self.path.rpartition("/")[2])
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream" if size > 4096 else "application/json")
        self.send_header("Content-Length", str(size))
        self.end_headers()
        for _ in range(size // len(PIECE)):
            self.wfile.write(PIECE)
        self.wfile.write(PIECE[: size % len(PIECE)])

    def do_PUT(self) -> None:
        left = int(self.headers["Content-Length"])
        while left:
            left -= len(self.rfile.read(min(left, len(PIECE))))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def upstream(certificate: UpstreamCertificate) -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


class Sidecar:
    def __init__(self, folder: Path, port: int, authority: Path) -> None:
        (folder / "policy").mkdir()
        (folder / "policy" / "policy.yaml").write_text(POLICY.replace("PORT", str(port)))
        (folder / "secrets" / "key").mkdir(parents=True)
        (folder / "secrets" / "key" / "token").write_text("not-a-secret-but-as-long-as-one-0123456789")
        issuer = TokenIssuer()
        (folder / "jwks.json").write_bytes(jwks(issuer))
        (folder / "tokens").mkdir()
        token = issuer.token(datetime.now(UTC), namespace="bench", account="bench")
        (folder / "tokens" / "podkey").write_bytes(token)
        self.port, admin = free_port(), free_port()
        begun = time.monotonic()
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-O", "-m", "proxy", "run", "--capture", "explicit"),
                *("--explicit-port", str(self.port), "--admin-port", str(admin)),
                *("--policy-dir", str(folder / "policy"), "--secrets-dir", str(folder / "secrets")),
                *("--state-dir", str(folder / "state"), "--trust-dir", str(folder / "trust")),
                *("--upstream-ca-files", str(authority), "--audit-file", str(folder / "audit")),
                *("--namespace", "bench", "--service-account", "bench"),
                *("--tokens-dir", str(folder / "tokens"), "--issuer", issuer.issuer),
                *("--jwks-file", str(folder / "jwks.json")),
            ],
            stdout=subprocess.DEVNULL,
        )
        while time.monotonic() < begun + READY_SECONDS:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", admin, timeout=1)
                connection.request("GET", "/readyz")
                if connection.getresponse().status == 200:
                    break
            except OSError:
                pass
            time.sleep(0.005)
        else:
            self.process.kill()
            raise SystemExit("bench: the sidecar did not become ready")
        self.start_seconds = time.monotonic() - begun
        self.trust = ssl.create_default_context(cafile=str(folder / "trust" / "bundle.pem"))

    def cpu(self) -> float:
        """Seconds, from the scheduler: the ticks of /proc/PID/stat are too coarse."""
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9

    def memory(self, field: str) -> float:
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024

    def connect(self, port: int, host: str) -> http.client.HTTPSConnection:
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=self.trust, timeout=60)
        connection.set_tunnel(host, port)
        return connection


def small(connection: http.client.HTTPSConnection) -> None:
    for _ in range(REQUESTS):
        connection.request("GET", "/bytes/1024", headers={"Authorization": "Bearer placeholder"})
        connection.getresponse().read()


def download(connection: http.client.HTTPSConnection) -> None:
    connection.request("GET", f"/bytes/{GIB}")
    response = connection.getresponse()
    while response.read(len(PIECE)):
        pass


def upload(connection: http.client.HTTPSConnection) -> None:
    body = (PIECE for _ in range(GIB // len(PIECE)))
    connection.request("PUT", "/sink", body=body, headers={"Content-Length": str(GIB)})
    connection.getresponse().read()


def measured(
    sidecar: Sidecar, port: int, host: str, work: Callable[[http.client.HTTPSConnection], None]
) -> float:
    connection = sidecar.connect(port, host)
    connection.request("GET", "/bytes/1")  # the handshakes are not what is measured
    connection.getresponse().read()
    before = sidecar.cpu()
    work(connection)
    used = sidecar.cpu() - before
    connection.close()
    return used


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        authority = UpstreamAuthority(folder / "internet")
        with upstream(authority.certificate("localhost", "127.0.0.1")) as port:
            sidecar = Sidecar(folder, port, authority.file)
            try:
                result = run(sidecar, port)
            finally:
                sidecar.process.terminate()
                sidecar.process.wait()
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "lanes.json").write_text(json.dumps(result, indent=2))


def run(sidecar: Sidecar, port: int) -> dict[str, float]:
    idle = sidecar.memory("VmRSS")
    # `localhost` is governed, the address is not: the same upstream through both lanes, by turns.
    lanes = {"relay": "127.0.0.1", "mitmproxy": "localhost"}
    each = {
        lane: [measured(sidecar, port, host, small) for _ in range(ROUNDS)] for lane, host in lanes.items()
    }
    micro = {lane: statistics.median(times) / REQUESTS * 1e6 for lane, times in each.items()}
    get = {lane: measured(sidecar, port, host, download) for lane, host in lanes.items()}
    put = {lane: measured(sidecar, port, host, upload) for lane, host in lanes.items()}
    peak = sidecar.memory("VmHWM")
    print(f"{'':<12}{'µs CPU/request':>16}{'GET CPU s/GiB':>16}{'PUT CPU s/GiB':>16}")
    for lane in lanes:
        print(f"{lane:<12}{micro[lane]:>16.0f}{get[lane]:>16.2f}{put[lane]:>16.2f}")
    ratios = [one["mitmproxy"] / one["relay"] for one in (micro, get, put)]
    print(f"{'ratio':<12}" + "".join(f"{ratio:>15.1f}×" for ratio in ratios))
    print(f"start to ready {sidecar.start_seconds:.2f} s; RSS idle {idle:.0f} MiB, peak {peak:.0f} MiB")
    return {
        "request_us_relay": micro["relay"], "request_us_mitmproxy": micro["mitmproxy"],
        "get_s_relay": get["relay"], "get_s_mitmproxy": get["mitmproxy"],
        "put_s_relay": put["relay"], "put_s_mitmproxy": put["mitmproxy"],
        "start_s": sidecar.start_seconds, "rss_idle_mib": idle, "rss_peak_mib": peak,
    }  # fmt: skip


if __name__ == "__main__":
    main()
