from typing import Any

import pytest

from proxy.documents.problems import ProblemCode
from proxy.documents.reading import (
    INVALID,
    MAX_MESSAGE_LENGTH,
    MAX_PROBLEMS,
    Place,
    Reading,
    is_tagged,
    kind_of,
    shortened,
)
from proxy.documents.yaml_nodes import Node, read_nodes

FILE = "test.yaml"


def node_of(text: str) -> Node:
    (node,), problems = read_nodes(text.encode(), FILE)
    assert problems == []
    return node


def test_a_place_is_a_path_through_keys_and_items() -> None:
    top = Place()
    assert str(top) == ""
    assert str(Place(Place(Place(top, "spec"), "grants"), 2)) == "spec.grants[2]"


def test_a_reading_gathers_what_is_reported() -> None:
    reading = Reading(FILE)
    node = node_of("\n\nx")
    assert reading.report(node, Place(Place(), "a"), ProblemCode.TOO_LONG, "long", "cut") is INVALID
    assert [(p.line, p.path, p.code, p.message, p.fix) for p in reading.problems] == [
        (3, "a", ProblemCode.TOO_LONG, "long", "cut")
    ]


def test_what_the_writer_wrote_is_quoted_at_its_beginning_only() -> None:
    reading = Reading(FILE)
    at = Place(Place(), "k" * 10_000)
    reading.report(node_of("x"), at, ProblemCode.TOO_LONG, "m" * 10_000, "f" * 10_000)
    (problem,) = reading.problems
    assert problem.path == "k" * (MAX_MESSAGE_LENGTH - 1) + "…"
    assert problem.message == "m" * (MAX_MESSAGE_LENGTH - 1) + "…"
    assert problem.fix == "f" * (MAX_MESSAGE_LENGTH - 1) + "…"


@pytest.mark.parametrize("length", [0, 1, MAX_MESSAGE_LENGTH])
def test_what_is_short_enough_stays(length: int) -> None:
    assert shortened("a" * length) == "a" * length


def test_a_file_with_too_many_problems_says_so_once_and_stops() -> None:
    reading = Reading(FILE)
    node = node_of("\nx")
    for number in range(MAX_PROBLEMS + 10):
        reading.report(node, Place(), ProblemCode.BAD_VALUE, f"message {number}", "fix")
    assert len(reading.problems) == MAX_PROBLEMS + 1
    assert reading.problems[-2].message == f"message {MAX_PROBLEMS - 1}"
    last = reading.problems[-1]
    assert (last.code, last.line) == (ProblemCode.TOO_MANY_PROBLEMS, 2)
    assert last.message == f"there are more than {MAX_PROBLEMS} problems in the file"
    assert last.fix == "mend the others first"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("{}", "a mapping"),
        ("[]", "a list"),
        ("a: ''", "a mapping"),
        ("word", "text (`word`)"),
        ("'no'", "text (`no`)"),
        ("no", "a boolean (`no`)"),
        ("12", "a number (`12`)"),
        ("2026-01-01", "a date (`2026-01-01`)"),
        ("~", "null (`~`)"),
        ("w" * 60, f"text (`{'w' * 40}`)"),
    ],
)
def test_names_what_stands_there(text: str, kind: str) -> None:
    assert kind_of(node_of(text)) == kind


def test_an_empty_value_is_named_so() -> None:
    mapping: Any = node_of("a:")
    assert kind_of(mapping.value[0][1]) == "empty"


@pytest.mark.parametrize(
    ("text", "tagged"), [("x", False), ("! x", False), ("!!str x", True), ("!t x", True)]
)
def test_a_tag_is_reported(text: str, *, tagged: bool) -> None:
    reading = Reading(FILE)
    assert is_tagged(node_of(text), Place(), reading) is tagged
    assert [p.code for p in reading.problems] == [ProblemCode.YAML_TAG] * tagged
