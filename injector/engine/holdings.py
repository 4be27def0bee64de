"""Documents as the engine keeps them: parsed once, small, and beside each other old and new."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from injector.engine.statuses import Status
from proxy.core.credentials import CredentialSource
from proxy.core.policy import AccessPolicy
from proxy.documents.placed import Placed
from proxy.documents.problems import Problem

Document = AccessPolicy | CredentialSource


class DocumentKey(NamedTuple):
    """What an object is found by. Its `str` is what problems have as the file."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Held:
    """One object as it is now."""

    key: DocumentKey
    uid: str
    generation: int
    # None: it does not read, and `problems` say why.
    placed: Placed[Document] | None
    problems: tuple[Problem, ...] = ()
    status: Status | None = None

    @property
    def value(self) -> Document | None:
        return self.placed.value if self.placed is not None else None

    def is_same_text(self, other: "Held") -> bool:
        """The generation counts changes of `spec`; an object that was created again begins anew."""
        return (self.uid, self.generation) == (other.uid, other.generation)


@dataclass(frozen=True, slots=True)
class Version:
    """What one object said in one generation."""

    value: Document
    uid: str
    generation: int


class Standing(Enum):
    """What of a document sidecars have."""

    CURRENT = "current"
    OLDER = "older"
    LEFT_OUT = "left_out"


@dataclass(frozen=True, slots=True)
class Report:
    """What became of one document when a namespace was compiled, and why."""

    standing: Standing
    # The generation in force; 0 where none is.
    generation: int = 0
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Compiled:
    """What is in force in one namespace. The text is not kept: it is in the cluster."""

    namespace: str
    versions: Mapping[DocumentKey, Version]
    reports: Mapping[DocumentKey, Report] = field(default_factory=dict)
    # What it was made of; with the same, the same comes out.
    inputs: frozenset[tuple[DocumentKey, str, int]] = frozenset()
