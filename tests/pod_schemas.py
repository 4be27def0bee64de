"""Kubernetes' own schemas of pods: those of kubernetes-validate, and what a real API server published."""

import json
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from jsonschema.validators import Draft202012Validator
from kubernetes_validate.utils import all_versions, major_minor, schema_contents
from referencing import Registry, Resource

VERSIONS: Final = tuple(f"1.{minor}" for minor in range(29, 38))
# The OpenAPI document of a real API server, 1.6 MB, which the repository does not carry.
OPENAPI_FOLDER: Final = Path(
    os.environ.get("PODKEY_K8S_OPENAPI", Path(__file__).parents[2] / "shared" / "k8s" / "openapi")
)
OPENAPI: Final = OPENAPI_FOLDER / "core-v1.json"
_POD: Final = "io.k8s.api.core.v1.Pod"


@cache
def pod_schema(version: str) -> Draft202012Validator:
    """As `kubernetes-validate --strict` has it, which reads it anew for each object."""
    whole = next(one for one in all_versions() if major_minor(one) == version)
    folder = f"kubernetes-json-schema/v{whole}-local-strict"
    schema = schema_contents(f"{folder}/pod-v1.json", version)
    definitions = Resource.from_contents(schema_contents(f"{folder}/_definitions.json", version))
    registry: Registry[Any] = definitions @ (Resource.from_contents(schema) @ Registry())
    return Draft202012Validator(schema, registry=registry)


@cache
def served_schema() -> Draft202012Validator:
    """Of the API server itself, without the fields that it does not know."""
    schemas = json.loads(OPENAPI.read_bytes())["components"]["schemas"]
    for schema in schemas.values():
        if "properties" in schema:
            schema.setdefault("additionalProperties", False)
    return Draft202012Validator({"$ref": f"#/components/schemas/{_POD}", "components": {"schemas": schemas}})


def faults(schema: Draft202012Validator, pod: Mapping[str, Any]) -> set[str]:
    """Without their places: what the injector puts in front moves what is behind it."""
    return {f"{error.validator}: {error.message}" for error in schema.iter_errors(pod)}
