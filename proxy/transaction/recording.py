"""The audit record as it grows: begun with the head, decided, leased, and finished by the lane."""

from datetime import datetime
from typing import TypedDict, assert_never

from proxy.core.arrival import Arrival
from proxy.core.audit import AuditRecord
from proxy.core.evidence import Evidence
from proxy.core.lease import Lease
from proxy.core.reasons import Reason
from proxy.core.request import ClientCredential, RequestFacts
from proxy.core.verdict import Attach, PassThrough, ReadBody, Refuse, RuleRef, Verdict
from proxy.judge.index import HostRules
from proxy.transaction.head import Head
from proxy.transaction.pod import PodState


def began(  # noqa: PLR0917 - what is known at the start
    pod: PodState, arrival: Arrival, now: datetime, request_id: str, head: Head | None = None, path: str = ""
) -> AuditRecord:
    proof = pod.proof
    proved = isinstance(proof, Evidence) and now < proof.expires
    return (pod.proved if proved else pod.unverified).changed(
        time=now,
        request_id=request_id,
        host=arrival.name,
        port=arrival.port,
        method=head.method if head is not None else "",
        path=path,
        protocol=head.version.value if head is not None else "",
        lane=arrival.lane.value,
        capture=arrival.capture.value,
        upstream=arrival.upstream,
    )


def decided(record: AuditRecord, verdict: Verdict, rules: HostRules, facts: RequestFacts) -> AuditRecord:
    foreign = facts.signed_elsewhere or facts.client_credential is ClientCredential.FOREIGN
    return record.changed(
        service=rules.services[0].name if rules.services else "",
        action=action_of(rules, facts),
        reason=(verdict.granted if isinstance(verdict, ReadBody) else verdict).reason.value,
        static_credential_seen=foreign,
        **_outcome(verdict),
    )


class Outcome(TypedDict, total=False):
    verdict: str
    would: str
    policy: str
    grant: int
    credential: str


def _outcome(verdict: Verdict) -> Outcome:
    match verdict:
        case Attach(rule=rule, credential=credential):
            return {"verdict": "attach", "credential": str(credential), **_ruled(rule)}
        case PassThrough(would=Attach(rule=rule) as would) | PassThrough(would=Refuse(rule=rule) as would):
            return {"verdict": "pass_through", "would": would.reason.value, **_ruled(rule)}
        case PassThrough():
            return {"verdict": "pass_through"}
        case ReadBody(granted=granted):
            return _outcome(granted)
        case Refuse(rule=rule):
            return {"verdict": "refuse", **_ruled(rule)}
        case _:
            assert_never(verdict)


def _ruled(rule: RuleRef | None) -> Outcome:
    return {} if rule is None else {"policy": f"{rule.namespace}/{rule.policy}", "grant": rule.grant}


def refused(record: AuditRecord, reason: Reason) -> AuditRecord:
    """A refusal for another reason than the verdict's: what was granted stays visible in `credential`."""
    return record.changed(verdict="refuse", reason=reason.value)


def leased(record: AuditRecord, lease: Lease) -> AuditRecord:
    return record if record.lease_id == lease.id else record.changed(lease_id=lease.id)


def action_of(rules: HostRules, facts: RequestFacts) -> str:
    if facts.path.fault is not None or facts.query.fault is not None:
        return ""
    operations = (group.read(facts).operation for group in rules.groups)
    return next((operation.name for operation in operations if operation is not None), "")
