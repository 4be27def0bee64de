"""The compiled policies: who, then which host, then which grants are worth asking.

Compiling sorts; the rest is done when a pod or a host is first seen, and remembered. The memories are
bounded and change no answer, so the index behaves as a value.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from functools import cache
from itertools import product
from typing import Final, NamedTuple

from proxy.core.contract import NAMESPACE_NAME_LABEL
from proxy.core.credentials import AttachScheme, CredentialRef, CredentialSource
from proxy.core.hosts import Hostname
from proxy.core.identity import WorkloadIdentity
from proxy.core.policy import EVERY_SERVICE_ACCOUNT, AccessPolicy, Grant, Mode, StoreEndpoint
from proxy.core.reasons import Reason
from proxy.core.request import OVERRIDE_HEADERS, RequestFacts
from proxy.core.selection import selects
from proxy.core.services import Catalogue, CredentialSlots, HostReading, Service, attach_scheme, slots_of
from proxy.core.validity import Validity
from proxy.core.verdict import PassThrough
from proxy.judge.boundaries import next_boundary
from proxy.judge.choice import Choose, choice
from proxy.judge.grants import BoundGrant, unfit
from proxy.judge.reading import NOTHING, MintingGuard, Reading, ServiceKnowledge, ServiceReader
from proxy.judge.stores import store_reading

Read = Callable[[RequestFacts], Reading]

# A sidecar has one identity at a time; a new one comes with new labels. The injector asks for many.
MAX_REMEMBERED_IDENTITIES: Final = 64
# A training pod talks to a dozen hosts. An application that makes up names must not make us keep them.
MAX_REMEMBERED_HOSTS: Final = 256

UNGOVERNED: Final = PassThrough(Reason.UNGOVERNED_HOST)
BLOB: Final = PassThrough(Reason.BLOB_HOST)

NO_SLOTS: Final = CredentialSlots()
# Whatever the service: this is where HTTP itself puts a credential (RFC 9110 §11.6.2).
COMMON_SLOTS: Final = CredentialSlots(headers=("authorization",))

# A grant, and the service that it is on.
Use = tuple[Grant, Service | None]
# A grant by its policy and its number there.
Place = tuple[AccessPolicy, int]


class GrantSet(NamedTuple):
    """Which grants belong together: those of a service, at its own hosts or at one store, or those that name
    a host exactly and by wildcard."""

    service: str | None = None
    store: StoreEndpoint | None = None
    exact: str = ""
    below: str = ""
    # What the host shows does not tell whose data it is: these grants cover nothing there.
    blind: bool = False


class GrantGroup:
    """The grants for one host that read it the same way: those of one service, or those of no service."""

    __slots__ = ("candidates", "grants", "read")

    def __init__(self, grants: tuple[BoundGrant, ...], candidates: Choose, read: Read) -> None:
        self.grants = grants
        # All grants that may cover a request, and few others.
        self.candidates = candidates
        self.read = read


def _read_nothing(_request: RequestFacts) -> Reading:
    return NOTHING


class SharedGrants(NamedTuple):
    """The grants of a set, how to choose among them, and where their credentials go."""

    grants: tuple[BoundGrant, ...]
    candidates: Choose
    slots: CredentialSlots
    # Of those that are not valid at all times.
    validities: frozenset[Validity]


class HostRules:
    """What this pod's policies say of one host."""

    __slots__ = (
        "groups",
        "minting",
        "observed",
        "opaque_paths",
        "outside",
        "services",
        "slots",
        "validities",
        "wanted_beginnings",
    )

    def __init__(
        self,
        groups: tuple[GrantGroup, ...],
        services: tuple[Service, ...],
        minting: MintingGuard,
        slots: CredentialSlots = NO_SLOTS,
        validities: frozenset[Validity] = frozenset(),
        *,
        observed: bool,
    ) -> None:
        self.services = services
        self.validities = validities
        # Everywhere that a credential for this host may stand; the application's own is taken out of it.
        self.slots = slots
        # The verdict for a host that is not governed, or never gets a credential.
        self.outside: PassThrough | None = None
        self.groups = groups
        self.minting = minting
        self.opaque_paths = any(service.opaque_paths for service in services)
        # Besides `PolicyIndex.wanted_headers`, `RequestFacts.headers` must hold all that begin with these.
        self.wanted_beginnings = tuple(dict.fromkeys(b for s in services for b in s.wanted_beginnings))
        # Whether every policy that governs the host only observes.
        self.observed = observed

    def stays_until(self, now: datetime) -> datetime | None:
        """Until when the same request gets the same verdict; None: as long as there are these rules."""
        return next_boundary(self.validities, now) if self.validities else None

    @classmethod
    def ending(cls, verdict: PassThrough) -> "HostRules":
        """For a host about which there is nothing to decide."""
        rules = cls((), (), MintingGuard(()), observed=False)
        rules.outside = verdict
        return rules


