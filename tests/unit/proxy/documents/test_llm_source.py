import pytest

from proxy.core.llm_source import AnthropicFederation, LlmWorkloadIdentity, OpenAiFederation
from proxy.documents.llm_source import FIELDS, rendered
from proxy.documents.reading import INVALID
from tests.document_strategies import read_shape

(FIELD,) = FIELDS
ORGANIZATION = "11111111-2222-3333-4444-555555555555"
OPENAI = "identityProviderId: example-provider, serviceAccountId: example-account"
ANTHROPIC = f"federationRuleId: fdrl_1, organizationId: {ORGANIZATION}, serviceAccountId: svac_1"


@pytest.mark.parametrize(
    ("text", "federation", "written"),
    [
        (
            f"openai: {{{OPENAI}}}",
            OpenAiFederation("example-provider", "example-account"),
            {"openai": {"identityProviderId": "example-provider", "serviceAccountId": "example-account"}},
        ),
        (
            f"openai: {{{OPENAI}, audience: acme}}",
            OpenAiFederation("example-provider", "example-account", "acme"),
            {
                "openai": {
                    "identityProviderId": "example-provider",
                    "serviceAccountId": "example-account",
                    "audience": "acme",
                }
            },
        ),
        (
            f"anthropic: {{{ANTHROPIC}}}",
            AnthropicFederation("fdrl_1", ORGANIZATION, "svac_1"),
            {
                "anthropic": {
                    "federationRuleId": "fdrl_1",
                    "organizationId": ORGANIZATION,
                    "serviceAccountId": "svac_1",
                }
            },
        ),
        (
            f"anthropic: {{{ANTHROPIC}, workspaceId: default, audience: acme}}",
            AnthropicFederation("fdrl_1", ORGANIZATION, "svac_1", "default", "acme"),
            {
                "anthropic": {
                    "federationRuleId": "fdrl_1",
                    "organizationId": ORGANIZATION,
                    "serviceAccountId": "svac_1",
                    "workspaceId": "default",
                    "audience": "acme",
                }
            },
        ),
    ],
)
def test_each_provider_has_its_own_keys(
    text: str, federation: OpenAiFederation | AnthropicFederation, written: dict[str, object]
) -> None:
    assert read_shape(FIELD.shape, text) == (LlmWorkloadIdentity(federation), [])
    assert rendered(LlmWorkloadIdentity(federation)) == {"llmWorkloadIdentity": written}


@pytest.mark.parametrize(
    ("text", "message", "fix"),
    [
        ("{}", "exactly one of `openai`, `anthropic`", "add one of"),
        (f"{{openai: {{{OPENAI}}}, anthropic: {{{ANTHROPIC}}}}}", "takes exactly one", "keep one"),
        ("mistral: {}", "unknown key `mistral`", "use one of"),
        (
            f"openai: {{{OPENAI.replace('example-account', 'a b')}}}",
            "is not an id",
            "service account mapping",
        ),
        ("openai: {identityProviderId: p}", "`serviceAccountId` is missing", "add `serviceAccountId:`"),
        (
            f"anthropic: {{{ANTHROPIC.replace('fdrl_1', 'svac_1')}}}",
            "is not a federation rule's id",
            "copy it from the Claude Console: `fdrl_…`",
        ),
        (f"anthropic: {{{ANTHROPIC.replace('svac_1', 'me')}}}", "is not a service account's id", "`svac_…`"),
        (
            f"anthropic: {{{ANTHROPIC.replace(ORGANIZATION, 'acme')}}}",
            "is not an organisation's id",
            "it is a UUID",
        ),
        (f"anthropic: {{{ANTHROPIC}, workspaceId: main}}", "is not a workspace's id", "`wrkspc_…`"),
    ],
)
def test_what_cannot_be_is_told_with_the_fix(text: str, message: str, fix: str) -> None:
    found, problems = read_shape(FIELD.shape, text)

    assert found is INVALID
    assert any(message in problem.message and fix in problem.fix for problem in problems)
