"""ConfigMaps of ours that no namespace needs any more: what the sweeper deletes."""

from collections.abc import Iterable, Mapping
from typing import Final

from injector.core.api import JsonObject
from injector.core.cluster import Namespace, NamespaceInjection
from injector.engine.config_maps import is_ours
from injector.reading.namespaces import injection_of
from proxy.core.contract import POLICY_CONFIG_MAP, TRUST_CONFIG_MAP
from proxy.core.structs import Struct

NAMES: Final = frozenset({POLICY_CONFIG_MAP, TRUST_CONFIG_MAP})
# Where pods never get a sidecar, whatever the labels say.
PROTECTED: Final = frozenset({"kube-system", "kube-public", "kube-node-lease"})


class Orphan(Struct, frozen=True):
    """To be deleted with `uid` and `resource_version` as preconditions: it may have changed since."""

    namespace: str
    name: str
    uid: str
    resource_version: str


def is_served(namespace: Namespace, own_namespace: str) -> bool:
    """Whether its pods may get sidecars, and so whether policies are compiled for it."""
    protected = namespace.name in PROTECTED or namespace.name == own_namespace
    return not protected and injection_of(namespace) in {NamespaceInjection.ENABLED, NamespaceInjection.ALL}


def orphans(
    config_maps: Iterable[JsonObject], namespaces: Mapping[str, Namespace], own_namespace: str
) -> tuple[Orphan, ...]:
    """Of a list by our label: our names, where the namespace says clearly that it is not served.

    A label with a typing error does not take the policies of running pods away, and a namespace that we do
    not know takes its objects with it when it goes.
    """
    found = []
    for config_map in config_maps:
        metadata = config_map.get("metadata")
        if not isinstance(metadata, Mapping):
            continue
        name, namespace = metadata.get("name"), namespaces.get(str(metadata.get("namespace")))
        if name not in NAMES or namespace is None or not is_ours(config_map):
            continue
        if is_served(namespace, own_namespace):
            continue
        unclear = not isinstance(injection_of(namespace), NamespaceInjection)
        if unclear and namespace.name not in PROTECTED | {own_namespace}:
            continue
        versions = (str(metadata.get(key, "")) for key in ("uid", "resourceVersion"))
        found.append(Orphan(namespace.name, str(name), *versions))
    return tuple(sorted(found, key=lambda orphan: (orphan.namespace, orphan.name)))
