"""Pairs of grants that would attach different credentials to the same request.

The decision refuses such a request (`ambiguous_grant`); this finds the pair before it is deployed, with a
request that both cover. Requirements are independent of each other, so each is solved by itself.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import combinations, product
from typing import Final

from proxy.core.credentials import CredentialRef
from proxy.core.globs import Glob
from proxy.core.hosts import Hostname
from proxy.core.labels import Operator, common_labels
from proxy.core.paths import PathPattern
from proxy.core.policy import (
    EVERY_SERVICE_ACCOUNT,
    AccessPolicy,
    Gpu,
    Grant,
    ImageRules,
    Mode,
    StoreEndpoint,
    WorkloadSelector,
)
from proxy.core.prefixes import KeyPrefixes
from proxy.core.services import Catalogue, Pin, Service
from proxy.core.structs import Struct
from proxy.core.validity import common_moment
from proxy.documents.common_hosts import common_host, host_below
from proxy.documents.host_names import display_name
from proxy.documents.meeting import Company, companies, namespaces_meet, unlike
from proxy.documents.placed import Placed
from proxy.documents.problems import Problem, ProblemCode

# One mistake in a shared grant overlaps with everything; the first pairs say it all.
MAX_REPORTED: Final = 50
# A pair costs some 20 µs and what its patterns cost, at about a microsecond a step. This bounds the whole
# search to a few seconds; 10,000 sensible documents need a hundredth of it.
MAX_WORK: Final = 2_000_000
PAIR_WORK: Final = 25


class _Item(Struct, frozen=True):
    policy: Placed[AccessPolicy]
    index: int

    @property
    def is_wide(self) -> bool:
        return self.policy.value.is_cluster_wide

    @property
    def grant(self) -> Grant:
        return self.policy.value.grants[self.index]

    @property
    def credential(self) -> CredentialRef:
        return CredentialRef(self.policy.value.namespace, self.grant.credential)

    @property
    def effect(self) -> tuple[CredentialRef, str | None]:
        """What the application would notice: with equal effects an overlap is harmless."""
        return self.credential, self.grant.expected_bucket_owner


def check_overlaps(policies: Sequence[Placed[AccessPolicy]], catalogue: Catalogue) -> list[Problem]:
    """Pairs of all policies that can select one pod, each once."""
    problems: list[Problem] = []
    left = MAX_WORK
    for wide, own in _groups(policies):
        for one, two, is_new in _pairs([*_items(wide), *_items(own)], catalogue):
            left -= 1
            if left > 0 and (not is_new or (own and one.is_wide and two.is_wide)):
                continue  # seen before, or a group of their own
            left -= PAIR_WORK
            if left > 0 and not _may_meet(one, two):
                continue
            left -= _work(one, two)
            if left < 0:
                return [*problems, _too_many(two)]
            request = _common_request(one, two, catalogue)
            if request is not None:
                problems.append(_report(one, two, request))
                if len(problems) == MAX_REPORTED:
                    return problems
    return problems


def _groups(policies: Sequence[Placed[AccessPolicy]]) -> Iterator[Company]:
    """Cluster-wide ones alone, then each namespace with those that may select its pods."""
    for mode in Mode:
        yield Company([p for p in policies if p.value.is_cluster_wide and p.value.mode is mode], [])
    yield from (company for company in companies(policies) if company.own)


def _items(policies: Iterable[Placed[AccessPolicy]]) -> Iterator[_Item]:
    return (_Item(policy, index) for policy in policies for index in range(len(policy.value.grants)))


def _may_meet(one: _Item, two: _Item) -> bool:
    """What is cheap to tell, before patterns and windows are compared."""
    a, b = one.grant, two.grant
    return (
        not set(a.ports).isdisjoint(b.ports)
        and bool(_both(a.methods, b.methods, "GET"))
        and _common_account(one.policy.value.workloads, two.policy.value.workloads)
    )


def _work(one: _Item, two: _Item) -> int:
    """What comparing two grants may cost. Plain texts are told apart at once; a pattern with a star costs
    the product of the lengths, and windows cost each start of the week against all of them."""
    lengths, starred, windows = [], [], 0
    for item in (one, two):
        texts = [path.text for path in item.grant.paths]
        texts += [glob.text for _, globs in item.grant.pins for glob in globs]
        lengths.append(sum(map(len, texts)))
        starred.append(sum(len(text) for text in texts if "*" in text))
        windows += len(item.policy.value.validity.windows)
    return starred[0] * lengths[1] + lengths[0] * starred[1] + 8 * windows * windows


def _too_many(item: _Item) -> Problem:
    message = "too many grants share a host with different credentials to compare them all"
    fix = "tell them apart by service account, label, pin or first path segment, or use fewer credentials"
    return item.policy.grant_problem(item.index, ProblemCode.TOO_MANY_TO_COMPARE, message, fix)


def _report(one: _Item, two: _Item, request: str) -> Problem:
    other = f"{one.policy.value.name} {one.policy.grant_place(one.index)}"
    near = one.credential.namespace == two.credential.namespace
    names = [i.credential.name if near else str(i.credential) for i in (two, one)]
    message = (
        f"overlaps with {other}: both cover {request}, with the credentials `{names[0]}` and `{names[1]}`"
    )
    if one.credential == two.credential:
        message = f"overlaps with {other} on {request}, with another `expectedBucketOwner`"
    fix = "narrow one of the two (workloads, paths, methods, pins), or use the same credential"
    return two.policy.grant_problem(two.index, ProblemCode.OVERLAPPING_GRANTS, message, fix)


# --- which pairs are worth a closer look -------------------------------------------------------------


def _pairs(items: Sequence[_Item], catalogue: Catalogue) -> Iterator[tuple[_Item, _Item, bool]]:
    """Pairs with different effects that share a host and do not differ in a plain value. Whether each is new
    is told, because looking at those that are not takes time as well."""
    place = {id(item): number for number, item in enumerate(items)}
    seen: set[tuple[int, int]] = set()
    for one, two in _neighbours(items, catalogue):
        first, second = sorted((one, two), key=lambda item: place[id(item)])
        pair = place[id(first)], place[id(second)]
        yield first, second, pair not in seen and one.effect != two.effect
        seen.add(pair)


def _neighbours(items: Sequence[_Item], catalogue: Catalogue) -> Iterator[tuple[_Item, _Item]]:
    """Pairs whose hosts may meet: the same name, wildcard or service, or two of these that touch."""
    exact: dict[str, list[_Item]] = defaultdict(list)
    wild: dict[str, list[_Item]] = defaultdict(list)
    service: dict[str, list[_Item]] = defaultdict(list)
    at_store: dict[tuple[str, StoreEndpoint], list[_Item]] = defaultdict(list)
    for item in items:
        if item.grant.service is not None:
            store = item.grant.endpoint
            (at_store[item.grant.service, store] if store else service[item.grant.service]).append(item)
        for host in item.grant.hosts:
            (wild if host.is_wildcard else exact)[host.suffix].append(item)
    for group in (*exact.values(), *wild.values(), *service.values(), *at_store.values()):
        if len({item.effect for item in group}) > 1:
            label = _telling_label(group)
            pin = _telling_pin(group)
            yield from _split(group, (_account_keys, _label_keys(label), _pin_keys(pin), _path_keys))
    for name, group in exact.items():
        yield from product(group, wild.get(name.partition(".")[2], ()))
        for reading in catalogue.readings(Hostname(name)):
            yield from product(group, service.get(reading.service.name, ()))
    for name, group in service.items():
        for suffix in wild if name in catalogue else ():
            if host_below(suffix, catalogue[name]) is not None:
                yield from product(group, wild[suffix])


def _effect(item: _Item) -> object:
    return item.effect


# The plain values that an item has in one dimension; None where it is open there.
_Dimension = Callable[[_Item], tuple[str, ...] | None]


def _split(items: list[_Item], dimensions: tuple[_Dimension, ...]) -> Iterator[tuple[_Item, _Item]]:
    """Pairs that share a value, or are open, in every dimension."""
    if len(items) < 2:
        return
    if not dimensions or len(items) < 8:
        yield from unlike(items, _effect)
        return
    keyed: dict[str, list[_Item]] = defaultdict(list)
    open_items: list[_Item] = []
    for item in items:
        keys = dimensions[0](item)
        if keys is None:
            open_items.append(item)
        else:
            for key in keys:
                keyed[key].append(item)
    for group in keyed.values():
        yield from _split(group + open_items, dimensions[1:])
    if not keyed:
        yield from _split(open_items, dimensions[1:])
    else:
        yield from unlike(open_items, _effect)


def _account_keys(item: _Item) -> tuple[str, ...] | None:
    accounts = item.policy.value.workloads.service_accounts
    return None if not accounts or EVERY_SERVICE_ACCOUNT in accounts else accounts


def _telling_label(items: Sequence[_Item]) -> str:
    """The label key that most of these policies select by value."""
    policies = {id(item.policy): item.policy.value for item in items}.values()
    keys = Counter(
        need.key
        for policy in policies
        if policy.workloads.pod_selector
        for need in policy.workloads.pod_selector.requirements
        if need.operator is Operator.IN
    )
    return keys.most_common(1)[0][0] if keys else ""


def _label_keys(label: str) -> _Dimension:
    def keys(item: _Item) -> tuple[str, ...] | None:
        selector = item.policy.value.workloads.pod_selector
        needs = selector.requirements if selector else ()
        return next((n.values for n in needs if n.key == label and n.operator is Operator.IN), None)

    return keys


def _telling_pin(items: Sequence[_Item]) -> str:
    """The pin that most of these grants name: the bucket, in practice."""
    names = Counter(name for item in items for name, _ in item.grant.pins)
    return names.most_common(1)[0][0] if names else ""


def _pin_keys(pin: str) -> _Dimension:
    def keys(item: _Item) -> tuple[str, ...] | None:
        globs = dict(item.grant.pins).get(pin, ())
        if item.grant.actions:  # one of them may show no tenant at all
            return None
        return tuple(g.text for g in globs) if globs and all(g.is_literal for g in globs) else None

    return keys


def _path_keys(item: _Item) -> tuple[str, ...] | None:
    firsts = tuple(path.segments[0] for path in item.grant.paths)
    return firsts if firsts and not any("*" in first for first in firsts) else None


# --- what both of a pair cover -----------------------------------------------------------------------


def _common_request(one: _Item, two: _Item, catalogue: Catalogue) -> str | None:
    """A request that both grants cover, in words; None where there is none."""
    left, right = one.policy.value, two.policy.value
    if one.policy is not two.policy and not (
        namespaces_meet(left, right)
        and _common_workload(left.workloads, right.workloads)
        and common_moment(left.validity, right.validity)
    ):
        return None
    a, b = one.grant, two.grant
    host = common_host(a, b, catalogue)
    methods = _both(a.methods, b.methods, "GET")
    ports = [port for port in a.ports if port in b.ports]
    path = _common_path(a.paths, b.paths)
    if host is None or not methods or not ports or path is None or not _common_query(a, b):
        return None
    method = methods[0]
    details = ""
    if a.service is not None and a.service == b.service:
        service = catalogue[a.service]
        pins = _common_pins(a, b, service)
        if service.operations:
            return _common_operation(a, b, service, methods, pins)
        if pins is None:
            return None
        details = _with(pins)
    port = "" if ports[0] == 443 else f":{ports[0]}"
    return f"{method} https://{display_name(host)}{port}{path}{details}"


def _common_operation(
    a: Grant, b: Grant, service: Service, methods: list[str], pins: dict[str, str] | None
) -> str | None:
    """An operation that both grants cover, with the tenant it is covered for."""
    narrowed = bool(a.methods or b.methods)
    for operation in service.operations_of(a):
        if operation not in service.operations_of(b):
            continue
        if narrowed and set(methods).isdisjoint(operation.methods):
            continue
        # One that shows no tenant is granted by its name; one without keys is not bound by prefixes.
        if not operation.captures and {operation.name} <= set(a.actions) & set(b.actions):
            return operation.name
        if pins is not None and (operation.keyless or _common_prefix(a, b)):
            return operation.name + _with(pins)
    return None


def _with(pins: dict[str, str]) -> str:
    return "".join(f" with {name} `{value}`" for name, value in pins.items())


def _both(left: tuple[str, ...], right: tuple[str, ...], default: str) -> list[str]:
    """The values that both allow, where an empty tuple allows all."""
    if left and right:
        return [value for value in left if value in right]
    return list(left or right) or [default]


def _common_workload(left: WorkloadSelector, right: WorkloadSelector) -> bool:
    selectors = [s.pod_selector for s in (left, right) if s.pod_selector is not None]
    return (
        _common_account(left, right)
        and common_labels(*selectors) is not None
        and {left.gpu, right.gpu} != {Gpu.REQUIRED, Gpu.FORBIDDEN}
        and _common_image(left.images, right.images)
    )


def _common_account(left: WorkloadSelector, right: WorkloadSelector) -> bool:
    every = EVERY_SERVICE_ACCOUNT
    accounts = [
        () if every in selector.service_accounts else selector.service_accounts for selector in (left, right)
    ]
    return bool(_both(accounts[0], accounts[1], every))


def _common_image(left: ImageRules | None, right: ImageRules | None) -> bool:
    if left is None or right is None:
        return True
    digests = _both(left.digests, right.digests, "any")
    return bool(digests) and _common_path(left.repositories, right.repositories) is not None


def _common_path(left: tuple[PathPattern, ...], right: tuple[PathPattern, ...]) -> str | None:
    every = (PathPattern("/**"),)
    pairs = (a.common(b) for a in left or every for b in right or every)
    return next((path or "/" for path in pairs if path is not None), None)


def _common_query(a: Grant, b: Grant) -> bool:
    other = dict(b.query)
    return all(_both(values, other.get(key, ()), "any") for key, values in a.query)


def _common_pins(a: Grant, b: Grant, service: Service) -> dict[str, str] | None:
    """A value for each pin that one of them names; None where they name different tenants."""
    named = [(service.pin(name), globs) for name, globs in (*a.pins, *b.pins)]
    for (one, left), (two, right) in combinations(named, 2):
        if not any(_same_tenant(one, x, two, y) for x in left for y in right):
            return None
    left_pins, right_pins = dict(a.pins), dict(b.pins)
    found: dict[str, str] = {}
    for name in sorted({*left_pins, *right_pins}):
        left, right = (pins.get(name, ()) for pins in (left_pins, right_pins))
        pairs = (x.common(y) for x in left or right for y in right or left)
        found[name] = next(value for value in pairs if value is not None)
    return found


def _same_tenant(one: Pin | None, x: Glob, two: Pin | None, y: Glob) -> bool:
    """Whether two pins can hold at once: an `org` and a `repo` of another one cannot."""
    if one == two:
        return x.common(y) is not None
    left, right = _captured(one, x), _captured(two, y)
    return all(left[name].common(right[name]) is not None for name in left.keys() & right.keys())


def _captured(pin: Pin | None, glob: Glob) -> dict[str, Glob]:
    """What a value says of each capture: `acme/x` for `{org}/{name}`. Nothing where that cannot be told."""
    parts = glob.text.split("/")
    if pin is None or pin.template != "/".join(f"{{{name}}}" for name in pin.captures):
        return {}
    return dict(zip(pin.captures, map(Glob, parts), strict=True)) if len(parts) == len(pin.captures) else {}


def _common_prefix(a: Grant, b: Grant) -> bool:
    if not a.prefixes or not b.prefixes:
        return True
    return KeyPrefixes.of(a.prefixes).meet(KeyPrefixes.of(b.prefixes))
