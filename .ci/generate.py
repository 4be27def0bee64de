"""Writes every file that is made from the code: `make generate`. With `--check`, fails when one is stale."""

import argparse
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from injector.reading.settings import injector_settings_page
from proxy.cli.services import lines
from proxy.core.audit import LINE_FIELDS, AuditRecord, audit_schema
from proxy.core.injection_codes import INJECTION_CODES, CodeKind, InjectionCode
from proxy.core.reason_pages import REASONS
from proxy.core.reasons import NOT_REFUSED, Reason
from proxy.documents.json_schema import CLUSTER_KINDS, KINDS, custom_resource_definition, json_schema
from proxy.documents.reader import DOCUMENTS
from proxy.documents.settings import settings_page
from proxy.documents.shapes import Field, ListOf, MapOf, Record
from proxy.documents.yaml_nodes import write_documents
from proxy.services.loader import KEPT, built_in_catalogue, written_catalogue

ROOT = Path(__file__).parent.parent
NOTE = "Made by `make generate`; do not edit."


def generated() -> Iterator[tuple[str, str]]:
    """Each file's path below the root, and its text."""
    # First: what follows reads it.
    yield f"proxy/services/{KEPT}", written_catalogue().decode()
    for kind in KINDS:
        yield f"docs/schema/{kind.lower()}.json", json.dumps(json_schema(kind), indent=2) + "\n"
    yield "docs/schema/audit-record.json", json.dumps(audit_schema(), indent=2) + "\n"
    for kind in CLUSTER_KINDS:
        definition = custom_resource_definition(kind)
        name = definition["spec"]["names"]["plural"]
        yield f"charts/podkey/crds/{name}.yaml", f"# {NOTE}\n" + write_documents([definition])
    yield "docs/reasons.md", "\n".join(reasons_page()) + "\n"
    yield "docs/injection-codes.md", "\n".join(injection_codes_page()) + "\n"
    for name, title, page in (
        ("settings", "Settings", settings_page()),
        ("injector-settings", "Settings of the injector", injector_settings_page()),
    ):
        yield f"docs/{name}.md", "\n".join([f"# {title}", "", f"<!-- {NOTE} -->", "", *page]) + "\n"
    yield "docs/audit.md", "\n".join(audit_page()) + "\n"
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
    yield "A refused request is answered with the status beside its code; gRPC clients get a gRPC status."
    yield ""
    yield "| code | status | who acts |"
    yield "|---|---|---|"
    for reason in Reason:
        status = "" if reason in NOT_REFUSED else REASONS[reason].status
        yield f"| [`{reason.value}`](#{reason.value}) | {status} | {REASONS[reason].actor.value} |"
    for reason in Reason:
        page = REASONS[reason]
        yield from ("", f"## {reason.value}", "", page.meaning, "")
        yield f"- **Who acts:** {page.actor.value}"
        yield f"- **What to change:** {page.change}"
        if reason not in NOT_REFUSED:
            yield f"- **Status:** {page.status}"


def injection_codes_page() -> Iterator[str]:
    yield "# What the admission webhook says of a pod"
    yield ""
    yield f"<!-- {NOTE} -->"
    yield ""
    yield "The same codes stand in the answer to `kubectl`, its warnings, Events of the pod's owner, the"
    yield "injector's log and its metric `podkey_injector_reviews_total`. A code is never renamed."
    yield "`podkey reasons CODE` prints its entry; `podkey inject -f FILE` says what would become of a pod."
    yield "[injector.md](injector.md) tells how they belong together."
    kinds = {
        CodeKind.INJECT: "the pod gets a sidecar",
        CodeKind.SKIP: "it starts without one",
        CodeKind.REFUSE: "it is refused",
        CodeKind.WARN: "a warning",
    }
    yield from ("", "| code | what follows |", "|---|---|")
    for code in InjectionCode:
        follows = ", or ".join(kinds[kind] for kind in INJECTION_CODES[code].kinds)
        yield f"| [`{code.value}`](#{code.value}) | {follows} |"
    for code in InjectionCode:
        page = INJECTION_CODES[code]
        yield from ("", f"## {code.value}", "", page.meaning, "", f"- **What to change:** {page.change}")


def audit_page() -> Iterator[str]:
    yield "# Audit records"
    yield ""
    yield f"<!-- {NOTE} -->"
    yield ""
    yield "One line of JSON per decision, with these fields in this order. It has no room for a secret:"
    yield "no query, no header, nothing made from a credential's value. What is not known is empty."
    yield "[schema/audit-record.json](schema/audit-record.json) says the same to programs."
    yield ""
    yield "| field | type | |"
    yield "|---|---|---|"
    schema = audit_schema()
    properties: dict[str, dict[str, object]] = schema["properties"]  # type: ignore[assignment]
    for name in schema["required"]:  # type: ignore[attr-defined]
        yield f"| `{name}` | {json_type(properties[name])} | {cell(str(properties[name]['description']))} |"
    yield from ("", "The line has besides:", "", "| field | type | |", "|---|---|---|")
    for name, field in LINE_FIELDS.items():
        yield f"| `{name}` | {json_type(field)} | {cell(str(field['description']))} |"
    yield from ("", "A request that was granted, broken into lines here:", "", "```json")
    yield json.dumps({"type": "audit", **EXAMPLE.to_record()}, indent=2)
    yield "```"


def json_type(schema: dict[str, object]) -> str:
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    if "enum" in schema:
        return "string"
    kind = schema.get("format", schema["type"])
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


EXAMPLE = AuditRecord(
    time=datetime(2026, 3, 4, 12, 0, 0, 250_000, UTC),
    request_id="01jnq5x8m2v7c4k9",
    namespace="ml-team",
    service_account="trainer",
    pod_name="finetune-0",
    pod_uid="6f1f2b0e-5d0b-4f0a-9a51-3d1c6f8f8a11",
    node="gpu-7",
    evidence="token",
    host="huggingface.co",
    port=443,
    method="GET",
    path="/acme/llama/resolve/main/config.json",
    issuer="https://kubernetes.default.svc.cluster.local",
    key_id="TWWXhdm501sgw2Zc0z1R0ZDC_ziVFDkv8gFQQM_SxXI",
    token_hash="0d2f7c1be7f5a2b0c4c0b4b7f6c3a9d1e8f7061524334251607988796a5b4c3d",  # noqa: S106 - a hash
    token_issued=datetime(2026, 3, 4, 11, 20, 0, 0, UTC),
    token_expires=datetime(2026, 3, 4, 12, 20, 0, 0, UTC),
    service="huggingface",
    verdict="attach",
    reason=Reason.GRANTED.value,
    policy="ml-team/models",
    grant=0,
    credential="ml-team/huggingface",
    lease_id="l-1",
    lane="mitmproxy",
    capture="transparent",
    protocol="HTTP/1.1",
    upstream="203.0.113.7:443",
    status=200,
    received_bytes=688,
    duration_ms=41.5,
)


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
