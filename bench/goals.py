"""What issue 8 asks of the fast lane, and whether a run shows it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

# By column, then by figure: one value for each round.
type Figures = Mapping[str, Mapping[str, Sequence[float]]]

BEARER: Final = "fast"
OTHER: Final = "fast, other paths"
SIGV4: Final = "s3-fast"
SIGV4_OTHER: Final = "s3-fast, other paths"
SIGV4_SDK: Final = "s3-fast, from an SDK"
ENVOY: Final = "envoy"
ENVOY_SIGV4: Final = "envoy-s3"
FLOOR: Final = "plain"


@dataclass(frozen=True, slots=True)
class Goal:
    """`over`: the column that ours is divided by, or, where `is_difference`, that is taken away from ours."""

    what: str
    figure: str
    column: str
    must: float
    aim: float
    over: str = ""
    is_difference: bool = False
    unit: str = "×"


@dataclass(frozen=True, slots=True)
class Verdict:
    goal: Goal
    value: float
    low: float
    high: float

    @property
    def word(self) -> str:
        if self.value > self.goal.must:
            return "MISSED"
        return "holds" if self.value > self.goal.aim else "holds, and the aim"


def _small(what: str, column: str, over: str, must: float, aim: float) -> list[Goal]:
    return [Goal(f"{what}, c={c}", f"c{c} cpu", column, must, aim, over) for c in (16, 1, 64)]


GOALS: Final = (
    *_small("CPU per small request, bearer", BEARER, ENVOY, 1.3, 1.0),
    *_small("the same, each with another path", OTHER, ENVOY, 1.3, 1.0),
    *_small("CPU per small request, SigV4", SIGV4, ENVOY_SIGV4, 1.4, 1.0),
    *_small("the same, each with another path", SIGV4_OTHER, ENVOY_SIGV4, 1.4, 1.0),
    *(
        Goal(
            f"CPU per GiB, {way.upper()}, {n} stream{'s' if n > 1 else ''}",
            f"{way}{n} cpu",
            BEARER,
            1.5,
            1.1,
            ENVOY,
        )
        for way in ("get", "put")
        for n in (1, 4)
    ),
    Goal("CPU per new connection", "connection cpu", BEARER, 1.8, 1.3, ENVOY),
    Goal(
        "p50 added over a plain relay, c=1", "c1 p50", BEARER, 60, 36, FLOOR, is_difference=True, unit=" µs"
    ),
    Goal("start to first served request", "start", BEARER, 0.25, 0.15, unit=" s"),
    Goal("RSS idle", "rss idle", BEARER, 55, 45, unit=" MiB"),
    Goal("RSS, 64 bulk streams", "rss peak", BEARER, 130, 120, unit=" MiB"),
)


def verdicts(figures: Figures) -> list[Verdict]:
    """Of the goals for which there are figures."""
    found = []
    for goal in GOALS:
        ours = figures.get(goal.column, {}).get(goal.figure, ())
        theirs = figures.get(goal.over, {}).get(goal.figure, ()) if goal.over else [0.0] * len(ours)
        if not ours or len(ours) != len(theirs):
            continue
        # The value is of the medians; the range is of the rounds, each with its own peer.
        rounds = [_compared(goal, *pair) for pair in zip(ours, theirs, strict=True)]
        found.append(Verdict(goal, _compared(goal, median(ours), median(theirs)), min(rounds), max(rounds)))
    return found


def _compared(goal: Goal, ours: float, theirs: float) -> float:
    return ours / theirs if goal.over and not goal.is_difference else ours - theirs
