"""Which of many grants are worth asking about a request: by a pin they name plainly, then by path.

A grant is left out only when it surely does not cover the request, so the choice changes no verdict. A
grant with several paths may be chosen twice; that changes no verdict either.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Final

from proxy.core.request import RequestFacts
from proxy.judge.grants import BoundGrant
from proxy.judge.reading import Reading

# Below this many grants it is quicker to ask them all than to choose.
FEW_GRANTS: Final = 8
# Paths are told apart by so many segments; teams, versions and collections come early.
MAX_TOLD_SEGMENTS: Final = 6

Grants = tuple[BoundGrant, ...]
Choose = Callable[[RequestFacts, Reading], Grants]


def choice(grants: Sequence[BoundGrant]) -> Choose:
    """A function from a request to the grants that may cover it."""
    everything = tuple(grants)
    if len(everything) <= FEW_GRANTS:
        return lambda _request, _reading: everything
    pin = _telling_pin(everything)
    return _by_path(everything) if pin is None else _by_pin(everything, pin)


def _telling_pin(grants: Grants) -> str | None:
    """The pin that most of the grants name plainly, where most of them name one."""
    counts = Counter(
        pin for grant in grants for pin, _ in grant.grant.pins if grant.plain_values(pin) is not None
    )
    pin = max(sorted(counts), key=lambda name: counts[name], default=None)
    return pin if pin is not None and counts[pin] * 2 > len(grants) else None


def _by_pin(grants: Grants, pin: str) -> Choose:
    keyed: dict[str, list[BoundGrant]] = defaultdict(list)
    for grant in grants:
        for value in grant.plain_values(pin) or ():
            keyed[value].append(grant)
    unkeyed = _by_path(tuple(grant for grant in grants if grant.plain_values(pin) is None))
    choices = {value: _by_path(tuple(named)) for value, named in keyed.items()}

    def choose(request: RequestFacts, reading: Reading) -> Grants:
        named = choices.get(reading.pins.get(pin, ""))
        others = unkeyed(request, reading)
        return others if named is None else named(request, reading) + others

    return choose


class _Node:
    """A place in the tree of plain path segments, and the grants whose plain segments end here."""

    __slots__ = ("children", "grants")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.grants: Grants = ()


def _by_path(grants: Grants) -> Choose:
    if len(grants) <= FEW_GRANTS:
        return lambda _request, _reading: grants
    root = _Node()
    here: dict[_Node, list[BoundGrant]] = defaultdict(list)
    for grant in grants:
        for segments in set(grant.plain_beginnings) or {()}:
            node = root
            for segment in segments[:MAX_TOLD_SEGMENTS]:
                node = node.children.setdefault(segment, _Node())
            here[node].append(grant)
    for node, ending in here.items():
        node.grants = tuple(ending)

    def choose(request: RequestFacts, _reading: Reading) -> Grants:
        node, found = root, root.grants
        for segment in request.path.text.split("/", MAX_TOLD_SEGMENTS + 1)[1:]:
            child = node.children.get(segment)
            if child is None:
                break
            node = child
            found += node.grants
        return found

    return choose
