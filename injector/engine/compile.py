"""What the sidecars of one namespace get: its own documents and the cluster-wide ones that select it.

First the cluster-wide ones are settled among themselves, then the namespace's own beside them: a tenant can
neither take a platform team's policy out of force nor reach beyond its limits. What comes out reads without
problems, is the same text for the same documents, and never gets lost by an edit: what cannot be in force is
replaced by its last version that was, as long as the object is there.
"""

import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, cast

from injector.core.cluster import Namespace
from injector.engine.holdings import (
    Compiled,
    Document,
    DocumentKey,
    Held,
    Inputs,
    Report,
    Standing,
    Version,
    key_of,
    place,
)
from injector.engine.policy_book import PolicyBook, is_for
from injector.engine.settling import Candidate, Option, Settling, Stand
from proxy.core.contract import CREDENTIAL_SOURCE, NAMESPACE_NAME_LABEL
from proxy.core.credentials import CredentialSource
from proxy.core.labels import LabelSelector
from proxy.core.policy import AccessPolicy
from proxy.core.services import Catalogue
from proxy.core.structs import replace
from proxy.documents.cluster_wide import check_cluster_wide
from proxy.documents.limits import check_limits
from proxy.documents.placed import Placed, child
from proxy.documents.problems import Problem, ProblemCode
from proxy.documents.reader import ReadDocument, check_documents, read_documents
from proxy.documents.render import render_one
from proxy.documents.yaml_nodes import Node, ScalarNode, read_nodes, write_documents

# The API server takes no ConfigMap whose data has more than 1 MiB (k8s.io/api, `MaxSecretSize`, for both).
# The rest is for its metadata, and what the next edit adds.
MAX_TEXT: Final = 900 << 10
# For people. A namespace without documents has this alone, so that its sidecars know that there are none.
HEADER: Final = "# Written by podkey's injector, which undoes changes. Edit the objects that these copy.\n"
# Before each document. It is in none of them: a text of many lines is quoted there, and stands further right.
SEPARATOR: Final = "\n---\n"


def compile_namespace(namespace: Namespace, book: PolicyBook, previous: Compiled | str | None) -> Compiled:
    """What should be in force now. `previous` is what was, or the text of the ConfigMap: that is read only
    where something has to be fallen back to, and as if there were none where it cannot be."""
    if not isinstance(previous, str):
        return _compiled(namespace, book, previous)
    fresh = _compiled(namespace, book, None)
    held = (*book.in_namespace(namespace.name), *book.in_namespace(book.own_namespace))
    is_sound = all(one.value is not None for one in held)
    if is_sound and not any(report.problems for report in fresh.reports.values()):
        return fresh
    return _compiled(namespace, book, read_back(namespace.name, previous, book))


def _compiled(namespace: Namespace, book: PolicyBook, previous: Compiled | None) -> Compiled:
    in_force = {} if previous is None else previous.versions
    # Policies of podkey's own namespace that are no cluster-wide ones are about pods without sidecars.
    own = () if namespace.name == book.own_namespace else book.in_namespace(namespace.name)
    wide = _about(namespace, book, in_force)
    unknown = book.unread_limits()
    inputs: Inputs = frozenset((held.key, held.uid, held.generation) for held in (*own, *wide, *unknown))
    if previous is not None and previous.inputs == inputs:
        return previous
    catalogue = book.catalogue

    def check_wide(placed: Sequence[Placed[Document]]) -> Sequence[Problem]:
        return _problems(placed, catalogue) + check_cluster_wide(
            _of_type(placed, AccessPolicy), _of_type(placed, CredentialSource), book.own_namespace
        )

    texts = _Texts(namespace.name, previous)
    platform = [_candidate(held, in_force, texts) for held in wide]
    standing = Settling(platform, check_wide, MAX_TEXT, named_only=True).settle(_of(platform, in_force))
    above = [one.chosen.placed for one in standing if one.chosen is not None]
    # Limits take away: also those that give way beside others count, and of two versions both do.
    read = (one.value for one in wide)
    limiting = [
        policy
        for policy in (*(placed.value for placed in _of_type(above, AccessPolicy)), *read)
        if isinstance(policy, AccessPolicy) and policy.limits is not None
    ]
    room = MAX_TEXT - sum(len(one.chosen.text.encode()) for one in standing if one.chosen is not None)

    def check_own(placed: Sequence[Placed[Document]]) -> Sequence[Problem]:
        policies = _of_type(placed, AccessPolicy)
        forbidden = check_limits(policies, limiting, catalogue)
        return [*forbidden, *_too_new(policies, unknown, in_force), *_problems([*above, *placed], catalogue)]

    tenants = [_candidate(held, in_force, texts) for held in own]
    standing += Settling(tenants, check_own, room).settle(_of(tenants, in_force))

    chosen = {one.key: one.chosen for one in standing if one.chosen is not None}
    # Sources of our own namespace that none of these policies names are no part of it.
    looked_at = [one for one in (*platform, *tenants) if one.key in chosen or one.chosen is None]
    return Compiled(
        namespace.name,
        {key: option.version for key, option in chosen.items()},
        {one.key: _report(one) for one in looked_at},
        inputs,
        zlib.compress("".join((HEADER, *(SEPARATOR + option.text for option in chosen.values()))).encode()),
    )


