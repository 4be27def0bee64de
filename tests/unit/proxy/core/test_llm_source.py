import pytest

from proxy.core.llm_source import AnthropicFederation, LlmWorkloadIdentity, OpenAiFederation
from proxy.core.parts import Part


@pytest.mark.parametrize(
    ("federation", "audience"),
    [
        (OpenAiFederation("p", "a"), "https://api.openai.com/v1"),
        (AnthropicFederation("fdrl_1", "o", "svac_1"), "https://api.anthropic.com"),
    ],
)
def test_each_provider_gives_one_token_for_a_token_of_its_usual_audience(
    federation: OpenAiFederation | AnthropicFederation, audience: str
) -> None:
    assert LlmWorkloadIdentity(federation).parts == {Part.TOKEN}
    assert federation.audience == audience
