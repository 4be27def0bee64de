import pytest

from injector.core.cluster import Namespace, PodNeeds
from injector.core.documents import RawDocument
from injector.engine.compile import compile_namespace
from injector.engine.policy_book import Change, PolicyBook, is_for
from proxy.core.contract import ACCESS_POLICY, CREDENTIAL_SOURCE, NAMESPACE_NAME_LABEL
from proxy.core.credentials import CredentialRef
from proxy.core.policy import AccessPolicy
from proxy.core.structs import replace
from tests.cluster_policies import (
    GPU,
    OWN,
    book,
    broken,
    exchange,
    grant,
    key,
    limits,
    policy,
    source,
    wide,
)

NLP = Namespace("nlp", {NAMESPACE_NAME_LABEL: "nlp", "team": "text"})
EVERY = (GPU, NLP)


def affected(of: PolicyBook, *changes: Change) -> set[str]:
    return set(of.affected(changes, EVERY))


# --- what the cluster has --------------------------------------------------------------------------------


def test_a_document_is_there_until_it_is_removed() -> None:
    made = book(policy())
    assert made.get(key(policy())) is not None
    assert [held.key for held in made] == [key(policy())]
    removed = made.remove(key(policy()))
    assert removed.before is not None
    assert removed.after is None
    assert made.get(key(policy())) is None
    assert made.in_namespace("ml") == ()


def test_what_was_never_there_is_removed_without_a_change() -> None:
    assert book(policy()).remove(key(source())).changes_nothing
    assert book().remove(key(source())).changes_nothing


def test_documents_come_in_the_order_of_their_names() -> None:
    made = book(source("b"), policy(name="z"), policy(name="a"), source("a"))
    assert [held.key.name for held in made.in_namespace("ml")] == ["a", "z", "a", "b"]


def test_a_change_of_metadata_or_status_changes_nothing() -> None:
    made = book(policy())
    assert made.upsert(
        replace(policy(status={"observedGeneration": 1}), resource_version="2")
    ).changes_nothing
    held = made.get(key(policy()))
    assert held is not None
    assert held.status is not None
    assert not made.upsert(policy(generation=2)).changes_nothing
    assert not made.upsert(policy(generation=2, uid="anew")).changes_nothing


def test_what_was_read_elsewhere_is_taken_as_it_is() -> None:
    made = book()
    held = made.read(policy())
    assert made.upsert(held).after is held


def test_a_list_replaces_what_is_not_in_it_and_leaves_the_other_kind_alone() -> None:
    made = book(policy(), policy(name="q"), source())
    changes = made.replace_all(ACCESS_POLICY, [policy(name="q"), policy(name="r", namespace="nlp")])
    assert {held.key.name for held in made} == {"q", "r", "one"}
    assert [change.changes_nothing for change in changes] == [True, False, False]
    made.replace_all(CREDENTIAL_SOURCE, [])
    assert {held.key.kind for held in made} == {ACCESS_POLICY}


def test_the_users_of_a_source_are_those_of_its_namespace() -> None:
    made = book(
        policy(name="b"),
        policy(name="a"),
        policy(name="c", namespace="nlp"),
        broken(policy(name="d")),
        source(),
    )
    assert made.users(CredentialRef("ml", "one")) == ("a", "b")
    assert made.users(CredentialRef("ml", "two")) == ()


def test_an_excerpt_has_what_its_namespace_is_compiled_from_and_stays_as_it_is() -> None:
    made = book(policy(), source(), wide(grant("w.example.com", "x")), exchange("x", namespace=OWN))
    made.upsert(policy(namespace="nlp"))
    excerpt = made.excerpt("ml")
    assert {held.key.namespace for held in excerpt} == {"ml", OWN}
    before = compile_namespace(GPU, made, None)
    made.remove(key(policy()))
    made.upsert(broken(source()))
    assert compile_namespace(GPU, excerpt, None).text == before.text
    assert list(made.excerpt("unknown")) == list(made.in_namespace(OWN))


# --- which namespaces a change is about ------------------------------------------------------------------


def test_a_tenants_document_is_about_its_own_namespace() -> None:
    made = book()
    assert affected(made, made.upsert(policy())) == {"ml"}
    assert affected(made, made.upsert(policy())) == set()
    assert affected(made, made.upsert(wide(namespace="ml"))) == {"ml"}
    assert affected(made, made.remove(key(policy()))) == {"ml"}


def test_a_cluster_wide_policy_is_about_those_that_it_selects_or_did() -> None:
    made = book()
    assert affected(made, made.upsert(wide())) == {OWN, "ml"}
    assert affected(made, made.upsert(wide(labels={"team": "text"}, generation=2))) == {OWN, "ml", "nlp"}
    assert affected(made, made.remove(key(wide()))) == {OWN, "nlp"}
    assert affected(made, made.upsert(limits("a.example.com"))) == {OWN, "ml"}


def test_a_cluster_wide_source_is_about_those_whose_policies_name_it() -> None:
    made = book(wide(grant(credential="x")), policy(namespace=OWN))
    assert affected(made, made.upsert(exchange("x", namespace=OWN))) == {OWN, "ml"}
    assert affected(made, made.upsert(exchange("y", namespace=OWN))) == {OWN}


