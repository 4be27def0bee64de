"""Watched JSON objects as small frozen values: what is not needed of them is not kept.

The API server has validated them, but for the spec of our own kinds, which is left as it is for the parser of
policies. So a field of the wrong type means that something else answered, and that object is not used.
"""

import base64
import binascii
import re
from collections.abc import Mapping

from injector.core.api import ObjectKey
from injector.core.cluster import Namespace
from injector.core.documents import RawDocument
from proxy.core.structs import Struct, hiding

# That of Kubernetes, with what a vendor puts behind: `v1.29.3-eks-a18cd3a`, `v1.30.1+k3s1`.
_VERSION = re.compile(r"v?(\d{1,4})\.(\d{1,4})(?![\d])").match


class ObjectFault(Exception):  # noqa: N818 - a fault in what was answered
    """Which field is not as it should be."""


class Meta(Struct, frozen=True):
    """What every object says of itself."""

    key: ObjectKey
    uid: str
    generation: int
    resource_version: str
    labels: Mapping[str, str]


def read_meta(raw: object, kind: str = "") -> Meta:
    """Of an object that is of this kind. The items of a list of built-in kinds do not say what they are."""
    whole = _object(raw, "the object")
    if kind and whole.get("kind", kind) != kind:
        raise ObjectFault(f"it is no {kind}")
    metadata = _mapping(whole, "metadata")
    name = _text(metadata, "name")
    if not name:
        raise ObjectFault("metadata.name is missing")
    generation = metadata.get("generation")
    return Meta(
        ObjectKey(_text(metadata, "namespace"), name),
        _text(metadata, "uid"),
        generation if type(generation) is int else 0,
        _text(metadata, "resourceVersion"),
        _texts(metadata, "labels"),
    )


def read_namespace(raw: object) -> Namespace:
    """With all of its labels: selectors of policies may name any."""
    meta = read_meta(raw, "Namespace")
    return Namespace(meta.key.name, meta.labels)


def read_document(raw: object, kind: str) -> RawDocument:
    """Without the metadata that changes no meaning, such as managedFields, which can be most of it."""
    meta = read_meta(raw, kind)
    whole = _object(raw, kind)
    head = {"name": meta.key.name, "namespace": meta.key.namespace}
    kept = {key: whole[key] for key in ("apiVersion", "kind", "spec", "status") if key in whole}
    return RawDocument(
        kind,
        meta.key.namespace,
        meta.key.name,
        meta.uid,
        meta.generation,
        meta.resource_version,
        {**kept, "metadata": head},
    )


class SecretData(Struct, frozen=True):
    key: ObjectKey
    resource_version: str
    data: Mapping[str, bytes]

    __repr__ = hiding("data")


def read_secret(raw: object) -> SecretData:
    meta = read_meta(raw, "Secret")
    data = {}
    for name, text in _texts(_object(raw, "Secret"), "data").items():
        try:
            data[name] = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise ObjectFault(f"data.{name} is not base64") from None
    return SecretData(meta.key, meta.resource_version, data)


class Lease(Struct, frozen=True):
    """`holder` is empty where nobody holds it."""

    resource_version: str
    holder: str = ""
    seconds: int = 0
    transitions: int = 0
    acquired: str = ""
    renewed: str = ""


def read_lease(raw: object) -> Lease:
    meta = read_meta(raw, "Lease")
    spec = _mapping(_object(raw, "Lease"), "spec")
    return Lease(
        meta.resource_version,
        _text(spec, "holderIdentity"),
        _number(spec, "leaseDurationSeconds"),
        _number(spec, "leaseTransitions"),
        _text(spec, "acquireTime"),
        _text(spec, "renewTime"),
    )


def read_kubelet(raw: object) -> tuple[int, int] | None:
    """The version of a node's kubelet, (1, 29). None for a node that no sidecar can run on (Windows)."""
    if read_meta(raw).labels.get("kubernetes.io/os") == "windows":
        return None
    version = _text(_mapping(_mapping(_object(raw, "Node"), "status"), "nodeInfo"), "kubeletVersion")
    found = _VERSION(version)
    if found is None:
        raise ObjectFault("status.nodeInfo.kubeletVersion is no version of Kubernetes")
    return int(found[1]), int(found[2])


# --- fields: absent and null are what Go makes of them --------------------------------------------


def _object(value: object, what: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise ObjectFault(f"{what} is not an object")
    return value


def _mapping(parent: Mapping[str, object], key: str) -> Mapping[str, object]:
    value = parent.get(key)
    return {} if value is None else _object(value, key)


def _text(parent: Mapping[str, object], key: str) -> str:
    value = parent.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ObjectFault(f"{key} is not text")
    return value


def _number(parent: Mapping[str, object], key: str) -> int:
    value = parent.get(key)
    if value is None:
        return 0
    if type(value) is not int:
        raise ObjectFault(f"{key} is not a number")
    return value


def _texts(parent: Mapping[str, object], key: str) -> Mapping[str, str]:
    pairs = _mapping(parent, key)
    texts = {name: value for name, value in pairs.items() if isinstance(value, str)}
    if len(texts) != len(pairs):
        raise ObjectFault(f"{key} has values that are not text")
    return texts
