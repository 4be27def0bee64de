"""What this replica knows of the cluster: changed on the event loop alone, and what reviews are judged by.

Every replica compiles, so that each knows what its pods need; the leader writes what came of it. A namespace
is compiled when all documents were listed once, since what is missing would be taken out of force, and after
its ConfigMap was read, since that may be the only place which still has a version to fall back to.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from injector.core.api import NAMESPACES
from injector.core.cluster import ClusterFacts, Namespace
from injector.core.documents import RawDocument
from injector.core.settings import InjectorSettings
from injector.engine.compile import compile_namespace
from injector.engine.holdings import KINDS, Compiled, DocumentKey
from injector.engine.orphans import is_served
from injector.engine.policy_book import Change, PolicyBook
from injector.engine.reflector import Change as WatchChange
from injector.engine.reflector import Remove, Replace, Upsert
from injector.engine.world import World
from proxy.core.services import Catalogue
from proxy.telemetry.log import Log

# `kubectl apply -f folder/` changes a dozen documents within it; each namespace is then compiled once.
SETTLE_SECONDS: Final = 0.2


class Knowledge:
    """`compiled` is told of each namespace that was compiled, also to the same as before; `changed` of
    documents whose status may be another one by now; `unserved` of namespaces whose pods get no sidecars
    (None: it is gone). `read_back` is to look for a namespace's ConfigMap, and to call `recovered`."""

    def __init__(
        self,
        settings: InjectorSettings,
        catalogue: Catalogue,
        log: Log,
        *,
        compiled: Callable[[Compiled], None],
        changed: Callable[[Iterable[DocumentKey]], None],
        unserved: Callable[[str, Namespace | None], None],
        read_back: Callable[[str], None],
    ) -> None:
        self.settings = settings
        self.book = PolicyBook(catalogue, settings.pods.own_namespace)
        self.namespaces: dict[str, Namespace] = {}
        self.facts = ClusterFacts()
        self._log = log
        self._compiled = compiled
        self._changed = changed
        self._unserved = unserved
        self._read_back = read_back
        # What was listed once.
        self._listed: set[str] = set()
        # Namespaces whose ConfigMap was read, and those where that is on its way.
        self._recovered: set[str] = set()
        self._awaited: set[str] = set()
        # What is to be compiled, and the ConfigMap's text where it was just read: what was in force.
        self._due: dict[str, str | None] = {}
        # How often everything was to be read again: what was begun before that counts for nothing.
        self._round = 0
        self._woken = asyncio.Event()

    def world(self) -> World:
        return World(self.namespaces, self.book, self.settings, self.facts, asked_by_selector=True)

    def served(self) -> list[Namespace]:
        """Where pods may get sidecars. A new list: other threads may take their time with it."""
        own = self.settings.pods.own_namespace
        return [namespace for namespace in self.namespaces.values() if is_served(namespace, own)]

    def serves(self, name: str) -> bool:
        namespace = self.namespaces.get(name)
        return namespace is not None and is_served(namespace, self.settings.pods.own_namespace)

    def others(self) -> list[Namespace]:
        own = self.settings.pods.own_namespace
        return [namespace for namespace in self.namespaces.values() if not is_served(namespace, own)]

    # --- what the watchers say --------------------------------------------------------------------

    def namespaces_changed(self, changes: Sequence[WatchChange[Namespace]]) -> None:
        before = dict(self.namespaces)
        is_whole = False
        for change in changes:
            match change:
                case Replace(values):
                    self.namespaces = {one.name: one for one in values.values()}
                    is_whole = True
                case Upsert(_, value):
                    self.namespaces = {**self.namespaces, value.name: value}
                case Remove(key):
                    self.namespaces = {n: one for n, one in self.namespaces.items() if n != key.name}
        own = self.settings.pods.own_namespace
        for name in before.keys() | self.namespaces.keys():
            namespace = self.namespaces.get(name)
            if namespace == before.get(name):
                continue
            if namespace is not None and is_served(namespace, own):
                self.compile_again([name])
            else:
                self._leave(name, namespace)
        if is_whole:
            self._heard(NAMESPACES.plural)

    @property
    def is_complete(self) -> bool:
        """Whether everything was listed once."""
        return self._listed.issuperset((NAMESPACES.plural, *KINDS))

    def _heard(self, kind: str) -> None:
        if kind not in self._listed:
            self._listed.add(kind)
            self._changed([held.key for held in self.book])
            self._woken.set()

    def _leave(self, name: str, namespace: Namespace | None) -> None:
        compiled = self.book.compiled(name)
        reported = compiled.reports if compiled is not None else ()
        self._due.pop(name, None)
        self._recovered.discard(name)
        self._awaited.discard(name)
        self.book.forget_namespace(name)
        self._changed({*reported, *(held.key for held in self.book.in_namespace(name))})
        self._unserved(name, namespace)

    def documents_changed(self, kind: str, changes: Sequence[WatchChange[RawDocument]]) -> None:
        found: list[Change] = []
        is_whole = False
        for change in changes:
            match change:
                case Replace(values):
                    found += self.book.replace_all(kind, values.values())
                    is_whole = True
                case Upsert(_, raw):
                    found.append(self.book.upsert(raw))
                case Remove(key):
                    found.append(self.book.remove(DocumentKey(kind, key.namespace, key.name)))
        served = {namespace.name for namespace in self.served()}
        self.compile_again(self.book.affected(found, self.namespaces.values()) & served)
        self._changed([change.after.key for change in found if change.after is not None])
        if is_whole:
            self._heard(kind)

    def facts_known(self, facts: ClusterFacts) -> None:
        if facts != self.facts:
            self._log.info("kubelets were asked", native_sidecars=facts.native_sidecars)
        self.facts = facts

    # --- compiling --------------------------------------------------------------------------------

    def compile_again(self, names: Iterable[str]) -> None:
        for name in names:
            if name in self._recovered:
                self._due.setdefault(name, None)
                self._woken.set()
            elif name not in self._awaited:
                self._awaited.add(name)
                self._read_back(name)

    def read_again(self) -> None:
        """Everything is compiled from what the ConfigMaps say now: somebody else wrote them until here."""
        self._round += 1
        self._due.clear()
        self._recovered.clear()
        self._awaited.clear()
        self.compile_again([namespace.name for namespace in self.served()])

    def recovered(self, name: str, text: str | None) -> None:
        """What a namespace's ConfigMap says is in force; None where there is none that we could trust."""
        if name in self._awaited:
            self._awaited.discard(name)
            self._recovered.add(name)
            self._due[name] = text
            self._woken.set()

    async def run(self) -> None:
        """Compile what is due, for ever."""
        while True:
            await self._woken.wait()
            await asyncio.sleep(SETTLE_SECONDS)
            while self._due and self.is_complete:
                name = next(iter(self._due))
                await self._compile(name, self._due.pop(name))
            # At the end: what broke above begins again with what is left.
            self._woken.clear()

    async def _compile(self, name: str, text: str | None) -> None:
        namespace, before, number = self.namespaces[name], self.book.compiled(name), self._round
        previous = text if text is not None else before
        # Of its own: the book goes on changing meanwhile. A thousand policies take half a second.
        excerpt = self.book.excerpt(name)
        compiled = await asyncio.to_thread(compile_namespace, namespace, excerpt, previous)
        if self.namespaces.get(name) != namespace or number != self._round:
            if self._due.get(name, "") is None:
                self._due[name] = text  # it is due again, and this was not made use of
            return
        self.book.put_in_force(compiled)
        self._compiled(compiled)
        if before is not None:
            # What this namespace needs no more has something else to say, too.
            self._changed(before.reports.keys() - compiled.reports.keys())
