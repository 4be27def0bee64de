"""The CatalogueEntry document: a service as data, built in or from a policy folder."""

import re
from typing import Any

from proxy.core.contract import CATALOGUE_ENTRY
from proxy.core.globs import Glob
from proxy.core.hosts import CAPTURE, HostTemplate, parse_hostname
from proxy.core.paths import PathPattern
from proxy.core.policy import Access
from proxy.core.services import (
    CredentialSlots,
    Dialect,
    Endpoint,
    MintingApi,
    Operation,
    PathTemplate,
    Pin,
    Placeholder,
    Service,
)
from proxy.documents import values
from proxy.documents.credential_documents import ATTACH
from proxy.documents.host_names import is_public_suffix
from proxy.documents.metadata import Metadata, document
from proxy.documents.problems import Fault, ProblemCode, did_you_mean
from proxy.documents.shapes import Choice, Field, Flag, ListOf, Record, Text

# `{hex:40}`: so many characters of an alphabet, drawn anew for each pod.
_DRAWN = re.compile(r"\{(hex|alnum|upper):([1-9][0-9]?)\}")


def _host_template(text: str) -> HostTemplate:
    template = HostTemplate(text)
    names = CAPTURE.findall(text)
    if len({name for name, _ in names}) != len(names):
        raise Fault(f"`{text}` captures the same name twice", "give each capture its own name")
    if parse_hostname(template.filled({})) is None:
        fix = "write a lower-case host in which `{name}` stands for a label and `{name+}` for several"
        raise Fault(f"`{text}` is not a host template", fix, ProblemCode.HOST_MALFORMED)
    return template


HOST_TEMPLATE = Text("a host template", _host_template, examples=("{bucket+}.s3.{region}.amazonaws.com",))


def _path_template(text: str) -> PathTemplate:
    rest = CAPTURE.sub("x", text)
    if not text.startswith("/") or not re.fullmatch(r"[A-Za-z0-9\-._~!$&'()*+,;=:@/]*", rest):
        fix = (
            "write a path with `{name}` for a segment, or part of one, and `{name+}` at the end for the rest"
        )
        raise Fault(f"`{text}` is not a path template", fix)
    pluses = [capture.end() for capture in CAPTURE.finditer(text) if capture[2]]
    if any(end != len(text) for end in pluses):
        raise Fault(f"`{text}`: `{{…+}}` takes the rest and must stand at the end", "move it to the end")
    return PathTemplate(text)


PATH_TEMPLATE = Text("a path template", _path_template, "^/", ("/{bucket}/{key+}",))


def _endpoint(
    hosts: tuple[HostTemplate, ...],
    domains: tuple[str, ...] = (),
    paths: tuple[PathTemplate, ...] = (),
) -> Endpoint:
    if domains:
        hosts = tuple(_host_template(f"{h.text}.{domain}") for h in hosts for domain in domains)
    for host in hosts:
        if parse_hostname(host.tail) is None or "." not in host.tail:
            fix = "let the captures end before the domain that the service owns"
            raise Fault(f"`{host.text}` would cover names of strangers", fix, at="hosts")
        for path in paths:
            twice = host.captures & path.captures
            if twice:
                message = f"`{min(twice)}` is captured from the host and from `{path.text}`"
                raise Fault(message, "give them different names", at="paths")
    return Endpoint(hosts, paths)


ENDPOINT = Record(
    "an endpoint",
    (
        Field("hosts", ListOf(HOST_TEMPLATE), "Host templates.", required=True),
        Field("domains", ListOf(HOST_TEMPLATE), "Appended to each host, one at a time."),
        Field(
            "paths",
            ListOf(PATH_TEMPLATE),
            "How paths are read into captures; the first that fits counts.",
        ),
    ),
    lambda hosts, domains=(), paths=(): _endpoint(hosts, tuple(d.text for d in domains), paths),
)


def _blob_host(text: str) -> Glob:
    if not re.fullmatch(r"[a-z0-9*][a-z0-9*.-]*\.[a-z0-9-]+\.[a-z]+", text):
        raise Fault(f"`{text}` is not a host", "write a host such as `cdn.example.com`; `*` within a label")
    return Glob(text)


def _placeholder_value(text: str) -> str:
    rest = _DRAWN.sub("", text)
    if "{" in rest or "}" in rest:
        fix = "write {hex:N}, {alnum:N} or {upper:N} with N from 1 to 99"
        raise Fault(f"`{text}` holds an unknown placeholder", fix)
    return text


SLOTS = Record(
    "credential slots",
    (
        Field("headers", ListOf(values.HEADER_NAME), "Headers that carry a credential."),
        Field("query", ListOf(values.QUERY_NAME), "Query parameters that carry one."),
    ),
    lambda headers=(), query=(): CredentialSlots(tuple(h.lower() for h in headers), query),
)

PLACEHOLDER = Record(
    "a placeholder",
    (
        Field("name", values.ENVIRONMENT_NAME, "The environment variable.", required=True),
        Field(
            "value",
            Text("a value", _placeholder_value),
            "Its value; `{hex:N}`, `{alnum:N}` and `{upper:N}` are drawn per pod.",
            required=True,
        ),
    ),
    Placeholder,
)


def _minting(
    name: str,
    summary: str,
    paths: tuple[PathPattern, ...] = (PathPattern("/**"),),
    methods: tuple[str, ...] = (),
    query: tuple[str, ...] = (),
) -> MintingApi:
    return MintingApi(name, summary, paths, methods, query)


