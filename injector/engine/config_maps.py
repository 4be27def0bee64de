"""The two ConfigMaps that the injector writes into a namespace, and what to do to have them there."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Final

from injector.core.api import JsonObject
from proxy.core.contract import (
    API_GROUP,
    MANAGED_BY,
    MANAGED_BY_LABEL,
    POLICY_CONFIG_MAP,
    POLICY_KEY,
    TRUST_CONFIG_MAP,
)
from proxy.core.structs import Struct

# Tells a text that we wrote from one that somebody has edited since: only ours is worth falling back to.
DIGEST_ANNOTATION: Final = f"{API_GROUP}/digest"


def policy_config_map(namespace: str, text: str) -> JsonObject:
    """What sidecars of the namespace mount."""
    return _config_map(namespace, POLICY_CONFIG_MAP, {POLICY_KEY: text}, {DIGEST_ANNOTATION: digest(text)})


def trust_config_map(namespace: str, data: Mapping[str, str]) -> JsonObject:
    """What containers with `envFrom` get their trust variables from."""
    return _config_map(namespace, TRUST_CONFIG_MAP, dict(data), {})


def digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def _config_map(namespace: str, name: str, data: dict[str, str], annotations: dict[str, str]) -> JsonObject:
    metadata = {
        "name": name,
        "namespace": namespace,
        "labels": {MANAGED_BY_LABEL: MANAGED_BY},
        "annotations": annotations,
    }
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


# --- what is there ----------------------------------------------------------------------------------------


def is_ours(config_map: JsonObject) -> bool:
    """Whether it carries the label that we put on it. Whoever may write ConfigMaps could, too."""
    return _texts(_metadata(config_map).get("labels")).get(MANAGED_BY_LABEL) == MANAGED_BY


def written_policy(config_map: JsonObject) -> str | None:
    """The text that we wrote; None where it is not ours, or not as we left it."""
    text = _texts(config_map.get("data")).get(POLICY_KEY)
    noted = _texts(_metadata(config_map).get("annotations")).get(DIGEST_ANNOTATION)
    return text if text is not None and is_ours(config_map) and noted == digest(text) else None


def _metadata(config_map: JsonObject) -> JsonObject:
    metadata = config_map.get("metadata")
    return metadata if isinstance(metadata, Mapping) else {}


def _texts(found: object) -> dict[str, str]:
    pairs = found.items() if isinstance(found, Mapping) else ()
    return {str(key): value for key, value in pairs if isinstance(value, str)}


# --- what has to be done -----------------------------------------------------------------------------------


class Create(Struct, frozen=True):
    config_map: JsonObject


class Replace(Struct, frozen=True):
    """With the resource version of what is there, so that a change in between makes it fail."""

    config_map: JsonObject
    # What was there was not ours. The names are reserved: it is replaced, and the owner is told.
    taken_over: bool


class Recreate(Struct, frozen=True):
    """The API server lets nobody change an immutable ConfigMap: it is deleted, and created anew."""

    config_map: JsonObject
    uid: str
    taken_over: bool


Write = Create | Replace | Recreate


def difference(existing: JsonObject | None, desired: JsonObject) -> Write | None:
    """None where there is nothing to do. Labels and annotations of others stay; data of others does not.

    What others could tie the object to (owners, finalizers) goes: it would vanish with them, or outlive us.
    """
    if existing is None:
        return Create(desired)
    found, wanted = _metadata(existing), _metadata(desired)
    taken_over = not is_ours(existing)
    if existing.get("immutable") is True:
        if _texts(existing.get("data")) == desired["data"] and not taken_over:
            return None
        return Recreate(desired, str(found.get("uid", "")), taken_over)
    labels = _texts(found.get("labels")) | wanted["labels"]
    annotations = _texts(found.get("annotations")) | wanted["annotations"]
    same = (
        existing.get("data") == desired["data"]
        and not existing.get("binaryData")
        and _texts(found.get("labels")) == labels
        and _texts(found.get("annotations")) == annotations
        and not found.get("ownerReferences")
        and not found.get("finalizers")
    )
    if same:
        return None
    metadata = {
        "name": wanted["name"],
        "namespace": wanted["namespace"],
        "labels": labels,
        "annotations": annotations,
        **{key: found[key] for key in ("resourceVersion", "uid") if isinstance(found.get(key), str)},
    }
    return Replace({**desired, "metadata": metadata}, taken_over)
