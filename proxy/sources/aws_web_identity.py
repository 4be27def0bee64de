"""A session of an IAM role for the pod's own token, and of a second role where the source names one.

AWS STS API Reference: AssumeRoleWithWebIdentity and AssumeRole, with their errors and the common ones.
"""

from collections.abc import Generator, Mapping
from datetime import timedelta
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from proxy.aws.answers import Session, read_error
from proxy.aws.partitions import sts_endpoint
from proxy.aws.session_policy import WAYS_OUT
from proxy.aws.sigv4 import SigningScope, Style, Unsigned, payload_hash, sign
from proxy.aws.sts import (
    ASSUME_ROLE,
    FORM_TYPE,
    NO_BOUNDS,
    WEB_IDENTITY,
    SessionBounds,
    assume_role_form,
    read_session,
    session_name,
    web_identity_form,
)
from proxy.core.aws_sources import SHORTEST_SESSION, AssumedRole, AwsWebIdentity, SessionPolicy
from proxy.core.parts import Part
from proxy.core.secret import Secret
from proxy.core.structs import Struct
from proxy.sources.answers import retry_after, shown
from proxy.sources.aws_tags import session_tags
from proxy.sources.exchanging import asked, pod_token
from proxy.sources.steps import (
    Acquired,
    Failed,
    HttpCall,
    HttpReply,
    Occasion,
    Reply,
    SourceSteps,
    Step,
    StepFailed,
)

type _Asking = Generator[Step, Reply, Session | Failed]

_HEADERS: Final = (("content-type", FORM_TYPE), ("accept", "text/xml"))

_TOO_BIG = f"{WAYS_OUT}; tags of the session count, too"
_SOON = "it will be asked again"
_CLOCK = "the clock of this node or of the source is wrong"
_COMMON: Final = {
    "MalformedPolicyDocument": "check `policyArns`; if there are none, this is a mistake of podkey's",
    "PackedPolicyTooLarge": _TOO_BIG,
    "RegionDisabledException": "activate STS for `{region}` in IAM's account settings, or use another region",
    "ValidationError": (
        "check that `duration` is not above the role's maximum session duration, and that `{role}` is its ARN"
    ),
    "Throttling": _SOON,
    "ThrottlingException": _SOON,
    "RequestLimitExceeded": _SOON,
    "ServiceUnavailable": _SOON,
}
_FIRST: Final = _COMMON | {
    "AccessDenied": (
        "check that the trust policy of `{role}` allows sts:AssumeRoleWithWebIdentity to the provider of the "
        "cluster's issuer, with `aud` `{audience}` and `sub` `{subject}`"
    ),
    "InvalidIdentityToken": (
        "check that the role's account has an IAM OIDC provider for the cluster's issuer, that its audiences "
        "hold `{audience}`, and that the issuer's keys can be fetched from outside"
    ),
    "ExpiredTokenException": f"the kubelet has not renewed the pod's token, or {_CLOCK}",
    "ExpiredToken": f"the kubelet has not renewed the pod's token, or {_CLOCK}",
    "IDPCommunicationError": f"the issuer's keys could not be fetched; {_SOON}",
    "IDPRejectedClaim": "the issuer has withdrawn the token, or a claim of it has expired",
}
_SECOND: Final = _COMMON | {
    "AccessDenied": (
        "check that `{first}` may sts:AssumeRole `{role}`, and that the trust policy of that role allows it "
        "to: with the external id where it asks for one, and sts:TagSession where the pod's token has tags"
    ),
    "ExpiredTokenException": _CLOCK,
    "ExpiredToken": _CLOCK,
    "RequestExpired": _CLOCK,
    "SignatureDoesNotMatch": _CLOCK,
}


def acquire(kind: AwsWebIdentity, occasion: Occasion) -> SourceSteps:
    found = yield from pod_token(kind.audience)
    if isinstance(found, StepFailed):
        return Failed(found.message)
    derived = kind.session_policy is SessionPolicy.FROM_GRANTS
    if derived and not occasion.scope:
        # It is made when a policy is put in force. Without it the session could do all that the role may.
        return Failed("no session policy was derived from the grants, so no session is asked for")
    bounds = SessionBounds(occasion.scope if derived else "", kind.policy_arns)
    exchange = _Exchange(kind, occasion)
    if kind.then is None:
        session = yield from exchange.first(found, kind.duration, bounds)
    else:
        # Used once, for the second role: short, and not bounded by grants that speak of that one.
        session = yield from exchange.first(found, SHORTEST_SESSION, NO_BOUNDS)
        if isinstance(session, Session):
            session = yield from exchange.second(kind.then, session, found, bounds)
    if isinstance(session, Failed):
        return session
    parts = {
        Part.ACCESS_KEY_ID: Secret(session.access_key_id.encode()),
        Part.SECRET_ACCESS_KEY: session.secret_access_key,
        Part.SESSION_TOKEN: session.session_token,
    }
    return Acquired(parts, session.expires)


class _Exchange(Struct, frozen=True):
    kind: AwsWebIdentity
    occasion: Occasion

    @property
    def endpoint(self) -> str:
        return sts_endpoint(self.kind.region) if self.kind.endpoint is None else f"{self.kind.endpoint}/"

    def first(self, token: str, duration: timedelta, bounds: SessionBounds) -> _Asking:
        role, name = self.kind.role_arn, session_name(self.occasion.identity)
        form = web_identity_form(role, name, token, duration, bounds)
        call = HttpCall("POST", self.endpoint, _HEADERS, Secret(form))
        return self.session(WEB_IDENTITY, role, call, _FIRST)

    def second(self, role: AssumedRole, first: Session, token: str, bounds: SessionBounds) -> _Asking:
        tags = session_tags(token.encode())
        form = assume_role_form(role, session_name(self.occasion.identity), bounds, tags)
        url = urlsplit(self.endpoint)
        host = ("host", url.netloc.lower().removesuffix(":443"))
        unsigned = Unsigned("POST", url.path, url.query, (host, *_HEADERS), payload_hash(form))
        scope = SigningScope(self.occasion.now, self.kind.region, "sts")
        # Whoever sends the request writes the host itself.
        headers = (*_HEADERS, *sign(unsigned, first.keys, scope, Style.GENERAL).headers)
        call = HttpCall("POST", self.endpoint, headers, Secret(form))
        return self.session(ASSUME_ROLE, role.role_arn, call, _SECOND)

    def session(self, action: str, role: str, call: HttpCall, hints: Mapping[str, str]) -> _Asking:
        who = f"{action} at {urlsplit(call.url).netloc}"
        reply = yield from asked(who, call)
        if isinstance(reply, StepFailed):
            return Failed(reply.message)
        if reply.status != HTTPStatus.OK:
            return self.refused(who, role, reply, hints)
        session = read_session(action, reply.body)
        return session or Failed(f"{who} answered 200 with no session that can be used")

    def refused(self, who: str, role: str, reply: HttpReply, hints: Mapping[str, str]) -> Failed:
        error = read_error(reply.body)
        patience = retry_after(reply, self.occasion.now)
        if error is None:
            return Failed(f"{who} answered {reply.status}, without an error that AWS documents", patience)
        said = shown(": ".join(filter(None, (error.code, error.message)))).rstrip(".")
        identity = self.occasion.identity
        hint = hints.get(error.code, "").format(
            role=role,
            first=self.kind.role_arn,
            region=self.kind.region,
            audience=self.kind.audience,
            subject=f"system:serviceaccount:{identity.namespace}:{identity.service_account}",
        )
        return Failed(f"{who} answered {reply.status} {said}{hint and f': {hint}'}", patience)
