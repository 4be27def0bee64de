from datetime import timedelta

import pytest
from hypothesis import given

from proxy.core.oauth_sources import (
    ACCESS_TOKEN_TYPE,
    JWT_TYPE,
    Actor,
    MountedActor,
    ProjectedActor,
    SecretBasic,
    SecretPost,
    TokenExchange,
)
from proxy.core.parts import Part, SecretKey
from proxy.core.secret import Secret
from proxy.core.structs import replace
from proxy.sources.steps import Acquired, Failed, HttpReply, StepFailed
from proxy.sources.table import renewal_of, steps_of
from tests.source_world import OCCASION, World
from tests.token_endpoint_answers import ODD_REPLIES, answer, issued

URL = "https://login.example.com/token"
GRANT_TYPE = "urn:ietf:params:oauth:grant-type:token-exchange"
REFRESH = "urn:ietf:params:oauth:token-type:refresh_token"
KIND = TokenExchange(URL, "podkey")
TOKENS = {"podkey": b"a.pods.token", "gateway": b"an.actors.token"}
SECRETS = {"s": {"token": b"mounted-token\n", "secret": b"s3cret"}}
GOOD = issued(issued_token_type=ACCESS_TOKEN_TYPE)


def world(reply: HttpReply | StepFailed) -> World:
    return World(lambda _: reply, TOKENS, SECRETS)


def form(kind: TokenExchange) -> dict[str, str]:
    asked = world(issued(issued_token_type=kind.requested_token_type or ACCESS_TOKEN_TYPE))
    asked.acquired(steps_of(kind, OCCASION))
    [call] = asked.calls
    return call.form


def message(kind: TokenExchange, reply: HttpReply | StepFailed) -> str:
    return world(reply).failed(steps_of(kind, OCCASION)).message


def test_the_pods_token_is_the_subject() -> None:
    assert world(GOOD).acquired(steps_of(KIND, OCCASION)) == Acquired(
        {Part.TOKEN: Secret(b"2YotnFZFEjr1zCsicMWpAA")}, timedelta(hours=1)
    )
    assert form(KIND) == {
        "grant_type": GRANT_TYPE,
        "subject_token": "a.pods.token",
        "subject_token_type": JWT_TYPE,
    }


def test_all_that_the_document_says_is_asked_for() -> None:
    kind = TokenExchange(
        URL, "podkey", "urn:s", "urn:r", "https://api", ("urn:a",), ("read", "write"), client_id="trainer"
    )
    assert form(kind) == {
        "grant_type": GRANT_TYPE,
        "subject_token": "a.pods.token",
        "subject_token_type": "urn:s",
        "requested_token_type": "urn:r",
        "scope": "read write",
        "audience": "https://api",
        "resource": "urn:a",
        "client_id": "trainer",
    }


@pytest.mark.parametrize(
    ("actor", "token", "token_type"),
    [
        (MountedActor(SecretKey("s", "token"), "urn:t"), "mounted-token", "urn:t"),
        (ProjectedActor("gateway"), "an.actors.token", JWT_TYPE),
        (ProjectedActor("gateway", "urn:t"), "an.actors.token", "urn:t"),
    ],
)
def test_an_actor_is_named_beside_the_subject(actor: Actor, token: str, token_type: str) -> None:
    found = form(replace(KIND, actor=actor))
    assert (found["actor_token"], found["actor_token_type"]) == (token, token_type)
    assert found["subject_token"] == "a.pods.token"


