"""Whether every kubelet knows native sidecars: asked now and then, since nodes come and go slowly."""

from collections.abc import Callable
from typing import Final

from injector.core.api import NODES, ClusterFault
from injector.core.cluster import ClusterFacts
from injector.edge.cluster import Cluster
from injector.edge.worker import Hand, Worker
from injector.reading.objects import ObjectFault, read_kubelet
from proxy.telemetry.log import Log

# The feature gate SidecarContainers is on by default since 1.29.
NATIVE_SINCE: Final = (1, 29)
ASK_SECONDS: Final = 600.0
# While nothing is known, and after a failure.
RETRY_SECONDS: Final = 15.0
# A node lists the images it has: some 20 KiB each, and parsing a page stops all other threads meanwhile.
PAGE: Final = 25


class Nodes:
    """`deliver` gets the facts on the event loop when they were read. A cluster of which nothing can be read
    keeps those that it had: what is not known changes nothing."""

    def __init__(
        self, cluster: Cluster, deliver: Callable[[ClusterFacts], None], *, hand: Hand, log: Log
    ) -> None:
        self._cluster = cluster
        self._deliver = deliver
        self._hand = hand
        self._log = log
        self._said = ""
        self._worker = Worker("nodes", self._turn, log)

    def start(self) -> None:
        self._worker.start()

    def stop(self) -> None:
        self._worker.stop()
        self._worker.join()

    def _turn(self) -> float:
        try:
            oldest, unread = self._oldest()
        except ClusterFault as fault:
            self._say("the nodes cannot be listed", fault.message)
            return RETRY_SECONDS
        if unread:
            self._say("a node's kubelet version cannot be read; the node is not counted", unread)
        if oldest is None:
            self._say("no node tells its kubelet's version; what was known stays", "")
            return RETRY_SECONDS
        if not unread:
            self._said = ""
        facts = ClusterFacts(native_sidecars=oldest >= NATIVE_SINCE)
        self._hand(lambda: self._deliver(facts))
        return ASK_SECONDS

    def _oldest(self) -> tuple[tuple[int, int] | None, str]:
        """And what kept a node from being read, if anything did."""
        oldest, unread, token = None, "", ""
        while True:
            page = self._cluster.list_page(NODES.path(), limit=PAGE, continue_token=token)
            for raw in page.items:
                try:
                    version = read_kubelet(raw)
                except ObjectFault as fault:
                    unread = str(fault)
                    continue
                if version is not None and (oldest is None or version < oldest):
                    oldest = version
            token = page.continue_token
            if not token or self._worker.is_stopping:
                return oldest, unread

    def _say(self, event: str, why: str) -> None:
        if self._said != event + why:
            self._said = event + why
            self._log.warning(event, why=why)
