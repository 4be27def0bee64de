"""The examples as files: their stories, the objects in their manifests, and Kubernetes' schemas of those."""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from jsonschema.validators import Draft202012Validator
from kubernetes_validate.utils import all_versions, major_minor, schema_contents
from referencing import Registry, Resource

from injector.reading.templates import pods_of
from tests.command_line import EXAMPLES

Raw = dict[str, Any]

# Each is a story with pods and requests; the other folders hold a file for each thing of a kind.
STORIES: Final = sorted(path for path in EXAMPLES.iterdir() if path.name[:2].isdigit())
# What no manifest is: questions to `podkey explain`, and documents of AWS.
_OTHERS: Final = frozenset({"request.json", "requests.json", "trust-policy.json", "permissions.json"})


def story(name: str) -> Path:
    """By its number, such as `02`."""
    (found,) = (path for path in STORIES if path.name.startswith(f"{name}-"))
    return found


def manifest_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.json") if path.name not in _OTHERS)


def objects_of(file: Path) -> Iterator[Raw]:
    """What `kubectl apply -f` makes of a file."""
    whole: Raw = json.loads(file.read_text())
    if whole["kind"] == "List":
        yield from whole["items"]
    else:
        yield whole


def pods_in(manifest: Raw) -> list[Raw]:
    """Those that a manifest shows: its own templates', as their controller makes them."""
    found = pods_of(manifest)
    return [one.pod for one in found] if isinstance(found, tuple) else []


@cache
def _definitions(version: str) -> tuple[str, Registry[Any]]:
    whole = next(one for one in all_versions() if major_minor(one) == version)
    folder = f"kubernetes-json-schema/v{whole}-local-strict"
    contents = schema_contents(f"{folder}/_definitions.json", version)
    registry: Registry[Any] = Registry().with_resource("_definitions.json", Resource.from_contents(contents))
    return folder, registry


@cache
def _schema(name: str, version: str) -> Draft202012Validator:
    folder, registry = _definitions(version)
    schema = schema_contents(f"{folder}/{name}.json", version)
    return Draft202012Validator(schema, registry=Resource.from_contents(schema) @ registry)


def schema_faults(manifest: Mapping[str, Any], version: str) -> list[str]:
    """Of an object of Kubernetes itself, as `kubernetes-validate --strict` finds them."""
    group, _, number = str(manifest["apiVersion"]).rpartition("/")
    parts = [str(manifest["kind"]), *([group.partition(".")[0]] if group else []), number]
    schema = _schema("-".join(parts).lower(), version)
    return [f"{error.json_path}: {error.message}" for error in schema.iter_errors(manifest)]


def is_of_kubernetes(manifest: Mapping[str, Any]) -> bool:
    """Not of an operator: its group has no name of a domain other than Kubernetes' own."""
    group = str(manifest["apiVersion"]).rpartition("/")[0]
    return "." not in group or group.endswith(".k8s.io")
