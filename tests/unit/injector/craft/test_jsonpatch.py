import copy
import json
from typing import Any

import jsonpatch
import pytest
from hypothesis import given
from hypothesis import strategies as st

from injector.craft.jsonpatch import Editor, Op, Operation, PatchFault, Path, apply, pointer

# --- paths ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ((), ""),
        (("spec", "containers", 0, "env", "-"), "/spec/containers/0/env/-"),
        (("metadata", "annotations", "podkey.io/injected"), "/metadata/annotations/podkey.io~1injected"),
        (("a~b", "~1", "", "/"), "/a~0b/~01//~1"),
    ],
)
def test_a_pointer_escapes_what_rfc_6901_wants_escaped(path: Path, text: str) -> None:
    assert pointer(path) == text


def test_an_operation_is_written_as_the_api_server_reads_it() -> None:
    added = Operation(Op.ADD, ("a", 0), {"b": None})
    assert added.to_json() == {"op": "add", "path": "/a/0", "value": {"b": None}}
    assert Operation(Op.REPLACE, ("a",), None).to_json() == {"op": "replace", "path": "/a", "value": None}
    assert Operation(Op.REMOVE, ("a",)).to_json() == {"op": "remove", "path": "/a"}


# --- applying -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "operation", "result"),
    [
        ({}, Operation(Op.ADD, ("a",), 1), {"a": 1}),
        ({"a": 1}, Operation(Op.ADD, ("a",), 2), {"a": 2}),
        ({"0": 1}, Operation(Op.REPLACE, (0,), 2), {"0": 2}),
        ([1, 2], Operation(Op.ADD, (1,), 9), [1, 9, 2]),
        ([1, 2], Operation(Op.ADD, (2,), 9), [1, 2, 9]),
        ([1, 2], Operation(Op.ADD, ("-",), 9), [1, 2, 9]),
        ([1, 2], Operation(Op.ADD, ("0",), 9), [9, 1, 2]),
        ([1, 2], Operation(Op.REMOVE, (0,)), [2]),
        ([1, 2], Operation(Op.REPLACE, (1,), 9), [1, 9]),
        ({"a": {"b": [{"c": 1}]}}, Operation(Op.REMOVE, ("a", "b", 0, "c")), {"a": {"b": [{}]}}),
        ({"a": 1}, Operation(Op.REPLACE, (), [1]), [1]),
        ({"a": 1}, Operation(Op.ADD, (), 3), 3),
    ],
)
def test_an_operation_does_what_rfc_6902_says(document: Any, operation: Operation, result: Any) -> None:
    before = copy.deepcopy(document)
    assert apply(document, [operation]) == result
    assert document == before


@pytest.mark.parametrize(
    ("document", "operation"),
    [
        ({}, Operation(Op.ADD, ("a", "b"), 1)),
        ({}, Operation(Op.REPLACE, ("a",), 1)),
        ({}, Operation(Op.REMOVE, ("a",))),
        ([1], Operation(Op.ADD, (2,), 1)),
        ([1], Operation(Op.ADD, ("01",), 1)),
        ([1], Operation(Op.ADD, ("a",), 1)),
        ([1], Operation(Op.ADD, (-1,), 1)),
        ([1], Operation(Op.REPLACE, (1,), 1)),
        ([1], Operation(Op.REPLACE, ("-",), 1)),
        ([1], Operation(Op.REMOVE, (1,))),
        ([[1]], Operation(Op.ADD, (1, 0), 1)),
        ([[1]], Operation(Op.ADD, ("-", 0), 1)),
        ({"a": 1}, Operation(Op.ADD, ("a", "b"), 1)),
        ({"a": None}, Operation(Op.ADD, ("a", "b"), 1)),
        (3, Operation(Op.ADD, ("a",), 1)),
        (3, Operation(Op.ADD, ("a", "b"), 1)),
        ({}, Operation(Op.REMOVE, ())),
    ],
)
def test_a_patch_that_does_not_fit_is_a_fault(document: Any, operation: Operation) -> None:
    with pytest.raises(PatchFault):
        apply(document, [operation])


