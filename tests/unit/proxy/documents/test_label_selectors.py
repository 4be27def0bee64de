import pytest

from proxy.core.labels import LabelRequirement, LabelSelector, Operator
from proxy.documents.label_selectors import NAMESPACE_FIX, REQUIREMENT, SELECT_FIX, label_selector
from proxy.documents.reading import INVALID, Shape
from tests.document_strategies import read_shape

PODS = label_selector("pod")
SPACES = label_selector("namespace", NAMESPACE_FIX)


def test_reads_labels_and_requirements() -> None:
    text = "{matchLabels: {b: c, a: b}, matchExpressions: [{key: d, operator: In, values: [e, f]}]}"
    expected = LabelSelector((("a", "b"), ("b", "c")), (LabelRequirement("d", Operator.IN, ("e", "f")),))
    for shape in (PODS, SPACES):
        assert read_shape(shape, text) == (expected, [])


@pytest.mark.parametrize(
    ("text", "requirement"),
    [
        ("{key: a, operator: In, values: [b]}", LabelRequirement("a", Operator.IN, ("b",))),
        ("{key: a, operator: NotIn, values: [b]}", LabelRequirement("a", Operator.NOT_IN, ("b",))),
        ("{key: a, operator: Exists}", LabelRequirement("a", Operator.EXISTS)),
        ("{key: a.io/b, operator: DoesNotExist}", LabelRequirement("a.io/b", Operator.DOES_NOT_EXIST)),
    ],
)
def test_reads_the_operators_of_kubernetes(text: str, requirement: LabelRequirement) -> None:
    assert read_shape(REQUIREMENT, text) == (requirement, [])


@pytest.mark.parametrize(
    ("shape", "text", "code", "message", "fix"),
    [
        (PODS, "{}", "empty_selector", "the selector is empty: it selects nobody", SELECT_FIX),
        (SPACES, "{}", "empty_selector", "the selector is empty: it selects nobody", NAMESPACE_FIX),
        (SPACES, "{matchExpressions: []}", "empty_selector", "the list is empty", NAMESPACE_FIX),
        (SPACES, "{matchLabels: {}}", "empty_selector", "the mapping is empty", "add a key, or remove it"),
        (
            PODS,
            "{matchLabels: {a: b}, matchExpressions: [{key: a, operator: DoesNotExist}]}",
            "never_matches",
            "no pod can have labels that satisfy all of these",
            "remove the requirement that contradicts",
        ),
        (
            SPACES,
            "{matchLabels: {a: b}, matchExpressions: [{key: a, operator: NotIn, values: [b]}]}",
            "never_matches",
            "no namespace can have labels that satisfy all of these",
            "remove the requirement that contradicts",
        ),
    ],
)
def test_tells_what_selects_nobody_in_words_of_what_is_selected(
    shape: Shape, text: str, code: str, message: str, fix: str
) -> None:
    value, (problem,) = read_shape(shape, text)
    assert value is INVALID
    assert (problem.code.value, problem.fix) == (code, fix)
    assert message in problem.message
