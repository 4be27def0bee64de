"""`podkey services`: the catalogue, so that nobody has to read YAML to write a grant."""

import argparse
import json
import sys
from collections.abc import Iterator

from proxy.cli.exit_status import OK, PROBLEMS, MisusedError
from proxy.cli.terminal import Ink, printable, problem_lines
from proxy.core.credentials import scheme_name
from proxy.core.policy import Access
from proxy.core.services import Catalogue, Service
from proxy.documents.problems import did_you_mean
from proxy.documents.reader import read_documents
from proxy.files.policy_files import read_policy_files
from proxy.services.loader import built_in_catalogue


def describe(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", metavar="NAME", help="a service; all of them without it")
    parser.add_argument(
        "--policies",
        action="append",
        default=[],
        metavar="PATH",
        help="also the catalogue entries in this file or folder",
    )
    parser.add_argument("--output", choices=("text", "json"), default="text", help="default: text")
    parser.epilog = "examples:\n  podkey services\n  podkey services s3\n  podkey services --output json\n"


def execute(arguments: argparse.Namespace) -> int:
    catalogue = built_in_catalogue()
    files, problems = read_policy_files(arguments.policies)
    result = read_documents(files, catalogue)
    problems = [*problems, *result.problems]
    if problems:
        for line in problem_lines(problems, Ink.on(sys.stderr)):
            print(line, file=sys.stderr)
        return PROBLEMS
    catalogue = Catalogue.of((*catalogue.values(), *result.documents.services))
    if arguments.name is not None and arguments.name not in catalogue:
        hint = did_you_mean(arguments.name, catalogue)
        raise MisusedError(f"there is no service `{arguments.name}`; {hint}")
    chosen = [catalogue[arguments.name]] if arguments.name else [catalogue[n] for n in sorted(catalogue)]
    ink = Ink.on(sys.stdout)
    if arguments.output == "json":
        print(json.dumps([as_json(service) for service in chosen], indent=2))
    elif arguments.name:
        print(ink.strong(printable(f"{chosen[0].name}: {chosen[0].title}")))
        for line in lines(chosen[0]):
            print(printable(line))
    else:
        width = max(len(service.name) for service in chosen)
        for service in chosen:
            title = printable(f"{service.title}: {service.summary}")
            print(f"{ink.strong(f'{service.name:<{width}}')}  {title}")
    return OK


def lines(service: Service) -> Iterator[str]:
    """One entry for people, a fact a line."""
    yield service.summary
    for endpoint in service.endpoints:
        yield "hosts: " + ", ".join(host.text for host in endpoint.hosts)
    if service.blob_hosts:
        yield "never a credential on: " + ", ".join(glob.text for glob in service.blob_hosts)
    yield "attached as: " + " or ".join(scheme_name(scheme) for scheme in service.attach)
    for placeholder in service.placeholders:
        yield f"placeholder: {placeholder.name}={placeholder.value}"
    for url in service.base_urls:
        yield f"base URL: {url.name}, ending in {url.path}" if url.path else f"base URL: {url.name}"
    for pin in service.pins:
        yield f"pin {pin.name}{' (required)' if pin.required else ''}: {pin.summary}"
    for access in Access:
        names = dict.fromkeys(o.name for o in service.operations if o.access is access)
        if names:
            yield f"access {access.value}: {', '.join(names)}"
    named = dict.fromkeys(o.name for o in service.operations if o.access is None and not o.answered_here)
    if named:
        yield f"granted by name only: {', '.join(named)}"
    answered = dict.fromkeys(o.name for o in service.operations if o.answered_here)
    if answered:
        yield f"answered by podkey, with placeholders, where a grant covers the bucket: {', '.join(answered)}"
    for header in service.source_headers:
        yield f"with {header}: some grant with the same credential must let the source be read"
    for row in service.header_actions:
        needs = f"the grant must also cover {row.action}" if row.action else "no grant covers the request"
        yield f"with {' or '.join(row.headers)}: {needs}"
    if service.headers:
        yield f"other headers that begin with x- and may be sent: {', '.join(service.headers)}"
    if service.ids:
        yield f"in the query with one value, which is not empty: {', '.join(service.ids)}"
    for api in service.minting:
        yield f"refused unless in allowMinting: {api.name} ({api.summary})"


def as_json(service: Service) -> dict[str, object]:
    """One entry for programs."""
    return {
        "name": service.name,
        "title": service.title,
        "summary": service.summary,
        "builtIn": service.built_in,
        "hosts": [host.text for endpoint in service.endpoints for host in endpoint.hosts],
        "blobHosts": [glob.text for glob in service.blob_hosts],
        "attach": [scheme_name(scheme) for scheme in service.attach],
        "placeholders": {p.name: p.value for p in service.placeholders},
        "baseUrls": {url.name: url.path for url in service.base_urls},
        "pins": [{"name": p.name, "summary": p.summary, "required": p.required} for p in service.pins],
        "operations": [
            {"name": o.name, "access": o.access.value if o.access else None} for o in service.operations
        ],
        "minting": [{"name": api.name, "summary": api.summary} for api in service.minting],
    }
