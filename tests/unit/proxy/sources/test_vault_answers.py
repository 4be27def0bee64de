import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.parts import Part
from proxy.core.secret import Secret
from proxy.core.vault_source import KV_MAX_AGE, VaultDynamic, VaultKv2
from proxy.sources.steps import HttpReply
from proxy.sources.vault_answers import (
    MAX_PART_BYTES,
    Given,
    Login,
    deleted,
    extended,
    login_of,
    secret_of,
)
from tests.source_world import NOON

HOUR = timedelta(hours=1)
LOGIN = Login(Secret(b"t"), 2 * HOUR, renewable=True)
FIELDS = ((Part.TOKEN, "key"),)
KV = VaultKv2("secret", "a", FIELDS)
DYNAMIC = VaultDynamic("a/b", FIELDS)


def answer(told: Any) -> HttpReply:
    return HttpReply(200, {}, told if isinstance(told, bytes) else json.dumps(told).encode())


@pytest.mark.parametrize(
    ("told", "why"),
    [
        (b"<html>", "is not that of a login (it has no `auth`)"),
        (b"", "is not that of a login (it has no `auth`)"),
        ([], "is not that of a login (it has no `auth`)"),
        ({"auth": None}, "is not that of a login (it has no `auth`)"),
        ({"auth": None, "wrap_info": {"token": "t"}}, "is wrapped: leave response wrapping"),
        ({"auth": {}}, "holds no client token"),
        ({"auth": {"client_token": "", "mfa_requirement": {}}}, "holds no client token"),
        ({"auth": {"client_token": "a b", "lease_duration": 60}}, "holds no client token"),
        ({"auth": {"client_token": 7, "lease_duration": 60}}, "holds no client token"),
        ({"auth": {"client_token": "ü", "lease_duration": 60}}, "holds no client token"),
        ({"auth": {"client_token": "t"}}, "does not say how long the token lives"),
        ({"auth": {"client_token": "t", "lease_duration": 0}}, "does not say how long the token lives"),
        ({"auth": {"client_token": "t", "lease_duration": True}}, "does not say how long the token lives"),
        ({"auth": {"client_token": "t", "lease_duration": 1e300}}, "does not say how long the token lives"),
        (b'{"auth": {"client_token": "t", "lease_duration": NaN}}', "does not say how long the token lives"),
    ],
)
def test_an_answer_that_is_no_login_is_told(told: Any, why: str) -> None:
    login = login_of(answer(told))
    assert isinstance(login, str)
    assert login.startswith(why)


def test_a_login_is_a_token_and_its_life() -> None:
    told = {"auth": {"client_token": "t", "lease_duration": 60, "renewable": True}}
    assert login_of(answer(told)) == Login(Secret(b"t"), timedelta(minutes=1), renewable=True)
    told["auth"]["renewable"] = "true"
    assert login_of(answer(told)) == Login(Secret(b"t"), timedelta(minutes=1), renewable=False)


@pytest.mark.parametrize(
    ("read", "told", "why"),
    [
        (DYNAMIC, b"<html>", "is no JSON object"),
        (DYNAMIC, b"[" * 100_000, "is no JSON object"),
        (DYNAMIC, b"\xff", "is no JSON object"),
        (DYNAMIC, {"wrap_info": {"token": "t"}, "data": {"key": "v"}}, "is wrapped: leave response wrapping"),
        (DYNAMIC, {"data": None}, "holds no data"),
        (DYNAMIC, {}, "holds no data"),
        (KV, {"data": {"key": "v"}}, "is not that of the key-value engine, version 2"),
        (KV, {"data": []}, "is not that of the key-value engine, version 2"),
        (DYNAMIC, {"data": {"other": "v"}}, "lacks the key `key`: correct `fields`"),
        (DYNAMIC, {"data": {"key": None}}, "holds no text under `key`"),
        (DYNAMIC, {"data": {"key": 7}}, "holds no text under `key`"),
        (DYNAMIC, b'{"data": {"key": "\\ud800"}}', "holds no text under `key`"),
        (DYNAMIC, {"data": {"key": ""}}, "holds nothing under `key`"),
        (DYNAMIC, {"data": {"key": " \r\n"}}, "holds nothing under `key`"),
        (DYNAMIC, {"data": {"key": "x" * (MAX_PART_BYTES + 1)}}, "holds more than 65536 bytes under `key`"),
        (DYNAMIC, {"data": {"key": "v"}, "lease_id": "l"}, "has a lease that cannot be kept"),
        (DYNAMIC, {"data": {"key": "v"}, "lease_id": "l", "lease_duration": 0}, "has a lease that cannot"),
        (
            DYNAMIC,
            b'{"data": {"key": "v"}, "lease_id": "\\ud800", "lease_duration": 60}',
            "has a lease that cannot be kept",
        ),
        (DYNAMIC, {"data": {"key": "v", "expiration": 1}}, "holds a secret that has expired already"),
    ],
)
def test_an_answer_that_holds_no_secret_is_told(read: VaultKv2 | VaultDynamic, told: Any, why: str) -> None:
    given = secret_of(answer(told), read, LOGIN, NOON)
    assert isinstance(given, str)
    assert given.startswith(why)


