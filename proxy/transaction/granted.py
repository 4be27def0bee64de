"""A request that is granted, before its credential: what the two ways of attaching one have in common."""

from dataclasses import dataclass, replace

from proxy.core.audit import AuditRecord
from proxy.core.reasons import Reason
from proxy.core.request import RequestFacts
from proxy.core.secret import Secret
from proxy.core.services import Operation
from proxy.core.verdict import Attach
from proxy.judge.index import HostRules
from proxy.transaction.forwarding import IDENTITY_ENCODING
from proxy.transaction.head import Head
from proxy.transaction.opening import Fields, Forward, Refused
from proxy.transaction.refusing import Asked, refuse
from proxy.transaction.slots import clear_slots
from proxy.transaction.spent import signs_of

BUCKET_OWNER = "x-amz-expected-bucket-owner"
SOURCE_OWNER = "x-amz-source-expected-bucket-owner"
# Set by us, or by nobody: a response is searched for our credential, which has to be readable.
_DROPPED = frozenset({"accept-encoding", "sec-websocket-extensions"})


@dataclass(frozen=True, slots=True)
class Granted:
    """`fields` and `query` are what the application sent, less what was taken out of a presigned URL."""

    asked: Asked
    head: Head
    record: AuditRecord
    rules: HostRules
    verdict: Attach
    facts: RequestFacts
    fields: tuple[tuple[str, str], ...]
    query: str
    # The whole body, where it was read before the verdict.
    body: bytes | None = None
    # What a presigned URL says of its bucket's region.
    region: str | None = None

    @property
    def path(self) -> str:
        return self.facts.path.text

    @property
    def operation(self) -> Operation | None:
        """What it does, where a service of the host knows it."""
        readings = (group.read(self.facts).operation for group in self.rules.groups)
        return next((operation for operation in readings if operation is not None), None)

    def refused(self, reason: Reason, why: str) -> Refused:
        return refuse(self.asked, self.head, self.record, reason, why, self.verdict.rule)

    def edited(self) -> tuple[list[tuple[str, str | Secret]], str]:
        """The fields and the query as they go on, less every credential that the application sent."""
        kept, query = clear_slots(self.fields, self.query, self.rules.slots)
        pinned = {BUCKET_OWNER: self.verdict.expected_bucket_owner, SOURCE_OWNER: self.verdict.source_owner}
        # The application may pin an owner itself, where the grant does not.
        dropped = _DROPPED | {name for name, owner in pinned.items() if owner is not None}
        edited: list[tuple[str, str | Secret]] = [field for field in kept if field[0].lower() not in dropped]
        edited.append(IDENTITY_ENCODING)
        edited.extend((name, owner) for name, owner in pinned.items() if owner is not None)
        return edited, query

    def forward(self, target: str | Secret, fields: Fields, forms: frozenset[bytes]) -> Forward:
        return Forward(
            self.record,
            self.asked.arrival.shown_name,
            target,
            fields,
            self.head.wants_websocket,
            forms,
            attached=True,
            credential_fields=frozenset(self.rules.slots.headers),
            spent=signs_of(self.rules.services),
            on_revoke=self.verdict.on_revoke,
        )

    def with_record(self, record: AuditRecord) -> "Granted":
        return replace(self, record=record)
