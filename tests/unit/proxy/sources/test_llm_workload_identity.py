"""Against stand-ins that verify what OpenAI and Anthropic verify; errors come back as what to mend."""

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.llm_source import AnthropicFederation, LlmWorkloadIdentity, OpenAiFederation
from proxy.core.parts import Part
from proxy.core.secret import Secret
from proxy.core.structs import replace
from proxy.sources.llm_workload_identity import acquire
from proxy.sources.steps import Acquired, Failed, StepFailed
from tests.pod_tokens import TokenIssuer
from tests.source_world import NOON, OCCASION, Server, World, json_reply
from tests.stand_ins import anthropic_federation, openai_federation
from tests.stand_ins.anthropic_federation import LEEWAY, AnthropicTokens
from tests.stand_ins.assertions import RelyingParty
from tests.stand_ins.openai_federation import OpenAiTokens

CLUSTER = TokenIssuer()
SUBJECT = "system:serviceaccount:ml:trainer"
OPENAI = OpenAiFederation(openai_federation.PROVIDER, openai_federation.ACCOUNT)
CLAUDE = AnthropicFederation(
    anthropic_federation.RULE, anthropic_federation.ORGANIZATION, anthropic_federation.ACCOUNT
)
BOTH = pytest.mark.parametrize("federation", [OPENAI, CLAUDE], ids=["openai", "anthropic"])


def openai(issuer: TokenIssuer = CLUSTER, **more: Any) -> OpenAiTokens:
    return OpenAiTokens(RelyingParty.of(issuer, NOON), **more)


def claude(issuer: TokenIssuer = CLUSTER, **more: Any) -> AnthropicTokens:
    return AnthropicTokens(RelyingParty.of(issuer, NOON, LEEWAY), **more)


def world(server: Server, federation: OpenAiFederation | AnthropicFederation, **who: Any) -> World:
    audience = federation.audience
    return World(server, tokens={audience: CLUSTER.token(NOON, audience, **who)})


def outcome(
    server: Server, federation: OpenAiFederation | AnthropicFederation, **who: Any
) -> Acquired | Failed:
    result: Acquired | Failed = world(server, federation, **who).drive(
        acquire(LlmWorkloadIdentity(federation), OCCASION)
    )
    return result


def why(server: Server, federation: OpenAiFederation | AnthropicFederation, **who: Any) -> str:
    failed = outcome(server, federation, **who)
    assert isinstance(failed, Failed)
    return failed.message


# --- OpenAI ------------------------------------------------------------------------------------------


def test_openai_gives_a_token_for_the_mapped_service_account() -> None:
    stand_in = openai()

    assert outcome(stand_in.answer, OPENAI) == Acquired(
        {Part.TOKEN: Secret(stand_in.issued[0].encode())}, timedelta(hours=1)
    )


def test_a_token_of_openais_does_not_outlive_the_pods() -> None:
    acquired = outcome(openai().answer, OPENAI, lifetime=timedelta(minutes=10))

    assert isinstance(acquired, Acquired)
    assert acquired.expires == timedelta(minutes=10)


@pytest.mark.parametrize(
    ("stand_in", "federation", "who", "said", "hint"),
    [
        (
            openai(),
            replace(OPENAI, identity_provider_id="other"),
            {},
            "400: invalid_grant: The workload identity provider is unknown or disabled",
            "the provider `other` is enabled",
        ),
        (
            openai(provider_enabled=False),
            OPENAI,
            {},
            "400: invalid_grant: ",
            "the provider `example-provider` is enabled",
        ),
        (
            openai(mappings={}),
            OPENAI,
            {},
            "403: invalid_grant: No enabled mapping matches",
            f"leads the subject `{SUBJECT}` to the service account `example-account`",
        ),
        (
            openai(audience="acme"),
            OPENAI,
            {},
            "401: invalid_subject_token: Invalid subject token: audience",
            "its audience is `https://api.openai.com/v1`",
        ),
        (
            openai(TokenIssuer()),
            OPENAI,
            {},
            "401: invalid_subject_token: ",
            "the provider's issuer, its keys",
        ),
        (
            openai(TokenIssuer("https://other.example")),
            OPENAI,
            {},
            "401: invalid_subject_token: Invalid subject token: issuer",
            "check the provider's issuer",
        ),
        (
            openai(),
            OPENAI,
            {"lifetime": timedelta(0)},
            "401: invalid_subject_token: Invalid subject token: time",
            "check the provider's issuer",
        ),
        (
            openai(),
            replace(OPENAI, service_account_id=""),
            {},
            "400: invalid_request: Missing required parameter: service_account_id",
            "check the ids",
        ),
    ],
)
def test_a_refusal_of_openais_is_shown_and_explained(
    stand_in: OpenAiTokens, federation: OpenAiFederation, who: dict[str, Any], said: str, hint: str
) -> None:
    message = why(stand_in.answer, federation, **who)

    assert message.startswith(f"OpenAI's token endpoint answered {said}")
    assert hint in message


# --- Anthropic ---------------------------------------------------------------------------------------


def test_anthropic_gives_a_token_for_the_rules_service_account() -> None:
    seen = world(claude().answer, CLAUDE)
    acquired = seen.acquired(acquire(LlmWorkloadIdentity(CLAUDE), OCCASION))

    assert acquired == Acquired({Part.TOKEN: Secret(b"stand-in-1")}, timedelta(hours=1))
    [call] = seen.calls
    assert "workspace_id" not in json.loads(call.body)


def test_the_life_of_a_token_is_what_anthropic_says() -> None:
    acquired = outcome(claude(token_lifetime=600).answer, CLAUDE)

    assert isinstance(acquired, Acquired)
    assert acquired.expires == timedelta(minutes=10)


