from enum import Enum
from typing import Any, NamedTuple

import pytest

from proxy.documents.problems import Fault, ProblemCode
from proxy.documents.reading import INVALID, MAX_ITEMS, MAX_TEXT_LENGTH, Shape
from proxy.documents.shapes import Choice, Field, Flag, ListOf, MapOf, Number, Record, Text
from tests.document_strategies import FILE, read_shape


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Pair(NamedTuple):
    left_side: str
    right: int = 0


def even(text: str) -> int:
    number = int(text.removeprefix("n"))
    if number % 2:
        raise Fault(f"`{text}` is odd", "add one", ProblemCode.NEVER_MATCHES)
    return number


def never(**fields: Any) -> None:
    raise Fault("too much", "take less", ProblemCode.NEVER_MATCHES, at=next(iter(fields.values())))


TEXT = Text()
PORT = Number("a port", 1, 65535)
PAIR = Record(
    "a pair",
    (Field("leftSide", TEXT, "The left.", required=True), Field("right", PORT, "The right.")),
    Pair,
    ignored=frozenset({"status"}),
)
UNION = Record(
    "a union", (Field("a", TEXT, ""), Field("b", TEXT, ""), Field("c", TEXT, "")), dict, (("a", "b"),)
)
ONLY = Record("a thing", (Field("a", TEXT, ""),), dict, (("a",),))


@pytest.mark.parametrize(
    ("shape", "text", "value"),
    [
        (TEXT, "word", "word"),
        (TEXT, "'no'", "no"),
        (TEXT, '"1e3"', "1e3"),
        (TEXT, "|-\n  off", "off"),
        (TEXT, "! word", "word"),
        (TEXT, "x" * MAX_TEXT_LENGTH, "x" * MAX_TEXT_LENGTH),
        (ListOf(Text(may_be_empty=True)), "['']", ("",)),
        (Text(may_be_date=True), "2026-01-01", "2026-01-01"),
        (Text("a number", even), "n4", 4),
        (Choice(Colour), "red", Colour.RED),
        (Choice(Colour), "'blue'", Colour.BLUE),
        (PORT, "1", 1),
        (PORT, "65535", 65535),
        (Flag(), "true", True),
        (Flag(), "false", False),
        (ListOf(TEXT), "[b, a]", ("b", "a")),
        (ListOf(TEXT, may_be_empty=True), "[]", ()),
        (ListOf(PORT), f"[{', '.join(map(str, range(1, MAX_ITEMS + 1)))}]", tuple(range(1, MAX_ITEMS + 1))),
        (MapOf(PORT), "{b: 1, a: 2}", (("a", 2), ("b", 1))),
        (MapOf(PORT, may_be_empty=True), "{}", ()),
        (MapOf(TEXT), "{'<<': x}", (("<<", "x"),)),
        (PAIR, "{leftSide: x, right: 2}", Pair("x", 2)),
        (PAIR, "{leftSide: x, status: [whatever, {}]}", Pair("x")),
        (UNION, "{b: x, c: z}", {"b": "x", "c": "z"}),
        (ONLY, "{a: x}", {"a": "x"}),
    ],
)
def test_reads_what_fits(shape: Shape, text: str, value: object) -> None:
    assert read_shape(shape, text) == (value, [])


