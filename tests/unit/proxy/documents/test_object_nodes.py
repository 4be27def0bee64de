"""Objects of the API server read as the same text would be read from YAML."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.credentials import CredentialSource
from proxy.core.policy import AccessPolicy
from proxy.documents.object_nodes import object_node
from proxy.documents.problems import Problem, ProblemCode
from proxy.documents.reader import DOCUMENTS
from proxy.documents.reading import Place, Reading
from proxy.documents.render import render, render_one
from proxy.documents.yaml_nodes import (
    MAX_DEPTH,
    MAX_DOCUMENT_NODES,
    MappingNode,
    Node,
    ScalarNode,
    SequenceNode,
    looks_like,
    read_nodes,
)
from tests.document_strategies import CREDENTIAL_SOURCES, POLICIES, TEXTS

NAME = "AccessPolicy/ml/p"


def node_of(value: Any) -> Node:
    node = object_node(value, NAME)
    assert not isinstance(node, Problem), node
    return node


def plain(node: Node) -> Any:
    """A tree as tuples, without lines and styles of text that nobody could take for something else."""
    assert node.tag == ""
    match node:
        case ScalarNode():
            return (node.value, node.plain and looks_like(node.value) is not None)
        case SequenceNode():
            return [plain(item) for item in node.value]
        case MappingNode():
            return [(plain(key), plain(value)) for key, value in node.value]


SCALARS = st.one_of(
    TEXTS,
    st.integers(-(10**12), 10**12),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.none(),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_property_an_object_is_the_tree_that_yaml_writes_and_reads(value: Any) -> None:
    # JSON is YAML, but for half a surrogate pair and escapes of an emoji.
    nodes, problems = read_nodes(json.dumps({"x": value}, ensure_ascii=False).encode(), NAME)
    assert problems == []
    assert plain(node_of({"x": value})) == plain(nodes[0])


@given(st.one_of(POLICIES, CREDENTIAL_SOURCES))
def test_property_an_object_is_read_as_its_document_is(document: AccessPolicy | CredentialSource) -> None:
    # As the API server sends it.
    value = json.loads(json.dumps(render_one(document)))
    reading = Reading(NAME)
    record = DOCUMENTS[value["kind"]]
    assert record.read(node_of(value), Place(), reading) == document
    assert reading.problems == []
    (node,), _ = read_nodes(render([document]).encode(), NAME)
    assert plain(node) == plain(node_of(value))


@pytest.mark.parametrize(
    ("value", "written", "guess"),
    [
        (443, "443", "a number"),
        (-1.5, "-1.5", "a number"),
        (1e22, "1e+22", "a number"),
        (float("inf"), ".inf", "a number"),
        (float("-inf"), "-.inf", None),
        (float("nan"), ".nan", "a number"),
        (True, "true", "a boolean"),
        (False, "false", "a boolean"),
        (None, "null", "null"),
    ],
)
def test_what_is_no_text_is_written_as_yaml_has_it(value: Any, written: str, guess: str | None) -> None:
    node = node_of(value)
    assert isinstance(node, ScalarNode)
    assert (node.value, node.plain, node.line) == (written, True, 0)
    assert guess is None or looks_like(written) == guess


@pytest.mark.parametrize("text", ["no", "443", "null", "", "~", "2026-01-01", "1e3", "<<"])
def test_text_is_text_whatever_it_looks_like(text: str) -> None:
    for node in (node_of(text), node_of({text: 1}).value[0][0]):  # type: ignore[index]
        assert isinstance(node, ScalarNode)
        assert (node.value, node.plain) == (text, False)


def test_keys_and_items_stay_in_their_order() -> None:
    assert plain(node_of({"b": [1, "x"], "a": {}, "c": []})) == [
        (("b", False), [("1", True), ("x", False)]),
        (("a", False), []),
        (("c", False), []),
    ]


def nested(depth: int) -> Any:
    value: Any = "x"
    for number in range(depth):
        value = [value] if number % 2 else {"k": value}
    return value


def test_an_object_is_as_deep_as_a_document_may_be() -> None:
    assert not isinstance(object_node(nested(MAX_DEPTH), NAME), Problem)
    (node,), problems = read_nodes(json.dumps(nested(MAX_DEPTH)).encode(), NAME)
    assert (plain(node), problems) == (plain(node_of(nested(MAX_DEPTH))), [])
    for depth in (MAX_DEPTH + 1, 100_000):
        problem = object_node(nested(depth), NAME)
        assert isinstance(problem, Problem)
        assert (problem.file, problem.line, problem.code) == (NAME, 0, ProblemCode.TOO_DEEP)


def test_an_object_is_as_large_as_a_document_may_be() -> None:
    assert not isinstance(object_node(["x"] * (MAX_DOCUMENT_NODES - 1), NAME), Problem)
    for value in (["x"] * MAX_DOCUMENT_NODES, {str(n): "x" for n in range(MAX_DOCUMENT_NODES // 2)}):
        problem = object_node(value, NAME)
        assert isinstance(problem, Problem)
        assert (problem.code, str(problem)) == (
            ProblemCode.TOO_MANY_NODES,
            f"{NAME}: the object has more than 20,000 nodes",
        )


@pytest.mark.parametrize("value", ["\ud800", {"a": ["\udfff"]}, {"\ud800": 1}])
def test_half_a_surrogate_pair_is_no_text(value: Any) -> None:
    problem = object_node(value, NAME)
    assert isinstance(problem, Problem)
    assert (problem.code, problem.line) == (ProblemCode.NOT_UTF8, 0)
    assert str(problem).encode()


def test_other_characters_than_ascii_are_text() -> None:
    assert plain(node_of({"münchen": "😀"})) == [(("münchen", False), ("😀", False))]