_UNGOVERNED_RULES: Final = HostRules.ending(UNGOVERNED)
_BLOB_RULES: Final = HostRules.ending(BLOB)


class PodPolicies:
    """The policies that select one pod.

    What costs with the number of grants is made once per service or set of host patterns and shared by all
    hosts: an application can ask for any number of buckets, and each is a host of its own.
    """

    def __init__(
        self, index: "PolicyIndex", identity: WorkloadIdentity, policies: Iterable[AccessPolicy]
    ) -> None:
        self._index = index
        self._identity = identity
        self._policies = tuple(policies)
        self._exact: dict[str, list[Place]] = defaultdict(list)
        self._below: dict[str, list[Place]] = defaultdict(list)
        self._service: dict[tuple[str, StoreEndpoint | None], list[Place]] = defaultdict(list)
        # By the host of the store: a request comes there, or to a name below it.
        self._stores: dict[str, list[tuple[str, StoreEndpoint]]] = defaultdict(list)
        for policy in self._policies:
            for number, grant in enumerate(policy.grants):
                place = (policy, number)
                if grant.service is not None:
                    self._service[grant.service, grant.endpoint].append(place)
                for host in grant.hosts:
                    (self._below if host.is_wildcard else self._exact)[host.suffix].append(place)
        for name, store in self._service:
            if store is not None and name in index.catalogue:
                self._stores[store.host].append((name, store))
        self._hosts: dict[Hostname, HostRules] = {}
        self._shared = cache(self._share)
        self._knowledge = cache(self._know)
        self._guard = cache(self._guards)

    def rules_for(self, host: Hostname) -> HostRules:
        rules = self._hosts.get(host)
        if rules is None:
            if len(self._hosts) >= MAX_REMEMBERED_HOSTS:
                del self._hosts[next(iter(self._hosts))]  # the one that was met first
            rules = self._hosts[host] = self._rules(host)
        return rules

    def uses(self, as_of: datetime | None = None) -> Mapping[CredentialRef, tuple[Use, ...]]:
        """The grants of this pod that can lead to a credential, by the source that they name.

        A policy on trial neither widens nor disturbs what is in force: where an enforcing policy names a
        source, what observing ones would do with it does not count. Nor does what the pod does not meet, or
        what has ended.
        """
        catalogue = self._index.catalogue
        found: dict[Mode, dict[CredentialRef, list[Use]]] = {mode: defaultdict(list) for mode in Mode}
        for policy in self._policies:
            end = policy.validity.not_after
            ended = as_of is not None and end is not None and as_of >= end
            counts = not ended and unfit(policy, self._identity) is None
            for grant in policy.grants:
                uses = found[policy.mode][CredentialRef(policy.namespace, grant.credential)]
                if counts:
                    service = catalogue[grant.service] if grant.service is not None else None
                    uses.append((grant, service))
        # An enforcing policy that does not count leaves its place empty.
        chosen = {**found[Mode.OBSERVE], **found[Mode.ENFORCE]}
        return {ref: tuple(grants) for ref, grants in chosen.items() if grants}

    @property
    def names_grpc(self) -> bool:
        """Whether a grant is about a service whose clients speak gRPC: by its name, or by a host of it."""
        catalogue = self._index.catalogue
        marked = {service.name for service in catalogue.values() if service.grpc}
        if not marked:
            return False
        if any(name in marked for name, _ in self._service):
            return True
        hosts = (Hostname(host) for host in self._exact)
        return any(reading.service.name in marked for host in hosts for reading in catalogue.readings(host))

    def _rules(self, host: Hostname) -> HostRules:
        catalogue = self._index.catalogue
        readings = catalogue.readings(host)
        sets: list[tuple[GrantSet, HostReading | None]] = [
            (GrantSet(reading.service.name), reading)
            for reading in readings
            if (reading.service.name, None) in self._service
        ]
        sets += self._at_stores(host)
        parent = host.partition(".")[2]
        exact, below = host if host in self._exact else "", parent if parent in self._below else ""
        if exact or below:
            sets.append((GrantSet(exact=exact, below=below), None))
        if not sets:
            return _UNGOVERNED_RULES
        if catalogue.blob_owner(host) is not None:
            return _BLOB_RULES
        enforcing = any(self._shared(one, enforcing=True).grants for one, _ in sets)
        counting = [(one, read) for one, read in sets if self._shared(one, enforcing=enforcing).grants]

        # A store is known by its grants alone: one that is on trial changes nothing for what is in force.
        stores = [reading for one, reading in counting if reading is not None and one.store is not None]
        # With two of them, or one and the catalogue, the host has two readings, and neither is relied on.
        torn = len(stores) > 1 or bool(stores and readings)
        # Tenants of a service that tells them apart are not granted by the name of a host.
        needs_pins = bool(stores) or any(pin.required for r in readings for pin in r.service.pins)
        groups, slots = [], [COMMON_SLOTS]
        validities: frozenset[Validity] = frozenset()
        for one, reading in counting:
            blind = torn if one.store is not None else needs_pins and one.service is None
            shared = self._shared(one._replace(blind=blind), enforcing=enforcing)
            groups.append(GrantGroup(shared.grants, shared.candidates, self._reader(reading, blind=blind)))
            slots.append(shared.slots)
            validities |= shared.validities
        services = {reading.service.name: reading.service for reading in (*readings, *stores)}
        slots[1:1] = (service.slots for service in services.values())
        guard = self._guard(tuple(services))
        return HostRules(
            tuple(groups),
            tuple(services.values()),
            guard,
            CredentialSlots.union(slots),
            validities,
            observed=not enforcing or self._index.observing,
        )

    def _at_stores(self, host: Hostname) -> Iterator[tuple[GrantSet, HostReading]]:
        """The stores that the host belongs to, by its own name or by one above it."""
        name: str = host
        while name:
            for service, store in self._stores.get(name, ()):
                reading = store_reading(self._index.catalogue[service], store, host)
                if reading is not None:
                    yield GrantSet(service, store), reading
            name = name.partition(".")[2]

    def _places(self, grant_set: GrantSet) -> Iterable[Place]:
        if grant_set.service is not None:
            return self._service[grant_set.service, grant_set.store]
        exact = self._exact[grant_set.exact] if grant_set.exact else ()
        below = self._below[grant_set.below] if grant_set.below else ()
        return dict.fromkeys((*exact, *below))

    def _share(self, grant_set: GrantSet, *, enforcing: bool) -> SharedGrants:
        """The grants of a set whose policies enforce, or only observe, and how to choose among them."""
        service = self._index.catalogue[grant_set.service] if grant_set.service is not None else None
        blind = Reason.PIN_UNREADABLE if grant_set.blind else None
        grants = [
            BoundGrant(
                policy,
                number,
                self._index.scheme(policy, number, service),
                service,
                unfit(policy, self._identity) or blind,
            )
            for policy, number in self._places(grant_set)
            if (policy.mode is Mode.ENFORCE) is enforcing
        ]
        grants.sort(key=lambda grant: grant.rule)
        schemes = dict.fromkeys(grant.attach.scheme for grant in grants)
        slots = CredentialSlots.union(slots_of(scheme) for scheme in schemes)
        validities = frozenset(grant.validity for grant in grants if grant.validity.is_bounded)
        return SharedGrants(tuple(grants), choice(grants), slots, validities)

    def _reader(self, reading: HostReading | None, *, blind: bool) -> Read:
        if reading is None or blind:
            return _read_nothing
        return ServiceReader(self._knowledge(reading.service.name), reading).read

    def _know(self, service: str) -> ServiceKnowledge:
        places = (place for (name, _), found in self._service.items() if name == service for place in found)
        used = {name for policy, number in places for name, _ in policy.grants[number].pins}
        return ServiceKnowledge(self._index.catalogue[service], used)

    def _guards(self, services: tuple[str, ...]) -> MintingGuard:
        return MintingGuard(self._index.catalogue[name] for name in services)


