"""Access tokens of an OAuth 2.0 authorization server: by a client's own credentials (RFC 6749 §4.4), or in
exchange for the pod's token (RFC 8693)."""

from typing import Final

from proxy.core.parts import Part, SecretKey
from proxy.core.signing import SigningAlgorithm
from proxy.core.structs import Struct

# RFC 8693 §3, and what a service-account token is in its terms.
ACCESS_TOKEN_TYPE: Final = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a name
JWT_TYPE: Final = "urn:ietf:params:oauth:token-type:jwt"

# --- how a client proves itself ------------------------------------------------------------------------


class SecretBasic(Struct, frozen=True):
    """`client_secret_basic`: id and secret in the Authorization header (RFC 6749 §2.3.1)."""

    secret: SecretKey


class SecretPost(Struct, frozen=True):
    """`client_secret_post`: id and secret in the form (RFC 6749 §2.3.1)."""

    secret: SecretKey


class PrivateKeyJwt(Struct, frozen=True):
    """`private_key_jwt`: an assertion that we sign (RFC 7523 §2.2). Its audience is the token endpoint,
    unless it is told otherwise."""

    key: SecretKey
    key_id: str | None = None
    algorithm: SigningAlgorithm = SigningAlgorithm.RS256
    audience: str | None = None


class FederatedAssertion(Struct, frozen=True):
    """The pod's own token is the assertion (RFC 7523 §2.2, signed by the cluster): nothing is kept at all."""

    audience: str


ClientAuth = SecretBasic | SecretPost | PrivateKeyJwt | FederatedAssertion

# --- who acts for the subject --------------------------------------------------------------------------


class MountedActor(Struct, frozen=True):
    """A token that lies in a mounted secret."""

    token: SecretKey
    token_type: str


class ProjectedActor(Struct, frozen=True):
    """The pod's token for another audience."""

    audience: str
    token_type: str = JWT_TYPE


Actor = MountedActor | ProjectedActor

# --- the kinds -----------------------------------------------------------------------------------------


class Oauth2ClientCredentials(Struct, frozen=True):
    token_url: str
    client_id: str
    auth: ClientAuth
    scopes: tuple[str, ...] = ()
    audience: str | None = None
    resource: tuple[str, ...] = ()
    # None: tokens are left to expire.
    revocation_url: str | None = None

    @property
    def parts(self) -> frozenset[Part]:
        return frozenset({Part.TOKEN})


class TokenExchange(Struct, frozen=True):
    """The subject is the pod: its token for `subject_audience`. Without `auth` the client is a public one."""

    token_url: str
    subject_audience: str
    subject_token_type: str = JWT_TYPE
    # None: an access token, in whichever form the server makes them.
    requested_token_type: str | None = None
    audience: str | None = None
    resource: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    actor: Actor | None = None
    client_id: str | None = None
    auth: ClientAuth | None = None
    revocation_url: str | None = None

    @property
    def parts(self) -> frozenset[Part]:
        return frozenset({Part.TOKEN})
