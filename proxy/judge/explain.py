"""Why the verdict is what it is: every policy and grant that was considered, with what it lacked.

It asks the same compiled grants as `decide`, so the two cannot disagree; only the words are added here.
"""

from collections.abc import Iterator
from datetime import datetime

from proxy.core.contract import NAMESPACE_NAME_LABEL
from proxy.core.hosts import Hostname
from proxy.core.identity import WorkloadIdentity
from proxy.core.labels import LabelRequirement, LabelSelector, Operator
from proxy.core.policy import DEFAULT_PORTS, EVERY_SERVICE_ACCOUNT, AccessPolicy, Grant
from proxy.core.reasons import Reason
from proxy.core.request import RequestFacts
from proxy.core.services import Catalogue
from proxy.core.structs import Struct
from proxy.core.verdict import RuleRef, Verdict
from proxy.documents.host_names import display_name
from proxy.judge.decide import decide, unreadable
from proxy.judge.grants import BoundGrant
from proxy.judge.index import BLOB, GrantGroup, HostRules, PolicyIndex, is_about
from proxy.judge.lacks import lack
from proxy.judge.reading import BUCKET, Reading, asked_for_source


class GrantConsidered(Struct, frozen=True):
    """`lacks` is empty when the grant covers the request; `reason` is None when it was not even asked."""

    index: int
    target: str
    covers: bool
    reason: Reason | None
    lacks: str


class PolicyConsidered(Struct, frozen=True):
    namespace: str
    name: str
    mode: str
    selects: bool
    why: str
    grants: tuple[GrantConsidered, ...] = ()


class Explanation(Struct, frozen=True):
    verdict: Verdict
    policies: tuple[PolicyConsidered, ...]
    # What the request was read as: the normalised path, pins and operation.
    notes: tuple[str, ...]


def explain(
    policies: PolicyIndex, identity: WorkloadIdentity, request: RequestFacts, now: datetime
) -> Explanation:
    """The decision, and everything that was looked at on the way."""
    rules = policies.for_pod(identity).rules_for(request.host)
    asked: dict[RuleRef, tuple[BoundGrant, Reading]] = {}
    notes: list[str] = []
    for group in rules.groups:
        reading = group.read(request)
        asked |= {grant.rule: (grant, reading) for grant in group.grants}
        notes.extend(_reading_notes(reading))
        notes.extend(_source_note(source, group, request, now) for source in reading.sources)
    notes.extend(_request_notes(request))
    fault = unreadable(request, rules)
    if fault is not None and rules.outside is None:
        notes.append(f"the request is refused before any grant is asked: {fault.value}")
    elif request.path.text:
        notes.insert(0, f"path as it is matched and forwarded: {request.path.text}")
    considered = (_policy(policies, one, identity, request, now, rules, asked) for one in policies.policies)
    return Explanation(decide(policies, identity, request, now), tuple(considered), tuple(notes))


def _reading_notes(reading: Reading) -> list[str]:
    notes = [f"{name}: {value}" for name, value in sorted(reading.pins.items())]
    if reading.operation is not None:
        notes.append(f"operation: {reading.operation.name}")
    if reading.key is not None:
        notes.append(f"key: {reading.key}")
    if reading.listed is not None:
        notes.append(f"lists keys that begin with: {reading.listed or '(anything)'}")
    return notes


def _source_note(source: Reading | str, group: GrantGroup, request: RequestFacts, now: datetime) -> str:
    if isinstance(source, str):
        return f"copies: {source}"
    asked = asked_for_source(request)
    readers = [str(grant.rule) for grant in group.grants if grant.miss(asked, source, (), now) is None]
    place = "/".join(filter(None, (source.pins.get(BUCKET), source.key)))
    return f"copies: {place}, " + (
        f"which may be read by {' and by '.join(readers)}" if readers else "which no grant lets it read"
    )


def _request_notes(request: RequestFacts) -> Iterator[str]:
    if request.signed_elsewhere:
        yield "the URL is one that somebody else has signed: no credential of ours goes on top"
    for removal in request.removals or ():
        yield f"deletes: {removal.key}"


