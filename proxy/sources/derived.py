"""What AWS gives for AWS credentials, where a request needs that in their place.

One call, signed with the keys of another lease. Neither a session of a directory bucket nor a registry's
token can be revoked, so each ends by itself; whoever keeps them forgets them with the lease that they were
made of.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final, assert_never

from proxy.aws import ecr, express
from proxy.aws.answers import AwsError, read_error
from proxy.aws.sigv4 import SigningKeys, SigningScope, Style, Unsigned, payload_hash, sign
from proxy.core.credentials import Derived, ExpressSession, RegistryToken
from proxy.core.parts import Part
from proxy.core.secret import Secret
from proxy.sources.answers import retry_after, shown
from proxy.sources.exchanging import asked
from proxy.sources.steps import Acquired, Failed, HttpCall, HttpReply, Occasion, SourceSteps, StepFailed

_NO_KEYS: Final = "its source gives no AWS access key"
_SOON: Final = "it will be asked again"
_CLOCK: Final = "the clock of this node is wrong"
_SPENT: Final = "the AWS credential that it is asked with is expired or revoked"
_UNKNOWN: Final = "AWS does not know the access key, or the account has not enabled the region"

_EXPRESS_HINTS: Final = {
    "AccessDenied": (
        "check that the role or user may s3express:CreateSession on the directory bucket, and that no "
        "condition on s3express:SessionMode excludes {mode}"
    ),
    "NoSuchBucket": "check the bucket's name, with its zone, and that the host is in the zone's region",
    "InvalidAccessKeyId": _UNKNOWN,
    "ExpiredToken": _SPENT,
    "InvalidToken": _SPENT,
    "RequestTimeTooSkewed": _CLOCK,
    "SlowDown": _SOON,
    "ServiceUnavailable": _SOON,
    "InternalError": _SOON,
}
_ECR_HINTS: Final = {
    "AccessDeniedException": "check that the role or user may ecr:GetAuthorizationToken on `*`",
    "UnrecognizedClientException": _UNKNOWN,
    "ExpiredTokenException": _SPENT,
    "InvalidSignatureException": _CLOCK,
    "ThrottlingException": _SOON,
    "ServerException": _SOON,
    "ServiceUnavailable": _SOON,
}
# With these the keys themselves are of no use any more.
_SPENT_CODES: Final = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidAccessKeyId",
        "InvalidToken",
        "UnrecognizedClientException",
    }
)


def acquire(kind: Derived, occasion: Occasion) -> SourceSteps:
    keys = _keys(occasion.base)
    if keys is None:
        return Failed(_NO_KEYS)
    match kind.what:
        case ExpressSession() as what:
            return (yield from _express_session(what, keys, occasion))
        case RegistryToken() as what:
            return (yield from _registry_token(what, keys, occasion))
        case _:
            assert_never(kind.what)


def _keys(parts: Mapping[Part, Secret]) -> SigningKeys | None:
    key_id, secret = parts.get(Part.ACCESS_KEY_ID), parts.get(Part.SECRET_ACCESS_KEY)
    if key_id is None or secret is None:
        return None
    return SigningKeys(key_id.reveal().decode("latin-1"), secret, parts.get(Part.SESSION_TOKEN))


def _express_session(what: ExpressSession, keys: SigningKeys, occasion: Occasion) -> SourceSteps:
    who = f"CreateSession at {what.host}"
    mode = express.READ_ONLY if what.read_only else express.READ_WRITE
    empty = payload_hash(b"")
    headers = ((express.MODE_HEADER, mode), ("x-amz-content-sha256", empty))
    unsigned = Unsigned("GET", "/", express.QUERY, (("host", what.host), *headers), empty)
    scope = SigningScope(occasion.now, what.region, express.SERVICE)
    signed = (*headers, *sign(unsigned, keys, scope, Style.S3).headers)
    reply = yield from asked(who, HttpCall("GET", f"https://{what.host}/?{express.QUERY}", signed))
    if isinstance(reply, StepFailed):
        return Failed(reply.message)
    if reply.status != HTTPStatus.OK:
        hints = {code: hint.format(mode=mode) for code, hint in _EXPRESS_HINTS.items()}
        return _refused(who, reply, read_error(reply.body), hints, occasion)
    session = express.read_session(reply.body)
    if session is None:
        return Failed(f"{who} answered 200 with no session that can be used")
    parts = {
        Part.ACCESS_KEY_ID: Secret(session.access_key_id.encode()),
        Part.SECRET_ACCESS_KEY: session.secret_access_key,
        Part.SESSION_TOKEN: session.session_token,
    }
    return Acquired(parts, session.expires)


def _registry_token(what: RegistryToken, keys: SigningKeys, occasion: Occasion) -> SourceSteps:
    host = ecr.endpoint_host(what.region)
    who = f"GetAuthorizationToken at {host}"
    headers = (("content-type", ecr.CONTENT_TYPE), (ecr.TARGET_HEADER, ecr.TARGET))
    unsigned = Unsigned("POST", "/", "", (("host", host), *headers), payload_hash(ecr.BODY))
    scope = SigningScope(occasion.now, what.region, ecr.SERVICE)
    signed = (*headers, *sign(unsigned, keys, scope, Style.GENERAL).headers)
    reply = yield from asked(who, HttpCall("POST", f"https://{host}/", signed, Secret(ecr.BODY)))
    if isinstance(reply, StepFailed):
        return Failed(reply.message)
    if reply.status != HTTPStatus.OK:
        return _refused(who, reply, ecr.read_error(reply.body), _ECR_HINTS, occasion)
    login = ecr.read_login(reply.body)
    if login is None:
        return Failed(f"{who} answered 200 with no token that can be used")
    return Acquired({Part.USERNAME: login.username, Part.PASSWORD: login.password}, login.expires)


def _refused(
    who: str, reply: HttpReply, error: AwsError | None, hints: Mapping[str, str], occasion: Occasion
) -> Failed:
    patience = retry_after(reply, occasion.now)
    if error is None:
        return Failed(f"{who} answered {reply.status}, without an error that AWS documents", patience)
    said = shown(": ".join(filter(None, (error.code, error.message)))).rstrip(".")
    hint = hints.get(error.code, "")
    message = f"{who} answered {reply.status} {said}{hint and f': {hint}'}"
    return Failed(message, patience, base_spent=error.code in _SPENT_CODES)
