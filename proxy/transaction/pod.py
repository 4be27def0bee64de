"""What the sidecar knows when a request arrives: replaced whole when a policy, a label or a token changes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from proxy.core.audit import AuditRecord
from proxy.core.credentials import CredentialRef, SourceKind
from proxy.core.evidence import Evidence, Proof
from proxy.core.identity import WorkloadIdentity
from proxy.core.lease import LeaseKey, NoLease
from proxy.judge.index import PolicyIndex, Use
from proxy.sources.scopes import ScopeFault, scope_of
from proxy.transaction.slots import Placeholders

# Bedrock's requests end at 20 MB and are some KiB; SageMaker's at 6 MB. More is S3's business.
DEFAULT_HASHED_BODY: Final = 16 * 1024 * 1024


@lru_cache(maxsize=64)
def _scope(kind: SourceKind, grants: tuple[Use, ...]) -> str | ScopeFault:
    """Remembered: a state is made with each new token, and a thousand grants take most of a second."""
    return scope_of(kind, grants)


def _nothing_asked(who: WorkloadIdentity) -> AuditRecord:
    return AuditRecord(
        time=datetime.min.replace(tzinfo=UTC),
        request_id="",
        namespace=who.namespace,
        service_account=who.service_account,
        pod_name=who.pod_name,
        pod_uid=who.pod_uid,
        node=who.node,
        evidence="unverified",
        host="",
        port=0,
        method="",
        path="",
        cluster=who.cluster,
        owner=who.owner,
    )


def _with_evidence(record: AuditRecord, proof: Proof) -> AuditRecord:
    if not isinstance(proof, Evidence):
        return record
    return record.changed(
        evidence="token",
        issuer=proof.issuer,
        key_id=proof.key_id,
        token_hash=proof.token_hash,
        token_issued=proof.issued,
        token_expires=proof.expires,
    )


@dataclass(frozen=True, slots=True)
class PodState:
    policies: PolicyIndex
    identity: WorkloadIdentity
    placeholders: Placeholders
    # What the identity rests on; it goes into each audit record.
    proof: Proof
    # Sources that were taken away while a grant still names them: their credentials count no more.
    withdrawn: frozenset[CredentialRef] = frozenset()
    # When it was made: what has ended by then counts no more.
    as_of: datetime | None = None
    # Of a body that is hashed whole, for AWS services other than S3.
    hashed_body_limit: int = DEFAULT_HASHED_BODY
    # Under which key the book keeps the lease of each source that this pod's grants name, or why it cannot.
    leases: Mapping[CredentialRef, LeaseKey | NoLease] = field(init=False)
    # What the records of all requests have in common: while the proof counts, and without one.
    proved: AuditRecord = field(init=False, repr=False, compare=False)
    unverified: AuditRecord = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        unverified = _nothing_asked(self.identity)
        object.__setattr__(self, "unverified", unverified)
        object.__setattr__(self, "proved", _with_evidence(unverified, self.proof))
        uses = self.policies.for_pod(self.identity).uses(self.as_of)
        object.__setattr__(self, "leases", {ref: self._key(ref, grants) for ref, grants in uses.items()})

    def _key(self, ref: CredentialRef, grants: tuple[Use, ...]) -> LeaseKey | NoLease:
        source = self.policies.source(ref)
        if source is None or ref in self.withdrawn:
            return NoLease(ref, f"there is no CredentialSource {ref} any more, though a grant names it")
        scope = _scope(source.kind, grants)
        if isinstance(scope, ScopeFault):
            return NoLease(ref, scope.message)
        return LeaseKey(source, scope)

    def unproven(self, now: datetime) -> str | None:
        """Why nobody proves who this pod is; None when somebody does."""
        proof = self.proof
        if not isinstance(proof, Evidence):
            return proof.message
        if now < proof.expires:
            return None
        return f"the pod's token ended at {proof.expires:%H:%M:%S} UTC, and the kubelet has not renewed it"
