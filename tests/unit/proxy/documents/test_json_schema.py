import json
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from proxy.core.credentials import CredentialSource
from proxy.core.policy import AccessPolicy
from proxy.documents.json_schema import CLUSTER_KINDS, KINDS, custom_resource_definition, json_schema
from proxy.documents.render import render_one
from tests.document_strategies import (
    CREDENTIAL_SOURCES,
    POLICIES,
    policy,
    schema_nodes,
    service_entry,
    source,
)

ROOT = Path(__file__).parents[4]
EXAMPLES = sorted(ROOT.glob("examples/**/*.yaml"))
CATALOGUE = sorted(ROOT.glob("proxy/services/catalogue/*.yaml"))


class _Timestamps(yaml.SafeLoader):
    """A reader of YAML that leaves dates as text, as every reader that makes JSON of it does."""


_Timestamps.yaml_implicit_resolvers = {
    key: [pair for pair in pairs if pair[0] != "tag:yaml.org,2002:timestamp"]
    for key, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def as_json(text: str) -> list[dict[str, Any]]:
    documents = list(yaml.load_all(text, Loader=_Timestamps))
    return json.loads(json.dumps(documents))  # type: ignore[no-any-return]


VALIDATORS = {kind: Draft202012Validator(json_schema(kind)) for kind in KINDS}


def valid(document: dict[str, Any]) -> bool:
    return VALIDATORS[document["kind"]].is_valid(document)


# --- JSON Schema ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_every_schema_is_a_schema(kind: str) -> None:
    schema = json_schema(kind)
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == f"https://podkey.io/schemas/v1alpha1/{kind.lower()}.json"
    assert schema["title"] == f"podkey {kind}"
    json.dumps(schema)


@pytest.mark.parametrize("kind", KINDS)
def test_every_object_is_closed_and_every_pattern_means_the_whole_text(kind: str) -> None:
    schema = json_schema(kind)
    for at, node in schema_nodes(schema):
        assert not {"x-ignored", "x-exactly-one"} & node.keys(), at
        if "properties" in node:
            assert node["additionalProperties"] is False, at
        if "pattern" in node:
            assert node["pattern"].startswith("^"), at


def test_there_are_examples_and_entries_to_hold_against_it() -> None:
    assert len(EXAMPLES) >= 3
    assert len(CATALOGUE) >= 5


@pytest.mark.parametrize("path", [*EXAMPLES, *CATALOGUE], ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_podkey_ships_is_valid(path: Path) -> None:
    for document in as_json(path.read_text()):
        VALIDATORS[document["kind"]].validate(document)


@given(document=st.one_of(POLICIES, CREDENTIAL_SOURCES))
def test_property_what_is_written_is_valid(document: AccessPolicy | CredentialSource) -> None:
    VALIDATORS[type(document).__name__].validate(render_one(document))


POLICY, SOURCE, ENTRY = policy(), source(), service_entry()


@pytest.mark.parametrize("text", [POLICY, SOURCE, ENTRY, POLICY + "status: {conditions: [1]}\n"])
def test_the_documents_that_the_bad_ones_are_made_of_are_valid(text: str) -> None:
    (document,) = as_json(text)
    assert valid(document)


@pytest.mark.parametrize(
    ("text", "old", "new"),
    [
        (POLICY, "podkey.io/v1alpha1", "podkeyXio/v1alpha1"),
        (POLICY, "podkey.io/v1alpha1", "v1"),
        (POLICY, "metadata: {name: p, namespace: ml}", "metadata: {}"),
        (POLICY, "name: p", "name: P"),
        (POLICY, "name: p", "title: x, name: p"),
        (POLICY, "spec:\n", "specification: 1\nspec:\n"),
        (POLICY, "spec:\n", "spec:\n  modus: x\n"),
        (POLICY, "spec:\n", "spec:\n  mode: maybe\n"),
        (POLICY, "{serviceAccounts: [trainer]}", "{serviceAccounts: []}"),
        (POLICY, "{serviceAccounts: [trainer]}", "{serviceAccounts: trainer}"),
        (POLICY, "{serviceAccounts: [trainer]}", "{serviceAccounts: [no]}"),
        (POLICY, "{serviceAccounts: [trainer]}", "{serviceAccounts: [12]}"),
        (POLICY, "{serviceAccounts: [trainer]}", "{serviceAccounts: [a], gpu: maybe}"),
        (POLICY, "{serviceAccounts: [trainer]}", "{podSelector: {matchLabels: {a: true}}}"),
        (POLICY, "hosts: [api.example.com], ", ""),
        (POLICY, "hosts: [api.example.com], ", "hosts: [], "),
        (POLICY, "hosts: [api.example.com], ", "hosts: [a.example.com], service: s3, "),
        (POLICY, ", credential: one", ""),
        (POLICY, "credential: one", "credential: one, ports: ['443']"),
        (POLICY, "credential: one", "credential: one, ports: [0]"),
        (POLICY, "credential: one", "credential: one, paths: [v1]"),
        (POLICY, "credential: one", "credential: one, methods: ['G T']"),
        (POLICY, "credential: one", "credential: one, query: {a: b}"),
        (POLICY, "credential: one", "credential: one, expectedBucketOwner: '12'"),
        (
            POLICY,
            "spec:\n",
            "spec:\n  validity: {windows: [{days: [Monday], from: '1:00', to: x, timeZone: UTC}]}\n",
        ),
        (SOURCE, "key: token", "key: token, keys: {token: a}"),
        (SOURCE, ", key: token", ""),
        (SOURCE, "bearer: {}", "bearer: {}, sigv4: {}"),
        (SOURCE, "bearer: {}", ""),
        (SOURCE, "bearer: {}", "bearer: {a: b}"),
        (SOURCE, "bearer: {}", "header: {}"),
        (SOURCE, "mountedSecret", "vault"),
        (ENTRY, "  title: Acme\n", ""),
        (ENTRY, "attach: [{bearer: {}}]", "attach: []"),
        (ENTRY, "spec:\n", "spec:\n  opaquePaths: 'true'\n"),
        (ENTRY, "spec:\n", "spec:\n  pins: [{name: p, summary: s}]\n"),
    ],
)
def test_refuses_what_a_schema_can_refuse(text: str, old: str, new: str) -> None:
    assert old in text
    (document,) = as_json(text.replace(old, new, 1))
    assert not valid(document)


# --- CustomResourceDefinitions -------------------------------------------------------------------------


def structural(kind: str) -> dict[str, Any]:
    (version,) = custom_resource_definition(kind)["spec"]["versions"]
    schema = version["schema"]["openAPIV3Schema"]
    assert isinstance(schema, dict)
    return schema


def test_clusters_hold_policies_and_sources() -> None:
    assert CLUSTER_KINDS == ("AccessPolicy", "CredentialSource")


@pytest.mark.parametrize("kind", CLUSTER_KINDS)
@pytest.mark.parametrize("version", ["1.29", "1.34"])
def test_kubernetes_takes_the_definition(kind: str, version: str) -> None:
    kubernetes_validate.validate(custom_resource_definition(kind), version, strict=True)


def test_kubernetes_would_refuse_a_broken_definition() -> None:
    # So that the test above is known to look at anything at all.
    definition = custom_resource_definition("AccessPolicy")
    definition["spec"]["scope"] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(definition, "1.34", strict=True)


@pytest.mark.parametrize("kind", CLUSTER_KINDS)
def test_names_are_those_that_kubernetes_wants(kind: str) -> None:
    definition = custom_resource_definition(kind)
    spec, names = definition["spec"], definition["spec"]["names"]
    assert definition["metadata"]["name"] == f"{names['plural']}.{spec['group']}"
    assert names["singular"] == kind.lower()
    assert names["listKind"] == f"{kind}List"
    assert (spec["scope"], spec["versions"][0]["name"]) == ("Namespaced", "v1alpha1")
    assert [v["storage"] for v in spec["versions"]] == [True]


# https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/
# "Specifying a structural schema", and what apiextensions v1 forbids.
ALLOWED = {
    "additionalProperties",
    "description",
    "enum",
    "items",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "pattern",
    "properties",
    "required",
    "type",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-validations",
}


@pytest.mark.parametrize("kind", CLUSTER_KINDS)
def test_the_schema_is_structural(kind: str) -> None:
    for at, node in schema_nodes(structural(kind)):
        assert node.get("type") in {"object", "array", "string", "integer", "boolean"}, at
        assert node.keys() <= ALLOWED, at
        assert not {"properties", "additionalProperties"} <= node.keys(), at
        assert node.get("additionalProperties") is not False, at
        assert ("items" in node) == (node["type"] == "array"), at
        assert set(node.get("required", ())) <= node.get("properties", {}).keys(), at


@pytest.mark.parametrize("kind", CLUSTER_KINDS)
def test_mistyped_keys_reach_our_parser_and_are_not_taken_away_in_silence(kind: str) -> None:
    """What the API server prunes, no webhook sees: https://kubernetes.io/docs, "Field pruning"."""
    pruned = [
        at
        for at, node in schema_nodes(structural(kind))
        if at.startswith(".spec")
        and node["type"] == "object"
        and "additionalProperties" not in node
        and node.get("x-kubernetes-preserve-unknown-fields") is not True
    ]

    assert pruned == []


@pytest.mark.parametrize("kind", CLUSTER_KINDS)
def test_whatever_a_rule_walks_over_is_bounded(kind: str) -> None:
    # The API server estimates what a rule costs from these, and refuses the definition when it may be much.
    for at, node in schema_nodes(structural(kind)):
        if node["type"] == "array":
            assert node["maxItems"] <= 1024, at
        if node["type"] == "string" and at.startswith(".spec") and "enum" not in node:
            assert node["maxLength"] <= 1024, at
        if "x-kubernetes-validations" in node:
            assert ".*" not in at, "a rule below a map of any size"


# What may be a name in an expression: https://github.com/google/cel-spec, langdef.
RESERVED = {
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
}
RESERVED |= {"import", "let", "loop", "package", "namespace", "return", "var", "void", "while"}

KINDS_OF_SOURCES = [
    "mountedSecret",
    "oauth2ClientCredentials",
    "tokenExchange",
    "gcpWorkloadIdentity",
    "azureWorkloadIdentity",
    "llmWorkloadIdentity",
    "vault",
    "githubApp",
    "awsWebIdentity",
    "awsStatic",
]
CLIENT_AUTH = ["federated", "privateKeyJwt", "secretBasic", "secretPost"]


@pytest.mark.parametrize(
    ("kind", "unions"),
    [
        ("AccessPolicy", {".spec": [["grants", "limits"]], ".spec.grants[]": [["service", "hosts"]]}),
        (
            "CredentialSource",
            {
                ".spec": [KINDS_OF_SOURCES],
                ".spec.mountedSecret": [["key", "keys", "json"]],
                ".spec.oauth2ClientCredentials.auth": [CLIENT_AUTH],
                ".spec.tokenExchange.actor": [["mountedToken", "projectedToken"]],
                ".spec.tokenExchange.auth": [CLIENT_AUTH],
                ".spec.llmWorkloadIdentity": [["openai", "anthropic"]],
                ".spec.vault.auth": [["kubernetes", "jwt"]],
                ".spec.vault.read": [["kv2", "dynamic"]],
                ".spec.githubApp": [["clientId", "appId"]],
                ".spec.attach": [["bearer", "basic", "header", "query", "sigv4", "ecrToken"]],
            },
        ),
    ],
)
def test_every_union_is_a_rule(kind: str, unions: dict[str, list[list[str]]]) -> None:
    rules = {
        at: node["x-kubernetes-validations"]
        for at, node in schema_nodes(structural(kind))
        if "x-kubernetes-validations" in node
    }
    assert rules == {
        at: [
            {
                "rule": " + ".join(f"(has(self.{name}) ? 1 : 0)" for name in group) + " == 1",
                "message": f"exactly one of {', '.join(group)} is needed",
            }
            for group in groups
        ]
        for at, groups in unions.items()
    }
    assert not RESERVED & {name for groups in unions.values() for group in groups for name in group}


@pytest.mark.parametrize("kind", CLUSTER_KINDS)
def test_the_definition_is_plain_data_and_made_anew_each_time(kind: str) -> None:
    first, second = custom_resource_definition(kind), custom_resource_definition(kind)
    assert json.loads(json.dumps(first)) == first
    first["spec"]["versions"].clear()
    assert second == custom_resource_definition(kind)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_the_examples_are_valid_in_a_cluster(path: Path) -> None:
    for document in as_json(path.read_text()):
        jsonschema.validate(document, structural(document["kind"]), cls=Draft202012Validator)
