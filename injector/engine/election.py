"""One leader among the replicas, by a Lease (coordination.k8s.io/v1): what to ask next, who leads how long.

No clock of another machine is believed. A replica that sees the lease change notes when it saw that, by its
own clock, and takes it over when nothing changed for as long as the lease says. A leader stops by itself
RENEW_DEADLINE after it *sent* the last renewal that succeeded. Others saw that renewal later than it was sent
and wait longer, so two never lead at one time, however long answers take or a process stands still: who does
not come to renew is no leader any more when it goes on, if it asks `leads` before each thing that it does.

Every write names the resource version that it is about, so of two that want the lease one gets a conflict.
Somebody who deletes the lease, or empties it by hand, takes leading away before it ends: the leader notices
when it renews next.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from injector.core.api import ClusterFault
from injector.reading.objects import Lease
from proxy.core.structs import Struct

# The numbers of Kubernetes' own components (leader-elect-lease-duration, -renew-deadline, -retry-period).
LEASE_SECONDS: Final = 15
RENEW_DEADLINE: Final = 10.0
RETRY_SECONDS: Final = 2.0
# client-go's JitterFactor is 1.2 of the period.
SPREAD: Final = 0.2


class Look(Struct, frozen=True):
    """Read the lease."""


class Create(Struct, frozen=True):
    lease: Mapping[str, Any]


class Patch(Struct, frozen=True):
    """A merge patch that names the resource version which it is about (RFC 7396; 409 for any other)."""

    patch: Mapping[str, Any]


class Rest(Struct, frozen=True):
    seconds: float


Step = Look | Create | Patch | Rest


class Election:
    """`identity` is this process's alone: not that of the one before it in the same pod."""

    def __init__(self, namespace: str, name: str, identity: str) -> None:
        self._namespace = namespace
        self._name = name
        self._identity = identity
        # As it was last seen, and since when it has been like that. None: there is none.
        self._lease: Lease | None = None
        self._since = 0.0
        self._must_look = True
        self._rest_until = 0.0
        self._sent_at = 0.0
        self._leads_until: float | None = None

    @property
    def holder(self) -> str:
        """Who held it when it was last seen: for people."""
        return self._lease.holder if self._lease is not None else ""

    def leads(self, now: float) -> bool:
        return self._leads_until is not None and now < self._leads_until

    def seconds_left(self, now: float) -> float:
        """Of leading; nothing that is done for it may take longer. All of a turn for who does not lead."""
        left = RENEW_DEADLINE if self._leads_until is None else self._leads_until - now
        return left if left > 0 else RENEW_DEADLINE

    # --- what to ask next -------------------------------------------------------------------------

    def next(self, now: float, wall: datetime) -> Step:
        if now < self._rest_until:
            return Rest(self._rest_until - now)
        if self._must_look or not self._is_free(now):
            return Look()
        self._sent_at = now
        if self._lease is None:
            metadata = {"name": self._name, "namespace": self._namespace}
            spec = self._wanted(Lease("", transitions=-1), wall)
            head = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
            return Create({**head, "metadata": metadata, "spec": spec})
        # A leader renews what it wrote itself without reading it again.
        return self._patch(self._lease, self._wanted(self._lease, wall))

    def resign(self, wall: datetime) -> Patch | None:
        """What lets the next one begin at once. Leading is over before it is sent."""
        self._leads_until = None
        if self._lease is None or self._lease.holder != self._identity:
            return None
        return self._patch(self._lease, {"holderIdentity": "", "renewTime": _micro_time(wall)})

    # --- what came of it --------------------------------------------------------------------------

    def looked(self, lease: Lease | None, now: float, dice: float) -> None:
        """None: there is none."""
        self._see(lease, now)
        self._must_look = False
        if lease is None or lease.holder != self._identity:
            self._leads_until = None
        if not self._is_free(now):
            self._rest(now, dice)

    def wrote(self, lease: Lease, now: float, dice: float) -> None:
        self._see(lease, now)
        mine = lease.holder == self._identity
        self._leads_until = self._sent_at + RENEW_DEADLINE if mine else None
        self._must_look = not mine
        self._rest(now, dice)

    def failed(self, fault: ClusterFault, now: float, dice: float) -> None:
        """A write may have been done although its answer never came: it is looked before the next one."""
        self._must_look = True
        if fault.is_missing:
            self._leads_until = None
        self._rest(now, dice)

    # --- within -----------------------------------------------------------------------------------

    def _see(self, lease: Lease | None, now: float) -> None:
        if lease != self._lease:
            self._lease, self._since = lease, now

    def _is_free(self, now: float) -> bool:
        lease = self._lease
        if lease is None or lease.holder in {"", self._identity}:
            return True
        return now >= self._since + max(LEASE_SECONDS, lease.seconds)

    def _rest(self, now: float, dice: float) -> None:
        self._rest_until = now + RETRY_SECONDS * (1 + SPREAD * dice)

    def _wanted(self, lease: Lease, wall: datetime) -> dict[str, Any]:
        moment = _micro_time(wall)
        renews = lease.holder == self._identity
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": LEASE_SECONDS,
            "leaseTransitions": lease.transitions + (not renews),
            "acquireTime": (lease.acquired if renews else "") or moment,
            "renewTime": moment,
        }

    @staticmethod
    def _patch(lease: Lease, spec: Mapping[str, Any]) -> Patch:
        return Patch({"metadata": {"resourceVersion": lease.resource_version}, "spec": spec})


def _micro_time(wall: datetime) -> str:
    """`metav1.MicroTime`."""
    return wall.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
