"""Which module acquires, renews and revokes which kind of credential: the closed table."""

from typing import assert_never

from proxy.core.aws_sources import AwsStatic, AwsWebIdentity
from proxy.core.azure_source import AzureWorkloadIdentity
from proxy.core.credentials import Derived, SourceKind
from proxy.core.gcp_source import GcpWorkloadIdentity
from proxy.core.github_source import GitHubApp
from proxy.core.llm_source import LlmWorkloadIdentity
from proxy.core.mounted_sources import MountedSecret
from proxy.core.oauth_sources import Oauth2ClientCredentials, TokenExchange
from proxy.core.vault_source import VaultSecret
from proxy.sources import (
    aws_static,
    aws_web_identity,
    azure_workload_identity,
    derived,
    gcp_workload_identity,
    github,
    llm_workload_identity,
    mounted_secret,
    oauth2_client_credentials,
    oauth_revocation,
    token_exchange,
    vault,
)
from proxy.sources.steps import Acquired, Occasion, RevokeSteps, SourceSteps


def steps_of(kind: SourceKind, occasion: Occasion) -> SourceSteps:
    match kind:
        case MountedSecret():
            return mounted_secret.acquire(kind)
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
        case AwsStatic():
            return aws_static.acquire(kind)
        case Derived():
            return derived.acquire(kind, occasion)
        case _:
            assert_never(kind)


def renewal_of(kind: SourceKind, acquired: Acquired, occasion: Occasion) -> SourceSteps | None:
    """How what was acquired is made to last longer; None: by acquiring anew."""
    match kind:
        case MountedSecret() | Oauth2ClientCredentials() | TokenExchange():
            return None
        case GcpWorkloadIdentity() | AzureWorkloadIdentity() | LlmWorkloadIdentity():
            return None
        case VaultSecret():
            return vault.renew(kind, acquired, occasion) if acquired.renewable else None
        case GitHubApp() | AwsWebIdentity() | AwsStatic() | Derived():
            return None
        case _:
            assert_never(kind)


def revocation_of(kind: SourceKind, acquired: Acquired, occasion: Occasion) -> RevokeSteps | None:
    """How the source is told that a credential is not needed any more; None: it cannot be told."""
    match kind:
        case MountedSecret():
            return None
        case Oauth2ClientCredentials() | TokenExchange():
            return oauth_revocation.revocation(kind, acquired, occasion)
        case GcpWorkloadIdentity() | AzureWorkloadIdentity() | LlmWorkloadIdentity():
            return None
        case VaultSecret():
            return vault.revoke(kind, acquired, occasion) if acquired.handle else None
        case GitHubApp():
            return github.revoke(kind, acquired, occasion)
        case AwsWebIdentity() | AwsStatic() | Derived():
            return None
        case _:
            assert_never(kind)


def is_local(kind: SourceKind) -> bool:
    """Whether it reads files alone: then it is read again every second, and nobody is worn out by that."""
    return isinstance(kind, MountedSecret | AwsStatic)
