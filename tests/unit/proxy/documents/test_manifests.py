import re
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from proxy.documents.manifests import Manifest, read_manifests
from proxy.documents.problems import ProblemCode


def read(text: str) -> list[Any]:
    found, problems = read_manifests(text.encode(), "pod.yaml")
    assert problems == []
    return [manifest.value for manifest in found]


def code(text: str) -> ProblemCode:
    found, [problem] = read_manifests(text.encode(), "pod.yaml")
    assert found == []
    return problem.code


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8080", 8080),
        ("-1", -1),
        ("+1", 1),
        ("0", 0),
        ("0644", 0o644),
        ("0o644", 0o644),
        ("-017", -0o17),
        ("0b101", 5),
        ("0xb1", 0xB1),
        ("1_000", 1000),
        ("1e3", 1000),
        ("1.5", 1.5),
        (".5", 0.5),
        ("08", 8),
        ("1e300", 1e300),
        ("9223372036854775807", 2**63 - 1),
        ("99999999999999999999", 99999999999999999999.0),
        ("0x" + "f" * 70, "0x" + "f" * 70),
        ("~", None),
        ("", None),
        ("yes", True),
        ("Off", False),
        ("y", True),
        ("100m", "100m"),
        ("1:30", "1:30"),
        ("2026-11-21", "2026-11-21"),
        ("e3", "e3"),
        ("_", "_"),
        ("'yes'", "yes"),
        ('"1"', "1"),
        ("!!str 1", "1"),
        ("! 1", "1"),
        ("|-\n  a\n  b", "a\nb"),
        ("[1, [a], {b: }]", [1, ["a"], {"b": None}]),
        ("!!seq [a]", ["a"]),
        ("{}", {}),
    ],
)
def test_values_are_those_that_kubectl_reads(text: str, value: object) -> None:
    [found] = read(f"a: {text}\n")

    assert found == {"a": value}
    assert type(found["a"]) is type(value)


def test_documents_and_the_items_of_lists_come_one_by_one_with_their_lines() -> None:
    text = (
        "kind: Pod\n---\n# nothing\n---\nkind: PodList\nitems:\n- kind: Pod\n  a: 1\n"
        "- kind: List\n  items: [{kind: Job}]\n"
    )
    found, problems = read_manifests(text.encode(), "pods.yaml")

    assert problems == []
    assert found == [
        Manifest({"kind": "Pod"}, "pods.yaml", 1),
        Manifest({"kind": "Pod", "a": 1}, "pods.yaml", 7),
        Manifest({"kind": "Job"}, "pods.yaml", 10),
    ]


def test_items_of_something_else_are_a_field() -> None:
    assert read("kind: Volume\nitems: [a]\n") == [{"kind": "Volume", "items": ["a"]}]
    assert read("kind: List\nitems: a\n") == [{"kind": "List", "items": "a"}]
    assert read("items: []\n") == [{"items": []}]


def test_json_is_read_too() -> None:
    assert read('{"kind": "Pod", "spec": {"a": [1, true, null, "x"]}}') == [
        {"kind": "Pod", "spec": {"a": [1, True, None, "x"]}}
    ]


def test_keys_become_text_as_json_writes_them() -> None:
    assert read("1: a\ntrue: b\nfalse: c\n1.5: d\n'2': e\n") == [
        {"1": "a", "true": "b", "false": "c", "1.5": "d", "2": "e"}
    ]


def test_anchors_and_merges_are_written_out() -> None:
    text = "a: &a {p: 1, q: 2}\nb: {<<: *a, q: 3}\nc: {<<: [*a, {p: 9, r: 8}]}\nd: {'<<': 1}\n"

    assert read(text) == [
        {
            "a": {"p": 1, "q": 2},
            "b": {"p": 1, "q": 3},
            "c": {"p": 1, "q": 2, "r": 8},
            "d": {"<<": 1},
        }
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: [", ProblemCode.YAML_SYNTAX),
        ("- a", ProblemCode.WRONG_TYPE),
        ("text", ProblemCode.WRONG_TYPE),
        ("kind: List\nitems: [a]", ProblemCode.WRONG_TYPE),
        ("a: 1\na: 2", ProblemCode.DUPLICATE_KEY),
        ("? {a: 1}\n: 2", ProblemCode.WRONG_TYPE),
        ("~: 2", ProblemCode.WRONG_TYPE),
        ("a: !!binary aGk=", ProblemCode.YAML_TAG),
        ("a: !!set {b}", ProblemCode.YAML_TAG),
        ("a: .inf", ProblemCode.BAD_VALUE),
        ("a: -.INF", ProblemCode.BAD_VALUE),
        ("a: .nan", ProblemCode.BAD_VALUE),
        ("a: 1e999", ProblemCode.BAD_VALUE),
        ("<<: 1", ProblemCode.MERGE_KEY),
        ("<<: [1]", ProblemCode.MERGE_KEY),
    ],
)
def test_what_cannot_be_read_is_a_problem_with_its_line(text: str, problem: ProblemCode) -> None:
    assert code(text) is problem


def test_the_other_documents_of_the_file_are_read() -> None:
    found, [problem] = read_manifests(b"a: 1\n---\na: .inf\n---\na: 2\n", "pod.yaml")

    assert [manifest.value for manifest in found] == [{"a": 1}, {"a": 2}]
    assert str(problem) == "pod.yaml:3: JSON has no number for `.inf`"


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=8)
# PyYAML writes these without quotes, and go-yaml reads booleans and numbers in them.
KEPT = TEXT.filter(
    lambda text: text not in {"y", "Y", "n", "N"} and not re.search(r"[0-9][eE_]|_[0-9]", text)
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | KEPT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEPT, inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(KEPT, JSON, max_size=4))
def test_property_what_yaml_writes_is_read_back(value: dict[str, Any]) -> None:
    assert read(yaml.safe_dump({"k": value})) == [{"k": value}]


@given(TEXT)
def test_fuzz_any_plain_text_is_a_value_or_a_problem(text: str) -> None:
    found, problems = read_manifests(f"a: {text}\n".encode(), "pod.yaml")

    assert found or problems
