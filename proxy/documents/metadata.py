"""What all documents share: `apiVersion`, `kind` and `metadata`."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from proxy.core.contract import API_VERSION, DEFAULT_NAMESPACE
from proxy.documents.problems import Fault, ProblemCode
from proxy.documents.reading import Shape
from proxy.documents.shapes import Field, Record, Text
from proxy.documents.values import NAME, NAMESPACE

# What people and the API server add to an object's metadata; none of it changes what a policy means.
_SERVER_METADATA = frozenset(
    {
        "annotations",
        "creationTimestamp",
        "deletionGracePeriodSeconds",
        "deletionTimestamp",
        "finalizers",
        "generateName",
        "generation",
        "labels",
        "managedFields",
        "ownerReferences",
        "resourceVersion",
        "selfLink",
        "uid",
    }
)


class Metadata(NamedTuple):
    name: str
    namespace: str = DEFAULT_NAMESPACE


METADATA = Record(
    "metadata",
    (
        Field("name", NAME, "The name that other documents and every audit record use.", required=True),
        Field("namespace", NAMESPACE, f"Its namespace; `{DEFAULT_NAMESPACE}` where it is left out."),
    ),
    Metadata,
    ignored=_SERVER_METADATA,
)


class EntryMetadata(NamedTuple):
    """A catalogue entry has no namespace: it says the same to all of them."""

    name: str


ENTRY_METADATA = Record(
    "metadata",
    (Field("name", NAME, "The name that grants use as `service`.", required=True),),
    EntryMetadata,
    ignored=_SERVER_METADATA,
)


def _constant(expected: str) -> Text:
    def parse(text: str) -> str:
        if text != expected:
            raise Fault(f"`{text}` is not `{expected}`", f"write `{expected}`", ProblemCode.UNKNOWN_KIND)
        return text

    return Text(f"`{expected}`", parse, f"^{re.escape(expected)}$")


def document(
    kind: str,
    spec: Shape,
    spec_doc: str,
    build: Callable[[Any, Any], Any],
    metadata: Record = METADATA,
) -> Record:
    """The record of one kind; `build` gets the metadata and what the spec was read into."""

    def built(api_version: str, kind: str, metadata: object, spec: object) -> object:
        del api_version, kind  # they were checked, and say nothing more
        return build(metadata, spec)

    return Record(
        kind,
        (
            Field("apiVersion", _constant(API_VERSION), "The version of the format.", required=True),
            Field("kind", _constant(kind), "The kind of document.", required=True),
            Field("metadata", metadata, "What the document is called.", required=True),
            Field("spec", spec, spec_doc, required=True),
        ),
        built,
        ignored=frozenset({"status"}),
    )
