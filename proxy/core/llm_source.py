"""Workload identity federation of model providers: the pod's token for a short-lived one of theirs."""

from typing import Final

from proxy.core.parts import Part
from proxy.core.structs import Struct

# What their guides for Kubernetes project a token for.
OPENAI_AUDIENCE: Final = "https://api.openai.com/v1"
ANTHROPIC_AUDIENCE: Final = "https://api.anthropic.com"


class OpenAiFederation(Struct, frozen=True):
    identity_provider_id: str
    service_account_id: str
    audience: str = OPENAI_AUDIENCE


class AnthropicFederation(Struct, frozen=True):
    """The lifetime and the scope of the token stand in the federation rule; a request cannot name them."""

    federation_rule_id: str
    organization_id: str
    service_account_id: str
    # None: the only workspace that the rule is enabled for.
    workspace_id: str | None = None
    audience: str = ANTHROPIC_AUDIENCE


class LlmWorkloadIdentity(Struct, frozen=True):
    federation: OpenAiFederation | AnthropicFederation

    @property
    def parts(self) -> frozenset[Part]:
        return frozenset({Part.TOKEN})
