"""Our lanes: `podkey run` as a pod has it, with a policy of 100 grants, its audit trail and its metrics.

Where `make images` has built the image of this tree, its root is where we run, for its Python is another than
the checkout's. The capture is transparent, and the redirect is the ground's.
"""

import json
import os
import sys
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

from bench.ground import ROOT, Place, owned
from bench.peers.subject import AUDIT, Credentials, Owes, Program, Subject
from bench.upstream import BUCKET
from proxy.core.arrival import LaneName
from proxy.core.contract import IDENTITY_AUDIENCE, PROXY_UID
from proxy.core.structs import replace
from proxy.documents.settings_table import SETTINGS
from tests.built_images import PROXY, engine, is_podman, why_missing
from tests.pod_tokens import TokenIssuer, jwks

# Where a subject's folder is in the image.
INSIDE: Final = Path("/mnt")
IMAGE_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

BUNDLE: Final = "trust/bundle.pem"
NAMESPACE: Final = "bench"
ACCOUNT: Final = "trainer"
POD: Final = "trainer-0"
GRANTS: Final = 100
# Of the grants that no request uses: some are for the same host, and some for the same store.
SAME_HOST: Final = 20
SAME_STORE: Final = 10

FAST_LANE: Final = "PODKEY_FAST_LANE"
HAS_FAST_LANE: Final = any(setting.name == FAST_LANE for setting in SETTINGS)
NO_FAST_LANE: Final = "" if HAS_FAST_LANE else "this tree has no fast lane"


@cache
def image_root() -> Path | None:
    if os.geteuid() or not is_podman() or why_missing():
        return None
    mounted = engine("image", "mount", PROXY)
    return None if mounted.returncode else Path(mounted.stdout.strip())


def inside(place: Place, file: Path) -> str:
    """The file's name for who runs in the image."""
    return str(file if image_root() is None else INSIDE / file.relative_to(place.folder))


def policy(host: str) -> str:
    """Two grants for this host, as an API and as a store, behind 98 others."""
    api = {"hosts": [host], "methods": ["GET", "PUT"], "paths": [f"/{BUCKET}/**"], "credential": "api"}
    store = {
        "service": "s3",
        "endpoint": f"s3-{host}",
        "buckets": [BUCKET],
        "access": ["read", "write"],
        "credential": "s3",
    }
    elsewhere = {"methods": ["GET", "POST"], "paths": ["/v1/**"], "credential": "api"}
    others: list[dict[str, Any]] = [
        {**api, "paths": [f"/team-{n}/**"]} if n < SAME_HOST
        else {**store, "buckets": [f"team-{n}"]} if n < SAME_HOST + SAME_STORE
        else {**elsewhere, "hosts": [f"api-{n}.example.com"]}
        for n in range(GRANTS - 2)
    ]  # fmt: skip
    sources = {
        "api": {"mountedSecret": {"secretName": "api", "key": "token"}, "attach": {"bearer": {}}},
        "s3": {
            "mountedSecret": {"secretName": "s3", "keys": {"accessKeyId": "id", "secretAccessKey": "secret"}}
        },
    }
    workloads = {"serviceAccounts": [ACCOUNT]}
    documents = [
        _document("AccessPolicy", "bench", {"workloads": workloads, "grants": [*others, api, store]})
    ]
    documents += [_document("CredentialSource", name, spec) for name, spec in sources.items()]
    # JSON is YAML.
    return "\n---\n".join(json.dumps(document) for document in documents)


def _document(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": "podkey.io/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}


def fast(place: Place, credentials: Credentials) -> Program:
    return _run(place, credentials, {FAST_LANE: "true"})


def mitmproxy(place: Place, credentials: Credentials) -> Program:
    return _run(place, credentials, {FAST_LANE: "false"} if HAS_FAST_LANE else {})


def relay(place: Place, credentials: Credentials) -> Program:
    """The policy does not name this host: what goes there is not ours to look into."""
    return _run(place, credentials, {}, governed="governed.example.com")


def _run(place: Place, credentials: Credentials, more: dict[str, str], governed: str = "") -> Program:
    folder = place.folder
    keys = credentials.keys
    issuer = TokenIssuer()
    token = issuer.token(datetime.now(UTC), namespace=NAMESPACE, account=ACCOUNT, pod=POD)
    placeholders = {
        "BENCH_API_KEY": credentials.placeholder,
        "AWS_ACCESS_KEY_ID": credentials.placeholder_keys.access_key_id,
        "AWS_SECRET_ACCESS_KEY": credentials.placeholder_keys.secret_access_key,
    }
    files = {
        "policy/policy.yaml": policy(governed or place.host.removeprefix("s3-")).encode(),
        "secrets/api/token": credentials.token.encode(),
        "secrets/s3/id": keys.access_key_id.encode(),
        "secrets/s3/secret": keys.secret_access_key.encode(),
        f"tokens/{IDENTITY_AUDIENCE}": token,
        "jwks.json": jwks(issuer),
        "placeholders.env": "".join(f"{name}={text}\n" for name, text in placeholders.items()).encode(),
    }
    for name, content in files.items():
        file = folder / name
        for parent in reversed(file.relative_to(folder).parents[:-1]):
            if not (folder / parent).exists():
                owned(folder / parent)
        file.write_bytes(content)
        os.chown(file, PROXY_UID, PROXY_UID)
    for name in ("state", "trust"):
        owned(folder / name)
    os.mkfifo(folder / AUDIT)
    os.chown(folder / AUDIT, PROXY_UID, PROXY_UID)
    environment = {
        "PODKEY_CAPTURE": "transparent",
        "PODKEY_TRANSPARENT_PORT": str(place.port),
        "PODKEY_EXPLICIT_PORT": str(place.port + 1),
        "PODKEY_ADMIN_PORT": str(place.port + 2),
        "PODKEY_NAMESPACE": NAMESPACE,
        "PODKEY_SERVICE_ACCOUNT": ACCOUNT,
        "PODKEY_POD_NAME": POD,
        "PODKEY_ISSUER": issuer.issuer,
        "PODKEY_JWKS_FILE": inside(place, folder / "jwks.json"),
        "PODKEY_TOKENS_DIR": inside(place, folder / "tokens"),
        "PODKEY_POLICY_DIR": inside(place, folder / "policy"),
        "PODKEY_SECRETS_DIR": inside(place, folder / "secrets"),
        "PODKEY_STATE_DIR": inside(place, folder / "state"),
        "PODKEY_TRUST_DIR": inside(place, folder / "trust"),
        "PODKEY_PLACEHOLDERS_FILE": inside(place, folder / "placeholders.env"),
        "PODKEY_UPSTREAM_CA_FILES": inside(place, place.authority),
        "PODKEY_AUDIT_FILE": inside(place, folder / AUDIT),
        **more,
    }
    if image_root() is None:
        return Program([sys.executable, "-O", "-m", "proxy", "run"], environment, readable=[ROOT])
    return Program(["podkey", "run"], {**environment, "PATH": IMAGE_PATH}, in_image=True)


OURS: Final = Subject(
    "fast", "fast lane", Owes.BEARER, fast, NO_FAST_LANE, BUNDLE, has_variants=True, lane=LaneName.FAST
)
SUBJECTS: Final = (
    OURS,
    replace(OURS, name="s3-fast", title="fast lane SigV4", owes=Owes.SIGNATURE),
    Subject("mitm", "mitmproxy lane", Owes.BEARER, mitmproxy, trust=BUNDLE, lane=LaneName.MITMPROXY),
    Subject("relay", "relay lane", Owes.NOTHING, relay),
)
