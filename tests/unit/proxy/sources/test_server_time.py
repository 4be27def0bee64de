from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.sources.server_time import server_time
from proxy.sources.steps import HttpReply

NOON = datetime(2026, 11, 6, 12, 49, 37, tzinfo=UTC)


def told(date: str | None, age: str | None = None) -> datetime | None:
    headers = {name: value for name, value in (("date", date), ("age", age)) if value is not None}
    return server_time(HttpReply(200, headers, b""))


@pytest.mark.parametrize(
    "text", ["Fri, 06 Nov 2026 12:49:37 GMT", "Friday, 06-Nov-26 12:49:37 GMT", "Fri Nov  6 12:49:37 2026"]
)
def test_all_three_forms_of_the_rfc_are_read(text: str) -> None:
    assert told(text) == NOON


@given(st.datetimes(datetime(2020, 1, 1), datetime(2199, 12, 31), timezones=st.just(UTC)))  # noqa: DTZ001 - with zones
def test_every_date_that_a_server_writes_is_read_back(when: datetime) -> None:
    assert told(format_datetime(when, usegmt=True)) == when.replace(microsecond=0)


def test_a_leap_second_is_the_one_before() -> None:
    assert told("Sat, 31 Dec 2016 23:59:60 GMT") is None  # before podkey
    assert told("Thu, 31 Dec 2026 23:59:60 GMT") == datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC)


def test_what_a_cache_kept_is_older_by_its_age() -> None:
    assert told("Fri, 06 Nov 2026 11:49:37 GMT", "3600") == NOON
    assert told("Fri, 06 Nov 2026 12:49:37 GMT", "soon") == NOON


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "now",
        "Thu, 01 Jan 1970 00:00:00 GMT",  # a server without a clock
        "Fri, 06 Nov 9999 12:49:37 GMT",
        "Friday, 06-Nov-19 12:49:37 GMT",
        "Fri, 31 Nov 2026 12:49:37 GMT",
        "Fri, 06 Nix 2026 12:49:37 GMT",
        "Fri, 06 Nov 2026 25:49:37 GMT",
        "Fri, 06 Nov 2026 12:49:61 GMT",
        "Fri, 06 Nov 2026 12:49:37 +0100",
        "Fri, ٠٦ Nov 2026 12:49:37 GMT",
        "2026-11-06T12:49:37Z",
        "Fri, 06 Nov 2026 12:49:37 GMT, Fri, 06 Nov 2026 12:49:37 GMT",
    ],
)
def test_what_is_absent_or_absurd_tells_nothing(text: str | None) -> None:
    assert told(text) is None
