"""What this replica knows of the cluster: changed on the event loop alone, and what reviews are judged by.

Every replica compiles, so that each knows what its pods need; the leader writes what came of it.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from injector.core.cluster import ClusterFacts, Namespace
from injector.core.documents import RawDocument
from injector.core.settings import InjectorSettings
from injector.engine.compile import compile_namespace
from injector.engine.holdings import Compiled, DocumentKey
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
    documents whose status may be another one by now."""

    def __init__(
        self,
        settings: InjectorSettings,
        catalogue: Catalogue,
        log: Log,
        *,
        compiled: Callable[[Compiled], None],
        changed: Callable[[Iterable[DocumentKey]], None],
    ) -> None:
        self.settings = settings
        self.book = PolicyBook(catalogue, settings.pods.own_namespace)
        self.namespaces: dict[str, Namespace] = {}
        self.facts = ClusterFacts()
        self._log = log
        self._compiled = compiled
        self._changed = changed
        # What is to be compiled, and the ConfigMap's text where it was read: what was in force before us.
        self._due: dict[str, str | None] = {}
        self._woken = asyncio.Event()

    def world(self) -> World:
        return World(self.namespaces, self.book, self.settings, self.facts)

    def served(self) -> list[Namespace]:
        """Where pods may get sidecars. A new list: other threads may take their time with it."""
        own = self.settings.pods.own_namespace
        return [namespace for namespace in self.namespaces.values() if is_served(namespace, own)]

    def others(self) -> list[Namespace]:
        own = self.settings.pods.own_namespace
        return [namespace for namespace in self.namespaces.values() if not is_served(namespace, own)]

    # --- what the watchers say --------------------------------------------------------------------

    def namespaces_changed(self, changes: Sequence[WatchChange[Namespace]]) -> None:
        before = dict(self.namespaces)
        for change in changes:
            match change:
                case Replace(values):
                    self.namespaces = {one.name: one for one in values.values()}
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
                self._due.pop(name, None)
                self.book.forget_namespace(name)
                self._changed(held.key for held in self.book.in_namespace(name))

    def documents_changed(self, kind: str, changes: Sequence[WatchChange[RawDocument]]) -> None:
        found: list[Change] = []
        for change in changes:
            match change:
                case Replace(values):
                    found += self.book.replace_all(kind, values.values())
                case Upsert(_, raw):
                    found.append(self.book.upsert(raw))
                case Remove(key):
                    found.append(self.book.remove(DocumentKey(kind, key.namespace, key.name)))
        served = {namespace.name for namespace in self.served()}
        self.compile_again(self.book.affected(found, self.namespaces.values()) & served)
        self._changed(change.after.key for change in found if change.after is not None)

    def facts_known(self, facts: ClusterFacts) -> None:
        if facts != self.facts:
            self._log.info("kubelets were asked", native_sidecars=facts.native_sidecars)
        self.facts = facts

    # --- compiling --------------------------------------------------------------------------------

    def compile_again(self, names: Iterable[str]) -> None:
        for name in names:
            self._due.setdefault(name, None)
        if self._due:
            self._woken.set()

    def recovered(self, texts: Mapping[str, str | None]) -> None:
        """What ConfigMaps say was in force in these namespaces: they are compiled with it to fall back to."""
        served = {namespace.name for namespace in self.served()}
        self._due |= {name: text for name, text in texts.items() if name in served}
        self._woken.set()

    @property
    def is_settled(self) -> bool:
        return not self._due

    async def run(self) -> None:
        """Compile what is due, for ever."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            await asyncio.sleep(SETTLE_SECONDS)
            while self._due:
                name, text = next(iter(self._due.items()))
                del self._due[name]
                namespace = self.namespaces.get(name)
                if namespace is not None:
                    await self._compile(namespace, text)

    async def _compile(self, namespace: Namespace, text: str | None) -> None:
        previous = text if text is not None else self.book.compiled(namespace.name)
        # Of its own: the book goes on changing meanwhile. A thousand policies take half a second.
        excerpt = self.book.excerpt(namespace.name)
        compiled = await asyncio.to_thread(compile_namespace, namespace, excerpt, previous)
        if self.namespaces.get(namespace.name) != namespace:
            return  # it is due again, or gone
        self.book.put_in_force(compiled)
        self._compiled(compiled)
