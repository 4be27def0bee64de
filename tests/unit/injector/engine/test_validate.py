from typing import Any

import pytest

from injector.core.cluster import Namespace
from injector.core.documents import RawDocument
from injector.engine.compile import compile_namespace
from injector.engine.policy_book import PolicyBook
from injector.engine.validate import MAX_MESSAGE, validate
from injector.reading.reviews import Answer, GroupVersionName, Review
from proxy.core.contract import ACCESS_POLICY, API_GROUP, CREDENTIAL_SOURCE
from proxy.core.structs import replace
from tests.cluster_policies import (
    GPU,
    OWN,
    book,
    broken,
    exchange,
    grant,
    limits,
    policy,
    raw,
    source,
    wide,
)

NLP = Namespace("nlp", {"team": "text"})
NAMESPACES = {"ml": GPU, "nlp": NLP, OWN: Namespace(OWN, {"team": "vision"})}


def review(document: RawDocument, operation: str = "CREATE", **more: Any) -> Review:
    plural = {ACCESS_POLICY: "accesspolicies", CREDENTIAL_SOURCE: "credentialsources"}[document.kind]
    said: dict[str, Any] = {"object": document.document, **more}
    return Review(
        "u",
        operation,
        GroupVersionName(API_GROUP, "v1alpha1", document.kind),
        GroupVersionName(API_GROUP, "v1alpha1", plural),
        namespace=document.namespace,
        name=document.name,
        **said,
    )


def asked(made: PolicyBook, document: RawDocument, operation: str = "CREATE", **more: Any) -> Answer:
    return validate(review(document, operation, **more), made, NAMESPACES)


def is_silent(answer: Answer) -> bool:
    return answer.allowed and not answer.warnings and not answer.message


# --- what is asked at all ----------------------------------------------------------------------------------


def test_a_sound_document_is_taken() -> None:
    assert is_silent(asked(book(source()), policy()))
    assert is_silent(asked(book(policy()), source()))
    assert is_silent(asked(book(), wide(grant(credential="x")), "CREATE")) is False  # its source is missing
    assert is_silent(asked(book(exchange("x", namespace=OWN)), wide(grant(credential="x"))))


def test_other_kinds_and_sub_resources_are_not_ours_to_judge() -> None:
    bad = review(broken(policy()))
    assert not validate(bad, book(), NAMESPACES).allowed
    assert is_silent(validate(replace(bad, sub_resource="status"), book(), NAMESPACES))
    assert is_silent(validate(replace(bad, kind=GroupVersionName("", "v1", "Pod")), book(), NAMESPACES))
    other = GroupVersionName(API_GROUP, "v1alpha1", "Other")
    assert is_silent(validate(replace(bad, kind=other), book(), NAMESPACES))
    assert is_silent(validate(replace(bad, operation="CONNECT"), book(), NAMESPACES))


def test_a_change_of_labels_goes_through_where_the_document_is_unsound() -> None:
    """Else nobody could take a finalizer away, and a deletion would never end."""
    document = broken(policy())
    labelled = {**document.document, "metadata": {"name": "p", "namespace": "ml", "labels": {"a": "b"}}}
    assert is_silent(asked(book(), document, "UPDATE", object=labelled, old_object=document.document))
    assert not asked(book(), document, "UPDATE", old_object=policy().document).allowed


@pytest.mark.parametrize("old", [None, {}, {"spec": None}, {"spec": []}])
def test_an_update_without_an_old_spec_is_judged(old: Any) -> None:
    assert not asked(book(), broken(policy()), "UPDATE", old_object=old).allowed


def test_values_that_python_takes_for_equal_are_told_apart() -> None:
    before = policy(grant(ports=[1])).document
    after = policy(grant(ports=[True])).document
    assert before == after
    assert not asked(book(source()), policy(grant(ports=[True])), "UPDATE", old_object=before).allowed
    fewer = policy(grant(ports=[1, 2])).document
    assert asked(book(source()), policy(grant(ports=[1])), "UPDATE", old_object=fewer).allowed


def test_a_review_without_its_object_is_refused() -> None:
    for operation in ("CREATE", "UPDATE"):
        answer = asked(book(), policy(), operation, object=None)
        assert not answer.allowed
        assert "without `object`" in answer.message


def test_a_dry_run_is_judged_alike() -> None:
    answer = asked(book(), broken(policy()), dry_run=True)
    assert not answer.allowed
    assert answer.dry_run


# --- what the document brings ------------------------------------------------------------------------------


