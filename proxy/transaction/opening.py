"""How a transaction opens: the request goes on with these edits, or it is answered by us."""

import dataclasses
from datetime import datetime
from typing import NamedTuple, Protocol

from proxy.attach.bodies import BodyTransform
from proxy.core.arrival import Arrival
from proxy.core.audit import AuditRecord
from proxy.core.lease import Lease
from proxy.core.policy import OnRevoke
from proxy.core.secret import Secret
from proxy.core.services import SpentSign
from proxy.core.structs import Struct, hiding
from proxy.transaction.pod import PodState
from proxy.transaction.refusals import OwnAnswer, Refusal

Fields = tuple[tuple[str, str | Secret], ...]


class Asked(NamedTuple):
    """Who asks, how, and when: what every refusal of one request has in common.

    A tuple, since each request makes one: a frozen dataclass takes a microsecond to make.
    """

    pod: PodState
    arrival: Arrival
    request_id: str
    now: datetime


class Again(Protocol):
    """How another request that says the same is opened. It holds nothing of a lease."""

    @property
    def is_timed(self) -> bool:
        """It is signed with a time."""

    def ends(self, now: datetime) -> datetime | None:
        """When it may be judged otherwise; None: not as long as the same pod asks the same policies."""

    def opened(self, asked: Asked, record: AuditRecord, lease: Lease, signed_at: datetime) -> "Opening": ...

    def elsewhere(
        self, pod: PodState, path: str, lease: Lease, now: datetime, signed_at: datetime
    ) -> "Forward | None":
        """For a request that says the same of another path: judged there, and opened if it is granted the
        same. None: whatever it is, it is to be judged by itself."""

    def known(self, pod: PodState, lease: Lease, signed_at: datetime) -> "Forward | None":
        """What `opened` would give but for its record, where it was opened with this lease before."""


# No slots: one like another is made of its dictionary, in a fifth of the time.
@dataclasses.dataclass(frozen=True)
class Forward:
    """The request as it leaves us. A value that holds a credential is a Secret until it is written.

    What the application sent may hold a credential of its own, so that is not printed either.
    """

    record: AuditRecord
    authority: str
    target: str | Secret = dataclasses.field(repr=False)
    fields: Fields = dataclasses.field(repr=False)
    is_websocket: bool = False
    # What to look for in the response, and which of its fields could hold a credential of ours.
    forms: frozenset[bytes] = dataclasses.field(default=frozenset(), repr=False)
    attached: bool = False
    credential_fields: frozenset[str] = frozenset()
    # Which answers say that the attached credential is worth nothing any more.
    spent: tuple[SpentSign, ...] = ()
    on_revoke: OnRevoke = OnRevoke.FINISH
    # What the body is fed through; None: it goes as it comes, or as it was read.
    rewrite: BodyTransform | None = dataclasses.field(default=None, repr=False, compare=False)
    # It is signed with a time: an upstream that finds it wrong says what time it is.
    is_timed: bool = False
    # The region that it is signed for, where the host names none: an upstream elsewhere says where it is.
    guessed_region: str | None = None
    # Its head, once a lane has written that. Whoever is opened alike, with the same lease, has it, too.
    written: list[bytes] = dataclasses.field(default_factory=list, repr=False, compare=False)
    # The head of another that differs in its target alone, once a lane has written one.
    beside: list[bytes] = dataclasses.field(default_factory=list, repr=False, compare=False)
    # None: what it was opened with is good for this request alone.
    again: Again | None = dataclasses.field(default=None, repr=False, compare=False)

    def changed(self, **values: object) -> "Forward":
        return self._made(self.__dict__ | {"written": [], "beside": []} | values)

    def elsewhere(self, target: str) -> "Forward":
        """For another target, and for one request alone."""
        return self._made(self.__dict__ | {"target": target, "written": [], "again": None})

    def with_record(self, record: AuditRecord) -> "Forward":
        """For another request; this one's head is its head."""
        return self._made(self.__dict__ | {"record": record})

    @staticmethod
    def _made(values: dict[str, object]) -> "Forward":
        forward = object.__new__(Forward)
        object.__setattr__(forward, "__dict__", values)
        return forward


class Answered(Struct, frozen=True):
    """Granted, and answered by us: the upstream's answer would hold a credential, which stays with us."""

    record: AuditRecord
    answer: OwnAnswer

    __repr__ = hiding("answer")


class Refused(Struct, frozen=True):
    """The request is answered by us. `closes`: what follows on the connection cannot be trusted."""

    record: AuditRecord
    refusal: Refusal
    closes: bool = False


Opening = Forward | Answered | Refused
