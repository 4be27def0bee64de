"""Kubernetes Events about what became of pods: what is to be written, when, and what is merged.

They are of `core/v1`: `kubectl describe`, `kubectl get events` and `kubectl events` read that one, and a
count there is one number to patch, where `events.k8s.io/v1` has series, and refuses what the older takes.
Both are the same objects in etcd.

The same thing that happens again within ten minutes is counted on the Event that is there. What comes while
an Event waits or has just been written is gathered, so that a controller which tries again every second makes
one patch in a while. All of it is bounded: Events are for people, and what does not fit is counted as lost.
"""

from collections import OrderedDict
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Final

from injector.core.api import ClusterFault
from proxy.core.contract import MANAGED_BY
from proxy.core.structs import Struct

# Some seconds of a busy scheduler.
MOST_WAITING: Final = 256
# Events that may still get a higher count. About 1 KiB each.
MOST_REMEMBERED: Final = 1024
# client-go's EventCorrelator merges what is the same within ten minutes.
SAME_SECONDS: Final = 600.0
# One Event is written no more often than that; meanwhile it is counted.
LEAST_GAP: Final = 10.0
# What `events.k8s.io/v1` allows for a note, which the server checks when it is read through that.
MAX_MESSAGE: Final = 1024
# The longest name that Kubernetes knows. What a pod's owner is called comes from whoever made the pod.
MAX_NAME: Final = 253


class EventKind(Enum):
    NORMAL = "Normal"
    WARNING = "Warning"


class EventReason(Enum):
    INJECTED = "PodkeyInjected"
    SKIPPED = "PodkeySkipped"
    REFUSED = "PodkeyRefused"
    # It runs without a sidecar, and should have one.
    MISSING = "PodkeyMissing"


class Involved(Struct, frozen=True):
    """What an Event is about. `kubectl describe` finds it by its uid; without one only lists of Events do."""

    api_version: str
    kind: str
    name: str
    uid: str = ""


class Happening(Struct, frozen=True):
    """`namespace` is the pod's. A message has no name of a pod in it where many pods share an owner: they
    would be as many Events. Never for a dry run, which leaves nothing behind."""

    namespace: str
    involved: Involved
    kind: EventKind
    reason: EventReason
    message: str


def about_namespace(namespace: str) -> Involved:
    """For pods that nobody owns and that have no name yet."""
    return Involved("v1", "Namespace", namespace)


class CreateEvent(Struct, frozen=True):
    happening: Happening
    event: Mapping[str, Any]
    count: int


class CountEvent(Struct, frozen=True):
    """A merge patch of an Event that was written before."""

    happening: Happening
    name: str
    patch: Mapping[str, Any]
    count: int


Write = CreateEvent | CountEvent


class _Told(Struct):
    """An Event that is there, or will be."""

    name: str
    since: float
    first: datetime
    last: datetime
    count: int = 0
    # How many of them the API server knows of.
    written: int = 0
    quiet_until: float = 0.0


class EventBook:
    """`instance` is this replica: `reportingInstance`."""

    def __init__(self, instance: str) -> None:
        self._instance = instance
        # Those that wait are among those that are told.
        self._waiting: OrderedDict[Happening, None] = OrderedDict()
        self._told: OrderedDict[Happening, _Told] = OrderedDict()
        self.lost = 0

    def add(self, happening: Happening, now: float, wall: datetime, token: str) -> bool:
        """Whether something waits now that did not before. `token` makes the Event's name, should it be a
        new one."""
        waits = happening in self._waiting
        if not waits and len(self._waiting) >= MOST_WAITING:
            self.lost += 1
            return False
        told = self._told.get(happening)
        if told is None or (not waits and now - told.since >= SAME_SECONDS):
            told = self._told[happening] = _Told(f"{MANAGED_BY}.{token}", now, wall, wall)
        told.count += 1
        told.last = wall
        self._waiting[happening] = None
        self._told.move_to_end(happening)
        if len(self._told) > MOST_REMEMBERED:
            del self._told[next(old for old in self._told if old not in self._waiting)]
        return not waits

    def next(self, now: float) -> Write | float | None:
        """What to write now, or in how many seconds to ask again; None where nothing waits."""
        soonest: float | None = None
        for happening in self._waiting:
            told = self._told[happening]
            if now >= told.quiet_until:
                del self._waiting[happening]
                told.quiet_until = now + LEAST_GAP
                return self._write(happening, told)
            left = told.quiet_until - now
            soonest = left if soonest is None else min(soonest, left)
        return soonest

    def wrote(self, write: Write) -> None:
        if (told := self._told.get(write.happening)) is not None:
            told.written = write.count

    def failed(self, write: Write, fault: ClusterFault) -> None:
        """It is not tried again: what the server refuses once it refuses twice. The next one counts on."""
        told = self._told.get(write.happening)
        if told is None or not (isinstance(write, CountEvent) and fault.is_missing):
            self.lost += 1
            return
        # Events live for an hour, or until somebody deletes them.
        told.written, told.quiet_until = 0, 0.0
        self._waiting[write.happening] = None

    def _write(self, happening: Happening, told: _Told) -> Write:
        last = _time(told.last)
        if told.written:
            patch = {"count": told.count, "lastTimestamp": last}
            return CountEvent(happening, told.name, patch, told.count)
        involved = happening.involved
        about = {
            "apiVersion": involved.api_version[:MAX_NAME],
            "kind": involved.kind[:MAX_NAME],
            # Also where it is the Namespace: the server wants the Event and what it is about in one place.
            "namespace": happening.namespace,
            "name": involved.name[:MAX_NAME],
        }
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": told.name, "namespace": happening.namespace},
            "involvedObject": about | ({"uid": involved.uid[:MAX_NAME]} if involved.uid else {}),
            "type": happening.kind.value,
            "reason": happening.reason.value,
            "message": _cut(happening.message),
            "source": {"component": MANAGED_BY},
            "reportingComponent": MANAGED_BY,
            "reportingInstance": self._instance,
            "firstTimestamp": _time(told.first),
            "lastTimestamp": last,
            "count": told.count,
        }
        return CreateEvent(happening, event, told.count)


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _cut(message: str) -> str:
    """In bytes, which is what Go counts."""
    data = message.encode("utf-8", "replace")
    if len(data) <= MAX_MESSAGE:
        return data.decode()
    return data[: MAX_MESSAGE - 3].decode("utf-8", "ignore") + "…"
