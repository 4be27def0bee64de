"""What the sidecar knows when a request arrives: replaced as a whole when a policy or a label changes."""

from dataclasses import dataclass

from proxy.core.identity import WorkloadIdentity
from proxy.judge.index import PolicyIndex
from proxy.transaction.slots import Placeholders


@dataclass(frozen=True, slots=True)
class PodState:
    policies: PolicyIndex
    identity: WorkloadIdentity
    placeholders: Placeholders
    # What the identity rests on; it goes into each audit record.
    evidence: str = "declared"
