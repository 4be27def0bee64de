"""One request as a lane holds it: drives the transaction, counts bytes, and is recorded exactly once."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

from proxy.attach.bodies import BodyFault
from proxy.core.arrival import Arrival
from proxy.core.audit import AuditRecord, Ending
from proxy.core.lease import Lease, LeaseReply, NoLease, base_of, derived_key
from proxy.core.paths import RequestPath
from proxy.core.policy import OnRevoke
from proxy.core.reasons import Reason
from proxy.lanes.complaints import Attached, Complaints
from proxy.lanes.interface import LaneWorld
from proxy.lanes.request_body import RequestBody
from proxy.transaction.engine import open_request
from proxy.transaction.head import Head, HeadProblem
from proxy.transaction.opening import Answered, Forward, Opening, Refused
from proxy.transaction.pod import PodState
from proxy.transaction.recording import began
from proxy.transaction.redaction import Redactor, redact_bytes
from proxy.transaction.refusals import OwnAnswer, render_refusal
from proxy.transaction.refusing import Asked, refuse
from proxy.transaction.rejudging import Rejudge
from proxy.transaction.response import ResponseEdits, edit_response, edit_trailers
from proxy.transaction.spent import Suspicion
from proxy.transaction.steps import Steps, Want, WantBody, WantLease

# A policy, a label or a token may change while a lease is fetched, which takes 20 s at most. Three times in a
# row is no change any more.
MOST_JUDGEMENTS: Final = 3

# 101 Switching Protocols (RFC 9110 §15.2.2).
SWITCHED: Final = 101

_BROKE_OFF: Final = BodyFault(Reason.MALFORMED_BODY, "the body broke off before its end")

# Ends a request at once: for whoever moves its bytes.
CutOff = Callable[["Exchange"], None]


class Exchange:
    """Opened, answered at most once, finished exactly once. It raises for no request.

    It is opened once; once more when its body was wanted for that, and again when the upstream complained of
    the credential that travelled with it.
    """

    def __init__(
        self,
        world: LaneWorld,
        arrival: Arrival,
        head: Head | HeadProblem,
        cut_off: CutOff | None = None,
    ) -> None:
        self._world = world
        self._arrival = arrival
        self._head = head
        self._cut_off = cut_off
        self._pod: PodState = world.pod()
        self._now = world.clock.now()
        self._started = world.clock.monotonic()
        self._id = world.new_id()
        self._redactor: Redactor | None = None
        self._finished = False
        self.status: int | None = None
        self.sent = 0
        self.received = 0
        self.redactions = 0
        self._opening: Opening | None = None
        self._leased: Attached | None = None
        self._attached: Attached | None = None
        self._complaints = Complaints(world, arrival.name, head.target if isinstance(head, Head) else "/")
        self.body = RequestBody(world.room, self._readable)
        # The last `open` came no further than this: the body is to be collected, and then it is opened again.
        self.wants_body = False
        self.is_cut = False

    @property
    def opening(self) -> Opening:
        """Until the transaction says otherwise, the answer is no."""
        if self._opening is None:
            self._opening = self._failure("the request was not judged")
        return self._opening

    async def open(self) -> None:
        """Run the transaction; whatever breaks in it is a refusal."""
        first, began = self._complaints.first, 0.0
        if first is not None:
            self._now, began = self._world.clock.now(), self._elapsed()
        opening = await self._judged()
        judged = 1
        while self._is_stale(opening):
            if judged == MOST_JUDGEMENTS:
                opening = self._failure("what it is judged by changes faster than its credential can be had")
                break
            judged += 1
            self._now = self._world.clock.now()
            opening = await self._judged()
        self.wants_body = isinstance(opening, WantBody) and first is None
        if isinstance(opening, WantBody):
            return  # for a second try it comes too late, and the first answer stands
        if first is not None:
            opening = self._complaints.second(first, opening)
            if opening is first:
                return
        self._world.recorder.decided(opening.record, self._elapsed() - began)
        # Last: what could not be recorded does not travel.
        self._open_with(opening)

    def _is_stale(self, opening: Opening | WantBody) -> bool:
        """Whether the policy was replaced, or the proof ended, while the lease was fetched."""
        if not isinstance(opening, Forward) or not opening.attached:
            return False
        return self._world.pod() is not self._pod or self._pod.unproven(self._world.clock.now()) is not None

    async def _judged(self) -> Opening | WantBody:
        # As of now: a policy may have been replaced since the head was read.
        self._pod = self._world.pod()
        self._leased = None
        try:
            steps = self._steps()
            step = self._next(steps, None)
            while isinstance(step, WantLease | WantBody):
                if isinstance(step, WantLease):
                    step = self._next(steps, await self._lease(step))
                    continue
                body = self.body.wanted(step.limit)
                if body is None:
                    steps.close()
                    return step
                step = self._next(steps, body)
        except Exception as error:  # noqa: BLE001 - fail closed: see docs/adr/0003
            self._world.recorder.crashed("transaction", error)
            return self._failure("podkey failed on it")
        if isinstance(step, Forward) and self.body.fault is not None:
            return self._failure("a part of its body is gone")
        return step

    async def _lease(self, want: WantLease) -> LeaseReply:
        """From the source that the verdict's own policies mean by that name, whatever is in force by now."""
        credential = want.credential
        key = self._pod.leases.get(credential)
        if key is None:
            return NoLease(credential, f"there is no CredentialSource {credential}")
        if isinstance(key, NoLease):
            return key
        if want.derivation is not None:
            key = derived_key(key, want.derivation)
        reply = await self._world.leases.lease(key)
        if isinstance(reply, Lease):
            self._leased = Attached(key, reply.id, reply.expires, self._now)
        return reply

    def _open_with(self, opening: Opening) -> None:
        self._opening = opening
        self._attached = None
        self._world.in_flight.discard(self)
        if isinstance(opening, Forward) and not self._finished:
            self.body.begin(opening.rewrite)
            if opening.attached:
                self._attached = self._leased
                if opening.on_revoke is OnRevoke.CUT:
                    self._world.in_flight.add(self)

    @property
    def may_travel(self) -> bool:
        """Whether what was opened is still good, for a request that had to wait after that."""
        if not isinstance(self._opening, Forward) or self._finished or self.is_cut:
            return False
        ends = self._attached.ends if self._attached is not None else None
        return ends is None or self._world.clock.now() < ends

    def revoke(self) -> None:
        """Whatever was decided does not count."""
        self.wants_body = False
        self._open_with(self._failure("podkey failed on it"))

    def open_unreadable(self) -> Refused:
        """For a head that cannot be judged: there is nothing to wait for."""
        refused = self._failure("the request was not judged")
        if isinstance(self._head, HeadProblem):
            step = self._next(self._steps(), None)
            if isinstance(step, Refused):
                refused = step
        self._opening = refused
        self._world.recorder.decided(refused.record, self._elapsed())
        return refused

    def turn_away(self, reason: Reason, why: str) -> Refused:
        """For a connection on which no request is judged at all."""
        record = began(self._pod, self._arrival, self._now, self._id, self._readable, self._path)
        refused = refuse(self._asked(), self._readable, record, reason, why, closes=True)
        self._opening = refused
        if reason is Reason.UPSTREAM_UNREACHABLE:
            self._world.recorder.upstream_failed(self._arrival.name, reason.value)
        self._world.recorder.decided(refused.record, self._elapsed())
        return refused

    def _break_off(self) -> None:
        """The body was waited for, and does not come: for the record, what the request is without it."""
        try:
            steps = self._steps()
            step = self._next(steps, None)
            while isinstance(step, WantBody):
                step = self._next(steps, _BROKE_OFF)
        except Exception as error:  # noqa: BLE001 - the record is written all the same
            self._world.recorder.crashed("transaction", error)
            return
        if isinstance(step, Refused):
            self._opening = step

    def _steps(self) -> Steps:
        signed_at = self._complaints.time(self._now)
        return open_request(
            self._pod,
            self._arrival,
            self._head,
            self._now,
            self._id,
            signed_at=signed_at,
            region=self._complaints.region,
        )

    @staticmethod
    def _next(steps: Steps, reply: LeaseReply | bytes | BodyFault | None) -> Want | Opening:
        """What is wanted next, or how it ended."""
        try:
            return next(steps) if reply is None else steps.send(reply)
        except StopIteration as end:
            opening: Opening = end.value
            return opening

    # --- an upstream that complains of the credential ---

    def suspicion(self, status: int, fields: Iterable[tuple[str, str]]) -> Suspicion:
        return self._complaints.suspicion(self.opening, status, fields)

    def heard(self, suspicion: Suspicion) -> None:
        """It is certain what the answer says."""
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
            source = rejudge.source(self._arrival, head, attached.decided, self.body.whole)
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
        self._opening = replace(self.opening, record=replace(self.opening.record, upstream=address))

    def fail(self, reason: Reason, why: str) -> Refused:
        """The request was to travel on, and could not."""
        record = self.opening.record
        self._world.recorder.upstream_failed(self._arrival.name, reason.value)
        refused = refuse(self._asked(), self._readable, record, reason, why)
        self._opening = refused
        return refused

    def spoil(self, fault: BodyFault) -> Refused:
        """The body cannot go on. Whatever was sent of the request is not to count."""
        refused = refuse(self._asked(), self._readable, self.opening.record, fault.reason, fault.message)
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

    def response(self, status: int, fields: Iterable[tuple[str, str]]) -> ResponseEdits:
        """Edit a response's head; its body then goes through `receive`."""
        if not isinstance(self.opening, Forward):
            raise TypeError("a refused request has no response")
        self.status = status
        if self.opening.on_revoke is not OnRevoke.CUT:
            self.body.forget()  # it is neither judged nor sent again
        edits = edit_response(self.opening, status, fields)
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
        self._world.in_flight.discard(self)
        if self.wants_body:
            self._break_off()
        self.body.release()
        self._complaints.record(self.record)
        found = self._redactor.hits if self._redactor is not None else 0
        # What came to its end before the cut took hold did end; a switched protocol has no end of its own.
        if self.is_cut and (ending is not Ending.COMPLETED or self.status == SWITCHED):
            ending = Ending.CUT
        elif isinstance(self.opening, Refused) and ending is Ending.COMPLETED:
            ending = Ending.REFUSED
        self._world.recorder.finished(
            replace(
                self.opening.record,
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

    @property
    def record(self) -> AuditRecord:
        return self.opening.record

    def _elapsed(self) -> float:
        return self._world.clock.monotonic() - self._started

    @property
    def _readable(self) -> Head | None:
        return self._head if isinstance(self._head, Head) else None

    @property
    def _path(self) -> str:
        head = self._readable
        return RequestPath.parse(head.target.partition("?")[0]).text if head is not None else ""

    def _asked(self) -> Asked:
        return Asked(self._pod, self._arrival, self._id, self._now)

    def _failure(self, why: str) -> Refused:
        record = began(self._pod, self._arrival, self._now, self._id, self._readable)
        return refuse(self._asked(), self._readable, record, Reason.INTERNAL_ERROR, why, closes=True)
