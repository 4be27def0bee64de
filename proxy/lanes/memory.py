"""Requests that were asked before: an application's repeat, byte for byte, and need not be judged again.

A head is remembered with what its request was granted, and never with a credential: the lease is asked for
each time, and attached or signed with anew. What is remembered counts only for the state of the pod that it
was judged by, the very object, and until a policy begins or ends to be valid, or the pod's proof ends.
"""

from datetime import datetime
from typing import Final, NamedTuple

from proxy.core.arrival import Arrival
from proxy.core.audit import AuditRecord, Own
from proxy.core.lease import Lease, LeaseKey
from proxy.core.structs import Struct
from proxy.transaction.head import Head
from proxy.transaction.opening import Again, Forward
from proxy.transaction.pod import PodState

# An application asks the same of a service again (models, health, the same object's next part: not the last
# one); several hundred kinds are more than we have seen.
MAX_HEADS: Final = 512
# Of all heads together; what is made of them holds the same texts once or twice more.
MAX_BYTES: Final = 1024 * 1024
# A longer one holds a token of the application's own, or a list: neither comes often.
MAX_HEAD: Final = 8192


class Familiar(Struct):
    """A head that was read, and how another request that says the same is opened. No repr: the head may hold
    a credential of the application's own."""

    pod: PodState
    arrival: Arrival
    head: Head
    again: Again
    key: LeaseKey
    # As of the last lease that it got.
    record: AuditRecord
    # It is judged the same from then on, until then.
    since: datetime
    until: datetime | None
    # The lane's own: what else it read of the head.
    note: object = None

    def __repr__(self) -> str:
        return object.__repr__(self)

    def holds(self, arrival: Arrival, pod: PodState, now: datetime) -> bool:
        """Whether a request with this head would be judged the same."""
        return (
            self.pod is pod
            and self.since <= now
            and (self.until is None or now < self.until)
            and (self.arrival is arrival or _alike(self.arrival, arrival))
        )


class Begun(NamedTuple):
    """A request that is opened as a familiar one was, and has no exchange."""

    familiar: Familiar
    lease: Lease
    # How it goes on, and what it was signed with, where it was.
    forward: Forward
    signed_at: datetime
    # That of the familiar one, and what this one has of its own.
    record: AuditRecord
    own: Own
    started: float


class RequestMemory:
    """In two halves: when the younger one is full, the older one goes. What is asked again is young again."""

    def __init__(self, max_heads: int = MAX_HEADS, max_bytes: int = MAX_BYTES) -> None:
        self._most, self._most_bytes = max_heads // 2, max_bytes // 2
        self._young: dict[bytes, Familiar] = {}
        self._old: dict[bytes, Familiar] = {}
        self._bytes = 0
        # By which all of it was judged.
        self._pod: PodState | None = None

    def __len__(self) -> int:
        return len(self._young.keys() | self._old.keys())

    def __repr__(self) -> str:
        return f"<RequestMemory of {len(self)} heads>"

    def recall(self, raw: bytes, arrival: Arrival, pod: PodState, now: datetime) -> Familiar | None:
        found = self._young.get(raw) or self._old.get(raw)
        if found is None:
            return None
        if not found.holds(arrival, pod, now):
            if found.pod is not pod:
                self.clear()  # whatever was judged before counts no more
            return None
        if raw not in self._young:
            self.remember(raw, found)
        return found

    def remember(self, raw: bytes, familiar: Familiar) -> None:
        if len(raw) > min(MAX_HEAD, self._most_bytes):
            return
        if familiar.pod is not self._pod:
            # Of a state that was replaced nothing is kept: each would hold its whole policy.
            self.clear()
            self._pod = familiar.pod
        if len(self._young) >= self._most or self._bytes + len(raw) > self._most_bytes:
            self._old, self._young, self._bytes = self._young, {}, 0
        if raw not in self._young:
            self._bytes += len(raw)
        self._young[raw] = familiar

    def clear(self) -> None:
        self._young, self._old, self._bytes = {}, {}, 0


def _alike(one: Arrival, other: Arrival) -> bool:
    """In all that a judgement looks at; where the bytes go is said in the record alone."""
    return (
        one.name == other.name
        and one.port == other.port
        and one.capture is other.capture
        and one.lane is other.lane
        and one.asked == other.asked
        and one.path_prefix == other.path_prefix
    )