NAMES = st.sampled_from(["a", "b", "a/b", "~", "~1", ""])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(0, 9) | st.sampled_from(["", "x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)
TOKENS = NAMES | st.integers(0, 3) | st.just("-")
OPERATIONS = st.builds(
    Operation,
    st.sampled_from(Op),
    st.lists(TOKENS, min_size=1, max_size=3).map(tuple),
    JSON,
)


@given(JSON.filter(lambda value: isinstance(value, dict | list)), st.lists(OPERATIONS, max_size=4))
def test_a_patch_means_what_another_implementation_makes_of_it(
    document: Any, operations: list[Operation]
) -> None:
    written = json.loads(json.dumps([operation.to_json() for operation in operations]))
    expected: Any
    try:
        expected = jsonpatch.apply_patch(document, written)
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException, TypeError):
        # It raises TypeError where a parent is a number or a text.
        expected = PatchFault
    try:
        found = apply(document, operations)
    except PatchFault:
        found = PatchFault
    assert found == expected


# --- the editor -----------------------------------------------------------------------------------


def test_what_is_missing_on_the_way_is_made_once() -> None:
    editor = Editor({"spec": {}})
    editor.put(("metadata", "annotations", "a"), "1")
    editor.put(("metadata", "annotations", "b"), "2")
    assert editor.operations == (
        Operation(Op.ADD, ("metadata",), {"annotations": {"a": "1"}}),
        Operation(Op.ADD, ("metadata", "annotations", "b"), "2"),
    )
    assert editor.document == {"spec": {}, "metadata": {"annotations": {"a": "1", "b": "2"}}}


def test_null_is_as_good_as_absent() -> None:
    editor = Editor({"spec": {"volumes": None}, "metadata": {"annotations": None}})
    editor.extend(("spec", "volumes"), [1, 2])
    editor.update(("metadata", "annotations"), {"a": "1"})
    assert editor.operations == (
        Operation(Op.ADD, ("spec", "volumes"), [1, 2]),
        Operation(Op.ADD, ("metadata", "annotations"), {"a": "1"}),
    )


def test_members_that_are_so_already_are_left_alone() -> None:
    editor = Editor({"m": {"a": "1", "b": "2"}})
    editor.update(("m",), {"a": "1", "b": "3", "c": "4"})
    assert editor.operations == (
        Operation(Op.ADD, ("m", "b"), "3"),
        Operation(Op.ADD, ("m", "c"), "4"),
    )
    editor = Editor({})
    editor.update(("m",), {})
    assert editor.operations == ()


def test_items_go_to_their_place_in_their_order() -> None:
    editor = Editor({"l": [1, 2]})
    editor.insert(("l",), 0, ["a", "b"])
    editor.extend(("l",), ["z"])
    editor.extend(("l",), [])
    assert editor.document == {"l": ["a", "b", 1, 2, "z"]}
    assert [operation.path for operation in editor.operations] == [("l", 0), ("l", 1), ("l", 4)]


@pytest.mark.parametrize(("path", "index"), [(("l",), 2), (("l",), -1), (("o",), 0), (("t",), 0)])
def test_items_have_no_place_but_in_a_list_and_behind_its_last(path: Path, index: int) -> None:
    editor = Editor({"l": [1], "o": {}, "t": "x"})
    with pytest.raises(PatchFault):
        editor.insert(path, index, [2])
    assert editor.operations == ()


@pytest.mark.parametrize("path", [("a", 0), ("l", "a"), ("l", 9), ("n",), ("l", 0, "x")])
def test_what_is_not_there_is_found_to_be_nothing(path: Path) -> None:
    assert Editor({"a": {}, "l": [1], "n": None}).find(path) is None


@given(
    st.dictionaries(NAMES, st.lists(st.integers(0, 9), max_size=3) | st.none(), max_size=3),
    st.lists(st.tuples(NAMES, st.integers(0, 9)), max_size=6),
)
def test_the_operations_make_what_the_editor_shows_and_nothing_else(
    document: dict[str, Any], edits: list[tuple[str, int]]
) -> None:
    before = copy.deepcopy(document)
    editor = Editor(document)
    for name, number in edits:
        editor.extend((name,), [number])
        editor.put(("new", name), [number])
        editor.extend(("new", name), [number])
    assert document == before
    assert apply(document, editor.operations) == editor.document
    written = [operation.to_json() for operation in editor.operations]
    assert jsonpatch.apply_patch(document, json.loads(json.dumps(written))) == editor.document
