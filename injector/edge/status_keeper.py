"""Whose status is to be written: computed on the loop in small pieces, written by the leader."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from itertools import islice
from typing import Final

from injector.core.api import ACCESS_POLICIES, CREDENTIAL_SOURCES
from injector.edge.knowledge import Knowledge
from injector.edge.policy_writer import PolicyWriter
from injector.engine.conditions import patch
from injector.engine.holdings import Compiled, DocumentKey, Report
from injector.engine.statuses import desired_status
from proxy.core.contract import ACCESS_POLICY
from proxy.core.policy import AccessPolicy

# Between two pieces reviews have their turn: fifty statuses take a few milliseconds.
PIECE: Final = 50
_RESOURCES: Final = {ACCESS_POLICY: ACCESS_POLICIES}


class StatusKeeper:
    """On the event loop. Every replica keeps count; only the leader writes."""

    def __init__(
        self,
        knowledge: Knowledge,
        writer: PolicyWriter,
        leads: Callable[[], bool],
        now: Callable[[], datetime],
    ) -> None:
        self._knowledge = knowledge
        self._writer = writer
        self._leads = leads
        self._now = now
        self._due: dict[DocumentKey, None] = {}
        self._woken = asyncio.Event()
        # Namespaces whose ConfigMap is as it was compiled.
        self._written: set[str] = set()
        # Documents that may be for a namespace that was not compiled yet.
        self._waiting: dict[DocumentKey, None] = {}
        # By `namespace/name`; None before the first round.
        self._matched: Mapping[str, int] | None = None

    def again(self, keys: Iterable[DocumentKey]) -> None:
        self._due |= dict.fromkeys(keys)
        if self._due:
            self._woken.set()

    def begin(self) -> None:
        """To lead: nothing is known of what others wrote."""
        self._written.clear()
        self._matched = None
        self.again(held.key for held in self._knowledge.book)

    def compiled(self, compiled: Compiled) -> None:
        self._written.discard(compiled.namespace)
        # Those that need nothing of it may have waited to know that.
        self.again({**compiled.reports, **self._waiting})

    def in_force(self, compiled: Compiled) -> None:
        """It was written; unless there is a newer one by now, it is what sidecars get."""
        if self._knowledge.book.compiled(compiled.namespace) is compiled:
            self._written.add(compiled.namespace)
            self.again(compiled.reports)

    def matched(self, pods: Mapping[str, int]) -> None:
        """How many pods each policy selects, after a round through all of them."""
        before, self._matched = self._matched or {}, pods
        changed = {name for name in before.keys() | pods.keys() if before.get(name) != pods.get(name)}
        every = self._knowledge.book
        self.again(
            held.key
            for held in every
            if isinstance(held.value, AccessPolicy)
            and (f"{held.key.namespace}/{held.key.name}" in changed or not before)
        )

    async def run(self) -> None:
        while True:
            await self._woken.wait()
            while self._due:
                for key in list(islice(self._due, PIECE)):
                    del self._due[key]
                    self._tell(key)
                await asyncio.sleep(0)
            # At the end: what broke above begins again with what is left.
            self._woken.clear()

    def _tell(self, key: DocumentKey) -> None:
        held = self._knowledge.book.get(key)
        if held is None or not self._leads() or not self._knowledge.is_complete:
            return
        pods = None
        if key.kind == ACCESS_POLICY and self._matched is not None:
            pods = self._matched.get(f"{key.namespace}/{key.name}", 0)
        reports, pending = self._reports(key)
        is_told = held.status is not None and held.status.observed_generation == held.generation
        if pending and not reports and is_told:
            return  # what it says is true until then
        wanted = patch(
            held.status, desired_status(held, reports, pending=pending, matched_pods=pods), self._now()
        )
        resource = _RESOURCES.get(key.kind, CREDENTIAL_SOURCES)
        self._writer.tell(resource, key.namespace, key.name, wanted)

    def _reports(self, key: DocumentKey) -> tuple[dict[str, Report], bool]:
        """Of each namespace that it was compiled for and written to, and whether one is still to come."""
        book, own = self._knowledge.book, self._knowledge.settings.pods.own_namespace
        is_wide = key.namespace == own
        if is_wide:
            names = sorted(namespace.name for namespace in self._knowledge.served())
        else:
            names = [key.namespace] if self._knowledge.serves(key.namespace) else []
        reports, pending = {}, False
        for name in names:
            compiled = book.compiled(name)
            report = compiled.reports.get(key) if compiled is not None else None
            if compiled is None or (report is not None and name not in self._written):
                pending = True
            elif report is not None:
                reports[name] = report
        if pending and is_wide:
            self._waiting[key] = None
        else:
            self._waiting.pop(key, None)
        return reports, pending
