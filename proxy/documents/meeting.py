"""Which policies can be about one pod: those of one namespace, and cluster-wide ones that may select it.

Nobody knows here which labels a namespace has, but its name (`kubernetes.io/metadata.name`). In doubt two
policies meet.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import combinations, product
from typing import Final, NamedTuple

from proxy.core.contract import NAMESPACE_NAME_LABEL
from proxy.core.labels import LabelRequirement, LabelSelector, Operator, common_labels
from proxy.core.policy import AccessPolicy, Mode
from proxy.documents.placed import Placed

_NAMED: Final = LabelSelector((), (LabelRequirement(NAMESPACE_NAME_LABEL, Operator.EXISTS),))


class Company(NamedTuple):
    """Policies that count together in one namespace: cluster-wide ones, and its own."""

    wide: list[Placed[AccessPolicy]]
    own: list[Placed[AccessPolicy]]


def companies(policies: Sequence[Placed[AccessPolicy]]) -> Iterator[Company]:
    """One for each namespace that a policy is in or names, and one for all others.

    Policies that enforce and policies that observe never disturb each other: see `judge.decide`.
    """
    for mode in Mode:
        wide = []
        own: dict[str, list[Placed[AccessPolicy]]] = defaultdict(list)
        for policy in policies:
            if policy.value.mode is not mode:
                continue
            if policy.value.is_cluster_wide:
                wide.append(policy)
            else:
                own[policy.value.namespace].append(policy)
        named = {value for policy in wide for need in _of_name(policy.value) for value in need.values}
        others = sorted((*named, _unnamed(named | own.keys()))) if wide else ()
        for namespace in dict.fromkeys((*own, *others)):
            about = [policy for policy in wide if _may_select(policy.value, namespace)]
            yield Company(about, own.get(namespace, []))


def namespaces_meet(one: AccessPolicy, two: AccessPolicy) -> bool:
    """Whether pods of one namespace can be selected by both."""
    if not one.is_cluster_wide and not two.is_cluster_wide:
        return one.namespace == two.namespace
    return common_labels(_NAMED, *map(_namespaces, (one, two))) is not None


def _namespaces(policy: AccessPolicy) -> LabelSelector:
    return policy.workloads.namespaces or LabelSelector(((NAMESPACE_NAME_LABEL, policy.namespace),))


def _of_name(policy: AccessPolicy) -> Iterator[LabelRequirement]:
    return (n for n in _namespaces(policy).requirements if n.key == NAMESPACE_NAME_LABEL)


def _may_select(policy: AccessPolicy, namespace: str) -> bool:
    return all(need.matches({NAMESPACE_NAME_LABEL: namespace}) for need in _of_name(policy))


def _unnamed(names: set[str]) -> str:
    """The name of any namespace that none of the documents names."""
    return next(name for number in range(len(names) + 1) if (name := f"other-{number}") not in names)


def unlike[T](items: Iterable[T], kind: Callable[[T], object]) -> Iterator[tuple[T, T]]:
    """Pairs of different kinds. Those of one kind are not even looked at: there may be a million of them."""
    by_kind: dict[object, list[T]] = defaultdict(list)
    for item in items:
        by_kind[kind(item)].append(item)
    for one, two in combinations(by_kind.values(), 2):
        yield from product(one, two)
