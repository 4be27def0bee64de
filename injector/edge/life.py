"""The injector's life: everything is built once here, and taken down in the opposite order.

It is ready when its caches are warm and it has a certificate; what is missing is named at /readyz. Told to
stop, it stops being ready first and goes on answering for a while: endpoints reach the API servers' nodes
late, and a review that meets a closed port is a pod that does not start.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, final

from injector.core.settings import InjectorSettings
from injector.edge.clock import SystemClock
from injector.edge.listener import Listener
from injector.edge.metrics import Metrics
from injector.edge.probes import MAX_CONNECTIONS, ProbeSite, Readiness
from injector.edge.serving import Handler, ReviewSite
from injector.edge.tls import CertificateFault, FolderCertificate, OwnCertificate, ServerCertificate
from injector.engine.leaf import server_names
from proxy.core.structs import Struct
from proxy.files.watch import FolderWatch
from proxy.telemetry.log import Log

CERTIFICATE: Final = "certificate"
# Work that broke begins again after it.
RETRY_SECONDS: Final = 1.0
# A leaf lives for days; a minute late costs nothing.
RENEWAL_SECONDS: Final = 60.0
# Whoever renews the folder's certificate does it days before the end of the old one.
LOOK_SECONDS: Final = 1.0
# Nothing that is on its way takes longer: the API server has given up by then.
DRAIN_SECONDS: Final = 5.0

Work = Callable[[], Coroutine[None, None, None]]


class Ways(Struct, frozen=True):
    """What the cluster's side tells the process."""

    readiness: Readiness
    metrics: Metrics
    log: Log
    # The data of the Secret with podkey's authority, whenever it was read; on the event loop. Without effect
    # where somebody else makes the certificate.
    saw_authority: Callable[[Mapping[str, bytes]], None]


class ClusterSide(Struct, frozen=True):
    """What the process needs of the cluster's side: caches, reviews, leading."""

    # By path.
    handlers: Mapping[str, Handler]
    # Begins on the loop that runs, and must not wait for the API server.
    start: Callable[[], None]
    close: Callable[[], Awaitable[None]]
    # What /readyz waits for, told by `Readiness.ok`: a cache of each kind.
    conditions: Sequence[str] = ()
    # Goes on until the end; what breaks begins again.
    background: Sequence[Work] = ()


Connect = Callable[[Ways], ClusterSide]


