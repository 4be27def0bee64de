"""What the leader writes of policies: ConfigMaps, statuses, and the end of what nobody needs any more.

A thread of its own, because the API server may be slow and reviews are not. The loop says what should be
there; for each thing only the last word counts. What could not be written is tried again, later and later.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from enum import IntEnum
from random import random
from typing import Any, Final

from injector.core.api import CONFIG_MAPS, ClusterFault, JsonObject, Resource
from injector.core.cluster import Namespace
from injector.edge.cluster import Cluster
from injector.edge.worker import Hand, Worker
from injector.engine.config_maps import Create, Recreate, difference, written_policy
from injector.engine.orphans import orphans
from proxy.core.contract import POLICY_CONFIG_MAP, TRUST_CONFIG_MAP
from proxy.core.structs import Struct
from proxy.telemetry.log import Log

CALL_SECONDS: Final = 5.0
# Full jitter, from a second to half a minute.
LONGEST_PAUSE: Final = 30.0
# Nothing to do: until the loop says otherwise.
IDLE_SECONDS: Final = 3600.0
# Between two writes: 5,000 statuses after an upgrade take some minutes, and the API server has other clients.
GAP_SECONDS: Final = 0.02
# Beyond it the pause grows no more.
MOST_FAILURES: Final = 8
# How soon it is noticed that we lead.
NOT_LEADING_SECONDS: Final = 1.0


class Kind(IntEnum):
    """What is done first: a policy is waited for. Who begins to lead looks through thousands of namespaces,
    and after an upgrade as many statuses may be due."""

    READ = 0
    WRITE = 1
    SWEEP = 2
    STATUS = 3


class Piece(Struct):
    """Something to do; when it is due again, and how often it has failed."""

    work: Callable[[], None]
    due: float = 0.0
    failures: int = 0
    said: str = ""


class PolicyWriter:
    """`recovered` gets a namespace and what its ConfigMap says, `counted` each outcome of a write.

    Both are called on the event loop. Who does not lead only reads.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        leads: Callable[[], bool],
        recovered: Callable[[str, str | None], None],
        counted: Callable[[str], None],
        hand: Hand,
        log: Log,
        monotonic: Callable[[], float] = time.monotonic,
        dice: Callable[[], float] = random,
    ) -> None:
        self._cluster = cluster
        self._leads = leads
        self._recovered = recovered
        self._counted = counted
        self._hand = hand
        self._log = log
        self._monotonic = monotonic
        self._dice = dice
        self._lock = threading.Lock()
        # By what they are about: of each the last word counts.
        self._work: dict[Kind, dict[str, Piece]] = {kind: {} for kind in Kind}
        # What the thread is at; None where that is not to be tried again.
        self._current: tuple[Kind, str] | None = None
        self._worker = Worker("policies", self._turn, log)

    def start(self) -> None:
        self._worker.start()

    def stop(self) -> None:
        self._worker.stop()
        self._worker.join()

    def forget(self) -> None:
        """Somebody else leads: what we would write may be older than what is there."""
        with self._lock:
            for kind in Kind:
                if kind is not Kind.READ:
                    self._work[kind].clear()
            if self._current is not None and self._current[0] is not Kind.READ:
                self._current = None

    # --- what the loop asks for -------------------------------------------------------------------

    def read_back(self, namespace: str) -> None:
        """What is in force there was written by somebody before us."""
        self._add(Kind.READ, namespace, lambda: self._read_back(namespace))

    def write(self, config_maps: Iterable[JsonObject], namespace: str, done: Callable[[], None]) -> None:
        """All that a namespace needs; `done` is called on the event loop when it is there."""
        wanted = tuple(config_maps)
        self._remove(Kind.SWEEP, namespace)
        self._add(Kind.WRITE, namespace, lambda: self._write(namespace, wanted, done))

    def sweep(self, namespace: Namespace, own_namespace: str) -> None:
        """Our ConfigMaps go, where no pod can get a sidecar any more."""
        self._remove(Kind.WRITE, namespace.name)
        self._add(Kind.SWEEP, namespace.name, lambda: self._sweep(namespace, own_namespace))

    def drop(self, namespace: str) -> None:
        """Nothing is to be done there any more."""
        for kind in (Kind.READ, Kind.WRITE, Kind.SWEEP):
            self._remove(kind, namespace)

    def tell(self, resource: Resource, namespace: str, name: str, patch: Mapping[str, Any] | None) -> None:
        """A document's status; None where it is as it should be."""
        path = resource.path(namespace, name, "status")
        if patch is None:
            self._remove(Kind.STATUS, path)
        else:
            self._add(Kind.STATUS, path, lambda: self._tell(path, patch))

    def _add(self, kind: Kind, name: str, work: Callable[[], None]) -> None:
        with self._lock:
            self._work[kind][name] = Piece(work)
        self._worker.wake()

    def _remove(self, kind: Kind, name: str) -> None:
        with self._lock:
            self._work[kind].pop(name, None)
            if self._current == (kind, name):
                self._current = None

    # --- on the thread ----------------------------------------------------------------------------

    def _turn(self) -> float:
        leads, now = self._leads(), self._monotonic()
        piece, soonest = self._take(leads=leads, now=now)
        if piece is None:
            idle = IDLE_SECONDS if leads else NOT_LEADING_SECONDS
            return idle if soonest is None else max(GAP_SECONDS, min(idle, soonest - now))
        try:
            piece.work()
        except ClusterFault as fault:
            self._failed(piece, fault)
        return GAP_SECONDS

    def _take(self, *, leads: bool, now: float) -> tuple[Piece | None, float | None]:
        """What is due, or when the next will be."""
        with self._lock:
            soonest: float | None = None
            for kind in Kind if leads else (Kind.READ,):
                for name, piece in self._work[kind].items():
                    if piece.due <= now:
                        self._current = (kind, name)
                        return self._work[kind].pop(name), None
                    soonest = piece.due if soonest is None else min(soonest, piece.due)
            return None, soonest

    def _failed(self, piece: Piece, fault: ClusterFault) -> None:
        with self._lock:
            if self._current is None:
                return
            kind, name = self._current
            pause = min(2.0**piece.failures, LONGEST_PAUSE) * self._dice()
            piece.due = self._monotonic() + max(fault.retry_after or 0.0, pause)
            piece.failures = min(piece.failures + 1, MOST_FAILURES)
            # Where there is a newer one already, that counts.
            self._work[kind].setdefault(name, piece)
        if kind is Kind.WRITE:
            self._hand(lambda: self._counted("failed"))
        if not fault.is_conflict and fault.message != piece.said:
            piece.said = fault.message
            self._log.warning("policies cannot be written and are tried again", why=fault.message)

    def _get(self, namespace: str, name: str) -> JsonObject | None:
        try:
            return self._cluster.get(CONFIG_MAPS.path(namespace, name), seconds=CALL_SECONDS)
        except ClusterFault as fault:
            if fault.is_missing:
                return None
            raise

    def _read_back(self, namespace: str) -> None:
        found = self._get(namespace, POLICY_CONFIG_MAP)
        text = written_policy(found) if found is not None else None
        self._hand(lambda: self._recovered(namespace, text))

    def _let_go(self, path: str, existing: JsonObject | None) -> None:
        """A finalizer that somebody left would keep it there for ever, with what it says."""
        metadata = existing["metadata"] if existing is not None else {}
        if existing is not None and metadata.get("finalizers"):
            freed = {key: value for key, value in metadata.items() if key != "finalizers"}
            self._cluster.replace(path, {**existing, "metadata": freed}, seconds=CALL_SECONDS)

    def _write(self, namespace: str, wanted: tuple[JsonObject, ...], done: Callable[[], None]) -> None:
        changed = False
        for config_map in wanted:
            name = str(config_map["metadata"]["name"])
            existing = self._get(namespace, name)
            write = difference(existing, config_map)
            if write is None:
                continue
            if not self._leads():
                return
            changed = True
            path = CONFIG_MAPS.path(namespace, name)
            if isinstance(write, Recreate):
                self._let_go(path, existing)
                self._cluster.delete(path, uid=write.uid, seconds=CALL_SECONDS)
            if isinstance(write, Create | Recreate):
                if not self._created(namespace, write.config_map):
                    return
            else:
                self._cluster.replace(path, write.config_map, seconds=CALL_SECONDS)
            if not isinstance(write, Create) and write.taken_over:
                self._log.warning(
                    "a ConfigMap of a reserved name was replaced", namespace=namespace, name=name
                )
        self._hand(lambda: self._counted("written" if changed else "unchanged"))
        self._hand(done)

    def _created(self, namespace: str, config_map: JsonObject) -> bool:
        """Whether there is such a namespace still."""
        try:
            self._cluster.create(CONFIG_MAPS.path(namespace), config_map, seconds=CALL_SECONDS)
        except ClusterFault as fault:
            if fault.is_missing:
                return False
            raise
        return True

    def _sweep(self, namespace: Namespace, own_namespace: str) -> None:
        names = (POLICY_CONFIG_MAP, TRUST_CONFIG_MAP)
        found = [one for name in names if (one := self._get(namespace.name, name)) is not None]
        for orphan in orphans(found, {namespace.name: namespace}, own_namespace):
            if not self._leads():
                return
            path = CONFIG_MAPS.path(orphan.namespace, orphan.name)
            self._cluster.delete(
                path, uid=orphan.uid, resource_version=orphan.resource_version, seconds=CALL_SECONDS
            )
            self._log.info("a ConfigMap that nobody needs was removed", namespace=orphan.namespace)

    def _tell(self, path: str, patch: Mapping[str, Any]) -> None:
        try:
            self._cluster.merge_patch(path, patch, seconds=CALL_SECONDS)
        except ClusterFault as fault:
            if not fault.is_missing:  # the document was deleted meanwhile
                raise
