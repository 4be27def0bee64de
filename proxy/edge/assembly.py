"""Puts the process together around the sidecar: outputs, signals, the loop."""

import asyncio
import gc
import signal
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any, Final

import uvloop

from proxy.core.settings import OutputSettings, ProxySettings
from proxy.edge.audit_trail import AuditSink
from proxy.edge.clock import SystemClock
from proxy.edge.hardening import harden
from proxy.edge.metrics import Metrics
from proxy.edge.outbox import Outbox
from proxy.edge.recorder import EdgeRecorder
from proxy.edge.sidecar import Sidecar
from proxy.services.loader import built_in_catalogue
from proxy.telemetry.lines import STANDARD_OUTPUT, FileLineWriter, LineWriter
from proxy.telemetry.logs import configure_logs

# For the last lines to be written.
FAREWELL_SECONDS: Final = 2.0
FINE: Final = 0
BROKEN: Final = 1


def serve(settings: ProxySettings) -> int:
    """Run the sidecar until SIGTERM or SIGINT, and return the exit status."""
    weak = harden()
    metrics = Metrics()
    clock = SystemClock()
    outbox = Outbox()
    output = settings.output
    log = configure_logs(
        output.log_format,
        output.log_level,
        outbox.sink(LineWriter(STANDARD_OUTPUT, metrics.log_lost).write, metrics.log_lost),
        clock.now,
    )
    if weak is not None:
        log.warning("the process can be dumped", why=weak)
    audit = outbox.sink(_audit_writer(output, metrics), metrics.audit_lost)
    recorder = EdgeRecorder(metrics, AuditSink(audit), log, clock)

    async def live() -> None:
        stop = asyncio.Event()
        sidecar = Sidecar(settings, built_in_catalogue(), metrics, recorder, log, stop)

        def told() -> None:
            if stop.is_set():
                sidecar.hurry()  # who says it twice does not want to wait
            stop.set()

        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, told: _tell(recorder, told))
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, told)
        await sidecar.run()

    # What is loaded stays (see cli/run.py): the collector does not look at it again.
    gc.freeze()
    gc.enable()
    try:
        asyncio.run(live(), loop_factory=uvloop.new_event_loop)
    except Exception as error:  # noqa: BLE001 - its text may hold anything; type and place do
        recorder.crashed("sidecar", error)
        return BROKEN
    finally:
        outbox.close(FAREWELL_SECONDS)
    return FINE


def _tell(recorder: EdgeRecorder, told: dict[str, Any]) -> None:
    """Of what nobody awaits. The loop itself would print its text, which may quote what was on the wire."""
    error = told.get("exception")
    if isinstance(error, BaseException):
        recorder.crashed("event loop", error)


def _audit_writer(output: OutputSettings, metrics: Metrics) -> Callable[[bytes], None]:
    if output.audit_file is None:
        return LineWriter(STANDARD_OUTPUT, metrics.audit_lost).write
    return FileLineWriter(Path(output.audit_file), metrics.audit_lost, monotonic).write
