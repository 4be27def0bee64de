"""Which policies can be about one pod."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.contract import NAMESPACE_NAME_LABEL
from proxy.core.labels import LabelRequirement, LabelSelector, Operator
from proxy.core.policy import AccessPolicy, Mode, WorkloadSelector
from proxy.core.selection import selects_namespace
from proxy.documents.meeting import companies, namespaces_meet, unlike
from proxy.documents.placed import Placed


def named(operator: Operator, *names: str) -> LabelSelector:
    return LabelSelector((), (LabelRequirement(NAMESPACE_NAME_LABEL, operator, names),))


TENANTS, GUESTS = (LabelSelector((("tenant", value),)) for value in ("yes", "no"))
ML, WEB = (LabelSelector(((NAMESPACE_NAME_LABEL, name),)) for name in ("ml", "web"))
ALL = named(Operator.EXISTS)
NOT_ML = named(Operator.NOT_IN, "ml")
# Every namespace has this label.
NOWHERE = named(Operator.DOES_NOT_EXIST)
BOTH = LabelSelector((("tenant", "yes"),), NOT_ML.match_expressions)
SELECTORS = (TENANTS, GUESTS, ML, WEB, ALL, NOT_ML, NOWHERE, BOTH, named(Operator.IN, "ml", "nlp"))


def policy(
    namespace: str, selector: LabelSelector | None = None, *, mode: Mode = Mode.ENFORCE
) -> AccessPolicy:
    return AccessPolicy(namespace, "p", WorkloadSelector(("*",), namespaces=selector), (), mode)


@pytest.mark.parametrize(
    ("one", "two", "meet"),
    [
        (policy("ml"), policy("ml"), True),
        (policy("ml"), policy("web"), False),
        # A cluster-wide policy is not about its own namespace, if it does not say so.
        (policy("sys", ML), policy("sys"), False),
        (policy("sys", ML), policy("ml"), True),
        (policy("sys", ML), policy("web"), False),
        # Which labels a namespace has, nobody knows here.
        (policy("sys", TENANTS), policy("ml"), True),
        (policy("sys", BOTH), policy("ml"), False),
        (policy("sys", NOT_ML), policy("ml"), False),
        (policy("sys", NOT_ML), policy("web"), True),
        (policy("sys", TENANTS), policy("sys", GUESTS), False),
        (policy("sys", TENANTS), policy("sys", TENANTS), True),
        (policy("sys", TENANTS), policy("sys", ML), True),
        (policy("sys", ML), policy("sys", WEB), False),
        (policy("sys", NOWHERE), policy("sys", ALL), False),
        (policy("sys", NOWHERE), policy("sys", NOWHERE), False),
        (policy("sys", NOWHERE), policy("ml"), False),
    ],
)
def test_policies_meet_where_a_namespace_can_be_that_of_both(
    one: AccessPolicy, two: AccessPolicy, *, meet: bool
) -> None:
    assert namespaces_meet(one, two) is meet
    assert namespaces_meet(two, one) is meet


def groups(*policies: AccessPolicy) -> list[tuple[list[AccessPolicy], list[AccessPolicy]]]:
    placed = [Placed(one, "a.yaml", number) for number, one in enumerate(policies)]
    return [([p.value for p in wide], [p.value for p in own]) for wide, own in companies(placed)]


def test_policies_of_a_namespace_are_together_by_what_they_do() -> None:
    ml, web, trial = policy("ml"), policy("web"), policy("ml", mode=Mode.OBSERVE)
    assert groups(ml, web, trial, ml) == [([], [ml, ml]), ([], [web]), ([], [trial])]


def test_cluster_wide_ones_are_beside_those_of_each_namespace_that_they_may_select() -> None:
    ml, web = policy("ml"), policy("web")
    some, all_of = policy("sys", named(Operator.IN, "ml", "nlp")), policy("sys", TENANTS)
    assert groups(ml, web, some, all_of) == [
        ([some, all_of], [ml]),
        ([all_of], [web]),
        # Namespaces that have no policies of their own: one that is named, and any other.
        ([some, all_of], []),
        ([all_of], []),
    ]


def test_a_name_that_a_document_has_is_not_that_of_any_other_namespace() -> None:
    odd = policy("other-0")
    wide = policy("sys", named(Operator.NOT_IN, "other-0", "other-1"))
    assert groups(odd, wide) == [([], [odd]), ([], []), ([wide], [])]


@given(
    st.lists(
        st.builds(policy, st.sampled_from(("ml", "web", "sys")), st.none() | st.sampled_from(SELECTORS)),
        max_size=5,
    ),
    st.sampled_from(("ml", "web", "nlp", "sys", "x")),
    st.sampled_from(({}, {"tenant": "yes"}, {"tenant": "no"})),
)
def test_property_all_policies_about_one_namespace_are_in_one_company(
    policies: list[AccessPolicy], namespace: str, more: dict[str, str]
) -> None:
    labels = {NAMESPACE_NAME_LABEL: namespace, **more}
    about = [one for one in policies if selects_namespace(one, namespace, labels)]
    found = groups(*policies)
    assert not about or any(all(one in (*wide, *own) for one in about) for wide, own in found)
    for one in about:
        assert all(namespaces_meet(one, two) for two in about)


def test_pairs_of_one_kind_are_not_looked_at() -> None:
    words = ["an", "as", "bee", "by", "cat"]

    assert {frozenset(pair) for pair in unlike(words, len)} == {
        frozenset((short, long)) for short in ("an", "as", "by") for long in ("bee", "cat")
    }
    assert list(unlike(range(100_000), lambda _: "all")) == []
