from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.aws.answers import MAX_REPLY_BYTES, Session
from proxy.aws.sts import (
    ASSUME_ROLE,
    MAX_SESSION_NAME,
    NO_BOUNDS,
    WEB_IDENTITY,
    SessionBounds,
    assume_role_form,
    read_session,
    session_name,
    web_identity_form,
)
from proxy.core.aws_sources import AssumedRole
from proxy.core.identity import WorkloadIdentity
from proxy.core.secret import Secret

ROLE = "arn:aws:iam::111122223333:role/training"
HOUR = timedelta(hours=1)
NAMESPACE = 'xmlns="https://sts.amazonaws.com/doc/2011-06-15/"'
KEYS = {
    "AccessKeyId": "example-id",
    "SecretAccessKey": "s/e+c=",
    "SessionToken": "t/o+k=",
    "Expiration": "2026-03-04T13:00:00Z",
}


def reply(action: str = WEB_IDENTITY, namespace: str = NAMESPACE, **keys: str) -> bytes:
    members = "".join(f"<{name}>{value}</{name}>" for name, value in {**KEYS, **keys}.items())
    return (
        f"<{action}Response {namespace}><{action}Result><Audience>a</Audience><Credentials>{members}"
        f"</Credentials></{action}Result></{action}Response>"
    ).encode()


def pod(namespace: str, name: str, uid: str = "0f3d8a52-1111-4222-8333-444455556666") -> WorkloadIdentity:
    return WorkloadIdentity(namespace, "trainer", pod_name=name, pod_uid=uid)


def fields(form: bytes) -> dict[str, str]:
    pairs = parse_qsl(form.decode(), strict_parsing=True)
    assert len(pairs) == len(dict(pairs))
    return dict(pairs)


# --- what is asked -----------------------------------------------------------------------------------


def test_a_session_is_named_by_namespace_and_pod() -> None:
    assert session_name(pod("ml", "train-0")) == "ml.train-0"


def test_a_long_name_is_cut_and_ends_with_the_beginning_of_the_pods_uid() -> None:
    name = session_name(pod("ml", "a-very-long-name-of-a-job-that-somebody-generated-0123456789-abcde"))
    assert name == "ml.a-very-long-name-of-a-job-that-somebody-generated-01@0f3d8a52"
    assert len(name) == MAX_SESSION_NAME
    assert len(session_name(pod("m" * 63, "p"))) == MAX_SESSION_NAME
    assert session_name(pod("m" * 62, "p")) == "m" * 62 + ".p"


def test_a_pod_that_nobody_named_is_its_service_account() -> None:
    assert session_name(WorkloadIdentity("ml", "trainer")) == "ml.trainer"


@given(
    st.builds(
        pod,
        st.from_regex("[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True),
        st.text(max_size=80),
        st.text(max_size=40),
    )
)
def test_every_name_is_one_that_sts_takes(identity: WorkloadIdentity) -> None:
    name = session_name(identity)
    assert 2 <= len(name) <= MAX_SESSION_NAME
    assert name.isascii()
    assert all(c.isalnum() or c in "_+=,.@-" for c in name)


def test_the_form_for_a_web_identity() -> None:
    bounds = SessionBounds(
        '{"Version":"2012-10-17"}', ("arn:aws:iam::aws:policy/a", "arn:aws:iam::aws:policy/b")
    )
    assert fields(web_identity_form(ROLE, "ml.train-0", "a.b.c", HOUR, bounds)) == {
        "Action": "AssumeRoleWithWebIdentity",
        "Version": "2011-06-15",
        "RoleArn": ROLE,
        "RoleSessionName": "ml.train-0",
        "WebIdentityToken": "a.b.c",
        "DurationSeconds": "3600",
        "Policy": '{"Version":"2012-10-17"}',
        "PolicyArns.member.1.arn": "arn:aws:iam::aws:policy/a",
        "PolicyArns.member.2.arn": "arn:aws:iam::aws:policy/b",
    }


def test_the_form_for_a_second_role() -> None:
    role = AssumedRole(ROLE, "ext:1", timedelta(minutes=20))
    assert fields(assume_role_form(role, "ml.train-0", NO_BOUNDS, [("team", "vision"), ("x", "y z")])) == {
        "Action": "AssumeRole",
        "Version": "2011-06-15",
        "RoleArn": ROLE,
        "RoleSessionName": "ml.train-0",
        "ExternalId": "ext:1",
        "DurationSeconds": "1200",
        "Tags.member.1.Key": "team",
        "Tags.member.1.Value": "vision",
        "Tags.member.2.Key": "x",
        "Tags.member.2.Value": "y z",
    }
    assert "ExternalId" not in fields(assume_role_form(AssumedRole(ROLE), "ml.train-0", NO_BOUNDS, ()))


# --- what is answered --------------------------------------------------------------------------------


@pytest.mark.parametrize("action", [WEB_IDENTITY, ASSUME_ROLE])
@pytest.mark.parametrize("namespace", [NAMESPACE, ""])
def test_the_credentials_of_a_reply_are_read(action: str, namespace: str) -> None:
    assert read_session(action, reply(action, namespace)) == Session(
        "example-id", Secret(b"s/e+c="), Secret(b"t/o+k="), datetime(2026, 3, 4, 13, tzinfo=UTC)
    )


@pytest.mark.parametrize("name", KEYS)
def test_a_reply_that_lacks_a_member_is_no_session(name: str) -> None:
    assert read_session(WEB_IDENTITY, reply(**{name: ""})) is None


def test_a_reply_to_another_action_is_no_session() -> None:
    assert read_session(ASSUME_ROLE, reply(WEB_IDENTITY)) is None


@pytest.mark.parametrize("body", [b"", b"<html>", b"<AssumeRoleWithWebIdentityResponse/>"])
def test_what_is_no_reply_of_sts_is_no_session(body: bytes) -> None:
    assert read_session(WEB_IDENTITY, body) is None


def test_a_declaration_of_another_encoding_changes_nothing() -> None:
    assert read_session(WEB_IDENTITY, b'<?xml version="1.0" encoding="utf-16"?>' + reply()) is not None


def test_nesting_without_an_end_ends() -> None:
    deep = MAX_REPLY_BYTES // len("<a></a>")
    assert read_session(WEB_IDENTITY, b"<a>" * deep + b"</a>" * deep) is None
