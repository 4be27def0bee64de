"""How a transaction opens: the request goes on with these edits, or it is answered by us."""

from dataclasses import dataclass, field

from proxy.attach.bodies import BodyTransform
from proxy.core.audit import AuditRecord
from proxy.core.policy import OnRevoke
from proxy.core.secret import Secret
from proxy.core.services import SpentSign
from proxy.transaction.refusals import OwnAnswer, Refusal

Fields = tuple[tuple[str, str | Secret], ...]


@dataclass(frozen=True, slots=True)
class Forward:
    """The request as it leaves us. A value that holds a credential is a Secret until it is written.

    What the application sent may hold a credential of its own, so that is not printed either.
    """

    record: AuditRecord
    authority: str
    target: str | Secret = field(repr=False)
    fields: Fields = field(repr=False)
    is_websocket: bool = False
    # What to look for in the response, and which of its fields could hold a credential of ours.
    forms: frozenset[bytes] = field(default=frozenset(), repr=False)
    attached: bool = False
    credential_fields: frozenset[str] = frozenset()
    # Which answers say that the attached credential is worth nothing any more.
    spent: tuple[SpentSign, ...] = ()
    on_revoke: OnRevoke = OnRevoke.FINISH
    # What the body is fed through; None: it goes as it comes, or as it was read.
    rewrite: BodyTransform | None = field(default=None, repr=False, compare=False)
    # It is signed with a time: an upstream that finds it wrong says what time it is.
    is_timed: bool = False
    # The region that it is signed for, where the host names none: an upstream elsewhere says where it is.
    guessed_region: str | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """Granted, and answered by us: the upstream's answer would hold a credential, which stays with us."""

    record: AuditRecord
    answer: OwnAnswer = field(repr=False)


@dataclass(frozen=True, slots=True)
class Refused:
    """The request is answered by us. `closes`: what follows on the connection cannot be trusted."""

    record: AuditRecord
    refusal: Refusal
    closes: bool = False


Opening = Forward | Answered | Refused
