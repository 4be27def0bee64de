import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.sources.answers import (
    MAX_RETRY_AFTER,
    MAX_SHOWN,
    json_object,
    refusal,
    retry_after,
    seconds_of,
    shown,
    text_of,
)
from proxy.sources.steps import Failed, HttpReply
from tests.source_world import NOON, json_reply


def reply(body: object, status: int = 400, **headers: str) -> HttpReply:
    return json_reply(status, json.dumps(body).encode(), **headers)


def asked_to_wait(text: str) -> float | None:
    return retry_after(HttpReply(503, {"retry-after": text}, b""), NOON)


def test_an_object_is_read_and_nothing_else_is_one() -> None:
    assert json_object(reply({"a": 1})) == {"a": 1}
    for body in (
        b"",
        b"[]",
        b'"x"',
        b"1",
        b"null",
        b"{",
        b"<html>",
        b"\xff\xfe",
        b'{"a": 1} x',
        b"[" * 100_000,
    ):
        assert json_object(HttpReply(200, {}, body)) is None
    assert json_object(HttpReply(200, {}, b'{"a": ' + b"1" * 5000 + b"}")) is None


def test_text_is_text() -> None:
    found = {"a": "x", "b": "", "c": 1, "d": None, "e": ["x"]}
    assert [text_of(found, key) for key in "abcdef"] == ["x", "", "", "", "", ""]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        *[(3600, 3600.0), (0.5, 0.5), ("3600", 3600.0), (3.1e9, 3.1e9)],
        *[(0, None), (-1, None), ("0", None), ("-5", None), ("1h", None), ("", None), ("1" * 11, None)],
        *[(True, None), (None, None), ([1], None), (1e300, None), (10**400, None), (float("nan"), None)],
        *[(float("inf"), None), ("٣", None), ("3\n", None)],
    ],
)
def test_seconds_are_a_number_that_can_be_a_lifetime(value: object, seconds: float | None) -> None:
    assert seconds_of({"expires_in": value}, "expires_in") == seconds
    assert seconds_of({}, "expires_in") is None


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            {"error": "invalid_client", "error_description": "unknown client"},
            ": invalid_client: unknown client",
        ),
        ({"error": "invalid_grant"}, ": invalid_grant"),
        ({"error": {"status": "PERMISSION_DENIED", "message": "no"}}, ": PERMISSION_DENIED: no"),
        ({"error": {"type": "authentication_error", "message": "bad"}}, ": authentication_error: bad"),
        ({"error": {"code": "invalid", "message": ""}}, ": invalid"),
        ({"error": {"code": 403}}, ""),
        ({"message": "Bad credentials"}, ": Bad credentials"),
        ({"errors": ["permission denied", 7, "x"]}, ": permission denied: x"),
        ({"errors": "permission denied"}, ""),
        ({}, ""),
        ([], ""),
    ],
)
def test_a_refusal_says_what_the_server_said(body: Any, said: str) -> None:
    assert refusal("the provider", reply(body), NOON) == Failed(f"the provider answered 400{said}")


def test_a_refusal_takes_the_wish_for_patience_along() -> None:
    assert refusal("it", reply({}, 429, retry_after="7"), NOON) == Failed("it answered 429", 7.0)


def test_a_page_is_cut_to_a_line() -> None:
    assert shown("a\r\n\tb\x00 \x1b[31mc\u202e\ud800d") == "a b [31mc d"
    assert shown("x" * MAX_SHOWN) == "x" * MAX_SHOWN
    assert shown("x" * (MAX_SHOWN + 1)) == "x" * MAX_SHOWN + "…"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *[
            ("", None),
            ("0", 0.0),
            ("120", 120.0),
            ("9999999999", MAX_RETRY_AFTER),
            ("1.5", None),
            ("-1", None),
        ],
        ("Wed, 04 Mar 2026 12:01:00 GMT", 60.0),
        ("Wed, 04 Mar 2026 12:01:00 -0000", 60.0),
        ("Wed, 04 Mar 2026 11:00:00 GMT", 0.0),
        ("Sat, 04 Mar 2028 12:01:00 GMT", MAX_RETRY_AFTER),
        ("Wed, 04 Mar 2026 12:01:00 +9999", None),
        ("Wed, 99 Mar 2026 12:01:00 GMT", None),
        ("Fri, 31 Dec 9999 23:59:59 -2300", MAX_RETRY_AFTER),
        ("Mon, 01 Jan 0001 00:00:00 +2300", 0.0),
        ("soon", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str, seconds: float | None) -> None:
    assert asked_to_wait(text) == seconds


def test_without_the_header_there_is_no_wish() -> None:
    assert retry_after(HttpReply(503, {}, b""), NOON) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(("error", "message", "errors", "status", "error_description")) | st.text(), inner
        )
    ),
    max_leaves=8,
)
BODIES = st.binary() | JSON.map(lambda value: json.dumps(value).encode())
DATES = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)).map(  # noqa: DTZ001 - a header's text
    lambda when: f"Mon, {when.day:02} Mar {when.year:04} {when:%H:%M:%S}"
)
ZONES = st.sampled_from((" GMT", " -0000", " +1400", " -2359", " +9999", "", " UT", " X"))
WAITS = st.text() | st.integers().map(str) | st.tuples(DATES, ZONES).map("".join)


@given(BODIES, WAITS, st.integers(100, 599))
def test_fuzz_whatever_a_server_answers_becomes_one_short_line(body: bytes, wait: str, status: int) -> None:
    answer = HttpReply(status, {"retry-after": wait}, body)
    found = json_object(answer)
    assert found is None or isinstance(found, dict)
    failed = refusal("it", answer, datetime(2026, 1, 1, tzinfo=UTC))
    assert len(failed.message) <= len("it answered 400: ") + MAX_SHOWN + 1
    assert failed.message.isprintable()
    assert failed.retry_after is None or 0 <= failed.retry_after <= MAX_RETRY_AFTER
    for key in found or {}:
        assert isinstance(text_of(found or {}, key), str)
        assert 0 < (seconds_of(found or {}, key) or 1) < 3.2e9
