"""The CatalogueEntry document: a service as data, built in or from a policy folder."""

from typing import Any

from proxy.core.contract import CATALOGUE_ENTRY
from proxy.core.hosts import CAPTURE, HostTemplate, parse_hostname
from proxy.core.paths import PathPattern
from proxy.core.policy import Access
from proxy.core.services import (
    AWS_PARTITION,
    AWS_REGION,
    BaseUrl,
    CredentialSlots,
    Dialect,
    Endpoint,
    HeaderAction,
    MintingApi,
    Operation,
    PathTemplate,
    Pin,
    Placeholder,
    Service,
    SpentSign,
)
from proxy.documents import values
from proxy.documents.credential_documents import ATTACH
from proxy.documents.metadata import ENTRY_METADATA, EntryMetadata, document
from proxy.documents.problems import Fault, did_you_mean
from proxy.documents.shapes import Choice, Field, Flag, ListOf, MapOf, Number, Record, Text
from proxy.documents.templates import (
    BASE_PATH,
    BLOB_HOST,
    HOST_TEMPLATE,
    PATH_TEMPLATE,
    PLACEHOLDER_VALUE,
    parse_host_template,
)

# S3, the largest, has some seventy; each is tried against a host that is met for the first time.
MAX_HOSTS = 128


def _endpoint(
    hosts: tuple[HostTemplate, ...],
    domains: tuple[str, ...] = (),
    paths: tuple[PathTemplate, ...] = (),
    values: tuple[tuple[str, str], ...] = (),
    *,
    otherwise: bool = False,
) -> Endpoint:
    if len(hosts) * max(1, len(domains)) > MAX_HOSTS:
        raise Fault(f"the endpoint has more than {MAX_HOSTS} hosts", "use captures", at="hosts")
    if domains:
        hosts = tuple(parse_host_template(f"{h.text}.{domain}") for h in hosts for domain in domains)
    for host in hosts:
        if parse_hostname(host.tail) is None or "." not in host.tail:
            fix = "let the captures end before the domain that the service owns"
            raise Fault(f"`{host.text}` would cover names of strangers", fix, at="hosts")
        for path in paths:
            twice = host.captures & path.captures
            if twice:
                message = f"`{min(twice)}` is captured from the host and from `{path.text}`"
                raise Fault(message, "give them different names", at="paths")
        _values_fit(values, host, paths)
    return Endpoint(hosts, paths, values, otherwise)


def _values_fit(
    values: tuple[tuple[str, str], ...], host: HostTemplate, paths: tuple[PathTemplate, ...]
) -> None:
    shown = host.captures | ({AWS_PARTITION} if AWS_REGION in host.captures else set())
    for name, template in values:
        if name in shown.union(*(path.captures for path in paths)):
            message = f"`{name}` is captured already"
            raise Fault(message, "give the value a name of its own", at=f"values.{name}")
        for capture in CAPTURE.finditer(template):
            if capture[1] not in shown:
                message = f"the host `{host.text}` does not capture `{capture[1]}`"
                raise Fault(message, did_you_mean(capture[1], shown), at=f"values.{name}")


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
        Field(
            "values",
            MapOf(Text("a template"), values.FIELD_NAME),
            "Further captures, made of those of the host; `{aws_partition}` is the one of `{aws_region}`.",
        ),
        Field("otherwise", Flag(), "Whether it is for those of its hosts that no other endpoint is for."),
    ),
    lambda hosts, domains=(), paths=(), values=(), otherwise=False: _endpoint(
        hosts, tuple(d.text for d in domains), paths, values, otherwise=otherwise
    ),
)


SLOTS = Record(
    "credential slots",
    (
        Field("headers", ListOf(values.HEADER_NAME), "Headers that carry a credential."),
        Field("query", ListOf(values.QUERY_NAME), "Query parameters that carry one."),
        Field("cookies", ListOf(values.COOKIE_NAME), "Cookies that carry one."),
    ),
    lambda headers=(), query=(), cookies=(): CredentialSlots(
        tuple(h.lower() for h in headers), query, cookies
    ),
)

PLACEHOLDER = Record(
    "a placeholder",
    (
        Field("name", values.ENVIRONMENT_NAME, "The environment variable.", required=True),
        Field(
            "value",
            PLACEHOLDER_VALUE,
            "Its value; `{hex:N}`, `{alnum:N}` and `{upper:N}` are drawn per pod.",
            required=True,
        ),
    ),
    Placeholder,
)


BASE_URL = Record(
    "a base URL",
    (
        Field("name", values.ENVIRONMENT_NAME, "The environment variable.", required=True),
        Field("path", BASE_PATH, "The path that the SDK expects at the end of the URL."),
    ),
    BaseUrl,
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
    **rest: Any,  # noqa: ANN401 - handed on to Operation
) -> Operation:
    return Operation(name, methods, tuple(sorted(captures)), tuple(sorted(subresources)), access, **rest)


