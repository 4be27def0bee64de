"""Which module acquires, renews and revokes which kind of credential, of those that ask somebody."""

from typing import assert_never

from proxy.core.aws_sources import AwsWebIdentity
from proxy.core.azure_source import AzureWorkloadIdentity
from proxy.core.credentials import Derived
from proxy.core.gcp_source import GcpWorkloadIdentity
from proxy.core.github_source import GitHubApp
from proxy.core.llm_source import LlmWorkloadIdentity
from proxy.core.oauth_sources import Oauth2ClientCredentials, TokenExchange
from proxy.core.vault_source import VaultSecret
from proxy.sources import (
    aws_web_identity,
    azure_workload_identity,
    derived,
    gcp_workload_identity,
    github,
    llm_workload_identity,
    oauth2_client_credentials,
    oauth_revocation,
    token_exchange,
    vault,
)
from proxy.sources.steps import Acquired, Occasion, RevokeSteps, SourceSteps

AskingKind = (
    Oauth2ClientCredentials
    | TokenExchange
    | GcpWorkloadIdentity
    | AzureWorkloadIdentity
    | LlmWorkloadIdentity
    | VaultSecret
    | GitHubApp
    | AwsWebIdentity
    | Derived
)


def steps_of(kind: AskingKind, occasion: Occasion) -> SourceSteps:
    match kind:
        case Oauth2ClientCredentials():
            return oauth2_client_credentials.acquire(kind, occasion)
        case TokenExchange():
            return token_exchange.acquire(kind, occasion)
        case GcpWorkloadIdentity():
            return gcp_workload_identity.acquire(kind, occasion)
        case AzureWorkloadIdentity():
            return azure_workload_identity.acquire(kind, occasion)
        case LlmWorkloadIdentity():
            return llm_workload_identity.acquire(kind, occasion)
        case VaultSecret():
            return vault.acquire(kind, occasion)
        case GitHubApp():
            return github.acquire(kind, occasion)
        case AwsWebIdentity():
            return aws_web_identity.acquire(kind, occasion)
        case Derived():
            return derived.acquire(kind, occasion)
        case _:
            assert_never(kind)


def renewal_of(kind: AskingKind, acquired: Acquired, occasion: Occasion) -> SourceSteps | None:
    match kind:
        case VaultSecret():
            return vault.renew(kind, acquired, occasion) if acquired.renewable else None
        case Oauth2ClientCredentials() | TokenExchange() | GitHubApp() | AwsWebIdentity() | Derived():
            return None
        case GcpWorkloadIdentity() | AzureWorkloadIdentity() | LlmWorkloadIdentity():
            return None
        case _:
            assert_never(kind)


def revocation_of(kind: AskingKind, acquired: Acquired, occasion: Occasion) -> RevokeSteps | None:
    match kind:
        case Oauth2ClientCredentials() | TokenExchange():
            return oauth_revocation.revocation(kind, acquired, occasion)
        case VaultSecret():
            return vault.revoke(kind, acquired, occasion) if acquired.handle else None
        case GitHubApp():
            return github.revoke(kind, acquired, occasion)
        case GcpWorkloadIdentity() | AzureWorkloadIdentity() | LlmWorkloadIdentity():
            return None
        case AwsWebIdentity() | Derived():
            return None
        case _:
            assert_never(kind)
