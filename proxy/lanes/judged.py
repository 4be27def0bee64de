"""One request, judged: by the transaction, or as another one was that said the same.

Until it is, the answer is no, and whatever breaks in it is a refusal.
"""

from typing import Final

from proxy.attach.bodies import BodyFault
from proxy.core.arrival import Arrival
from proxy.core.audit import AuditRecord
from proxy.core.evidence import Evidence
from proxy.core.lease import Lease, LeaseKey, LeaseReply, NoLease, derived_key
from proxy.core.paths import RequestPath
from proxy.core.policy import OnRevoke
from proxy.core.reasons import Reason
from proxy.lanes.complaints import Attached, Complaints
from proxy.lanes.in_flight import UnderWay
from proxy.lanes.interface import LaneWorld
from proxy.lanes.memory import Begun, Familiar
from proxy.lanes.request_body import RequestBody
from proxy.transaction.engine import open_request
from proxy.transaction.head import Head, HeadProblem
from proxy.transaction.opening import Asked, Forward, Opening, Refused
from proxy.transaction.recording import began
from proxy.transaction.refusing import refuse
from proxy.transaction.steps import Steps, Want, WantBody, WantLease

# A policy, a label or a token may change while a lease is fetched, which takes 20 s at most. Three times in a
# row is no change any more.
MOST_JUDGEMENTS: Final = 3

_BROKE_OFF: Final = BodyFault(Reason.MALFORMED_BODY, "the body broke off before its end")


