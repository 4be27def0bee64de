"""A request as one service reads it: its pins, its operation, the keys it touches, what it would mint."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from proxy.core.hosts import CAPTURE
from proxy.core.paths import PathPattern, decoded, folded
from proxy.core.request import RequestFacts
from proxy.core.services import HostReading, MintingApi, Operation, Pin, Service


class Reading(NamedTuple):
    """`pins` holds what the request shows; a pin that is not in it cannot be checked.

    A named tuple: one is made per request, and it costs half of what a frozen dataclass does.
    """

    pins: dict[str, str]
    operation: Operation | None = None
    # The key that the request names, and the beginning of all keys that it lists.
    key: str | None = None
    listed: str | None = None


NOTHING = Reading({})


class ServiceReader:
    """Reads requests to one host. Made once per host, because the host's captures do not change."""

    def __init__(self, host: HostReading, pins: Iterable[Pin]) -> None:
        service = host.service
        self._table = OperationTable(service) if service.operations else None
        telling = self._table.captures if self._table else frozenset()
        self._fixed = dict(host.captures)
        self._fixed_shown = tuple(sorted(telling & self._fixed.keys()))
        self._templates = tuple(
            (t.compiled().fullmatch, tuple(sorted(telling & (t.captures | self._fixed.keys()))))
            for t in host.endpoint.paths
        )
        self._pins = tuple((pin.name, _pin_reader(pin)) for pin in pins)

    def read(self, request: RequestFacts) -> Reading:
        text = request.path.text
        captures, shown = self._fixed, self._fixed_shown
        for fits, names in self._templates:
            match = fits(text)
            if match is not None:
                captures, shown = match.groupdict(), names
                if "%" in text:
                    captures = {name: decoded(value) or "" for name, value in captures.items()}
                    if "" in captures.values():  # no UTF-8: what it names cannot be compared
                        return NOTHING
                captures.update(self._fixed)
                break
        pins: dict[str, str] = {}
        for name, read in self._pins:
            value = read(captures, request)
            if value:
                pins[name] = value
        if self._table is None:
            return Reading(pins)
        operation = self._table.find(request, shown)
        listed = None
        if operation is not None and operation.prefix_from is not None:
            values = request.query.values.get(operation.prefix_from, [""])
            listed = values[0] if len(values) == 1 else None
        return Reading(pins, operation, captures.get("key"), listed)


def _pin_reader(pin: Pin) -> Callable[[dict[str, str], RequestFacts], str | None]:
    header, template, names = pin.header, pin.template or "", pin.captures
    if header is not None:
        return lambda _captures, request: request.headers.get(header)
    if template == "{" + names[0] + "}":
        only = names[0]
        return lambda captures, _request: captures.get(only)

    def joined(captures: dict[str, str], _request: RequestFacts) -> str | None:
        if any(name not in captures for name in names):
            return None
        return CAPTURE.sub(lambda capture: captures[capture[1]], template)

    return joined


class OperationTable:
    """A service's operations by method, captures, sub-resources and telling header."""

    def __init__(self, service: Service) -> None:
        rows = service.operations
        self.captures = frozenset(name for row in rows for name in row.captures)
        self.headers = tuple(sorted({row.header for row in rows if row.header is not None}))
        self._rows = {
            (method, row.captures, row.subresources, row.header): row
            for row in rows
            for method in row.methods
        }
        self._subresources = frozenset(name for row in rows for name in row.subresources)
        self._known = self._subresources | frozenset(service.parameters)

    def find(self, request: RequestFacts, captures: tuple[str, ...]) -> Operation | None:
        """The operation, or None where it is unknown: every parameter must be known, too."""
        subresources: tuple[str, ...] = ()
        query = request.query.values
        if query:
            if request.query.has_semicolon or not self._known.issuperset(query):
                return None
            if not self._subresources.isdisjoint(query):
                subresources = tuple(sorted(query.keys() & self._subresources))
        header = None
        if request.headers:
            header = next((name for name in self.headers if name in request.headers), None)
        return self._rows.get((request.method, captures, subresources, header))


class MintingGuard:
    """Finds requests whose answer would hold a credential; reads paths in their widest sense."""

    def __init__(self, services: Iterable[Service]) -> None:
        self._rules = tuple(_MintingRule.of(api) for service in services for api in service.minting)
        on_path = [f"(?:{rule.expression})" for rule in self._rules if not rule.query]
        self._on_path = re.compile("|".join(on_path)).fullmatch if on_path else None
        self._in_query = frozenset(name for rule in self._rules for name in rule.query)

    def find(self, request: RequestFacts) -> tuple[MintingApi, ...]:
        """All that the request may be: a path can look like two of them, and a grant must allow both."""
        # Most requests have a path and a query that no rule knows: they leave before the rules are tried.
        unknown = self._in_query.isdisjoint(request.query.folded_names)
        if self._on_path is None and unknown:
            return ()
        path = folded(request.path.text)
        if self._on_path is not None and unknown and not self._on_path(path):
            return ()
        return tuple(rule.api for rule in self._rules if rule.covers(request, path))


@dataclass(frozen=True, slots=True)
class _MintingRule:
    api: MintingApi
    expression: str
    fits: Callable[[str], object]
    query: frozenset[str]

    @classmethod
    def of(cls, api: MintingApi) -> "_MintingRule":
        patterns = (PathPattern(folded(path.text)) for path in api.paths)
        expression = "|".join(f"(?:{pattern.expression})" for pattern in patterns)
        keys = frozenset(key.lower() for key in api.query)
        return cls(api, expression, re.compile(expression).fullmatch, keys)

    def covers(self, request: RequestFacts, path: str) -> bool:
        # Some servers do not tell `post` from `POST`. A HEAD is answered like a GET, less the body; whoever
        # may not have one may not have the other.
        method = request.method.upper()
        method = "GET" if method == "HEAD" else method
        if self.api.methods and method not in self.api.methods:
            return False
        return self.query <= request.query.folded_names and self.fits(path) is not None
