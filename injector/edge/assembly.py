"""Puts the process together around the injector: outputs, signals, the loop."""

import asyncio
import gc
import signal
import sys
from collections.abc import Mapping
from typing import Final

from injector.core.api import ClusterFault
from injector.core.settings import InjectorSettings
from injector.edge.clock import SystemClock
from injector.edge.cluster import Cluster
from injector.edge.cluster_side import connected
from injector.edge.life import Injector
from injector.edge.metrics import Metrics
from proxy.edge.hardening import harden
from proxy.services.loader import built_in_catalogue
from proxy.telemetry.lines import STANDARD_OUTPUT, LineWriter
from proxy.telemetry.logs import configure_logs

FINE: Final = 0
BROKEN: Final = 1
# A namespace of 500 policies takes half a second to compile, in a thread. A review lets go of the interpreter
# with each of its system calls, and with Python's own 5 ms waits so long to get it back, several times.
SWITCH_SECONDS: Final = 0.0005
# A review makes and drops some thousands of objects, hardly any of them in cycles. With Python's own 700 the
# collector takes a fifth of a review to find nothing; with these it looks once in some ten reviews.
COLLECTOR: Final = (20_000, 20, 10)


def serve(settings: InjectorSettings, environment: Mapping[str, str], kubeconfig: str | None = None) -> int:
    """Run the injector until SIGTERM or SIGINT, and return the exit status."""
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.set_threshold(*COLLECTOR)
    metrics = Metrics()
    log = configure_logs(
        settings.log_format,
        settings.log_level,
        LineWriter(STANDARD_OUTPUT, metrics.log_lost).write,
        SystemClock.now,
    )

    weak = harden()
    if weak is not None:
        log.warning("others of this user may be able to read this process's memory", why=weak)
    try:
        cluster = Cluster.in_pod(environment) if kubeconfig is None else Cluster.of_kubeconfig(kubeconfig)
    except ClusterFault as fault:
        log.error("there is no cluster to connect to", why=fault.message)  # noqa: TRY400 - its trace says no more
        return BROKEN
    catalogue = built_in_catalogue()

    async def live() -> None:
        stop = asyncio.Event()
        side = connected(settings, cluster, catalogue)
        injector = Injector(settings, side, metrics, log, stop, settled=_settle)

        def told() -> None:
            if stop.is_set():
                injector.hurry()  # who says it twice does not want to wait
            stop.set()

        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, told)
        await injector.run()

    try:
        asyncio.run(live())
    except OSError as error:
        log.error("the injector cannot go on", why=error.strerror or "")  # noqa: TRY400 - its trace says no more
        return BROKEN
    except Exception as error:  # noqa: BLE001 - its text may hold anything; type and place do
        log.error("the injector failed", error=error)  # noqa: TRY400 - the same, and no trace
        return BROKEN
    return FINE


def _settle() -> None:
    """Modules and caches stay: to walk them all would hold up reviews for 50 ms beside 500 policies. Only the
    first time: what was in a cycle at that moment would never be collected."""
    if not gc.get_freeze_count():
        gc.collect()
        gc.freeze()
