"""The service catalogue as types: what podkey knows of one service, read from one YAML file."""

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from functools import cached_property
from string import ascii_letters, ascii_uppercase, digits
from typing import Final, assert_never

from proxy.core.credentials import (
    AttachScheme,
    Basic,
    Bearer,
    CredentialSource,
    EcrToken,
    Header,
    QueryParameter,
    SigV4,
    is_bearer_token,
)
from proxy.core.globs import Glob, glob_expression
from proxy.core.hosts import CAPTURE, Hostname, HostTemplate
from proxy.core.paths import PathPattern
from proxy.core.policy import Access, Grant
from proxy.core.structs import Struct


class Dialect(Enum):
    """The shape of a refusal's body, so that the service's own SDK prints our message."""

    S3_XML = "s3-xml"
    OPENAI_JSON = "openai-json"
    ANTHROPIC_JSON = "anthropic-json"
    HUGGINGFACE_JSON = "huggingface-json"
    AWS_JSON = "aws-json"
    OCI_JSON = "oci-json"
    PLAIN_JSON = "plain-json"


class PathTemplate(Struct, frozen=True):
    """`/{org}/{name}/resolve/{rest+}`: a capture is (part of) one segment; with a plus, as many as fit."""

    text: str

    @property
    def captures(self) -> frozenset[str]:
        return frozenset(capture[1] for capture in CAPTURE.finditer(self.text))

    def compiled(self) -> re.Pattern[str]:
        literal, *rest = CAPTURE.split(self.text)
        expression = re.escape(literal)
        for name, plus, text in zip(rest[0::3], rest[1::3], rest[2::3], strict=True):
            expression += f"(?P<{name}>{'.+' if plus else '[^/]+'})" + re.escape(text)
        return re.compile(expression, re.DOTALL)


# The region of AWS that a host shows, and the partition that it lies in: `arn:{aws_partition}:…`.
AWS_REGION: Final = "aws_region"
AWS_PARTITION: Final = "aws_partition"


class Endpoint(Struct, frozen=True):
    """Hosts that are spoken to alike, and how their paths are read. The first template that fits counts.

    `values` makes further captures of those of the host: what the host spells in parts, or abbreviates.
    """

    hosts: tuple[HostTemplate, ...]
    paths: tuple[PathTemplate, ...] = ()
    values: tuple[tuple[str, str], ...] = ()
    # It is for those of its hosts that no other endpoint of the service is for.
    otherwise: bool = False
    # First segments of paths that are the server's own, whatever its hosts mean otherwise.
    own_paths: frozenset[str] = frozenset()


class Pin(Struct, frozen=True):
    """A tenant that a grant can name, and where a request shows it.

    `template` joins captures of host and path (`{org}/{name}`); else it is read from a header.
    """

    name: str
    summary: str
    template: str | None = None
    header: str | None = None
    # A grant must say it: the service's credential reaches more tenants than the policy means.
    required: bool = False

    @property
    def captures(self) -> tuple[str, ...]:
        return tuple(capture[1] for capture in CAPTURE.finditer(self.template or ""))


class Operation(Struct, frozen=True):
    """One row of a service's table of operations: it is told by method, captures and sub-resources."""

    name: str
    methods: tuple[str, ...]
    captures: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()
    access: Access | None = None
    # The query parameter that says which keys a listing shows; absent means all of them.
    prefix_from: str | None = None
    # It neither shows nor touches keys, so prefixes do not bound it.
    keyless: bool = False
    # Its body names the keys: they are judged before anything is sent.
    body_keys: bool = False
    # With a header of `Service.source_headers` it reads a second object; others are not known to.
    copies: bool = False
    # Captures that the host must give besides, and that do not tell operations apart.
    requires: tuple[str, ...] = ()
    # The answer would hold a credential: podkey gives one with placeholders. Whoever may do anything at all
    # to the tenant may ask.
    answered_here: bool = False


class HeaderAction(Struct, frozen=True):
    """Headers with which a request does more than its operation says: the grant must cover `action` too.

    Without an action no grant covers a request that carries one of them. A name may end with a star.
    """

    headers: tuple[str, ...]
    action: str | None = None


class MintingApi(Struct, frozen=True):
    """An API whose answer holds a credential. Refused unless a grant names it."""

    name: str
    summary: str
    paths: tuple[PathPattern, ...]
    methods: tuple[str, ...] = ()
    query: tuple[str, ...] = ()


class SpentSign(Struct, frozen=True):
    """An answer with which the service says that a credential is expired or revoked: by the status alone, or
    where its error has one of these codes."""

    status: int
    codes: tuple[str, ...] = ()