@pytest.mark.parametrize(
    ("shape", "text", "code", "message", "fix"),
    [
        # Text
        (TEXT, "[x]", "wrong_type", "expected text, found a list", "write text"),
        (Text("a host", examples=("h",)), "{a: b}", "wrong_type", "found a mapping", "such as `h`"),
        (TEXT, "!!str x", "yaml_tag", "`tag:yaml.org,2002:str` is not supported", "remove the tag"),
        (TEXT, "!secret x", "yaml_tag", "the YAML tag `!secret`", "remove the tag"),
        (TEXT, "no", "wrong_type", "`no` without quotes is a boolean in YAML, not text", 'quote it: "no"'),
        (TEXT, "y", "wrong_type", "`y` without quotes is a boolean", 'quote it: "y"'),
        (TEXT, "off", "wrong_type", "is a boolean", 'quote it: "off"'),
        (TEXT, "123", "wrong_type", "is a number", 'quote it: "123"'),
        (TEXT, "1e3", "wrong_type", "is a number", 'quote it: "1e3"'),
        (TEXT, "12:30", "wrong_type", "is a number", 'quote it: "12:30"'),
        (TEXT, "2026-01-01", "wrong_type", "is a date", 'quote it: "2026-01-01"'),
        (TEXT, "~", "wrong_type", "`~` without quotes is null", 'quote it: "~"'),
        (Text(may_be_date=True), "123", "wrong_type", "is a number", "quote it"),
        (ListOf(TEXT), "['']", "bad_value", "the text is empty", "give it a value (text)"),
        (TEXT, "x" * (MAX_TEXT_LENGTH + 1), "too_long", "1,025 characters; the limit is 1,024", "shorten it"),
        (Text("a number", even), "n3", "never_matches", "`n3` is odd", "add one"),
        # Choice
        (Choice(Colour), "rde", "bad_value", "`rde` is not one of: red, blue", "did you mean `red`?"),
        (Choice(Colour), "[red]", "bad_value", "`a list` is not one of", "use one of: blue, red"),
        (Choice(Colour), "!x red", "yaml_tag", "`!x`", "remove the tag"),
        # Number
        (
            PORT,
            "'443'",
            "wrong_type",
            "expected a port, found text (`443`)",
            "a whole number from 1 to 65535",
        ),
        (PORT, "0443", "wrong_type", "found a number (`0443`)", "without quotes"),
        (PORT, "1e3", "wrong_type", "found a number (`1e3`)", "without quotes"),
        (PORT, "-1", "wrong_type", "found a number (`-1`)", "without quotes"),
        (PORT, "12345678901", "wrong_type", "found a number", "without quotes"),
        (PORT, "https", "wrong_type", "found text (`https`)", "without quotes"),
        (PORT, "[1]", "wrong_type", "found a list", "without quotes"),
        (PORT, "!!int 443", "yaml_tag", "2002:int", "remove the tag"),
        (PORT, "0", "bad_value", "0 is not a port", "use a number from 1 to 65535"),
        (PORT, "65536", "bad_value", "65536 is not a port", "use a number from 1 to 65535"),
        # Flag
        (Flag(), "yes", "wrong_type", "expected true or false, found a boolean (`yes`)", "`true` or `false`"),
        (Flag(), "True", "wrong_type", "found a boolean (`True`)", "`true` or `false`"),
        (Flag(), "'true'", "wrong_type", "found text (`true`)", "`true` or `false`"),
        (Flag(), "{}", "wrong_type", "found a mapping", "`true` or `false`"),
        (Flag(), "!!bool true", "yaml_tag", "2002:bool", "remove the tag"),
        # ListOf
        (ListOf(TEXT), "x", "wrong_type", "found text (`x`)", "square brackets"),
        (ListOf(TEXT), "null", "wrong_type", "found null (`null`)", "square brackets"),
        (ListOf(TEXT), "!!set [x]", "yaml_tag", "2002:set", "remove the tag"),
        (ListOf(TEXT), "[]", "empty_list", "matches nothing", "add an item, or remove the key"),
        (
            ListOf(TEXT, ProblemCode.EMPTY_SELECTOR, "nobody", "somebody"),
            "[]",
            "empty_selector",
            "nobody",
            "somebody",
        ),
        (ListOf(PORT), "[" + "1, " * (MAX_ITEMS + 1) + "]", "too_long", "1,025 items", "split it"),
        (ListOf(TEXT), "[a, b, a]", "repeated_item", "the item repeats [0]", "remove it"),
        # MapOf
        (MapOf(TEXT), "[x]", "wrong_type", "found a list", "`key: value` lines"),
        (MapOf(TEXT), "!x {a: b}", "yaml_tag", "`!x`", "remove the tag"),
        (MapOf(TEXT), "{}", "empty_list", "the mapping is empty", "add a key, or remove it"),
        (MapOf(TEXT, empty_code=ProblemCode.EMPTY_SELECTOR), "{}", "empty_selector", "is empty", "add a key"),
        (MapOf(TEXT), "{no: x}", "wrong_type", "`no` without quotes is a boolean", "quote it"),
        (MapOf(TEXT), "{a: x, a: y}", "duplicate_key", "`a` appears twice (first on line 1)", "keep one"),
        (MapOf(TEXT), "{[a]: x}", "wrong_type", "a key is a list", "keys are plain text"),
        (MapOf(TEXT), "{!!str a: x}", "wrong_type", "a key is text (`a`)", "keys are plain text"),
        (MapOf(TEXT), "{<<: {a: b}, c: d}", "merge_key", "merge keys (`<<`)", "write the keys out"),
        # Record
        (
            PAIR,
            "[x]",
            "wrong_type",
            "expected a pair (a mapping), found a list",
            "its keys are leftSide, right",
        ),
        (ListOf(PAIR), "['']", "wrong_type", "found text (``)", "its keys are"),
        (PAIR, "!x {leftSide: x}", "yaml_tag", "`!x`", "remove the tag"),
        (PAIR, "{leftSide: x, rigth: 1}", "unknown_key", "`rigth` in a pair", "did you mean `right`?"),
        (PAIR, "{right: 1}", "missing_key", "`leftSide` is missing", "add `leftSide:` (text)"),
        (PAIR, "{leftSide: x, leftSide: y}", "duplicate_key", "`leftSide` appears twice", "keep one"),
        (PAIR, "{leftSide: x, right: 0}", "bad_value", "0 is not a port", "use a number"),
        (UNION, "{c: x}", "exactly_one", "a union needs exactly one of `a`, `b`", "add one of `a`, `b`"),
        (
            UNION,
            "{a: x, b: z}",
            "exactly_one",
            "a union has `a` and `b`; it takes exactly one",
            "keep one of them",
        ),
        (ONLY, "{}", "exactly_one", "a thing needs the key `a`", "add `a`"),
    ],
)
def test_refuses_what_does_not_fit(shape: Shape, text: str, code: str, message: str, fix: str) -> None:
    value, (problem,) = read_shape(shape, text)
    assert value is INVALID
    assert (problem.code.value, problem.line, problem.file) == (code, 1, FILE)
    assert message in problem.message
    assert fix in problem.fix


