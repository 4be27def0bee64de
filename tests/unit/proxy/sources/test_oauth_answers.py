from datetime import timedelta

import pytest

from proxy.core.secret import Secret
from proxy.sources.oauth_answers import HINTS, UNTOLD_LIFETIME, Issued, read_issued, refused
from proxy.sources.steps import Failed, HttpReply
from tests.source_world import NOON, json_reply
from tests.token_endpoint_answers import answer, issued

WHO = "the token endpoint of login.example.com"


def read(reply: HttpReply, token_types: frozenset[str] = frozenset({"bearer"})) -> Issued:
    found = read_issued(WHO, reply, NOON, HINTS, token_types)
    assert isinstance(found, Issued), found
    return found


def fault(reply: HttpReply) -> str:
    found = read_issued(WHO, reply, NOON, HINTS)
    assert isinstance(found, Failed)
    assert found.message.startswith(f"{WHO} answered ")
    return found.message.removeprefix(f"{WHO} answered ")


def test_a_token_comes_with_its_lifetime() -> None:
    assert read(issued()) == Issued(Secret(b"2YotnFZFEjr1zCsicMWpAA"), timedelta(hours=1), "")
    assert read(issued(issued_token_type="urn:t")).issued_type == "urn:t"


@pytest.mark.parametrize("token_type", ["Bearer", "bearer", "BEARER"])
def test_bearer_is_bearer_in_any_case(token_type: str) -> None:
    assert read(issued(token_type=token_type)).token


@pytest.mark.parametrize("token_type", ["DPoP", "mac", "N_A", "Bearer ", "pop"])
def test_a_token_of_another_type_is_not_used(token_type: str) -> None:
    assert fault(issued(token_type=token_type)) == (
        f"a token of the type `{token_type.strip()}`, and only Bearer tokens can be attached: let the server "
        "issue those to the client"
    )


@pytest.mark.parametrize("token_type", [None, "", 7, ["Bearer"]])
def test_a_token_without_a_type_is_not_used(token_type: object) -> None:
    assert fault(issued(token_type=token_type)) == (
        "a token without its `token_type`, which RFC 6749 §5.1 requires"
    )


def test_a_grant_may_know_other_types() -> None:
    assert read(issued(token_type="N_A"), frozenset({"bearer", "n_a"})).token


@pytest.mark.parametrize("seconds", [1, 0.5, 3600, "3600", 3_000_000_000])
def test_a_lifetime_is_seconds(seconds: float | str) -> None:
    assert read(issued(expires_in=seconds)).lifetime == timedelta(seconds=float(seconds))


def test_a_token_of_untold_lifetime_is_given_a_short_one() -> None:
    assert read(issued(expires_in=None)).lifetime == UNTOLD_LIFETIME
    assert read(json_reply(200, b'{"access_token":"t","token_type":"bearer","expires_in":null}')).lifetime


@pytest.mark.parametrize("seconds", ["0", "-1", "true", '"soon"', "[]", "NaN", "Infinity", "1e300", "1" * 60])
def test_a_lifetime_that_is_none_is_not_guessed_at(seconds: str) -> None:
    reply = json_reply(
        200, b'{"access_token":"t","token_type":"bearer","expires_in":' + seconds.encode() + b"}"
    )
    assert fault(reply) == "an `expires_in` that is no lifetime: let the server say seconds, or nothing"


@pytest.mark.parametrize("token", [None, "", 7, {}, ["t"]])
def test_an_answer_without_a_token_is_perhaps_of_another_endpoint(token: object) -> None:
    assert fault(issued(access_token=token)) == "no access token: check the URL"


@pytest.mark.parametrize("token", ["a b", "a\r\nHost: b", "é", "\x00", "t\n", "\ud800"])
def test_a_token_that_would_break_a_header_is_not_used(token: str) -> None:
    assert fault(issued(access_token=token)) == "an access token that no header can carry"


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'"t"', b"\xff", b"{" * 100_000, b"1" * 5000])
def test_an_answer_that_is_no_object_is_perhaps_of_another_endpoint(body: bytes) -> None:
    assert fault(json_reply(200, body)) == "200 without a JSON object: check the URL"


def test_a_token_counts_with_the_status_200_alone() -> None:
    assert fault(HttpReply(201, {}, issued().body)) == "201"


def test_an_error_with_the_status_200_is_an_error() -> None:
    assert fault(answer(200, error="invalid_scope", error_description="no such scope.")) == (
        "200: invalid_scope: no such scope: check `scopes`, and that the client may have them"
    )
    assert read(issued(error="", error_description="")).token


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        ("unauthorized_client", "allow this grant type"),
        ("unsupported_grant_type", "check `tokenUrl`"),
        ("invalid_scope", "check `scopes`"),
        ("invalid_target", "check `resource` and `audience`"),
        ("temporarily_unavailable", "asked again"),
        ("server_error", "asked again"),
        ("slow_down", "asked again"),
        ("use_dpop_nonce", "Bearer tokens"),
        ("invalid_dpop_proof", "Bearer tokens"),
        ("unsupported_token_type", "remove `revocationUrl`"),
    ],
)
def test_a_code_is_told_with_what_to_mend(code: str, hint: str) -> None:
    message = fault(answer(400, error=code, error_description="Because."))
    assert message.startswith(f"400: {code}: Because: ")
    assert hint in message


def test_a_code_that_nobody_knows_is_told_as_it_is() -> None:
    assert fault(answer(400, error="odd", error_description="Because.")) == "400: odd: Because."
    assert fault(json_reply(500, b"<html>")) == "500"
    assert fault(answer(404, error="not_found")) == "404: not_found"


@pytest.mark.parametrize("status", [404, 405])
def test_an_endpoint_that_is_not_there_is_an_error_in_the_document(status: int) -> None:
    assert fault(json_reply(status, b"<html>")) == f"{status}: check the URL"


def test_a_server_that_asks_for_patience_gets_it() -> None:
    reply = json_reply(503, b'{"error":"temporarily_unavailable"}', retry_after="30")
    assert refused(WHO, reply, NOON, HINTS) == Failed(
        f"{WHO} answered 503: temporarily_unavailable: the server is asked again after a pause", 30.0
    )
