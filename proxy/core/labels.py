"""Kubernetes label selectors, with the one difference that an empty one selects nobody."""

from collections.abc import Mapping
from enum import Enum
from typing import assert_never

from proxy.core.structs import Struct


class Operator(Enum):
    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


class LabelRequirement(Struct, frozen=True):
    key: str
    operator: Operator
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        match self.operator:
            case Operator.IN:
                return labels.get(self.key) in self.values
            case Operator.NOT_IN:  # as in Kubernetes, a pod without the label passes
                return self.key not in labels or labels[self.key] not in self.values
            case Operator.EXISTS:
                return self.key in labels
            case Operator.DOES_NOT_EXIST:
                return self.key not in labels
            case _:
                assert_never(self.operator)


class LabelSelector(Struct, frozen=True):
    match_labels: tuple[tuple[str, str], ...] = ()
    match_expressions: tuple[LabelRequirement, ...] = ()

    @property
    def requirements(self) -> tuple[LabelRequirement, ...]:
        pairs = (LabelRequirement(k, Operator.IN, (v,)) for k, v in self.match_labels)
        return (*pairs, *self.match_expressions)

    def first_unmet(self, labels: Mapping[str, str]) -> LabelRequirement | None:
        return next((need for need in self.requirements if not need.matches(labels)), None)

    def matches(self, labels: Mapping[str, str]) -> bool:
        needs = self.requirements
        return bool(needs) and all(need.matches(labels) for need in needs)


def common_labels(*selectors: LabelSelector) -> dict[str, str] | None:
    """Labels that satisfy every selector, or None where no pod can.

    Requirements on different keys are independent, so each key is solved by itself.
    """
    by_key: dict[str, list[LabelRequirement]] = {}
    for selector in selectors:
        for need in selector.requirements:
            by_key.setdefault(need.key, []).append(need)
    labels: dict[str, str] = {}
    for key, needs in by_key.items():
        # The label left out, each value that a requirement names, and one that none of them names.
        named = sorted({value for need in needs for value in need.values})
        taken = set(named)
        other = next(v for n in range(len(named) + 1) if (v := f"x{n}") not in taken)
        candidates = [{}, *({key: value} for value in [*named, other])]
        found = next((c for c in candidates if all(need.matches(c) for need in needs)), None)
        if found is None:
            return None
        labels.update(found)
    return labels