def test_an_empty_value_is_told_as_such() -> None:
    # `key:` with nothing after it: the value is null, whatever the field wanted.
    _, (text,) = read_shape(MapOf(TEXT), "a:\n")
    _, (listed,) = read_shape(MapOf(ListOf(TEXT)), "a:\n")
    assert (text.code, text.message, text.fix) == (
        ProblemCode.WRONG_TYPE,
        "the value is empty",
        "give it a value (text), or remove the key",
    )
    assert (listed.code, listed.message.endswith("found empty")) == (ProblemCode.WRONG_TYPE, True)


def test_a_long_text_is_shown_by_its_beginning() -> None:
    _, (problem,) = read_shape(PORT, "x" * 500)
    assert problem.message == f"expected a port, found text (`{'x' * 40}`)"


def test_reports_every_problem_at_once_each_with_its_line_and_path() -> None:
    record = Record("a list", (Field("items", ListOf(PAIR), ""), Field("names", MapOf(TEXT), "")), dict)
    value, problems = read_shape(
        record, "items:\n  - leftSide: no\n    right: x\n  - {}\nnames:\n  a: off\n  b: fine\nmore: 1\n"
    )
    assert value is INVALID
    assert [(p.code.value, p.line, p.path) for p in problems] == [
        ("wrong_type", 2, "items[0].leftSide"),
        ("wrong_type", 3, "items[0].right"),
        ("missing_key", 4, "items[1]"),
        ("wrong_type", 6, "names.a"),
        ("unknown_key", 8, ""),
    ]


