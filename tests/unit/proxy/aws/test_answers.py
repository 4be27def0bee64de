from datetime import UTC, datetime

import pytest

from proxy.aws.answers import (
    MAX_REPLY_BYTES,
    AwsError,
    Session,
    child_of,
    moment_of,
    name_of,
    parsed,
    read_error,
    session_below,
)
from proxy.core.secret import Secret

NAMESPACE = 'xmlns="https://sts.amazonaws.com/doc/2011-06-15/"'
KEYS = {
    "AccessKeyId": "example-id",
    "SecretAccessKey": "s/e+c=",
    "SessionToken": "t/o+k=",
    "Expiration": "2026-03-04T13:00:00Z",
}


def reply(**keys: str) -> bytes:
    members = "".join(f"<{name}>{value}</{name}>" for name, value in {**KEYS, **keys}.items())
    return f"<Result {NAMESPACE}><Other/><Credentials>{members}</Credentials></Result>".encode()


# --- keys --------------------------------------------------------------------------------------------


def test_temporary_keys_are_read_whatever_the_namespace() -> None:
    for body in (reply(), reply().replace(NAMESPACE.encode(), b"")):
        session = session_below(parsed(body))
        assert session == Session(
            "example-id", Secret(b"s/e+c="), Secret(b"t/o+k="), datetime(2026, 3, 4, 13, tzinfo=UTC)
        )
        assert session is not None
        assert session.keys.access_key_id == "example-id"
        assert session.keys.session_token == Secret(b"t/o+k=")


@pytest.mark.parametrize("name", KEYS)
@pytest.mark.parametrize("value", ["", "  ", "a b", "<x>1</x>", "\x7f", "ü", "a\nb"])
def test_a_member_that_is_not_what_it_should_be_makes_no_keys(name: str, value: str) -> None:
    assert session_below(parsed(reply(**{name: value}))) is None


def test_a_member_that_is_there_twice_could_be_read_as_either_and_is_none() -> None:
    twice = reply().replace(b"<SessionToken>", b"<SessionToken>a</SessionToken><SessionToken>")
    assert session_below(parsed(twice)) is None


def test_below_nothing_there_are_no_keys() -> None:
    assert session_below(None) is None


# --- XML ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"{}",
        b"\xff\xfe<\x00a\x00>\x00",
        b"\x00",
        # Entities: one that grows, one that reads a file, one behind another encoding.
        b'<!DOCTYPE a [<!ENTITY b "b"><!ENTITY c "&b;&b;">]>' + reply(AccessKeyId="&c;"),
        b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/hostname">]>' + reply(AccessKeyId="&b;"),
        ('<?xml version="1.0" encoding="utf-16"?><!DOCTYPE a>' + reply().decode()).encode("utf-16"),
        reply(SessionToken="t" * MAX_REPLY_BYTES),
    ],
)
def test_what_is_no_xml_that_aws_sends_is_not_read(body: bytes) -> None:
    assert parsed(body) is None
    assert read_error(body) is None


def test_a_child_is_found_by_its_name_without_its_namespace() -> None:
    root = parsed(reply())
    assert root is not None
    assert name_of(root) == "Result"
    assert child_of(root, "Credentials") is not None
    assert child_of(root, "Nobody") is None


def test_a_fraction_of_a_second_is_read_as_ceph_writes_it() -> None:
    assert moment_of("2026-03-04T13:00:00.123456789Z") == datetime(2026, 3, 4, 13, 0, 0, 123456, tzinfo=UTC)


@pytest.mark.parametrize("time", ["", "2026-03-04T13:00:00", "0001-01-01T00:00:00+14:00", "1772629200"])
def test_a_time_that_could_be_any_or_is_none_is_refused(time: str) -> None:
    assert moment_of(time) is None


# --- errors ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        (
            f"<ErrorResponse {NAMESPACE}><Error><Type>Sender</Type><Code>AccessDenied</Code>"
            "<Message>Not authorized</Message></Error><RequestId>1</RequestId></ErrorResponse>"
        ),
        "<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>Not authorized</Message></Error>",
    ],
)
def test_errors_of_sts_and_of_s3_are_read(body: str) -> None:
    assert read_error(body.encode()) == AwsError("AccessDenied", "Not authorized")


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("<Error><Code>AccessDenied</Code></Error>", AwsError("AccessDenied", "")),
        ("<Error><Code></Code></Error>", None),
        ("<Error><Code>a</Code><Code>b</Code></Error>", None),
        ("<ErrorResponse><Code>a</Code></ErrorResponse>", None),
        ("<Other><Code>a</Code></Other>", None),
    ],
)
def test_an_error_without_a_code_is_none(body: str, error: AwsError | None) -> None:
    assert read_error(body.encode()) == error
