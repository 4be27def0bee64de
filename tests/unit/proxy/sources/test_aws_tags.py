from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.sources.aws_tags import CLAIM, MAX_TAGS, session_tags
from tests.pod_tokens import TokenIssuer
from tests.source_world import NOON

CLUSTER = TokenIssuer()


def token(claim: Any) -> bytes:
    return CLUSTER.sign({**CLUSTER.claims(NOON), CLAIM: claim})


def test_tags_of_the_token_are_named_in_order() -> None:
    claim = {"principal_tags": {"team": ["vision"], "cost": ["42"]}, "transitive_tag_keys": []}
    assert session_tags(token(claim)) == (("cost", "42"), ("team", "vision"))


def test_a_transitive_tag_is_inherited_and_not_named_again_whatever_its_case() -> None:
    claim = {"principal_tags": {"Team": ["vision"], "cost": ["42"]}, "transitive_tag_keys": ["team"]}
    assert session_tags(token(claim)) == (("cost", "42"),)


def test_a_plain_value_is_taken_too() -> None:
    assert session_tags(token({"principal_tags": {"team": "vision"}})) == (("team", "vision"),)


def test_no_more_are_named_than_a_session_takes() -> None:
    claim = {"principal_tags": {f"k{n}": ["v"] for n in range(MAX_TAGS + 3)}}
    assert len(session_tags(token(claim))) == MAX_TAGS


@pytest.mark.parametrize(
    "claim",
    [
        None,
        [],
        "tags",
        {},
        {"principal_tags": []},
        {"principal_tags": {"a": [], "b": ["1", "2"], "c": 1, "d": [1], "e": None}},
        {"principal_tags": {}, "transitive_tag_keys": 7},
    ],
)
def test_what_is_not_shaped_as_aws_says_counts_for_nothing(claim: Any) -> None:
    assert session_tags(token(claim)) == ()


def test_keys_that_are_no_text_are_not_transitive() -> None:
    claim = {"principal_tags": {"a": ["1"]}, "transitive_tag_keys": [1, None, ["a"]]}
    assert session_tags(token(claim)) == (("a", "1"),)


def test_a_token_of_kubernetes_has_none() -> None:
    assert session_tags(CLUSTER.token(NOON)) == ()


@given(st.binary(max_size=80) | st.text(max_size=30).map(lambda text: f"e30.{text}.x".encode()))
def test_what_is_no_token_has_none(data: bytes) -> None:
    assert session_tags(data) == ()
