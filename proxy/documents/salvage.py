"""What can still be checked of a document that has problems, so that one run reports them all.

A policy with a fault in one grant still has its other grants; a source with a fault still has its name.
"""

from collections.abc import Iterator
from typing import Any

from proxy.core.contract import ACCESS_POLICY, CATALOGUE_ENTRY, CREDENTIAL_SOURCE
from proxy.core.credentials import CredentialRef
from proxy.core.policy import AccessPolicy, Grant, WorkloadSelector
from proxy.core.structs import Struct, field
from proxy.documents.grant_documents import GRANT
from proxy.documents.metadata import METADATA, Metadata
from proxy.documents.placed import Placed, child
from proxy.documents.reading import Place, Reading
from proxy.documents.yaml_nodes import Node, ScalarNode, SequenceNode, line_of


def salvaged_name(node: Node, kind: str) -> Metadata | None:
    """The name of a document of this kind, if that much can be read."""
    written = child(node, "kind")
    metadata = child(node, "metadata")
    if not isinstance(written, ScalarNode) or written.value != kind or metadata is None:
        return None
    read: Any = METADATA.read(metadata, Place(), Reading(""))
    return read if isinstance(read, Metadata) else None


def salvaged_policy(node: Node, file: str) -> Placed[AccessPolicy] | None:
    """The sound grants of a policy, to be checked against other documents and for nothing else."""
    name = salvaged_name(node, ACCESS_POLICY)
    if name is None:
        return None
    found = list(_sound_grants(node))
    policy = AccessPolicy(
        name.namespace, name.name, WorkloadSelector(), tuple(grant for _, grant, _ in found)
    )
    places = tuple((number, line) for number, _, line in found)
    return Placed(policy, file, line_of(node), places)


def _sound_grants(node: Node) -> Iterator[tuple[int, Grant, int]]:
    grants = child(child(node, "spec"), "grants")
    for number, grant in enumerate(grants.value if isinstance(grants, SequenceNode) else ()):
        read: Any = GRANT.read(grant, Place(), Reading(""))
        if isinstance(read, Grant):
            yield number, read, line_of(grant)


class Broken(Struct):
    """Sources and services with problems of their own: who names them is not told that they are missing."""

    sources: set[CredentialRef] = field(default_factory=set)
    services: set[str] = field(default_factory=set)
    # A document without a readable name, or a file that is no YAML, may hold any of them.
    lost: bool = False

    def add(self, node: Node) -> None:
        if (source := salvaged_name(node, CREDENTIAL_SOURCE)) is not None:
            self.sources.add(CredentialRef(source.namespace, source.name))
        elif (service := salvaged_name(node, CATALOGUE_ENTRY)) is not None:
            self.services.add(service.name)
        else:
            self.lost = True

    def update(self, other: "Broken") -> None:
        self.sources |= other.sources
        self.services |= other.services
        self.lost |= other.lost

    def has_source(self, ref: CredentialRef) -> bool:
        return self.lost or ref in self.sources

    def has_service(self, name: str) -> bool:
        return self.lost or name in self.services
