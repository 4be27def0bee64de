"""A real OCI registry out on the internet (Debian's docker-registry), which wants a user name and a password.

with registry(authority, "registry.acme.example", users={"puller": password}, ns=…, address=…) as server:
    server.push("models/llama:1", files={"weights.bin": data}, user="puller")
"""

import base64
import gzip
import hashlib
import http.client
import io
import json
import shutil
import socket
import ssl
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import bcrypt

from tests import netns
from tests.sidecar_process import in_namespace
from tests.upstream_authority import UpstreamAuthority

PROGRAM: Final = shutil.which("docker-registry")
MISSING: Final = "" if PROGRAM else "`docker-registry` is not installed (Debian: docker-registry)"
READY_SECONDS: Final = 20.0

CONFIG: Final = """
version: 0.1
log: {{level: info, formatter: json, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {folder}/data}}}}
http:
  addr: {address}:443
  host: https://{name}
  secret: {secret}
  tls: {{certificate: {chain}, key: {key}}}
auth: {{htpasswd: {{realm: {name}, path: {folder}/htpasswd}}}}
"""
_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
_LAYER: Final = "application/vnd.oci.image.layer.v1.tar+gzip"
_CONFIG: Final = "application/vnd.oci.image.config.v1+json"


class Registry:
    def __init__(self, folder: Path, name: str, address: str, ns: str, trust: ssl.SSLContext) -> None:
        self.folder = folder
        self.name = name
        self._place = (address, 443)
        self._ns = ns
        self._trust = trust

    def request(
        self, method: str, target: str, body: bytes = b"", headers: Mapping[str, str] = MappingProxyType({})
    ) -> tuple[int, Mapping[str, str]]:
        connection = http.client.HTTPConnection(self.name)
        sock = in_namespace(self._ns, lambda: socket.create_connection(self._place, 10))
        connection.sock = self._trust.wrap_socket(sock, server_hostname=self.name)
        try:
            connection.request(method, target, body, dict(headers))
            answer = connection.getresponse()
            answer.read()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}
        finally:
            connection.close()

    def push(self, name: str, files: Mapping[str, bytes], login: tuple[str, str]) -> None:
        """An image of one layer with these files."""
        repository, _, tag = name.rpartition(":")
        proof = {"Authorization": f"Basic {base64.b64encode(':'.join(login).encode()).decode()}"}
        tar = _tar(files)
        config = {
            "architecture": "amd64",
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [_digest(tar)]},
        }
        blobs = {_CONFIG: json.dumps(config).encode(), _LAYER: gzip.compress(tar)}
        for data in blobs.values():
            status, answer = self.request("POST", f"/v2/{repository}/blobs/uploads/", headers=proof)
            assert status == 202, status
            target = answer["location"].removeprefix(f"https://{self.name}") + f"&digest={_digest(data)}"
            status, _ = self.request("PUT", target, data, proof)
            assert status == 201, status
        described = [
            {"mediaType": kind, "digest": _digest(data), "size": len(data)} for kind, data in blobs.items()
        ]
        manifest = {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": described[0],
            "layers": described[1:],
        }
        body = json.dumps(manifest).encode()
        fields = {**proof, "Content-Type": _MANIFEST}
        status, _ = self.request("PUT", f"/v2/{repository}/manifests/{tag}", body, fields)
        assert status == 201, status

    def records(self) -> list[dict[str, Any]]:
        """What it says of requests: who was let in, and what was answered."""
        lines = (self.folder / "log").read_text(errors="replace").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]


@contextmanager
def registry(
    authority: UpstreamAuthority, name: str, *, users: Mapping[str, str], ns: str, address: str
) -> Iterator[Registry]:
    assert PROGRAM is not None, MISSING
    with ExitStack() as last:
        folder = Path(tempfile.mkdtemp(prefix="podkey-registry-"))
        last.callback(shutil.rmtree, folder)
        # It knows bcrypt alone; few rounds, for it asks at each request.
        lines = [
            f"{user}:{bcrypt.hashpw(word.encode(), bcrypt.gensalt(4)).decode()}"
            for user, word in users.items()
        ]
        (folder / "htpasswd").write_text("\n".join(lines))
        chain, key = authority.certificate(name)
        values = {
            "folder": folder,
            "address": address,
            "name": name,
            "chain": chain,
            "key": key,
            "secret": "s",
        }
        (folder / "config.yml").write_text(CONFIG.format(**values))
        log = last.enter_context((folder / "log").open("wb"))
        process = subprocess.Popen(
            netns.command([PROGRAM, "serve", str(folder / "config.yml")], ns=ns),
            env=netns._environment({}),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        last.callback(_end, process)
        trust = ssl.create_default_context(cafile=str(authority.file))
        server = Registry(folder, name, address, ns, trust)
        _wait_ready(server, process)
        yield server


def _wait_ready(server: Registry, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            status, _ = server.request("GET", "/v2/")
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                said = (server.folder / "log").read_text(errors="replace")
                raise AssertionError(f"docker-registry did not become ready:\n{said}") from None
            time.sleep(0.02)
        else:
            # Nobody is let in without a password.
            assert status == 401, status
            return


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _tar(files: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()