# What an extension of HTTP begins with, by custom (RFC 6648), and how a CGI-like server may be sent it.
EXTENSIONS: Final = ("x-", "x_")

# What HTTP itself means by it (RFC 9110 §15.5.2), where nobody says more. 403 means that the credential is
# good, and may not.
DEFAULT_SPENT: Final = (SpentSign(401),)

# `{hex:40}`: so many characters of an alphabet, drawn anew for each pod.
DRAWN: Final = re.compile(r"\{(hex|alnum|upper):([1-9][0-9]?)\}")
# What is drawn from. AWS access key ids have digits among their capitals.
ALPHABETS: Final[Mapping[str, str]] = {
    "hex": "0123456789abcdef",
    "alnum": digits + ascii_letters,
    "upper": digits + ascii_uppercase,
}


class Placeholder(Struct, frozen=True):
    """An environment variable that an SDK wants before it starts; `{hex:40}` is drawn anew per pod."""

    name: str
    value: str

    @property
    def shape(self) -> re.Pattern[str]:
        """What the value of any pod looks like, for `fullmatch`."""
        literal, *rest = DRAWN.split(self.value)
        expression = re.escape(literal)
        for alphabet, count, text in zip(rest[0::3], rest[1::3], rest[2::3], strict=True):
            expression += f"[{ALPHABETS[alphabet]}]{{{count}}}" + re.escape(text)
        return re.compile(expression)


class BaseUrl(Struct, frozen=True):
    """The environment variable by which an SDK is sent to another base URL, and the path it expects there."""

    name: str
    path: str = ""


class CredentialSlots(Struct, frozen=True):
    """Where a client of this service puts its own credential; all of them are cleared."""

    headers: tuple[str, ...] = ()
    query: tuple[str, ...] = ()
    cookies: tuple[str, ...] = ()

    @classmethod
    def union(cls, slots: Iterable["CredentialSlots"]) -> "CredentialSlots":
        every = tuple(slots)
        return cls(
            tuple(dict.fromkeys(name for one in every for name in one.headers)),
            tuple(dict.fromkeys(name for one in every for name in one.query)),
            tuple(dict.fromkeys(name for one in every for name in one.cookies)),
        )


class Service(Struct, frozen=True, dict=True):
    name: str
    title: str
    summary: str
    endpoints: tuple[Endpoint, ...]
    attach: tuple[AttachScheme, ...]
    blob_hosts: tuple[Glob, ...] = ()
    slots: CredentialSlots = CredentialSlots()
    placeholders: tuple[Placeholder, ...] = ()
    base_urls: tuple[BaseUrl, ...] = ()
    minting: tuple[MintingApi, ...] = ()
    pins: tuple[Pin, ...] = ()
    operations: tuple[Operation, ...] = ()
    header_actions: tuple[HeaderAction, ...] = ()
    # Headers that name a second object, which is read: some grant must let it be read, too.
    source_headers: tuple[str, ...] = ()
    # Which further headers that begin with `x-` a client may send; a name may end with a star. Where it is
    # empty, any.
    headers: tuple[str, ...] = ()
    # Parameters that never change what an operation does; any other one makes it unknown.
    parameters: tuple[str, ...] = ()
    # Sub-resources and parameters that have one value each, and not an empty one; other sub-resources have
    # none.
    ids: tuple[str, ...] = ()
    opaque_paths: bool = False
    # Whether clients speak gRPC to it, which is HTTP/2 alone.
    grpc: bool = False
    dialect: Dialect = Dialect.PLAIN_JSON
    spent: tuple[SpentSign, ...] = DEFAULT_SPENT
    built_in: bool = False

    def pin(self, name: str) -> Pin | None:
        return next((pin for pin in self.pins if pin.name == name), None)

    @property
    def action_names(self) -> frozenset[str]:
        """All that a grant's `actions` may name."""
        extra = {row.action for row in self.header_actions if row.action is not None}
        return frozenset(extra | {operation.name for operation in self.operations})

    @property
    def wanted_headers(self) -> frozenset[str]:
        """Headers, in lower case, that a decision about this service looks at, by their names."""
        pins = {pin.header for pin in self.pins if pin.header is not None}
        named = {name for row in self.header_actions for name in row.headers if not name.endswith("*")}
        return frozenset(pins | named | set(self.source_headers))

    @property
    def wanted_beginnings(self) -> tuple[str, ...]:
        """What else it looks at: headers that begin with one of these."""
        starred = (n[:-1] for row in self.header_actions for n in row.headers if n.endswith("*"))
        stems = (spelled for stem in starred for spelled in (stem, stem.replace("-", "_")))
        extensions = EXTENSIONS if self.headers else ()
        return (*extensions, *dict.fromkeys(s for s in stems if not s.startswith(extensions)))

    def operations_of(self, grant: Grant) -> tuple[Operation, ...]:
        """The operations that the grant's `access` and `actions` cover."""
        return tuple(o for o in self.operations if o.access in grant.access or o.name in grant.actions)

    @property
    def main_host(self) -> Hostname | None:
        """The first host without a capture: where its API is, for one who does not care which."""
        hosts = (host for endpoint in self.endpoints for host in endpoint.hosts)
        return next((Hostname(host.text) for host in hosts if not host.captures), None)

    @cached_property
    def _endings(self) -> frozenset[tuple[str, ...]]:
        """The last two labels of its hosts, by which most services are told apart."""
        return frozenset(host.label_globs[-2:] for e in self.endpoints for host in e.hosts)

    @cached_property
    def _has_open_ending(self) -> bool:
        return any("*" in label for ending in self._endings for label in ending)

    def may_have(self, labels: Sequence[str]) -> bool:
        """Whether a host of these labels, or globs of labels, can be one of its own. In doubt, yes."""
        ending = tuple(labels[-2:])
        return ending in self._endings or self._has_open_ending or any("*" in label for label in ending)

    @cached_property
    def host_matchers(self) -> tuple[tuple[Endpoint, re.Pattern[str]], ...]:
        return tuple((e, host.compiled()) for e in self.endpoints for host in e.hosts)

    @cached_property
    def blob_matcher(self) -> re.Pattern[str]:
        return re.compile("|".join(glob_expression(g.text, "[^.]") for g in self.blob_hosts) or "(?!)")