def _about(namespace: Namespace, book: PolicyBook, in_force: Mapping[DocumentKey, Version]) -> list[Held]:
    """Of the documents of podkey's own namespace, those that are for this one: cluster-wide policies that
    select it, or did before they became unreadable, and the sources that these name."""
    every = book.in_namespace(book.own_namespace)
    found = []
    named: set[str] = set()
    for one in every:
        older = _older(one, in_force)
        values = [value for value in (one.value, older.value if older else None) if value is not None]
        # What it says now, where that can be read, decides where it is for.
        now = values[0] if values else None
        if (
            isinstance(now, AccessPolicy)
            and now.is_cluster_wide
            and is_for(now, namespace, book.own_namespace)
        ):
            found.append(one)
            policies = (value for value in values if isinstance(value, AccessPolicy))
            named |= {grant.credential for policy in policies for grant in policy.grants}
    found += [one for one in every if one.key.kind == CREDENTIAL_SOURCE and one.key.name in named]
    return found


def _older(held: Held, in_force: Mapping[DocumentKey, Version]) -> Version | None:
    """Another version that was in force. Of an object that was deleted and made anew it is another's."""
    version = in_force.get(held.key)
    if version is None or version.uid != held.uid:
        return None
    return version if held.value is None or version.generation != held.generation else None


def _candidate(held: Held, in_force: Mapping[DocumentKey, Version], texts: "_Texts") -> Candidate:
    """Its versions, the best first."""
    current = None if held.value is None else Version(held.value, held.uid, held.generation)
    versions = (current, _older(held, in_force))
    return Candidate(held, [texts.option(version) for version in versions if version is not None])


class _Texts:
    """Versions as they are written for one namespace. Writing costs more than all checks together, so what
    was written for it before is taken from there."""

    def __init__(self, namespace: str, previous: Compiled | None) -> None:
        self._namespace = namespace
        self._known: dict[tuple[DocumentKey, str, int], str] = {}
        # What was read back from the cluster is not what we wrote, until we have written it.
        if previous is not None and previous.inputs is not None:
            _, *texts = previous.text.split(SEPARATOR)
            for (key, version), text in zip(previous.versions.items(), texts, strict=True):
                self._known[key, version.uid, version.generation] = text

    def option(self, version: Version) -> Option:
        value = version.value
        if isinstance(value, AccessPolicy) and value.is_cluster_wide:
            # Sidecars know their namespace's name, and none of its labels.
            named = LabelSelector(((NAMESPACE_NAME_LABEL, self._namespace),))
            value = replace(value, workloads=replace(value.workloads, namespaces=named))
        text = self._known.get((key_of(value), version.uid, version.generation))
        return Option(version, place(value), _written(value, version) if text is None else text)


def _written(value: Document, version: Version) -> str:
    rendered = render_one(value)
    # By these two it is found again in the ConfigMap; readers of policies do not look at them.
    rendered["metadata"] |= {"uid": version.uid, "generation": version.generation}
    return write_documents([rendered])


def _of(candidates: Iterable[Candidate], in_force: Mapping[DocumentKey, Version]) -> Stand:
    return {one.key: in_force[one.key] for one in candidates if one.key in in_force}


def _report(candidate: Candidate) -> Report:
    problems = (*candidate.held.problems, *candidate.problems)
    chosen = candidate.chosen
    if chosen is None:
        return Report(Standing.LEFT_OUT, 0, problems)
    is_current = candidate.held.value is not None and candidate.at == 0
    return Report(Standing.CURRENT if is_current else Standing.OLDER, chosen.version.generation, problems)


# --- checks ------------------------------------------------------------------------------------------------


def _problems(placed: Iterable[Placed[Document]], catalogue: Catalogue) -> list[Problem]:
    return check_documents((ReadDocument((), one) for one in placed), catalogue)


def _too_new(
    policies: Iterable[Placed[AccessPolicy]], unknown: Sequence[Held], in_force: Mapping[DocumentKey, Version]
) -> list[Problem]:
    """While limits do not read, nobody knows what they are to forbid: so what is in force stays, and nothing
    joins it, also where an older version of them is known."""
    if not unknown:
        return []
    limits = unknown[0].key
    message = f"the limits of {limits.namespace}/{limits.name} do not read, and nothing new is allowed before"
    fix = "ask whoever looks after podkey in this cluster to mend them; what was in force stays"
    return [
        placed.problem(ProblemCode.NOT_ALLOWED_HERE, message, fix)
        for placed in policies
        if (version := in_force.get(key_of(placed.value))) is None or version.value != placed.value
    ]


def _of_type[T](placed: Iterable[Placed[Document]], kind: type[T]) -> list[Placed[T]]:
    return [cast("Placed[T]", one) for one in placed if isinstance(one.value, kind)]


# --- what was in force before we were started --------------------------------------------------------------


def read_back(namespace: str, text: str, book: PolicyBook) -> Compiled | None:
    """What a ConfigMap says was in force. None where it is not as we write it: others may have written."""
    data = text.encode()
    read = read_documents({"": data}, book.catalogue)
    nodes, _ = read_nodes(data, "")
    if read.problems or len(nodes) != read.counted:
        return None
    marks = dict(_mark(node) for node in nodes)
    versions = {}
    documents: tuple[Document, ...] = (*read.documents.policies, *read.documents.sources)
    for document in documents:
        key = key_of(document)
        uid, generation = marks[key]
        if key.namespace not in {namespace, book.own_namespace} or not generation.isdecimal():
            return None
        versions[key] = Version(document, uid, int(generation))
    return Compiled(namespace, versions, packed=zlib.compress(data))


def _mark(node: Node) -> tuple[DocumentKey, tuple[str, str]]:
    """Which object a document is a copy of, and of which generation; empty where it does not say."""

    def text(parent: Node | None, key: str) -> str:
        found = child(parent, key)
        return found.value if isinstance(found, ScalarNode) else ""

    metadata = child(node, "metadata")
    key = DocumentKey(text(node, "kind"), text(metadata, "namespace"), text(metadata, "name"))
    return key, (text(metadata, "uid"), text(metadata, "generation"))
