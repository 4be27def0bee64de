"""Workload identity federation of model providers: the pod's token for a short-lived one of theirs."""

from dataclasses import dataclass
from typing import Final

from proxy.core.parts import Part

# What their guides for Kubernetes project a token for.
OPENAI_AUDIENCE: Final = "https://api.openai.com/v1"
ANTHROPIC_AUDIENCE: Final = "https://api.anthropic.com"


@dataclass(frozen=True, slots=True)
class OpenAiFederation:
    identity_provider_id: str
    service_account_id: str
    audience: str = OPENAI_AUDIENCE


@dataclass(frozen=True, slots=True)
class AnthropicFederation:
    """The lifetime and the scope of the token stand in the federation rule; a request cannot name them."""

    federation_rule_id: str
    organization_id: str
    service_account_id: str
    # None: the only workspace that the rule is enabled for.
    workspace_id: str | None = None
    audience: str = ANTHROPIC_AUDIENCE


@dataclass(frozen=True, slots=True)
class LlmWorkloadIdentity:
    federation: OpenAiFederation | AnthropicFederation

    @property
    def parts(self) -> frozenset[Part]:
        return frozenset({Part.TOKEN})
