from datetime import timedelta
from urllib.parse import parse_qsl

import pytest
from hypothesis import given

from proxy.core.oauth_sources import (
    ClientAuth,
    FederatedAssertion,
    Oauth2ClientCredentials,
    SecretBasic,
    SecretPost,
)
from proxy.core.parts import Part, SecretKey
from proxy.core.secret import Secret
from proxy.sources.oauth_clients import ASSERTION_TYPE
from proxy.sources.steps import Acquired, Failed, HttpReply, StepFailed
from proxy.sources.table import renewal_of, steps_of
from tests.canary import Canary
from tests.source_world import OCCASION, World
from tests.token_endpoint_answers import ODD_REPLIES, answer, issued

URL = "https://login.example.com/token?tenant=ml"
KEY = SecretKey("client", "secret")
FEDERATED = Oauth2ClientCredentials(URL, "trainer", FederatedAssertion("podkey"))
BASIC = Oauth2ClientCredentials(URL, "trainer", SecretBasic(KEY))


def world(reply: HttpReply | StepFailed) -> World:
    return World(
        lambda _: reply, tokens={"podkey": b"a.pods.token"}, secrets={"client": {"secret": b"s3cret"}}
    )


def message(kind: Oauth2ClientCredentials, reply: HttpReply | StepFailed) -> str:
    return world(reply).failed(steps_of(kind, OCCASION)).message


def test_a_token_is_asked_for_with_all_that_narrows_it() -> None:
    asked = world(issued())
    kind = Oauth2ClientCredentials(
        URL, "trainer", FederatedAssertion("podkey"), ("read", "write"), "https://api", ("urn:a", "urn:b")
    )

    acquired = asked.acquired(steps_of(kind, OCCASION))

    assert acquired == Acquired({Part.TOKEN: Secret(b"2YotnFZFEjr1zCsicMWpAA")}, timedelta(hours=1))
    [call] = asked.calls
    assert (call.method, call.url, call.headers["accept"]) == ("POST", URL, "application/json")
    assert parse_qsl(call.body.decode(), strict_parsing=True) == [
        ("grant_type", "client_credentials"),
        ("scope", "read write"),
        ("audience", "https://api"),
        ("resource", "urn:a"),
        ("resource", "urn:b"),
        ("client_id", "trainer"),
        ("client_assertion_type", ASSERTION_TYPE),
        ("client_assertion", "a.pods.token"),
    ]


def test_beside_the_header_the_form_proves_nothing() -> None:
    asked = world(issued())
    asked.acquired(steps_of(BASIC, OCCASION))
    [call] = asked.calls
    assert call.form == {"grant_type": "client_credentials"}
    assert call.headers["authorization"].startswith("Basic ")


def test_nobody_is_asked_without_a_proof() -> None:
    unmounted = World()
    failed = unmounted.failed(steps_of(BASIC, OCCASION))
    assert failed.message == (
        "the client's secret: the secret `client` cannot be read: the secret client is not mounted"
    )


def test_a_server_that_cannot_be_asked_is_named() -> None:
    assert message(BASIC, StepFailed("login.example.com cannot be reached")) == (
        "the token endpoint of login.example.com cannot be asked: login.example.com cannot be reached"
    )


@pytest.mark.parametrize("code", ["invalid_client", "invalid_grant"])
@pytest.mark.parametrize("auth", [SecretBasic(KEY), SecretPost(KEY), FederatedAssertion("podkey")])
def test_a_client_that_is_not_taken_is_told_what_to_look_at(auth: ClientAuth, code: str) -> None:
    kind = Oauth2ClientCredentials(URL, "trainer", auth)
    told = message(kind, answer(401, error=code))
    assert told.startswith(f"the token endpoint of login.example.com answered 401: {code}: check ")
    assert "the client `trainer`" in told


def test_an_invalid_request_is_about_the_trust_where_the_pods_token_is_the_proof() -> None:
    reply = answer(400, error="invalid_request", error_description="AADSTS70021: No matching record found.")
    assert message(FEDERATED, reply).endswith(
        "AADSTS70021: No matching record found: check that the server trusts this cluster's issuer, the "
        "subject `system:serviceaccount:ml:trainer` and the audience `podkey` for the client `trainer`"
    )
    assert message(BASIC, reply).endswith("No matching record found.")


def test_a_client_credentials_token_is_not_renewed() -> None:
    assert renewal_of(BASIC, Acquired({}), OCCASION) is None


@given(reply=ODD_REPLIES)
def test_property_no_answer_breaks_it_and_no_message_shows_the_proof(reply: HttpReply) -> None:
    canary = Canary()
    secret, token = canary.secret("client secret"), canary.secret("pod token")
    held = World(
        lambda _: reply, tokens={"podkey": token.encode()}, secrets={"client": {"secret": secret.encode()}}
    )
    for kind in (BASIC, FEDERATED):
        outcome = held.drive(steps_of(kind, OCCASION))
        assert isinstance(outcome, Acquired | Failed)
        assert not canary.find_in(repr(outcome))