def test_two_groups_of_alternatives_are_both_reported() -> None:
    record = Record("two", (Field("a", TEXT, ""), Field("b", TEXT, "")), dict, (("a",), ("b",)))
    _, problems = read_shape(record, "{}")
    assert [problem.message for problem in problems] == ["two needs the key `a`", "two needs the key `b`"]


def test_the_surplus_alternative_is_the_one_that_is_pointed_at() -> None:
    _, (problem,) = read_shape(UNION, "a: x\nc: x\nb: z\n")
    assert problem.line == 3


@pytest.mark.parametrize(
    ("at", "line", "path"),
    [("", 1, ""), ("b", 2, "b"), ("b[3].c", 2, "b[3].c"), ("b.c", 2, "b.c"), ("z", 1, "z")],
)
def test_a_fault_of_the_builder_points_at_the_field_that_it_names(at: str, line: int, path: str) -> None:
    record = Record("a thing", (Field("a", Text(may_be_empty=True), ""), Field("b", TEXT, "")), never)
    value, (problem,) = read_shape(record, f"a: '{at}'\nb: x\n")
    assert value is INVALID
    assert (problem.code, problem.line, problem.path) == (ProblemCode.NEVER_MATCHES, line, path)
    assert (problem.message, problem.fix) == ("too much", "take less")


@pytest.mark.parametrize(
    ("name", "attribute", "keyword"),
    [
        ("credential", "", "credential"),
        ("onForeignCredential", "", "on_foreign_credential"),
        ("from", "start_minute", "start_minute"),
    ],
)
def test_a_field_is_handed_on_in_snake_case_or_by_its_own_keyword(
    name: str, attribute: str, keyword: str
) -> None:
    assert Field(name, TEXT, "", attribute).keyword == keyword


@pytest.mark.parametrize(
    ("shape", "what"),
    [
        (TEXT, "text"),
        (Choice(Colour), "red | blue"),
        (PORT, "a port"),
        (Flag(), "true or false"),
        (PAIR, "a pair"),
    ],
)
def test_says_what_it_takes(shape: Shape, what: str) -> None:
    assert shape.what == what


def test_a_list_and_a_mapping_say_what_they_hold() -> None:
    assert "a port" in ListOf(PORT).what
    assert "a host" in MapOf(PORT, Text("a host")).what
    assert "a port" in MapOf(PORT, Text("a host")).what


@pytest.mark.parametrize(
    ("shape", "schema"),
    [
        (TEXT, {"type": "string", "maxLength": 1024, "minLength": 1}),
        (Text(pattern="^a$", may_be_empty=True), {"type": "string", "maxLength": 1024, "pattern": "^a$"}),
        (Choice(Colour), {"type": "string", "enum": ["red", "blue"]}),
        (PORT, {"type": "integer", "minimum": 1, "maximum": 65535}),
        (Flag(), {"type": "boolean"}),
        (ListOf(Flag()), {"type": "array", "items": {"type": "boolean"}, "maxItems": 1024, "minItems": 1}),
        (
            ListOf(Flag(), may_be_empty=True),
            {"type": "array", "items": {"type": "boolean"}, "maxItems": 1024},
        ),
        (MapOf(Flag()), {"type": "object", "additionalProperties": {"type": "boolean"}}),
        (Record("nothing", (), dict), {"type": "object", "properties": {}}),
        (
            Record("all", (Field("a", Flag(), "A.", required=True),), dict, (("a",),), frozenset({"z", "y"})),
            {
                "type": "object",
                "properties": {"a": {"description": "A.", "type": "boolean"}},
                "required": ["a"],
                "x-exactly-one": [["a"]],
                "x-ignored": ["y", "z"],
            },
        ),
    ],
)
def test_says_the_same_as_a_schema(shape: Shape, schema: dict[str, Any]) -> None:
    assert shape.schema() == schema
