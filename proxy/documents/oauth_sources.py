"""`oauth2ClientCredentials` and `tokenExchange`: access tokens of an OAuth 2.0 authorization server."""

import re
from typing import Any, Final, assert_never

from proxy.core.oauth_sources import (
    ACCESS_TOKEN_TYPE,
    JWT_TYPE,
    Actor,
    ClientAuth,
    MountedActor,
    Oauth2ClientCredentials,
    ProjectedActor,
    TokenExchange,
)
from proxy.core.parts import SecretKey
from proxy.documents.oauth_clients import CLIENT_AUTH, CLIENT_ID, only, rendered_auth
from proxy.documents.problems import Fault
from proxy.documents.shapes import Field, ListOf, Record, Text
from proxy.documents.source_values import AUDIENCE, HTTPS_URL, SCOPE, SECRET_KEY_OF, written_key

# RFC 8707 §2: an absolute URI without a fragment. RFC 8693 §3: a token type is a URI, too.
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,31}:[\x21\x22\x24-\x7e]{1,480}").fullmatch
# Servers bind a token to one resource, or to a few of one owner.
_MAX_RESOURCES: Final = 8


def _uri(what: str, fix: str, example: str) -> Text:
    def parse(text: str) -> str:
        if not _URI(text):
            raise Fault(f"`{text[:80]}` is not {what}", fix)
        return text

    return Text(what, parse, "^[A-Za-z][A-Za-z0-9+.-]*:", (example,))


RESOURCE: Final = _uri(
    "the URI of a resource",
    "write an absolute URI without `#`, as the authorization server knows the resource (RFC 8707 §2)",
    "https://api.example.com",
)
TOKEN_TYPE: Final = _uri("the URI of a token type", f"write it whole, such as `{JWT_TYPE}`", JWT_TYPE)

# --- what both kinds have ------------------------------------------------------------------------------

_TOKEN_URL: Final = Field("tokenUrl", HTTPS_URL, "The server's token endpoint.", required=True)
_NARROWING: Final = (
    Field("scopes", ListOf(SCOPE), "The scopes that are asked for."),
    Field("audience", AUDIENCE, "Whom the token is for, on servers that take an `audience`."),
    Field(
        "resource",
        ListOf(RESOURCE, most=_MAX_RESOURCES),
        "What the token is for, on servers that take a `resource` (RFC 8707).",
    ),
)
_REVOCATION_URL: Final = Field(
    "revocationUrl",
    HTTPS_URL,
    "Where tokens that are not needed any more are revoked (RFC 7009). Where it is left out, they expire.",
)

# --- client credentials --------------------------------------------------------------------------------

_CLIENT_CREDENTIALS: Final = Record(
    "client credentials",
    (
        _TOKEN_URL,
        Field("clientId", CLIENT_ID, "The client's id.", required=True),
        Field("auth", CLIENT_AUTH, "How the client proves itself.", required=True),
        *_NARROWING,
        _REVOCATION_URL,
    ),
    Oauth2ClientCredentials,
)

# --- token exchange ------------------------------------------------------------------------------------


def _mounted_actor(secret_name: str, key: str, token_type: str) -> MountedActor:
    return MountedActor(SecretKey(secret_name, key), token_type)


_MOUNTED_ACTOR: Final = Record(
    "a mounted token",
    (
        *SECRET_KEY_OF.fields,
        Field(
            "tokenType",
            TOKEN_TYPE,
            f"What it is (RFC 8693 §3), such as `{ACCESS_TOKEN_TYPE}`.",
            required=True,
        ),
    ),
    _mounted_actor,
)
_PROJECTED_ACTOR: Final = Record(
    "a projected token",
    (
        Field("audience", AUDIENCE, "Its audience.", required=True),
        Field("tokenType", TOKEN_TYPE, f"What the server calls it; `{JWT_TYPE}` where it is left out."),
    ),
    ProjectedActor,
)
_ACTORS: Final = (
    Field("mountedToken", _MOUNTED_ACTOR, "A token that lies in a mounted secret."),
    Field("projectedToken", _PROJECTED_ACTOR, "The pod's token for another audience."),
)
_ACTOR: Final = Record("an actor", _ACTORS, only, exactly_one=(tuple(field.name for field in _ACTORS),))


