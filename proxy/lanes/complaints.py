"""What an upstream says of the credential that a request travelled with: what is done about it, and whether
the request is sent once more."""

from collections.abc import Iterable
from datetime import datetime
from typing import Final, NamedTuple

from proxy.core.audit import AuditRecord
from proxy.core.hosts import Hostname
from proxy.core.lease import LeaseKey
from proxy.core.structs import replace
from proxy.lanes.interface import LaneWorld
from proxy.transaction.opening import Answered, Forward, Opening, Refused
from proxy.transaction.regions import bucket_place, told_region
from proxy.transaction.spent import Complaint, Suspicion

# With these S3 sends a client to the bucket's own region.
_MOVED: Final = frozenset({301, 307})


class Attached(NamedTuple):
    """What travels with a request. Not the lease itself: its secrets are overwritten when it ends."""

    key: LeaseKey
    lease_id: str
    ends: datetime | None
    decided: datetime


def may_complain(opening: Opening, status: int) -> bool:
    """Most answers do not, and it shows in their status."""
    if not isinstance(opening, Forward) or status >= 400:
        return True
    if opening.guessed_region is not None and status in _MOVED:
        return True
    for sign in opening.spent:  # noqa: SIM110 - every answer comes here
        if sign.status == status:
            return True
    return False


class Complaints:
    """Of one request. It is sent at most twice, whatever was complained of."""

    def __init__(self, world: LaneWorld, host: Hostname, target: str, now: datetime) -> None:
        self._world = world
        self._host = host
        self._place = bucket_place(host, target)
        self._spent = 0
        # The last complaint that something was done about, the one that it was sent again for, and when the
        # last answer began.
        self._last = self._again_for = Complaint.NONE
        self._answered = now
        # The opening that was complained of, once its request may be sent again.
        self.first: Forward | None = None
        # The time by the upstream's clock when the request was last judged.
        self.signed_at = now

    def time(self, now: datetime) -> datetime:
        """What the request is signed with."""
        self.signed_at = self._world.clocks.at(self._host, now)
        return self.signed_at

    @property
    def region(self) -> str | None:
        """Where its bucket is, as far as that was told."""
        return self._world.regions.of(self._place)

    def suspicion(self, opening: Opening, status: int, fields: Iterable[tuple[str, str]]) -> Suspicion:
        """Whether this answer complains; most say at once that it does not."""
        self._answered = self._world.clock.now()
        if not isinstance(opening, Forward):
            return Suspicion((), status, fields)
        sent, guessed = tuple(fields), opening.guessed_region
        if guessed is not None and status in _MOVED and (region := told_region(sent)) is not None:
            # Its SDK follows; what it asks here from now on is signed for the right region.
            self._world.regions.learn(self._place, region)
        return Suspicion(opening.spent, status, sent, self.signed_at if opening.is_timed else None, guessed)

    def heard(self, suspicion: Suspicion, attached: Attached | None) -> None:
        """It is certain what the answer says."""
        self._last = Complaint.NONE
        if attached is None:
            return
        if suspicion.complaint is Complaint.SPENT:
            # Nobody gets this lease any more.
            self._spent += 1
            self._world.leases.spent(attached.key, attached.lease_id)
            self._last = Complaint.SPENT
        elif suspicion.complaint is Complaint.SKEWED and suspicion.server_time is not None:
            offset = self._world.clocks.learn(self._host, suspicion.server_time, self._answered)
            if offset is not None:
                self._world.recorder.clock_learnt(self._host, offset.total_seconds())
                self._last = Complaint.SKEWED
        elif suspicion.complaint is Complaint.ELSEWHERE and suspicion.region is not None:
            self._learn_region(suspicion.region)

    def _learn_region(self, region: str) -> None:
        # Another request may have been told first, and this one was signed before that.
        if self._world.regions.learn(self._place, region):
            self._world.recorder.region_learnt(self._host, region)
        self._last = Complaint.ELSEWHERE

    def again(self, opening: Opening) -> bool:
        """Whether it is to be asked if the request may be sent once more, with another lease or time."""
        if isinstance(opening, Forward) and self._last is not Complaint.NONE:
            self.first, self._again_for = opening, self._last
        return self.first is not None

    def second(self, first: Forward, opening: Opening) -> Opening:
        """What the second judgement comes to. `first`: the answer stands as it came."""
        was = first.record
        if isinstance(opening, Refused | Answered):
            # It did travel, with the first lease.
            record = replace(opening.record, time=was.time, lease_id=was.lease_id, upstream=was.upstream)
            return replace(opening, record=record)
        same = opening.record.lease_id == was.lease_id and self._again_for is Complaint.SPENT
        if same or not opening.attached:
            return first
        record = replace(opening.record, time=was.time, retried=True)
        # An echo, or a log of the failed attempt, may show either.
        return replace(opening, record=record, forms=opening.forms | first.forms)

    def record(self, record: AuditRecord) -> None:
        """At the end of the request."""
        for number in range(self._spent):
            # The first one is what it was sent again for, if it was.
            retried = record.retried and self._again_for is Complaint.SPENT and number == 0
            self._world.recorder.lease_spent(record.service, retried=retried)