class HostReading(Struct, frozen=True):
    """A host name as one service reads it."""

    service: Service
    endpoint: Endpoint
    captures: Mapping[str, str]


# No path fits this template: every path begins with a slash.
UNREADABLE_ENDPOINT: Final = Endpoint((), (PathTemplate("none"),))


@dataclasses.dataclass(frozen=True)
class Catalogue(Mapping[str, Service]):
    """All services by name, and which of them a host belongs to."""

    services: Mapping[str, Service]

    @classmethod
    def of(cls, services: Iterable[Service]) -> "Catalogue":
        return cls({service.name: service for service in services})

    def __getitem__(self, name: str) -> Service:
        return self.services[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.services)

    def __len__(self) -> int:
        return len(self.services)

    def readings(self, host: Hostname) -> tuple[HostReading, ...]:
        """How each service that the host belongs to reads it."""
        found = []
        labels = host.split(".")
        for service in self.services.values():
            if not service.may_have(labels):
                continue
            ways = [
                HostReading(service, endpoint, match.groupdict())
                for endpoint, matcher in service.host_matchers
                if (match := matcher.fullmatch(host))
            ]
            if len(ways) > 1:
                ways = [way for way in ways if not way.endpoint.otherwise] or ways
            if len(ways) > 1 and any(way != ways[0] for way in ways):
                # Two readings: the host stays governed, and shows nothing that a grant could name.
                ways = [HostReading(service, UNREADABLE_ENDPOINT, {})]
            found += ways[:1]
        return tuple(found)

    def blob_owner(self, host: Hostname) -> Service | None:
        """The service that serves blobs from this host, if one does and none takes it for an API."""
        labels = host.split(".")
        near = (service for service in self.services.values() if service.may_have(labels))
        if any(matcher.fullmatch(host) for service in near for _, matcher in service.host_matchers):
            return None
        owners = (s for s in self.services.values() if s.blob_matcher.fullmatch(host))
        return next(owners, None)


def attach_scheme(source: CredentialSource, service: Service | None) -> AttachScheme | None:
    """How the credential goes onto a request to this service; None where nobody says it."""
    if source.attach is not None:
        return source.attach
    if service is None:
        return None
    return Bearer() if is_bearer_token(source.kind) and Bearer() in service.attach else service.attach[0]


def slots_of(scheme: AttachScheme) -> CredentialSlots:
    """Where a credential stands that is attached in this way."""
    match scheme:
        case Bearer() | Basic() | EcrToken():
            return CredentialSlots(headers=("authorization",))
        case Header(name=name):
            return CredentialSlots(headers=(name.lower(),))
        case QueryParameter(name=name):
            return CredentialSlots(query=(name,))
        case SigV4():
            return CredentialSlots(headers=("authorization", "x-amz-security-token", "x-amz-s3session-token"))
        case _:
            assert_never(scheme)
