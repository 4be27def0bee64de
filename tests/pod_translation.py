"""What podman 4.3 lacks of a pod, and what stands for it. Everything else it is given untouched.

    translated(stored, folders, fields)   # a pod as the API server stores it -> what `podman play kube` takes

`TABLE` is all of it, and docs/pods.md shows it. `changed` tells two pods apart in the words of the table, so
that a test can hold the difference between what the injector wrote and what is played to these rows.
"""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

Raw = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """`place`: where in the pod, as `changed` names it. `[]` is each item of a list, `{}` each container."""

    place: str
    lacks: str
    stands: str


TABLE: Final = (
    Row(
        "spec.initContainers[].restartPolicy",
        "native sidecars: it runs init containers to their end, one after the other",
        "the container stands first among `containers`; the test starts all containers in the kubelet's "
        "order, and ends the sidecar after the application",
    ),
    Row(
        "spec.restartPolicy",
        "that `Always` is not about init containers: it would start those again as well",
        "`Never`; the test starts a container again where it plays the kubelet that does",
    ),
    Row(
        "spec.{}[].startupProbe",
        "startup probes, and that the next container waits for one",
        "the test asks as the kubelet does, from the node, and then starts the next container",
    ),
    Row(
        "spec.{}[].livenessProbe",
        "probes from the node: it would run `curl` inside of the container, by a timer of systemd",
        "nothing; the test asks for the page once",
    ),
    Row(
        "spec.{}[].ports",
        "ports that are only told: it maps them, which it refuses where it makes no network of its own",
        "nothing: the pod's address reaches every port, as in a cluster",
    ),
    Row(
        "spec.{}[].env[].valueFrom",
        "most fields of the downward API (`spec.nodeName`, `spec.serviceAccountName`, `status.podIP`)",
        "the value itself",
    ),
    Row(
        "metadata.annotations[]",
        "annotations of more than 63 characters",
        "nothing: the sidecar reads them in the downward API's files, where they are whole",
    ),
    Row(
        "spec.volumes[].emptyDir",
        "the mode 0777, and `medium: Memory` with a size",
        "`hostPath`: a folder with that mode, and for `Memory` a tmpfs of that size",
    ),
    Row(
        "spec.volumes[].configMap",
        "the links by which the kubelet replaces a volume's files at once",
        "`hostPath`: a folder written as the kubelet writes it",
    ),
    Row("spec.volumes[].secret", "the same", "the same"),
    Row("spec.volumes[].downwardAPI", "volumes of the downward API", "the same"),
    Row(
        "spec.volumes[].projected",
        "projected volumes, and tokens of service accounts",
        "the same; the tokens are signed by an issuer of the test, whose keys the sidecar fetches",
    ),
    Row(
        "spec.volumes[] added",
        "`hostAliases` and a DNS of the cluster, where it makes no network of its own",
        "`/etc/hosts` and `/etc/resolv.conf` are mounted into each container, as the kubelet does",
    ),
    Row("spec.{}[].volumeMounts[] added", "the same", "the same"),
)

# The files that a kubelet mounts into each container, by the name that their volume gets.
NODE_FILES: Final[Mapping[str, str]] = {"hosts": "/etc/hosts", "resolv-conf": "/etc/resolv.conf"}
# It takes the limit of labels for that of annotations.
LONGEST_ANNOTATION: Final = 63
# What a folder of the node stands for.
_SOURCES: Final = ("emptyDir", "configMap", "secret", "downwardAPI", "projected")
_NEVER_ASKED: Final = ("startupProbe", "livenessProbe", "ports")


