"""Files or objects in, documents or problems out: the whole of F1 for policies."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from proxy.core.contract import ACCESS_POLICY, API_VERSION, CATALOGUE_ENTRY, CREDENTIAL_SOURCE
from proxy.core.credentials import CredentialSource
from proxy.core.policy import AccessPolicy
from proxy.core.services import Catalogue, Service
from proxy.core.structs import Struct, field
from proxy.documents.credential_documents import SOURCE_DOCUMENT
from proxy.documents.limits import check_named_by_limits
from proxy.documents.links import check_links
from proxy.documents.narrowing import check_narrowing
from proxy.documents.object_nodes import Json, object_node
from proxy.documents.overlap import check_overlaps
from proxy.documents.placed import Placed, child
from proxy.documents.policy_documents import POLICY_DOCUMENT
from proxy.documents.problems import Problem, ProblemCode, did_you_mean
from proxy.documents.reading import INVALID, Place, Reading
from proxy.documents.salvage import Broken, salvaged_policy
from proxy.documents.service_documents import SERVICE_DOCUMENT
from proxy.documents.shapes import Record
from proxy.documents.stores import check_stores
from proxy.documents.territory import Territory
from proxy.documents.yaml_nodes import MappingNode, Node, ScalarNode, SequenceNode, read_nodes

DOCUMENTS: Final[Mapping[str, Record]] = {
    ACCESS_POLICY: POLICY_DOCUMENT,
    CREDENTIAL_SOURCE: SOURCE_DOCUMENT,
    CATALOGUE_ENTRY: SERVICE_DOCUMENT,
}


class Documents(Struct, frozen=True):
    """All that a set of files says, in an order that does not depend on theirs."""

    policies: tuple[AccessPolicy, ...] = ()
    sources: tuple[CredentialSource, ...] = ()
    services: tuple[Service, ...] = ()


# Type, namespace and name.
DocumentName = tuple[type[AccessPolicy] | type[CredentialSource], str, str]


def name_of(document: AccessPolicy | CredentialSource) -> DocumentName:
    return type(document), document.namespace, document.name


class ReadResult(Struct, frozen=True):
    """`documents` may be used only when there are no problems; they are then complete."""

    documents: Documents
    problems: tuple[Problem, ...]
    counted: int
    # What is certain of the files even where there are problems: None for what has problems of its own.
    found: Mapping[DocumentName, AccessPolicy | CredentialSource | None]
    # Whether something has not even a name that can be read, and so may be any of what is missing.
    lost: bool


class ReadDocument(Struct, frozen=True):
    """One document by itself. What it says of others is left to `check_documents`."""

    problems: tuple[Problem, ...] = ()
    placed: Placed[Any] | None = None
    # Where it has problems: what can still be checked of it, and what it may be that others name.
    salvaged: Placed[AccessPolicy] | None = None
    broken: Broken = field(default_factory=Broken)


def read_object(value: Json, name: str) -> ReadDocument:
    """An object as the API server sends it; its problems are those of the file `name`, without a line."""
    if isinstance(value, dict):
        # The reader ignores both, and managed fields are often more than all the rest.
        value = {key: part for key, part in value.items() if key != "status"}
        if isinstance(metadata := value.get("metadata"), dict):
            value["metadata"] = {key: part for key, part in metadata.items() if key != "managedFields"}
    node = object_node(value, name)
    if isinstance(node, Problem):
        return ReadDocument((node,), broken=Broken(lost=True))
    return _read_one(node, Reading(name))


def check_documents(
    documents: Iterable[ReadDocument], catalogue: Catalogue, *, built_in: bool = False, lost: bool = False
) -> list[Problem]:
    """What is wrong with documents beside each other and the catalogue. `lost`: some could not be read."""
    return _Gathered.of(documents, lost=lost).problems(catalogue, built_in=built_in)


def read_documents(files: Mapping[str, bytes], catalogue: Catalogue, *, built_in: bool = False) -> ReadResult:
    """Read files into documents, check them against each other and the catalogue, report all problems.

    `built_in` is for the catalogue's own entries, which may cover names such as `*.s3.amazonaws.com`.
    """
    problems: list[Problem] = []
    documents: list[ReadDocument] = []
    lost = False
    # In the order of their names, so that what is reported does not depend on how they were gathered.
    for name, data in sorted(files.items()):
        nodes, faults = read_nodes(data, name)
        problems.extend(faults)
        lost |= bool(faults)
        reading = Reading(name)
        documents += [_read_one(node, reading) for document in nodes for node in _items(document)]
        problems.extend(reading.problems)
    all_of_them = _Gathered.of(documents, lost=lost)
    problems.extend(all_of_them.problems(catalogue, built_in=built_in))
    in_order = tuple(sorted(problems, key=lambda p: (p.file, p.line)))
    broken = all_of_them.broken
    return ReadResult(all_of_them.values(), in_order, len(documents), all_of_them.found(), broken.lost)


class _Gathered(Struct, frozen=True):
    """Documents of all kinds in an order that does not depend on theirs."""

    policies: list[Placed[AccessPolicy]]
    salvaged: list[Placed[AccessPolicy]]
    sources: list[Placed[CredentialSource]]
    services: list[Placed[Service]]
    broken: Broken

    @classmethod
    def of(cls, documents: Iterable[ReadDocument], *, lost: bool) -> "_Gathered":
        placed: list[Placed[Any]] = []
        salvaged, broken = [], Broken(lost=lost)
        for document in documents:
            if document.placed is not None:
                placed.append(document.placed)
            if document.salvaged is not None:
                salvaged.append(document.salvaged)
            broken.update(document.broken)
        return cls(
            sorted((p for p in placed if isinstance(p.value, AccessPolicy)), key=_order),
            salvaged,
            sorted((p for p in placed if isinstance(p.value, CredentialSource)), key=_order),
            [p for p in placed if isinstance(p.value, Service)],
            broken,
        )

    def problems(self, catalogue: Catalogue, *, built_in: bool) -> list[Problem]:
        policies, sources = self.policies, self.sources
        whole = Catalogue.of((*catalogue.values(), *(p.value for p in self.services)))
        return [
            # Most sets of documents have none, and a territory is more work than all the rest.
            *(_check_services(self.services, catalogue) if self.services and not built_in else []),
            *_check_names([*policies, *sources]),
            *check_links([*policies, *self.salvaged], sources, whole, self.broken),
            *check_named_by_limits(policies, whole, self.broken),
            *check_narrowing(policies, sources, whole),
            *check_stores(policies),
            *check_overlaps(policies, whole),
        ]

    def values(self) -> Documents:
        return Documents(
            tuple(p.value for p in self.policies),
            tuple(p.value for p in self.sources),
            tuple(sorted((p.value for p in self.services), key=lambda service: service.name)),
        )

    def found(self) -> Mapping[DocumentName, AccessPolicy | CredentialSource | None]:
        found: dict[DocumentName, AccessPolicy | CredentialSource | None] = {
            (CredentialSource, ref.namespace, ref.name): None for ref in self.broken.sources
        }
        found |= {name_of(placed.value): None for placed in self.salvaged}
        found |= {name_of(placed.value): placed.value for placed in self.policies}
        return found | {name_of(placed.value): placed.value for placed in self.sources}


def _order(placed: Placed[Any]) -> tuple[str, str]:
    return placed.value.namespace, placed.value.name


def _items(node: Node) -> list[Node]:
    """The documents of a List, as `kubectl get -o yaml` prints several; else the document itself."""
    kind, items = child(node, "kind"), child(node, "items")
    is_list = isinstance(kind, ScalarNode) and kind.value == "List"
    return items.value if is_list and isinstance(items, SequenceNode) else [node]


def _read_one(node: Node, reading: Reading) -> ReadDocument:
    before = len(reading.problems)
    value = _read_value(node, reading)
    problems = tuple(reading.problems[before:])
    if value is not INVALID:
        return ReadDocument(problems, Placed.of(value, reading.file, node))
    salvaged = salvaged_policy(node, reading.file)
    broken = Broken()
    if salvaged is None:
        broken.add(node)
    return ReadDocument(problems, None, salvaged, broken)


def _read_value(node: Node, reading: Reading) -> Any:  # noqa: ANN401 - see Record.read
    at = Place()
    if not isinstance(node, MappingNode):
        message = "a document is a mapping with `apiVersion`, `kind`, `metadata` and `spec`"
        fix = "separate documents with a line of `---`"
        return reading.report(node, at, ProblemCode.WRONG_TYPE, message, fix)
    heads = {
        key.value: value
        for key, value in node.value
        if isinstance(key, ScalarNode) and isinstance(value, ScalarNode)
    }
    for key in ("apiVersion", "kind"):
        if key not in heads:
            fix = f"begin the document with `apiVersion: {API_VERSION}` and `kind:`"
            return reading.report(node, at, ProblemCode.MISSING_KEY, f"`{key}` is missing", fix)
    version, kind = heads["apiVersion"], heads["kind"]
    if version.value != API_VERSION:
        message = f"`{version.value}` is not an API version of podkey"
        fix = f"write `{API_VERSION}`, or move the document out of the policy folder"
        where = Place(at, "apiVersion")
        return reading.report(version, where, ProblemCode.UNKNOWN_KIND, message, fix)
    record = DOCUMENTS.get(kind.value)
    if record is None:
        message, fix = (
            f"`{kind.value}` is not a kind of document",
            did_you_mean(kind.value, DOCUMENTS),
        )
        return reading.report(kind, Place(at, "kind"), ProblemCode.UNKNOWN_KIND, message, fix)
    return record.read(node, at, reading)


def _check_services(services: Iterable[Placed[Service]], catalogue: Catalogue) -> list[Problem]:
    """A user's entries: each name once, and nobody else's hosts."""
    problems = []
    seen: dict[str, Placed[Service]] = {}
    territory = Territory(catalogue.values())
    for placed in services:
        entry = placed.value
        if entry.name in catalogue:
            message = f"the service `{entry.name}` is built in and cannot be replaced"
            fix = f"choose another name, such as `my-{entry.name}`"
            code, path = ProblemCode.DUPLICATE_DOCUMENT, "metadata.name"
            problems.append(placed.problem(code, message, fix, path))
            continue
        if entry.name in seen:
            problems.append(_twice(placed, seen[entry.name], f"CatalogueEntry {entry.name}"))
            continue
        problems.extend(
            placed.problem(code, message, fix, "spec") for code, message, fix in territory.trespasses(entry)
        )
        territory.add(entry)
        seen[entry.name] = placed
    return problems


def _check_names(documents: Iterable[Placed[Any]]) -> list[Problem]:
    problems = []
    seen: dict[str, Placed[Any]] = {}
    for placed in documents:
        value = placed.value
        name = f"{type(value).__name__} {value.namespace}/{value.name}"
        if seen.setdefault(name, placed) is not placed:
            problems.append(_twice(placed, seen[name], name))
    return problems


def _twice(placed: Placed[Any], first: Placed[Any], what: str) -> Problem:
    message = f"{what} is already defined at {first.place}"
    fix = "rename one of the two, or remove it"
    return placed.problem(ProblemCode.DUPLICATE_DOCUMENT, message, fix, "metadata.name")
