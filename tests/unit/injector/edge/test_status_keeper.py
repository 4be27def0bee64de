import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from injector.core.api import ACCESS_POLICIES, CREDENTIAL_SOURCES, ObjectKey, Resource
from injector.core.cluster import Namespace
from injector.core.documents import RawDocument
from injector.edge.knowledge import Knowledge
from injector.edge.status_keeper import StatusKeeper
from injector.engine.compile import compile_namespace
from injector.engine.holdings import Compiled
from injector.engine.reflector import Replace, Upsert
from proxy.core.contract import ACCESS_POLICY, CREDENTIAL_SOURCE, INJECT
from proxy.core.structs import replace
from proxy.services.loader import built_in_catalogue
from tests.admission_world import SETTINGS
from tests.cluster_policies import OWN, exchange, grant, key, policy, source, wide
from tests.injector_world import Lines

ML = Namespace("ml", {INJECT: "all", "team": "vision"})
NLP = Namespace("nlp", {INJECT: "all", "team": "vision"})
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Writer:
    """What would be written, by `namespace/name`; the API server's part is played by `stored`."""

    def __init__(self) -> None:
        self.told: dict[str, Mapping[str, Any] | None] = {}
        self.resources: dict[str, Resource] = {}

    def tell(self, resource: Resource, namespace: str, name: str, patch: Mapping[str, Any] | None) -> None:
        self.told[f"{namespace}/{name}"] = patch
        self.resources[f"{namespace}/{name}"] = resource


class House:
    def __init__(self) -> None:
        self.knowledge = Knowledge(
            SETTINGS,
            built_in_catalogue(),
            Lines(),
            compiled=lambda _compiled: None,
            changed=lambda _keys: None,
            unserved=lambda _name, _namespace: None,
            read_back=lambda _name: None,
        )
        self.writer = Writer()
        self.leads = True
        self.keeper = StatusKeeper(self.knowledge, self.writer, lambda: self.leads, lambda: NOW)  # type: ignore[arg-type]
        self.runner = asyncio.Runner()
        self.documents: dict[str, RawDocument] = {}

    def know(self, *documents: RawDocument, namespaces: tuple[Namespace, ...] = (ML,)) -> None:
        self.knowledge.namespaces_changed([Replace({ObjectKey("", one.name): one for one in namespaces})])
        for kind in (ACCESS_POLICY, CREDENTIAL_SOURCE):
            of_kind = {ObjectKey(one.namespace, one.name): one for one in documents if one.kind == kind}
            self.knowledge.documents_changed(kind, [Replace(of_kind)])
        self.documents = {f"{one.namespace}/{one.name}": one for one in documents}
        self.keeper.again(map(key, documents))

    def compile(self, namespace: Namespace = ML) -> Compiled:
        book = self.knowledge.book
        compiled = compile_namespace(namespace, book, book.compiled(namespace.name))
        book.put_in_force(compiled)
        self.keeper.compiled(compiled)
        return compiled

    def run(self) -> dict[str, str]:
        """What is told now: the reason of `Compiled`, and empty where nothing changes."""
        self.writer.told.clear()

        async def go() -> None:
            task = asyncio.create_task(self.keeper.run())
            while self.keeper._due and not task.done():  # noqa: ASYNC110 - it says nothing when it is done
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])

        self.runner.run(go())
        return {name: _reason(patch) for name, patch in self.writer.told.items()}

    def store(self) -> None:
        """What was told is what the watch brings."""
        for name, patch in self.writer.told.items():
            if patch is not None:
                self.stored(self.documents[name], patch["status"])

    def stored(self, one: RawDocument, status: Mapping[str, Any]) -> None:
        there = {field: value for field, value in status.items() if value is not None}
        document = replace(one, document={**one.document, "status": there})
        self.knowledge.documents_changed(one.kind, [Upsert(ObjectKey(one.namespace, one.name), document)])


def _reason(patch: Mapping[str, Any] | None) -> str:
    if patch is None:
        return ""
    found: str = next(one["reason"] for one in patch["status"]["conditions"] if one["type"] == "Compiled")
    return found


@pytest.fixture
def house() -> Any:
    made = House()
    yield made
    made.runner.close()


