import json
from base64 import b64encode
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.aws.answers import MAX_REPLY_BYTES, AwsError
from proxy.aws.ecr import RegistryLogin, endpoint_host, read_error, read_login
from proxy.core.secret import Secret

TOKEN = b64encode(b"AWS:pass:word").decode()


def reply(**changed: Any) -> bytes:
    data = {"authorizationToken": TOKEN, "expiresAt": 1772629200.5, "proxyEndpoint": "https://x", **changed}
    return json.dumps({"authorizationData": [data]}).encode()


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("eu-central-1", "api.ecr.eu-central-1.amazonaws.com"),
        ("cn-north-1", "api.ecr.cn-north-1.amazonaws.com.cn"),
        ("us-gov-west-1", "api.ecr.us-gov-west-1.amazonaws.com"),
        ("us-iso-east-1", "api.ecr.us-iso-east-1.c2s.ic.gov"),
        ("eusc-de-east-1", "api.ecr.eusc-de-east-1.amazonaws.eu"),
    ],
)
def test_each_region_has_its_own_api(region: str, host: str) -> None:
    assert endpoint_host(region) == host


def test_the_token_holds_a_user_and_a_password_which_may_hold_a_colon() -> None:
    assert read_login(reply()) == RegistryLogin(
        Secret(b"AWS"), Secret(b"pass:word"), datetime(2026, 3, 4, 13, 0, 0, 500000, tzinfo=UTC)
    )


def test_a_token_beside_that_of_another_registry_is_the_first() -> None:
    other = reply(authorizationToken=b64encode(b"AWS:other").decode())
    both = [data for body in (reply(), other) for data in json.loads(body)["authorizationData"]]
    login = read_login(json.dumps({"authorizationData": both}).encode())
    assert login is not None
    assert login.password == Secret(b"pass:word")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b"[" * 100_000,
        b'{"authorizationData": []}',
        b'{"authorizationData": {}}',
        b'{"authorizationData": [1]}',
        reply(authorizationToken=None),
        reply(authorizationToken="not base64!"),
        reply(authorizationToken="ü"),
        reply(authorizationToken=b64encode(b"AWS").decode()),
        reply(authorizationToken=b64encode(b":password").decode()),
        reply(authorizationToken=b64encode(b"AWS:pass word").decode()),
        reply(expiresAt=None),
        reply(expiresAt=True),
        reply(expiresAt="2026-03-04T13:00:00Z"),
        reply(expiresAt=1e300),
        reply(expiresAt=float("nan")),
        reply(proxyEndpoint="x" * MAX_REPLY_BYTES),
    ],
)
def test_what_holds_no_token_that_can_be_used_is_none(body: bytes) -> None:
    assert read_login(body) is None


@pytest.mark.parametrize(
    ("found", "error"),
    [
        ({"__type": "AccessDeniedException", "Message": "no"}, AwsError("AccessDeniedException", "no")),
        ({"__type": "com.amazonaws.ecr#ServerException"}, AwsError("ServerException", "")),
        ({"__type": "ServerException:http://x/", "message": 1}, AwsError("ServerException", "")),
        ({"message": "no"}, None),
        ({"__type": 1}, None),
        ({"__type": "an odd thing"}, None),
    ],
)
def test_an_error_is_told_by_its_type(found: dict[str, Any], error: AwsError | None) -> None:
    assert read_error(json.dumps(found).encode()) == error


@given(st.integers(0, 60), st.binary(max_size=4), st.integers(0, 30))
def test_whatever_is_answered_is_a_token_or_none(at: int, put: bytes, cut: int) -> None:
    body = reply()
    found = read_login(body[:at] + put + body[at + cut :])
    assert found is None or (found.username and found.password)
    read_error(body[:at] + put + body[at + cut :])
