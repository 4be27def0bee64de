from hypothesis import given
from hypothesis import strategies as st

from proxy.wire.header_lines import (
    MAX_BYTES,
    MAX_LINE,
    MAX_LINES,
    LineMemory,
    cut_field_lines_fault,
    read_field_lines,
    split_cut_lines,
)
from proxy.wire.outcomes import BadHead, malformed, too_large

LINES = [b"Host: a.example", b"A:b", b"Content-Length: \t5 ", b"a: caf\xe9", b"host:"]
READ = [
    (("Host", "a.example"), "host"),
    (("A", "b"), "a"),
    (("Content-Length", "5"), "content-length"),
    (("a", "caf\xe9"), "a"),
    (("host", ""), "host"),
]


def test_lines_are_read_and_read_the_same_when_they_are_remembered() -> None:
    memory = LineMemory()

    for _ in range(2):
        assert read_field_lines(LINES, 5, memory) == READ
    assert list(memory.lines) == LINES
    assert read_field_lines([b"B: 1", *LINES], 6, memory) == [(("B", "1"), "b"), *READ]


def test_the_first_fault_is_told_and_the_count_comes_behind_the_lines_it_allows() -> None:
    memory = LineMemory()
    no_colon = malformed("header line 2 has no colon (RFC 9112 §5)")

    assert read_field_lines([b"A: b", b"x", b"\0"], 5, memory) == no_colon
    assert read_field_lines([b"A: b", b"x", b"\0"], 2, memory) == no_colon
    assert read_field_lines([b"A: b", b"x"], 1, memory) == too_large("more than 1 header lines")
    assert read_field_lines([b"A: b"], 0, memory) == too_large("more than 0 header lines")
    assert list(memory.lines) == [b"A: b"]


def test_a_cut_line_is_judged_behind_the_whole_ones() -> None:
    no_colon = malformed("header line 1 has no colon (RFC 9112 §5)")

    assert split_cut_lines(b"A: b\r\nC\r") == ([b"A: b"], b"C")
    assert cut_field_lines_fault([b"A: b"], b"", 1) is None
    assert cut_field_lines_fault([b"A: b"], b"C", 1) == too_large("more than 1 header lines")
    assert cut_field_lines_fault([b"A"], b"\0", 5) == no_colon
    assert isinstance(cut_field_lines_fault([], b" ", 5), BadHead)


def test_the_memory_is_bounded_in_lines() -> None:
    memory = LineMemory()
    for number in range(3 * MAX_LINES):
        read_field_lines([b"X-Id: %d" % number], 1, memory)
        assert 1 <= len(memory.lines) <= MAX_LINES


def test_the_memory_is_bounded_in_bytes() -> None:
    memory = LineMemory()
    for number in range(300):
        read_field_lines([b"X-%03d: " % number + b"a" * (MAX_LINE - 7)], 1, memory)
        assert 0 < sum(map(len, memory.lines)) <= MAX_BYTES
    held = len(memory.lines)
    read_field_lines([b"X-Long: " + b"a" * MAX_LINE], 1, memory)
    assert len(memory.lines) == held


def test_a_memory_of_some_names_holds_no_other() -> None:
    memory = LineMemory(frozenset({"server"}))
    read_field_lines([b"SERVER: a", b"X-Echo: b", b"server: c"], 3, memory)

    assert list(memory.lines) == [b"SERVER: a", b"server: c"]


LINE = st.one_of(st.binary(max_size=12), st.sampled_from([*LINES, b"A : b", b" a", b"", b"A: \0"]))


@given(heads=st.lists(st.lists(LINE, max_size=5), max_size=6), most=st.integers(0, 5))
def test_a_memory_changes_no_answer(heads: list[list[bytes]], most: int) -> None:
    memory = LineMemory()
    for lines in heads:
        assert read_field_lines(lines, most, memory) == read_field_lines(lines, most, LineMemory())
