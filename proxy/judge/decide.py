"""The decision about one request. Pure and total: it raises for no request, and denies the unknown."""

from datetime import datetime
from typing import Final, NamedTuple

from proxy.core.identity import WorkloadIdentity
from proxy.core.policy import OnForeignCredential
from proxy.core.reasons import Reason
from proxy.core.request import ClientCredential, RequestFacts
from proxy.core.verdict import PassThrough, Refuse, RuleRef, Verdict
from proxy.judge.grants import DISTANCE, BoundGrant
from proxy.judge.index import HostRules, PolicyIndex

# A refusal names the grant that came nearest; an application that provokes refusals must not make us ask
# thousands of grants each time. `podkey explain` asks them all.
MAX_ASKED_FOR_NEAREST: Final = 8


class Nearest(NamedTuple):
    """The grant that came nearest to covering a request, and the first thing it lacks."""

    distance: int
    reason: Reason
    rule: RuleRef | None


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

    # (3) Which grants cover it? Those of enforcing policies come first: a policy that only observes must
    #     not make an enforced request ambiguous.
    minting = rules.minting.find(request)
    covering: list[BoundGrant] = []
    nearest = FAR
    for group in rules.groups:
        reading = group.read(request)
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
        enforcing = [grant for grant in covering if not grant.observes]
        covering = sorted(enforcing or covering, key=lambda grant: grant.rule)

        # (4) Several are fine as long as they mean the same.
        if any(grant.effect != covering[0].effect for grant in covering):
            return _refused(rules, Reason.AMBIGUOUS_GRANT, covering[0].rule)

    # (5) What the application sent in the credential's place.
    first = covering[0]
    if request.client_credential is ClientCredential.FOREIGN:
        refuses = OnForeignCredential.REFUSE
        if any(grant.grant.on_foreign_credential is refuses for grant in covering):
            return _refused(rules, Reason.FOREIGN_CREDENTIAL, first.rule)
        if rules.observed:
            return PassThrough(Reason.WOULD_ATTACH, first.attach)
    return first.attach


def unreadable(request: RequestFacts, rules: HostRules) -> Reason | None:
    """Why a request to this host cannot be judged, whatever the grants say."""
    if request.path.fault is not None:
        return request.path.fault
    if request.path.had_dot_segments and rules.opaque_paths:
        return Reason.AMBIGUOUS_PATH
    return Reason.QUERY_AUTH_PRESENT if request.query.carries_auth else None


def _refused(rules: HostRules, reason: Reason, rule: RuleRef | None) -> Verdict:
    refusal = Refuse(reason, rule)
    return PassThrough(Reason.WOULD_REFUSE, refusal) if rules.observed else refusal
