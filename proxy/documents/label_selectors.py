"""Label selectors of Kubernetes as documents write them."""

from typing import Final

from proxy.core.labels import LabelRequirement, LabelSelector, Operator, common_labels
from proxy.documents import values
from proxy.documents.problems import Fault, ProblemCode
from proxy.documents.shapes import Choice, Field, ListOf, MapOf, Record

NOBODY: Final = "it selects nobody (an empty selector never means everybody)"
SELECT_FIX: Final = (
    'name service accounts or labels; `serviceAccounts: ["*"]` selects every pod of the namespace'
)
NAMESPACE_FIX: Final = (
    "name labels of the namespaces; `{key: kubernetes.io/metadata.name, operator: Exists}` selects all"
)


def _requirement(key: str, operator: Operator, values: tuple[str, ...] = ()) -> LabelRequirement:
    if operator in {Operator.IN, Operator.NOT_IN} and not values:
        raise Fault(f"`{operator.value}` needs `values`", "add `values: [...]`")
    if operator in {Operator.EXISTS, Operator.DOES_NOT_EXIST} and values:
        fix = "remove `values`, or use `In`"
        raise Fault(f"`{operator.value}` takes no `values`", fix, at="values")
    return LabelRequirement(key, operator, values)


REQUIREMENT: Final = Record(
    "a label requirement",
    (
        Field("key", values.LABEL_KEY, "The label's key.", required=True),
        Field(
            "operator",
            Choice(Operator),
            "How the label is compared; as in Kubernetes.",
            required=True,
        ),
        Field("values", ListOf(values.LABEL_VALUE), "The values for `In` and `NotIn`."),
    ),
    _requirement,
)


def label_selector(whose: str, fix: str = SELECT_FIX) -> Record:
    """A selector of pods, or of namespaces."""

    def selector(
        match_labels: tuple[tuple[str, str], ...] = (),
        match_expressions: tuple[LabelRequirement, ...] = (),
    ) -> LabelSelector:
        built = LabelSelector(match_labels, match_expressions)
        if not built.requirements:
            raise Fault(f"the selector is empty: {NOBODY}", fix, ProblemCode.EMPTY_SELECTOR)
        if common_labels(built) is None:
            message = f"no {whose} can have labels that satisfy all of these"
            raise Fault(message, "remove the requirement that contradicts", ProblemCode.NEVER_MATCHES)
        return built

    return Record(
        "a label selector",
        (
            Field(
                "matchLabels",
                MapOf(values.LABEL_VALUE, values.LABEL_KEY, empty_code=ProblemCode.EMPTY_SELECTOR),
                f"Labels that the {whose} must have with exactly these values.",
            ),
            Field(
                "matchExpressions",
                ListOf(REQUIREMENT, ProblemCode.EMPTY_SELECTOR, f"the list is empty: {NOBODY}", fix),
                "Requirements on labels; all must hold.",
            ),
        ),
        selector,
    )