def test_a_document_is_in_force_when_it_was_written(house: House) -> None:
    house.know(policy(), source())
    assert house.run() == {"ml/p": "Pending", "ml/one": "Pending"}
    compiled = house.compile()
    assert house.run() == {"ml/p": "Pending", "ml/one": "Pending"}
    house.keeper.in_force(compiled)
    assert house.run() == {"ml/p": "InForce", "ml/one": "InForce"}
    assert house.writer.resources == {"ml/p": ACCESS_POLICIES, "ml/one": CREDENTIAL_SOURCES}


def test_what_is_told_already_is_not_written_again(house: House) -> None:
    house.know(policy(), source())
    house.keeper.in_force(house.compile())
    house.run()
    house.store()
    house.keeper.again([key(policy())])
    assert house.run() == {"ml/p": ""}, "and what waits to be written is taken back"


def test_an_older_write_says_nothing_of_what_was_compiled_since(house: House) -> None:
    house.know(policy(), source())
    older = house.compile()
    house.know(policy(generation=2), source())
    house.compile()
    house.keeper.in_force(older)
    assert house.run() == {"ml/p": "Pending", "ml/one": "Pending"}


def test_a_new_leader_changes_no_status_before_it_has_written(house: House) -> None:
    house.know(policy(), source())
    house.keeper.in_force(house.compile())
    house.run()
    house.store()
    house.keeper.begin()
    house.compile()
    assert house.run() == {}
    compiled = house.knowledge.book.compiled("ml")
    assert compiled is not None
    house.keeper.in_force(compiled)
    assert house.run() == {"ml/p": "", "ml/one": ""}


def test_who_does_not_lead_and_who_does_not_know_all_tells_nothing(house: House) -> None:
    house.leads = False
    house.know(policy(), source())
    assert house.run() == {}
    other = House()
    other.knowledge.documents_changed(ACCESS_POLICY, [Replace({ObjectKey("ml", "p"): policy()})])
    other.keeper.again([key(policy())])
    assert other.run() == {}, "its namespace may be one with sidecars"
    other.runner.close()


def test_what_was_removed_is_told_nothing(house: House) -> None:
    house.know(policy())
    house.know()
    house.keeper.again([key(policy())])
    assert house.run() == {}


def test_a_document_where_no_pods_get_sidecars_says_so(house: House) -> None:
    house.know(policy(), namespaces=(Namespace("ml", {}),))
    assert house.run() == {"ml/p": "NoNamespace"}


def test_a_cluster_wide_policy_waits_for_all_that_it_may_be_for(house: House) -> None:
    house.know(wide(grant(credential="x")), exchange("x", namespace=OWN), namespaces=(ML, NLP))
    house.keeper.in_force(house.compile(ML))
    assert house.run() == {f"{OWN}/w": "InForce", f"{OWN}/x": "InForce"}
    house.keeper.in_force(house.compile(NLP))
    house.run()
    patch = house.writer.told[f"{OWN}/w"]
    assert patch is not None
    assert "`ml`, `nlp`" in str(patch["status"]["conditions"][1]["message"])


def test_a_cluster_wide_policy_that_is_for_nobody_learns_it_when_the_last_is_compiled(house: House) -> None:
    house.know(wide(grant(credential="x"), labels={"team": "other"}), namespaces=(ML,))
    assert house.run() == {f"{OWN}/w": "Pending"}
    house.compile()
    assert house.run() == {f"{OWN}/w": "NoNamespace"}
    house.compile()
    assert house.run() == {}


def test_pods_are_counted_for_policies(house: House) -> None:
    house.know(policy(), source(), policy(name="idle"))
    house.keeper.in_force(house.compile())
    house.keeper.matched({"ml/p": 3})
    house.run()
    counts = {name: patch["status"]["matchedPods"] for name, patch in house.writer.told.items() if patch}
    assert counts == {"ml/p": 3, "ml/idle": 0, "ml/one": None}
    house.keeper.matched({"ml/p": 3})
    assert house.run() == {}
    house.keeper.matched({"ml/p": 4})
    assert house.run().keys() == {"ml/p"}
    house.keeper.matched({})
    assert house.run().keys() == {"ml/p"}


def test_what_breaks_leaves_the_others_to_be_told(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.know(policy(), source())
    tell = house.keeper._tell

    def fails(_key: object) -> None:
        monkeypatch.setattr(house.keeper, "_tell", tell)
        raise LookupError

    monkeypatch.setattr(house.keeper, "_tell", fails)

    async def go() -> None:
        with pytest.raises(LookupError):
            await house.keeper.run()

    house.runner.run(go())
    assert len(house.run()) == 1
