"""Who of the replicas leads: a thread that keeps the Lease, and tells the event loop what came of it."""

import asyncio
import time
from collections.abc import Callable
from datetime import datetime
from functools import partial
from random import random
from secrets import token_hex
from typing import Final

from injector.core.api import BAD_ANSWER, LEASES, ClusterFault
from injector.edge.clock import SystemClock
from injector.edge.cluster import Cluster
from injector.edge.worker import Hand, Worker
from injector.engine.election import Create, Election, Look, Patch, Rest, Step
from injector.reading.objects import ObjectFault, read_lease
from proxy.telemetry.log import Log

# A renewal that takes longer is tried again while there is time.
CALL_SECONDS: Final = 4.0
# Also when hardly anything is left of leading.
LEAST_SECONDS: Final = 0.5
RELEASE_SECONDS: Final = 2.0


def boot_clock() -> float:
    """Seconds that also pass while the machine is suspended, when CLOCK_MONOTONIC stands still."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Leading:
    """`on_start` and `on_stop` are called on the event loop, in turns. Since that is a little later than what
    they tell, whoever writes as the leader asks `leads` before each write, from any thread."""

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        name: str,
        identity: str,
        *,
        on_start: Callable[[], None],
        on_stop: Callable[[], None],
        hand: Hand,
        log: Log,
        clock: Callable[[], float] = boot_clock,
        wall: Callable[[], datetime] = SystemClock.now,
        dice: Callable[[], float] = random,
        token: str = "",
    ) -> None:
        self._cluster = cluster
        self._all = LEASES.path(namespace)
        self._path = LEASES.path(namespace, name)
        # Another one for each process, also of those that follow each other in a pod.
        self._identity = f"{identity}_{token or token_hex(4)}"
        self._election = Election(namespace, name, self._identity)
        self._on_start = on_start
        self._on_stop = on_stop
        self._hand = hand
        self._log = log
        self._clock = clock
        self._wall = wall
        self._dice = dice
        self._was_leading = False
        self._holder = ""
        self._said = ""
        # On the loop: what was called last.
        self._is_started = False
        self._is_closed = False
        self._worker = Worker("leading", self._turn, log)

    def leads(self) -> bool:
        return not self._is_closed and self._election.leads(self._clock())

    def start(self) -> None:
        self._worker.start()

    async def close(self) -> None:
        """On the loop: leading is over, then the lease is given back."""
        self._is_closed = True
        self._worker.stop()
        self._settle(False)  # noqa: FBT003
        ended = await asyncio.to_thread(self._worker.join)
        patch = self._election.resign(self._wall()) if ended else None
        if patch is not None:
            await asyncio.to_thread(self._release, patch)

    def _release(self, patch: Patch) -> None:
        try:
            self._cluster.merge_patch(self._path, patch.patch, seconds=RELEASE_SECONDS)
        except ClusterFault as fault:
            # Others take it when it runs out.
            self._log.warning("the lease was not given back", why=fault.message)

    # --- on the thread ----------------------------------------------------------------------------

    def _turn(self) -> float:
        step = self._election.next(self._clock(), self._wall())
        if not isinstance(step, Rest):
            self._do(step)
        self._announce()
        if isinstance(step, Rest):
            # Not longer than leading lasts: its end is told when it comes.
            return min(step.seconds, self._election.seconds_left(self._clock()))
        return 0.0

    def _do(self, step: Look | Create | Patch) -> None:
        left = self._election.seconds_left(self._clock())
        seconds = max(LEAST_SECONDS, min(CALL_SECONDS, left))
        try:
            match step:
                case Look():
                    found = self._cluster.get(self._path, seconds=seconds)
                    self._election.looked(read_lease(found), self._clock(), self._dice())
                case Create(lease):
                    made = self._cluster.create(self._all, lease, seconds=seconds)
                    self._election.wrote(read_lease(made), self._clock(), self._dice())
                case Patch(patch):
                    made = self._cluster.merge_patch(self._path, patch, seconds=seconds)
                    self._election.wrote(read_lease(made), self._clock(), self._dice())
        except ClusterFault as fault:
            self._failed(step, fault)
        except ObjectFault as fault:
            self._failed(step, ClusterFault(None, BAD_ANSWER, f"the lease {self._path}: {fault}"))
        else:
            self._said = ""

    def _failed(self, step: Step, fault: ClusterFault) -> None:
        if isinstance(step, Look) and fault.is_missing:
            self._election.looked(None, self._clock(), self._dice())
            return
        self._election.failed(fault, self._clock(), self._dice())
        # Somebody else was faster: that is what elections are.
        if not fault.is_conflict and fault.message != self._said:
            self._said = fault.message
            self._log.warning("the lease cannot be kept", why=fault.message, reason=fault.reason)

    def _announce(self) -> None:
        holder = self._election.holder
        if holder != self._holder:
            self._holder = holder
            if holder not in {"", self._identity}:
                self._log.info("another replica leads", leader=holder)
        leads = self._election.leads(self._clock())
        if leads != self._was_leading:
            self._was_leading = leads
            self._hand(partial(self._settle, leads))

    # --- on the loop ------------------------------------------------------------------------------

    def _settle(self, leads: bool) -> None:  # noqa: FBT001 - what the thread saw
        if leads and self.leads() and not self._is_started:
            self._is_started = True
            self._log.info("this replica leads")
            self._on_start()
        elif self._is_started and not leads:
            self._is_started = False
            self._log.info("this replica leads no more")
            self._on_stop()
