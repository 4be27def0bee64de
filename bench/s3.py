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
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.s3_ends import BUCKET, PART, REGION, Job
from tests.kubelet_volume import KubeletVolume
from tests.pod_tokens import TokenIssuer, jwks
from tests.s3_signer import Keys, Mode
from tests.swift_server import MISSING as NO_SWIFT
from tests.swift_server import Front, Swift, swift
from tests.upstream_authority import UpstreamAuthority

ROOT = Path(__file__).parents[1]
GIB = 1 << 30
READY_SECONDS = 30.0
RESULTS = Path(__file__).parent / "results"
ENDS = str(Path(__file__).with_name("s3_ends.py"))

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
    command = [sys.executable, "-O", ENDS, "--sink", str(certificate.chain), str(certificate.key)]
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
    command = [sys.executable, "-O", ENDS, "--client", json.dumps(asdict(job))]
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
    given = arguments.parse_args()
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
