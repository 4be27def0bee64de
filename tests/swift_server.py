"""OpenStack Swift as an S3 store out on the internet: it verifies signatures, chunks, trailers.

    with swift(authority, [Front("s3.us-east-1.amazonaws.com")], ns=pod.network.net) as store:
        keys = store.new_keys()                            # or `session=True`, with a session token
        store.put("bucket", "a/key", data)                 # the test's own way, past every sidecar
        assert store.get("bucket", "a/key") == data

Which checks are Swift's and which are ours is told in tests/swift/door.py. A front is one server of S3: a
name, an address and a region; all of them lead to the same account. Its data is in memory or in a temporary
folder.
"""

import http.client
import itertools
import json
import os
import pwd
import secrets
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import quote

from proxy.core.structs import replace
from tests import netns
from tests.netns import INTERNET_V4
from tests.s3_signer import EMPTY, Keys, Signer
from tests.sidecar_process import in_namespace
from tests.upstream_authority import UpstreamAuthority

ROOT: Final = Path(__file__).parents[1]
# Made by .ci/swift.
HOME: Final = ROOT / ".tools" / "swift"
MISSING: Final = "" if (HOME / ".installed").is_file() else "OpenStack Swift is not installed: run .ci/swift"
PARTS: Final = Path(__file__).parent / "swift"

# Far above what it takes; a busy machine starts several of them at a time.
READY_SECONDS: Final = 120.0
# What S3 asks of a part that is not the last.
PART: Final = 5 * 1024**2
# Room that a folder in memory must have, or the data goes to the disk.
ROOM: Final = 3 * 1024**3
MEMORY: Final = Path("/dev/shm")

PIPELINE: Final = (
    "catch_errors gatekeeper listing_formats door bulk s3api tempauth copy slo dlo versioned_writes "
    "symlink proxy-server"
)
SERVER: Final = """
[DEFAULT]
bind_ip = {address}
bind_port = {port}
workers = 0
user = {user}
devices = {folder}/devices
mount_check = false
swift_dir = {folder}
log_level = CRITICAL
{more}
"""
STORAGE: Final = """
[pipeline:main]
pipeline = {name}-server
[app:{name}-server]
use = egg:swift#{name}
disable_fallocate = true
fallocate_reserve = 0
"""
PROXY: Final = """
[pipeline:main]
pipeline = {pipeline}
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
# On a busy machine half a second passes before a server accepts; Swift then answers 503.
conn_timeout = 10
node_timeout = 30
client_chunk_size = 262144
object_chunk_size = 262144
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:bulk]
use = egg:swift#bulk
[filter:door]
paste.filter_factory = door:door
folder = {folder}
front = {front}
clock = {clock}
[filter:s3api]
use = egg:swift#s3api
location = {region}
storage_domain = {domains}
max_upload_part_num = 10000
allowable_clock_skew = {skew}
[filter:tempauth]
paste.filter_factory = door:keys
folder = {folder}
[filter:copy]
use = egg:swift#copy
[filter:slo]
use = egg:swift#slo
max_manifest_segments = 10000
[filter:dlo]
use = egg:swift#dlo
[filter:versioned_writes]
use = egg:swift#versioned_writes
allow_versioned_writes = true
allow_object_versioning = true
[filter:symlink]
use = egg:swift#symlink
"""


@dataclass(frozen=True)
class Front:
    """`name`: what the path-style host is called; buckets stand before it where the host names them.

    `clock`: how many seconds its clock is ahead of the machine's.
    """

    name: str
    port: int = 443
    region: str = "us-east-1"
    address: str = INTERNET_V4
    clock: float = 0.0
    more_names: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name, *self.more_names)

    @property
    def host(self) -> str:
        return self.name if self.port == 443 else f"{self.name}:{self.port}"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    @property
    def code(self) -> str:
        """Of an error in S3's XML."""
        found = ET.fromstring(self.body).findtext("Code") if self.body else None
        return found or ""


