"""Requests that were asked before: an application's repeat, byte for byte, and need not be judged again.

A head is remembered with what its request was granted, and never with a credential: the lease is asked for
each time, and attached or signed with anew. What is remembered counts only for the state of the pod that it
was judged by, the very object, and until a policy begins or ends to be valid, or the pod's proof ends.
"""

import re
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
# Different clients, methods and placeholders, of one pod.
MAX_KIN: Final = 32
# Of letters, digits and slashes, and what stands for itself in a path; the rest is judged as it comes.
_FIRST_LINE: Final = re.compile(rb"[A-Z]{1,16} (/[A-Za-z0-9\-._~/]{0,2048}) HTTP/1\.1\r\n").match


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

    def leased(self, lease: Lease) -> AuditRecord:
        """Its record, with the lease that is used from now on."""
        if self.record.lease_id != lease.id:
            self.record = self.record.changed(lease_id=lease.id)
            self.record.to_json()  # from here on it is known
        return self.record

    def elsewhere(self, path: str) -> "Familiar":
        """Of a request that said the same of another path, but for the lane's note."""
        head = self.head
        head = Head(head.method, path, head.authority, head.fields, head.version, head.has_body)
        record = self.record.elsewhere(path)
        return Familiar(self.pod, self.arrival, head, self.again, self.key, record, self.since, self.until)


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
    # Where it says what the familiar one said of another path.
    path: str | None = None


class RequestMemory:
    """In two halves: when the younger one is full, the older one goes. What is asked again is young again."""

    def __init__(self, max_heads: int = MAX_HEADS, max_bytes: int = MAX_BYTES) -> None:
        self._most, self._most_bytes = max_heads // 2, max_bytes // 2
        self._young: dict[bytes, Familiar] = {}
        self._old: dict[bytes, Familiar] = {}
        self._bytes = 0
        # The last of those that differ in their paths alone, by all the rest of their heads; and which heads
        # were found by that.
        self._kin: dict[bytes, Familiar] = {}
        self._seen: set[int] = set()
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

    def akin(self, raw: bytes, arrival: Arrival, pod: PodState, now: datetime) -> tuple[Familiar, str] | None:
        """One that said the same of another path, and the path of this one: for that nothing is judged yet.
        Once for each head: what is asked a second time is to be remembered by itself."""
        parts = _around_path(raw) if self._kin else None
        found = self._kin.get(parts[0]) if parts is not None else None
        if parts is None or found is None or not found.holds(arrival, pod, now):
            return None
        number = hash(raw)
        if number in self._seen:
            return None
        if len(self._seen) >= self._most:
            self._seen.clear()
        self._seen.add(number)
        return found, parts[1]

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
        parts = _around_path(raw)
        if parts is not None and parts[1] == familiar.head.target:
            if len(self._kin) >= MAX_KIN:
                self._kin.clear()
            self._kin[parts[0]] = familiar

    def clear(self) -> None:
        self._young, self._old, self._bytes = {}, {}, 0
        self._kin, self._seen = {}, set()


def _around_path(raw: bytes) -> tuple[bytes, str] | None:
    """All of a head but its path, and that; None where there is more in its target, or less."""
    first = _FIRST_LINE(raw)
    if first is None:
        return None
    at, end = first.span(1)
    return raw[:at] + raw[end:], first[1].decode("ascii")


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
