"""What would become of a pod, without a cluster: the webhook's own procedure, in a world made of files."""

import json
from collections.abc import Iterable
from typing import Any, Final

from injector.core.cluster import ClusterFacts, Namespace
from injector.core.documents import RawDocument
from injector.core.settings import InjectorSettings
from injector.craft.jsonpatch import Op, Operation, apply
from injector.craft.placeholders import Choose
from injector.engine.compile import compile_namespace
from injector.engine.mutate import mutate
from injector.engine.policy_book import PolicyBook
from injector.engine.world import World
from injector.reading.reviews import Answer, GroupVersionName, Review
from proxy.core.services import Catalogue
from proxy.core.structs import Struct

_POD: Final = GroupVersionName("", "v1", "Pod")
_PODS: Final = GroupVersionName("", "v1", "pods")


class Rehearsed(Struct, frozen=True):
    answer: Answer
    # As it would be stored; as it was where it is refused.
    pod: dict[str, Any]

    @property
    def patch(self) -> list[dict[str, Any]]:
        operations: list[dict[str, Any]] = json.loads(self.answer.patch or b"[]")
        return operations


def rehearsal_world(
    documents: Iterable[RawDocument],
    catalogue: Catalogue,
    namespaces: Iterable[Namespace],
    settings: InjectorSettings,
    facts: ClusterFacts,
) -> World:
    """Policies as they would be in force: compiled for each namespace, within the limits of the platform."""
    book = PolicyBook(catalogue, settings.pods.own_namespace)
    for document in documents:
        book.upsert(document)
    known = {namespace.name: namespace for namespace in namespaces}
    for namespace in known.values():
        book.put_in_force(compile_namespace(namespace, book, None))
    return World(known, book, settings, facts)


def rehearse(pod: dict[str, Any], namespace: str, world: World, choose: Choose) -> Rehearsed:
    metadata = pod.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    review = Review(
        uid="",
        operation="CREATE",
        kind=_POD,
        resource=_PODS,
        namespace=namespace,
        name=name if isinstance(name, str) else "",
        object=pod,
    )
    answer = mutate(review, world, choose)
    operations = (_operation(one) for one in json.loads(answer.patch or b"[]"))
    return Rehearsed(answer, apply(pod, operations))


def _operation(written: dict[str, Any]) -> Operation:
    tokens = (token.replace("~1", "/").replace("~0", "~") for token in written["path"].split("/")[1:])
    return Operation(Op(written["op"]), tuple(tokens), written.get("value"))
