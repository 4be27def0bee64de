from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.labels import LabelRequirement, LabelSelector, Operator, common_labels

IN, NOT_IN = Operator.IN, Operator.NOT_IN
EXISTS, MISSING = Operator.EXISTS, Operator.DOES_NOT_EXIST


@pytest.mark.parametrize(
    ("need", "matched", "unmatched"),
    [
        (LabelRequirement("a", IN, ("1", "2")), [{"a": "1"}, {"a": "2"}], [{}, {"a": "3"}, {"b": "1"}]),
        (LabelRequirement("a", IN, ()), [], [{}, {"a": "1"}, {"a": ""}]),
        (LabelRequirement("a", IN, ("",)), [{"a": ""}], [{}]),  # no label is not an empty one
        (LabelRequirement("a", NOT_IN, ("1",)), [{}, {"a": "2"}, {"b": "1"}], [{"a": "1"}]),
        (LabelRequirement("a", EXISTS), [{"a": ""}, {"a": "1"}], [{}, {"b": "1"}]),
        (LabelRequirement("a", MISSING), [{}, {"b": "1"}], [{"a": ""}, {"a": "1"}]),
    ],
)
def test_requirements_mean_what_kubernetes_says(
    need: LabelRequirement, matched: list[dict[str, str]], unmatched: list[dict[str, str]]
) -> None:
    assert [labels for labels in [*matched, *unmatched] if need.matches(labels)] == matched


def test_operators_are_spelled_as_kubernetes_spells_them() -> None:
    assert [operator.value for operator in Operator] == ["In", "NotIn", "Exists", "DoesNotExist"]


def test_an_empty_selector_selects_nobody() -> None:
    assert not LabelSelector().matches({})
    assert not LabelSelector().matches({"app": "train"})


def test_every_requirement_must_be_met_and_the_first_unmet_one_is_named() -> None:
    gpu = LabelRequirement("gpu", EXISTS)
    selector = LabelSelector((("app", "train"),), (gpu,))
    app = LabelRequirement("app", IN, ("train",))
    assert selector.requirements == (app, gpu)
    assert selector.matches({"app": "train", "gpu": "a100", "other": "x"})
    assert not selector.matches({"app": "train"})
    assert selector.first_unmet({"app": "train"}) == gpu
    assert selector.first_unmet({"gpu": "a100"}) == app
    assert selector.first_unmet({"app": "train", "gpu": ""}) is None


@pytest.mark.parametrize(
    ("needs", "labels"),
    [
        ([], {}),
        ([LabelRequirement("a", IN, ("1", "2"))], {"a": "1"}),
        ([LabelRequirement("a", EXISTS)], {"a": "x0"}),
        ([LabelRequirement("a", MISSING)], {}),
        ([LabelRequirement("a", NOT_IN, ("1",))], {}),
        ([LabelRequirement("a", EXISTS), LabelRequirement("a", NOT_IN, ("x0", "x1"))], {"a": "x2"}),
        # A value as long as Kubernetes allows does not exhaust the values that are left.
        ([LabelRequirement("a", EXISTS), LabelRequirement("a", NOT_IN, ("x" * 61,))], {"a": "x0"}),
        ([LabelRequirement("a", IN, ("1", "2")), LabelRequirement("a", NOT_IN, ("1",))], {"a": "2"}),
        ([LabelRequirement("a", EXISTS), LabelRequirement("b", MISSING)], {"a": "x0"}),
        ([LabelRequirement("a", EXISTS), LabelRequirement("a", MISSING)], None),
        ([LabelRequirement("a", IN, ("1",)), LabelRequirement("a", IN, ("2",))], None),
        ([LabelRequirement("a", IN, ("1",)), LabelRequirement("a", NOT_IN, ("1",))], None),
        ([LabelRequirement("a", IN, ())], None),
    ],
)
def test_labels_that_satisfy_all_requirements_are_found(
    needs: list[LabelRequirement], labels: dict[str, str] | None
) -> None:
    assert common_labels(LabelSelector((), tuple(needs))) == labels


VALUES = ("", "1", "2", "x0")
NEEDS = st.builds(
    LabelRequirement,
    st.sampled_from(("a", "b")),
    st.sampled_from(Operator),
    st.lists(st.sampled_from(VALUES), max_size=3).map(tuple),
)
SELECTORS = st.builds(
    LabelSelector,
    st.lists(st.tuples(st.sampled_from(("a", "b")), st.sampled_from(VALUES)), max_size=1).map(tuple),
    st.lists(NEEDS, max_size=3).map(tuple),
).filter(lambda selector: bool(selector.requirements))

# Every way to label a pod with `a` and `b`; one value more than requirements can name.
UNIVERSE = [
    {key: value for key, value in zip("ab", values, strict=True) if value is not None}
    for values in product((None, *VALUES, "other"), repeat=2)
]


@given(st.lists(SELECTORS, min_size=1, max_size=3))
def test_property_common_labels_satisfy_every_selector(selectors: list[LabelSelector]) -> None:
    labels = common_labels(*selectors)
    if labels is None:
        assert [each for each in UNIVERSE if all(one.matches(each) for one in selectors)] == []
    else:
        assert all(selector.matches(labels) for selector in selectors)
