from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from proxy.documents.problems import ProblemCode
from proxy.documents.yaml_nodes import (
    MAX_DEPTH,
    MAX_DOCUMENT_NODES,
    MAX_FILE_BYTES,
    MappingNode,
    ScalarNode,
    SequenceNode,
    is_plain,
    line_of,
    looks_like,
    read_nodes,
    write_documents,
)

EXAMPLE = Path(__file__).parents[4] / "examples" / "02-training-job" / "policy.yaml"


def faults(data: bytes) -> list[tuple[ProblemCode, int]]:
    _, problems = read_nodes(data, "a.yaml")
    return [(problem.code, problem.line) for problem in problems]


# --- what is read --------------------------------------------------------------------------------------


def test_reads_every_document_with_its_line_and_leaves_out_empty_ones() -> None:
    nodes, problems = read_nodes(b"a: 1\n---\n---\n# only a comment\n---\n[x]\n--- 'text'\n", "a.yaml")
    assert problems == []
    assert [type(node) for node in nodes] == [MappingNode, SequenceNode, ScalarNode]
    assert [line_of(node) for node in nodes] == [1, 6, 7]


def test_a_file_without_documents_has_neither_nodes_nor_problems() -> None:
    assert read_nodes(b"", "a.yaml") == ([], [])
    assert read_nodes(b"# nothing\n", "a.yaml") == ([], [])


@pytest.mark.parametrize("text", ["no", "off", "y", "1e3", "0o17", "12:30", "2026-01-01", "null", "~"])
def test_keeps_the_text_that_yaml_would_interpret(text: str) -> None:
    (node,), _ = read_nodes(f"a: {text}".encode(), "a.yaml")
    ((_, value),) = node.value
    assert (value.value, value.tag, is_plain(value)) == (text, "", True)


@pytest.mark.parametrize(
    ("text", "plain"),
    [("x", True), ("'x'", False), ('"x"', False), ("|\n  x", False), (">\n  x", False), ("[x]", False)],
)
def test_knows_what_was_written_without_quotes(text: str, *, plain: bool) -> None:
    (node,), _ = read_nodes(f"a: {text}\n".encode(), "a.yaml")
    ((_, value),) = node.value
    assert is_plain(value) is plain


def test_an_explicit_tag_stays_to_be_seen() -> None:
    (node,), _ = read_nodes(b"!!python/object:os.system x", "a.yaml")
    assert node.tag == "tag:yaml.org,2002:python/object:os.system"


def test_a_byte_order_mark_is_no_part_of_the_text() -> None:
    (node,), problems = read_nodes(b"\xef\xbb\xbfkey: value", "a.yaml")
    assert problems == []
    assert node.value[0][0].value == "key"


@pytest.mark.parametrize(
    ("guess", "texts"),
    [
        ("null", ["", "~", "null", "Null", "NULL"]),
        ("a boolean", ["y", "Y", "n", "N", "yes", "No", "ON", "off", "true", "False", "TRUE"]),
        (
            "a number",
            ["0", "-1", "+1", "1_000", "0x1f", "0b10", "017", "0o17", "1.5", "1.", ".5", "1e3", "1.5e-3"],
        ),
        ("a number", [".inf", "-.Inf", ".nan", ".NaN", "190:20:30", "12:30", "5000:00"]),
        ("a date", ["2026-01-01", "2026-1-1", "2026-01-01T00:00:00Z", "2026-01-01 10:00"]),
        (
            None,
            [
                "x",
                "yes!",
                "nO",
                "nil",
                "1.2.3",
                "1e",
                "v1",
                "0xg",
                "12:60",
                "26-01-01",
                "2026-01-01x",
                "-",
                ".",
            ],
        ),
    ],
)
def test_knows_what_yaml_would_make_of_a_text(guess: str | None, texts: list[str]) -> None:
    assert {text: looks_like(text) for text in texts} == dict.fromkeys(texts, guess)


# --- limits --------------------------------------------------------------------------------------------


def test_a_file_of_the_largest_size_is_read_and_one_byte_more_is_not() -> None:
    data = b"a: b\n" + b"#" * (MAX_FILE_BYTES - 5)
    assert faults(data) == []
    nodes, (problem,) = read_nodes(data + b"#", "a.yaml")
    assert nodes == []
    assert (problem.code, problem.line, problem.fix) == (ProblemCode.TOO_LARGE, 0, "split the file")
    assert problem.message == "the file has more than 1,048,576 bytes, which is the limit"


def test_a_file_that_is_not_utf8_is_told_on_the_line_of_the_first_odd_byte() -> None:
    _, (problem,) = read_nodes(b"a: b\nc: \xff\n", "a.yaml")
    assert (problem.code, problem.line) == (ProblemCode.NOT_UTF8, 2)
    assert problem.fix == "save the file as UTF-8"


