"""A watched kind: a thread that drives its reflector, and hands what changes to the event loop."""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from enum import Enum
from random import random
from typing import Final

from injector.core.api import ClusterFault, Resource
from injector.edge.cluster import Cluster
from injector.edge.cluster_answers import WatchStream
from injector.edge.worker import Hand, Worker
from injector.engine.reflector import Change, ListPage, News, Reflector, Replace, Unreadable, Wait, Watch
from proxy.telemetry.log import Log

# Objects that were complained about, so that each is named once. Forgotten all at once.
MOST_COMPLAINTS: Final = 256


class WatchNews(Enum):
    """What is counted of a watch."""

    LISTED = "listed"
    CHANGED = "changed"
    FAILED = "failed"
    UNREADABLE = "unreadable"


class Watcher[V]:
    """`deliver` gets changes in their order, on the event loop, as many at a time as came meanwhile."""

    def __init__(
        self,
        cluster: Cluster,
        resource: Resource,
        reflector: Reflector[V],
        deliver: Callable[[Sequence[Change[V]]], None],
        *,
        hand: Hand,
        log: Log,
        namespace: str = "",
        field_selector: str = "",
        counted: Callable[[WatchNews], None] = lambda _news: None,
        monotonic: Callable[[], float] = time.monotonic,
        dice: Callable[[], float] = random,
    ) -> None:
        self._cluster = cluster
        self._path = resource.path(namespace)
        self._kind = resource.plural
        self._field_selector = field_selector
        self._reflector = reflector
        self._deliver = deliver
        self._hand = hand
        self._log = log
        self._counted = counted
        self._monotonic = monotonic
        self._dice = dice
        self._lock = threading.Lock()
        self._pending: list[Change[V]] = []
        self._stream: WatchStream | None = None
        self._complained: set[Unreadable] = set()
        self._said = ""
        # Whether everything that there was has been delivered once. It never becomes False again: what is
        # known stays in use while the API server cannot be reached.
        self.synced = False
        self._worker = Worker(f"watch-{self._kind}", self._turn, log)

    def start(self) -> None:
        self._worker.start()

    def stop(self) -> None:
        """Nothing is delivered after it."""
        with self._lock:
            self._worker.stop()
            self._pending.clear()
            if self._stream is not None:
                self._stream.close()
        self._worker.join()

    # --- on the thread ----------------------------------------------------------------------------

    def _turn(self) -> float:
        match self._reflector.next(self._monotonic()):
            case Wait(seconds):
                return seconds
            case ListPage() as step:
                self._list(step)
            case Watch() as step:
                self._watch(step)
        return 0.0

    def _list(self, step: ListPage) -> None:
        try:
            page = self._cluster.list_page(
                self._path,
                limit=step.limit,
                continue_token=step.continue_token,
                field_selector=self._field_selector,
            )
        except ClusterFault as fault:
            self._failed(fault)
            return
        outcome = self._reflector.listed(page, self._monotonic(), self._dice())
        if isinstance(outcome, ClusterFault):
            self._say(outcome)
            return
        self._publish(outcome)
        if any(isinstance(one, Replace) for one in outcome):
            self._counted(WatchNews.LISTED)
            self._well()

    def _watch(self, step: Watch) -> None:
        try:
            stream = self._cluster.watch(
                self._path,
                resource_version=step.resource_version,
                seconds=step.seconds,
                field_selector=self._field_selector,
            )
            with self._lock:
                self._stream = stream
                if self._worker.is_stopping:
                    stream.close()
            if self._follow(stream) and not self._worker.is_stopping:
                self._reflector.ended(self._monotonic(), self._dice())
        except ClusterFault as fault:
            self._failed(fault)
        finally:
            self._stream = None

    def _follow(self, stream: WatchStream) -> bool:
        """Whether it came to its end in peace."""
        with closing(iter(stream)) as events:
            for event in events:
                outcome = self._reflector.happened(event, self._monotonic(), self._dice())
                if isinstance(outcome, ClusterFault):
                    self._say(outcome)
                    return False
                self._publish(outcome)
                self._well()
        return True

    def _publish(self, news: Sequence[News[V]]) -> None:
        changes: list[Change[V]] = []
        for one in news:
            if isinstance(one, Unreadable):
                self._unreadable(one)
            else:
                changes.append(one)
        if not changes:
            return
        with self._lock:
            if self._worker.is_stopping:
                return
            # Where some wait already, they go together.
            is_first = not self._pending
            self._pending += changes
        if is_first:
            self._hand(self._on_loop)

    # --- on the loop ------------------------------------------------------------------------------

    def _on_loop(self) -> None:
        with self._lock:
            changes, self._pending = self._pending, []
        if not changes:
            return
        self._deliver(changes)
        self.synced = self.synced or any(isinstance(change, Replace) for change in changes)
        self._counted(WatchNews.CHANGED)

    # --- what is told -----------------------------------------------------------------------------

    def _failed(self, fault: ClusterFault) -> None:
        if not self._worker.is_stopping:
            self._reflector.failed(fault, self._monotonic(), self._dice())
            self._say(fault)

    def _say(self, fault: ClusterFault) -> None:
        """Ends of what is forgotten are how the protocol works."""
        self._counted(WatchNews.FAILED)
        if not fault.is_expired:
            self._complain(fault)

    def _complain(self, fault: ClusterFault) -> None:
        """Once, as long as it is the same."""
        if fault.message != self._said:
            self._said = fault.message
            self._log.warning(
                "a watch fails and is tried again", kind=self._kind, why=fault.message, reason=fault.reason
            )

    def _well(self) -> None:
        if self._said:
            self._said = ""
            self._log.info("a watch works again", kind=self._kind)

    def _unreadable(self, one: Unreadable) -> None:
        self._counted(WatchNews.UNREADABLE)
        if one not in self._complained:
            if len(self._complained) >= MOST_COMPLAINTS:
                self._complained.clear()
            self._complained.add(one)
            name = str(one.key) if one.key is not None else ""
            self._log.error("an object cannot be read", kind=self._kind, name=name, why=one.message)