OPERATION = Record(
    "an operation",
    (
        Field("name", values.FIELD_NAME, "Its name.", required=True),
        Field("methods", ListOf(values.METHOD), "Its methods.", required=True),
        Field("captures", ListOf(values.FIELD_NAME), "Exactly the captures that host and path give."),
        Field("subresources", ListOf(values.QUERY_NAME), "Exactly the sub-resources in the query."),
        Field("access", Choice(Access), "Its class; without one it is granted by name only."),
        Field("prefixFrom", values.QUERY_NAME, "The parameter that bounds which keys a listing shows."),
        Field("keyless", Flag(), "Whether it neither shows nor touches keys."),
        Field("bodyKeys", Flag(), "Whether its body names the keys; it is read before anything is sent."),
        Field("copies", Flag(), "Whether it reads a second object where one of `sourceHeaders` names it."),
        Field("requires", ListOf(values.FIELD_NAME), "Captures that the host must give besides."),
        Field(
            "answeredHere",
            Flag(),
            "Whether its answer would hold a credential, and podkey gives one with placeholders; then "
            "whoever may do anything at all to the tenant may ask.",
        ),
    ),
    _operation,
)


HEADER_ACTION = Record(
    "a header action",
    (
        Field(
            "headers", ListOf(values.HEADER_NAME), "The headers; a name may end with a star.", required=True
        ),
        Field(
            "action",
            values.FIELD_NAME,
            "What they do besides the operation, under the name that a grant must cover; without it, no "
            "grant covers a request that carries one of them.",
        ),
    ),
    lambda headers, action=None: HeaderAction(tuple(header.lower() for header in headers), action),
)


SPENT = Record(
    "a sign of a spent credential",
    (
        Field("status", Number("a status from 400 to 499", 400, 499), "The answer's status.", required=True),
        Field(
            "codes",
            ListOf(values.FIELD_NAME),
            "Codes, one of which its error must have; without them the status alone says it.",
        ),
    ),
    SpentSign,
)


class Entry:
    """The fields of an entry's spec, before it has its name."""

    def __init__(self, **fields: Any) -> None:  # noqa: ANN401 - handed on to Service
        self.fields = fields
        for names in ("source_headers", "headers"):
            fields[names] = tuple(name.lower() for name in fields.get(names, ()))
        endpoints: tuple[Endpoint, ...] = fields["endpoints"]
        in_hosts = {name for e in endpoints for host in e.hosts for name in host.captures}
        in_hosts.update(name for e in endpoints for name, _ in e.values)
        captured = frozenset(in_hosts | {name for e in endpoints for p in e.paths for name in p.captures})
        pins: tuple[Pin, ...] = fields.get("pins", ())
        for index, pin in enumerate(pins):
            self._known(pin.captures, captured, f"pins[{index}]")
        operations: tuple[Operation, ...] = fields.get("operations", ())
        subresources = (name for row in operations for name in row.subresources)
        parameters = {*fields.get("parameters", ()), *subresources}
        for index, name in enumerate(fields.get("ids", ())):
            if name not in parameters:
                message = f"no operation has the sub-resource `{name}`, and it is no parameter"
                raise Fault(message, did_you_mean(name, parameters), at=f"ids[{index}]")
        rows: dict[tuple[object, ...], str] = {}
        for index, row in enumerate(operations):
            self._known(row.captures + row.requires, captured, f"operations[{index}]")
            for method in row.methods:
                key = (method, row.captures, row.subresources)
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
            ListOf(BLOB_HOST),
            "Hosts that serve signed URLs and never get a credential.",
        ),
        Field("slots", SLOTS, "Where its clients put a credential; all of it is removed."),
        Field("placeholders", ListOf(PLACEHOLDER), "What its SDKs want in the environment."),
        Field("baseUrls", ListOf(BASE_URL), "Variables that send its SDKs to a loopback endpoint."),
        Field("minting", ListOf(MINTING), "APIs whose answers hold a credential."),
        Field("pins", ListOf(PIN), "Tenants that a grant can name."),
        Field("operations", ListOf(OPERATION), "All its operations; any other request is refused."),
        Field("headerActions", ListOf(HEADER_ACTION), "Headers that do more than the operation says."),
        Field(
            "sourceHeaders",
            ListOf(values.HEADER_NAME),
            "Headers that name a second object, as S3's copies do: some grant must let it be read, too.",
        ),
        Field(
            "headers",
            ListOf(values.HEADER_NAME),
            "Headers that begin with `x-` and may be sent, besides those that stand elsewhere in the entry; "
            "a name may end with a star. A request with any other is refused. Where it is left out, none is.",
        ),
        Field(
            "parameters",
            ListOf(values.QUERY_NAME),
            "Query parameters that do not change which operation it is.",
        ),
        Field(
            "ids",
            ListOf(values.QUERY_NAME),
            "Sub-resources and parameters that must have one value, and not an empty one; other "
            "sub-resources must have none.",
        ),
        Field("opaquePaths", Flag(), "Whether paths are keys in which dots and slashes are data."),
        Field(
            "grpc",
            Flag(),
            "Whether clients speak gRPC to it. podkey then loads what serves HTTP/2 when it starts, and not "
            "when the first call comes.",
        ),
        Field("dialect", Choice(Dialect), "The shape of error bodies that its SDKs understand."),
        Field(
            "spent",
            ListOf(SPENT),
            "Answers that mean that the credential is expired or revoked; 401 where it is left out.",
        ),
    ),
    Entry,
)


def _service(metadata: EntryMetadata, entry: Entry) -> Service:
    return Service(metadata.name, **entry.fields)


SERVICE_DOCUMENT = document(
    CATALOGUE_ENTRY, ENTRY_SPEC, "What podkey knows of one service.", _service, ENTRY_METADATA
)