@pytest.mark.parametrize(
    ("held", "value"),
    [("v", b"v"), ("v\n", b"v"), ("v\r\n", b"v"), ("v\n\n", b"v\n"), (" ü ", " ü ".encode())],
)
def test_a_value_is_taken_without_the_line_break_of_a_file(held: str, value: bytes) -> None:
    told = {"data": {"data": {"key": held}, "metadata": {}}}
    assert secret_of(answer(told), KV, LOGIN, NOON) == Given({Part.TOKEN: Secret(value)}, KV_MAX_AGE)


AT_ONE = int((NOON + HOUR).timestamp())


@pytest.mark.parametrize(
    ("said", "lifetime"),
    [
        ({}, KV_MAX_AGE),
        ({"ttl": 60}, timedelta(minutes=1)),
        ({"ttl": 0}, KV_MAX_AGE),
        ({"ttl": "1h"}, KV_MAX_AGE),
        ({"token_ttl": 7200, "expires_at_seconds": AT_ONE}, HOUR),
        ({"expiration": AT_ONE}, HOUR),
        ({"expiration": "soon"}, KV_MAX_AGE),
    ],
)
def test_a_secret_without_a_lease_lasts_as_long_as_its_data_says(
    said: dict[str, Any], lifetime: timedelta
) -> None:
    told = {"data": {"key": "v", **said}, "lease_id": "", "lease_duration": 2_764_800}
    assert secret_of(answer(told), DYNAMIC, LOGIN, NOON) == Given({Part.TOKEN: Secret(b"v")}, lifetime)


@pytest.mark.parametrize(
    ("duration", "renewable", "lifetime", "kept"),
    [
        (60, True, timedelta(minutes=1), True),
        (60, False, timedelta(minutes=1), False),
        (9999, True, 2 * HOUR, True),
    ],
)
def test_a_lease_lasts_no_longer_than_its_login(
    duration: int, *, renewable: bool, lifetime: timedelta, kept: bool
) -> None:
    told = {"data": {"key": "v"}, "lease_id": "a/b/1", "lease_duration": duration, "renewable": renewable}
    given = Given({Part.TOKEN: Secret(b"v")}, lifetime, "a/b/1", kept)
    assert secret_of(answer(told), DYNAMIC, LOGIN, NOON) == given


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"errors": []}, ""),
        (b"", ""),
        ({"data": {"metadata": None}}, ""),
        (
            {"data": {"metadata": {"version": 2, "deletion_time": "2026-03-04T10:00:00Z"}}},
            "version 2 was deleted at 2026-03-04T10:00:00Z: undelete it, or write a new version",
        ),
        ({"data": {"metadata": {}}}, "this version was deleted: undelete it, or write a new version"),
        (
            {"data": {"metadata": {"version": 2, "destroyed": True}}},
            "version 2 was destroyed: write a new version",
        ),
    ],
)
def test_a_404_says_whether_the_version_is_no_more(told: Any, said: str) -> None:
    assert deleted(answer(told)) == said


@pytest.mark.parametrize(
    ("told", "within", "span"),
    [
        ({"lease_duration": 3600}, "", HOUR),
        ({"lease_duration": 7200}, "", 2 * HOUR),
        ({"auth": {"lease_duration": 3600}}, "auth", HOUR),
        (
            {"lease_duration": 3599},
            "",
            "lasts 3599 s where 3600 s were asked for: its `max_ttl` is near",
        ),
        ({"lease_duration": 3600}, "auth", "does not say how long it lasts now (`lease_duration`)"),
        (b"<html>", "", "does not say how long it lasts now (`lease_duration`)"),
    ],
)
def test_a_renewal_counts_if_it_gives_what_was_asked_for(
    told: Any, within: str, span: timedelta | str
) -> None:
    assert extended(answer(told), within, HOUR) == span


@given(st.binary(max_size=80))
def test_no_bytes_make_a_reader_raise(body: bytes) -> None:
    reply = HttpReply(200, {}, body)
    assert isinstance(login_of(reply), str)
    assert isinstance(secret_of(reply, KV, LOGIN, NOON), str)
    assert isinstance(secret_of(reply, DYNAMIC, LOGIN, NOON), str)
    assert isinstance(extended(reply, "", HOUR), str)
    assert deleted(reply) == ""
