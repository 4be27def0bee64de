import pytest

from proxy.core.credentials import CredentialRef
from proxy.documents.metadata import Metadata
from proxy.documents.salvage import Broken, salvaged_name, salvaged_policy
from tests.document_strategies import node_of, policy, service_entry, source


def test_a_policy_keeps_its_sound_grants_with_their_numbers_and_lines() -> None:
    text = policy(
        "{hosts: [a.example.com], credential: one}",
        "{hosts: []}",
        "{hosts: [b.example.com], credential: two}",
    )
    placed = salvaged_policy(node_of(text.replace("[trainer]", "[]")), "a.yaml")
    assert placed is not None
    assert [grant.credential for grant in placed.value.grants] == ["one", "two"]
    assert (placed.grants, placed.file, placed.line) == (((0, 7), (2, 9)), "a.yaml", 1)
    assert (placed.value.namespace, placed.value.name) == ("ml", "p")


def test_a_salvaged_policy_selects_nobody() -> None:
    placed = salvaged_policy(node_of(policy()), "a.yaml")
    assert placed is not None
    assert placed.value.workloads.service_accounts == ()
    assert placed.value.workloads.pod_selector is None


@pytest.mark.parametrize("spec", ["spec: {grants: x}", "spec: {}", "spec: x", ""])
def test_a_policy_without_a_list_of_grants_keeps_none(spec: str) -> None:
    placed = salvaged_policy(node_of(f"kind: AccessPolicy\nmetadata: {{name: p}}\n{spec}\n"), "a.yaml")
    assert placed is not None
    assert placed.value.grants == ()


def broken(text: str) -> Broken:
    found = Broken()
    found.add(node_of(text))
    return found


def test_a_broken_source_is_there() -> None:
    found = broken(source("one").replace("secretName", "secret"))
    assert found == Broken({CredentialRef("ml", "one")}, set())
    assert found.has_source(CredentialRef("ml", "one"))
    assert not found.has_source(CredentialRef("other", "one"))
    assert not found.has_service("one")


def test_a_broken_entry_of_the_catalogue_is_there() -> None:
    found = broken(service_entry("  no: x\n", name="acme"))
    assert found == Broken(set(), {"acme"})
    assert found.has_service("acme")
    assert not found.has_service("other")
    assert not found.has_source(CredentialRef("default", "acme"))


@pytest.mark.parametrize(
    "text",
    [
        "kind: CredentialSource\nmetadata: {name: NO}",
        "kind: CredentialSource\nmetadata: x",
        "kind: CredentialSource",
        "kind: [CredentialSource]\nmetadata: {name: thing}",
        "kind: CredentialSourc\nmetadata: {name: thing}",
        "metadata: {name: thing}",
        "[x]",
    ],
)
def test_what_has_no_readable_name_and_kind_may_be_anything(text: str) -> None:
    found = broken(text)
    assert found == Broken(lost=True)
    assert found.has_source(CredentialRef("ml", "any"))
    assert found.has_service("any")
    assert salvaged_policy(node_of(text.replace("CredentialSource", "AccessPolicy", 1)), "a.yaml") is None


def test_a_name_is_of_the_kind_that_is_asked_for() -> None:
    node = node_of("kind: Thing\nmetadata: {name: thing, namespace: ml}")
    assert salvaged_name(node, "Thing") == Metadata("thing", "ml")
    assert salvaged_name(node, "Thong") is None


def test_what_several_documents_broke_is_gathered() -> None:
    found = broken(source("one").replace("secretName", "secret"))
    found.update(broken(service_entry("  no: x\n", name="acme")))
    assert found == Broken({CredentialRef("ml", "one")}, {"acme"}, lost=False)
    found.update(Broken(lost=True))
    found.update(Broken())
    assert found == Broken({CredentialRef("ml", "one")}, {"acme"}, lost=True)