def _policy(  # noqa: PLR0917 - what was worked out once, handed to each policy
    policies: PolicyIndex,
    policy: AccessPolicy,
    identity: WorkloadIdentity,
    request: RequestFacts,
    now: datetime,
    rules: HostRules,
    asked: dict[RuleRef, tuple[BoundGrant, Reading]],
) -> PolicyConsidered:
    mode = policy.mode.value
    if not is_about(policy, identity):
        why = _why_not_selected(policy, identity)
        return PolicyConsidered(policy.namespace, policy.name, mode, selects=False, why=why)
    minting = rules.minting.find(request)
    grants = []
    for index, grant in enumerate(policy.grants):
        target = _target(grant)
        found = asked.get(RuleRef(policy.namespace, policy.name, index))
        if found is None:
            lacks = _why_not_asked(grant, request.host, rules, policies.catalogue)
            grants.append(GrantConsidered(index, target, covers=False, reason=None, lacks=lacks))
            continue
        bound, reading = found
        reason = bound.miss(request, reading, minting, now)
        lacks = lack(reason, bound, reading, request, now) if reason else ""
        grants.append(GrantConsidered(index, target, reason is None, reason, lacks))
    return PolicyConsidered(
        policy.namespace, policy.name, mode, selects=True, why=_why_selected(policy), grants=tuple(grants)
    )


def _target(grant: Grant) -> str:
    store = grant.endpoint
    if store is not None:
        port = "" if grant.ports == DEFAULT_PORTS else f":{grant.ports[0]}"
        return f"{grant.service} at {display_name(store.host)}{port}"
    return grant.service or ", ".join(host.text for host in grant.hosts)


def _why_not_asked(grant: Grant, host: Hostname, rules: HostRules, catalogue: Catalogue) -> str:
    if not _names(grant, host, catalogue):
        return f"does not name the host {host}"
    if rules.outside is BLOB:
        return f"{host} serves signed URLs, and never gets a credential"
    return "another policy enforces the host, and one that only observes changes nothing there"


def _names(grant: Grant, host: Hostname, catalogue: Catalogue) -> bool:
    if grant.endpoint is not None:
        return grant.endpoint.bucket_in(host) is not None
    if grant.service is not None:
        return any(reading.service.name == grant.service for reading in catalogue.readings(host))
    return any(pattern.matches(host) for pattern in grant.hosts)


def _why_selected(policy: AccessPolicy) -> str:
    who = policy.workloads
    parts = ["its namespace"] if who.namespaces is not None else []
    if who.service_accounts:
        everyone = EVERY_SERVICE_ACCOUNT in who.service_accounts
        parts.append("every service account" if everyone else "its service account")
    if who.pod_selector is not None:
        parts.append("its labels")
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last


def _why_not_selected(policy: AccessPolicy, identity: WorkloadIdentity) -> str:
    who = policy.workloads
    if policy.limits is not None:
        return "it limits what policies of other namespaces grant, and grants nothing itself"
    if who.namespaces is None:
        if policy.namespace != identity.namespace:
            return f"the pod is in namespace {identity.namespace}"
    elif (lack := _namespace_lack(who.namespaces, identity)) is not None:
        return lack
    accounts = who.service_accounts
    if accounts and not {identity.service_account, EVERY_SERVICE_ACCOUNT} & set(accounts):
        return f"service account {identity.service_account} is not one of {', '.join(accounts)}"
    unmet = who.pod_selector.first_unmet(identity.labels) if who.pod_selector else None
    return _label_lack(unmet, identity) if unmet else "it selects nobody"


def _namespace_lack(namespaces: LabelSelector, identity: WorkloadIdentity) -> str | None:
    unknown = dict.fromkeys(n.key for n in namespaces.requirements if n.key != NAMESPACE_NAME_LABEL)
    if unknown:
        space = identity.namespace
        return f"it asks for labels that the namespace {space} is not known to have: {', '.join(unknown)}"
    unmet = namespaces.first_unmet({NAMESPACE_NAME_LABEL: identity.namespace})
    if unmet is None:
        return None
    return f"the pod is in namespace {identity.namespace}, and {unmet.key} {_wanted(unmet)}"


def _label_lack(need: LabelRequirement, identity: WorkloadIdentity) -> str:
    value = identity.labels.get(need.key)
    has = f"is {value}" if value is not None else "is not set"
    return f"label {need.key} {has}, and {_wanted(need)}"


def _wanted(need: LabelRequirement) -> str:
    values = ", ".join(need.values)
    wanted = {
        Operator.IN: f"must be {values}" if len(need.values) == 1 else f"must be one of {values}",
        Operator.NOT_IN: f"must not be {values}",
        Operator.EXISTS: "must be set",
        Operator.DOES_NOT_EXIST: "must not be set",
    }
    return wanted[need.operator]
