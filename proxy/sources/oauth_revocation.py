"""OAuth 2.0 token revocation (RFC 7009): a token that is not needed any more is worth nothing."""

from proxy.core.oauth_sources import Oauth2ClientCredentials, TokenExchange
from proxy.core.parts import Part
from proxy.sources.exchanging import asked
from proxy.sources.oauth_answers import HINTS, refused
from proxy.sources.oauth_clients import client_hint, endpoint, form_call, prove
from proxy.sources.steps import Acquired, Failed, Occasion, RevokeSteps, StepFailed


def revocation(
    kind: Oauth2ClientCredentials | TokenExchange, acquired: Acquired, occasion: Occasion
) -> RevokeSteps | None:
    url = kind.revocation_url
    return None if url is None else _revoke(kind, url, acquired, occasion)


def _revoke(
    kind: Oauth2ClientCredentials | TokenExchange, url: str, acquired: Acquired, occasion: Occasion
) -> RevokeSteps:
    who = endpoint("revocation", url)
    proof = yield from prove(kind.auth, kind.client_id, kind.token_url, occasion)
    if isinstance(proof, StepFailed):
        return Failed(proof.message)
    fields: list[tuple[str, str | bytes]] = [
        ("token", acquired.parts[Part.TOKEN].reveal()),
        ("token_type_hint", "access_token"),
    ]
    reply = yield from asked(who, form_call(url, fields, proof))
    if isinstance(reply, StepFailed):
        return Failed(reply.message)
    # Also for a token that the server does not know, or not any more (RFC 7009 §2.2).
    if reply.status == 200:
        return None
    client = client_hint(kind.auth, kind.client_id, kind.token_url, occasion)
    return refused(who, reply, occasion.now, {**HINTS, "invalid_client": client})
