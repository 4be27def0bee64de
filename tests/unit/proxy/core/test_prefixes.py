import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.prefixes import KeyPrefixes
from tests.core_reference import every_text


@pytest.mark.parametrize(
    ("prefix", "covered", "uncovered"),
    [
        ("train", ["train", "train/", "train/a", "train//a"], ["training-secret/a", "train-2", "trai", ""]),
        ("train/", ["train/", "train/a/b"], ["train", "training-secret/a", "Train/a"]),
        ("train*", ["train", "train/a", "training-secret/a"], ["trai", "a/train"]),
        ("data/x", ["data/x", "data/x/y"], ["data/xy", "data/", "data"]),
        ("*", ["a", "a/b"], []),
    ],
)
def test_a_prefix_ends_at_a_slash_unless_a_star_says_otherwise(
    prefix: str, covered: list[str], uncovered: list[str]
) -> None:
    prefixes = KeyPrefixes.of([prefix])
    assert [key for key in [*covered, *uncovered] if prefixes.cover_key(key)] == covered


@pytest.mark.parametrize(
    ("prefix", "covered", "uncovered"),
    [
        ("train", ["train/", "train/a"], ["train", "training-secret/", "t", ""]),
        ("train/", ["train/", "train/a"], ["train", ""]),
        ("train*", ["train", "train/", "training-secret/"], ["trai", ""]),
        ("*", ["", "a"], []),
    ],
)
def test_a_listing_is_covered_where_every_key_that_it_can_show_is(
    prefix: str, covered: list[str], uncovered: list[str]
) -> None:
    prefixes = KeyPrefixes.of([prefix])
    assert [listed for listed in [*covered, *uncovered] if prefixes.cover_listing(listed)] == covered


def test_no_prefix_covers_nothing() -> None:
    nothing = KeyPrefixes.of([])
    assert not nothing.cover_key("")
    assert not nothing.cover_key("a")
    assert not nothing.cover_listing("")
    assert not nothing.meet(KeyPrefixes.of(["*"]))
    assert not KeyPrefixes.of(["*"]).meet(nothing)


def test_several_prefixes_cover_what_each_of_them_covers() -> None:
    prefixes = KeyPrefixes.of(["a", "b/", "c*"])
    keys = ["a", "a/x", "b/x", "cx", "ax", "b", "d"]
    assert [key for key in keys if prefixes.cover_key(key)] == ["a", "a/x", "b/x", "cx"]


@pytest.mark.parametrize(
    ("left", "right", "meet"),
    [
        ("train", "train", True),
        ("train", "train/", True),
        ("train", "train/a", True),
        ("train/a/", "train", True),
        ("train", "training-secret/", False),
        ("train*", "training-secret/", True),
        ("train*", "train", True),
        ("train/", "train/a*", True),
        ("a/", "b/", False),
        ("a", "a*", True),
        ("ab", "a/", False),
        ("*", "a", True),
    ],
)
def test_prefixes_meet_where_a_key_is_covered_by_both(left: str, right: str, *, meet: bool) -> None:
    assert KeyPrefixes.of([left]).meet(KeyPrefixes.of([right])) is meet
    assert KeyPrefixes.of([right]).meet(KeyPrefixes.of([left])) is meet


PREFIXES = st.lists(
    st.builds("".join, st.tuples(st.text("a/", min_size=1, max_size=3), st.sampled_from(("", "", "*", "/")))),
    max_size=3,
).map(KeyPrefixes.of)
KEYS = list(every_text("a/b", 6))  # longer than any prefix, with a character that no prefix holds


@given(PREFIXES, PREFIXES)
def test_property_meet_agrees_with_trying_every_key(left: KeyPrefixes, right: KeyPrefixes) -> None:
    assert left.meet(right) == any(left.cover_key(key) and right.cover_key(key) for key in KEYS)


@given(PREFIXES, st.text("a/b", max_size=4))
def test_property_a_listing_is_covered_exactly_if_all_its_keys_are(
    prefixes: KeyPrefixes, listed: str
) -> None:
    # A key of every length may follow; three more characters tell the cases apart that prefixes can.
    shown = [listed + more for more in ("", *every_text("a/b", 3))]
    assert prefixes.cover_listing(listed) == all(prefixes.cover_key(key) for key in shown)
