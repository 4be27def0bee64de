"""The cluster's side of the process, put together: caches, reviews, and what the leader does.

    watches ──► Knowledge ──► compiled ──► PolicyWriter (leader)
                    │
                 reviews ──► Events

Threads talk to the API server; the loop decides. Nothing that a review needs is asked for while it waits.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final, final

from injector.core.api import ACCESS_POLICIES, CREDENTIAL_SOURCES, NAMESPACES, SECRETS, Resource
from injector.core.cluster import Namespace
from injector.core.outcome import Outcome
from injector.core.settings import InjectorSettings
from injector.craft.trust_variables import trust_config_map_data
from injector.edge.authority_keeper import AuthorityKeeper
from injector.edge.chance import Chance
from injector.edge.clock import SystemClock
from injector.edge.cluster import Cluster
from injector.edge.detector import Detector
from injector.edge.event_writer import EventWriter
from injector.edge.knowledge import Knowledge
from injector.edge.leading import Leading
from injector.edge.life import ClusterSide, Connect, Ways, Work
from injector.edge.nodes import Nodes
from injector.edge.policy_writer import PolicyWriter
from injector.edge.status_keeper import StatusKeeper
from injector.edge.watching import Watcher, WatchNews
from injector.edge.webhooks import webhooks
from injector.edge.worker import Hand, ask, hand_to
from injector.engine.config_maps import policy_config_map, trust_config_map
from injector.engine.detection import Detection, Round
from injector.engine.holdings import Compiled, DocumentKey
from injector.engine.mutate import judge
from injector.engine.reflector import Change, Reflector, Remove, Replace, Upsert
from injector.reading.objects import SecretData, read_document, read_namespace, read_secret
from injector.reading.pod_fields import PodFault
from injector.reading.pods import read_pod
from proxy.core.contract import ACCESS_POLICY, CREDENTIAL_SOURCE
from proxy.core.services import Catalogue

# Every namespace without sidecars is looked at so often for what a leader that died has left.
SWEEP_SECONDS: Final = 600.0
# Of gauges; Prometheus asks every fifteen seconds or so.
COUNT_SECONDS: Final = 5.0
DOCUMENTS: Final = {ACCESS_POLICY: ACCESS_POLICIES, CREDENTIAL_SOURCE: CREDENTIAL_SOURCES}


def connected(settings: InjectorSettings, cluster: Cluster, catalogue: Catalogue) -> Connect:
    """To be called on the event loop that will run it."""

    def connect(ways: Ways) -> ClusterSide:
        return _Side(settings, cluster, catalogue, ways).side()

    return connect


@final
class _Side:
    def __init__(
        self, settings: InjectorSettings, cluster: Cluster, catalogue: Catalogue, ways: Ways
    ) -> None:
        self._settings = settings
        self._cluster = cluster
        self._ways = ways
        self._own = settings.pods.own_namespace
        hand = self._hand = hand_to(asyncio.get_running_loop())
        metrics, log = ways.metrics, ways.log
        self._knowledge = Knowledge(
            settings,
            catalogue,
            log,
            compiled=self._was_compiled,
            changed=self._may_have_changed,
            unserved=self._is_unserved,
            read_back=self._must_read,
        )
        self._events = EventWriter(
            cluster,
            settings.identity,
            log,
            counted=lambda outcome: hand(lambda: metrics.event(outcome)),
        )
        self._leading = Leading(
            cluster,
            self._own,
            settings.certificates.service,
            settings.identity,
            on_start=self._begin_to_lead,
            on_stop=self._end_leading,
            hand=hand,
            log=log,
        )
        leads = self._leading.leads
        self._writer = PolicyWriter(
            cluster,
            leads=leads,
            recovered=self._knowledge.recovered,
            counted=metrics.compiled,
            hand=hand,
            log=log,
        )
        self._statuses = StatusKeeper(self._knowledge, self._writer, leads, SystemClock.now)
        self._authority = (
            AuthorityKeeper(
                cluster,
                settings.certificates,
                self._own,
                leads=leads,
                verified=lambda verified: metrics.bundle_verified(verified=verified),
                ends=metrics.authority_ends,
                hand=hand,
                log=log,
            )
            if settings.certificates.folder is None
            else None
        )
        self._nodes = Nodes(cluster, self._knowledge.facts_known, hand=hand, log=log)
        self._detector = Detector(
            cluster,
            Detection(self._judge, self._policies_of),
            lambda: ask(hand, self._knowledge.served),
            leads=leads,
            tell=self._events.tell,
            report=self._looked_at,
            hand=hand,
            log=log,
            seconds=settings.detector_seconds,
        )
        watcher = partial(_watcher, cluster, hand, ways, resync_seconds=settings.resync_seconds)
        self._watchers: list[Watcher[Any]] = [
            watcher(NAMESPACES, read_namespace, self._knowledge.namespaces_changed),
            *(
                watcher(
                    resource,
                    partial(read_document, kind=kind),
                    partial(self._knowledge.documents_changed, kind),
                )
                for kind, resource in DOCUMENTS.items()
            ),
        ]
        if self._authority is not None:
            self._watchers.append(
                watcher(
                    SECRETS,
                    read_secret,
                    self._saw_secret,
                    namespace=self._own,
                    field_selector=f"metadata.name={settings.certificates.secret}",
                )
            )

    def side(self) -> ClusterSide:
        account = f"system:serviceaccount:{self._own}:{self._settings.service_account}"
        handlers = webhooks(
            self._knowledge,
            own_account=account,
            choose=Chance(),
            tell=self._events.tell,
            metrics=self._ways.metrics,
            log=self._ways.log,
        )
        conditions = [NAMESPACES.plural, *(resource.plural for resource in DOCUMENTS.values())]
        background: list[Work] = [self._knowledge.run, self._statuses.run, self._sweep, self._count]
        return ClusterSide(handlers, self._start, self._close, conditions, background)

    def _start(self) -> None:
        self._leading.start()
        for start, _ in self._threads():
            start()

    async def _close(self) -> None:
        await self._leading.close()
        await asyncio.gather(*(asyncio.to_thread(stop) for _, stop in self._threads()))
        self._cluster.close()

    def _threads(self) -> Iterator[tuple[Callable[[], None], Callable[[], None]]]:
        """How each is started and stopped."""
        for watcher in self._watchers:
            yield watcher.start, watcher.stop
        if self._authority is not None:
            yield self._authority.start, self._authority.stop
        for thread in (self._writer, self._nodes, self._events, self._detector):
            yield thread.start, thread.stop

    # --- leading --------------------------------------------------------------------------------

    def _begin_to_lead(self) -> None:
        self._ways.metrics.leads(leads=True)
        # What the leader before us wrote stands until ours is there, and is what we fall back to.
        self._knowledge.read_again()
        self._statuses.begin()
        for namespace in self._knowledge.others():
            self._writer.sweep(namespace, self._own)
        if self._authority is not None:
            self._authority.wake()

    def _end_leading(self) -> None:
        metrics = self._ways.metrics
        metrics.leads(leads=False)
        metrics.uninjected({})
        metrics.bundle_verified(verified=False)
        self._writer.forget()

    def _was_compiled(self, compiled: Compiled) -> None:
        self._statuses.compiled(compiled)
        if self._leading.leads():
            wanted = (
                trust_config_map(compiled.namespace, trust_config_map_data()),
                policy_config_map(compiled.namespace, compiled.text),
            )
            self._writer.write(wanted, compiled.namespace, partial(self._statuses.in_force, compiled))

    def _must_read(self, namespace: str) -> None:
        self._writer.read_back(namespace)

    def _is_unserved(self, name: str, namespace: Namespace | None) -> None:
        self._writer.drop(name)
        if namespace is not None and self._leading.leads():
            self._writer.sweep(namespace, self._own)

    def _may_have_changed(self, keys: Iterable[DocumentKey]) -> None:
        self._statuses.again(keys)

    async def _sweep(self) -> None:
        """What nobody needs any more, and what somebody else changed: each is looked at now and then."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            if self._leading.leads():
                for namespace in self._knowledge.others():
                    self._writer.sweep(namespace, self._own)
                self._knowledge.compile_again(namespace.name for namespace in self._knowledge.served())

    # --- what is seen ---------------------------------------------------------------------------

    def _saw_secret(self, changes: Sequence[Change[SecretData]]) -> None:
        for change in changes:
            match change:
                case Replace(values):
                    for secret in values.values():
                        self._ways.saw_authority(secret.data)
                case Upsert(_, secret):
                    self._ways.saw_authority(secret.data)
                case Remove():
                    pass  # the leader writes another one

    # The detector's thread asks, and the loop answers: what is known changes there alone.

    def _judge(self, raw: Mapping[str, object], namespace: Namespace) -> Outcome:
        return ask(self._hand, lambda: judge(raw, namespace, self._knowledge.world()))

    def _policies_of(self, raw: Mapping[str, object], namespace: Namespace) -> Iterable[str]:
        try:
            pod = read_pod(raw, namespace.name)
        except PodFault:
            return ()
        book = self._knowledge.book
        return ask(self._hand, lambda: book.needs(namespace, pod.service_account, pod.labels)).policies

    def _looked_at(self, found: Round) -> None:
        if self._leading.leads():
            self._ways.metrics.uninjected(found.missing)
            self._statuses.matched(found.matched)

    async def _count(self) -> None:
        """Gauges that nobody else keeps."""
        while True:
            await asyncio.sleep(COUNT_SECONDS)
            metrics = self._ways.metrics
            metrics.objects(NAMESPACES.plural, len(self._knowledge.namespaces))
            served, book = self._knowledge.served(), self._knowledge.book
            metrics.compiled_namespaces(sum(book.compiled(one.name) is not None for one in served))
            for kind, resource in DOCUMENTS.items():
                held = [one for one in self._knowledge.book if one.key.kind == kind]
                metrics.objects(resource.plural, len(held))
                metrics.documents_rejected(kind, sum(one.value is None for one in held))


def _watcher[V](  # noqa: PLR0917 - the first three are bound once
    cluster: Cluster,
    hand: Hand,
    ways: Ways,
    resource: Resource,
    read: Callable[[object], V],
    deliver: Callable[[Sequence[Change[V]]], None],
    *,
    resync_seconds: float,
    namespace: str = "",
    field_selector: str = "",
) -> Watcher[V]:
    kind = resource.plural

    def delivered(changes: Sequence[Change[V]]) -> None:
        deliver(changes)
        if any(isinstance(change, Replace) for change in changes):
            ways.readiness.ok(kind)

    def count(news: WatchNews) -> None:
        if news in {WatchNews.FAILED, WatchNews.UNREADABLE}:
            ways.metrics.watch_restarted(kind, news.value)
        else:
            ways.metrics.watch_heard(kind, SystemClock.now())

    def counted(news: WatchNews) -> None:
        # Not from the watch's own thread: two that count at a time lose one.
        hand(lambda: count(news))

    return Watcher(
        cluster,
        resource,
        Reflector(kind, read, resync_seconds=resync_seconds),
        delivered,
        hand=hand,
        log=ways.log,
        namespace=namespace,
        field_selector=field_selector,
        counted=counted,
    )
