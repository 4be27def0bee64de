"""A request that says what another one said, of another path: only what its path means is judged."""

from datetime import datetime

from proxy.core.paths import RequestPath
from proxy.core.request import RequestFacts
from proxy.judge.decide import decide
from proxy.transaction.granted import Granted
from proxy.transaction.pod import PodState
from proxy.transaction.recording import action_of


def is_granted_elsewhere(granted: Granted, pod: PodState, path: str, now: datetime) -> bool:
    """Whether it gets the same, for the same action, by the very same grant. `pod` is the state by which the
    other one was judged."""
    facts = granted.facts
    if facts.query.raw or granted.query or granted.asked.arrival.path_prefix:
        return False
    place = RequestPath.parse(path)
    if place.fault is not None or place.text != path or place.had_dot_segments:
        return False
    there = RequestFacts(
        facts.host,
        facts.method,
        place,
        facts.query,
        facts.port,
        facts.headers,
        facts.client_credential,
        facts.signed_elsewhere,
        facts.removals,
    )
    if decide(pod.policies, pod.identity, there, now) is not granted.verdict:
        return False
    return action_of(granted.rules, there) == granted.record.action
