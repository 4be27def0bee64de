"""All policies and sources of the cluster, each parsed once, and what of them is in force where.

One loop changes it. What it gives away (`Held`, `Compiled`, `PodNeeds`) are values, safe in any thread.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from injector.core.cluster import Namespace, PodNeeds
from injector.core.documents import RawDocument
from injector.engine.holdings import Compiled, Document, DocumentKey, Held, Inputs, hold
from injector.engine.pod_needs import NamespaceNeeds
from proxy.core.contract import NAMESPACE_NAME_LABEL
from proxy.core.credentials import CredentialRef, CredentialSource
from proxy.core.policy import AccessPolicy
from proxy.core.selection import selects_namespace
from proxy.core.services import Catalogue
from proxy.core.structs import Struct


class Change(Struct, frozen=True):
    """One document before and after; the same twice where nothing changed that a sidecar could notice."""

    before: Held | None
    after: Held | None

    @property
    def changes_nothing(self) -> bool:
        if self.before is None or self.after is None:
            return self.before is self.after
        return self.before.says_the_same(self.after)


class PolicyBook:
    """What the watchers said last."""

    def __init__(self, catalogue: Catalogue, own_namespace: str) -> None:
        self.catalogue: Final = catalogue
        self.own_namespace: Final = own_namespace
        self._held: dict[str, dict[DocumentKey, Held]] = {}
        self._compiled: dict[str, Compiled] = {}
        self._needs: dict[str, NamespaceNeeds] = {}

    # --- what the cluster has ----------------------------------------------------------------------------

    def read(self, raw: RawDocument) -> Held:
        """Parse it, unless it says what it said before. Nothing changes by that, in whichever thread."""
        known = self.get(DocumentKey(raw.kind, raw.namespace, raw.name))
        return hold(raw, self.own_namespace, known)

    def get(self, key: DocumentKey) -> Held | None:
        return self._held.get(key.namespace, {}).get(key)

    def in_namespace(self, namespace: str) -> tuple[Held, ...]:
        """In the order of their keys."""
        return tuple(held for _, held in sorted(self._held.get(namespace, {}).items()))

    def __iter__(self) -> Iterator[Held]:
        return (held for documents in self._held.values() for held in documents.values())

    def excerpt(self, namespace: str) -> "PolicyBook":
        """What one namespace is compiled from, for another thread: this book goes on changing."""
        book = PolicyBook(self.catalogue, self.own_namespace)
        for name in {namespace, self.own_namespace} & self._held.keys():
            book._held[name] = dict(self._held[name])
        return book

    def upsert(self, document: RawDocument | Held) -> Change:
        held = self.read(document) if isinstance(document, RawDocument) else document
        documents = self._held.setdefault(held.key.namespace, {})
        change = Change(documents.get(held.key), held)
        documents[held.key] = held
        return self._noted(change)

    def remove(self, key: DocumentKey) -> Change:
        documents = self._held.get(key.namespace, {})
        change = Change(documents.pop(key, None), None)
        if not documents:
            self._held.pop(key.namespace, None)
        return self._noted(change)

    def replace_all(self, kind: str, documents: Iterable[RawDocument | Held]) -> tuple[Change, ...]:
        """After a list: what is not in it is gone."""
        changes = [self.upsert(document) for document in documents]
        seen = {change.after.key for change in changes if change.after is not None}
        gone = [held.key for held in self if held.key.kind == kind and held.key not in seen]
        return (*changes, *(self.remove(key) for key in gone))

    def _noted(self, change: Change) -> Change:
        held = change.after or change.before
        if held is not None and not change.changes_nothing:
            elsewhere = held.key.namespace == self.own_namespace
            for name in list(self._needs) if elsewhere else [held.key.namespace]:
                self._needs.pop(name, None)
        return change

    def affected(self, changes: Iterable[Change], namespaces: Iterable[Namespace]) -> frozenset[str]:
        """The namespaces whose compiled set these changes may change. For a namespace that is new, or has
        other labels, it is that namespace alone."""
        real = [change for change in changes if not change.changes_nothing]
        held = [one for change in real for one in (change.before, change.after) if one is not None]
        names = {one.key.namespace for one in held}
        wide = {one.key: one for one in held if one.key.namespace == self.own_namespace}
        if wide:
            names |= {n.name for n in namespaces if self._reaches(held, n)}
        return frozenset(names)

    def _reaches(self, held: Iterable[Held], namespace: Namespace) -> bool:
        """Whether one of these documents of our own namespace is, was or would be in force there."""
        compiled = self._compiled.get(namespace.name)
        for one in held:
            if compiled is not None and (one.key in compiled.versions or one.key in compiled.reports):
                return True
            value = one.value
            if one.means_limits:
                return True
            if isinstance(value, AccessPolicy) and is_for(value, namespace, self.own_namespace):
                return True
            if isinstance(value, CredentialSource) and any(
                is_for(policy, namespace, self.own_namespace) and names_source(policy, value.ref)
                for policy in self._policies(self.own_namespace)
            ):
                return True
        return False

    def _policies(self, namespace: str) -> Iterator[AccessPolicy]:
        values = (held.value for held in self._held.get(namespace, {}).values())
        return (value for value in values if isinstance(value, AccessPolicy))

    def unread_limits(self) -> list[Held]:
        """Documents of our own namespace that are meant to limit others, and do not read."""
        return [held for held in self.in_namespace(self.own_namespace) if held.means_limits]

    def users(self, source: CredentialRef) -> tuple[str, ...]:
        """The names of the policies that name the source."""
        named = (p.name for p in self._policies(source.namespace) if names_source(p, source))
        return tuple(sorted(named))

    # --- what is in force --------------------------------------------------------------------------------

    def compiled(self, namespace: str) -> Compiled | None:
        return self._compiled.get(namespace)

    def put_in_force(self, compiled: Compiled) -> None:
        self._compiled[compiled.namespace] = compiled
        self._needs.pop(compiled.namespace, None)

    def forget_namespace(self, namespace: str) -> None:
        """It is gone, or gets no sidecars any more. Its documents stay until they are removed."""
        self._compiled.pop(namespace, None)
        self._needs.pop(namespace, None)

    def needs(self, namespace: Namespace, service_account: str, labels: Mapping[str, str]) -> PodNeeds:
        """What the policies that select the pod need in it: those in force, and those that will be soon."""
        found = self._needs.get(namespace.name)
        if found is None or found.namespace != namespace:
            found = self._needs[namespace.name] = self._index(namespace)
        return found.of(service_account, labels)

    def _index(self, namespace: Namespace) -> NamespaceNeeds:
        compiled = self._compiled.get(namespace.name)
        names = {namespace.name, self.own_namespace}
        held = [one for name in names for one in self._held.get(name, {}).values()]
        seen: Inputs = frozenset()
        documents: list[Document] = []
        if compiled is not None:
            seen = compiled.inputs or seen
            documents += [version.value for version in compiled.versions.values()]
        # A pod that is applied together with its policy comes before that is compiled, and no volume can be
        # added to it afterwards.
        documents += [one.value for one in held if one.value is not None and _input(one) not in seen]
        policies = [
            d for d in documents if isinstance(d, AccessPolicy) and is_for(d, namespace, self.own_namespace)
        ]
        sources = {d.ref: d for d in documents if isinstance(d, CredentialSource)}
        return NamespaceNeeds(namespace, policies, sources, self.catalogue)


def _input(held: Held) -> tuple[DocumentKey, str, int]:
    """As `Compiled.inputs` has it."""
    return held.key, held.uid, held.generation


def is_for(policy: AccessPolicy, namespace: Namespace, own_namespace: str) -> bool:
    """Whether it counts in the namespace. Only policies of podkey's own may be about others."""
    if policy.is_cluster_wide and policy.namespace != own_namespace:
        return False
    labels = {NAMESPACE_NAME_LABEL: namespace.name, **namespace.labels}
    return selects_namespace(policy, namespace.name, labels)


def names_source(policy: AccessPolicy, source: CredentialRef) -> bool:
    return policy.namespace == source.namespace and any(g.credential == source.name for g in policy.grants)
