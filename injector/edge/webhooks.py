"""The three webhooks: bytes of a review become bytes of an answer, counted and told of."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final, assert_never

from injector.core.outcome import Finding, Inject, Refuse, Skip
from injector.craft.placeholders import Choose
from injector.edge.knowledge import Knowledge
from injector.edge.metrics import Metrics, Outcome
from injector.edge.serving import Handler
from injector.engine.guard import guard
from injector.engine.happenings import Happening
from injector.engine.mutate import happening_of, mutate
from injector.engine.validate import validate
from injector.reading.pod_fields import shown
from injector.reading.reviews import Answer, Review, ReviewFault, read_review, render_answer
from proxy.telemetry.log import Log

MUTATE: Final = "/mutate"
VALIDATE: Final = "/validate"
GUARD: Final = "/guard"
# Of one line of the log: a pod may break a hundred rules in a thousand containers.
MAX_CODES: Final = 16


def webhooks(
    knowledge: Knowledge,
    *,
    own_account: str,
    choose: Choose,
    tell: Callable[[Happening], None],
    metrics: Metrics,
    log: Log,
) -> Mapping[str, Handler]:
    """By path. `choose` is chance."""

    def judged(path: str, judge: Callable[[Review], Answer]) -> Handler:
        def handle(body: bytes, _now: datetime) -> tuple[int, bytes]:
            review = read_review(body)
            if isinstance(review, ReviewFault):
                metrics.reviewed(path, Outcome.FAILED)
                log.warning("a review cannot be read", path=path, why=review.message)
                return review.status, review.message.encode()
            answer = judge(review)
            outcome, code = _counted(answer)
            metrics.reviewed(path, outcome, code)
            _log(log, path, review, answer, outcome)
            return 200, render_answer(answer)

        return handle

    def mutated(review: Review) -> Answer:
        answer = mutate(review, knowledge.world(), choose)
        happening = happening_of(review, answer)
        if happening is not None:
            tell(happening)
        return answer

    return {
        MUTATE: judged(MUTATE, mutated),
        VALIDATE: judged(VALIDATE, lambda review: validate(review, knowledge.book, knowledge.namespaces)),
        GUARD: judged(GUARD, lambda review: guard(review, own_account)),
    }


def _counted(answer: Answer) -> tuple[Outcome, str]:
    match answer.outcome:
        case None:
            return (Outcome.ALLOWED if answer.allowed else Outcome.REFUSED), ""
        case Inject(reasons):
            return Outcome.INJECTED, _code(reasons)
        case Skip(reasons):
            return Outcome.SKIPPED, _code(reasons)
        case Refuse(reasons):
            return Outcome.REFUSED, _code(reasons)
        case _:
            assert_never(answer.outcome)


def _code(reasons: tuple[Finding, ...]) -> str:
    return reasons[0].code.value if reasons else ""


def _log(log: Log, path: str, review: Review, answer: Answer, outcome: Outcome) -> None:
    """What changed nothing for anybody is not worth a line."""
    if outcome in {Outcome.SKIPPED, Outcome.ALLOWED} and not answer.warnings:
        return
    found = answer.outcome
    findings = (*found.reasons, *found.warnings) if found is not None else ()
    codes = list(dict.fromkeys(finding.code.value for finding in findings))[:MAX_CODES]
    log.info(
        "a review was answered",
        path=path,
        outcome=outcome.value,
        codes=codes,
        namespace=_bounded(review.namespace),
        kind=_bounded(review.kind.name),
        name=_bounded(review.name),
        user=_bounded(review.user),
        dry_run=review.dry_run,
        changed=bool(answer.patch),
    )


def _bounded(text: str) -> str:
    """Whatever somebody wrote; without quotes, because it is a field that logs are searched by."""
    return shown(text)[1:-1]
