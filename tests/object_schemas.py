"""Whether an object is one that Kubernetes knows, by its version's own schema, and strictly: no field more.

`kubernetes-validate --strict` reads all of a version's schemas for each object; here they are read once.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from jsonschema.validators import Draft202012Validator
from kubernetes_validate.utils import all_versions, major_minor, schema_contents
from referencing import Registry, Resource

from tests.foreign_kinds import FOREIGN


def faults_of(manifest: Mapping[str, Any], version: str) -> list[str]:
    """What is wrong with it, and where; of a kind that is not Kubernetes' own by tests/foreign_kinds.py."""
    kind, api_version = manifest["kind"], manifest["apiVersion"]
    schema = Draft202012Validator(FOREIGN[kind]) if kind in FOREIGN else _schema(kind, api_version, version)
    return [f"{error.json_path}: {error.message}" for error in schema.iter_errors(manifest)]


@cache
def _schema(kind: str, api_version: str, version: str) -> Draft202012Validator:
    """Raises where the version does not know the kind."""
    group, _, name = api_version.rpartition("/")
    parts = [kind.lower(), *filter(None, [group.partition(".")[0]]), name]
    schema = schema_contents(f"{_folder(version)}/{'-'.join(parts)}.json", version)
    return Draft202012Validator(schema, registry=Resource.from_contents(schema) @ _definitions(version))


@cache
def _definitions(version: str) -> Registry[Any]:
    whole: Registry[Any] = Registry()
    return Resource.from_contents(schema_contents(f"{_folder(version)}/_definitions.json", version)) @ whole


def _folder(version: str) -> str:
    whole = next(one for one in all_versions() if major_minor(one) == version)
    return f"kubernetes-json-schema/v{whole}-local-strict"
