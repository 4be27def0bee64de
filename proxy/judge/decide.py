"""The decision about one request. Pure and total: it raises for no request, and denies the unknown."""

from datetime import datetime
from typing import Final, NamedTuple

from proxy.core.identity import WorkloadIdentity
from proxy.core.policy import ForeignPresigned, OnForeignCredential
from proxy.core.reasons import Reason
from proxy.core.request import METHODS, OVERRIDE_HEADERS, ClientCredential, RequestFacts
from proxy.core.structs import replace
from proxy.core.verdict import PassThrough, ReadBody, Refuse, RuleRef, Verdict
from proxy.judge.grants import DISTANCE, BoundGrant
from proxy.judge.index import GrantGroup, HostRules, PolicyIndex
from proxy.judge.reading import Reading, asked_for_source

# A refusal names the grant that came nearest; an application that provokes refusals must not make us ask
# thousands of grants each time. `podkey explain` asks them all.
MAX_ASKED_FOR_NEAREST: Final = 8


class Nearest(NamedTuple):
    """The grant that came nearest to covering a request, and the first thing it lacks."""

    distance: int
    reason: Reason
    rule: RuleRef | None


class Further(NamedTuple):
    """What was found when more than a request's head was looked at."""

    # Who must own the bucket that is copied from.
    source_owner: str | None = None
    # podkey answers some requests itself, so that it does not matter which credential they would get.
    attaches: bool = True


NOTHING_FURTHER: Final = Further()
# Nothing came near: not even the first thing that is asked.
FAR: Final = Nearest(-1, Reason.PORT_NOT_GRANTED, None)


def decide(
    policies: PolicyIndex, identity: WorkloadIdentity, request: RequestFacts, now: datetime
) -> Verdict:
    """What to do with a request of this pod."""
    # (1) Is the host governed at all?
    rules = policies.for_pod(identity).rules_for(request.host)
    if rules.outside is not None:
        return rules.outside

    # (2) Can the request be read in one way only, and does it not carry a signature already?
    fault = unreadable(request, rules)
    if fault is not None:
        return _refused(rules, fault, None)

    # (3) Which grants cover it? On a host that one policy enforces, only grants of enforcing policies
    #     are asked: a policy on trial must neither widen nor disturb what is in force.
    minting = rules.minting.find(request)
    covering: list[BoundGrant] = []
    more: list[tuple[GrantGroup, Reading]] | None = None
    nearest = FAR
    for group in rules.groups:
        reading = group.read(request)
        if reading.needs_more:
            more = [*(more or ()), (group, reading)]
        # Where no grant is worth asking, the first few are, to name one that came near.
        for grant in group.candidates(request, reading) or group.grants[:MAX_ASKED_FOR_NEAREST]:
            reason = grant.miss(request, reading, minting, now)
            if reason is None:
                covering.append(grant)
            elif DISTANCE[reason] > nearest.distance:
                nearest = Nearest(DISTANCE[reason], reason, grant.rule)
    if not covering:
        return _refused(rules, nearest.reason, nearest.rule)
    if len(covering) > 1:
        covering.sort(key=lambda grant: grant.rule)

    # (4) Some are granted by more than their heads, and some get no credential.
    further = NOTHING_FURTHER
    if more is not None or request.signed_elsewhere:
        found = _look_further(rules, covering, more or [], request, now)
        if not isinstance(found, Further):
            return found
        further = found

    # (5) Several are fine as long as they mean the same.
    first = covering[0]
    if len(covering) > 1 and further.attaches and any(grant.effect != first.effect for grant in covering):
        return _refused(rules, Reason.AMBIGUOUS_GRANT, first.rule)

    # (6) What the application sent in the credential's place.
    attach = first.attach
    if further.source_owner is not None:
        attach = replace(attach, source_owner=further.source_owner)
    if request.client_credential is ClientCredential.FOREIGN:
        refuses = OnForeignCredential.REFUSE
        if any(grant.grant.on_foreign_credential is refuses for grant in covering):
            return _refused(rules, Reason.FOREIGN_CREDENTIAL, first.rule)
        if rules.observed:
            return PassThrough(Reason.WOULD_ATTACH, attach)
    return attach


def _look_further(
    rules: HostRules,
    covering: list[BoundGrant],
    more: list[tuple[GrantGroup, Reading]],
    request: RequestFacts,
    now: datetime,
) -> Further | Verdict:
    """The verdict, where it lies in more than the head; else what to go on with."""
    first = covering[0]
    asked = [(group, reading) for group, reading in more if not set(group.grants).isdisjoint(covering)]
    operations = [reading.operation for _, reading in asked if reading.operation is not None]

    # (a) The keys stand in the body. Which of these grants cover them is told when it was read.
    if request.removals is None and any(operation.body_keys for operation in operations):
        return ReadBody(first.attach)

    # (b) Somebody else has signed it, so it gets no credential on top.
    elsewhere = request.signed_elsewhere
    if elsewhere and not all(_passes(grant) for grant in covering):
        return _refused(rules, Reason.FOREIGN_PRESIGNED, first.rule)

    # (c) What it copies must be readable, too, by the same credential.
    attaches = not any(operation.answered_here for operation in operations)
    if attaches and not elsewhere and any(grant.effect != first.effect for grant in covering):
        return NOTHING_FURTHER
    owners: set[str | None] = set()
    for group, reading in asked:
        for source in reading.sources:
            found = _source_owners(group, source, first, request, now)
            if not found:
                return _refused(rules, Reason.SOURCE_NOT_GRANTED, first.rule)
            owners |= found
    if len(owners) > 1:
        return _refused(rules, Reason.AMBIGUOUS_GRANT, first.rule)
    if elsewhere:
        return PassThrough(Reason.PRESIGNED_ELSEWHERE)
    return Further(next(iter(owners), None), attaches)


def _source_owners(
    group: GrantGroup, source: Reading | str, first: BoundGrant, request: RequestFacts, now: datetime
) -> set[str | None]:
    """Who must own what is copied, as each grant says that lets it be read; empty where none does."""
    if isinstance(source, str):
        return set()
    asked = asked_for_source(request)
    return {
        grant.grant.expected_bucket_owner
        for grant in group.candidates(asked, source)
        if grant.signs_like(first.attach)
        and (_passes(grant) or not request.signed_elsewhere)
        and grant.miss(asked, source, (), now) is None
    }


def _passes(grant: BoundGrant) -> bool:
    return grant.grant.foreign_presigned is ForeignPresigned.PASS


def unreadable(request: RequestFacts, rules: HostRules) -> Reason | None:
    """Why a request to this host cannot be judged, whatever the grants say."""
    if request.method not in METHODS:
        return Reason.METHOD_FORBIDDEN
    path, query = request.path, request.query
    if path.fault is not None or query.fault is not None:
        return path.fault or query.fault
    # Where paths are keys, dots are data, and a plus sign is one to some servers and a space to S3.
    if rules.opaque_paths and (path.had_dot_segments or "+" in path.text):
        return Reason.AMBIGUOUS_PATH
    if query.carries_auth:
        return Reason.QUERY_AUTH_PRESENT
    if request.headers and not OVERRIDE_HEADERS.isdisjoint(request.headers):
        return Reason.OVERRIDE_HEADER
    return None


def _refused(rules: HostRules, reason: Reason, rule: RuleRef | None) -> Verdict:
    refusal = Refuse(reason, rule)
    return PassThrough(Reason.WOULD_REFUSE, refusal) if rules.observed else refusal
