import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.globs import (
    MAX_STARS,
    Glob,
    common_segments,
    common_text,
    glob_expression,
    segments_expression,
)
from tests.core_reference import GLOBS, TEXTS, every_text, glob_fits


@pytest.mark.parametrize(
    ("glob", "fitting", "unfitting"),
    [
        ("data", ["data"], ["Data", "data-2", "my-data", "", "data\n"]),
        ("*", ["a", "any.thing"], ["a/b", "/"]),
        ("train-*", ["train-", "train-1", "train-a-b"], ["train", "a-train-1", "train-a/b"]),
        ("*-logs", ["-logs", "eu-logs", "logs-logs"], ["logs", "eu-logs-"]),
        ("a*b", ["ab", "aab", "abb", "a.b"], ["a", "b", "aba", "a/b"]),
        ("a*b*a", ["aba", "abba", "ababa"], ["aa", "ab", "abab"]),
        ("*ab*ab", ["abab", "xababab"], ["ab", "aab", "ababx"]),
        ("org/*", ["org/name", "org/"], ["org", "org/a/b", "other/name"]),
        ("v1.0", ["v1.0"], ["v1x0"]),  # no dot, no plus, no bracket is an operator
        ("a+(b)[c]", ["a+(b)[c]"], ["aab", "ab"]),
    ],
)
def test_a_star_is_any_run_of_characters_but_a_slash(
    glob: str, fitting: list[str], unfitting: list[str]
) -> None:
    fits = re.compile(Glob(glob).expression).fullmatch
    assert [text for text in [*fitting, *unfitting] if fits(text)] == fitting


def test_the_star_can_be_kept_within_a_host_label() -> None:
    fits = re.compile(glob_expression("cdn-*.example.*", "[^.]")).fullmatch
    hosts = ["cdn-1.example.com", "cdn-.example.", "cdn-1.eu.example.com", "cdn-1.example.co.uk"]
    assert [host for host in hosts if fits(host)] == ["cdn-1.example.com", "cdn-.example."]


@given(GLOBS, TEXTS)
def test_property_the_expression_of_a_glob_agrees_with_the_slow_reading(glob: str, text: str) -> None:
    assert bool(re.fullmatch(glob_expression(glob), text)) == glob_fits(glob, text)


@given(st.text("a.*", min_size=1, max_size=7), st.text("a.", max_size=9))
def test_property_a_star_that_stops_at_dots_loses_no_match(glob: str, text: str) -> None:
    # The slow reading's star stops at slashes: it gets the same question with the dots spelled so.
    expected = glob_fits(glob.replace(".", "/"), text.replace(".", "/"))
    assert bool(re.fullmatch(glob_expression(glob, "[^.]"), text)) == expected


@pytest.mark.parametrize(("text", "literal"), [("data", True), ("da*", False), ("*", False)])
def test_a_glob_without_a_star_is_literal(text: str, *, literal: bool) -> None:
    assert Glob(text).is_literal is literal


@pytest.mark.parametrize(
    ("left", "right", "both"),
    [
        ("data", "data", "data"),
        ("data", "logs", None),
        ("data", "dat", None),
        ("data*", "*logs", "datalogs"),
        ("*", "*", "x"),
        ("*", "data", "data"),
        ("a*c", "ab*", "abc"),
        ("*a", "*b", None),
        ("a*", "b*", None),
        ("a*a", "a", None),
        ("org/*", "*/name", "org/name"),
        # A star does not stand for the slash, so it is no organisation with a name below.
        ("*", "org/name", None),
        ("org*", "org/name", None),
    ],
)
def test_two_globs_meet_in_a_text_that_both_match(left: str, right: str, both: str | None) -> None:
    assert Glob(left).common(Glob(right)) == both
    assert Glob(right).common(Glob(left)) == both


@given(GLOBS, GLOBS)
def test_property_a_common_text_is_matched_by_both_globs(left: str, right: str) -> None:
    both = common_text(left, right)
    if both is None:
        shared = [text for text in every_text("ab", 7) if glob_fits(left, text) and glob_fits(right, text)]
        assert shared == []
    else:
        assert both
        assert re.fullmatch(glob_expression(left), both)
        assert re.fullmatch(glob_expression(right), both)


@given(st.text("a/*", min_size=1, max_size=6), st.text("a/*", min_size=1, max_size=6))
def test_property_globs_with_slashes_meet_only_where_their_slashes_do(left: str, right: str) -> None:
    both = common_text(left, right)
    shared = [text for text in every_text("a/", 7) if glob_fits(left, text) and glob_fits(right, text)]
    assert (both is None) == (shared == [])
    assert both is None or (glob_fits(left, both) and glob_fits(right, both))


@pytest.mark.parametrize(
    ("segments", "expression"),
    [
        (["a"], "/a"),
        (["*"], "/[^/]+"),
        (["**"], "(?:/[^/]*)*"),
        (["**", "**"], "(?:/[^/]*)*"),
        (["a", "**", "b"], "/a(?:/[^/]*)*/b"),
        (["**", "a", "**"], r"(?>(?:/[^/]*)*?/a(?=/|\Z))(?:/[^/]*)*"),
    ],
)
def test_what_follows_a_run_of_segments_is_found_once_and_kept(segments: list[str], expression: str) -> None:
    assert segments_expression(segments) == expression


@pytest.mark.parametrize(
    ("left", "right", "both"),
    [
        (["a", "**"], ["**", "b"], ("a", "b")),
        (["**"], ["**"], ()),
        (["**"], ["a*b"], ("ab",)),
        (["**"], ["*"], ("x",)),
        (["*"], ["**"], ("x",)),
        (["**"], [""], ("",)),
        (["*"], [""], None),  # a lone star is a segment that is there
        (["a", ""], ["a", ""], ("a", "")),
        (["a*"], [""], None),
        (["a"], ["a", "b"], None),
        (["a*", "**"], ["b*", "**"], None),
    ],
)
def test_two_runs_of_segments_meet_in_segments_that_both_match(
    left: list[str], right: list[str], both: tuple[str, ...] | None
) -> None:
    assert common_segments(left, right) == both
    assert common_segments(right, left) == both


# Input that the application chooses, as long as a path can be. With an expression that backtracks these
# take longer than anybody waits, so that they end is the claim.
@pytest.mark.parametrize("text", ["a" * 8192, "ab" * 4096, "a" * 8191 + "b", "b" * 8192])
def test_matching_ends_on_hostile_text(text: str) -> None:
    fits = re.compile(glob_expression("*a" * MAX_STARS + "*c")).fullmatch
    assert fits(text) is None
    assert bool(fits(text + "c")) == (text.count("a") >= MAX_STARS)


def test_common_text_ends_on_long_patterns() -> None:
    assert common_text("a*" * 100 + "b", "*a" * 100 + "c") is None
