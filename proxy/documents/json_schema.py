"""The shapes as JSON Schema, for editors, and as CustomResourceDefinitions, for clusters."""

from copy import deepcopy
from typing import Any, Final

from proxy.core.contract import (
    ACCESS_POLICY,
    API_GROUP,
    API_VERSION,
    CATALOGUE_ENTRY,
    CREDENTIAL_SOURCE,
)
from proxy.documents.credential_documents import SOURCE_SPEC
from proxy.documents.policy_documents import POLICY_SPEC
from proxy.documents.reader import DOCUMENTS
from proxy.documents.reading import JsonSchema

_PLURALS: Final = {ACCESS_POLICY: "accesspolicies", CREDENTIAL_SOURCE: "credentialsources"}
# What the injector writes there; open, because conditions grow. As Kubernetes' own kinds have it.
_STATUS: Final[JsonSchema] = {
    "type": "object",
    "x-kubernetes-preserve-unknown-fields": True,
    "properties": {
        "observedGeneration": {"type": "integer", "description": "The `generation` that this speaks of."},
        "matchedPods": {
            "type": "integer",
            "description": "Pods with a sidecar that the policy selects, when they were last counted.",
        },
        "conditions": {
            "type": "array",
            "maxItems": 16,
            "description": "`Accepted`: it is sound. `Compiled`: it is in force.",
            "items": {
                "type": "object",
                "required": ["type", "status"],
                "properties": {
                    "type": {"type": "string"},
                    "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
                    "reason": {"type": "string"},
                    "message": {"type": "string"},
                    "observedGeneration": {"type": "integer"},
                    "lastTransitionTime": {"type": "string"},
                },
            },
        },
        "problems": {
            "type": "array",
            "maxItems": 64,
            "description": "The first of what is wrong with it, and how to mend each.",
            "items": {
                "type": "object",
                "properties": {
                    "path": {"type": "string"},
                    "message": {"type": "string"},
                    "fix": {"type": "string"},
                },
            },
        },
    },
}


def _condition_column(name: str) -> dict[str, str]:
    path = f'.status.conditions[?(@.type=="{name}")].status'
    return {"name": name, "type": "string", "jsonPath": path}


_SHORT_NAMES: Final = {ACCESS_POLICY: ["apol"], CREDENTIAL_SOURCE: ["csrc"]}
KINDS: Final = (ACCESS_POLICY, CREDENTIAL_SOURCE, CATALOGUE_ENTRY)
CLUSTER_KINDS: Final = tuple(_PLURALS)


def json_schema(kind: str) -> JsonSchema:
    """A closed schema (draft 2020-12) of one kind of document."""
    schema = _closed(deepcopy(DOCUMENTS[kind].schema()))
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"https://{API_GROUP}/schemas/v1alpha1/{kind.lower()}.json",
        "title": f"podkey {kind}",
    }
    return {**head, **schema}


def _closed(schema: JsonSchema) -> JsonSchema:
    """Unknown keys refused, and exactly-one groups written out."""
    ignored = schema.pop("x-ignored", [])
    groups = schema.pop("x-exactly-one", [])
    if schema.get("type") == "object" and "properties" in schema:
        properties = {name: _closed(value) for name, value in schema["properties"].items()}
        schema["properties"] = {**properties, **{name: {} for name in ignored}}
        schema["additionalProperties"] = False
    elif "items" in schema:
        schema["items"] = _closed(schema["items"])
    elif isinstance(schema.get("additionalProperties"), dict):
        schema["additionalProperties"] = _closed(schema["additionalProperties"])
    if groups:
        schema["allOf"] = [{"oneOf": [{"required": [name]} for name in g]} for g in groups]
    return schema


def custom_resource_definition(kind: str) -> dict[str, Any]:
    """The CRD of a kind that clusters hold: a structural schema, unions checked by CEL."""
    spec = {ACCESS_POLICY: POLICY_SPEC, CREDENTIAL_SOURCE: SOURCE_SPEC}[kind]
    plural = _PLURALS[kind]
    columns = {
        ACCESS_POLICY: [
            {"name": "Mode", "type": "string", "jsonPath": ".spec.mode"},
            {"name": "Accounts", "type": "string", "jsonPath": ".spec.workloads.serviceAccounts"},
            _condition_column("Accepted"),
            _condition_column("Compiled"),
            {"name": "Pods", "type": "integer", "jsonPath": ".status.matchedPods"},
        ],
        CREDENTIAL_SOURCE: [
            {"name": "Secret", "type": "string", "jsonPath": ".spec.mountedSecret.secretName"},
            _condition_column("Accepted"),
            _condition_column("Compiled"),
        ],
    }[kind]
    age = {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}
    schema = {
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": _structural(deepcopy(spec.schema())),
            "status": deepcopy(_STATUS),
        },
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{API_GROUP}"},
        "spec": {
            "group": API_GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": plural,
                "singular": kind.lower(),
                "shortNames": _SHORT_NAMES[kind],
                "categories": ["podkey"],
            },
            "versions": [
                {
                    "name": API_VERSION.partition("/")[2],
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [*columns, age],
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
        },
    }


def _structural(schema: JsonSchema) -> JsonSchema:
    """As Kubernetes wants it: no `additionalProperties: false` beside properties, unions as CEL rules."""
    schema.pop("x-ignored", None)
    groups = schema.pop("x-exactly-one", [])
    if "properties" in schema:
        # Else the API server takes unknown keys away before its webhooks see them, and a mistyped `prefixes`
        # would be a wider grant that nobody is told of. So our parser refuses it, and says what was meant.
        schema["x-kubernetes-preserve-unknown-fields"] = True
        schema["properties"] = {n: _structural(value) for n, value in schema["properties"].items()}
        if not schema["properties"]:
            del schema["properties"]
    if "items" in schema:
        schema["items"] = _structural(schema["items"])
    if isinstance(schema.get("additionalProperties"), dict):
        schema["additionalProperties"] = _structural(schema["additionalProperties"])
    if groups:
        schema["x-kubernetes-validations"] = [
            {
                "rule": " + ".join(f"(has(self.{name}) ? 1 : 0)" for name in group) + " == 1",
                "message": "exactly one of " + ", ".join(group) + " is needed",
            }
            for group in groups
        ]
    return schema
