"""Writes every file that is made from the code: `make generate`. With `--check`, fails when one is stale."""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from proxy.cli.services import lines
from proxy.core.reasons import REASONS, Reason
from proxy.documents.json_schema import CLUSTER_KINDS, KINDS, custom_resource_definition, json_schema
from proxy.documents.reader import DOCUMENTS
from proxy.documents.shapes import Field, ListOf, MapOf, Record
from proxy.documents.yaml_nodes import write_documents
from proxy.services.loader import built_in_catalogue

ROOT = Path(__file__).parent.parent
NOTE = "Made by `make generate`; do not edit."


def generated() -> Iterator[tuple[str, str]]:
    """Each file's path below the root, and its text."""
    for kind in KINDS:
        yield f"docs/schema/{kind.lower()}.json", json.dumps(json_schema(kind), indent=2) + "\n"
    for kind in CLUSTER_KINDS:
        definition = custom_resource_definition(kind)
        name = definition["spec"]["names"]["plural"]
        yield f"charts/podkey/crds/{name}.yaml", f"# {NOTE}\n" + write_documents([definition])
    yield "docs/reasons.md", "\n".join(reasons_page()) + "\n"
    yield "docs/services.md", "\n".join(services_page()) + "\n"
    yield "docs/reference.md", "\n".join(reference_page()) + "\n"


def reasons_page() -> Iterator[str]:
    yield "# Reason codes"
    yield ""
    yield f"<!-- {NOTE} -->"
    yield ""
    yield "Every verdict has one of these codes, the same wherever it is shown. A code is never renamed."
    yield "`podkey reasons CODE` prints its entry; `podkey explain` shows which grant came nearest to"
    yield "covering the request, and what it lacks."
    yield ""
    yield "| code | who acts |"
    yield "|---|---|"
    for reason in Reason:
        yield f"| [`{reason.value}`](#{reason.value}) | {REASONS[reason].actor.value} |"
    for reason in Reason:
        page = REASONS[reason]
        yield from ("", f"## {reason.value}", "", page.meaning, "")
        yield f"- **Who acts:** {page.actor.value}"
        yield f"- **What to change:** {page.change}"


def services_page() -> Iterator[str]:
    yield "# Services"
    yield ""
    yield f"<!-- {NOTE} -->"
    yield ""
    yield "What podkey knows of each service that a grant can name. `podkey services NAME` prints the same."
    yield "The data is in `proxy/services/catalogue/`. A missing service can be added in a policy folder:"
    yield "see [CatalogueEntry](reference.md#catalogueentry)."
    for service in built_in_catalogue().values():
        yield from ("", f"## {service.name}", "", f"**{service.title}.**", "")
        for line in lines(service):
            yield f"- {line}"


def reference_page() -> Iterator[str]:
    yield "# Document reference"
    yield ""
    yield f"<!-- {NOTE} -->"
    yield ""
    yield "Every key of every kind of document. [policies.md](policies.md) tells how to use them."
    for kind in KINDS:
        yield from ("", f"## {kind}", "")
        shape = DOCUMENTS[kind]
        yield from record_tables(shape, "")


def record_tables(record: Record, path: str) -> Iterator[str]:
    """A table for a record, then one for each record below it."""
    yield "| key | type | |"
    yield "|---|---|---|"
    for field in record.fields:
        name = f"**`{field.name}`**" if field.required else f"`{field.name}`"
        yield f"| {name} | {cell(field.shape.what)} | {cell(field.doc)} |"
    if record.exactly_one:
        groups = (" or ".join(f"`{name}`" for name in group) for group in record.exactly_one)
        yield from ("", "Exactly one of: " + "; ".join(groups) + ".")
    yield from ("", "Keys in bold are required.") if not path else ()
    for field, inner in inner_records(record):
        below = f"{path}.{field.name}".lstrip(".")
        if inner.fields:
            yield from ("", f"### `{below}`", "")
            yield from record_tables(inner, below)


def inner_records(record: Record) -> Iterator[tuple[Field, Record]]:
    for field in record.fields:
        shape = field.shape
        while isinstance(shape, ListOf | MapOf):
            shape = shape.item if isinstance(shape, ListOf) else shape.value
        if isinstance(shape, Record):
            yield field, shape


def cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a file is stale")
    check = parser.parse_args().check
    stale = []
    for name, text in generated():
        path = ROOT / name
        if path.exists() and path.read_text() == text:
            continue
        stale.append(name)
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    for name in stale:
        print(f"{name}: {'stale; run `make generate`' if check else 'written'}")
    if not stale:
        print("all generated files are current")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
