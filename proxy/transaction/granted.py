"""A request that is granted, before its credential: what the two ways of attaching one have in common."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from proxy.attach.bodies import BodyTransform
from proxy.core.audit import AuditRecord
from proxy.core.reasons import Reason
from proxy.core.request import RequestFacts
from proxy.core.secret import Secret
from proxy.core.services import Operation, SpentSign
from proxy.core.verdict import Attach
from proxy.judge.index import HostRules
from proxy.transaction.forwarding import IDENTITY_ENCODING
from proxy.transaction.head import Head
from proxy.transaction.opening import Asked, Fields, Forward, Refused
from proxy.transaction.refusing import refuse
from proxy.transaction.slots import clear_slots
from proxy.transaction.spent import signs_of

BUCKET_OWNER = "x-amz-expected-bucket-owner"
SOURCE_OWNER = "x-amz-source-expected-bucket-owner"
# Set by us, or by nobody: a response is searched for our credential, which has to be readable.
_DROPPED = frozenset({"accept-encoding", "sec-websocket-extensions"})


class Signing(NamedTuple):
    """What else is to be known of a request that is signed: see `Forward`."""

    rewrite: BodyTransform | None
    guessed_region: str | None


# No slots: what is made of it is kept with it, for another request that says the same.
@dataclass(frozen=True)
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
    # Nothing but its head was looked at, and the times of policies: another one with the same head is granted
    # the same.
    is_plain: bool = False

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

    @cached_property
    def edits(self) -> tuple[Fields, str]:
        """The fields and the query as they go on, less every credential that the application sent."""
        kept, query = clear_slots(self.fields, self.query, self.rules.slots)
        dropped = _DROPPED
        owner, source_owner = self.verdict.expected_bucket_owner, self.verdict.source_owner
        # The application may pin an owner itself, where the grant does not.
        if owner is not None:
            dropped |= {BUCKET_OWNER}
        if source_owner is not None:
            dropped |= {SOURCE_OWNER}
        edited: list[tuple[str, str | Secret]] = [field for field in kept if field[0].lower() not in dropped]
        edited.append(IDENTITY_ENCODING)
        if owner is not None:
            edited.append((BUCKET_OWNER, owner))
        if source_owner is not None:
            edited.append((SOURCE_OWNER, source_owner))
        return tuple(edited), query

    @cached_property
    def _answers(self) -> tuple[frozenset[str], tuple[SpentSign, ...]]:
        """Which fields of a response could hold a credential, and which responses say that ours is spent."""
        return frozenset(self.rules.slots.headers), signs_of(self.rules.services)

    def forward(
        self,
        target: str | Secret,
        fields: Fields,
        forms: frozenset[bytes],
        signing: Signing | None = None,
    ) -> Forward:
        credential_fields, spent = self._answers
        return Forward(
            self.record,
            self.asked.arrival.shown_name,
            target,
            fields,
            self.head.wants_websocket,
            forms,
            attached=True,
            credential_fields=credential_fields,
            spent=spent,
            on_revoke=self.verdict.on_revoke,
            rewrite=signing.rewrite if signing is not None else None,
            is_timed=signing is not None,
            guessed_region=signing.guessed_region if signing is not None else None,
        )

    def anew(self, asked: Asked, record: AuditRecord) -> "Granted":
        """For another request that says the same. What was made of this one serves that one."""
        granted = object.__new__(Granted)
        object.__setattr__(granted, "__dict__", self.__dict__ | {"asked": asked, "record": record})
        return granted

    def with_record(self, record: AuditRecord) -> "Granted":
        return self.anew(self.asked, record)