MINTING = Record(
    "a minting API",
    (
        Field("name", values.FIELD_NAME, "The name that `allowMinting` uses.", required=True),
        Field("summary", Text("a sentence"), "What its answer would hand out.", required=True),
        Field("paths", ListOf(values.PATH), "Its paths; every path where it is left out."),
        Field("methods", ListOf(values.METHOD), "Its methods; every method where it is left out."),
        Field("query", ListOf(values.QUERY_NAME), "Parameters that make the request this API."),
    ),
    _minting,
)


def _pin(
    *,
    name: str,
    summary: str,
    template: str | None = None,
    header: str | None = None,
    required: bool = False,
) -> Pin:
    if template is not None and not CAPTURE.search(template):
        raise Fault("the template captures nothing", "name a capture, such as `{org}`", at="template")
    return Pin(name, summary, template, header and header.lower(), required)


PIN = Record(
    "a pin",
    (
        Field("name", values.FIELD_NAME, "The name that grants use.", required=True),
        Field("summary", Text("a sentence"), "What it is.", required=True),
        Field("template", Text("a template"), "Captures of host and path, joined: `{org}/{name}`."),
        Field("header", values.HEADER_NAME, "The request header that shows it."),
        Field("required", Flag(), "Whether every grant for this service must name it."),
    ),
    _pin,
    exactly_one=(("template", "header"),),
)


def _operation(
    *,
    name: str,
    methods: tuple[str, ...],
    captures: tuple[str, ...] = (),
    subresources: tuple[str, ...] = (),
    access: Access | None = None,
    header: str | None = None,
    prefix_from: str | None = None,
    keyless: bool = False,
) -> Operation:
    parts = (tuple(sorted(captures)), tuple(sorted(subresources)))
    return Operation(name, methods, *parts, access, header and header.lower(), prefix_from, keyless)


OPERATION = Record(
    "an operation",
    (
        Field("name", values.FIELD_NAME, "Its name.", required=True),
        Field("methods", ListOf(values.METHOD), "Its methods.", required=True),
        Field("captures", ListOf(values.FIELD_NAME), "Exactly the captures that host and path give."),
        Field("subresources", ListOf(values.QUERY_NAME), "Exactly the sub-resources in the query."),
        Field("access", Choice(Access), "Its class; without one it is granted by name only."),
        Field("header", values.HEADER_NAME, "A header that tells it from its neighbour."),
        Field("prefixFrom", values.QUERY_NAME, "The parameter that bounds which keys a listing shows."),
        Field("keyless", Flag(), "Whether it neither shows nor touches keys."),
    ),
    _operation,
)


class Entry:
    """The fields of an entry's spec, before it has its name."""

    def __init__(self, **fields: Any) -> None:  # noqa: ANN401 - handed on to Service
        self.fields = fields
        endpoints: tuple[Endpoint, ...] = fields["endpoints"]
        in_hosts = {name for e in endpoints for host in e.hosts for name in host.captures}
        captured = frozenset(in_hosts | {name for e in endpoints for p in e.paths for name in p.captures})
        pins: tuple[Pin, ...] = fields.get("pins", ())
        for index, pin in enumerate(pins):
            self._known(pin.captures, captured, f"pins[{index}]")
        operations: tuple[Operation, ...] = fields.get("operations", ())
        rows: dict[tuple[object, ...], str] = {}
        for index, row in enumerate(operations):
            self._known(row.captures, captured, f"operations[{index}]")
            for method in row.methods:
                key = (method, row.captures, row.subresources, row.header)
                if rows.setdefault(key, row.name) != row.name:
                    message = f"{row.name} and {rows[key]} are told by the same method, captures and query"
                    raise Fault(message, "make them differ", at=f"operations[{index}]")

    @staticmethod
    def _known(names: tuple[str, ...], captured: frozenset[str], at: str) -> None:
        for name in names:
            if name not in captured:
                fix = did_you_mean(name, captured)
                raise Fault(f"no host or path captures `{name}`", fix, at=at)


ENTRY_SPEC = Record(
    "a catalogue entry",
    (
        Field("title", Text("a title"), "The service's name for people.", required=True),
        Field("summary", Text("a sentence"), "What it is used for.", required=True),
        Field(
            "endpoints",
            ListOf(ENDPOINT),
            "Hosts that get the credential, and how their paths are read.",
            required=True,
        ),
        Field(
            "attach",
            ListOf(ATTACH),
            "How its credential is attached; the first is the default.",
            required=True,
        ),
        Field(
            "blobHosts",
            ListOf(Text("a host", _blob_host)),
            "Hosts that serve signed URLs and never get a credential.",
        ),
        Field("slots", SLOTS, "Where its clients put a credential; all of it is removed."),
        Field("placeholders", ListOf(PLACEHOLDER), "What its SDKs want in the environment."),
        Field("minting", ListOf(MINTING), "APIs whose answers hold a credential."),
        Field("pins", ListOf(PIN), "Tenants that a grant can name."),
        Field("operations", ListOf(OPERATION), "All its operations; any other request is refused."),
        Field(
            "parameters",
            ListOf(values.QUERY_NAME),
            "Query parameters that do not change which operation it is.",
        ),
        Field("opaquePaths", Flag(), "Whether paths are keys in which dots and slashes are data."),
        Field("dialect", Choice(Dialect), "The shape of error bodies that its SDKs understand."),
    ),
    Entry,
)


def _service(metadata: Metadata, entry: Entry) -> Service:
    return Service(metadata.name, **entry.fields)


SERVICE_DOCUMENT = document(CATALOGUE_ENTRY, ENTRY_SPEC, "What podkey knows of one service.", _service)


def foreign_territory(service: Service) -> HostTemplate | None:
    """A host template of a user's entry that would cover names which strangers can register."""
    templates = (host for endpoint in service.endpoints for host in endpoint.hosts)
    return next((t for t in templates if t.captures and is_public_suffix(t.tail)), None)
