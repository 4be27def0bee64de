"""Whether a policy or a source may be written: the parser of policy folders, beside what is there already.

What counts is what this document brings. Problems of others that are there without it refuse nothing. What
this replica may not have seen yet (a source that was created a moment ago) only warns, and so does what a
source does to the policies that name it: tools apply a folder in any order, or ask for all of it as a dry run
first, and there must be an order in which it goes through.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from injector.core.cluster import Namespace
from injector.core.documents import RawDocument
from injector.engine.holdings import KINDS, Document, DocumentKey, Held, place, read_raw
from injector.engine.policy_book import PolicyBook, is_for, names_source
from injector.reading.reviews import Answer, Review
from proxy.core.contract import ACCESS_POLICY, API_GROUP, CREDENTIAL_SOURCE
from proxy.core.credentials import CredentialRef, CredentialSource
from proxy.core.policy import AccessPolicy
from proxy.core.services import Catalogue
from proxy.documents.cluster_wide import check_cluster_wide
from proxy.documents.limits import check_limits
from proxy.documents.overlap import MAX_REPORTED, check_overlaps
from proxy.documents.placed import Placed
from proxy.documents.problems import Problem, ProblemCode
from proxy.documents.reader import ReadDocument, check_documents
from proxy.documents.salvage import Broken
from proxy.documents.stores import check_stores

# Of the whole message, in bytes. A terminal shows it in a few pages; 500 problems in full would be 400 KiB.
MAX_MESSAGE: Final = 8 << 10
# Names in one warning, which has 256 characters.
MAX_NAMED: Final = 3

# They are about two policies, and told at one of them, which may be the other one.
_OF_TWO: Final = frozenset(
    {
        ProblemCode.OVERLAPPING_GRANTS,
        ProblemCode.CONTRADICTING_ENDPOINTS,
        ProblemCode.HOST_NEEDS_SERVICE,
        ProblemCode.TOO_MANY_TO_COMPARE,
    }
)


def validate(review: Review, book: PolicyBook, namespaces: Mapping[str, Namespace]) -> Answer:
    """`namespaces` are all that are known, by name."""
    kind = review.kind.name
    if review.kind.group != API_GROUP or kind not in KINDS or review.sub_resource:
        return Answer(review.uid)
    if review.operation == "DELETE":
        return Answer(review.uid, warnings=_of_deleting(review, book), dry_run=review.dry_run)
    if review.operation not in {"CREATE", "UPDATE"} or _says_the_same(review):
        return Answer(review.uid, dry_run=review.dry_run)
    if review.object is None:
        return Answer(review.uid, allowed=False, message=f"{review.operation} of a {kind} without `object`")
    key = DocumentKey(kind, review.namespace, _name(review.object))
    namespace = namespaces.get(key.namespace, Namespace(key.namespace))
    read = read_raw(RawDocument(*key, document=review.object), book.own_namespace)
    found = _brought(key, read, book, namespace)
    refusing = [problem for problem in found if _refuses(problem, key)]
    warnings = [_line(problem, key) for problem in found if not _refuses(problem, key)]
    if read.placed is not None and isinstance(read.placed.value, AccessPolicy):
        warnings += _of_limits(read.placed.value, book, namespaces.values())
    message = _message(key, [_line(problem, key) for problem in refusing]) if refusing else ""
    return Answer(review.uid, not refusing, message, tuple(warnings), dry_run=review.dry_run)


def _name(written: Mapping[str, Any]) -> str:
    metadata = written.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    return name if isinstance(name, str) else ""


def _says_the_same(review: Review) -> bool:
    """An update of labels, annotations or finalizers, which must go through where the document is unsound."""
    before, after = review.old_object, review.object
    if review.operation != "UPDATE" or before is None or after is None:
        return False
    return "spec" in before and _same(before["spec"], after.get("spec"))


def _same(one: Any, other: Any) -> bool:  # noqa: ANN401 - what JSON has
    """To Python `1`, `1.0` and `True` are equal; in a document they are not."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(value, other[key]) for key, value in one.items())
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


def _refuses(problem: Problem, key: DocumentKey) -> bool:
    if problem.file == str(key):
        return problem.code is not ProblemCode.UNKNOWN_CREDENTIAL
    return key.kind == ACCESS_POLICY and problem.code in _OF_TWO


# --- what the document brings ------------------------------------------------------------------------------


def _brought(key: DocumentKey, read: ReadDocument, book: PolicyBook, namespace: Namespace) -> list[Problem]:
    """Its own problems, and those of others that are there with it and are not without it.

    Only what it can have to do with is checked: a namespace may have a thousand policies, and time is short.
    """
    above = list(_above(book, namespace)) if namespace.name != book.own_namespace else []
    others = [_as_read(held) for held in book.in_namespace(namespace.name) if held.key != key]
    others += [ReadDocument((), place(document)) for document in above]
    policies = _of_type(others, AccessPolicy)
    named = CredentialRef(key.namespace, key.name)
    users = {one.file for one in policies if key.kind == CREDENTIAL_SOURCE and names_source(one.value, named)}
    beside = [o for o in others if o.placed is None or o.placed.file in users or _is_source(o.placed)]
    found = [*read.problems, *_problems([read, *beside], book)]
    if any(problem.file != str(key) for problem in found):
        before = Counter(_problems(beside, book))
        found = [problem for problem in found if not _was_there(before, problem)]
    limiting = [one for one in above if isinstance(one, AccessPolicy)]
    own = _of_type([read], AccessPolicy)
    return [*found, *check_limits(own, limiting, book.catalogue), *_between(own, policies, book.catalogue)]


