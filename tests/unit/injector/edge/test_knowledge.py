import asyncio
from collections.abc import Callable, Coroutine, Iterable, Iterator
from typing import Any

import pytest

from injector.core.api import ObjectKey
from injector.core.cluster import ClusterFacts, Namespace
from injector.core.documents import RawDocument
from injector.edge import knowledge as module
from injector.edge.knowledge import Knowledge
from injector.engine.compile import compile_namespace
from injector.engine.holdings import Compiled, DocumentKey
from injector.engine.reflector import Remove, Replace, Upsert
from proxy.core.contract import ACCESS_POLICY, CREDENTIAL_SOURCE, INJECT
from proxy.services.loader import built_in_catalogue
from tests.admission_world import SETTINGS
from tests.cluster_policies import OWN, book, broken, exchange, grant, key, policy, source, wide
from tests.injector_world import Lines

ML = Namespace("ml", {INJECT: "all", "team": "vision"})
NLP = Namespace("nlp", {INJECT: "enabled"})

type Meanwhile = Callable[[], Coroutine[Any, Any, None]]


class House:
    def __init__(self) -> None:
        self.log = Lines()
        # One loop for all runs of a test.
        self.runner = asyncio.Runner()
        self.compiled: list[Compiled] = []
        self.changed: list[DocumentKey] = []
        self.unserved: list[tuple[str, Namespace | None]] = []
        self.reads: list[str] = []
        self.knowledge = Knowledge(
            SETTINGS,
            built_in_catalogue(),
            self.log,
            compiled=self.compiled.append,
            changed=self.was_changed,
            unserved=lambda name, namespace: self.unserved.append((name, namespace)),
            read_back=self.reads.append,
        )

    def was_changed(self, keys: Iterable[DocumentKey]) -> None:
        self.changed += keys

    # --- what watchers say ---

    def namespaces(self, *there: Namespace) -> None:
        self.knowledge.namespaces_changed([Replace({ObjectKey("", one.name): one for one in there})])

    def namespace(self, one: Namespace) -> None:
        self.knowledge.namespaces_changed([Upsert(ObjectKey("", one.name), one)])

    def documents(self, *there: RawDocument) -> None:
        """Both kinds as lists."""
        for kind in (ACCESS_POLICY, CREDENTIAL_SOURCE):
            of_kind = {ObjectKey(one.namespace, one.name): one for one in there if one.kind == kind}
            self.knowledge.documents_changed(kind, [Replace(of_kind)])

    def document(self, one: RawDocument) -> None:
        self.knowledge.documents_changed(one.kind, [Upsert(ObjectKey(one.namespace, one.name), one)])

    def read_all(self, text: str | None = None) -> None:
        reads, self.reads[:] = list(self.reads), []
        for name in reads:
            self.knowledge.recovered(name, text)

    def ready(self, *documents: RawDocument) -> None:
        self.namespaces(ML, NLP)
        self.documents(*documents)
        self.read_all()

    # --- the loop ---

    def run(self, until: Callable[[], bool], then: Meanwhile | None = None) -> None:
        async def go() -> None:
            task = asyncio.create_task(self.knowledge.run())
            async with asyncio.timeout(20):
                if then is not None:
                    await then()
                while not until() and not task.done():  # noqa: ASYNC110 - nobody else may say when
                    await asyncio.sleep(0.001)
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error

        self.runner.run(go())

    def in_force(self, namespace: str) -> set[DocumentKey]:
        compiled = self.knowledge.book.compiled(namespace)
        return set(compiled.versions) if compiled is not None else set()


