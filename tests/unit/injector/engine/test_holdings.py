from injector.core.documents import RawDocument
from injector.engine.conditions import Status
from injector.engine.holdings import MAX_HELD_PROBLEMS, Compiled, DocumentKey, hold, key_of, place
from proxy.core.contract import ACCESS_POLICY, CREDENTIAL_SOURCE
from proxy.core.credentials import CredentialSource
from proxy.core.policy import AccessPolicy
from proxy.core.structs import replace
from tests.cluster_policies import OWN, broken, grant, limits, policy, raw, source, wide


def test_a_sound_object_becomes_its_value() -> None:
    held = hold(policy(grant("a.example.com")), OWN)
    assert isinstance(held.value, AccessPolicy)
    assert held.value.grants[0].hosts[0].text == "a.example.com"
    assert held.key == DocumentKey(ACCESS_POLICY, "ml", "p") == key_of(held.value)
    assert (held.uid, held.generation, held.problems) == ("uid-of-ml-p", 1, ())
    assert str(held.key) == "AccessPolicy ml/p"


def test_an_object_with_problems_has_them_and_no_value() -> None:
    held = hold(broken(policy()), OWN)
    assert held.value is None
    assert {problem.file for problem in held.problems} == {"AccessPolicy ml/p"}


def test_a_problem_beside_a_readable_rest_leaves_no_value() -> None:
    """A document is in force as a whole, or not at all."""
    said = policy(grant(), grant(ports=[0]))
    assert hold(said, OWN).value is None


def test_the_items_of_a_list_may_be_without_version_and_kind() -> None:
    whole = policy()
    item = replace(whole, document={k: v for k, v in whole.document.items() if k in {"metadata", "spec"}})
    assert hold(item, OWN).value == hold(whole, OWN).value


def test_an_object_that_calls_itself_something_else_is_not_believed() -> None:
    said = policy()
    for other in (replace(said, name="q"), replace(said, namespace="other")):
        held = hold(other, OWN)
        assert held.value is None
        assert "does not call itself" in held.problems[0].message
    entry = RawDocument(ACCESS_POLICY, "ml", "p", document=source("p").document)
    assert hold(entry, OWN).value is None


def test_a_tenant_cannot_write_about_other_namespaces() -> None:
    for document in (wide(namespace="ml"), limits("a.example.com", namespace="ml")):
        held = hold(document, OWN)
        assert held.value is None
        assert "podkey-system" in held.problems[0].message
        assert held.problems[0].path == "spec.workloads.namespaceSelector"
    assert hold(wide(), OWN).value is not None
    assert hold(limits("a.example.com"), OWN).value is not None


def test_a_broken_tenant_policy_tells_all_at_once() -> None:
    held = hold(wide(grant(ports=[0]), grant(methods=["get"]), namespace="ml"), OWN)
    assert len(held.problems) >= 2


def test_what_says_the_same_is_not_read_again() -> None:
    first = hold(policy(), OWN)
    again = replace(policy(), document={"spec": "never looked at"})
    assert hold(again, OWN, first) is first
    newer = replace(policy(grant("b.example.com")), generation=2)
    assert hold(newer, OWN, first).value != first.value
    assert not first.says_the_same(hold(newer, OWN, first))


def test_an_object_that_was_made_anew_is_read_though_its_generation_is_the_same() -> None:
    first = hold(policy(), OWN)
    anew = policy(grant("b.example.com"), uid="another")
    assert hold(anew, OWN, first).value != first.value


def test_a_new_status_keeps_the_value() -> None:
    first = hold(policy(), OWN)
    told = hold(policy(status={"observedGeneration": 1}), OWN, first)
    assert told.value is first.value
    assert told.status == Status(1, ())
    assert told.says_the_same(first)


def test_a_value_has_a_place_without_lines() -> None:
    value = hold(policy(grant(), grant("b.example.com")), OWN).value
    assert value is not None
    assert place(value).grants == ((0, 0), (1, 0))
    assert place(value).file == "AccessPolicy ml/p"
    other = hold(source(), OWN).value
    assert isinstance(other, CredentialSource)
    assert place(other).file == f"{CREDENTIAL_SOURCE} ml/one"


def test_nothing_compiled_is_no_text() -> None:
    assert Compiled("ml", {}).text == ""


def test_half_a_character_is_a_problem_and_no_crash() -> None:
    assert hold(raw(ACCESS_POLICY, {"\ud800": 1}), OWN).value is None
    assert hold(raw(ACCESS_POLICY, [float("inf"), None]), OWN).value is None


def test_only_as_many_problems_are_kept_as_anybody_is_told() -> None:
    held = hold(policy(*(grant(ports=[0]) for _ in range(300))), OWN)
    assert len(held.problems) == MAX_HELD_PROBLEMS
    assert held.problems[-1].message == "there are 281 more problems"
