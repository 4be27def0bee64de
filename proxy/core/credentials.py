"""CredentialSource: how a credential comes to be, and how it goes onto a request.

Two closed unions. A new kind of source is one type in the union, one shape in `documents` and one module in
`sources`; no other kind is touched.
"""

from typing import NamedTuple, assert_never

from proxy.core.aws_sources import AwsStatic, AwsWebIdentity
from proxy.core.azure_source import AzureWorkloadIdentity
from proxy.core.gcp_source import GcpWorkloadIdentity
from proxy.core.github_source import GitHubApp
from proxy.core.llm_source import LlmWorkloadIdentity
from proxy.core.mounted_sources import MountedSecret
from proxy.core.oauth_sources import Oauth2ClientCredentials, TokenExchange
from proxy.core.parts import Part
from proxy.core.structs import Struct
from proxy.core.vault_source import VaultSecret


# Tagged: the catalogue is kept as JSON, which has to say which one it is.
class Bearer(Struct, frozen=True, tag=True):
    """`Authorization: Bearer <token>`"""


class Basic(Struct, frozen=True, tag=True):
    """`Authorization: Basic <username:password>`. With a fixed user name, the token is the password."""

    username: str | None = None


class Header(Struct, frozen=True, tag=True):
    """A header of the service's own, with an optional prefix before the token."""

    name: str
    prefix: str = ""


class QueryParameter(Struct, frozen=True, tag=True):
    """A query parameter that holds the token."""

    name: str


class SigV4(Struct, frozen=True, tag=True):
    """AWS Signature Version 4 over the request."""


class EcrToken(Struct, frozen=True, tag=True):
    """Basic authentication with a registry token of Amazon ECR, which podkey gets with AWS credentials."""


AttachScheme = Bearer | Basic | Header | QueryParameter | SigV4 | EcrToken


def scheme_name(scheme: AttachScheme) -> str:
    """The key that a document writes."""
    match scheme:
        case Bearer():
            return "bearer"
        case Basic():
            return "basic"
        case Header():
            return "header"
        case QueryParameter():
            return "query"
        case SigV4():
            return "sigv4"
        case EcrToken():
            return "ecrToken"
        case _:
            assert_never(scheme)


def needed_parts(scheme: AttachScheme) -> frozenset[Part]:
    match scheme:
        case Basic(username=None):
            return frozenset({Part.USERNAME, Part.PASSWORD})
        case Bearer() | Basic() | Header() | QueryParameter():
            return frozenset({Part.TOKEN})
        case SigV4() | EcrToken():
            return frozenset({Part.ACCESS_KEY_ID, Part.SECRET_ACCESS_KEY})
        case _:
            assert_never(scheme)


def optional_parts(scheme: AttachScheme) -> frozenset[Part]:
    return frozenset({Part.SESSION_TOKEN} if isinstance(scheme, SigV4 | EcrToken) else ())


class ExpressSession(Struct, frozen=True):
    """A session for one directory bucket (S3 Express), from `GET /?session` at the bucket's own host."""

    host: str
    region: str
    read_only: bool


class RegistryToken(Struct, frozen=True):
    """A token for the registries of one region, from ECR's GetAuthorizationToken."""

    region: str


# What AWS gives for AWS credentials, and one kind of request needs in their place.
Derivation = ExpressSession | RegistryToken


class Derived(Struct, frozen=True):
    """No document says this: it is made of a document's kind when a request needs what is derived."""

    base: "SourceKind"
    what: Derivation

    @property
    def parts(self) -> frozenset[Part]:
        match self.what:
            case ExpressSession():
                return frozenset({Part.ACCESS_KEY_ID, Part.SECRET_ACCESS_KEY, Part.SESSION_TOKEN})
            case RegistryToken():
                return frozenset({Part.USERNAME, Part.PASSWORD})
            case _:
                assert_never(self.what)


def derivation_name(kind: "SourceKind") -> str | None:
    """What it is, for people; None for what a document says."""
    if not isinstance(kind, Derived):
        return None
    match kind.what:
        case ExpressSession(host=host, read_only=read_only):
            return f"session of {host}{', to read' if read_only else ''}"
        case RegistryToken(region=region):
            return f"registry token for {region}"
        case _:
            assert_never(kind.what)


SourceKind = (
    MountedSecret
    | Oauth2ClientCredentials
    | TokenExchange
    | GcpWorkloadIdentity
    | AzureWorkloadIdentity
    | LlmWorkloadIdentity
    | VaultSecret
    | GitHubApp
    | AwsWebIdentity
    | AwsStatic
    | Derived
)


def is_bearer_token(kind: SourceKind) -> bool:
    """Whether an authorization server issues it. Such a token goes as RFC 6750 says, also to a service that
    reads its own keys elsewhere."""
    match kind:
        case (
            Oauth2ClientCredentials()
            | TokenExchange()
            | GcpWorkloadIdentity()
            | AzureWorkloadIdentity()
            | LlmWorkloadIdentity()
        ):
            return True
        case MountedSecret() | VaultSecret() | GitHubApp() | AwsWebIdentity() | AwsStatic() | Derived():
            return False
        case _:
            assert_never(kind)


class CredentialRef(NamedTuple):
    """The name of a CredentialSource; a policy can only name one in its own namespace.

    A tuple, because each request looks a lease up by it: a dataclass hashes in four times the time.
    """

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class CredentialSource(Struct, frozen=True):
    namespace: str
    name: str
    kind: SourceKind
    # None: the service that the grant names says how.
    attach: AttachScheme | None = None

    @property
    def ref(self) -> CredentialRef:
        return CredentialRef(self.namespace, self.name)
