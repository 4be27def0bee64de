"""What a refusal says: what was asked, which policy and grant came nearest, and how to find out more."""

from datetime import datetime
from shlex import quote
from typing import Final

from proxy.core.audit import AuditRecord
from proxy.core.reason_pages import REASONS
from proxy.core.reasons import Reason
from proxy.core.request import RequestFacts
from proxy.core.services import Dialect
from proxy.core.verdict import Refuse, RuleRef
from proxy.judge.grants import DISTANCE
from proxy.judge.index import HostRules
from proxy.judge.lacks import lack
from proxy.transaction.head import Head
from proxy.transaction.opening import Asked, Refused
from proxy.transaction.recording import refused
from proxy.transaction.refusals import Refusal

# What goes wrong behind a grant is nothing that `podkey explain` could tell more about.
BEYOND_POLICY: Final = frozenset({400, 413, 421, 431, 500, 502, 503, 504})


def refuse(  # noqa: PLR0917 - a refusal's parts
    asked: Asked,
    head: Head | None,
    record: AuditRecord,
    reason: Reason,
    why: str,
    rule: RuleRef | None = None,
    *,
    closes: bool = False,
) -> Refused:
    """`why` is one clause about this request; the rest of the message is the same for all."""
    who, arrival = asked.pod.identity, asked.arrival
    url = f"https://{arrival.shown_name}{record.path or '/'}"
    what = f"{head.method} {url}" if head is not None else f"a request to {arrival.shown_name}"
    parts = [f"podkey refused {what}: {why}."]
    if rule is not None:
        parts.append(f"Nearest grant: {rule}.")
    # Without a path nothing was judged that could be explained.
    if head is not None and record.path and REASONS[reason].status not in BEYOND_POLICY:
        parts.append(
            f"Explain: `podkey explain {quote(head.method)} {quote(url)} --policies DIR "
            f"-n {who.namespace} --service-account {who.service_account}`."
        )
    parts.append(f"More: `podkey reasons {reason.value}`.")
    refusal = Refusal(
        reason,
        " ".join(parts),
        rule,
        _dialect(asked),
        is_grpc=head is not None and head.is_grpc,
        is_head=head is not None and head.method == "HEAD",
        request_id=asked.request_id,
    )
    return Refused(refused(record, reason), refusal, closes)


def _dialect(asked: Asked) -> Dialect:
    rules = asked.pod.policies.for_pod(asked.pod.identity).rules_for(asked.arrival.name)
    return rules.services[0].dialect if rules.services else Dialect.PLAIN_JSON


def explain_lack(rules: HostRules, verdict: Refuse, facts: RequestFacts, now: datetime) -> str:
    """What the nearest grant lacks, in words; what the reason means, where no grant came near."""
    # Another reason that is no grant's own has no place in DISTANCE: the grants cover the request, and still.
    told = verdict.reason in DISTANCE or verdict.reason is Reason.SOURCE_NOT_GRANTED
    for group in rules.groups if told else ():
        for grant in group.grants:
            if grant.rule == verdict.rule:
                return lack(verdict.reason, grant, group.read(facts), facts, now)
    meaning = REASONS[verdict.reason].meaning
    return meaning.partition(". ")[0].partition(": ")[0].rstrip(".")
