"""Writes Kubernetes Events from a thread of its own: who tells of something never waits."""

import threading
import time
from collections.abc import Callable
from datetime import datetime
from secrets import token_hex
from typing import Final

from injector.core.api import EVENTS, ClusterFault
from injector.edge.clock import SystemClock
from injector.edge.cluster import Cluster
from injector.edge.worker import Worker
from injector.engine.happenings import CountEvent, EventBook, Happening
from proxy.telemetry.log import Log

# At most ten a second: a scheduler that makes a thousand pods is not answered with a thousand writes.
LEAST_GAP: Final = 0.1
CALL_SECONDS: Final = 5.0
# Until somebody tells of something.
IDLE_SECONDS: Final = 3600.0


class EventWriter:
    """`lost` counts Events that were not written: there were too many, or the API server refused them.

    `counted` gets what became of each, on any thread: `written`, `dropped` or `failed`.
    """

    def __init__(
        self,
        cluster: Cluster,
        instance: str,
        log: Log,
        *,
        counted: Callable[[str], None] = lambda _outcome: None,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], datetime] = SystemClock.now,
        token: Callable[[], str] = lambda: token_hex(8),
    ) -> None:
        self._cluster = cluster
        self._log = log
        self._counted = counted
        self._monotonic = monotonic
        self._wall = wall
        self._token = token
        self._lock = threading.Lock()
        self._book = EventBook(instance)
        self._said = ""
        # Until then nothing is written, whoever wakes the thread.
        self._quiet_until = -LEAST_GAP
        self._worker = Worker("events", self._turn, log)

    @property
    def lost(self) -> int:
        return self._book.lost

    def tell(self, happening: Happening) -> None:
        """From any thread."""
        with self._lock:
            before = self._book.lost
            is_news = self._book.add(happening, self._monotonic(), self._wall(), self._token())
            is_lost = self._book.lost > before
        if is_lost:
            self._counted("dropped")
        if is_news:
            # What is only counted is written when it was due anyway: a Job that makes a thousand pods would
            # wake the thread a thousand times, each time in the way of the next review.
            self._worker.wake()

    def start(self) -> None:
        self._worker.start()

    def stop(self) -> None:
        """What still waits is not written."""
        self._worker.stop()
        self._worker.join()

    def _turn(self) -> float:
        now = self._monotonic()
        if now < self._quiet_until:
            return self._quiet_until - now
        with self._lock:
            write = self._book.next(now)
        if write is None:
            return IDLE_SECONDS
        if isinstance(write, float):
            return write
        self._quiet_until = now + LEAST_GAP
        namespace = write.happening.namespace
        try:
            if isinstance(write, CountEvent):
                path = EVENTS.path(namespace, write.name)
                self._cluster.merge_patch(path, write.patch, seconds=CALL_SECONDS)
            else:
                self._cluster.create(EVENTS.path(namespace), write.event, seconds=CALL_SECONDS)
        except ClusterFault as fault:
            with self._lock:
                self._book.failed(write, fault)
            self._failed(fault)
        else:
            with self._lock:
                self._book.wrote(write)
            self._counted("written")
            self._said = ""
        return LEAST_GAP

    def _failed(self, fault: ClusterFault) -> None:
        """Once, until one is written again."""
        if fault.is_missing:
            return  # the Event was deleted, or the namespace
        self._counted("failed")
        if not self._said:
            self._said = fault.message
            self._log.warning("an Event was not written", why=fault.message, reason=fault.reason)
