"""The leader's round through the pods of enabled namespaces, now and then."""

from collections.abc import Callable, Sequence
from typing import Final

from injector.core.api import PODS, ClusterFault
from injector.core.cluster import Namespace
from injector.edge.cluster import Cluster
from injector.edge.worker import Hand, Worker
from injector.engine.detection import Detection, Round
from injector.engine.happenings import Happening
from proxy.telemetry.log import Log

# Some 20 KiB each with managedFields. Python parses a page in one piece, and admissions wait meanwhile.
PAGE: Final = 25
# Between two pages: 10,000 pods in 20 s.
PAUSE: Final = 0.05
# After a while of not leading, or of failing.
OTHERWISE_SECONDS: Final = 15.0
# Pods that ended hold nothing any more.
RUNNING: Final = "status.phase!=Succeeded,status.phase!=Failed"


class Detector:
    """`namespaces` gives the enabled ones; it is called on our thread, like what `detection` asks.

    `report` gets whole rounds only, on the event loop: half of one would show pods as if they were gone.
    """

    def __init__(
        self,
        cluster: Cluster,
        detection: Detection,
        namespaces: Callable[[], Sequence[Namespace]],
        *,
        leads: Callable[[], bool],
        tell: Callable[[Happening], None],
        report: Callable[[Round], None],
        hand: Hand,
        log: Log,
        seconds: float,
    ) -> None:
        self._cluster = cluster
        self._detection = detection
        self._namespaces = namespaces
        self._leads = leads
        self._tell = tell
        self._report = report
        self._hand = hand
        self._log = log
        self._seconds = seconds
        self._said = ""
        self._worker = Worker("detector", self._turn, log)

    def start(self) -> None:
        self._worker.start()

    def stop(self) -> None:
        self._worker.stop()
        self._worker.join()

    def _turn(self) -> float:
        if not self._leads():
            return min(OTHERWISE_SECONDS, self._seconds)
        self._detection.begin()
        try:
            for namespace in self._namespaces():
                if not self._look_through(namespace):
                    return 0.0
        except ClusterFault as fault:
            if fault.message != self._said:
                self._said = fault.message
                self._log.warning("running pods cannot be looked at", why=fault.message, reason=fault.reason)
            return min(OTHERWISE_SECONDS, self._seconds)
        self._said = ""
        found = self._detection.finish()
        self._hand(lambda: self._report(found))
        return self._seconds

    def _look_through(self, namespace: Namespace) -> bool:
        """Whether to go on."""
        self._detection.enter(namespace)
        token = ""
        while True:
            if self._worker.is_stopping or not self._leads():
                return False
            path = PODS.path(namespace.name)
            page = self._cluster.list_page(path, limit=PAGE, continue_token=token, field_selector=RUNNING)
            for raw in page.items:
                happening = self._detection.see(raw, namespace)
                if happening is not None:
                    self._tell(happening)
            token = page.continue_token
            if not token:
                return True
            self._worker.rest(PAUSE)
