"""Sequences of edits, and what holds after each of them."""

from random import Random
from typing import Any, Final

from hypothesis import given
from hypothesis import strategies as st

from injector.core.documents import RawDocument
from injector.engine.compile import compile_namespace, read_back
from injector.engine.holdings import Compiled, DocumentKey, Standing, place
from proxy.core.contract import NAMESPACE_NAME_LABEL
from proxy.core.labels import LabelSelector
from proxy.core.policy import AccessPolicy
from proxy.core.structs import replace
from proxy.documents.limits import check_limits
from proxy.documents.reader import read_documents
from proxy.services.loader import built_in_catalogue
from tests.cluster_policies import GPU, OWN, book, broken, exchange, grant, key, limits, policy, source, wide

HOSTS: Final = ("a.example.com", "b.example.com", "*.example.com")
CREDENTIALS: Final = ("one", "two")

GRANTS = st.builds(grant, st.sampled_from(HOSTS), st.sampled_from(CREDENTIALS))
ACCOUNTS = st.sampled_from((["trainer"], ["server"], ["*"]))


@st.composite
def documents(draw: st.DrawFn) -> RawDocument:
    """One of few objects, so that they meet; the caller numbers its generations."""
    some_grants = draw(st.lists(GRANTS, min_size=1, max_size=2))
    namespace = draw(st.sampled_from(("ml", "ml", OWN)))
    name = draw(st.sampled_from("abc"))
    kind = draw(st.integers(0, 5))
    made: RawDocument
    if kind == 0:
        made = policy(*some_grants, accounts=draw(ACCOUNTS), name=name, namespace=namespace)
    elif kind == 1:
        labels = draw(st.sampled_from(({"team": "vision"}, {"team": "text"}, {NAMESPACE_NAME_LABEL: "ml"})))
        made = wide(*some_grants, labels=labels, name=name, namespace=namespace)
    elif kind == 2:
        made = limits(*draw(st.lists(st.sampled_from(HOSTS), min_size=1, max_size=2, unique=True)), name=name)
    elif kind == 3:
        made = source(draw(st.sampled_from(CREDENTIALS)), namespace=namespace)
    else:
        made = exchange(draw(st.sampled_from(CREDENTIALS)), namespace=namespace)
    return broken(made) if draw(st.integers(0, 5)) == 0 else made


@st.composite
def edits(draw: st.DrawFn) -> list[tuple[str, Any]]:
    verbs = st.sampled_from(("put", "put", "put", "remove", "anew"))
    return draw(st.lists(st.tuples(verbs, documents()), min_size=1, max_size=6))


class Cluster:
    """What an API server does to names, uids and generations."""

    def __init__(self) -> None:
        self.objects: dict[DocumentKey, RawDocument] = {}
        self.uids = 0

    def put(self, document: RawDocument) -> None:
        there = self.objects.get(key(document))
        if there is None:
            self.uids += 1
            there = replace(document, uid=f"u{self.uids}", generation=0)
        self.objects[key(document)] = replace(document, uid=there.uid, generation=there.generation + 1)

    def edit(self, verb: str, document: RawDocument) -> None:
        if verb != "put":
            self.objects.pop(key(document), None)
        if verb != "remove":
            self.put(document)

    def compile(self, previous: Compiled | str | None) -> Compiled:
        return compile_namespace(GPU, book(*self.objects.values()), previous)


def in_this_namespace(value: object) -> object:
    """As the text has it: sidecars know their namespace's name alone."""
    if isinstance(value, AccessPolicy) and value.is_cluster_wide:
        named = LabelSelector(((NAMESPACE_NAME_LABEL, "ml"),))
        return replace(value, workloads=replace(value.workloads, namespaces=named))
    return value


def holds(cluster: Cluster, result: Compiled) -> None:
    read = read_documents({"policy.yaml": result.text.encode()}, built_in_catalogue())
    assert read.problems == ()
    assert {in_this_namespace(version.value) for version in result.versions.values()} == {
        *read.documents.policies,
        *read.documents.sources,
    }
    for found, version in result.versions.items():
        there = cluster.objects[found]
        assert there.uid == version.uid
        assert version.generation <= there.generation
        assert found.namespace in {"ml", OWN}
        report = result.reports[found]
        assert report.generation == version.generation
        assert (report.standing is Standing.CURRENT) == (version.generation == there.generation)
        assert bool(report.problems) == (report.standing is Standing.OLDER)
    for found, report in result.reports.items():
        assert (report.standing is Standing.LEFT_OUT) == (found not in result.versions)
        assert report.problems or report.standing is Standing.CURRENT
        assert {problem.file for problem in report.problems} <= {str(found)}
    assert {found for found in cluster.objects if found.namespace == "ml"} <= result.reports.keys()
    policies = [
        version.value for version in result.versions.values() if isinstance(version.value, AccessPolicy)
    ]
    limiting = [value for value in policies if value.limits is not None]
    tenants = [place(value) for value in policies if value.namespace == "ml"]
    assert not check_limits(tenants, limiting, built_in_catalogue())  # type: ignore[arg-type]
    assert not any(value.is_cluster_wide for value in policies if value.namespace == "ml")


@given(edits())
def test_whatever_is_edited_what_is_in_force_is_sound_and_stays(steps: list[tuple[str, Any]]) -> None:
    cluster = Cluster()
    previous: Compiled | None = None
    for verb, document in steps:
        cluster.edit(verb, document)
        result = cluster.compile(previous)
        holds(cluster, result)
        # It is a fixed point: nothing moves until something is edited.
        again = cluster.compile(replace(result, inputs=None))
        assert again.text == result.text
        assert again.versions == result.versions
        previous = result


@given(edits())
def test_a_restart_changes_nothing(steps: list[tuple[str, Any]]) -> None:
    cluster = Cluster()
    text = ""
    for verb, document in steps:
        cluster.edit(verb, document)
        back = read_back("ml", text, book())
        assert back is not None
        result = cluster.compile(text)
        assert result.text == cluster.compile(back).text
        text = result.text
    assert cluster.compile(text).text == text


@given(edits(), documents())
def test_an_edit_that_does_not_read_changes_nothing(steps: list[tuple[str, Any]], last: RawDocument) -> None:
    cluster = Cluster()
    result = None
    for verb, document in (*steps, ("put", last)):
        cluster.edit(verb, document)
        result = cluster.compile(result)
    assert result is not None
    for document in list(cluster.objects.values()):
        if key(document) in result.versions:
            cluster.put(broken(document))
            after = cluster.compile(result)
            assert after.text == result.text


@given(st.lists(documents(), min_size=2, max_size=6, unique_by=key), st.randoms(use_true_random=False))
def test_the_order_of_the_documents_changes_nothing(some: list[RawDocument], dice: Random) -> None:
    mixed = dice.sample(some, len(some))
    texts = {compile_namespace(GPU, book(*order), None).text for order in (some, some[::-1], mixed)}
    assert len(texts) == 1


@given(edits(), st.lists(documents(), max_size=4))
def test_a_tenant_changes_nothing_above_it(steps: list[tuple[str, Any]], theirs: list[RawDocument]) -> None:
    cluster = Cluster()
    result = None
    for verb, document in steps:
        cluster.edit(verb, document)
        result = cluster.compile(result)
    assert result is not None
    above = {found: version for found, version in result.versions.items() if found.namespace == OWN}
    for document in theirs:
        if document.namespace == "ml":
            cluster.put(document)
    after = cluster.compile(result).versions
    assert {found: version for found, version in after.items() if found.namespace == OWN} == above
