"""Model providers: the pod's token is exchanged for a short-lived one of theirs.

OpenAI: developers.openai.com/api/reference/workload-identity-federation (request, reply, the categories of
errors). That page gives no error codes for the exchange of a JWT; those here are the ones that the openai
package 3.54 lists (types/shared/oauth_error_code.py), and its _exceptions.py shows the shape of their body.

Anthropic: platform.claude.com/docs/en/manage-claude/wif-reference (request, reply, errors). Only the sources
of their SDKs (anthropic 2.12) tell of the `anthropic-beta` header (lib/credentials/_constants.py), of the
limit of a token's life by the assertion's, and of the single use of an assertion (`check_jti`, types/
organization/federation). The page says that a refusal is a 400 `invalid_grant`; public reports (anthropics/
claude-code issue 89095) and the SDK's hint show a 401 `authentication_error`. Both are understood.
"""

from http import HTTPStatus
from typing import Final, assert_never

from proxy.core.llm_source import AnthropicFederation, LlmWorkloadIdentity, OpenAiFederation
from proxy.sources.answers import json_object, text_of
from proxy.sources.exchanging import (
    JWT,
    TOKEN_EXCHANGE,
    asked,
    bearer_token,
    json_call,
    pod_token,
    refused,
)
from proxy.sources.steps import Failed, HttpCall, HttpReply, Occasion, SourceSteps, StepFailed

OPENAI: Final = "OpenAI's token endpoint"
OPENAI_URL: Final = "https://auth.openai.com/oauth/token"

ANTHROPIC: Final = "Anthropic's token endpoint"
ANTHROPIC_URL: Final = "https://api.anthropic.com/v1/oauth/token"
# It leads the request to the federation service; the first half unlocks tokens of OAuth at all.
ANTHROPIC_BETA: Final = "oauth-2025-04-20,oidc-federation-2026-04-01"
JWT_BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"  # RFC 7523 §2.1

_OPENAI_MAPPING = (
    "check that the provider `{provider}` is enabled and that exactly one enabled mapping of it leads the "
    "subject `{subject}` to the service account `{account}`"
)
_OPENAI_TOKEN = "check the provider's issuer, its keys, and that its audience is `{audience}`"  # noqa: S105 - a hint
_OPENAI_HINTS: Final = {
    "invalid_grant": _OPENAI_MAPPING,
    "invalid_subject_token": _OPENAI_TOKEN,
    "invalid_request": "check the ids of provider and service account",
}
# The reason stands in their console alone: an answer that told it would tell it to strangers too.
_ANTHROPIC_HISTORY = (
    "the authentication history in the Claude Console says which check failed; compare the issuer, the "
    "subject `{subject}` and the audience `{audience}` with the rule"
)
_ANTHROPIC_REUSE = f"{_ANTHROPIC_HISTORY}; if it is `jti_reused`, switch the issuer's check of single use off"
_ANTHROPIC_REQUEST = "check the ids; a rule that is enabled for several workspaces needs `workspaceId`"
_ANTHROPIC_HINTS: Final = {
    "invalid_grant": _ANTHROPIC_REUSE,
    "authentication_error": _ANTHROPIC_REUSE,
    "permission_error": _ANTHROPIC_HISTORY,
    "invalid_request": _ANTHROPIC_REQUEST,
    "invalid_request_error": _ANTHROPIC_REQUEST,
}


def acquire(kind: LlmWorkloadIdentity, occasion: Occasion) -> SourceSteps:
    federation = kind.federation
    subject = yield from pod_token(federation.audience)
    if isinstance(subject, StepFailed):
        return Failed(subject.message)
    match federation:
        case OpenAiFederation():
            who, call, hints = OPENAI, _openai(federation, subject), _OPENAI_HINTS
            provider = federation.identity_provider_id
        case AnthropicFederation():
            who, call, hints = ANTHROPIC, _anthropic(federation, subject), _ANTHROPIC_HINTS
            provider = federation.federation_rule_id
        case _:
            assert_never(federation)
    reply = yield from asked(who, call)
    if isinstance(reply, StepFailed):
        return Failed(reply.message)
    if reply.status != HTTPStatus.OK:
        identity = occasion.identity
        hint = hints.get(_error(reply), "").format(
            provider=provider,
            account=federation.service_account_id,
            audience=federation.audience,
            subject=f"system:serviceaccount:{identity.namespace}:{identity.service_account}",
        )
        return refused(who, reply, occasion.now, hint)
    return bearer_token(who, reply, occasion.now)


def _openai(federation: OpenAiFederation, subject: str) -> HttpCall:
    return json_call(
        OPENAI_URL,
        {
            "grant_type": TOKEN_EXCHANGE,
            "subject_token": subject,
            "subject_token_type": JWT,
            "identity_provider_id": federation.identity_provider_id,
            "service_account_id": federation.service_account_id,
        },
    )


def _anthropic(federation: AnthropicFederation, assertion: str) -> HttpCall:
    members = {
        "grant_type": JWT_BEARER,
        "assertion": assertion,
        "federation_rule_id": federation.federation_rule_id,
        "organization_id": federation.organization_id,
        "service_account_id": federation.service_account_id,
    }
    if federation.workspace_id is not None:
        members["workspace_id"] = federation.workspace_id
    return json_call(ANTHROPIC_URL, members, ("anthropic-beta", ANTHROPIC_BETA))


def _error(reply: HttpReply) -> str:
    """RFC 6749 §5.2, or the shape of either's other errors: `{"error": {"type": …, "code": …}}`."""
    found = json_object(reply) or {}
    error = found.get("error")
    if isinstance(error, dict):
        return text_of(error, "code") or text_of(error, "type")
    return text_of(found, "error")