def translated(stored: Raw, folders: Mapping[str, Path], fields: Mapping[str, str]) -> Raw:
    """`folders`: of each volume and of each name in NODE_FILES. `fields`: what each `fieldPath` means."""
    pod = copy.deepcopy(stored)
    annotations = pod["metadata"].get("annotations", {})
    for name in [name for name, text in annotations.items() if len(text) > LONGEST_ANNOTATION]:
        del annotations[name]
    spec = pod["spec"]
    spec["restartPolicy"] = "Never"
    first = [one for one in spec.get("initContainers", ()) if one.get("restartPolicy") == "Always"]
    if first:
        spec["initContainers"] = [one for one in spec["initContainers"] if one not in first]
        spec["containers"] = [*first, *spec["containers"]]
    for container in (*spec.get("initContainers", ()), *spec["containers"]):
        container.pop("restartPolicy", None)
        for name in _NEVER_ASKED:
            container.pop(name, None)
        for entry in container.get("env", ()):
            _give_value(entry, fields)
        mounts = container.setdefault("volumeMounts", [])
        mounts += [{"name": name, "mountPath": path, "readOnly": True} for name, path in NODE_FILES.items()]
    volumes = spec.setdefault("volumes", [])
    for volume in volumes:
        for source in _SOURCES:
            if volume.pop(source, None) is not None:
                volume["hostPath"] = {"path": str(folders[volume["name"]])}
    volumes += [{"name": name, "hostPath": {"path": str(folders[name])}} for name in NODE_FILES]
    return pod


def _give_value(entry: Raw, fields: Mapping[str, str]) -> None:
    if source := entry.pop("valueFrom", None):
        entry["value"] = fields[source["fieldRef"]["fieldPath"]]
    elif "$(" in entry.get("value", ""):
        # podman hands it on as it is, where the kubelet puts another variable's value in its place.
        raise ValueError(f"{entry['name']} refers to another variable: this table has no row for that")


# --- what is different ---------------------------------------------------------------------------

_KINDS: Final = ("initContainers", "containers")
_BY_NAME: Final = ("metadata.annotations", "metadata.labels")
# What stands for something that is gone is not told a second time.
_STANDS: Final = {"valueFrom": "value", **dict.fromkeys(_SOURCES, "hostPath")}


def changed(before: Raw, after: Raw) -> set[str]:
    """Every place that differs, in the words of the table. What has a name in a list goes by it."""
    left, right = (dict(_containers(pod)) for pod in (before, after))
    found: set[str] = set()
    if list(left) != list(right):
        found.add("spec.{}[]")
    for name in left.keys() & right.keys():
        (kind, old), (now, new) = left[name], right[name]
        if kind != now or old.get("restartPolicy") != new.get("restartPolicy"):
            found.add(f"spec.{kind}[].restartPolicy")
        found |= set(
            _differences(_without(old, "restartPolicy"), _without(new, "restartPolicy"), "spec.{}[]")
        )
    before, after = ({**pod, "spec": _without(pod["spec"], *_KINDS)} for pod in (before, after))
    return found | set(_differences(before, after, ""))


def _containers(pod: Raw) -> Iterator[tuple[str, tuple[str, Raw]]]:
    for kind in _KINDS:
        for container in pod["spec"].get(kind, ()):
            yield container["name"], (kind, container)


def _without(fields: Raw, *names: str) -> Raw:
    return {key: value for key, value in fields.items() if key not in names}


def _differences(before: Any, after: Any, place: str) -> Iterator[str]:
    if before == after:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        gone = before.keys() - after.keys()
        told = {_STANDS[key] for key in gone if key in _STANDS}
        # Annotations have names of their own, which no table can list.
        yield from (f"{place}[]" if place in _BY_NAME else f"{place}.{key}".removeprefix(".") for key in gone)
        for key in after.keys() - told:
            empty: list[Raw] | None = [] if _named(after[key]) else None
            yield from _differences(before.get(key, empty), after[key], f"{place}.{key}".removeprefix("."))
    elif _named(before) and _named(after):
        old, new = ({one["name"]: one for one in items} for items in (before, after))
        if list(old) != [name for name in new if name in old]:
            yield f"{place}[]"
        for name in old.keys() & new.keys():
            yield from _differences(old[name], new[name], f"{place}[]")
        if new.keys() - old.keys():
            yield f"{place}[] added"
    else:
        yield place


def _named(items: Any) -> bool:
    return isinstance(items, list) and all(isinstance(one, dict) and "name" in one for one in items)