def _is_source(placed: Placed[Any]) -> bool:
    return isinstance(placed.value, CredentialSource)


def _between(
    own: Sequence[Placed[AccessPolicy]], others: Sequence[Placed[AccessPolicy]], catalogue: Catalogue
) -> list[Problem]:
    """What is wrong with this policy beside another one. What others have among themselves is not its."""

    def check(policies: Sequence[Placed[AccessPolicy]]) -> list[Problem]:
        in_order = sorted(policies, key=lambda one: (one.value.namespace, one.value.name))
        return [*check_stores(in_order), *check_overlaps(in_order, catalogue)]

    found = check([*own, *others]) if own else []
    if not found:
        return []
    # What it has by itself, `_problems` has told.
    by_itself = check(own)
    before = Counter([*by_itself, *check(others)])
    new = [problem for problem in found if not _was_there(before, problem)]
    if len(found) < MAX_REPORTED:
        return new
    # Only the first of many are reported, and none of them may be its own: each pair is asked alone.
    too_many = [problem for problem in new if problem.code is ProblemCode.TOO_MANY_TO_COMPARE]
    pairs = [problem for other in others for problem in check([*own, other]) if problem not in by_itself]
    return [*pairs, *too_many]


def _above(book: PolicyBook, namespace: Namespace) -> Iterator[Document]:
    """The cluster-wide documents for a tenant's namespace: those in force there, else as they are."""
    compiled = book.compiled(namespace.name)
    if compiled is not None:
        documents = [v.value for key, v in compiled.versions.items() if key.namespace == book.own_namespace]
    else:
        held = book.in_namespace(book.own_namespace)
        documents = [one.value for one in held if one.value is not None]
    for document in documents:
        if isinstance(document, CredentialSource) or (
            document.is_cluster_wide and is_for(document, namespace, book.own_namespace)
        ):
            yield document


def _as_read(held: Held) -> ReadDocument:
    """A source that does not read is not missing: who names it is not told that it is."""
    if held.value is not None:
        return ReadDocument((), place(held.value))
    broken = Broken()
    if held.key.kind == CREDENTIAL_SOURCE:
        broken.sources.add(CredentialRef(held.key.namespace, held.key.name))
    return ReadDocument(broken=broken)


def _problems(documents: Sequence[ReadDocument], book: PolicyBook) -> list[Problem]:
    policies, sources = _of_type(documents, AccessPolicy), _of_type(documents, CredentialSource)
    return [
        *check_documents(documents, book.catalogue),
        # Of a namespace that is not podkey's own, the reading itself has found this.
        *check_cluster_wide(
            (p for p in policies if p.value.namespace == book.own_namespace), sources, book.own_namespace
        ),
    ]


def _of_type[T](documents: Iterable[ReadDocument], kind: type[T]) -> list[Placed[T]]:
    placed = (document.placed for document in documents)
    return [one for one in placed if one is not None and isinstance(one.value, kind)]


def _was_there(before: Counter[Problem], problem: Problem) -> bool:
    before[problem] -= 1
    return before[problem] >= 0


# --- what deserves a word ----------------------------------------------------------------------------------


def _of_deleting(review: Review, book: PolicyBook) -> tuple[str, ...]:
    if review.kind.name != CREDENTIAL_SOURCE or not review.name:
        return ()
    users = book.users(CredentialRef(review.namespace, review.name))
    if not users:
        return ()
    return (f"policies name this CredentialSource and end with it: {_names(users)}",)


def _of_limits(policy: AccessPolicy, book: PolicyBook, namespaces: Iterable[Namespace]) -> Iterator[str]:
    """Who grants what these limits forbid. It is told as far as it is quickly found."""
    if policy.limits is None:
        return
    taken: list[str] = []
    for namespace in sorted(namespaces, key=lambda one: one.name):
        if namespace.name != book.own_namespace and is_for(policy, namespace, book.own_namespace):
            placed = _of_type(map(_as_read, book.in_namespace(namespace.name)), AccessPolicy)
            files = (problem.file for problem in check_limits(placed, [policy], book.catalogue))
            taken += dict.fromkeys(files)
        if len(taken) > MAX_NAMED:
            break
    if taken:
        yield f"these limits take policies out of force: {_names(taken)}"


def _names(names: Sequence[str]) -> str:
    more = " and others" if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + more


# --- in words ----------------------------------------------------------------------------------------------


def _line(problem: Problem, key: DocumentKey) -> str:
    where = ("" if problem.file == str(key) else problem.file, problem.path)
    text = ": ".join((*filter(None, where), f"{problem.message}; {problem.fix}"))
    # It quotes what somebody wrote: nothing that a terminal obeys.
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)


def _message(key: DocumentKey, lines: Sequence[str]) -> str:
    """One line for each, as far as they fit."""
    message = f"{key} has {len(lines)} problem{'s' if len(lines) > 1 else ''}"
    left = MAX_MESSAGE - len(message) - len(f"\n- and {len(lines)} more")
    for number, line in enumerate(lines):
        left -= len(f"\n- {line}".encode())
        if left < 0:
            return f"{message}\n- and {len(lines) - number} more"
        message += f"\n- {line}"
    return message
