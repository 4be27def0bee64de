"""The compiled policies: who, then which host, then which grants are worth asking.

Compiling sorts; the rest is done when a pod or a host is first seen, and remembered. The memories are
bounded and change no answer, so the index behaves as a value.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Final

from proxy.core.credentials import AttachScheme, CredentialRef, CredentialSource
from proxy.core.hosts import Hostname
from proxy.core.identity import WorkloadIdentity
from proxy.core.policy import EVERY_SERVICE_ACCOUNT, AccessPolicy
from proxy.core.reasons import Reason
from proxy.core.request import RequestFacts
from proxy.core.services import Catalogue, HostReading, Service, attach_scheme
from proxy.core.verdict import PassThrough
from proxy.judge.choice import choice
from proxy.judge.grants import BoundGrant
from proxy.judge.reading import NOTHING, MintingGuard, Reading, ServiceReader

# A sidecar has one identity at a time; a new one comes with new labels. The injector asks for many.
MAX_REMEMBERED_IDENTITIES: Final = 64
# An application that makes up host names must not make us keep them.
MAX_REMEMBERED_HOSTS: Final = 4096

UNGOVERNED: Final = PassThrough(Reason.UNGOVERNED_HOST)
BLOB: Final = PassThrough(Reason.BLOB_HOST)


class GrantGroup:
    """The grants for one host that read it the same way: those of one service, or those of no service."""

    __slots__ = ("candidates", "grants", "read")

    def __init__(self, grants: list[BoundGrant], reader: ServiceReader | None) -> None:
        self.grants = tuple(sorted(grants, key=lambda grant: grant.rule))
        self.read = reader.read if reader is not None else _read_nothing
        # All grants that may cover a request, and few others.
        self.candidates = choice(self.grants)


def _read_nothing(_request: RequestFacts) -> Reading:
    return NOTHING


class HostRules:
    """What this pod's policies say of one host."""

    __slots__ = ("groups", "minting", "observed", "opaque_paths", "outside")

    def __init__(
        self,
        groups: tuple[GrantGroup, ...],
        services: tuple[Service, ...],
        outside: PassThrough | None = None,
    ) -> None:
        # The verdict for a host that is not governed, or never gets a credential.
        self.outside = outside
        self.groups = groups
        self.minting = MintingGuard(services)
        self.opaque_paths = any(service.opaque_paths for service in services)
        # One enforcing policy is enough to make the host enforced; that nobody observes is no observing.
        self.observed = {grant.observes for group in groups for grant in group.grants} == {True}


class PodPolicies:
    """The policies that select one pod."""

    def __init__(
        self, index: "PolicyIndex", identity: WorkloadIdentity, policies: Iterable[AccessPolicy]
    ) -> None:
        self._index = index
        self._identity = identity
        self._exact: dict[str, list[tuple[AccessPolicy, int]]] = defaultdict(list)
        self._below: dict[str, list[tuple[AccessPolicy, int]]] = defaultdict(list)
        self._service: dict[str, list[tuple[AccessPolicy, int]]] = defaultdict(list)
        for policy in policies:
            for number, grant in enumerate(policy.grants):
                place = (policy, number)
                if grant.service is not None:
                    self._service[grant.service].append(place)
                for host in grant.hosts:
                    (self._below if host.is_wildcard else self._exact)[host.suffix].append(place)
        self._hosts: dict[Hostname, HostRules] = {}

    def rules_for(self, host: Hostname) -> HostRules:
        rules = self._hosts.get(host)
        if rules is None:
            if len(self._hosts) >= MAX_REMEMBERED_HOSTS:
                self._hosts.clear()
            rules = self._hosts[host] = self._rules(host)
        return rules

    def _rules(self, host: Hostname) -> HostRules:
        catalogue = self._index.catalogue
        readings = catalogue.readings(host)
        groups = [
            self._group(self._service[reading.service.name], reading)
            for reading in readings
            if reading.service.name in self._service
        ]
        places = dict.fromkeys((*self._exact.get(host, ()), *self._below.get(host.partition(".")[2], ())))
        if places:
            groups.append(self._group(list(places), None))
        if not groups:
            return HostRules((), (), UNGOVERNED)
        if catalogue.blob_owner(host) is not None:
            return HostRules((), (), BLOB)
        return HostRules(tuple(groups), tuple(reading.service for reading in readings))

    def _group(self, places: list[tuple[AccessPolicy, int]], reading: HostReading | None) -> GrantGroup:
        service = reading.service if reading else None
        grants = [
            BoundGrant(policy, number, self._index.scheme(policy, number, service), service, self._identity)
            for policy, number in places
        ]
        reader = None
        if reading is not None:
            used = {name for grant in grants for name, _ in grant.grant.pins}
            reader = ServiceReader(reading, [p for p in reading.service.pins if p.name in used])
        return GrantGroup(grants, reader)


class PolicyIndex:
    """All policies of a set of documents, ready to be asked by `judge.decide`."""

    def __init__(
        self,
        policies: Iterable[AccessPolicy],
        sources: Iterable[CredentialSource],
        catalogue: Catalogue,
    ) -> None:
        self.catalogue = catalogue
        self.policies = tuple(sorted(policies, key=lambda p: (p.namespace, p.name)))
        self._sources: Mapping[CredentialRef, CredentialSource] = {s.ref: s for s in sources}
        self._by_account: dict[tuple[str, str], list[AccessPolicy]] = defaultdict(list)
        for policy in self.policies:
            for account in policy.workloads.service_accounts or (EVERY_SERVICE_ACCOUNT,):
                self._by_account[policy.namespace, account].append(policy)
        self._pods: dict[WorkloadIdentity, PodPolicies] = {}
        # Header names, in lower case, that `RequestFacts.headers` must hold for the decision.
        self.wanted_headers = frozenset(
            header
            for service in catalogue.values()
            for header in (
                *(pin.header for pin in service.pins),
                *(operation.header for operation in service.operations),
            )
            if header is not None
        )

    def for_pod(self, identity: WorkloadIdentity) -> PodPolicies:
        pod = self._pods.get(identity)
        if pod is None:
            if len(self._pods) >= MAX_REMEMBERED_IDENTITIES:
                self._pods.clear()
            pod = self._pods[identity] = PodPolicies(self, identity, self._selecting(identity))
        return pod

    def _selecting(self, identity: WorkloadIdentity) -> list[AccessPolicy]:
        accounts = (identity.service_account, EVERY_SERVICE_ACCOUNT)
        policies = (p for a in accounts for p in self._by_account.get((identity.namespace, a), ()))
        return [policy for policy in policies if selects(policy, identity)]

    def scheme(self, policy: AccessPolicy, number: int, service: Service | None) -> AttachScheme | None:
        """How the grant's credential is attached; None where its source is missing."""
        source = self._sources.get(CredentialRef(policy.namespace, policy.grants[number].credential))
        return attach_scheme(source, service) if source is not None else None


def selects(policy: AccessPolicy, identity: WorkloadIdentity) -> bool:
    """Whether the policy is about this pod: namespace, service account and labels."""
    who = policy.workloads
    accounts = who.service_accounts
    if policy.namespace != identity.namespace or not (accounts or who.pod_selector):
        return False
    if accounts and not {identity.service_account, EVERY_SERVICE_ACCOUNT} & set(accounts):
        return False
    return who.pod_selector is None or who.pod_selector.matches(identity.labels)