def test_utf16_is_not_utf8() -> None:
    assert faults("a: b".encode("utf-16")) == [(ProblemCode.NOT_UTF8, 1)]


def laughs(levels: int, width: int = 9) -> bytes:
    """`width ** levels` nodes in a few hundred bytes."""
    lines = ["a0: &a0 [ha]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * width)}]" for n in range(1, levels)]
    return "\n".join(lines).encode()


def test_anchors_that_explode_are_refused_without_being_walked() -> None:
    nodes, (problem,) = read_nodes(b"---\nfine: 1\n---\n" + laughs(30), "a.yaml")
    assert [line_of(node) for node in nodes] == [2]
    assert (problem.code, problem.line) == (ProblemCode.TOO_MANY_NODES, 3)
    assert "20,000 nodes" in problem.message
    assert "anchors" in problem.message
    assert "without anchors" in problem.fix


def test_a_document_of_the_most_nodes_is_read_and_one_more_is_not() -> None:
    def items(count: int) -> bytes:
        return b"\n".join([b"- x"] * count)

    assert faults(items(MAX_DOCUMENT_NODES - 1)) == []
    assert faults(items(MAX_DOCUMENT_NODES)) == [(ProblemCode.TOO_MANY_NODES, 1)]
    assert faults(b"- []\n" * MAX_DOCUMENT_NODES) == [(ProblemCode.TOO_MANY_NODES, 1)]


@pytest.mark.parametrize(
    ("data", "line"),
    [(b"&a [*a]", 1), (b"&a {b: *a}", 1), (b"&a {? *a : b}", 1), (b"a: &a\n  - b: [*a]", 2)],
    ids=["list", "value", "key", "deep"],
)
def test_an_anchor_that_holds_itself_is_refused(data: bytes, line: int) -> None:
    nodes, (problem,) = read_nodes(data, "a.yaml")
    assert nodes == []
    assert (problem.code, problem.line) == (ProblemCode.TOO_DEEP, line)
    assert problem.message == "the anchor `a` holds itself"
    assert problem.fix == "write it out"


@pytest.mark.parametrize(
    ("levels", "code"), [(MAX_DEPTH // 2, None), (MAX_DEPTH // 2 + 1, ProblemCode.TOO_DEEP)]
)
def test_an_anchor_is_as_deep_as_what_it_stands_for(levels: int, code: ProblemCode | None) -> None:
    half = MAX_DEPTH // 2 - 1
    text = f"a: &a {'[' * levels}{']' * levels}\nb:\n  {'[' * half}*a{']' * half}\n"
    assert faults(text.encode()) == ([] if code is None else [(code, 3)])


def test_what_an_anchor_repeats_is_read_wherever_it_stands() -> None:
    (node,), problems = read_nodes(b"a: &x [1, &y 2]\nb: *x\nc: {*y : *y}\n", "a.yaml")
    assert problems == []
    (_, first), (_, second), (_, third) = node.value
    assert first is second
    ((key, value),) = third.value
    assert (key.value, value.value) == ("2", "2")


def test_an_anchor_that_is_set_anew_stands_for_the_later_node() -> None:
    (node,), _ = read_nodes(b"[&a x, *a, &a z, *a]", "a.yaml")
    assert [item.value for item in node.value] == ["x", "x", "z", "z"]


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (b"[" * 70 + b"]" * 70, ProblemCode.TOO_DEEP),
        (b"- x\n" * MAX_DOCUMENT_NODES, ProblemCode.TOO_MANY_NODES),
        (b"a: *gone", ProblemCode.YAML_SYNTAX),
        # What follows the first fault is not scanned: libyaml takes time by the square of the depth.
        (b"- *gone\n- " + b"[" * 90_000, ProblemCode.YAML_SYNTAX),
    ],
)
def test_a_document_that_cannot_be_kept_ends_its_file(bad: bytes, code: ProblemCode) -> None:
    nodes, problems = read_nodes(b"a: b\n---\n" + bad + b"\n---\ne: f\n", "a.yaml")
    assert [node.value[0][0].value for node in nodes] == ["a"]
    assert [problem.code for problem in problems] == [code]


def test_an_anchor_ends_with_its_document() -> None:
    nodes, problems = read_nodes(b"a: &x y\n---\na: *x\n", "a.yaml")
    assert [line_of(node) for node in nodes] == [1]
    assert [(problem.code, problem.line) for problem in problems] == [(ProblemCode.YAML_SYNTAX, 3)]


