from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.aws.answers import Session
from proxy.aws.express import read_session
from proxy.core.secret import Secret

REPLY = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<CreateSessionResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Credentials>'
    "<SessionToken>token</SessionToken><SecretAccessKey>secret</SecretAccessKey><AccessKeyId>id</AccessKeyId>"
    "<Expiration>2026-03-04T12:05:00Z</Expiration></Credentials></CreateSessionResult>"
)


def test_the_session_of_a_bucket_is_read() -> None:
    expires = datetime(2026, 3, 4, 12, 5, tzinfo=UTC)
    assert read_session(REPLY.encode()) == Session("id", Secret(b"secret"), Secret(b"token"), expires)


@pytest.mark.parametrize(
    "body",
    [
        "",
        REPLY.replace("CreateSessionResult", "Result"),
        REPLY.replace("<AccessKeyId>id</AccessKeyId>", ""),
        "<Error><Code>AccessDenied</Code></Error>",
    ],
)
def test_what_is_no_session_is_none(body: str) -> None:
    assert read_session(body.encode()) is None


@given(st.integers(0, len(REPLY)), st.binary(max_size=4), st.integers(0, 30))
def test_whatever_is_answered_is_a_session_or_none(at: int, put: bytes, cut: int) -> None:
    body = REPLY.encode()
    found = read_session(body[:at] + put + body[at + cut :])
    assert found is None or (found.access_key_id and found.secret_access_key and found.session_token)
