"""A request as one service reads it: its pins, its operation, the keys it touches, what it would mint."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final, NamedTuple
from urllib.parse import unquote

from proxy.aws.copy_source import read_copy_source
from proxy.aws.partitions import partition_of
from proxy.core.hosts import CAPTURE
from proxy.core.paths import PathPattern, RequestPath, folded, has_dot_segments
from proxy.core.queries import EMPTY_QUERY, Query
from proxy.core.request import RequestFacts
from proxy.core.services import (
    AWS_PARTITION,
    AWS_REGION,
    EXTENSIONS,
    Endpoint,
    HostReading,
    MintingApi,
    Operation,
    Pin,
    Service,
)
from proxy.core.structs import Struct, replace

# The capture that prefixes are about, and the one that says whose keys they are.
KEY: Final = "key"
BUCKET: Final = "bucket"
# What reads a version of an object, and not the newest one.
VERSION: Final = "versionId"
# So much of a name that an application chose is said again.
MAX_SHOWN_NAME: Final = 60
_NO_PATH: Final = RequestPath("")

# A minting API by service and name: two services may use the same name for different things.
MintingName = tuple[str, str]
# A path template made ready, the captures that tell operations apart where it fits, and the operations that
# have no sub-resource there, by method.
Template = tuple[Callable[[str], re.Match[str] | None], tuple[str, ...], dict[str, Operation]]
PinReader = Callable[[Mapping[str, str], RequestFacts], str | None]


class Reading(NamedTuple):
    """`pins` holds what the request shows; a pin that is not in it cannot be checked.

    A named tuple: one is made per request, and it costs half of what a frozen dataclass does.
    """

    pins: dict[str, str]
    operation: Operation | None = None
    # The key that the request names, and the beginning of all keys that it lists.
    key: str | None = None
    listed: str | None = None
    # What its headers do besides: the grant must cover these, too.
    also: tuple[str, ...] = ()
    # Whether more than its head has to be looked at: its body, what it copies, or our own answer.
    needs_more: bool = False
    # The requests that would read what it copies; where a header names nothing readable, why.
    sources: "tuple[Reading | str, ...]" = ()
    # Why it has no operation, where more than its method, path and query says so.
    doubt: str = ""


NOTHING = Reading({})


class ServiceReader:
    """Reads requests to one host. What it needs of the service is made once, in `ServiceKnowledge`."""

    def __init__(self, knowledge: "ServiceKnowledge", host: HostReading) -> None:
        self._table = knowledge.table
        self._pins = knowledge.pins
        self._fixed = {**host.captures, **_made_values(host)}
        self._own_paths = host.endpoint.own_paths
        self._templates = knowledge.templates(host.endpoint, frozenset(self._fixed))
        # A path that no template fits (`//bucket/key`) is of no operation, not of one without captures.
        self._fixed_shown = None if self._templates else self._table.telling(self._fixed)
        self._fixed_plain = self._table.plain(self._fixed_shown)

    def read(self, request: RequestFacts) -> Reading:
        text = request.path.text
        if self._own_paths and text[1:].partition("/")[0] in self._own_paths:
            return NOTHING
        for fits, shown, plain in self._templates:
            match = fits(text)
            if match is not None:
                captures = match.groupdict()
                if "%" in text:
                    captures = {name: unquote(value) for name, value in captures.items()}
                captures.update(self._fixed)
                if request.query.values:
                    operation = self._table.find(request, shown, plain)
                else:  # the method alone tells
                    operation = plain.get(request.method)
                break
        else:
            captures = self._fixed
            operation = self._table.find(request, self._fixed_shown, self._fixed_plain)
        pins: dict[str, str] = {}
        for name, only, read in self._pins:
            value = captures.get(only) if read is None else read(captures, request)
            if value:
                pins[name] = value
        key = captures.get(KEY)
        if operation is None:
            doubt = self._table.misused(request.query)
            return Reading(pins, None, key if self._table.rows else None, doubt=doubt)
        listed = None
        if operation.prefix_from is not None:
            values = request.query.values.get(operation.prefix_from, [""])
            if any(has_dot_segments(value, is_prefix=True) for value in values):
                return Reading(pins, None, key, doubt=f"`{operation.prefix_from}` has a dot segment")
            listed = values[0] if len(values) == 1 else None
        more = operation.body_keys or operation.answered_here
        if operation.requires and not self._fixed.keys() >= set(operation.requires):
            return Reading(pins, None, key)
        if not request.headers:
            return Reading(pins, operation, key, listed, (), more)
        also = self._table.also(request.headers)
        if isinstance(also, str):
            return Reading(pins, None, key, doubt=also)
        named = self._table.source_headers & request.headers.keys()
        if named and not operation.copies:
            return Reading(pins, None, key, doubt=f"{operation.name} copies nothing")
        sources = tuple(self._source(request.headers[name], request, captures) for name in sorted(named))
        return Reading(pins, operation, key, listed, also, more or bool(sources), sources)

    def _source(self, value: str, request: RequestFacts, captures: Mapping[str, str]) -> Reading | str:
        """What the same host would be asked for, to read what the header names."""
        source = read_copy_source(value)
        if isinstance(source, str):
            return source
        shown = {**captures, BUCKET: source.bucket, KEY: source.key}
        read_pins = (
            (name, read(shown, request) if read else shown.get(only)) for name, only, read in self._pins
        )
        pins = {name: found for name, found in read_pins if found}
        return Reading(pins, self._table.reading(versioned=source.version is not None), source.key)


def asked_for_source(request: RequestFacts) -> RequestFacts:
    """The request that would read what this one copies. It has no path and no query of its own, so that a
    grant which is narrowed by them does not cover it."""
    return replace(request, method="GET", path=_NO_PATH, query=EMPTY_QUERY)


def _made_values(host: HostReading) -> dict[str, str]:
    """The captures that the endpoint makes of those of the host."""
    captures = dict(host.captures)
    if AWS_REGION in captures:
        captures[AWS_PARTITION] = partition_of(captures[AWS_REGION]).id
    return {
        name: CAPTURE.sub(lambda capture: captures[capture[1]], template)
        for name, template in host.endpoint.values
    }


class ServiceKnowledge:
    """What reading needs of a service, for the pins that are used: made once, shared by all its hosts."""

    def __init__(self, service: Service, used_pins: Collection[str]) -> None:
        self.table = OperationTable(service)
        self.pins = tuple((pin.name, *_pin_reader(pin)) for pin in service.pins if pin.name in used_pins)
        self._templates: dict[tuple[Endpoint, frozenset[str]], tuple[Template, ...]] = {}

    def templates(self, endpoint: Endpoint, fixed: frozenset[str]) -> tuple[Template, ...]:
        """Each path template with the captures that tell operations apart where it fits."""
        known = self._templates.get((endpoint, fixed))
        if known is None:
            telling = (
                (t.compiled().fullmatch, self.table.telling(t.captures | fixed)) for t in endpoint.paths
            )
            known = tuple((fits, shown, self.table.plain(shown)) for fits, shown in telling)
            self._templates[endpoint, fixed] = known
        return known


def _pin_reader(pin: Pin) -> tuple[str, PinReader | None]:
    """The one capture that shows the pin, as it nearly always is; else what reads it."""
    header, template, names = pin.header, pin.template or "", pin.captures
    if header is not None:
        return "", lambda _captures, request: _single(request.headers.get(header))
    if template == "{" + names[0] + "}":
        return names[0], None

    def joined(captures: Mapping[str, str], _request: RequestFacts) -> str | None:
        if any(name not in captures for name in names):
            return None
        return CAPTURE.sub(lambda capture: captures[capture[1]], template)

    return "", joined


def _single(value: str | None) -> str | None:
    """A header's value; a header that was sent twice shows nothing that can be relied on."""
    return None if value is None or "," in value else value.strip()