def test_a_client_may_prove_itself_beside_the_subject() -> None:
    found = form(replace(KIND, client_id="trainer", auth=SecretPost(SecretKey("s", "secret"))))
    assert (found["client_id"], found["client_secret"]) == ("trainer", "s3cret")


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"subject_audience": "other"}, "the pod's token for the audience `other` cannot be read"),
        ({"actor": ProjectedActor("other")}, "the pod's token for the audience `other` cannot be read"),
        ({"actor": MountedActor(SecretKey("s", "no"), "urn:t")}, "the actor's token: the secret `s`"),
        (
            {"client_id": "c", "auth": SecretBasic(SecretKey("s", "no"))},
            "the client's secret: the secret `s`",
        ),
    ],
)
def test_nobody_is_asked_where_a_part_is_missing(change: dict[str, object], what: str) -> None:
    held = World(None, TOKENS, SECRETS)
    assert held.failed(steps_of(replace(KIND, **change), OCCASION)).message.startswith(what)  # type: ignore[arg-type]


def test_a_server_that_cannot_be_asked_is_named() -> None:
    assert message(KIND, StepFailed("it is asleep")) == (
        "the token endpoint of login.example.com cannot be asked: it is asleep"
    )


# --- what was issued -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("requested", "told"),
    [
        (None, ACCESS_TOKEN_TYPE),
        (None, JWT_TYPE),
        (ACCESS_TOKEN_TYPE, ACCESS_TOKEN_TYPE),
        (REFRESH, REFRESH),
        ("urn:own", "urn:own"),
    ],
)
def test_what_was_requested_is_taken(requested: str | None, told: str) -> None:
    kind = replace(KIND, requested_token_type=requested)
    for token_type in ("Bearer", "N_A", "n_a"):
        reply = issued(issued_token_type=told, token_type=token_type)
        assert world(reply).acquired(steps_of(kind, OCCASION)).parts.keys() == kind.parts


@pytest.mark.parametrize(
    ("requested", "told", "why"),
    [
        (None, REFRESH, f"a token of the type `{REFRESH}`: set `requestedTokenType` to what you want"),
        (JWT_TYPE, REFRESH, f"a token of the type `{REFRESH}`, where `{JWT_TYPE}` was requested"),
        (JWT_TYPE, ACCESS_TOKEN_TYPE, f"where `{JWT_TYPE}` was requested"),
        (None, None, "a token without its `issued_token_type`, which RFC 8693 §2.2.1 requires"),
        (JWT_TYPE, 7, "a token without its `issued_token_type`"),
    ],
)
def test_what_was_not_requested_is_not_attached(requested: str | None, told: object, why: str) -> None:
    kind = replace(KIND, requested_token_type=requested)
    assert why in message(kind, issued(issued_token_type=told))


def test_a_token_that_is_bound_to_a_key_is_not_attached() -> None:
    assert "`DPoP`, and only Bearer tokens" in message(
        KIND, issued(issued_token_type=ACCESS_TOKEN_TYPE, token_type="DPoP")
    )


@pytest.mark.parametrize("code", ["invalid_request", "invalid_grant"])
def test_a_subject_that_is_not_taken_is_told_with_the_trust_that_it_needs(code: str) -> None:
    assert message(KIND, answer(400, error=code)) == (
        f"the token endpoint of login.example.com answered 400: {code}: check that the server trusts this "
        "cluster's issuer, the subject `system:serviceaccount:ml:trainer` and the audience `podkey`"
    )


def test_a_client_that_is_not_taken_is_told_what_to_look_at() -> None:
    reply = answer(401, error="invalid_client")
    assert message(KIND, reply).endswith("set `clientId`, and `auth` if it is no public one")
    kind = replace(KIND, client_id="trainer", auth=SecretBasic(SecretKey("s", "secret")))
    assert "the key `secret` of the secret `s`" in message(kind, reply)


def test_an_exchanged_token_is_not_renewed() -> None:
    assert renewal_of(KIND, Acquired({}), OCCASION) is None


@given(reply=ODD_REPLIES)
def test_property_no_answer_breaks_it_and_no_message_shows_a_token(reply: HttpReply) -> None:
    outcome = world(reply).drive(steps_of(replace(KIND, actor=ProjectedActor("gateway")), OCCASION))
    assert isinstance(outcome, Acquired | Failed)
    assert not any(token.decode() in repr(outcome) for token in TOKENS.values())
