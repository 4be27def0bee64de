"""What the leader writes of policies: ConfigMaps, statuses, and the end of what nobody needs any more.

A thread of its own, because the API server may be slow and reviews are not. The loop says what should be
there; for each thing only the last word counts. What could not be written is tried again, later and later.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from random import random
from typing import Any, Final

from injector.core.api import CONFIG_MAPS, ClusterFault, JsonObject, Resource
from injector.core.cluster import Namespace
from injector.edge.cluster import Cluster
from injector.edge.worker import Hand, Worker
from injector.engine.config_maps import Create, Recreate, difference, written_policy
from injector.engine.orphans import orphans
from proxy.core.contract import POLICY_CONFIG_MAP, TRUST_CONFIG_MAP
from proxy.telemetry.log import Log

CALL_SECONDS: Final = 5.0
# Full jitter, from a second to half a minute.
LONGEST_PAUSE: Final = 30.0
# Nothing to do: until the loop says otherwise.
IDLE_SECONDS: Final = 3600.0
# Between two writes: 5,000 statuses after an upgrade take some minutes, and the API server has other clients.
GAP_SECONDS: Final = 0.02

# What a piece of work is known by: a later one of the same takes its place.
Name = tuple[str, ...]
Work = Callable[[], None]


class PolicyWriter:
    """`recovered` gets what ConfigMaps said before we wrote, `in_force` the namespaces whose ConfigMap is as
    it should be, `counted` each outcome; all on the event loop."""

    def __init__(
        self,
        cluster: Cluster,
        *,
        leads: Callable[[], bool],
        recovered: Callable[[Mapping[str, str | None]], None],
        in_force: Callable[[str], None],
        counted: Callable[[str], None],
        hand: Hand,
        log: Log,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster = cluster
        self._leads = leads
        self._recovered = recovered
        self._in_force = in_force
        self._counted = counted
        self._hand = hand
        self._log = log
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._work: OrderedDict[Name, Work] = OrderedDict()
        # When something that failed is due again, and how often it has failed.
        self._later: dict[Name, tuple[float, int]] = {}
        self._said = ""
        self._worker = Worker("policies", self._turn, log)

    def start(self) -> None:
        self._worker.start()

    def stop(self) -> None:
        self._worker.stop()
        self._worker.join()

    def forget(self) -> None:
        """Somebody else leads: what we would write may be older than what is there."""
        with self._lock:
            self._work.clear()
            self._later.clear()

    # --- what the loop asks for -------------------------------------------------------------------

    def read_back(self, namespaces: Iterable[str]) -> None:
        """What is in force there was written by the leader before us."""
        for name in namespaces:
            self._add(("read", name), lambda name=name: self._read_back(name))  # type: ignore[misc]

    def write(self, config_maps: Iterable[JsonObject], namespace: str) -> None:
        """All that a namespace needs; then it is in force."""
        wanted = tuple(config_maps)
        self._add(("write", namespace), lambda: self._write(namespace, wanted))

    def sweep(self, namespace: Namespace, own_namespace: str) -> None:
        """Our ConfigMaps go, where no pod can get a sidecar any more."""
        self._add(("sweep", namespace.name), lambda: self._sweep(namespace, own_namespace))

    def tell(self, resource: Resource, namespace: str, name: str, patch: Mapping[str, Any]) -> None:
        """A document's status."""
        path = resource.path(namespace, name, "status")
        self._add(("status", path), lambda: self._tell(path, patch))

    def _add(self, name: Name, work: Work) -> None:
        with self._lock:
            self._work[name] = work
            self._later.pop(name, None)
        self._worker.wake()

    # --- on the thread ----------------------------------------------------------------------------

    def _turn(self) -> float:
        if not self._leads():
            return IDLE_SECONDS if not self._work else 1.0
        now = self._monotonic()
        with self._lock:
            due = next((n for n in self._work if self._later.get(n, (0.0, 0))[0] <= now), None)
            work = self._work.pop(due) if due is not None else None
            soonest = min((at for at, _ in self._later.values()), default=now + IDLE_SECONDS)
        if due is None or work is None:
            return max(GAP_SECONDS, soonest - now)
        try:
            work()
        except ClusterFault as fault:
            self._failed(due, work, fault)
        else:
            self._said = ""
            with self._lock:
                self._later.pop(due, None)
        return GAP_SECONDS

    def _failed(self, name: Name, work: Work, fault: ClusterFault) -> None:
        if name[0] == "write":
            self._hand(lambda: self._counted("failed"))
        with self._lock:
            _, failures = self._later.get(name, (0.0, 0))
            pause = max(fault.retry_after or 0.0, min(2.0**failures, LONGEST_PAUSE) * random())  # noqa: S311
            if name in self._work:
                return  # there is a newer one already
            self._later[name] = (self._monotonic() + pause, min(failures + 1, 8))
            self._work[name] = work
        if not fault.is_conflict and fault.message != self._said:
            self._said = fault.message
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
        self._hand(lambda: self._recovered({namespace: text}))

    def _write(self, namespace: str, wanted: tuple[JsonObject, ...]) -> None:
        changed = False
        for config_map in wanted:
            name = str(config_map["metadata"]["name"])
            write = difference(self._get(namespace, name), config_map)
            if write is None:
                continue
            if not self._leads():
                return
            changed = True
            path = CONFIG_MAPS.path(namespace, name)
            if isinstance(write, Recreate):
                self._cluster.delete(path, uid=write.uid, seconds=CALL_SECONDS)
            if isinstance(write, Create | Recreate):
                self._cluster.create(CONFIG_MAPS.path(namespace), write.config_map, seconds=CALL_SECONDS)
            else:
                self._cluster.replace(path, write.config_map, seconds=CALL_SECONDS)
            if not isinstance(write, Create) and write.taken_over:
                self._log.warning(
                    "a ConfigMap of a reserved name was replaced", namespace=namespace, name=name
                )
        self._hand(lambda: self._counted("written" if changed else "unchanged"))
        self._hand(lambda: self._in_force(namespace))

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
