import pytest

from proxy.core.oauth_sources import (
    FederatedAssertion,
    Oauth2ClientCredentials,
    SecretBasic,
    TokenExchange,
)
from proxy.core.parts import Part, SecretKey
from proxy.core.secret import Secret
from proxy.core.structs import replace
from proxy.sources.oauth_answers import HINTS
from proxy.sources.steps import Acquired, Failed, HttpReply, StepFailed
from proxy.sources.table import revocation_of
from tests.source_world import OCCASION, World, json_reply
from tests.token_endpoint_answers import answer

URL, REVOKE = "https://login.example.com/token", "https://login.example.com/revoke"
KINDS = (
    Oauth2ClientCredentials(URL, "trainer", FederatedAssertion("podkey"), revocation_url=REVOKE),
    TokenExchange(
        URL, "podkey", client_id="trainer", auth=FederatedAssertion("podkey"), revocation_url=REVOKE
    ),
)
TOKEN = Acquired({Part.TOKEN: Secret(b"issued+token")})


def revoked(
    kind: Oauth2ClientCredentials | TokenExchange, reply: HttpReply | StepFailed
) -> tuple[Failed | None, World]:
    world = World(lambda _: reply, {"podkey": b"a.pods.token"})
    steps = revocation_of(kind, TOKEN, OCCASION)
    assert steps is not None
    return world.drive(steps), world


@pytest.mark.parametrize("kind", KINDS)
def test_a_token_is_revoked_by_the_client_that_got_it(kind: Oauth2ClientCredentials | TokenExchange) -> None:
    failed, world = revoked(kind, json_reply(200, b""))

    assert failed is None
    [call] = world.calls
    assert (call.method, call.url) == ("POST", REVOKE)
    assert call.form == {
        "token": "issued+token",
        "token_type_hint": "access_token",
        "client_id": "trainer",
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": "a.pods.token",
    }


@pytest.mark.parametrize("kind", KINDS)
def test_without_an_endpoint_nothing_is_revoked(kind: Oauth2ClientCredentials | TokenExchange) -> None:
    assert revocation_of(replace(kind, revocation_url=None), TOKEN, OCCASION) is None


def test_an_exchange_without_a_client_revokes_without_one() -> None:
    _, world = revoked(TokenExchange(URL, "podkey", revocation_url=REVOKE), json_reply(200, b""))
    assert world.calls[0].form == {"token": "issued+token", "token_type_hint": "access_token"}


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (
            answer(400, error="unsupported_token_type"),
            f"answered 400: unsupported_token_type: {HINTS['unsupported_token_type']}",
        ),
        (json_reply(404, b"<html>"), "answered 404: check the URL"),
        (json_reply(204, b""), "answered 204"),
        (StepFailed("it is asleep"), "cannot be asked: it is asleep"),
    ],
)
def test_a_token_that_lives_on_is_told(reply: HttpReply | StepFailed, message: str) -> None:
    failed, _ = revoked(KINDS[0], reply)
    assert failed == Failed(f"the revocation endpoint of login.example.com {message}")


def test_a_client_that_is_not_taken_is_told_what_to_look_at() -> None:
    failed, _ = revoked(KINDS[0], answer(401, error="invalid_client"))
    assert failed is not None
    assert "invalid_client: check that the server trusts this cluster's issuer" in failed.message


def test_a_server_that_asks_for_patience_gets_it() -> None:
    failed, _ = revoked(KINDS[0], json_reply(503, b"", retry_after="7"))
    assert failed == Failed("the revocation endpoint of login.example.com answered 503", 7.0)


def test_without_a_proof_nobody_is_asked() -> None:
    kind = replace(KINDS[0], auth=SecretBasic(SecretKey("s", "k")))
    steps = revocation_of(kind, TOKEN, OCCASION)
    assert steps is not None
    failed = World().drive(steps)
    assert isinstance(failed, Failed)
    assert failed.message.startswith("the client's secret: the secret `s`")
