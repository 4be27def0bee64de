"""What the status of a document should say."""

from collections.abc import Iterable, Mapping
from typing import Final

from injector.engine.conditions import Condition, ConditionType, Status, StatusReason, Word, condition, told
from injector.engine.holdings import Held, Report, Standing
from proxy.documents.problems import Problem, ProblemCode

# Names in a message; it says how many more there are.
MAX_NAMED: Final = 5


def desired_status(
    held: Held, reports: Mapping[str, Report], *, pending: bool = False, matched_pods: int | None = None
) -> Status:
    """`reports` are those of the namespaces that it was compiled for: its own, or those that a cluster-wide
    document is for. `pending`: it will be compiled, and was not yet."""
    told_of = (problem for _, report in sorted(reports.items()) for problem in report.problems)
    # A document is reported in many namespaces for the same reason.
    problems = tuple(dict.fromkeys((*held.problems, *told_of)))
    compiled = _compiled(held, reports, problems, pending=pending)
    return Status(held.generation, (_accepted(held), compiled), matched_pods, told(problems))


def _accepted(held: Held) -> Condition:
    if held.value is None:
        return condition(ConditionType.ACCEPTED, Word.FALSE, StatusReason.UNSOUND, _first(held.problems))
    return condition(
        ConditionType.ACCEPTED, Word.TRUE, StatusReason.SOUND, "the document reads without problems"
    )


def _compiled(
    held: Held, reports: Mapping[str, Report], problems: tuple[Problem, ...], *, pending: bool
) -> Condition:
    kind = ConditionType.COMPILED
    if not reports:
        if pending:
            return condition(kind, Word.UNKNOWN, StatusReason.PENDING, "it has not been compiled yet")
        if held.value is None:
            return condition(kind, Word.FALSE, StatusReason.LEFT_OUT, _first(problems))
        message = "no namespace where pods get sidecars needs it"
        return condition(kind, Word.FALSE, StatusReason.NOWHERE, message)
    missing = sorted(name for name, report in reports.items() if report.standing is not Standing.CURRENT)
    if not missing:
        message = f"sidecars in {_names(reports)} have generation {held.generation}"
        return condition(kind, Word.TRUE, StatusReason.IN_FORCE, message)
    too_large = any(problem.code is ProblemCode.TOO_LARGE for problem in problems)
    standings = {report.standing for report in reports.values()}
    if len(missing) < len(reports):
        reason, message = StatusReason.PARTLY_IN_FORCE, f"not in force in {_names(missing)}"
    elif standings == {Standing.OLDER}:
        generations = sorted({report.generation for report in reports.values()})
        older = " and ".join(map(str, generations[:MAX_NAMED]))
        reason, message = StatusReason.OLDER_IN_FORCE, f"generation {older} stays in force"
    else:
        reason, message = StatusReason.LEFT_OUT, f"not in force in {_names(missing)}"
    if too_large:
        reason = StatusReason.TOO_LARGE
    return condition(kind, Word.FALSE, reason, f"{message}: {_first(problems)}")


def _first(problems: tuple[Problem, ...]) -> str:
    if not problems:
        return "the reason is not known any more"
    first, *others = problems
    where = f"{first.path}: " if first.path else ""
    more = f" (and {len(others)} more)" if others else ""
    return f"{where}{first.message}; {first.fix}{more}"


def _names(namespaces: Iterable[str]) -> str:
    every = sorted(namespaces)
    named = ", ".join(f"`{name}`" for name in every[:MAX_NAMED])
    more = len(every) - MAX_NAMED
    return f"{named} and {more} more" if more > 0 else named
