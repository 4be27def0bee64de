"""What the platform team has granted to the scripts, and the credentials behind it."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from tests.conformance.words import TOKEN, Family, Script
from tests.pod_world import API
from tests.sidecar_pod import ACCOUNT, NAMESPACE

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS")


def documents(scripts: Sequence[Script], without: Script | None = None) -> str:
    """The policies of all scripts, but that of `without`."""
    found = [
        _policy(family.value, _grant(family, f"*.{family.value}.lab.example"), family)
        for family in (Family.BEARER, Family.STRICT, Family.WATCHED, Family.KEY, Family.STRANGE)
    ]
    for script in scripts:
        if script is not without and script.family in {Family.CUT, Family.TURNING}:
            name = f"{script.family.value}-{script.label}"
            credential = script.label if script.family is Family.TURNING else "bearer"
            found.append(_policy(name, _grant(script.family, script.host, credential), script.family))
            if credential != "bearer":
                found.append(_source(credential, {"bearer": {}}))
    buckets = [script.label for script in scripts if script.family is Family.S3]
    grant = {
        "service": "s3",
        "buckets": buckets or ["none"],
        "access": ["read", "write", "list", "delete"],
        "credential": "s3",
    }
    found.append(_policy("s3", grant, Family.S3))
    keys = {"accessKeyId": "access-key-id", "secretAccessKey": "key"}
    found += [_source("bearer", {"bearer": {}}), _source("key", {"header": {"name": "x-api-key"}})]
    found.append(_document("CredentialSource", "s3", {"mountedSecret": {"secretName": "s3", "keys": keys}}))
    # JSON is YAML.
    return "\n---\n".join(json.dumps(one) for one in found)


def _grant(family: Family, host: str, credential: str = "") -> dict[str, Any]:
    grant: dict[str, Any] = {
        "hosts": [host],
        "methods": list(METHODS),
        "paths": ["/v1/**"],
        "credential": credential or ("key" if family is Family.KEY else "bearer"),
    }
    if family is Family.STRICT:
        grant["onForeignCredential"] = "refuse"
    return grant


def _policy(name: str, grant: Mapping[str, Any], family: Family) -> dict[str, Any]:
    spec: dict[str, Any] = {"workloads": {"serviceAccounts": [ACCOUNT]}, "grants": [grant]}
    if family is Family.WATCHED:
        spec["mode"] = "observe"
    if family is Family.CUT:
        spec["onRevoke"] = "cut"
    return _document("AccessPolicy", name, spec)


def _source(name: str, attach: Mapping[str, Any]) -> dict[str, Any]:
    spec = {"mountedSecret": {"secretName": name, "key": "key"}, "attach": attach}
    return _document("CredentialSource", name, spec)


def _document(kind: str, name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    return {"apiVersion": API, "kind": kind, "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec}


def secrets_of(scripts: Sequence[Script]) -> dict[str, dict[str, bytes]]:
    names = ["bearer", "key", *(script.label for script in scripts if script.family is Family.TURNING)]
    files = {"key": TOKEN.encode()}
    return {**dict.fromkeys(names, files), "s3": {**files, "access-key-id": b"TESTKEY0000000000001"}}
