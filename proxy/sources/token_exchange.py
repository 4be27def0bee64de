"""OAuth 2.0 token exchange (RFC 8693): the pod's token for one of the server's own."""

from typing import Final, assert_never

from proxy.core.oauth_sources import (
    ACCESS_TOKEN_TYPE,
    JWT_TYPE,
    Actor,
    MountedActor,
    ProjectedActor,
    TokenExchange,
)
from proxy.core.parts import Part
from proxy.sources.answers import shown
from proxy.sources.asking import Asking, secret_key
from proxy.sources.exchanging import TOKEN_EXCHANGE, asked, pod_token
from proxy.sources.oauth_answers import BEARER, HINTS, read_issued
from proxy.sources.oauth_clients import (
    client_hint,
    endpoint,
    form_call,
    narrowing,
    pod_token_hint,
    prove,
)
from proxy.sources.steps import Acquired, Failed, Occasion, SourceSteps, StepFailed

# RFC 8693 §2.2.1: `N_A` is the type of a token that is no access token; it is attached like one.
TOKEN_TYPES: Final = BEARER | {"n_a"}
# What an access token may be called (RFC 8693 §3). A refresh token or a SAML assertion has to be asked for by
# name: sent upstream by mistake, it would give away more than was meant, or be of no use.
UNASKED_TYPES: Final = frozenset({ACCESS_TOKEN_TYPE, JWT_TYPE})
# RFC 8693 §2.2.2 has `invalid_request` for tokens that are not taken; many servers say `invalid_grant`.
_OF_THE_SUBJECT: Final = ("invalid_request", "invalid_grant")


def acquire(kind: TokenExchange, occasion: Occasion) -> SourceSteps:
    who = endpoint("token", kind.token_url)
    subject = yield from pod_token(kind.subject_audience)
    if isinstance(subject, StepFailed):
        return Failed(subject.message)
    fields: list[tuple[str, str | bytes]] = [
        ("grant_type", TOKEN_EXCHANGE),
        ("subject_token", subject),
        ("subject_token_type", kind.subject_token_type),
    ]
    if kind.actor is not None:
        actor = yield from _actor_token(kind.actor)
        if isinstance(actor, StepFailed):
            return Failed(actor.message)
        fields += [("actor_token", actor), ("actor_token_type", kind.actor.token_type)]
    if kind.requested_token_type is not None:
        fields.append(("requested_token_type", kind.requested_token_type))
    proof = yield from prove(kind.auth, kind.client_id, kind.token_url, occasion)
    if isinstance(proof, StepFailed):
        return Failed(proof.message)
    reply = yield from asked(who, form_call(kind.token_url, [*fields, *narrowing(kind)], proof))
    if isinstance(reply, StepFailed):
        return Failed(reply.message)
    issued = read_issued(who, reply, occasion.now, _hints(kind, occasion), TOKEN_TYPES)
    if isinstance(issued, Failed):
        return issued
    fault = _type_fault(issued.issued_type, kind.requested_token_type)
    return (
        Failed(f"{who} answered {fault}") if fault else Acquired({Part.TOKEN: issued.token}, issued.lifetime)
    )


def _actor_token(actor: Actor) -> Asking[str | bytes]:
    match actor:
        case MountedActor(key):
            mounted = yield from secret_key(key, "the actor's token")
            return mounted if isinstance(mounted, StepFailed) else mounted.reveal()
        case ProjectedActor(audience):
            return (yield from pod_token(audience))
        case _:
            assert_never(actor)


def _hints(kind: TokenExchange, occasion: Occasion) -> dict[str, str]:
    subject = pod_token_hint(kind.subject_audience, occasion)
    client = client_hint(kind.auth, kind.client_id, kind.token_url, occasion)
    return {**HINTS, **dict.fromkeys(_OF_THE_SUBJECT, subject), "invalid_client": client}


def _type_fault(issued: str, requested: str | None) -> str:
    if not issued:
        return "a token without its `issued_token_type`, which RFC 8693 §2.2.1 requires"
    if requested is None:
        if issued in UNASKED_TYPES:
            return ""
        return f"a token of the type `{shown(issued)}`: set `requestedTokenType` to what you want"
    if issued == requested:
        return ""
    return f"a token of the type `{shown(issued)}`, where `{requested}` was requested"
