import json
from datetime import timedelta
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.parts import Part
from proxy.core.secret import Secret
from proxy.sources.exchanging import (
    asked,
    bearer_token,
    form_call,
    json_call,
    pod_token,
    refused,
    visible,
)
from proxy.sources.steps import Acquired, Failed, HttpReply, StepFailed
from tests.source_world import NOON, Request, World, json_reply

CALL = form_call("https://sts.example.com/token", {"a": "b"})


def test_the_pods_token_is_text_for_any_body() -> None:
    assert World(tokens={"aud": b"head.body.sig"}).drive(pod_token("aud")) == "head.body.sig"


def test_a_token_that_is_not_mounted_is_told_with_its_audience() -> None:
    assert World().drive(pod_token("aud")) == StepFailed(
        "the pod's token for the audience `aud` cannot be read: no token for the audience aud is mounted"
    )


@pytest.mark.parametrize("odd", [b"", b"canary\n", b"can ary", b"canary\xff", b"canary\0"])
def test_what_is_no_token_is_sent_nowhere_and_shown_to_nobody(odd: bytes) -> None:
    failed = World(tokens={"aud": odd}).drive(pod_token("aud"))

    assert failed == StepFailed("the pod's token for the audience `aud` is no token: it holds odd bytes")


def test_a_server_that_cannot_be_asked_is_named() -> None:
    world = World(lambda _: StepFailed("connection refused"))

    assert world.drive(asked("Acme", CALL)) == StepFailed("Acme cannot be asked: connection refused")
    assert World(lambda _: json_reply(200, b"{}")).drive(asked("Acme", CALL)) == json_reply(200, b"{}")


def test_a_form_is_urlencoded_and_hidden() -> None:
    call = form_call("https://sts.example.com/token", {"scope": "a b&c", "subject_token": "canary"})
    request = Request.of(call)

    assert "canary" not in repr(call)
    assert (request.method, request.url) == ("POST", "https://sts.example.com/token")
    assert request.headers == {
        "content-type": "application/x-www-form-urlencoded",
        "accept": "application/json",
    }
    assert parse_qs(request.body.decode()) == {"scope": ["a b&c"], "subject_token": ["canary"]}


def test_json_is_json_and_hidden() -> None:
    call = json_call("https://a.example", {"assertion": 'can"ary'}, ("Authorization", Secret(b"Bearer t")))
    request = Request.of(call)

    assert "ary" not in repr(call)
    assert json.loads(request.body) == {"assertion": 'can"ary'}
    assert request.headers == {
        "content-type": "application/json",
        "accept": "application/json",
        "authorization": "Bearer t",
    }


def test_a_refusal_is_the_servers_words_and_what_they_mean_here() -> None:
    reply = json_reply(400, b'{"error":"invalid_grant","error_description":"Not you."}', retry_after="7")

    assert refused("Acme", reply, NOON) == Failed("Acme answered 400: invalid_grant: Not you.", 7.0)
    assert refused("Acme", reply, NOON, "check it") == Failed(
        "Acme answered 400: invalid_grant: Not you: check it", 7.0
    )


def test_a_token_of_the_right_type_is_taken_with_its_lifetime() -> None:
    body = b'{"access_token": "t0k3n", "token_type": "bearer", "expires_in": 3599, "more": []}'

    assert bearer_token("Acme", json_reply(200, body), NOON) == Acquired(
        {Part.TOKEN: Secret(b"t0k3n")}, timedelta(seconds=3599)
    )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b"<html>",
        b"[1]",
        b"{}",
        b"[" * 100_000,
        b'{"access_token": 7, "token_type": "Bearer", "expires_in": 60}',
        b'{"access_token": "", "token_type": "Bearer", "expires_in": 60}',
        b'{"access_token": "can\\nary", "token_type": "Bearer", "expires_in": 60}',
        b'{"access_token": "can\xc3\xa4ry", "token_type": "Bearer", "expires_in": 60}',
        b'{"access_token": "canary", "token_type": "DPoP", "expires_in": 60}',
        b'{"access_token": "canary", "token_type": "N_A", "expires_in": 60}',
        b'{"access_token": "canary", "token_type": "Bearer", "expires_in": 0}',
        b'{"access_token": "canary", "token_type": "Bearer", "expires_in": -1}',
        b'{"access_token": "canary", "token_type": "Bearer", "expires_in": NaN}',
        b'{"access_token": "canary", "token_type": "Bearer", "expires_in": 1e999}',
        b'{"access_token": "canary", "token_type": "Bearer", "expires_in": "soon"}',
        b'{"access_token": "canary", "token_type": "Bearer", "expires_in": true}',
    ],
)
def test_what_is_no_token_is_refused_by_name_and_not_shown(body: bytes) -> None:
    failed = bearer_token("Acme", json_reply(200, body), NOON)

    assert isinstance(failed, Failed)
    assert failed.message.startswith("Acme ")
    assert "ary" not in failed.message


@pytest.mark.parametrize("value", ["", "a b", "a\r\nb", "ü", 7, None, ["x"]])
def test_only_what_a_header_can_carry_is_visible(value: object) -> None:
    assert visible({"t": value}, "t") is None
    assert visible({"t": "x~!"}, "t") == Secret(b"x~!")


ODD_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.integers(100, 599),
    st.dictionaries(
        st.sampled_from(("access_token", "token_type", "expires_in", "error", "error_description")), ODD_JSON
    ),
)
def test_any_reply_is_a_sound_token_or_a_failure(status: int, members: dict[str, object]) -> None:
    reply = HttpReply(status, {}, json.dumps(members).encode())
    outcome = bearer_token("Acme", reply, NOON)

    if isinstance(outcome, Acquired):
        assert status == 200
        assert outcome.parts[Part.TOKEN].reveal() == str(members["access_token"]).encode()
        assert isinstance(outcome.expires, timedelta)
        assert timedelta(0) < outcome.expires