def test_the_deepest_document_is_read_and_one_level_more_is_not() -> None:
    def nested(levels: int) -> bytes:
        return b"[" * levels + b"]" * levels

    assert faults(nested(MAX_DEPTH)) == []
    assert faults(nested(MAX_DEPTH + 1)) == [(ProblemCode.TOO_DEEP, 1)]


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"[" * 200_000, 1),
        (b"{" * 200_000, 1),
        (b"a: b\nc:\n  " + b"[" * 200_000, 3),
        (b"? " * 200_000, 1),
        (b"- " * 200_000, 1),
        (b"\n".join(b" " * n + b"-" for n in range(1400)), MAX_DEPTH + 1),
        (b"a: b\n---\n" + b"[" * 2000 + b"]" * 2000, 3),
    ],
    ids=["lists", "mappings", "below", "keys", "items", "indented", "second document"],
)
def test_depth_that_would_end_the_stack_is_refused(data: bytes, line: int) -> None:
    # Without the limit libyaml's composer recurses until the process dies: there is no softer failure.
    assert faults(data) == [(ProblemCode.TOO_DEEP, line)]


def test_many_shallow_lists_are_not_taken_for_depth() -> None:
    nodes, problems = read_nodes(b"- []\n" * 1500, "a.yaml")
    assert problems == []
    assert len(nodes[0].value) == 1500


def test_a_long_line_of_blanks_is_not_taken_for_depth() -> None:
    nodes, problems = read_nodes(b"a: |\n" + b" " * 3000 + b"x\n", "a.yaml")
    assert problems == []
    assert len(nodes) == 1


def test_a_syntax_error_in_a_file_that_may_be_deep_is_a_syntax_error() -> None:
    assert faults(b"- []\n" * 1500 + b"- [\n") == [(ProblemCode.YAML_SYNTAX, 1501)]


# --- syntax --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "line", "words", "fix"),
    [
        (b"a: b\nc: [d", 2, "not valid YAML: did not find expected ',' or ']'", "brackets"),
        (b"a: *b", 1, "there is no anchor `b`", "define the anchor"),
        (b"a: 1\nb:\n\tc: 1", 3, "cannot start any token", "indent with spaces"),
        (b"a: @b", 1, "cannot start any token", "quote values"),
        (b"a: 'b", 1, "unexpected end of stream", "check indentation"),
        (b"a: b: c", 1, "mapping values are not allowed", "check indentation"),
        (b"a: \x00b", 0, "control characters are not allowed", "check indentation"),
        (b"a:\n  b: 1\n \tc: 1", 3, "tab", "indent with spaces"),
        (b"a: !x!y z", 1, "undefined tag handle", "check indentation"),
        (b"%YAML 3.0\n---\na: b", 1, "incompatible YAML document", "check indentation"),
    ],
)
def test_a_syntax_error_is_told_with_its_line_and_a_fix(data: bytes, line: int, words: str, fix: str) -> None:
    _, (problem,) = read_nodes(data, "a.yaml")
    assert (problem.code, problem.line) == (ProblemCode.YAML_SYNTAX, line)
    assert words in problem.message
    assert fix in problem.fix


def test_documents_before_a_syntax_error_are_read() -> None:
    nodes, problems = read_nodes(b"a: b\n---\nc: [", "a.yaml")
    assert [line_of(node) for node in nodes] == [1]
    assert [problem.code for problem in problems] == [ProblemCode.YAML_SYNTAX]


# --- writing -------------------------------------------------------------------------------------------


def test_what_is_written_keeps_order_and_quotes_what_yaml_would_misread() -> None:
    written = write_documents([{"b": "no", "a": ["1e3", "y", "0x10", "x", "12:30"]}, {"c": "ü"}])
    # `1e3` and `y` are text to PyYAML, and a number and a boolean to the readers of Kubernetes.
    assert written == "b: 'no'\na:\n- '1e3'\n- 'y'\n- '0x10'\n- x\n- '12:30'\n---\nc: ü\n"


JSON = st.recursive(
    st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@given(document=st.dictionaries(st.text(max_size=5), JSON, max_size=3))
def test_property_what_is_written_is_what_other_readers_read(document: dict[str, object]) -> None:
    assert yaml.safe_load(write_documents([document])) == document


# --- fuzz ----------------------------------------------------------------------------------------------


def check_total(data: bytes) -> None:
    nodes, problems = read_nodes(data, "a.yaml")
    assert all(isinstance(node, MappingNode | SequenceNode | ScalarNode) for node in nodes)
    assert all(problem.file == "a.yaml" and problem.message and problem.fix for problem in problems)
    assert all(0 <= problem.line <= data.count(b"\n") + data.count(b"\r") + 2 for problem in problems)


@given(data=st.binary(max_size=200))
def test_fuzz_bytes_are_nodes_or_problems(data: bytes) -> None:
    check_total(data)


@given(data=st.text("[]{}-?:,&*!|>'\"%@`# \n\tab<=", max_size=60).map(str.encode))
def test_fuzz_indicators_are_nodes_or_problems(data: bytes) -> None:
    check_total(data)


def test_fuzz_every_prefix_of_an_example_is_nodes_or_problems() -> None:
    data = EXAMPLE.read_bytes()
    for end in range(len(data)):
        check_total(data[:end])