def test_a_rule_of_several_workspaces_is_asked_for_one() -> None:
    stand_in = claude(workspaces=("wrkspc_one", "wrkspc_two"))

    assert isinstance(outcome(stand_in.answer, replace(CLAUDE, workspace_id="wrkspc_two")), Acquired)
    assert why(stand_in.answer, CLAUDE) == (
        "Anthropic's token endpoint answered 400: invalid_request_error: workspace_id_required: check the "
        "ids; a rule that is enabled for several workspaces needs `workspaceId`"
    )


def test_a_rules_id_that_is_none_is_told() -> None:
    message = why(claude().answer, replace(CLAUDE, federation_rule_id="fdrl-x"))

    assert "federation_rule_id is not a well-formed fdrl_ tagged ID: check the ids" in message


@pytest.mark.parametrize(
    ("stand_in", "federation", "who", "logged"),
    [
        (claude(), replace(CLAUDE, federation_rule_id="fdrl_other"), {}, "rule_not_found"),
        (claude(), replace(CLAUDE, workspace_id="wrkspc_other"), {}, "workspace_not_enabled"),
        (claude(TokenIssuer("https://other.example")), CLAUDE, {}, "issuer"),
        (claude(TokenIssuer()), CLAUDE, {}, "key"),
        (claude(audience="acme"), CLAUDE, {}, "audience"),
        (claude(subject_prefix="system:serviceaccount:web:*"), CLAUDE, {}, "match_subject_prefix"),
        (claude(), CLAUDE, {"lifetime": -LEEWAY}, "time"),
        (claude(), CLAUDE, {"lifetime": timedelta(hours=2)}, "lifetime"),
    ],
)
@pytest.mark.parametrize("as_the_page_says", [True, False])
def test_an_opaque_refusal_leads_to_where_the_reason_stands(
    stand_in: AnthropicTokens,
    federation: AnthropicFederation,
    who: dict[str, Any],
    logged: str,
    *,
    as_the_page_says: bool,
) -> None:
    told = replace(stand_in, as_the_page_says=as_the_page_says, history=[])
    message = why(told.answer, federation, **who)

    said = "400: invalid_grant" if as_the_page_says else "401: authentication_error"
    assert message.startswith(
        f"Anthropic's token endpoint answered {said}: Authentication failed: the authentication history "
        "in the Claude Console says which check failed"
    )
    assert f"subject `{SUBJECT}` and the audience `https://api.anthropic.com`" in message
    assert told.history == [logged]


def test_a_token_that_was_exchanged_before_is_refused_and_the_message_says_what_to_switch() -> None:
    stand_in = claude()
    seen = world(stand_in.answer, CLAUDE)
    kind = LlmWorkloadIdentity(CLAUDE)

    assert seen.acquired(acquire(kind, OCCASION))
    assert "if it is `jti_reused`, switch the issuer's check of single use off" in (
        seen.failed(acquire(kind, OCCASION)).message
    )
    assert stand_in.history == ["jti_reused"]

    stand_in.check_jti = False
    assert seen.acquired(acquire(kind, OCCASION))


# --- both --------------------------------------------------------------------------------------------


@BOTH
def test_another_audience_is_asked_of_the_kubelet(
    federation: OpenAiFederation | AnthropicFederation,
) -> None:
    other = replace(federation, audience="acme")
    server = (openai(audience="acme") if federation is OPENAI else claude(audience="acme")).answer

    assert isinstance(outcome(server, other), Acquired)


@BOTH
def test_without_a_token_or_a_connection_it_says_so(
    federation: OpenAiFederation | AnthropicFederation,
) -> None:
    kind = LlmWorkloadIdentity(federation)
    assert "cannot be read" in World().failed(acquire(kind, OCCASION)).message

    down = World(lambda _: StepFailed("connection refused"), tokens={federation.audience: b"a.b.c"})
    assert down.failed(acquire(kind, OCCASION)).message.endswith(
        "'s token endpoint cannot be asked: connection refused"
    )


@BOTH
@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (429, b'{"error": {"type": "rate_limit_error"}}', "answered 429: rate_limit_error"),
        (500, b"<html>", "answered 500"),
        (400, b'{"error": {"code": 7, "type": ["x"]}}', "answered 400"),
        (400, b'{"error": {"code": "invalid_grant"}}', "answered 400: invalid_grant: "),
        (403, b'{"error": {"type": "permission_error"}}', "answered 403: permission_error"),
    ],
)
def test_what_else_is_answered_is_shown(
    federation: OpenAiFederation | AnthropicFederation, status: int, body: bytes, said: str
) -> None:
    assert said in why(lambda _: json_reply(status, body, retry_after="9"), federation)


@BOTH
@given(status=st.integers(100, 599), body=st.binary(max_size=60))
def test_no_reply_raises(
    federation: OpenAiFederation | AnthropicFederation, status: int, body: bytes
) -> None:
    seen = World(lambda _: json_reply(status, body), tokens={federation.audience: b"a.b.c"})

    assert isinstance(seen.drive(acquire(LlmWorkloadIdentity(federation), OCCASION)), Acquired | Failed)


@BOTH
def test_no_byte_of_the_pods_token_is_in_a_message(
    federation: OpenAiFederation | AnthropicFederation,
) -> None:
    server = openai(TokenIssuer()).answer if federation is OPENAI else claude(TokenIssuer()).answer
    seen = world(server, federation)
    token = seen.tokens[federation.audience].decode()
    message = seen.failed(acquire(LlmWorkloadIdentity(federation), OCCASION)).message

    assert not [part for part in token.split(".") if part in message]