@final
class Injector:
    """`settled` is called whenever it has become ready: its caches are warm."""

    def __init__(
        self,
        settings: InjectorSettings,
        connect: Connect,
        metrics: Metrics,
        log: Log,
        stop: asyncio.Event,
        *,
        settled: Callable[[], object] = lambda: None,
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._log = log
        self._stop = stop
        self._settled = settled
        self._hurry = asyncio.Event()
        self._shown_certificate = asyncio.Event()
        self._background: set[asyncio.Task[None]] = set()
        self._was_ready = False
        self._readiness = Readiness(self._readiness_changed)
        self._readiness.failed(CERTIFICATE, "there is none yet")
        names = server_names(
            settings.certificates.service, settings.pods.own_namespace, settings.pods.cluster_domain
        )
        self._certificate = ServerCertificate(names[0], metrics.certificate_ends)
        self._own = OwnCertificate(self._certificate, names, SystemClock.now, SystemClock.since_boot)
        self._side = connect(Ways(self._readiness, metrics, log, self._saw_authority))
        for condition in self._side.conditions:
            self._readiness.expect(condition)
        for path in self._side.handlers:
            metrics.serves(path)
        clock = SystemClock()
        reviews = ReviewSite(
            self._side.handlers,
            ready=lambda: not self._readiness.cold(),
            counts=metrics,
            failed=self._review_failed,
            clock=clock,
            max_concurrent=settings.serving.max_concurrent,
        )
        self._webhooks = Listener(
            reviews,
            context=self._certificate.context,
            counts=metrics,
            failed=self._connection_failed,
            clock=clock,
            max_connections=settings.serving.max_connections,
        )
        self._probes = Listener(
            ProbeSite(self._readiness, metrics.exposition),
            context=None,
            counts=_Uncounted(),
            failed=self._connection_failed,
            clock=clock,
            max_connections=MAX_CONNECTIONS,
        )

    async def run(self) -> None:
        """From start to drained end. Raises OSError where it cannot listen."""
        serving = self._settings.serving
        await self._probes.start(serving.admin_address, serving.admin_port)
        try:
            self._side.start()
            self._watch_certificate()
            for work in self._side.background:
                self._keep_going(work)
            if await self._first(self._shown_certificate, self._stop):
                port = await self._webhooks.start(serving.address, serving.port)
                self._log.info("listening", port=port)
                await self._stop.wait()
                await self._drain()
        finally:
            for task in self._background:
                task.cancel()
            await asyncio.gather(*self._background, return_exceptions=True)
            await self._webhooks.close(DRAIN_SECONDS)
            await self._side.close()
            await self._probes.close(0)

    def hurry(self) -> None:
        """Told to stop a second time: it does not wait until everybody has heard of it."""
        self._hurry.set()

    async def _drain(self) -> None:
        self._readiness.draining()
        self._webhooks.leave()
        self._log.info("draining", connections=self._webhooks.open_connections)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.serving.linger_seconds):
                await self._hurry.wait()
        cut = await self._webhooks.close(DRAIN_SECONDS)
        self._log.info("drained", cut=cut)

    @staticmethod
    async def _first(wanted: asyncio.Event, stop: asyncio.Event) -> bool:
        """Whether the wanted event came before it was told to stop."""
        waits = [asyncio.ensure_future(event.wait()) for event in (wanted, stop)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        return not stop.is_set()

    # --- the certificate ---

    def _watch_certificate(self) -> None:
        if self._settings.certificates.folder is None:
            self._keep_going(self._renew)
            return
        source = FolderCertificate(
            self._certificate, Path(self._settings.certificates.folder), SystemClock.now
        )
        files: dict[str, bytes] = {}
        try:
            files = source.read()
        except OSError as error:
            self._folder_unreadable(error)
        else:
            self._show(partial(source.show, files))
        watch = FolderWatch(
            [source.folder],
            source.read,
            lambda found: self._show(partial(source.show, found)),
            self._folder_unreadable,
            files,
        )
        self._keep_going(lambda: watch.run(SystemClock.monotonic, LOOK_SECONDS))
        self._keep_going(self._renew)

    def _saw_authority(self, data: Mapping[str, bytes]) -> None:
        if self._settings.certificates.folder is None:
            self._show(partial(self._own.saw, data))

    async def _renew(self) -> None:
        while True:
            if self._settings.certificates.folder is None:
                self._show(self._own.renew)
            else:
                self._judge_certificate()
            await asyncio.sleep(RENEWAL_SECONDS)

    def _show(self, show: Callable[[], object]) -> None:
        """A new certificate, if it is one that can be used."""
        before = self._certificate.number
        try:
            show()
        except CertificateFault as fault:
            self._log.error("a certificate cannot be used, the one before stays", why=str(fault))
        if self._certificate.number != before:
            self._log.info("there is a new certificate", ends=self._certificate.ends)
            self._shown_certificate.set()
        self._judge_certificate()

    def _judge_certificate(self) -> None:
        self._readiness.failed(CERTIFICATE, self._certificate.lack(SystemClock.now()))

    def _folder_unreadable(self, error: OSError) -> None:
        self._log.error(
            "the folder of the certificate cannot be read, the one before stays",
            folder=self._settings.certificates.folder,
            why=error.strerror or str(error),
        )

    # --- what is told ---

    def _review_failed(self, path: str, error: Exception) -> None:
        self._log.error("a review failed", webhook=path, error=error)

    def _connection_failed(self, error: Exception) -> None:
        self._log.error("a connection failed", error=error)

    def _readiness_changed(self) -> None:
        ready = not self._readiness.missing()
        if ready and not self._was_ready:
            self._log.info("ready")
            self._settled()
        self._was_ready = ready
        self._metrics.ready(ready=ready)

    def _keep_going(self, work: Work) -> None:
        async def again_and_again() -> None:
            while True:
                try:
                    await work()
                except Exception as error:  # noqa: BLE001 - reviews go on with what there is
                    self._metrics.background_failed()
                    self._log.error("work in the background failed and begins again", error=error)
                await asyncio.sleep(RETRY_SECONDS)

        task = asyncio.get_running_loop().create_task(again_and_again())
        self._background.add(task)
        task.add_done_callback(self._background.discard)


class _Uncounted:
    """Probes come every second, and are no news."""

    def rejected(self, why: object) -> None: ...
    def connections(self, number: int) -> None: ...