class OperationTable:
    """A service's operations by method, captures and sub-resources, and what headers add to them."""

    def __init__(self, service: Service) -> None:
        rows = service.operations
        self.rows = {(method, row.captures, row.subresources): row for row in rows for method in row.methods}
        self._captures = frozenset(name for row in rows for name in row.captures)
        self._subresources = frozenset(name for row in rows for name in row.subresources)
        self._known = self._subresources | frozenset(service.parameters)
        self._ids = frozenset(service.ids)
        self._valued = self._subresources | self._ids
        actions = {header: row.action for row in service.header_actions for header in row.headers}
        self._header_actions = {name: action for name, action in actions.items() if not name.endswith("*")}
        self._starred_actions = {name[:-1]: action for name, action in actions.items() if name.endswith("*")}
        self.source_headers = frozenset(service.source_headers)
        shown_by = (pin.header for pin in service.pins if pin.header is not None)
        # Headers that say nothing about the operation, or whose value is looked at elsewhere.
        plain = frozenset((*service.headers, *service.slots.headers, *service.source_headers, *shown_by))
        self._plain_headers = plain - self._header_actions.keys()
        self._starred_headers = tuple(name[:-1] for name in service.headers if name.endswith("*"))
        # Where an entry does not list them, other headers are not our business.
        self._listed = EXTENSIONS if service.headers else ()

    def telling(self, captures: Collection[str]) -> tuple[str, ...]:
        """Those captures that tell operations apart."""
        return tuple(sorted(self._captures.intersection(captures)))

    def plain(self, captures: tuple[str, ...] | None) -> dict[str, Operation]:
        """The operations without a sub-resource, by method."""
        return {
            method: row
            for (method, shown, named), row in self.rows.items()
            if shown == captures and not named
        }

    def find(
        self, request: RequestFacts, captures: tuple[str, ...] | None, plain: dict[str, Operation]
    ) -> Operation | None:
        """The operation, or None where it is unknown: every parameter must be known, too."""
        query = request.query.values
        if request.query.has_semicolon or not self._known.issuperset(query):
            return None
        if self._valued.isdisjoint(query):
            return plain.get(request.method)
        if captures is None or self.misused(request.query):
            return None
        named = tuple(sorted(query.keys() & self._subresources))
        return self.rows.get((request.method, captures, named))

    def reading(self, *, versioned: bool) -> Operation | None:
        """The operation that reads an object, or a version of one."""
        return self.rows.get(("GET", self.telling((BUCKET, KEY)), (VERSION,) if versioned else ()))

    def misused(self, query: Query) -> str:
        """What is wrong with the values of sub-resources and ids; empty where nothing is. With `?uploadId=`
        one server ends an upload, and another deletes the object."""
        for name in sorted(self._valued & query.values.keys()):
            found = query.values[name]
            if len(found) != 1:
                return f"`{name}` stands twice in the query"
            if bool(found[0]) != (name in self._ids):
                return f"`{name}` needs a value" if name in self._ids else f"`{name}` takes no value"
        return ""

    def also(self, headers: Mapping[str, str]) -> tuple[str, ...] | str:
        """The actions that headers add; or why no grant can cover them."""
        if self._plain_headers.issuperset(headers):
            return ()
        actions = set()
        for name in sorted(headers.keys() - self._plain_headers):
            action = self._header_action(name)
            if action is None:
                return f"no grant covers a request with the header `{name[:MAX_SHOWN_NAME]}`"
            if action:
                actions.add(action)
        return tuple(sorted(actions))

    def _header_action(self, name: str) -> str | None:
        """What the header does besides; empty where it does nothing. None: no grant can cover it."""
        if name in self._header_actions:
            return self._header_actions[name]
        # To a CGI-like server an underscore is a hyphen.
        alike = name.replace("_", "-")
        for stem, action in self._starred_actions.items():
            if alike.startswith(stem):
                return action
        return None if name.startswith(self._listed) and not name.startswith(self._starred_headers) else ""


