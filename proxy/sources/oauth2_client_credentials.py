"""OAuth 2.0 client credentials (RFC 6749 §4.4)."""

from typing import Final

from proxy.core.oauth_sources import FederatedAssertion, Oauth2ClientCredentials
from proxy.core.parts import Part
from proxy.sources.exchanging import asked
from proxy.sources.oauth_answers import HINTS, read_issued
from proxy.sources.oauth_clients import client_hint, endpoint, form_call, narrowing, prove
from proxy.sources.steps import Acquired, Failed, Occasion, SourceSteps, StepFailed

# This grant has no part but the client's own proof, so what is wrong with the grant is wrong with that.
_OF_THE_CLIENT: Final = ("invalid_client", "invalid_grant")
# Entra ID answers `invalid_request` where it finds no trust that fits the assertion (AADSTS70021), and
# servers that only take a client's own assertions do so where the subject is not the client.
_OF_THE_ASSERTION: Final = (*_OF_THE_CLIENT, "invalid_request")


def acquire(kind: Oauth2ClientCredentials, occasion: Occasion) -> SourceSteps:
    who = endpoint("token", kind.token_url)
    proof = yield from prove(kind.auth, kind.client_id, kind.token_url, occasion)
    if isinstance(proof, StepFailed):
        return Failed(proof.message)
    fields = [("grant_type", "client_credentials"), *narrowing(kind)]
    reply = yield from asked(who, form_call(kind.token_url, fields, proof))
    if isinstance(reply, StepFailed):
        return Failed(reply.message)
    codes = _OF_THE_ASSERTION if isinstance(kind.auth, FederatedAssertion) else _OF_THE_CLIENT
    hint = client_hint(kind.auth, kind.client_id, kind.token_url, occasion)
    issued = read_issued(who, reply, occasion.now, {**HINTS, **dict.fromkeys(codes, hint)})
    if isinstance(issued, Failed):
        return issued
    return Acquired({Part.TOKEN: issued.token}, issued.lifetime)
