"""How a client proves itself to an authorization server (RFC 6749 §2.3, RFC 7523 §2.2), and what it posts."""

from base64 import b64encode
from collections.abc import Sequence
from datetime import timedelta
from typing import Final, assert_never
from urllib.parse import quote_plus, urlencode, urlsplit

from proxy.core.oauth_sources import (
    ClientAuth,
    FederatedAssertion,
    Oauth2ClientCredentials,
    PrivateKeyJwt,
    SecretBasic,
    SecretPost,
    TokenExchange,
)
from proxy.core.secret import Secret
from proxy.core.structs import Struct
from proxy.sources.asking import Asking, secret_key
from proxy.sources.exchanging import pod_token
from proxy.sources.steps import HttpCall, Occasion, StepFailed
from proxy.tokens.assertions import KeyFault, signed_assertion

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

# An assertion is made for one request. Keycloak takes none that ends later than a minute from now
# (keycloak#38576), Auth0 and others draw the line at five minutes; a minute from end to end suits them all.
ASSERTION_LIFETIME: Final = timedelta(seconds=60)
# `Date`, by which the server's clock is known, counts whole seconds, and a server without tolerance refuses
# what is one second ahead of it (keycloak#8966). FAPI 2.0 §5.3.2.1 has servers bear ten: as many are ours.
ASSERTION_BACKDATED: Final = timedelta(seconds=10)

# A field may stand there several times, such as `resource`.
Form = Sequence[tuple[str, str | bytes]]


class Proof(Struct, frozen=True):
    """What a request bears that shows whose it is."""

    fields: Form = ()
    headers: tuple[tuple[str, Secret], ...] = ()


def prove(
    auth: ClientAuth | None, client_id: str | None, token_url: str, occasion: Occasion
) -> Asking[Proof]:
    """Exactly one method is used (RFC 6749 §2.3): beside the header, the form does not name the client."""
    named = () if client_id is None else (("client_id", client_id),)
    match auth:
        case None:
            return Proof(named)
        case SecretBasic(key):
            secret = yield from secret_key(key, "the client's secret")
            if isinstance(secret, StepFailed):
                return secret
            return Proof(headers=(("Authorization", _basic(client_id or "", secret)),))
        case SecretPost(key):
            secret = yield from secret_key(key, "the client's secret")
            if isinstance(secret, StepFailed):
                return secret
            return Proof((*named, ("client_secret", secret.reveal())))
        case PrivateKeyJwt():
            signed = yield from _signed(auth, client_id or "", token_url, occasion)
        case FederatedAssertion(audience):
            signed = yield from pod_token(audience)
        case _:
            assert_never(auth)
    if isinstance(signed, StepFailed):
        return signed
    return Proof((*named, ("client_assertion_type", ASSERTION_TYPE), ("client_assertion", signed)))


def _basic(client_id: str, secret: Secret) -> Secret:
    """Form-encoded before they are joined: a secret may hold a colon, and an id may (RFC 6749 §2.3.1)."""
    pair = f"{quote_plus(client_id)}:{quote_plus(secret.reveal())}"
    return Secret(b"Basic " + b64encode(pair.encode()))


def _signed(auth: PrivateKeyJwt, client_id: str, token_url: str, occasion: Occasion) -> Asking[str | bytes]:
    key = yield from secret_key(auth.key, "the client's private key")
    if isinstance(key, StepFailed):
        return key
    issued = occasion.now - ASSERTION_BACKDATED
    claims = {
        "iss": client_id,
        "sub": client_id,
        "aud": auth.audience or token_url,
        "jti": occasion.nonce,
        "iat": issued,
        "nbf": issued,
        "exp": issued + ASSERTION_LIFETIME,
    }
    signed = signed_assertion(claims, key, algorithm=auth.algorithm, key_id=auth.key_id or "")
    if isinstance(signed, KeyFault):
        place = f"the key `{auth.key.key}` of the secret `{auth.key.secret_name}`"
        return StepFailed(f"{place} cannot sign for the client: {signed.message}")
    return signed.reveal()


# --- what is posted ------------------------------------------------------------------------------------


def narrowing(kind: Oauth2ClientCredentials | TokenExchange) -> Form:
    """What the token shall be good for, as far as the document says."""
    fields = [("scope", " ".join(kind.scopes))] if kind.scopes else []
    if kind.audience is not None:
        fields.append(("audience", kind.audience))
    return [*fields, *(("resource", one) for one in kind.resource)]


def form_call(url: str, fields: Form, proof: Proof) -> HttpCall:
    headers: tuple[tuple[str, str | Secret], ...] = (
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("Accept", "application/json"),
        *proof.headers,
    )
    return HttpCall("POST", url, headers, Secret(urlencode([*fields, *proof.fields]).encode()))


# --- words for people ----------------------------------------------------------------------------------


def endpoint(what: str, url: str) -> str:
    return f"the {what} endpoint of {urlsplit(url).netloc}"


def pod_token_hint(audience: str, occasion: Occasion) -> str:
    """What a server has to be told before it takes the tokens of this cluster's pods."""
    who = occasion.identity
    return (
        f"check that the server trusts this cluster's issuer, the subject "
        f"`system:serviceaccount:{who.namespace}:{who.service_account}` and the audience `{audience}`"
    )


def client_hint(auth: ClientAuth | None, client_id: str | None, token_url: str, occasion: Occasion) -> str:
    """What to look at when the server does not take the client for who it says it is."""
    client = f"the client `{client_id}`"
    match auth:
        case None if client_id is None:
            return "the server wants to know the client: set `clientId`, and `auth` if it is no public one"
        case None:
            return f"check that {client} is registered as a public client, or set `auth`"
        case SecretBasic(key):
            method, secret = "client_secret_basic", f"`{key.key}` of the secret `{key.secret_name}`"
            return f"check `clientId`, the key {secret}, and that {client} is registered for {method}"
        case SecretPost(key):
            method, secret = "client_secret_post", f"`{key.key}` of the secret `{key.secret_name}`"
            return f"check `clientId`, the key {secret}, and that {client} is registered for {method}"
        case PrivateKeyJwt():
            return (
                f"check that {client} is registered for private_key_jwt with the public half of the key "
                f"`{auth.key.key}` of the secret `{auth.key.secret_name}`, and that the server takes the "
                f"audience `{auth.audience or token_url}` (`auth.privateKeyJwt.audience`)"
            )
        case FederatedAssertion(audience):
            return f"{pod_token_hint(audience, occasion)} for {client}"
        case _:
            assert_never(auth)