class PolicyIndex:
    """All policies of a set of documents, ready to be asked by `judge.decide`."""

    def __init__(
        self,
        policies: Iterable[AccessPolicy],
        sources: Iterable[CredentialSource],
        catalogue: Catalogue,
        *,
        observing: bool = False,
    ) -> None:
        self.catalogue = catalogue
        # Every verdict is what it would be, and nothing is refused. To read each policy as one that observes
        # would not do: those that are on trial would then count beside those that are not.
        self.observing = observing
        self.policies = tuple(sorted(policies, key=lambda p: (p.namespace, p.name)))
        self._sources: Mapping[CredentialRef, CredentialSource] = {s.ref: s for s in sources}
        # By namespace and service account; a cluster-wide one may be about any namespace.
        self._by_account: dict[tuple[str | None, str], list[AccessPolicy]] = defaultdict(list)
        for policy in self.policies:
            namespace = None if policy.is_cluster_wide else policy.namespace
            for account in policy.workloads.service_accounts or (EVERY_SERVICE_ACCOUNT,):
                self._by_account[namespace, account].append(policy)
        self._pods: dict[WorkloadIdentity, PodPolicies] = {}
        # Header names, in lower case, that `RequestFacts.headers` must hold for the decision.
        self.wanted_headers = OVERRIDE_HEADERS.union(*(s.wanted_headers for s in catalogue.values()))

    def for_pod(self, identity: WorkloadIdentity) -> PodPolicies:
        pod = self._pods.get(identity)
        if pod is None:
            if len(self._pods) >= MAX_REMEMBERED_IDENTITIES:
                self._pods.clear()
            pod = self._pods[identity] = PodPolicies(self, identity, self._selecting(identity))
        return pod

    def _selecting(self, identity: WorkloadIdentity) -> list[AccessPolicy]:
        places = product((identity.namespace, None), (identity.service_account, EVERY_SERVICE_ACCOUNT))
        policies = (policy for place in places for policy in self._by_account.get(place, ()))
        return [policy for policy in policies if is_about(policy, identity)]

    @property
    def sources(self) -> Iterable[CredentialSource]:
        return self._sources.values()

    def source(self, credential: CredentialRef) -> CredentialSource | None:
        """The source of these policies; a later set of policies may mean another by the same name."""
        return self._sources.get(credential)

    def scheme(self, policy: AccessPolicy, number: int, service: Service | None) -> AttachScheme | None:
        """How the grant's credential is attached; None where its source is missing."""
        source = self.source(CredentialRef(policy.namespace, policy.grants[number].credential))
        return attach_scheme(source, service) if source is not None else None


def is_about(policy: AccessPolicy, identity: WorkloadIdentity) -> bool:
    """Whether the policy selects this pod, by what a sidecar knows of its namespace: the name.

    The injector resolves other labels before it hands a policy over. A selector that asks for them here is
    one that nobody has resolved, and what cannot be told selects nobody.
    """
    namespaces = policy.workloads.namespaces
    if namespaces is not None and any(n.key != NAMESPACE_NAME_LABEL for n in namespaces.requirements):
        return False
    labels = {NAMESPACE_NAME_LABEL: identity.namespace}
    return selects(policy, identity.namespace, identity.service_account, identity.labels, labels)
