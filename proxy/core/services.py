"""The service catalogue as types: what podkey knows of one service, read from one YAML file."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property

from proxy.core.credentials import AttachScheme, CredentialSource
from proxy.core.globs import Glob, glob_expression
from proxy.core.hosts import CAPTURE, Hostname, HostTemplate
from proxy.core.paths import PathPattern
from proxy.core.policy import Access, Grant


class Dialect(Enum):
    """The shape of a refusal's body, so that the service's own SDK prints our message."""

    S3_XML = "s3-xml"
    OPENAI_JSON = "openai-json"
    ANTHROPIC_JSON = "anthropic-json"
    HUGGINGFACE_JSON = "huggingface-json"
    PLAIN_JSON = "plain-json"


@dataclass(frozen=True, slots=True)
class PathTemplate:
    """`/{org}/{name}/resolve/{rest+}`: a capture is (part of) one segment; with a plus, all the rest."""

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


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Hosts that are spoken to alike, and how their paths are read. The first template that fits counts."""

    hosts: tuple[HostTemplate, ...]
    paths: tuple[PathTemplate, ...] = ()


@dataclass(frozen=True, slots=True)
class Pin:
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


@dataclass(frozen=True, slots=True)
class Operation:
    """One row of a service's table of operations: it is told by method, captures and sub-resources."""

    name: str
    methods: tuple[str, ...]
    captures: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()
    access: Access | None = None
    # A header whose presence makes the request this operation and no other (S3's copy source).
    header: str | None = None
    # The query parameter that says which keys a listing shows; absent means all of them.
    prefix_from: str | None = None
    # It neither shows nor touches keys, so prefixes do not bound it.
    keyless: bool = False


@dataclass(frozen=True, slots=True)
class MintingApi:
    """An API whose answer holds a credential. Refused unless a grant names it."""

    name: str
    summary: str
    paths: tuple[PathPattern, ...]
    methods: tuple[str, ...] = ()
    query: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Placeholder:
    """An environment variable that an SDK wants before it starts; `{hex:40}` is drawn anew per pod."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class CredentialSlots:
    """Where a client of this service puts its own credential; all of them are cleared."""

    headers: tuple[str, ...] = ()
    query: tuple[str, ...] = ()


@dataclass(frozen=True)
class Service:
    name: str
    title: str
    summary: str
    endpoints: tuple[Endpoint, ...]
    attach: tuple[AttachScheme, ...]
    blob_hosts: tuple[Glob, ...] = ()
    slots: CredentialSlots = field(default_factory=CredentialSlots)
    placeholders: tuple[Placeholder, ...] = ()
    minting: tuple[MintingApi, ...] = ()
    pins: tuple[Pin, ...] = ()
    operations: tuple[Operation, ...] = ()
    # Parameters that never change what an operation does; any other one makes it unknown.
    parameters: tuple[str, ...] = ()
    opaque_paths: bool = False
    dialect: Dialect = Dialect.PLAIN_JSON
    built_in: bool = field(default=False, compare=False)

    def pin(self, name: str) -> Pin | None:
        return next((pin for pin in self.pins if pin.name == name), None)

    def operations_of(self, grant: Grant) -> tuple[Operation, ...]:
        """The operations that the grant's `access` and `actions` cover."""
        return tuple(o for o in self.operations if o.access in grant.access or o.name in grant.actions)

    @cached_property
    def host_matchers(self) -> tuple[tuple[Endpoint, re.Pattern[str]], ...]:
        return tuple((e, host.compiled()) for e in self.endpoints for host in e.hosts)

    @cached_property
    def blob_matcher(self) -> re.Pattern[str]:
        return re.compile("|".join(glob_expression(g.text, "[^.]") for g in self.blob_hosts) or "(?!)")


@dataclass(frozen=True, slots=True)
class HostReading:
    """A host name as one service reads it."""

    service: Service
    endpoint: Endpoint
    captures: Mapping[str, str]


@dataclass(frozen=True)
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
        """How each service that the host belongs to reads it; the first template of a service counts."""
        found = []
        for service in self.services.values():
            for endpoint, matcher in service.host_matchers:
                if match := matcher.fullmatch(host):
                    found.append(HostReading(service, endpoint, match.groupdict()))
                    break
        return tuple(found)

    def blob_owner(self, host: Hostname) -> Service | None:
        """The service that serves blobs from this host, if one does."""
        owners = (s for s in self.services.values() if s.blob_matcher.fullmatch(host))
        return next(owners, None)


def attach_scheme(source: CredentialSource, service: Service | None) -> AttachScheme | None:
    """How the credential goes onto a request to this service; None where nobody says it."""
    if source.attach is not None:
        return source.attach
    return service.attach[0] if service is not None else None