@pytest.fixture
def house(monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    monkeypatch.setattr(module, "SETTLE_SECONDS", 0.0)
    made = House()
    yield made
    made.runner.close()


def test_what_is_served_is_compiled_when_everything_is_known(house: House) -> None:
    house.ready(policy(), source())
    house.run(lambda: len(house.compiled) == 2)
    assert {one.namespace for one in house.compiled} == {"ml", "nlp"}
    assert house.in_force("ml") == {key(policy()), key(source())}
    assert house.in_force("nlp") == set()


@pytest.mark.parametrize("missing", ["namespaces", ACCESS_POLICY, CREDENTIAL_SOURCE, "config map"])
def test_nothing_is_compiled_before_everything_is_known(house: House, missing: str) -> None:
    """What is not known yet would be taken out of force."""
    steps = {
        "namespaces": lambda: house.namespaces(ML),
        ACCESS_POLICY: lambda: house.knowledge.documents_changed(
            ACCESS_POLICY, [Replace({ObjectKey("ml", "p"): policy()})]
        ),
        CREDENTIAL_SOURCE: lambda: house.knowledge.documents_changed(
            CREDENTIAL_SOURCE, [Replace({ObjectKey("ml", "one"): source()})]
        ),
        "config map": house.read_all,
    }
    if missing == "namespaces":
        house.namespace(ML)
    for name, step in steps.items():
        if name != missing:
            step()

    async def then() -> None:
        for _ in range(50):
            await asyncio.sleep(0)
        assert not house.compiled
        steps[missing]()
        if missing == "namespaces":
            house.read_all()

    house.run(lambda: bool(house.compiled), then)
    assert house.in_force("ml") == {key(policy()), key(source())}


def test_statuses_are_looked_at_when_the_last_list_has_come(house: House) -> None:
    house.namespaces(ML)
    house.documents(policy(), source())
    assert house.knowledge.is_complete
    assert {*house.changed} == {key(policy()), key(source())}
    house.changed.clear()
    house.namespaces(ML)
    assert not house.changed, "a new list that says the same"


def test_what_the_config_map_says_is_fallen_back_to(house: House) -> None:
    text = compile_namespace(ML, book(policy(), source()), None).text
    house.namespaces(ML)
    house.documents(broken(policy()), source())
    house.read_all(text)
    house.run(lambda: bool(house.compiled))
    (report,) = (one for of, one in house.compiled[0].reports.items() if of == key(policy()))
    assert report.generation == 1
    assert house.in_force("ml") == {key(policy()), key(source())}


def test_a_config_map_is_read_once_until_it_is_read_again(house: House) -> None:
    house.ready(policy(), source())
    house.document(policy(generation=2))
    assert house.reads == []
    house.knowledge.read_again()
    assert sorted(house.reads) == ["ml", "nlp"]
    house.document(policy(generation=3))
    assert sorted(house.reads) == ["ml", "nlp"], "it is on its way"
    house.knowledge.recovered("elsewhere", "text")


def test_what_was_begun_before_it_was_to_be_read_again_counts_for_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new leader must not write what it compiled without knowing what the one before had in force."""
    house.ready(policy(), source())

    def slow(namespace: Namespace, *rest: Any) -> Compiled:
        house.knowledge.read_again()
        monkeypatch.setattr(module, "compile_namespace", compile_namespace)
        return compile_namespace(namespace, *rest)

    monkeypatch.setattr(module, "compile_namespace", slow)

    async def then() -> None:
        while len(house.reads) < 2:  # noqa: ASYNC110 - nobody else may say when
            await asyncio.sleep(0.001)
        house.read_all("no policy")

    house.run(lambda: len(house.compiled) >= 2, then)
    assert sorted(one.namespace for one in house.compiled) == ["ml", "nlp"]


def test_a_namespace_that_changes_meanwhile_keeps_what_was_read(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = compile_namespace(ML, book(policy(), source()), None).text
    house.namespaces(ML)
    house.documents(broken(policy()), source())
    house.read_all(text)
    again = Namespace("ml", {**ML.labels, "more": "labels"})

    def relabelled(namespace: Namespace, *rest: Any) -> Compiled:
        monkeypatch.setattr(module, "compile_namespace", compile_namespace)
        house.namespace(again)
        return compile_namespace(namespace, *rest)

    monkeypatch.setattr(module, "compile_namespace", relabelled)
    house.run(lambda: bool(house.compiled))
    assert house.in_force("ml") == {key(policy()), key(source())}


def test_only_what_a_document_is_about_is_compiled_again(house: House) -> None:
    house.ready(policy(), source())
    house.run(lambda: len(house.compiled) == 2)
    house.compiled.clear()
    house.document(policy(namespace="nlp"))
    house.knowledge.documents_changed(ACCESS_POLICY, [Remove(ObjectKey("nlp", "p"))])
    house.document(policy(namespace="unlabelled"))
    house.run(lambda: bool(house.compiled))
    assert [one.namespace for one in house.compiled] == ["nlp"]


def test_a_namespace_that_is_served_no_more_is_forgotten_and_told_of(house: House) -> None:
    house.ready(policy(), source(), wide(grant(credential="x")), exchange("x", namespace=OWN))
    house.run(lambda: len(house.compiled) == 2)
    house.changed.clear()
    off = Namespace("ml", {"team": "vision"})
    house.namespace(off)
    assert house.unserved == [("ml", off)]
    assert house.knowledge.book.compiled("ml") is None
    assert {key(policy()), key(wide())} <= {*house.changed}, "also the cluster-wide ones that were there"
    house.knowledge.namespaces_changed([Remove(ObjectKey("", "ml"))])
    assert house.unserved[1:] == [("ml", None)]
    assert not house.knowledge.serves("ml")
    house.namespaces(ML, NLP)
    assert house.reads == ["ml"], "it is read again: somebody may have written meanwhile"


def test_documents_that_are_needed_no_more_are_looked_at_again(house: House) -> None:
    house.ready(wide(grant(credential="x")), exchange("x", namespace=OWN), exchange("y", namespace=OWN))
    house.run(lambda: len(house.compiled) == 2)
    house.changed.clear()
    house.document(wide(grant(credential="y"), generation=2))
    house.changed.clear()
    house.run(lambda: bool(house.changed))
    assert key(exchange("x", namespace=OWN)) in house.changed


def test_what_breaks_leaves_the_others_to_be_done(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.ready(policy(), source())

    def fails(*_: Any) -> Compiled:
        monkeypatch.setattr(module, "compile_namespace", compile_namespace)
        raise LookupError

    monkeypatch.setattr(module, "compile_namespace", fails)
    with pytest.raises(LookupError):
        house.run(lambda: bool(house.compiled))
    house.run(lambda: bool(house.compiled))
    assert len(house.compiled) == 1


def test_namespaces_are_told_apart(house: House) -> None:
    own, off = Namespace(OWN, {INJECT: "all"}), Namespace("web", {})
    house.namespaces(ML, own, off)
    assert house.knowledge.served() == [ML]
    assert {one.name for one in house.knowledge.others()} == {OWN, "web"}
    assert house.knowledge.world().namespaces.keys() == {"ml", OWN, "web"}
    assert [house.knowledge.serves(name) for name in ("ml", OWN, "gone")] == [True, False, False]


def test_facts_that_change_are_said_once(house: House) -> None:
    before = house.knowledge.facts
    house.knowledge.facts_known(before)
    other = ClusterFacts(native_sidecars=not before.native_sidecars)
    house.knowledge.facts_known(other)
    house.knowledge.facts_known(other)
    assert house.log.events() == ["kubelets were asked"]
    assert house.knowledge.world().facts is other
