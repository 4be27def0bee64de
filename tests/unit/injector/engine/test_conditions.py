from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from injector.engine.conditions import (
    MAX_PROBLEMS,
    MAX_TEXT,
    Condition,
    ConditionType,
    Status,
    StatusReason,
    ToldProblem,
    Word,
    condition,
    patch,
    read_status,
    told,
)
from proxy.documents.problems import Problem

NOON = datetime(2026, 11, 21, 12, 0, 0, 5, tzinfo=UTC)
LATER = NOON + timedelta(hours=1)

SOUND = condition(ConditionType.ACCEPTED, Word.TRUE, StatusReason.SOUND, "fine")
UNSOUND = condition(ConditionType.ACCEPTED, Word.FALSE, StatusReason.UNSOUND, "not fine")


def problem(number: int = 0, message: str = "m") -> Problem:
    return Problem("AccessPolicy ml/p", 0, f"spec.grants[{number}]", message, "f")


def written(status: Status, now: datetime = NOON) -> Any:
    found = patch(None, status, now)
    assert found is not None
    return found["status"]


def test_a_first_status_is_written_as_a_whole() -> None:
    status = Status(3, (SOUND,), 2, told([problem()]))
    assert written(status) == {
        "observedGeneration": 3,
        "conditions": [
            {
                "type": "Accepted",
                "status": "True",
                "reason": "Sound",
                "message": "fine",
                "lastTransitionTime": "2026-11-21T12:00:00Z",
            }
        ],
        "matchedPods": 2,
        "problems": [{"path": "spec.grants[0]", "message": "m", "fix": "f"}],
    }


def test_what_is_written_is_read_back_and_not_written_again() -> None:
    status = Status(3, (SOUND,), 2, told([problem()]))
    back = read_status(written(status))
    assert back is not None
    assert back.problems == status.problems
    assert patch(back, status, LATER) is None


def test_problems_that_are_gone_are_taken_away() -> None:
    assert written(Status(1, ()))["problems"] is None
    assert read_status({"observedGeneration": 1, "conditions": [], "problems": None}) == Status(1, ())


def test_the_time_is_kept_until_the_word_changes() -> None:
    before = read_status(written(Status(1, (SOUND,))))
    same = condition(ConditionType.ACCEPTED, Word.TRUE, StatusReason.SOUND, "another message")
    change = patch(before, Status(2, (same,)), LATER)
    assert change is not None
    assert change["status"]["conditions"][0]["lastTransitionTime"] == "2026-11-21T12:00:00Z"
    change = patch(before, Status(2, (UNSOUND,)), LATER.astimezone(timezone(timedelta(hours=2))))
    assert change is not None
    assert change["status"]["conditions"][0]["lastTransitionTime"] == "2026-11-21T13:00:00Z"


def test_pods_that_nobody_counted_anew_stay_as_many() -> None:
    before = read_status(written(Status(1, (SOUND,), 4)))
    assert patch(before, Status(1, (SOUND,)), LATER) is None
    change = patch(before, Status(1, (SOUND,), 0), LATER)
    assert change is not None
    assert change["status"]["matchedPods"] == 0


def test_only_the_first_problems_are_told_and_none_at_length() -> None:
    many = told(problem(number, "x" * 5000) for number in range(500))
    assert len(many) == MAX_PROBLEMS
    assert {len(one.message) for one in many} == {MAX_TEXT}
    assert many[0].path == "spec.grants[0]"
    long = condition(ConditionType.COMPILED, Word.FALSE, StatusReason.LEFT_OUT, "x" * 5000)
    assert len(long.message) == MAX_TEXT
    assert read_status(written(Status(1, (long,), None, many))) is not None


@pytest.mark.parametrize(
    "forged",
    [
        None,
        [],
        "fine",
        {},
        {"observedGeneration": "1"},
        {"observedGeneration": True},
        {"observedGeneration": 1, "matchedPods": "2"},
        {"observedGeneration": 1, "matchedPods": True},
        {"observedGeneration": 1, "conditions": {}},
        {"observedGeneration": 1, "conditions": [{"type": "Accepted"}]},
        {"observedGeneration": 1, "conditions": ["Accepted"]},
        {"observedGeneration": 1, "problems": [{"path": "p", "message": "m", "fix": 7}]},
        {"observedGeneration": 1, "problems": [{"path": "p", "message": "m" * 5000, "fix": "f"}]},
        {"observedGeneration": 1, "problems": [{"path": "", "message": "", "fix": ""}] * 21},
    ],
)
def test_a_status_that_we_did_not_write_is_as_if_there_were_none(forged: object) -> None:
    assert read_status(forged) is None


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(ANY_JSON, ANY_JSON, ANY_JSON)
def test_reading_a_status_is_total(conditions: object, problems: object, pods: object) -> None:
    status = {"observedGeneration": 1, "conditions": conditions, "problems": problems, "matchedPods": pods}
    assert read_status(conditions) is None or isinstance(conditions, dict)
    found = read_status(status)
    assert found is None or found.observed_generation == 1


def test_fields_are_in_the_order_of_their_names() -> None:
    """`astuple` and the keys are zipped."""
    row = {"type": "T", "status": "S", "reason": "R", "message": "M", "lastTransitionTime": "L"}
    back = read_status({"observedGeneration": 1, "conditions": [row]})
    assert back == Status(1, (Condition("T", "S", "R", "M", "L"),))
    gap = {"path": "P", "message": "M", "fix": "F"}
    assert read_status({"observedGeneration": 1, "problems": [gap]}) == Status(
        1, (), None, (ToldProblem("P", "M", "F"),)
    )
