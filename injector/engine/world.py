"""Everything that a pod is judged by, as the watchers said it last: nobody is asked on the way."""

from collections.abc import Mapping

from injector.core.cluster import ClusterFacts, Namespace
from injector.core.settings import InjectorSettings
from injector.engine.policy_book import PolicyBook
from proxy.core.structs import Struct, field


class World(Struct, frozen=True):
    """`namespaces` and `book` go on changing behind it; one review sees one moment, for it never waits."""

    namespaces: Mapping[str, Namespace]
    book: PolicyBook
    settings: InjectorSettings
    facts: ClusterFacts = field(default_factory=ClusterFacts)
    # Whether an API server asks, by the webhook's `namespaceSelector`: then a namespace without our label
    # would not have been asked about, and what we hold of it is old.
    asked_by_selector: bool = False
