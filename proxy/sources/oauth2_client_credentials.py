"""OAuth 2.0 client credentials (RFC 6749 §4.4)."""

from proxy.core.oauth_sources import Oauth2ClientCredentials
from proxy.core.parts import Part
from proxy.sources.asking import http
from proxy.sources.oauth_answers import HINTS, read_issued
from proxy.sources.oauth_clients import client_hint, endpoint, form_call, narrowing, prove
from proxy.sources.steps import Acquired, Failed, Occasion, SourceSteps, StepFailed

# What goes wrong with a grant that has no part but the client's own proof is wrong with that proof.
_OF_THE_CLIENT = ("invalid_client", "invalid_grant")


def acquire(kind: Oauth2ClientCredentials, occasion: Occasion) -> SourceSteps:
    who = endpoint("token", kind.token_url)
    proof = yield from prove(kind.auth, kind.client_id, kind.token_url, occasion)
    if isinstance(proof, StepFailed):
        return Failed(proof.message)
    fields = [("grant_type", "client_credentials"), *narrowing(kind)]
    reply = yield from http(form_call(kind.token_url, fields, proof))
    if isinstance(reply, StepFailed):
        return Failed(f"{who} cannot be asked: {reply.message}")
    hint = client_hint(kind.auth, kind.client_id, kind.token_url, occasion)
    issued = read_issued(who, reply, occasion.now, {**HINTS, **dict.fromkeys(_OF_THE_CLIENT, hint)})
    if isinstance(issued, Failed):
        return issued
    return Acquired({Part.TOKEN: issued.token}, issued.lifetime)