class Swift:
    def __init__(
        self, folder: Path, fronts: Sequence[Front], ns: str | None, authority: UpstreamAuthority
    ) -> None:
        self.folder = folder
        self.fronts = tuple(fronts)
        self._ns = ns
        self._trust = ssl.create_default_context(cafile=str(authority.file))
        self._keys: dict[str, dict[str, Any]] = {}
        self._faults: list[dict[str, Any]] = []
        self._count = itertools.count()
        self.own = self.new_keys()

    @property
    def front(self) -> Front:
        return self.fronts[0]

    # --- keys ---

    def new_keys(self, *, session: bool = False, seconds: float | None = None) -> Keys:
        """Valid from now on, and for so long; with `session` only together with their token."""
        prefix = "ASIA" if session else "AKIA"
        token = f"FwoG{secrets.token_hex(60)}" if session else None
        keys = Keys(f"{prefix}{secrets.token_hex(8).upper()}", secrets.token_hex(20), token)
        self.accept(keys, seconds)
        return keys

    def accept(self, keys: Keys, seconds: float | None = None) -> None:
        expires = None if seconds is None else time.time() + seconds
        self._keys[keys.access_key_id] = {
            "secret": keys.secret_access_key,
            "token": keys.session_token,
            "expires": expires,
        }
        self._write("keys.json", self._keys)

    def expire(self, keys: Keys) -> None:
        """From now on they get ExpiredToken."""
        self.accept(keys, 0.0)

    # --- what happened, and what shall happen ---

    def tell(
        self,
        code: str,
        target: str = "",
        *,
        method: str = "",
        times: int = 1,
        front: str = "",
        headers: Mapping[str, str] = MappingProxyType({}),
        more: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Answer the next requests whose target has this pattern with an error, and do nothing else."""
        self._faults.append(
            {
                "id": next(self._count),
                "code": code,
                "target": target,
                "method": method,
                "times": times,
                "front": front,
                "headers": list(headers.items()),
                "more": dict(more),
            }
        )
        self._write("faults.json", self._faults)

    def requests(self) -> list[dict[str, Any]]:
        """What came to all fronts and was answered, in the order of the answers."""
        path = self.folder / "requests.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line) for line in lines]

    def _write(self, name: str, content: Any) -> None:
        new = self.folder / f"{name}.new"
        new.write_text(json.dumps(content))
        new.rename(self.folder / name)

    # --- the test's own way to it ---

    def connect(self, front: Front | None = None, host: str | None = None) -> ssl.SSLSocket:
        front = front or self.front
        sock = self._dial((front.address, front.port))
        return self._trust.wrap_socket(sock, server_hostname=host or front.name)

    def _dial(self, place: tuple[str, int]) -> socket.socket:
        def dial() -> socket.socket:
            return socket.create_connection(place, 60)

        return dial() if self._ns is None else in_namespace(self._ns, dial)

    def request(
        self,
        method: str,
        target: str,
        body: bytes = b"",
        headers: Mapping[str, str] = MappingProxyType({}),
        *,
        front: Front | None = None,
        keys: Keys | None = None,
    ) -> Answer:
        """Signed with keys of the test's own, path-style, on a connection of its own."""
        front = front or self.front
        signer = Signer(keys or self.own, front.region, offset=front.clock)
        payload = "UNSIGNED-PAYLOAD" if body else EMPTY
        return self.send(
            method, target, body, signer.signed(method, front.host, target, headers, payload), front
        )

    def send(
        self, method: str, target: str, body: bytes, headers: Mapping[str, str], front: Front | None = None
    ) -> Answer:
        """As it is given."""
        front = front or self.front
        connection = http.client.HTTPConnection(front.name, front.port)
        connection.sock = self.connect(front)
        try:
            connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
            for name, text in {**headers, "content-length": str(len(body))}.items():
                connection.putheader(name, text)
            connection.endheaders(body or None)
            answer = connection.getresponse()
            fields = {name.lower(): text for name, text in answer.getheaders()}
            return Answer(answer.status, fields, answer.read())
        finally:
            connection.close()

    def make_bucket(self, *names: str) -> None:
        for name in names:
            answer = self.request("PUT", f"/{name}")
            assert answer.status == 200, answer

    def put(self, bucket: str, key: str, data: bytes, **headers: str) -> None:
        answer = self.request("PUT", target_of(bucket, key), data, headers)
        assert answer.status == 200, answer

    def get(self, bucket: str, key: str) -> bytes | None:
        """What is stored, None for nothing."""
        answer = self.request("GET", target_of(bucket, key))
        assert answer.status in {200, 404}, answer
        return answer.body if answer.status == 200 else None

    def head(self, bucket: str, key: str) -> Answer:
        return self.request("HEAD", target_of(bucket, key))

    def keys_in(self, bucket: str) -> list[str]:
        answer = self.request("GET", f"/{bucket}?list-type=2")
        assert answer.status == 200, answer
        return [found.text or "" for found in ET.fromstring(answer.body).iter() if found.tag.endswith("}Key")]


def target_of(bucket: str, key: str) -> str:
    return f"/{bucket}/{quote(key, safe='/-_.~')}"


@contextmanager
def swift(
    authority: UpstreamAuthority, fronts: Sequence[Front], *, ns: str | None = None, room: int = ROOM
) -> Iterator[Swift]:
    """Servers in a network namespace, or on the loopback of this one (then on ports that are free)."""
    with ExitStack() as last:
        folder = Path(tempfile.mkdtemp(prefix="podkey-swift-", dir=_place(room)))
        last.callback(shutil.rmtree, folder, ignore_errors=True)
        (folder / "devices" / "d1").mkdir(parents=True)
        if ns is None:
            fronts = [replace(front, address="127.0.0.1", port=_free_port()) for front in fronts]
        storage = {name: _free_port() if ns is None else 6200 + n for n, name in enumerate(STORES)}
        _write_conf(folder, storage, fronts, authority)
        python = str(HOME / "bin" / "python")
        rings = [f"{name}={port}" for name, port in storage.items()]
        subprocess.run([python, PARTS / "rings.py", folder, *rings], check=True, env=_environment())
        log = last.enter_context((folder / "log").open("wb"))
        servers = [(name, folder / f"{name}.conf") for name in storage]
        servers += [("proxy", folder / f"proxy-{n}.conf") for n, _ in enumerate(fronts)]
        running: list[subprocess.Popen[bytes]] = []
        for name, conf in servers:
            argv = [python, str(HOME / "bin" / f"swift-{name}-server"), str(conf)]
            process = subprocess.Popen(
                netns.command(argv, ns=ns),
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
            last.callback(_end, process)
            running.append(process)
        store = Swift(folder, fronts, ns, authority)
        _wait_ready(store, list(storage.values()), running)
        yield store


STORES: Final = ("account", "container", "object")


def _place(room: int) -> Path | None:
    try:
        return MEMORY if shutil.disk_usage(MEMORY).free > room else None
    except OSError:
        return None


def _environment() -> dict[str, str]:
    return netns._environment({"PYTHONPATH": str(PARTS), "PYTHONWARNINGS": "ignore"})


def _write_conf(
    folder: Path, storage: Mapping[str, int], fronts: Sequence[Front], authority: UpstreamAuthority
) -> None:
    prefix, suffix = secrets.token_hex(8), secrets.token_hex(8)
    swift_conf = f"[swift-hash]\nswift_hash_path_prefix = {prefix}\nswift_hash_path_suffix = {suffix}\n"
    (folder / "swift.conf").write_text(swift_conf)
    whole = {"folder": folder, "user": pwd.getpwuid(os.geteuid()).pw_name}
    for name, port in storage.items():
        text = SERVER.format(address="127.0.0.1", port=port, more="", **whole) + STORAGE.format(name=name)
        (folder / f"{name}.conf").write_text(text)
    for number, front in enumerate(fronts):
        certificate = authority.certificate(*itertools.chain(*((name, f"*.{name}") for name in front.names)))
        more = f"cert_file = {certificate.chain}\nkey_file = {certificate.key}\n"
        text = SERVER.format(address=front.address, port=front.port, more=more, **whole) + PROXY.format(
            pipeline=PIPELINE,
            folder=folder,
            front=front.name,
            region=front.region,
            domains=",".join(front.names),
            clock=front.clock,
            skew=900 + abs(int(front.clock)),
        )
        (folder / f"proxy-{number}.conf").write_text(text)


def _wait_ready(store: Swift, storage: Sequence[int], running: Sequence[subprocess.Popen[bytes]]) -> None:
    """The stores first: no front asks the one of objects by itself, and one that asks a store ten times too
    early lets go of it for a minute."""
    deadline = time.monotonic() + READY_SECONDS
    looks = [partial(_listens, store, port) for port in storage]
    for look in [*looks, *(partial(_answers, store, front) for front in store.fronts)]:
        while not look():
            ended = [process.args for process in running if process.poll() is not None]
            if ended or time.monotonic() > deadline:
                log = (store.folder / "log").read_text(errors="replace")
                raise AssertionError(f"Swift did not become ready; ended: {ended}\n{log}")
            time.sleep(0.05)


def _listens(store: Swift, port: int) -> bool:
    try:
        store._dial(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def _answers(store: Swift, front: Front) -> bool:
    try:
        return store.request("GET", "/", front=front).status == 200
    except OSError:
        return False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