def test_a_broken_cluster_wide_document_is_about_those_where_it_is_in_force() -> None:
    made = book(wide(grant(credential="x")), exchange("x", namespace=OWN))
    made.put_in_force(compile_namespace(GPU, made, None))
    made.upsert(broken(wide()))
    again = made.upsert(broken(wide(), 3))
    assert affected(made, again) == {OWN, "ml"}
    assert affected(made, made.upsert(broken(exchange("x", namespace=OWN)))) == {OWN, "ml"}


# --- what is in force ------------------------------------------------------------------------------------


def policies(of: PolicyBook, namespace: Namespace = GPU, account: str = "trainer") -> tuple[str, ...]:
    return of.needs(namespace, account, {}).policies


def test_limits_that_do_not_read_are_about_everybody_and_so_is_mending_them() -> None:
    unread = limits("a.example.com")
    unread = replace(unread, document={**unread.document, "spec": {"limits": {"hots": []}}})
    made = book()
    assert affected(made, made.upsert(unread)) >= {"ml", "nlp"}
    assert [held.key for held in made.unread_limits()] == [key(unread)]
    assert affected(made, made.upsert(replace(limits("a.example.com"), generation=2))) >= {"ml", "nlp"}
    assert made.unread_limits() == []


def test_before_anything_is_compiled_documents_count_as_they_are() -> None:
    made = book(policy(), source())
    assert policies(made) == ("ml/p",)
    made.upsert(policy(accounts=["server"], generation=2))
    assert policies(made) == ()
    made.upsert(wide())
    assert policies(made) == ("podkey-system/w",)
    made.remove(key(wide()))
    assert policies(made) == ()
    made.upsert(broken(policy(), 3))
    assert policies(made, account="server") == ()


def test_a_change_elsewhere_does_not_throw_away_what_was_found() -> None:
    made = book(policy(), source())
    first = made.needs(GPU, "trainer", {})
    made.upsert(policy(namespace="nlp"))
    made.upsert(policy())
    assert made.needs(GPU, "trainer", {}) is first


def test_what_is_compiled_counts_until_something_else_is_put_in_force() -> None:
    made = book(policy(), source())
    made.put_in_force(compile_namespace(GPU, made, None))
    made.upsert(broken(policy()))
    assert policies(made) == ("ml/p",)
    before = made.compiled("ml")
    made.upsert(policy(accounts=["server"], generation=3))
    made.put_in_force(compile_namespace(GPU, made, before))
    assert policies(made) == ()
    assert policies(made, account="server") == ("ml/p",)


def test_what_was_just_applied_counts_beside_what_is_in_force() -> None:
    """`kubectl apply` of a policy and its Job: the pod is there before the policy is compiled."""
    made = book(policy(), source())
    made.put_in_force(compile_namespace(GPU, made, None))
    made.upsert(policy(grant(credential="two"), name="second"))
    made.upsert(source("two", secret="another"))
    made.upsert(wide(grant(credential="x")))
    made.upsert(exchange("x", namespace=OWN, audience="just-now"))
    needs = made.needs(GPU, "trainer", {})
    assert needs.policies == ("ml/p", "ml/second", "podkey-system/w")
    assert dict(needs.secrets) == {"s": ("token",), "another": ("token",)}
    assert needs.audiences == ("just-now",)


def test_what_could_not_be_put_in_force_does_not_count() -> None:
    made = book(policy(), source(), policy(name="other"), limits("elsewhere.example.com"))
    made.put_in_force(compile_namespace(GPU, made, None))
    assert policies(made) == ()


def test_a_namespace_that_is_forgotten_counts_as_it_is() -> None:
    made = book(policy(), source())
    made.put_in_force(compile_namespace(GPU, made, None))
    made.upsert(policy(accounts=["server"], generation=2))
    made.forget_namespace("ml")
    assert made.compiled("ml") is None
    assert policies(made, account="server") == ("ml/p",)
    made.forget_namespace("unknown")


def test_the_labels_of_the_namespace_are_asked_as_they_are_now() -> None:
    made = book(wide(grant(credential="x")), exchange("x", namespace=OWN))
    made.put_in_force(compile_namespace(GPU, made, None))
    assert policies(made) == ("podkey-system/w",)
    assert policies(made, Namespace("ml", {"team": "text"})) == ()


def test_a_tenants_namespace_selector_selects_nothing() -> None:
    """Neither elsewhere nor at home: it does not read, and it would not count if it did."""
    made = book(wide(namespace="ml"))
    assert made.needs(GPU, "trainer", {}) == PodNeeds()
    value = book(wide()).in_namespace(OWN)[0].value
    assert isinstance(value, AccessPolicy)
    assert not is_for(replace(value, namespace="ml"), GPU, OWN)
    assert is_for(value, GPU, OWN)


@pytest.mark.parametrize("document", [policy(), source()])
def test_the_same_name_in_two_namespaces_is_two_documents(document: RawDocument) -> None:
    made = book(document, replace(document, namespace="nlp", uid="u"))
    assert len(list(made)) == 2
