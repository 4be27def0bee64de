import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.queries import EMPTY_QUERY, MAX_PARAMETERS, MAX_QUERY_LENGTH, QUERY_AUTH, Query
from proxy.core.reasons import Reason
from tests.core_reference import mutated

LISTING = "list-type=2&prefix=datasets%2Fimagenet%2F&delimiter=/&encoding-type=url&max-keys=1000"


def test_a_query_is_read_once_and_kept_as_it_is() -> None:
    query = Query.parse(LISTING)
    assert query.raw == LISTING
    assert query.values == {
        "list-type": ["2"],
        "prefix": ["datasets/imagenet/"],
        "delimiter": ["/"],
        "encoding-type": ["url"],
        "max-keys": ["1000"],
    }


@pytest.mark.parametrize(
    ("raw", "values"),
    [
        ("a", {"a": [""]}),
        ("a=", {"a": [""]}),
        ("=b", {"": ["b"]}),
        ("a=b=c", {"a": ["b=c"]}),
        ("a=1&a=2&b=&a", {"a": ["1", "2", ""], "b": [""]}),
        ("&&a=1&", {"a": ["1"]}),
        ("a+b=c+d", {"a b": ["c d"]}),
        ("%61%3D=%26%2B", {"a=": ["&+"]}),
        ("a=%C3%A9", {"a": ["é"]}),
        ("a=%FF", {"a": ["\ufffd"]}),
        ("a[]=1&a[]=2", {"a[]": ["1", "2"]}),
        ("a=1;b=2", {"a": ["1;b=2"]}),
        ("A=1&a=2", {"A": ["1"], "a": ["2"]}),
    ],
)
def test_parameters_are_decoded_as_forms_are(raw: str, values: dict[str, list[str]]) -> None:
    assert Query.parse(raw).values == values


@pytest.mark.parametrize(
    "raw",
    [
        *["a=%", "a=%2", "a=%zz", "a=1#b", "a=1#&prefix=train/", "a b", "a=é", "a={1}", "a=<b>", 'a="b"'],
        *["a=1\r\nX-Evil: 1", "a HTTP/1.1\r\n", "a\tb", "a\x00", "a=%00", "a%00=b", "a\\b", "a=1\n"],
        "a=" + "b" * MAX_QUERY_LENGTH,
        "&".join(["a"] * (MAX_PARAMETERS + 1)),
    ],
)
def test_refuses_what_is_no_query(raw: str) -> None:
    assert Query.parse(raw).fault is Reason.MALFORMED_QUERY
    assert Query.parse(raw).values == {}


def test_reads_as_many_parameters_as_the_limit_allows() -> None:
    assert Query.parse("&".join(["a"] * MAX_PARAMETERS)).values == {"a": [""] * MAX_PARAMETERS}


def test_no_query_is_the_empty_one() -> None:
    assert Query.parse("") is EMPTY_QUERY
    assert EMPTY_QUERY.values == {}
    assert EMPTY_QUERY.folded_names == frozenset()
    assert (EMPTY_QUERY.carries_auth, EMPTY_QUERY.has_semicolon) == (False, False)


@pytest.mark.parametrize(
    ("raw", "names"),
    [
        ("Action=GetSessionToken&VERSION", {"action", "version"}),
        ("%53ession", {"session"}),
        # Also what stands behind a semicolon: a rule that denies must not depend on how a server splits.
        ("a=1;Session", {"a", "session"}),
        ("a;b=1", {"a;b", "a", "b"}),
        ("a%3Bb=1", {"a;b"}),
    ],
)
def test_rules_that_deny_see_names_in_their_widest_reading(raw: str, names: set[str]) -> None:
    assert Query.parse(raw).folded_names == names


@pytest.mark.parametrize(
    "raw",
    [
        "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=00",
        "x-amz-signature",
        "AWSAccessKeyId=a&Signature=b&Expires=1",
        "sv=2024&sig=00",
        "X-Goog-Signature=00",
        "%58-Amz-Signature=00",
        "prefix=a&SIG=1",
        "a=1;X-Amz-Signature=00",
        "sig;a=1",
    ],
)
def test_a_signature_in_the_query_is_seen(raw: str) -> None:
    assert Query.parse(raw).carries_auth


@pytest.mark.parametrize("raw", [LISTING, "q=sig", "signature_version=4", "my-sig=1", "a=x-amz-signature"])
def test_a_query_without_a_signature_carries_none(raw: str) -> None:
    assert not Query.parse(raw).carries_auth


@pytest.mark.parametrize(("raw", "has"), [("a;b", True), ("a=1;b=2", True), ("a%3Bb", False), ("a&b", False)])
def test_a_semicolon_that_could_separate_is_noticed(raw: str, *, has: bool) -> None:
    assert Query.parse(raw).has_semicolon is has


def test_queries_are_equal_when_they_are_written_alike() -> None:
    assert Query.parse("a=1&b") == Query.parse("a=1&b")
    assert Query.parse("a=%31") != Query.parse("a=1")


@given(mutated(LISTING, "&;=%+aF0é\x00#?") | st.text(max_size=40))
def test_fuzz_every_text_can_be_read_as_a_query(raw: str) -> None:
    query = Query.parse(raw)
    assert query.raw == raw
    if query.fault is not None:
        assert query == Query(raw)
        assert (query.fault, query.values, query.folded_names) == (Reason.MALFORMED_QUERY, {}, frozenset())
        return
    assert sum(map(len, query.values.values())) == len([pair for pair in raw.split("&") if pair])
    assert {name.lower() for name in query.values} <= query.folded_names
    assert query.carries_auth == bool(query.folded_names & QUERY_AUTH)
