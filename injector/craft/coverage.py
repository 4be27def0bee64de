"""Whether something that has the name of ours is ours: every field that we write is there as we write it.

Between two calls the API server and other webhooks add to our containers, too, so a part of what may be
besides is let pass. What could run a program in the sidecar, change what its own runs, or show what it keeps
is not: then the pod is refused, whoever did it.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any, Final

from injector.core.outcome import Finding
from injector.craft.reserved import normal_path
from injector.reading.pod_fields import shown
from injector.reading.pods import Container, Volume
from proxy.core.injection_codes import InjectionCode
from proxy.core.structs import Struct
from proxy.documents.settings_table import GPU

type Raw = Mapping[str, Any]

# Of a value in a message: enough to recognise it, and too little for what does not belong into a log.
_MAX_SHOWN: Final = 64

# One tells that it is not ours, and some more what to change. A forged container can have a hundred thousand.
MAX_FAULTS: Final = 16

# A field of a container that says nothing about what runs in it.
_FREE_FIELD: Final = "resizePolicy"
# What LimitRanger, VPA or GKE's Autopilot fill in. Other kinds are devices, as claims are: a device's plugin
# puts variables, files and libraries of its own into the container.
_RESOURCES: Final = re.compile(r"cpu|memory|ephemeral-storage|hugepages-.*").fullmatch
# The plugin AlwaysPullImages writes it: the image is the same, and who runs it must be allowed to pull it.
_PULL: Final = "imagePullPolicy"
_PULL_ALWAYS: Final = "Always"
# What the API server writes where nobody has said anything.
_DEFAULTS: Final = frozenset(
    {
        ("terminationMessagePath", "/dev/termination-log"),
        # The other one copies the end of the log to where everybody who may see the pod can read it.
        ("terminationMessagePolicy", "File"),
        ("procMount", "Default"),
        ("mountPropagation", "None"),
        ("recursiveReadOnly", "Disabled"),
    }
)
# Variables that webhooks of clouds and of agents add to every container of a pod, and that mean nothing to
# the sidecar: it takes settings from variables of its own names alone. All others are refused, for nobody can
# list those that the interpreter, libc and libraries read: for one, glibc prints the file that
# RESOLV_HOST_CONF names into the log.
_FROM_OTHERS: Final = re.compile(
    # Workload identity of the clouds.
    r"(AWS|AZURE|GOOGLE|GCE|GKE|CLOUDSDK)_[A-Z0-9_]+|"
    # Agents that watch programs, and their libraries.
    r"(DD|DATADOG|DT|ELASTIC|NEW_RELIC|OTEL|SPLUNK)_[A-Z0-9_]+|"
    # Where the pod is. AKS writes KUBERNETES_SERVICE_HOST; the sidecar reads no such variable.
    r"(HOST_IP|(K8S|KUBERNETES|NODE|POD)_[A-Z0-9_]+)|"
    # Time zone and language.
    r"TZ|LANG|LC_[A-Z]+"
).fullmatch
# Where the API server and clouds mount tokens of their own; nothing of ours lies there.
_SECRETS_OF_OTHERS: Final = "/run/secrets/"


class Difference(Struct, frozen=True):
    path: str
    found: object
    # None: nothing should be there.
    expected: object


# Whether something that we did not write may be there.
type Leave = Callable[[str, object], bool]


def container_faults(found: Container, expected: Raw) -> Iterator[Finding]:
    fix = "rename the container, or exempt podkey's containers from the webhook that changes them"
    code = InjectionCode.RESERVED_CONTAINER
    findings = (_finding(code, found.name, difference, fix) for difference in _container(found, expected))
    yield from bounded(findings, found.path)


def volume_faults(found: Volume, expected: Raw) -> Iterator[Finding]:
    path = f"spec.volumes[{found.index}]"
    for difference in _differences(found.raw, expected, path, _is_plain):
        yield _finding(InjectionCode.RESERVED_VOLUME, found.name, difference, "rename the volume")


def bounded(findings: Iterator[Finding], where: str) -> Iterator[Finding]:
    """The first of them, and whether there are more: these are not even looked for."""
    yield from islice(findings, MAX_FAULTS)
    if (one := next(findings, None)) is not None:
        yield Finding(one.code, f"and more in {where}", one.fix)


def not_expected(code: InjectionCode, path: str, name: str) -> Finding:
    return Finding(code, f"{path} is called `{name}`, and podkey has none in this pod", "rename it")


def _finding(code: InjectionCode, name: str, difference: Difference, fix: str) -> Finding:
    found, expected = _shown(difference.found), _shown(difference.expected)
    return Finding(code, f"{difference.path} of `{name}` is {found}, and podkey writes {expected}", fix)


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    text = json.dumps(value)
    return f"`{text[:_MAX_SHOWN]}{'…' if len(text) > _MAX_SHOWN else ''}`"


def _container(found: Container, expected: Raw) -> Iterator[Difference]:
    raw, path = found.raw, found.path
    yield from _env(found, expected.get("env", []))
    yield from _mounts(found, expected.get("volumeMounts", []))
    yield from _resources(found)
    apart = {"env", "volumeMounts", "resources", _FREE_FIELD}
    if raw.get(_PULL) == _PULL_ALWAYS:
        apart.add(_PULL)
    for key, value in expected.items():
        if key not in apart:
            leave = _is_number if key.endswith("Probe") else _is_default
            yield from _differences(raw.get(key), value, f"{path}.{key}", leave)
    for key, value in raw.items():
        if key not in apart and key not in expected and not _may_stay(key, value, _is_default):
            yield Difference(f"{path}.{key}", value, None)


def _env(found: Container, expected: list[Raw]) -> Iterator[Difference]:
    """By name, each of them: the kubelet takes the last one of a name."""
    wanted = {entry["name"]: entry for entry in expected}
    for name in sorted(wanted.keys() - found.env.keys()):
        yield Difference(f"{found.path}.env[{shown(name)}]", None, wanted[name])
    for entry in found.raw.get("env") or ():
        name = entry.get("name") or ""
        path = f"{found.path}.env[{shown(name)}]"
        if name in wanted:
            if name != GPU.name or entry.get("value") not in {"true", "false"}:
                yield from _differences(entry, wanted[name], path, _is_plain)
        elif not _FROM_OTHERS(name):
            yield Difference(path, entry.get("value", entry.get("valueFrom", "")), None)


def _mounts(found: Container, expected: list[Raw]) -> Iterator[Difference]:
    wanted = {mount["mountPath"]: mount for mount in expected}
    there = {mount.path for mount in found.mounts}
    for path in sorted(wanted.keys() - there):
        yield Difference(f"{found.path}.volumeMounts[{shown(path)}]", None, wanted[path])
    for mount in found.mounts:
        path = f"{found.path}.volumeMounts[{shown(mount.path)}]"
        if mount.path in wanted:
            yield from _differences(mount.raw, wanted[mount.path], path, _is_default)
        elif not normal_path(mount.path).startswith(_SECRETS_OF_OTHERS):
            yield Difference(path, mount.raw, None)


def _resources(found: Container) -> Iterator[Difference]:
    path, resources = f"{found.path}.resources", found.resources
    if resources.claims:
        yield Difference(f"{path}.claims", resources.claims, None)
    for key, quantities in (("requests", resources.requests), ("limits", resources.limits)):
        for name in quantities:
            if not _RESOURCES(name):
                yield Difference(f"{path}.{key}[{shown(name)}]", found.raw["resources"][key][name], None)


# --- the comparison ------------------------------------------------------------------------------------


def _differences(found: object, expected: object, path: str, leave: Leave) -> Iterator[Difference]:
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        for key, value in expected.items():
            yield from _differences(found.get(key), value, f"{path}.{key}", leave)
        for key, value in found.items():
            if key not in expected and not _may_stay(key, value, leave):
                yield Difference(f"{path}.{key}", value, None)
    elif isinstance(expected, list) and isinstance(found, list) and len(found) == len(expected):
        for index, (one, other) in enumerate(zip(found, expected, strict=True)):
            yield from _differences(one, other, f"{path}[{index}]", leave)
    # True is 1 to Python.
    elif type(found) is not type(expected) or found != expected:
        yield Difference(path, found, expected)


def _may_stay(key: str, value: object, leave: Leave) -> bool:
    # What a webhook in Go writes for a field that it has not set.
    return value is None or value in ("", False, [], {}) or leave(key, value)


def _is_default(key: str, value: object) -> bool:
    return isinstance(value, str) and (key, value) in _DEFAULTS


def _is_number(_key: str, value: object) -> bool:
    """Of a probe: times and thresholds. Another way to probe would be an object."""
    return isinstance(value, int)


def _is_plain(_key: str, value: object) -> bool:
    """`defaultMode`, `apiVersion`: a further source of a volume or variable would be an object."""
    return isinstance(value, str | int)