def test_all_problems_are_told_at_once() -> None:
    document = policy(grant(ports=[0]), {"service": "nowhere", "credential": "one"}, grant(methods=["get"]))
    message = asked(book(source()), document).message
    lines = message.split("\n")
    assert lines[0] == "AccessPolicy ml/p has 3 problems"
    assert any("spec.grants[0].ports[0]: " in line for line in lines)
    assert any("spec.grants[1].service: there is no service `nowhere`" in line for line in lines)
    assert any("spec.grants[2].methods" in line for line in lines)


def test_a_refusal_of_500_problems_is_short() -> None:
    document = policy(*(grant(f"h{number}.example.com", ports=[0]) for number in range(700)))
    answer = asked(book(source()), document)
    assert not answer.allowed
    assert len(answer.message.encode()) <= MAX_MESSAGE
    assert "more" in answer.message.rpartition("\n")[2]
    wide_characters = policy(*(grant(methods=["ü" * 300]) for _ in range(200)))
    assert len(asked(book(source()), wide_characters).message.encode()) <= MAX_MESSAGE


def test_what_somebody_wrote_cannot_speak_to_a_terminal() -> None:
    answer = asked(book(source()), policy(grant("a\x1b[31m\u202eb.example.com")))
    assert not answer.allowed
    assert answer.message.replace("\n", "").isprintable()


def test_one_problem_is_one_problem() -> None:
    assert asked(book(source()), policy(grant(ports=[0]))).message.startswith(
        "AccessPolicy ml/p has 1 problem\n"
    )


def test_an_overlap_refuses_the_one_that_brings_it() -> None:
    there = book(policy(), source(), source("two"))
    answer = asked(there, policy(grant(credential="two"), name="q"))
    assert not answer.allowed
    assert "overlaps with p grants[0] (AccessPolicy ml/p)" in answer.message
    # The same, where it is told at the other one, which comes later by its name.
    answer = asked(there, policy(grant(credential="two"), name="a"))
    assert not answer.allowed
    assert "AccessPolicy ml/p: spec.grants[0]: overlaps with a" in answer.message


def test_an_edit_replaces_its_old_self() -> None:
    there = book(policy(), source(), source("two"))
    edited = policy(grant(credential="two"), generation=2)
    assert is_silent(asked(there, edited, "UPDATE", old_object=policy().document))


def test_problems_that_are_there_already_refuse_nobody() -> None:
    there = book(
        policy(),
        policy(grant(credential="two"), name="q"),
        broken(policy(name="r")),
        broken(source("three")),
        policy(grant("d.example.com", "nowhere"), name="s"),
        source(),
        source("two"),
    )
    assert is_silent(asked(there, policy(grant("c.example.com"), name="t")))


def test_what_a_policy_overlaps_with_is_found_behind_many_other_overlaps() -> None:
    """Only the first fifty are reported of a namespace."""
    there = book(
        *(policy(grant("a.example.com", f"s{number}"), name=f"p{number}") for number in range(12)),
        policy(grant("z.example.com", "s0"), name="z"),
        *(source(f"s{number}") for number in range(12)),
    )
    answer = asked(there, policy(grant("z.example.com", "s1"), name="zz"))
    assert not answer.allowed
    assert answer.message.count("\n") == 1
    assert "overlaps with z grants[0] (AccessPolicy ml/z)" in answer.message
    assert is_silent(asked(there, policy(grant("y.example.com", "s1"), name="zz")))


def test_two_grants_of_one_policy_that_overlap_are_told_once() -> None:
    answer = asked(book(source(), source("two"), policy(name="q")), policy(grant(), grant(credential="two")))
    assert not answer.allowed
    lines = [line for line in answer.message.split("\n") if "overlaps with p" in line]
    assert len([line for line in lines if "AccessPolicy ml/q" not in line]) == 1


def test_a_source_that_is_not_there_yet_only_warns() -> None:
    """A tool that applies a folder may write it a moment later, and the cache may be behind."""
    answer = asked(book(), policy())
    assert answer.allowed
    (warning,) = answer.warnings
    assert warning.startswith(
        "spec.grants[0].credential: there is no CredentialSource `one` in namespace `ml`; "
    )


def test_a_source_that_does_not_read_is_not_missing() -> None:
    assert is_silent(asked(book(broken(source())), policy()))


def test_a_source_that_does_not_fit_its_policies_warns_and_a_policy_is_refused() -> None:
    pair = {"mountedSecret": {"secretName": "s", "keys": {"accessKeyId": "id", "secretAccessKey": "sk"}}}
    changed = raw(CREDENTIAL_SOURCE, pair, name="one", generation=2)
    answer = asked(book(policy(), source()), changed, "UPDATE", old_object=source().document)
    assert answer.allowed
    assert answer.warnings[0].startswith("AccessPolicy ml/p: spec.grants[0].credential: ")
    assert not asked(book(changed), policy()).allowed


