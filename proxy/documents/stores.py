"""Grants on stores that speak S3 and are not Amazon's: is the host free, and does everybody mean the same?

A host is read in one way. Where two grants read it in two ways, the decision refuses every request there
(`judge.index`), whatever their buckets and pods; so they are compared by their hosts alone.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from proxy.core.credentials import SigV4
from proxy.core.hosts import HostPattern
from proxy.core.policy import AccessPolicy, Addressing, ForeignPresigned, Grant, StoreEndpoint
from proxy.core.services import Service
from proxy.documents.host_names import is_public_suffix
from proxy.documents.meeting import companies
from proxy.documents.placed import Placed
from proxy.documents.problems import Problem, ProblemCode
from proxy.documents.reading import MAX_PROBLEMS
from proxy.documents.territory import Territory

BUCKET_TEMPLATE: Final = "{bucket}"
REGION_TEMPLATE: Final = "{aws_region}"

# A code, what is wrong, the fix, and the key of the grant.
Finding = tuple[ProblemCode, str, str, str]


def speaks_s3(service: Service) -> bool:
    """Whether it is S3, at whatever host: it has buckets, and its requests are signed."""
    buckets = any(pin.template == BUCKET_TEMPLATE for pin in service.pins)
    return buckets and SigV4() in service.attach


def strangers_name_buckets(store: StoreEndpoint | None) -> bool:
    """Whether whoever pays for it can take a bucket's name: on Amazon, and where names below are for sale.

    A store of one's own has no strangers.
    """
    return store is None or is_public_suffix(store.host)


def store_findings(grant: Grant, service: Service, territory: Callable[[], Territory]) -> Iterator[Finding]:
    """What is wrong with one grant for a service."""
    if grant.foreign_presigned is ForeignPresigned.PASS and SigV4() not in service.attach:
        message = f"`foreignPresigned` means nothing to the service `{service.name}`: its URLs are not signed"
        yield ProblemCode.UNKNOWN_PIN, message, "remove it", "foreignPresigned"
    store = grant.endpoint
    if store is None:
        return
    if not speaks_s3(service):
        message = f"the service `{service.name}` has hosts of its own, and no buckets to find at another one"
        yield ProblemCode.UNKNOWN_PIN, message, "remove `endpoint`, or write `service: s3`", "endpoint"
        return
    yield from _of_others(store, service, territory())
    regions = (pin.name for pin in service.pins if pin.template == REGION_TEMPLATE)
    for name in regions:
        if name in dict(grant.pins):
            message = f"`pins.{name}` is read from Amazon's host names; this store has one region"
            fix = "remove it, or write it as `region`"
            yield ProblemCode.UNKNOWN_PIN, message, fix, f"pins.{name}"


def _of_others(store: StoreEndpoint, service: Service, territory: Territory) -> Iterator[Finding]:
    """Hosts that the catalogue knows: it tells what they are, and a grant cannot say otherwise."""
    owners = set(territory.owners(store.label_globs))
    if owners:
        owner = service.name if service.name in owners else min(owners)
        fix = "remove `endpoint`, `region` and `addressing`: the catalogue knows these hosts"
        if owner != service.name:
            fix = f"write `service: {owner}`, without `endpoint`"
        message = f"`{store.host}` covers hosts of the service `{owner}`"
        yield ProblemCode.HOST_TAKEN, message, fix, "endpoint"


# --- grants beside each other ------------------------------------------------------------------------


class _Place(NamedTuple):
    policy: Placed[AccessPolicy]
    number: int

    def problem(self, code: ProblemCode, message: str, fix: str, key: str) -> Problem:
        return self.policy.grant_problem(self.number, code, message, fix, key)

    @property
    def name(self) -> str:
        return f"{self.policy.value.name} {self.policy.grant_place(self.number)}"


# How a host is read: as which service's, and as a host of which store.
_Meaning = tuple[str, StoreEndpoint]


def check_stores(policies: Sequence[Placed[AccessPolicy]]) -> list[Problem]:
    """Stores that contradict each other, and hosts of a store that a grant names without its buckets."""
    # Cluster-wide policies contradict each other in every namespace alike; that is told once.
    problems: dict[Problem, None] = {}
    for wide, own in companies(policies):
        for problem in _Stores([*wide, *own]).problems([*wide, *own]):
            problems[problem] = None
            if len(problems) == MAX_PROBLEMS:
                return list(problems)
    return list(problems)


class _Stores:
    """The stores of policies that count together, by their hosts, with the first grant that names each."""

    def __init__(self, policies: Iterable[Placed[AccessPolicy]]) -> None:
        self._by_host: dict[str, dict[_Meaning, _Place]] = defaultdict(dict)
        self._by_parent: dict[str, dict[_Meaning, _Place]] = defaultdict(dict)
        for policy in policies:
            for index, grant in enumerate(policy.value.grants):
                if grant.endpoint is not None:
                    host = grant.endpoint.host
                    meaning, place = (grant.service or "", grant.endpoint), _Place(policy, index)
                    self._by_host[host].setdefault(meaning, place)
                    self._by_parent[host.partition(".")[2]].setdefault(meaning, place)

    def problems(self, policies: Iterable[Placed[AccessPolicy]]) -> Iterator[Problem]:
        for meanings in self._by_host.values():
            for number, (meaning, place) in enumerate(meanings.items()):
                yield from self._contradictions(meaning, place, list(meanings)[:number])
        for policy in policies if self._by_host else ():
            for index, grant in enumerate(policy.value.grants):
                for number, host in enumerate(grant.hosts):
                    yield from self._named_without_buckets(_Place(policy, index), number, host)

    def _contradictions(self, meaning: _Meaning, place: _Place, before: list[_Meaning]) -> Iterator[Problem]:
        """At its own host, and at those of a store above it."""
        store = meaning[1]
        others = [(other, self._by_host[store.host][other]) for other in before]
        others += self._covering(store.host.partition(".")[2])
        for (_, other), where in others:
            shared = f"`{store.host}`" if other.host == store.host else f"`{store.host}` below `{other.host}`"
            message = f"{shared} is read in another way by {where.name}: requests there would be refused"
            fix = "write `service`, `endpoint`, `region` and `addressing` of this store alike in both"
            yield place.problem(ProblemCode.CONTRADICTING_ENDPOINTS, message, fix, "endpoint")

    def _covering(self, name: str) -> Iterator[tuple[_Meaning, _Place]]:
        """The stores that read the name, and all names below it, as themselves and their buckets."""
        while name:
            for meaning, place in self._by_host.get(name, {}).items():
                if meaning[1].addressing is Addressing.VIRTUAL:
                    yield meaning, place
            name = name.partition(".")[2]

    def _named_without_buckets(self, place: _Place, number: int, host: HostPattern) -> Iterator[Problem]:
        found = [*self._covering(host.suffix)]
        found += (self._by_parent if host.is_wildcard else self._by_host).get(host.suffix, {}).items()
        for (service, store), where in found[:1]:
            message = f"`{host.text}` covers hosts of the store `{store.host}` of {where.name}"
            fix = f"write `service: {service}` with that `endpoint` and name the buckets, or remove it"
            yield place.problem(ProblemCode.HOST_NEEDS_SERVICE, message, fix, f"hosts[{number}]")
