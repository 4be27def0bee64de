"""`llmWorkloadIdentity`: model providers that take the pod's identity instead of an API key."""

import re
from typing import Any, Final, assert_never

from proxy.core.llm_source import (
    ANTHROPIC_AUDIENCE,
    OPENAI_AUDIENCE,
    AnthropicFederation,
    LlmWorkloadIdentity,
    OpenAiFederation,
)
from proxy.documents.problems import Fault
from proxy.documents.shapes import Field, Record, Text
from proxy.documents.source_values import AUDIENCE


def _id(what: str, pattern: str, example: str, fix: str) -> Text:
    fits = re.compile(pattern).fullmatch

    def parse(text: str) -> str:
        if not fits(text):
            raise Fault(f"`{text}` is not {what}", fix)
        return text

    return Text(what, parse, f"^({pattern})$", (example,))


# Ids of both are short; what is longer than this came from somewhere else.
_ANY_ID: Final = r"[A-Za-z0-9_-]{1,128}"
_CONSOLE: Final = "copy it from the Claude Console"


def _tagged(what: str, tag: str, *, also: str = "") -> Text:
    other = f"|{also}" if also else ""
    return _id(what, f"{tag}_[A-Za-z0-9]{{1,120}}{other}", f"{tag}_example", f"{_CONSOLE}: `{tag}_…`")


def _audience(what: str, usual: str) -> Field:
    return Field(
        "audience", AUDIENCE, f"The audience of the pod's token, as {what} it; `{usual}` if left out."
    )


_OPENAI: Final = Record(
    "an OpenAI workload identity",
    (
        Field(
            "identityProviderId",
            _id("an id", _ANY_ID, "example-provider", "copy it from the organisation's security settings"),
            "The workload identity provider that stands for this cluster.",
            required=True,
        ),
        Field(
            "serviceAccountId",
            _id("an id", _ANY_ID, "example-account", "copy it from the provider's service account mapping"),
            "The service account that the pod acts as; a mapping of the provider leads to it.",
            required=True,
        ),
        _audience("the provider names", OPENAI_AUDIENCE),
    ),
    OpenAiFederation,
)

_ANTHROPIC: Final = Record(
    "an Anthropic workload identity",
    (
        Field(
            "federationRuleId",
            _tagged("a federation rule's id", "fdrl"),
            "The federation rule that accepts the pod's token. It also says how long the new token lives.",
            required=True,
        ),
        Field(
            "organizationId",
            _id(
                "an organisation's id",
                r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}",
                "00000000-0000-0000-0000-000000000000",
                f"{_CONSOLE}: it is a UUID",
            ),
            "The organisation.",
            required=True,
        ),
        Field(
            "serviceAccountId",
            _tagged("a service account's id", "svac"),
            "The service account that the pod acts as.",
            required=True,
        ),
        Field(
            "workspaceId",
            _tagged("a workspace's id", "wrkspc", also="default"),
            "The workspace, or `default`; needed where the rule is enabled for more than one.",
        ),
        _audience("the rule expects", ANTHROPIC_AUDIENCE),
    ),
    AnthropicFederation,
)


def _llm(**chosen: OpenAiFederation | AnthropicFederation) -> LlmWorkloadIdentity:
    (federation,) = chosen.values()
    return LlmWorkloadIdentity(federation)


FIELDS: Final = (
    Field(
        "llmWorkloadIdentity",
        Record(
            "a model provider's workload identity",
            (
                Field("openai", _OPENAI, "OpenAI API: a service account of a project."),
                Field("anthropic", _ANTHROPIC, "Claude API: a service account in a workspace."),
            ),
            _llm,
            exactly_one=(("openai", "anthropic"),),
        ),
        "A short-lived token of a model provider for the pod's identity, instead of an API key.",
    ),
)


def rendered(kind: LlmWorkloadIdentity) -> dict[str, Any]:
    match kind.federation:
        case OpenAiFederation(provider, account, audience):
            keys = {"identityProviderId": provider, "serviceAccountId": account}
            return _llm_document("openai", keys, audience, OPENAI_AUDIENCE)
        case AnthropicFederation(rule, organization, account, workspace, audience):
            keys = {"federationRuleId": rule, "organizationId": organization, "serviceAccountId": account}
            if workspace is not None:
                keys["workspaceId"] = workspace
            return _llm_document("anthropic", keys, audience, ANTHROPIC_AUDIENCE)
        case _:
            assert_never(kind.federation)


def _llm_document(name: str, keys: dict[str, str], audience: str, usual: str) -> dict[str, Any]:
    chosen = {} if audience == usual else {"audience": audience}
    return {"llmWorkloadIdentity": {name: {**keys, **chosen}}}