class Judged(UnderWay):
    """It is opened once; once more when its body was wanted for that, and again when the upstream complained
    of the credential that travelled with it."""

    def __init__(self, world: LaneWorld, arrival: Arrival, head: Head | HeadProblem) -> None:
        self._world = world
        self._arrival = arrival
        self._head = head
        self._pod = world.pod()
        self._now = world.clock.now()
        self._started = world.clock.monotonic()
        self._id = world.new_id()
        self._finished = False
        self._opening: Opening | None = None
        self._leased: Attached | None = None
        self._attached: Attached | None = None
        # Both are made when something is to be done with them: to most requests nothing is.
        self._complaining: Complaints | None = None
        self._body: RequestBody | None = None
        # As its lane read it: see `lanes.memory`.
        self.familiar: Familiar | None = None
        # The last `open` came no further than this: the body is to be collected, and then it is opened again.
        self.wants_body = False
        self.is_cut = False

    @property
    def body(self) -> RequestBody:
        if self._body is None:
            self._body = RequestBody(self._world.room, self._readable)
            if self._finished:
                self._body.release()
        return self._body

    @property
    def has_no_body(self) -> bool:
        """The request has none, and nobody has ever asked for it."""
        return self._body is None and isinstance(self._head, Head) and not self._head.has_body

    @property
    def _complaints(self) -> Complaints:
        if self._complaining is None:
            target = self._head.target if isinstance(self._head, Head) else "/"
            self._complaining = Complaints(self._world, self._arrival.name, target, self._now)
        return self._complaining

    @property
    def opening(self) -> Opening:
        """Until the transaction says otherwise, the answer is no."""
        if self._opening is None:
            self._opening = self._failure("the request was not judged")
        return self._opening

    async def open(self) -> None:
        """Run the transaction; whatever breaks in it is a refusal."""
        first, began = self._complained_of, 0.0
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

    def open_now(self) -> bool:
        """Open it, where nothing has to be waited for. False: nothing has happened, and it takes `open`."""
        if self._complained_of is not None:
            return False
        self._pod = self._world.pod()
        self._leased = None
        try:
            steps = self._steps()
            step = self._next(steps, None)
            if isinstance(step, WantLease) and (reply := self._at_hand(step)) is not None:
                step = self._next(steps, reply)
            if isinstance(step, WantLease | WantBody):
                steps.close()
                return False
        except Exception as error:  # noqa: BLE001 - fail closed: see docs/adr/0003
            self._world.recorder.crashed("transaction", error)
            step = self._failure("podkey failed on it")
        if self._is_stale(step):
            return False
        self._world.recorder.decided(step.record, self._elapsed())
        # Last: what could not be recorded does not travel.
        self._open_with(step)
        return True

    def open_again(self, familiar: Familiar, lease: Lease) -> None:
        """As another one was that said the same: see `lanes.memory`."""
        self.familiar = familiar
        self._leased = Attached(familiar.key, lease.id, lease.expires, self._now)
        again = familiar.again
        try:
            record = familiar.leased(lease).changed(
                time=self._now, request_id=self._id, upstream=self._arrival.upstream
            )
            signed_at = self._complaints.time(self._now) if again.is_timed else self._now
            opening = again.opened(self._asked(), record, lease, signed_at)
        except Exception as error:  # noqa: BLE001 - fail closed: see docs/adr/0003
            self._world.recorder.crashed("transaction", error)
            opening = self._failure("podkey failed on it")
        self._world.recorder.decided(opening.record, self._elapsed())
        # Last: what could not be recorded does not travel.
        self._open_with(opening)

    def take_over(self, begun: Begun) -> None:
        """Be one that was opened, told of and sent without an exchange."""
        familiar, lease = begun.familiar, begun.lease
        self.familiar = familiar
        # What it was opened by, whatever is in force, learnt or leased by now.
        self._pod = familiar.pod
        self._now, self._id, self._started = begun.own.time, begun.own.request_id, begun.started
        if familiar.again.is_timed:
            self._complaints.signed_at = begun.signed_at
        self._leased = Attached(familiar.key, lease.id, lease.expires, self._now)
        self._open_with(begun.forward.with_record(begun.record.of(begun.own)))

    def as_familiar(self, note: object = None) -> Familiar | None:
        """What another one that says the same can be opened with; None: each is to be judged by itself."""
        opening, attached = self._opening, self._attached
        again = opening.again if isinstance(opening, Forward) else None
        if again is None or attached is None or opening is None or not isinstance(self._head, Head):
            return None
        until, proof = again.ends(self._now), self._pod.proof
        if isinstance(proof, Evidence):
            until = proof.expires if until is None else min(until, proof.expires)
        record = opening.record.changed(lease_id="")
        key = attached.key
        return Familiar(self._pod, self._arrival, self._head, again, key, record, self._now, until, note)

    @property
    def _complained_of(self) -> Forward | None:
        return self._complaining.first if self._complaining is not None else None

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
        if isinstance(step, Forward) and self._body is not None and self._body.fault is not None:
            return self._failure("a part of its body is gone")
        return step

    async def _lease(self, want: WantLease) -> LeaseReply:
        key = self._key(want)
        return key if isinstance(key, NoLease) else self._taken(key, await self._world.leases.lease(key))

    def _at_hand(self, want: WantLease) -> LeaseReply | None:
        key = self._key(want)
        if isinstance(key, NoLease):
            return key
        lease = self._world.leases.at_hand(key)
        return None if lease is None else self._taken(key, lease)

    def _key(self, want: WantLease) -> LeaseKey | NoLease:
        """Of the source that the verdict's own policies mean by that name, whatever is in force by now."""
        credential = want.credential
        key = self._pod.leases.get(credential)
        if key is None:
            return NoLease(credential, f"there is no CredentialSource {credential}")
        if want.derivation is not None and isinstance(key, LeaseKey):
            return derived_key(key, want.derivation)
        return key

    def _taken(self, key: LeaseKey, reply: LeaseReply) -> LeaseReply:
        if isinstance(reply, Lease):
            self._leased = Attached(key, reply.id, reply.expires, self._now)
        return reply

    def _open_with(self, opening: Opening) -> None:
        self._opening = opening
        self._attached = None
        self._world.in_flight.discard(self)
        if isinstance(opening, Forward) and not self._finished:
            if opening.rewrite is not None or self._body is not None:
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

    @property
    def is_outdated(self) -> bool:
        """Whether it would be judged otherwise, perhaps, had it come just now: where it had to wait."""
        opening = self._opening
        return isinstance(opening, Forward) and (self._is_stale(opening) or not self.may_travel)

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
        complaints = self._complaints
        return open_request(
            self._pod,
            self._arrival,
            self._head,
            self._now,
            self._id,
            signed_at=complaints.time(self._now),
            region=complaints.region,
        )

    @staticmethod
    def _next(steps: Steps, reply: LeaseReply | bytes | BodyFault | None) -> Want | Opening:
        """What is wanted next, or how it ended."""
        try:
            return next(steps) if reply is None else steps.send(reply)
        except StopIteration as end:
            opening: Opening = end.value
            return opening

    @property
    def record(self) -> AuditRecord:
        return self.opening.record

    @property
    def age(self) -> float:
        """In seconds."""
        return self._elapsed()

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
