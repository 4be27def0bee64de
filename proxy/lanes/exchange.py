"""One request as a lane holds it: drives the transaction, counts bytes, and is recorded exactly once."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from proxy.attach.bodies import BodyFault
from proxy.core.arrival import Arrival
from proxy.core.audit import Ending
from proxy.core.lease import base_of
from proxy.core.policy import OnRevoke
from proxy.core.reasons import Reason
from proxy.core.structs import replace
from proxy.lanes.complaints import may_complain
from proxy.lanes.interface import LaneWorld
from proxy.lanes.judged import Judged
from proxy.transaction.head import Head, HeadProblem
from proxy.transaction.opening import Answered, Forward, Refused
from proxy.transaction.redaction import Redactor, redact_bytes
from proxy.transaction.refusals import OwnAnswer, render_refusal
from proxy.transaction.refusing import refuse
from proxy.transaction.rejudging import Rejudge
from proxy.transaction.response import ResponseEdits, edit_response, edit_trailers
from proxy.transaction.spent import UNSUSPICIOUS, Suspicion

# 101 Switching Protocols (RFC 9110 §15.2.2).
SWITCHED: Final = 101

# Without the end of their body a server does not act on these (RFC 9110 §9.3); on the others it may.
_BODY_MATTERS: Final = frozenset({"PATCH", "POST", "PUT"})

# Ends a request at once: for whoever moves its bytes.
CutOff = Callable[["Exchange"], None]


class Exchange(Judged):
    """Opened, answered at most once, finished exactly once. It raises for no request."""

    def __init__(
        self,
        world: LaneWorld,
        arrival: Arrival,
        head: Head | HeadProblem,
        cut_off: CutOff | None = None,
    ) -> None:
        super().__init__(world, arrival, head)
        self._cut_off = cut_off
        self._redactor: Redactor | None = None
        self._is_spoilt = False
        self.status: int | None = None
        self.sent = 0
        self.received = 0
        self.redactions = 0

    # --- an upstream that complains of the credential ---

    def suspicion(self, status: int, fields: Iterable[tuple[str, str]]) -> Suspicion:
        if self._complaining is None and not may_complain(self.opening, status):
            return UNSUSPICIOUS
        return self._complaints.suspicion(self.opening, status, fields)

    def heard(self, suspicion: Suspicion) -> None:
        """It is certain what the answer says."""
        if suspicion is not UNSUSPICIOUS:
            self._complaints.heard(suspicion, self._attached)

    def judge_again(self) -> bool:
        """Whether the next `open` asks if the request may be sent once more, with another lease or time."""
        return self._complaints.again(self.opening)

    @property
    def retried(self) -> bool:
        return self.record.retried

    # --- a grant that is taken away ---

    def still_granted(self, rejudge: Rejudge) -> bool:
        head, attached = self._readable, self._attached
        try:
            if head is None or attached is None:
                return False
            body = self._body.whole if self._body is not None else None
            source = rejudge.source(self._arrival, head, attached.decided, body)
            return source == base_of(attached.key).source
        except Exception as error:  # noqa: BLE001 - fail closed: see docs/adr/0003
            self._world.recorder.crashed("recheck", error)
            return False

    def condemn(self) -> None:
        """What is still to be sent of it is not."""
        self.is_cut = True

    def cut(self) -> None:
        """End it at once."""
        self.condemn()
        try:
            self._world.recorder.cut_by_policy(self.record)
            if self._cut_off is not None:
                self._cut_off(self)
        except Exception as error:  # noqa: BLE001 - the others are to be cut all the same
            self._world.recorder.crashed("cut", error)

    # --- after the opening ---

    def upstream(self, address: str) -> None:
        """The address that was really connected to."""
        opening = self.opening
        if opening.record.upstream != address:
            self._opening = replace(opening, record=opening.record.changed(upstream=address))

    def fail(self, reason: Reason, why: str) -> Refused:
        """The request was to travel on, and could not."""
        record = self.opening.record
        self._world.recorder.upstream_failed(self._arrival.name, reason.value)
        refused = refuse(self._asked(), self._readable, record, reason, why)
        self._opening = refused
        return refused

    def spoil(self, fault: BodyFault, *, was_sent: bool = True) -> Refused:
        """The body cannot go on. Whatever `was_sent` of the request is not to count."""
        head, record = self._readable, self.opening.record
        refused = refuse(self._asked(), head, record, fault.reason, fault.message)
        matters = head is not None and head.method in _BODY_MATTERS and self.status is None
        if was_sent and not matters:
            # Its head has been sent, and may have been all that it took: the record says what was granted.
            self._is_spoilt = True
            refused = replace(refused, record=record)
        self._opening = refused
        return refused

    def answer(self, opening: Refused | Answered) -> OwnAnswer:
        if isinstance(opening, Refused):
            answer = render_refusal(opening.refusal)
        else:
            head = self._readable
            is_head = head is not None and head.method == "HEAD"
            answer = replace(opening.answer, body=b"") if is_head else opening.answer
        self.status = answer.status
        return answer

    def response(
        self, status: int, fields: Iterable[tuple[str, str]], keys: Sequence[str] | None = None
    ) -> ResponseEdits:
        """Edit a response's head; its body then goes through `receive`. See `edit_response`."""
        opening = self._opening
        if not isinstance(opening, Forward):
            raise TypeError("a refused request has no response")
        self.status = status
        if self._body is not None and opening.on_revoke is not OnRevoke.CUT:
            self._body.forget()  # it is neither judged nor sent again
        edits = edit_response(opening, status, fields, keys)
        self._redactor = edits.redactor
        self.redactions += edits.redacted
        return edits

    def trailers(self, fields: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
        if not isinstance(self.opening, Forward):
            raise TypeError("a refused request has no response")
        return edit_trailers(self.opening, fields)

    def receive(self, data: bytes) -> bytes:
        """A piece of the response's body, as the application may see it; `b""` ends it."""
        self.received += len(data)
        if self._redactor is None:
            return data
        return self._redactor.feed(data) if data else self._redactor.finish()

    @property
    def is_untouched(self) -> bool:
        """Whether the response's body is passed on as it comes."""
        return self._redactor is None

    def receive_whole(self, data: bytes) -> bytes:
        """All of the response's body, in place of `receive`."""
        self.received = len(data)
        redactor = self._redactor
        return data if redactor is None else redactor.whole(data)

    def receive_piece(self, data: bytes) -> bytes:
        """A piece of a connection that switched protocols. Nothing can be held back there: what stands in
        it whole is blotted out, and no more."""
        self.received += len(data)
        forms = self.opening.forms if isinstance(self.opening, Forward) else frozenset()
        clean = redact_bytes(data, forms)
        self.redactions += clean != data
        return clean

    def finish(self, ending: Ending) -> None:
        """Write the record. Further calls change nothing: the first ending is the true one."""
        if self._finished:
            return
        self._finished = True
        if self._attached is not None:
            self._world.in_flight.discard(self)
        if self.wants_body:
            self._break_off()
        if self._body is not None:
            self._body.release()
        opening = self.opening
        if self._complaining is not None:
            self._complaining.record(opening.record)
        found = self._redactor.hits if self._redactor is not None else 0
        # What came to its end before the cut took hold did end; a switched protocol has no end of its own.
        if self.is_cut and (ending is not Ending.COMPLETED or self.status == SWITCHED):
            ending = Ending.CUT
        elif isinstance(opening, Refused) and ending in {Ending.COMPLETED, Ending.REFUSED}:
            ending = Ending.CUT if self._is_spoilt else Ending.REFUSED
        self._world.recorder.finished(
            opening.record.changed(
                status=self.status,
                sent_bytes=self.sent,
                received_bytes=self.received,
                redactions=self.redactions + found,
                duration_ms=round(self._elapsed() * 1000, 3),
                ending=ending,
            )
        )

    @property
    def finished(self) -> bool:
        return self._finished
