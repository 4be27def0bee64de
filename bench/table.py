"""The figures as tables for people, in Markdown: docs/performance.md holds one as it was printed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from bench.goals import FLOOR, Figures, verdicts

NOTHING: Final = "–"


@dataclass(frozen=True, slots=True)
class Line:
    figure: str
    label: str
    digits: int = 0
    over_floor: bool = False


LINES: Final = (
    *(Line(f"c{c} cpu", f"CPU µs per small request, c={c}", 1) for c in (1, 16, 64)),
    *(Line(f"c{c} rate", f"requests/s, c={c}") for c in (1, 16, 64)),
    Line("c1 p50", "p50 added over the plain relay, c=1, µs", over_floor=True),
    Line("c1 p99", "p99 added, c=1, µs", over_floor=True),
    Line("c16 p50", "p50 added, c=16, µs", over_floor=True),
    Line("c16 p99", "p99 added, c=16, µs", over_floor=True),
    Line("c64 p50", "p50 added, c=64, µs", over_floor=True),
    Line("c64 p99", "p99 added, c=64, µs", over_floor=True),
    Line("get1 cpu", "CPU s per GiB, GET, 1 stream", 2),
    Line("get4 cpu", "CPU s per GiB, GET, 4 streams", 2),
    Line("put1 cpu", "CPU s per GiB, PUT, 1 stream", 2),
    Line("put4 cpu", "CPU s per GiB, PUT, 4 streams", 2),
    Line("connection cpu", "CPU µs per new connection"),
    Line("start", "start to first served request, s", 2),
    Line("start cpu", "CPU s until then", 2),
    Line("rss idle", "RSS idle, MiB"),
    Line("rss after", "RSS after small requests, MiB"),
    Line("rss peak", "RSS peak, 64 bulk streams, MiB"),
    Line("foreign", "other CPU meanwhile, cores", 2),
    Line("steal", "CPU that the host kept back, cores", 2),
)


def cell(line: Line, figures: Figures, column: str) -> str:
    values = figures[column].get(line.figure, ())
    if line.over_floor:
        floor = figures.get(FLOOR, {}).get(line.figure, ())
        if len(floor) != len(values) or not values:
            return NOTHING
        middle = median(values) - median(floor)
        rounds = [one - other for one, other in zip(values, floor, strict=True)]
    elif values:
        middle, rounds = median(values), list(values)
    else:
        return NOTHING
    if len(rounds) == 1:
        return f"{middle:.{line.digits}f}"
    return f"{middle:.{line.digits}f} ({min(rounds):.{line.digits}f} to {max(rounds):.{line.digits}f})"


def figures_table(figures: Figures, titles: Mapping[str, str]) -> str:
    rows = [["", *(titles[column] for column in figures)]]
    rows += [[line.label, *(cell(line, figures, column) for column in figures)] for line in LINES]
    floor = figures.get(FLOOR, {}).get("c1 p50", ())
    # What is added is told; the floor itself belongs to it.
    note = f"\nThe plain relay's own p50 at c=1 is {median(floor):.0f} µs.\n" if floor else ""
    return markdown(rows) + note


def goals_table(figures: Figures, *, judged: bool) -> str:
    rows = [["fast lane, to Envoy in the same run", "value", "rounds", "must", "aim", ""]]
    for one in verdicts(figures):
        goal, digits = one.goal, 0 if one.goal.must > 10 else 2
        rows.append(
            [
                goal.what,
                f"{one.value:.{digits}f}{goal.unit}",
                f"{one.low:.{digits}f} to {one.high:.{digits}f}",
                f"≤ {goal.must:g}{goal.unit}",
                f"≤ {goal.aim:g}{goal.unit}",
                one.word if judged else "not judged",
            ]
        )
    return markdown(rows) if len(rows) > 1 else ""


def markdown(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "| " + " | ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines) + "\n"
