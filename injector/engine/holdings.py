"""Documents as the engine keeps them: parsed once, small, and beside each other old and new."""

import zlib
from collections.abc import Mapping
from enum import Enum
from typing import Final, NamedTuple, cast

from injector.core.documents import RawDocument
from injector.engine.conditions import Status, read_status
from proxy.core.contract import ACCESS_POLICY, API_VERSION, CREDENTIAL_SOURCE
from proxy.core.credentials import CredentialSource
from proxy.core.policy import AccessPolicy
from proxy.core.structs import Struct, field, replace
from proxy.documents.cluster_wide import check_cluster_wide
from proxy.documents.object_nodes import Json
from proxy.documents.placed import Placed
from proxy.documents.problems import Problem, ProblemCode
from proxy.documents.reader import ReadDocument, read_object

Document = AccessPolicy | CredentialSource

KINDS: Final = (ACCESS_POLICY, CREDENTIAL_SOURCE)
# As many as a status tells. Each may have a kilobyte, and anybody may write thousands of broken documents.
MAX_HELD_PROBLEMS: Final = 20


class DocumentKey(NamedTuple):
    """What an object is found by. Its text is what problems have as their file."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


def key_of(document: Document) -> DocumentKey:
    kind = ACCESS_POLICY if isinstance(document, AccessPolicy) else CREDENTIAL_SOURCE
    return DocumentKey(kind, document.namespace, document.name)


class Held(Struct, frozen=True):
    """One object as it is now."""

    key: DocumentKey
    uid: str
    generation: int
    # None: it does not read, and `problems` say why.
    value: Document | None
    problems: tuple[Problem, ...] = ()
    status: Status | None = None
    # It does not read, and is meant to limit what others may grant.
    means_limits: bool = False

    def says_the_same(self, other: "Held") -> bool:
        """The generation counts changes of `spec`; an object that was created again begins anew."""
        return (self.key, self.uid, self.generation) == (other.key, other.uid, other.generation)


def hold(raw: RawDocument, own_namespace: str, known: Held | None = None) -> Held:
    """Read an object by itself; what it said before is not read again."""
    status = read_status(raw.document.get("status"))
    key = DocumentKey(raw.kind, raw.namespace, raw.name)
    if known is not None and (known.key, known.uid, known.generation) == (key, raw.uid, raw.generation):
        return known if known.status == status else replace(known, status=status)
    read = read_raw(raw, own_namespace)
    value = read.placed.value if read.placed is not None and not read.problems else None
    means_limits = value is None and _means_limits(raw, own_namespace)
    return Held(key, raw.uid, raw.generation, value, _bounded(read.problems), status, means_limits)


def _means_limits(raw: RawDocument, own_namespace: str) -> bool:
    spec = raw.document.get("spec")
    ours = raw.kind == ACCESS_POLICY and raw.namespace == own_namespace
    # Somebody who writes `limit:` or `Limits:` means them, too.
    return ours and isinstance(spec, dict) and any(str(key).lower().startswith("limit") for key in spec)


def _bounded(problems: tuple[Problem, ...]) -> tuple[Problem, ...]:
    if len(problems) <= MAX_HELD_PROBLEMS:
        return problems
    *first, last = problems[:MAX_HELD_PROBLEMS]
    message = f"there are {len(problems) - len(first)} more problems"
    return (
        *first,
        Problem(last.file, 0, "", message, "mend the others first", ProblemCode.TOO_MANY_PROBLEMS),
    )


def read_raw(raw: RawDocument, own_namespace: str) -> ReadDocument:
    """The parser of policy folders, and what a cluster asks besides."""
    key = DocumentKey(raw.kind, raw.namespace, raw.name)
    # An item of a list may be without both.
    whole = {"apiVersion": API_VERSION, "kind": raw.kind, **raw.document}
    read = read_object(cast("Json", whole), str(key))
    if read.placed is None:
        return read
    value = read.placed.value
    if not isinstance(value, AccessPolicy | CredentialSource) or key_of(value) != key:
        message, fix = f"the object does not call itself {key}", "write kind, namespace and name as they are"
        problem = Problem(str(key), 0, "metadata", message, fix, ProblemCode.BAD_VALUE)
        return ReadDocument((*read.problems, problem))
    if isinstance(value, AccessPolicy) and value.namespace != own_namespace:
        strange = check_cluster_wide([read.placed], (), own_namespace)
        return ReadDocument((*read.problems, *strange), read.placed) if strange else read
    return read


def place(document: Document) -> Placed[Document]:
    """For checks beside other documents. Objects of a cluster have no lines."""
    grants = document.grants if isinstance(document, AccessPolicy) else ()
    return Placed(document, str(key_of(document)), 0, tuple((number, 0) for number in range(len(grants))))


# --- what is in force --------------------------------------------------------------------------------------


class Version(Struct, frozen=True):
    """What one object said in one generation."""

    value: Document
    uid: str
    generation: int


class Standing(Enum):
    """What of a document sidecars have."""

    CURRENT = "current"
    OLDER = "older"
    LEFT_OUT = "left_out"


class Report(Struct, frozen=True):
    """What became of one document when a namespace was compiled, and why."""

    standing: Standing
    # The generation in force; 0 where none is.
    generation: int = 0
    problems: tuple[Problem, ...] = ()


# Object, uid and generation of each document that was looked at.
Inputs = frozenset[tuple[DocumentKey, str, int]]


class Compiled(Struct, frozen=True):
    """What is in force in one namespace."""

    namespace: str
    versions: Mapping[DocumentKey, Version]
    # Of all documents that were looked at.
    reports: Mapping[DocumentKey, Report] = field(default_factory=dict)
    # With the same, the same comes out. None for what was read back from the cluster.
    inputs: Inputs | None = None
    # Texts of policies are a fifth of their size when they are packed, and hardly ever needed again.
    packed: bytes = b""

    @property
    def text(self) -> str:
        """What the sidecars mount."""
        return zlib.decompress(self.packed).decode() if self.packed else ""
