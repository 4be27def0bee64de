"""`podkey schema`: what documents may hold, for editors and for clusters."""

import argparse
import json

from proxy.cli.exit_status import OK, MisusedError
from proxy.documents.json_schema import CLUSTER_KINDS, KINDS, custom_resource_definition, json_schema
from proxy.documents.yaml_nodes import write_documents


def describe(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", type=_kind, choices=KINDS, help="the kind of document, in any case")
    parser.add_argument(
        "--output",
        choices=("json", "crd"),
        default="json",
        help="json: JSON Schema; crd: the CustomResourceDefinition as YAML; default: json",
    )
    parser.epilog = (
        "examples:\n"
        "  podkey schema AccessPolicy > accesspolicy.schema.json\n"
        "  podkey schema CredentialSource --output crd | kubectl apply -f -\n"
    )


def _kind(text: str) -> str:
    return next((kind for kind in KINDS if kind.lower() == text.lower()), text)


def execute(arguments: argparse.Namespace) -> int:
    if arguments.output == "json":
        print(json.dumps(json_schema(arguments.kind), indent=2))
        return OK
    if arguments.kind not in CLUSTER_KINDS:
        raise MisusedError(f"{arguments.kind} has no CRD: it is read from policy folders only")
    print(write_documents([custom_resource_definition(arguments.kind)]), end="")
    return OK
