"""A pod, its sidecar, and Swift as the S3 that it is granted: what the tests of S3 stand in.

    with s3_world([s3_grant("acme", prefixes=["train/"])]) as world:
        world.store.put("acme", "train/a", b"…")
        done = world.client("boto3-1.34", "with_boto3.py", …)

`EU` is Amazon's host of one region; its buckets also stand before it. The pod's keys are `world.keys`: their
secret key and their session token are canaries, and the application has only placeholders.
"""

import json
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.canary import Canary, shared_canary
from tests.netns import INTERNET_V4, INTERNET_V6, ROOT
from tests.pod_world import API
from tests.s3_signer import Keys, Signer
from tests.sidecar_pod import ACCOUNT, CAPTURED, NAMESPACE, SidecarPod, sidecar_pod
from tests.swift_server import Front, Swift, swift

# What `app_environment` says is the default region.
REGION: Final = "eu-west-1"
EU: Final = "s3.eu-west-1.amazonaws.com"
CREDENTIAL: Final = "s3"
VENVS: Final = ROOT / ".tools" / "s3-clients"
SCRIPTS: Final = Path(__file__).parent / "s3_clients"
EVERYTHING: Final = ("read", "write", "list", "delete")
FILES: Final = {
    "accessKeyId": "access-key-id",
    "secretAccessKey": "secret-access-key",
    "sessionToken": "session-token",
}


def s3_grant(*buckets: str, access: Sequence[str] = EVERYTHING, **more: Any) -> dict[str, Any]:
    return {
        "service": "s3",
        "buckets": list(buckets),
        "access": list(access),
        "credential": CREDENTIAL,
        **more,
    }


def s3_documents(*grants: Mapping[str, Any], session: bool = False) -> str:
    """A policy with these grants, and its credential in a mounted secret."""
    keys = {name: file for name, file in FILES.items() if session or name != "sessionToken"}
    documents = [
        _document(
            "AccessPolicy", "data", {"workloads": {"serviceAccounts": [ACCOUNT]}, "grants": list(grants)}
        )
    ]
    for credential in sorted({grant["credential"] for grant in grants}):
        source = {"mountedSecret": {"secretName": credential, "keys": keys}}
        documents.append(_document("CredentialSource", credential, source))
    return "\n---\n".join(json.dumps(one, indent=2) for one in documents)


def secret_files(keys: Keys) -> dict[str, bytes]:
    texts = {
        FILES["accessKeyId"]: keys.access_key_id,
        FILES["secretAccessKey"]: keys.secret_access_key,
        FILES["sessionToken"]: keys.session_token,
    }
    return {name: text.encode() for name, text in texts.items() if text is not None}


@dataclass
class S3World:
    pod: SidecarPod
    store: Swift
    keys: Keys

    @property
    def placeholder(self) -> Keys:
        found = self.pod.placeholders
        return Keys(found["AWS_ACCESS_KEY_ID"], found["AWS_SECRET_ACCESS_KEY"])

    def signer(self, region: str = REGION, **options: Any) -> Signer:
        """What an application's SDK does: it signs with what it has."""
        return Signer(self.placeholder, region, **options)

    def new_keys(self, *, session: bool = True, seconds: float | None = None) -> Keys:
        """Keys that the store takes; nobody but the sidecar may ever see their secrets."""
        keys = self.store.new_keys(session=session, seconds=seconds)
        remember(self.pod.canary, keys)
        return keys

    def rotate(self, keys: Keys, credential: str = CREDENTIAL) -> None:
        """The kubelet replaces the mounted secret."""
        self.keys = keys
        self.pod.write_secret(credential, secret_files(keys))

    def client(
        self, venv: str, script: str, *arguments: str, timeout: float = 120.0
    ) -> subprocess.CompletedProcess[str]:
        """A program of tests/s3_clients as the application; the environment '' is this one."""
        python = str(VENVS / venv / "bin" / "python") if venv else sys.executable
        # Old SDKs are not tidy on a new Python.
        changes = {"PYTHONWARNINGS": None} if venv else {}
        argv = [python, str(SCRIPTS / script), *arguments]
        return self.pod.run_app(argv, timeout=timeout, env=changes)

    def connect(self, host: str, port: int = 443, address: str = INTERNET_V4) -> ssl.SSLSocket:
        """A connection of the application, to any port."""
        context = ssl.create_default_context(cafile=self.pod.bundle)
        return context.wrap_socket(self.pod.dial(address, port), server_hostname=host)

    def settle(self) -> None:
        self.pod.sidecar.wait_idle()

    def check_health(self) -> None:
        """Nothing went past the judge, and nothing broke that a lane did not expect."""
        assert self.pod.sidecar.metric("podkey_fail_open_total") == 0
        errors = [line for line in self.pod.sidecar.log_lines() if line["event"] == "unexpected error"]
        assert not errors, errors


def missing(venv: str) -> str:
    """Why this client cannot be run; empty when it can."""
    found = not venv or (VENVS / venv / ".installed").is_file()
    return "" if found else f"{venv} is not installed: run .ci/s3-clients"


def remember(canary: Canary, keys: Keys) -> None:
    canary.remember(keys.secret_access_key, "S3 secret key")
    if keys.session_token is not None:
        canary.remember(keys.session_token, "S3 session token")


@contextmanager
def s3_world(
    grants: Sequence[Mapping[str, Any]],
    *,
    fronts: Sequence[Front] = (Front(EU, region=REGION),),
    buckets: Sequence[str] = (),
    internet: Sequence[str] = (),
    session: bool = False,
    canary: Canary | None = None,
    capture: str = CAPTURED,
    **settings: str,
) -> Iterator[S3World]:
    """For a fixture of a module; a single test gives its own canary. The buckets are made, and have names."""
    with ExitStack() as stack:
        if canary is None:
            canary = stack.enter_context(shared_canary())
        more = {*internet, *(front.address for front in fronts)} - {INTERNET_V4, INTERNET_V6}
        pod = stack.enter_context(sidecar_pod(canary, internet=sorted(more)))
        store = stack.enter_context(swift(pod.authority, fronts, ns=pod.network.net))
        for front in fronts:
            hosts = [f"{bucket}.{name}" for bucket in buckets for name in front.names]
            pod.resolve(*front.names, *hosts, to=[front.address])
        store.make_bucket(*buckets)
        keys = store.new_keys(session=session)
        remember(canary, keys)
        names = {grant["credential"] for grant in grants}
        ports = ",".join(str(port) for port in sorted({80, 443, *(front.port for front in fronts)}))
        pod.start_sidecar(
            s3_documents(*grants, session=session),
            dict.fromkeys(names, secret_files(keys)),
            capture,
            capture_ports=ports,
            **settings,
        )
        if CAPTURED in capture.split(","):
            pod.redirect("apply", "--capture-ports", ports)
        yield S3World(pod, store, keys)


def _document(kind: str, name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": API, "kind": kind, "metadata": metadata, "spec": spec}