class MintingGuard:
    """Finds requests whose answer would hold a credential; reads paths in their widest sense."""

    def __init__(self, services: Iterable[Service]) -> None:
        self._rules = tuple(
            _MintingRule.of(service.name, api) for service in services for api in service.minting
        )
        on_path = [f"(?:{rule.expression})" for rule in self._rules if not rule.query]
        self._on_path = re.compile("|".join(on_path)).fullmatch if on_path else None
        self._in_query = frozenset(name for rule in self._rules for name in rule.query)

    def find(self, request: RequestFacts) -> tuple[MintingName, ...]:
        """All that the request may be: a path can look like two of them, and a grant must allow both."""
        # Most requests have a path and a query that no rule knows: they leave before the rules are tried.
        unknown = self._in_query.isdisjoint(request.query.folded_names)
        if self._on_path is None and unknown:
            return ()
        path = folded(request.path.text)
        if self._on_path is not None and unknown and not self._on_path(path):
            return ()
        return tuple(rule.name for rule in self._rules if rule.covers(request, path))


class _MintingRule(Struct, frozen=True):
    name: MintingName
    api: MintingApi
    expression: str
    fits: Callable[[str], object]
    query: frozenset[str]

    @classmethod
    def of(cls, service: str, api: MintingApi) -> "_MintingRule":
        patterns = (PathPattern(folded(path.text)) for path in api.paths)
        expression = "|".join(f"(?:{pattern.expression})" for pattern in patterns)
        keys = frozenset(key.lower() for key in api.query)
        return cls((service, api.name), api, expression, re.compile(expression).fullmatch, keys)

    def covers(self, request: RequestFacts, path: str) -> bool:
        # A HEAD is answered like a GET, less the body; whoever may not have one may not have the other.
        method = "GET" if request.method == "HEAD" else request.method
        if self.api.methods and method not in self.api.methods:
            return False
        return self.query <= request.query.folded_names and self.fits(path) is not None
