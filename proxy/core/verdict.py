"""The outcome of a decision: a closed union, matched to its end wherever it is used."""

from proxy.core.credentials import AttachScheme, CredentialRef
from proxy.core.policy import OnForeignCredential, OnRevoke, StoreEndpoint
from proxy.core.reasons import Reason
from proxy.core.structs import Struct


class RuleRef(Struct, frozen=True, order=True):
    """A grant by its place: policy and position, from which documents sort and people find it."""

    namespace: str
    policy: str
    grant: int

    def __str__(self) -> str:
        return f"{self.namespace}/{self.policy} grants[{self.grant}]"


class Attach(Struct, frozen=True):
    """Put this credential on the request, in place of whatever the application sent in its slot."""

    rule: RuleRef
    credential: CredentialRef
    scheme: AttachScheme
    on_foreign_credential: OnForeignCredential = OnForeignCredential.REPLACE
    expected_bucket_owner: str | None = None
    reason: Reason = Reason.GRANTED
    on_revoke: OnRevoke = OnRevoke.FINISH
    # The store that the grant is for, where it is not the service's own.
    store: StoreEndpoint | None = None
    # Who must own the bucket that an object is copied from.
    source_owner: str | None = None


class ReadBody(Struct, frozen=True):
    """The request is granted as far as its head says, and its body names further keys: read it, and ask again
    with `RequestFacts.removals`. It is no permission to forward anything."""

    granted: Attach


class Refuse(Struct, frozen=True):
    """Answer the request ourselves. `rule` is the grant that came nearest, where one came near."""

    reason: Reason
    rule: RuleRef | None = None


class PassThrough(Struct, frozen=True):
    """Forward the request as it is, with no credential of ours.

    `would` is what an enforcing policy would have done, when an observing one let the request pass.
    """

    reason: Reason
    would: Attach | Refuse | None = None

    @property
    def would_refuse(self) -> Reason | None:
        return self.would.reason if isinstance(self.would, Refuse) else None


Verdict = Attach | PassThrough | ReadBody | Refuse
