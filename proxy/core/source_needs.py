"""What a source reads in the pod that it runs in: tokens by audience, and keys of Secrets.

The injector mounts exactly this, and the sidecar alone gets it. A test drives every source and holds its
steps against it.
"""

from collections.abc import Iterable, Mapping
from typing import assert_never

from proxy.core.aws_sources import AwsStatic, AwsWebIdentity
from proxy.core.azure_source import AzureWorkloadIdentity
from proxy.core.credentials import Derived, SourceKind
from proxy.core.gcp_source import GcpWorkloadIdentity
from proxy.core.github_source import GitHubApp
from proxy.core.llm_source import LlmWorkloadIdentity
from proxy.core.mounted_sources import MountedSecret
from proxy.core.oauth_sources import (
    Actor,
    ClientAuth,
    FederatedAssertion,
    MountedActor,
    Oauth2ClientCredentials,
    PrivateKeyJwt,
    ProjectedActor,
    SecretBasic,
    SecretPost,
    TokenExchange,
)
from proxy.core.parts import SecretKey
from proxy.core.vault_source import VaultSecret


def audiences_of(kind: SourceKind) -> frozenset[str]:
    """The audiences of the projected service-account tokens that it reads."""
    match kind:
        case MountedSecret() | AwsStatic() | GitHubApp():
            return frozenset()
        case Oauth2ClientCredentials():
            return _audience_of_client(kind.auth)
        case TokenExchange():
            actor = kind.actor.audience if isinstance(kind.actor, ProjectedActor) else None
            named = (kind.subject_audience, actor)
            return frozenset(one for one in named if one is not None) | _audience_of_client(kind.auth)
        case GcpWorkloadIdentity() | AzureWorkloadIdentity() | AwsWebIdentity():
            return frozenset({kind.audience})
        case LlmWorkloadIdentity():
            return frozenset({kind.federation.audience})
        case VaultSecret():
            return frozenset({kind.auth.audience})
        case Derived():
            return audiences_of(kind.base)
        case _:
            assert_never(kind)


def secret_keys_of(kind: SourceKind) -> Mapping[str, frozenset[str]]:
    """The keys that it reads, by the name of their Secret."""
    match kind:
        case MountedSecret():
            keys = [key for _, key in kind.keys] if kind.json is None else [kind.json.key]
            return {kind.secret_name: frozenset(keys)}
        case AwsStatic():
            pair = (kind.access_key_id, kind.secret_access_key)
            keys = [*pair, *(() if kind.session_token is None else (kind.session_token,))]
            return {kind.secret_name: frozenset(keys)}
        case Oauth2ClientCredentials():
            return _gathered(_key_of_client(kind.auth))
        case TokenExchange():
            return _gathered((*_key_of_client(kind.auth), *_key_of_actor(kind.actor)))
        case GitHubApp():
            return _gathered((kind.private_key,))
        case GcpWorkloadIdentity() | AzureWorkloadIdentity() | AwsWebIdentity():
            return {}
        case LlmWorkloadIdentity() | VaultSecret():
            return {}
        case Derived():
            return secret_keys_of(kind.base)
        case _:
            assert_never(kind)


def _audience_of_client(auth: ClientAuth | None) -> frozenset[str]:
    return frozenset({auth.audience} if isinstance(auth, FederatedAssertion) else ())


def _key_of_client(auth: ClientAuth | None) -> tuple[SecretKey, ...]:
    match auth:
        case None | FederatedAssertion():
            return ()
        case SecretBasic(secret) | SecretPost(secret):
            return (secret,)
        case PrivateKeyJwt():
            return (auth.key,)
        case _:
            assert_never(auth)


def _key_of_actor(actor: Actor | None) -> tuple[SecretKey, ...]:
    return (actor.token,) if isinstance(actor, MountedActor) else ()


def _gathered(keys: Iterable[SecretKey]) -> Mapping[str, frozenset[str]]:
    found: dict[str, frozenset[str]] = {}
    for key in keys:
        found[key.secret_name] = found.get(key.secret_name, frozenset()) | {key.key}
    return found
