from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.parts import SecretKey
from proxy.documents.problems import Fault
from proxy.documents.shapes import Text
from proxy.documents.source_values import (
    AUDIENCE,
    BASE_URL,
    HTTPS_URL,
    MAX_URL_LENGTH,
    SCOPE,
    SECRET_KEY_OF,
    duration,
    written,
    written_key,
)
from tests.core_reference import mutated
from tests.document_strategies import codes, read_shape

URL = "https://login.example.com/oauth2/token"
SPAN = duration("a lifetime", "15m", "12h")


def parsed(kind: Text, text: str) -> object:
    assert kind.parse is not None
    return kind.parse(text)


def fault(kind: Text, text: str) -> Fault:
    with pytest.raises(Fault) as found:
        parsed(kind, text)
    return found.value


@pytest.mark.parametrize(
    "text",
    [URL, "https://h.example:8443", "https://h.example/a?b=c&d", "https://h/%20"],
)
def test_an_https_url_is_taken_as_it_stands(text: str) -> None:
    assert parsed(HTTPS_URL, text) == text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("http://h.example/token", "plain http"),
        ("h.example/token", "not an https URL"),
        ("ftp://h.example", "not an https URL"),
        ("https:///token", "not an https URL"),
        ("https://h.example/a b", "not an https URL"),
        ("https://h.example/a\n", "not an https URL"),
        ("https://h.example/é", "not an https URL"),
        ("https://[::1", "not a URL"),
        ("https://h.example:99999", "not a URL"),
        ("https://h.example:x", "not a URL"),
        ("https://user@h.example", "a user name or a password"),
        ("https://:canary@h.example", "a user name or a password"),
        ("https://h.example/#x", "has a fragment"),
        ("https://h.example/#", "has a fragment"),
        ("https://h.example:0", "not a URL that can be asked"),
        ("https://h.example/" + "a" * MAX_URL_LENGTH, "not a URL that can be asked"),
        ("https://*.example.com/", "holds a star"),
        ("https://10.0.0.1/x", "is an IP address"),
        ("https://[::1]/x", "is an IP address"),
    ],
)
def test_what_cannot_be_asked_over_https_is_told_why(text: str, why: str) -> None:
    found = fault(HTTPS_URL, text)
    assert why in found.message
    assert found.fix
    assert "canary" not in found.message


def test_a_base_url_has_no_slash_at_its_end_and_no_query() -> None:
    assert parsed(BASE_URL, "https://vault.example.com:8200/") == "https://vault.example.com:8200"
    assert parsed(BASE_URL, "https://h.example/v1//") == "https://h.example/v1"
    assert "holds a query" in fault(BASE_URL, "https://h.example/v1?x").message


@given(mutated(URL, "aA0:/@?#[]%*. \n\\é") | st.text(max_size=30))
def test_fuzz_a_text_is_an_https_url_or_a_fault(text: str) -> None:
    for kind in (HTTPS_URL, BASE_URL):
        try:
            url = parsed(kind, text)
        except Fault:
            continue
        assert isinstance(url, str)
        assert url[:8].lower() == "https://"
        assert url.isascii()


@pytest.mark.parametrize("text", ["sts.amazonaws.com", "https://vault.example.com", "a", "a" * 512])
def test_an_audience_is_any_visible_text(text: str) -> None:
    assert parsed(AUDIENCE, text) == text


@pytest.mark.parametrize("text", ["a b", "a\n", "é", "a" * 513])
def test_an_audience_holds_no_blanks(text: str) -> None:
    assert "is not an audience" in fault(AUDIENCE, text).message


@pytest.mark.parametrize("text", ["read", "https://example.com/.default", "a" * 512])
def test_a_scope_is_one_word(text: str) -> None:
    assert parsed(SCOPE, text) == text


@pytest.mark.parametrize("text", ["read write", 'a"b', "a\\b", "é", "a" * 513])
def test_what_rfc_6749_does_not_allow_is_no_scope(text: str) -> None:
    assert "is not a scope" in fault(SCOPE, text).message


@pytest.mark.parametrize(("text", "span"), [("15m", 900), ("1h", 3600), ("12h", 43_200), ("0.5d", None)])
def test_a_span_is_read_within_its_bounds(text: str, span: int | None) -> None:
    if span is None:
        assert fault(SPAN, text).fix
    else:
        assert parsed(SPAN, text) == timedelta(seconds=span)
    assert SPAN.what == "a lifetime from 15m to 12h"


@pytest.mark.parametrize("text", ["14m", "13h", "-1h", "soon"])
def test_a_span_outside_its_bounds_is_none(text: str) -> None:
    assert fault(SPAN, text).message


@pytest.mark.parametrize(
    ("seconds", "text"), [(1, "1s"), (90, "90s"), (60, "1m"), (5400, "90m"), (3600, "1h"), (172_800, "2d")]
)
def test_a_span_is_written_in_its_largest_whole_unit(seconds: int, text: str) -> None:
    assert written(timedelta(seconds=seconds)) == text


@given(st.integers(900, 43_200))
def test_what_is_written_is_read_again(seconds: int) -> None:
    assert parsed(SPAN, written(timedelta(seconds=seconds))) == timedelta(seconds=seconds)


def test_a_key_of_a_secret_is_read_and_written() -> None:
    key = SecretKey("idp", "client-secret")
    assert read_shape(SECRET_KEY_OF, "{secretName: idp, key: client-secret}") == (key, [])
    assert written_key(key) == {"secretName": "idp", "key": "client-secret"}


@pytest.mark.parametrize("text", ["{secretName: idp}", "{key: k}", "{}"])
def test_both_halves_of_a_key_are_needed(text: str) -> None:
    _, problems = read_shape(SECRET_KEY_OF, text)
    assert set(codes(problems)) == {"missing_key"}