# --- cluster-wide ------------------------------------------------------------------------------------------


def test_a_tenant_cannot_write_about_other_namespaces() -> None:
    for document in (wide(namespace="ml"), limits("a.example.com", namespace="ml")):
        answer = asked(book(exchange("one")), document)
        assert not answer.allowed
        assert "spec.workloads.namespaceSelector" in answer.message


def test_limits_refuse_what_a_tenant_may_not_grant() -> None:
    there = book(limits("ok.example.com"), source())
    answer = asked(there, policy())
    assert not answer.allowed
    assert "by the limits of podkey-system/limits" in answer.message
    assert is_silent(asked(there, policy(grant("ok.example.com"))))
    elsewhere = policy(namespace="nlp")
    assert asked(book(limits("ok.example.com"), source(namespace="nlp")), elsewhere).allowed


def test_the_limits_in_force_count_also_while_their_edit_does_not_read() -> None:
    there = book(limits("ok.example.com"), source())
    there.put_in_force(compile_namespace(GPU, there, None))
    there.upsert(broken(limits("ok.example.com")))
    assert not asked(there, policy()).allowed


def test_limits_do_not_bind_podkeys_own_policies() -> None:
    there = book(limits("ok.example.com"), exchange("x", namespace=OWN))
    assert is_silent(asked(there, wide(grant(credential="x"))))


def test_a_tenant_cannot_overlap_with_what_stands_above() -> None:
    there = book(wide(grant(credential="x")), exchange("x", namespace=OWN), source())
    assert not asked(there, policy()).allowed
    assert is_silent(
        asked(book(wide(grant(credential="x")), source(namespace="nlp")), policy(namespace="nlp"))
    )


def test_cluster_wide_sources_and_secrets() -> None:
    there = book(source(namespace=OWN))
    answer = asked(there, wide())
    assert not answer.allowed
    assert "mounts the Secret `s`" in answer.message
    # Told at the policy that names it, so that the source only warns.
    there = book(exchange(namespace=OWN), wide())
    answer = asked(there, source(namespace=OWN, generation=2), "UPDATE", old_object=exchange().document)
    assert answer.allowed
    assert "mounts the Secret" in answer.warnings[0]


def test_new_limits_say_whom_they_take_something_from() -> None:
    there = book(*(policy(name=f"p{number}") for number in range(6)), source(), policy(namespace="nlp"))
    answer = asked(there, limits("ok.example.com"))
    assert answer.allowed
    (warning,) = answer.warnings
    assert warning.startswith(
        "these limits take policies out of force: AccessPolicy ml/p0, AccessPolicy ml/p1,"
    )
    assert warning.endswith(" AccessPolicy ml/p2 and others")
    assert is_silent(asked(there, limits("api.example.com")))
    refused = asked(there, limits("ok.example.com", services=["nowhere"]))
    assert not refused.allowed
    assert refused.warnings


def test_a_policy_in_a_namespace_that_is_not_known_is_judged_by_its_own() -> None:
    assert is_silent(asked(book(source(namespace="new")), policy(namespace="new")))


# --- deleting ----------------------------------------------------------------------------------------------


def test_deleting_a_source_that_is_used_warns() -> None:
    there = book(*(policy(name=f"p{number}") for number in range(4)), source())
    answer = asked(there, source(), "DELETE", object=None, old_object=source().document)
    assert answer.allowed
    assert answer.warnings == ("policies name this CredentialSource and end with it: p0, p1, p2 and others",)


def test_deleting_anything_else_is_silent() -> None:
    there = book(policy(), source())
    assert is_silent(asked(there, source("unused"), "DELETE", object=None))
    assert is_silent(asked(there, policy(), "DELETE", object=None))
    collection = replace(review(source(), "DELETE", object=None), name="")
    assert is_silent(validate(collection, there, NAMESPACES))


# --- odd objects -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "written",
    [
        {},
        {"metadata": None},
        {"metadata": {"name": 7}},
        {"metadata": {"name": "p"}},
        {"metadata": {"name": "p", "namespace": "other"}},
        {"metadata": {"name": "p", "namespace": "ml"}, "spec": {"\ud800": 1}},
        {"metadata": {"name": "p", "namespace": "ml"}, "spec": [[[[[[]]]]]]},
        {"kind": "CatalogueEntry", "metadata": {"name": "p"}},
        {"apiVersion": "podkey.io/v9", "metadata": {"name": "p", "namespace": "ml"}},
    ],
)
def test_an_object_that_cannot_be_read_is_refused(written: dict[str, Any]) -> None:
    answer = asked(book(), policy(), object=written)
    assert not answer.allowed
    assert answer.message.encode()