def _exchange(
    *,
    client_id: str | None = None,
    auth: ClientAuth | None = None,
    **more: Any,  # noqa: ANN401 - the other fields, as they are
) -> TokenExchange:
    if auth is not None and client_id is None:
        raise Fault("`auth` proves a client, and none is named", "add `clientId`", at="auth")
    return TokenExchange(client_id=client_id, auth=auth, **more)


_TOKEN_EXCHANGE: Final = Record(
    "a token exchange",
    (
        _TOKEN_URL,
        Field(
            "subjectAudience",
            AUDIENCE,
            "The audience of the pod's token, which the server expects of tokens of this cluster.",
            required=True,
        ),
        Field(
            "subjectTokenType",
            TOKEN_TYPE,
            f"What the server calls the pod's token; `{JWT_TYPE}` where it is left out.",
        ),
        Field(
            "requestedTokenType",
            TOKEN_TYPE,
            "What the server shall issue; where it is left out, an access token in whichever form.",
        ),
        *_NARROWING,
        Field("actor", _ACTOR, "Who acts for the pod, where the server wants to know (RFC 8693 §1.1)."),
        Field("clientId", CLIENT_ID, "The client's id, where the server wants one."),
        Field("auth", CLIENT_AUTH, "How the client proves itself; one without it is a public client."),
        _REVOCATION_URL,
    ),
    _exchange,
)

FIELDS: Final = (
    Field(
        "oauth2ClientCredentials",
        _CLIENT_CREDENTIALS,
        "An access token of an OAuth 2.0 server, by a client's credentials (RFC 6749 §4.4).",
    ),
    Field(
        "tokenExchange",
        _TOKEN_EXCHANGE,
        "An access token of an OAuth 2.0 server, in exchange for the pod's own token (RFC 8693).",
    ),
)

# --- back into documents -------------------------------------------------------------------------------


def rendered(kind: Oauth2ClientCredentials | TokenExchange) -> dict[str, Any]:
    narrowing: dict[str, Any] = {
        "scopes": list(kind.scopes),
        "audience": kind.audience,
        "resource": list(kind.resource),
        "revocationUrl": kind.revocation_url,
    }
    told: dict[str, Any]
    match kind:
        case Oauth2ClientCredentials():
            told = {"clientId": kind.client_id, "auth": rendered_auth(kind.auth)}
            return {"oauth2ClientCredentials": _kept({"tokenUrl": kind.token_url, **told, **narrowing})}
        case TokenExchange():
            told = {
                "subjectAudience": kind.subject_audience,
                "subjectTokenType": _other_than_jwt(kind.subject_token_type),
                "requestedTokenType": kind.requested_token_type,
                "actor": kind.actor and _rendered_actor(kind.actor),
                "clientId": kind.client_id,
                "auth": kind.auth and rendered_auth(kind.auth),
            }
            return {"tokenExchange": _kept({"tokenUrl": kind.token_url, **told, **narrowing})}
        case _:
            assert_never(kind)


def _kept(keys: dict[str, Any]) -> dict[str, Any]:
    """Without what is empty: that is how a document says nothing about it."""
    return {key: value for key, value in keys.items() if value not in (None, [])}


def _other_than_jwt(token_type: str) -> str | None:
    return None if token_type == JWT_TYPE else token_type


def _rendered_actor(actor: Actor) -> dict[str, Any]:
    match actor:
        case MountedActor(token, token_type):
            return {"mountedToken": {**written_key(token), "tokenType": token_type}}
        case ProjectedActor(audience, token_type):
            told = {"audience": audience, "tokenType": _other_than_jwt(token_type)}
            return {"projectedToken": _kept(told)}
        case _:
            assert_never(actor)
