"""AWS's Security Token Service, as far as a pod asks it.

Written from the AWS STS API Reference (AssumeRoleWithWebIdentity, AssumeRole, Common Errors), "IAM and STS
quotas" and "Pass session tags in AWS STS" (IAM User Guide). It verifies the token with the issuer's keys, the
trust policy's audience and subject, and the signature of a chained call: by botocore's signer, not by ours.
"""

import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

import jwt

from proxy.sources.steps import HttpReply
from tests.source_world import NOON, Request
from tests.stand_ins.aws_signatures import Keys, NotSignedError, signer

TAGS: Final = "https://aws.amazon.com/tags"
_NAME: Final = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII).fullmatch
_EXTERNAL_ID: Final = re.compile(r"[\w+=,.@:/-]{2,1224}", re.ASCII).fullmatch
_TAG: Final = re.compile(r"Tags\.member\.([0-9]+)\.(Key|Value)").fullmatch

_CODES: Final = {
    "missing": "MissingAuthenticationToken",
    "unknown": "InvalidClientTokenId",
    "token": "InvalidClientTokenId",
    "moment": "SignatureDoesNotMatch",
    "scope": "SignatureDoesNotMatch",
    "headers": "SignatureDoesNotMatch",
    "signature": "SignatureDoesNotMatch",
}


class DeniedError(Exception):
    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


def invalid(message: str) -> DeniedError:
    return DeniedError(400, "ValidationError", message)


def not_authorized(action: str) -> DeniedError:
    return DeniedError(403, "AccessDenied", f"Not authorized to perform sts:{action}")


@dataclass(frozen=True)
class Role:
    """A role and its trust policy: pods by audience and subject, other roles by their ARN."""

    arn: str
    subjects: tuple[str, ...] = ()
    audience: str = "sts.amazonaws.com"
    trusts: str = ""
    external_id: str | None = None
    may_tag: bool = True
    maximum: timedelta = timedelta(hours=1)


@dataclass(frozen=True)
class Session:
    """What was given out, and under which terms."""

    role: str
    name: str
    access_key_id: str
    secret_access_key: str
    session_token: str
    expires: datetime
    policy: str
    policy_arns: tuple[str, ...]
    tags: Mapping[str, str]
    transitive: frozenset[str] = frozenset()


@dataclass
class Sts:
    """`providers` are the account's OIDC providers: an issuer's JWKS, and the audiences it is there for."""

    roles: tuple[Role, ...]
    providers: Mapping[str, tuple[bytes, tuple[str, ...]]]
    region: str = "eu-central-1"
    now: datetime = NOON
    # What no request decides: an error for each call, and whether the packed size is exceeded.
    fails: tuple[int, str, str] | None = None
    packed_limit: int = 10_000
    sessions: list[Session] = field(default_factory=list)

    def answer(self, request: Request) -> HttpReply:
        try:
            return self._answered(request)
        except DeniedError as denied:
            body = (
                '<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">\n  <Error>\n'
                f"    <Type>{'Sender' if denied.status < 500 else 'Receiver'}</Type>\n"
                f"    <Code>{denied.code}</Code>\n    <Message>{escape(denied.message)}</Message>\n"
                "  </Error>\n"
                "  <RequestId>c6104cbe-af31-11e0-8154-cbc7ccf896c7</RequestId>\n</ErrorResponse>\n"
            )
            return HttpReply(denied.status, {"content-type": "text/xml"}, body.encode())

    def _answered(self, request: Request) -> HttpReply:
        if self.fails is not None:
            raise DeniedError(*self.fails)
        assert request.method == "POST"
        assert request.headers["content-type"] == "application/x-www-form-urlencoded"
        fields = dict(parse_qsl(request.body.decode(), keep_blank_values=True, strict_parsing=True))
        if fields.get("Version") != "2011-06-15":
            raise DeniedError(400, "InvalidAction", "Could not find operation for that version")
        match fields["Action"]:
            case "AssumeRoleWithWebIdentity":
                session = self._web_identity(fields)
            case "AssumeRole":
                session = self._assume_role(request, fields)
            case other:
                raise DeniedError(400, "InvalidAction", f"Could not find operation {other}")
        self.sessions.append(session)
        return HttpReply(200, {"content-type": "text/xml"}, _reply(fields["Action"], session))

    # --- AssumeRoleWithWebIdentity ---

    def _web_identity(self, fields: Mapping[str, str]) -> Session:
        action = "AssumeRoleWithWebIdentity"
        claims = self._verified(fields["WebIdentityToken"])
        role = self._role(fields, action)
        if role.audience not in claims["aud"] or claims["sub"] not in role.subjects:
            raise not_authorized(action)
        claim = claims.get(TAGS, {})
        tags = {key: value[0] for key, value in claim.get("principal_tags", {}).items()}
        transitive = frozenset(claim.get("transitive_tag_keys", ()))
        if tags and not role.may_tag:
            raise not_authorized("TagSession")
        return self._session(role, fields, role.maximum, tags, transitive)

    def _verified(self, token: str) -> dict[str, Any]:
        try:
            issuer = str(jwt.decode(token, options={"verify_signature": False})["iss"])
            header = jwt.get_unverified_header(token)
        except (jwt.InvalidTokenError, KeyError):
            raise DeniedError(
                400, "InvalidIdentityToken", "The ID Token provided is not a valid JWT."
            ) from None
        if issuer not in self.providers:
            message = f"No OpenIDConnect provider found in your account for {issuer}"
            raise DeniedError(400, "InvalidIdentityToken", message)
        keys, audiences = self.providers[issuer]
        if not keys:
            message = "Couldn't retrieve verification key from your identity provider"
            raise DeniedError(400, "IDPCommunicationError", message)
        by_id = {key.key_id: key for key in jwt.PyJWKSet.from_dict(json.loads(keys)).keys}
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                by_id[header["kid"]],
                algorithms=["RS256", "ES256"],
                audience=audiences,
                issuer=issuer,
                options={"verify_exp": False, "verify_nbf": False, "verify_iat": False},
            )
        except jwt.InvalidAudienceError:
            raise DeniedError(400, "InvalidIdentityToken", "Incorrect token audience") from None
        except (jwt.InvalidTokenError, KeyError):
            raise DeniedError(400, "InvalidIdentityToken", "The ID Token's signature is not valid") from None
        now = self.now.timestamp()
        if claims["exp"] <= now:
            message = (
                f"Token expired: current date/time {now:.0f} must be before the expiration date/time "
                f"{claims['exp']}"
            )
            raise DeniedError(400, "ExpiredTokenException", message)
        return claims

    # --- AssumeRole ---

    def _assume_role(self, request: Request, fields: Mapping[str, str]) -> Session:
        caller = self._caller(request)
        role = self._role(fields, "AssumeRole")
        external = fields.get("ExternalId")
        if external is not None and not _EXTERNAL_ID(external):
            raise invalid("Value at 'externalId' failed to satisfy constraint")
        if role.trusts != caller.role or (role.external_id is not None and external != role.external_id):
            raise not_authorized("AssumeRole on resource: " + role.arn)
        tags = _tags(fields)
        if tags and not role.may_tag:
            raise not_authorized("TagSession on resource: " + role.arn)
        if any(key in caller.transitive for key in tags):
            raise DeniedError(
                400, "InvalidParameterValue", "One of the specified transitive tag keys can't be set"
            )
        inherited = {key: value for key, value in caller.tags.items() if key in caller.transitive}
        # Role chaining: an hour at most, whatever the role allows.
        most = min(role.maximum, timedelta(hours=1))
        return self._session(role, fields, most, {**inherited, **tags}, caller.transitive)

    def _caller(self, request: Request) -> Session:
        found = re.search(r"Credential=([^/]+)/", request.headers.get("authorization", ""))
        session = next((s for s in self.sessions if found and s.access_key_id == found[1]), None)
        try:
            signer(request, self._keys, "sts", self.region, self.now)
        except NotSignedError as fault:
            raise DeniedError(403, _CODES[fault.fault], fault.message) from None
        assert session is not None
        if session.expires <= self.now:
            raise DeniedError(403, "ExpiredToken", "The security token included in the request is expired")
        return session

    def _keys(self, access_key_id: str) -> Keys | None:
        found = (s for s in self.sessions if s.access_key_id == access_key_id)
        return next((Keys(s.access_key_id, s.secret_access_key, s.session_token) for s in found), None)

    # --- both ---

    def _role(self, fields: Mapping[str, str], action: str) -> Role:
        if not _NAME(fields.get("RoleSessionName", "")):
            raise invalid("Value at 'roleSessionName' failed to satisfy constraint: [\\w+=,.@-]{2,64}")
        role = next((role for role in self.roles if role.arn == fields["RoleArn"]), None)
        if role is None:  # AWS does not tell whether a role is there
            raise not_authorized(action)
        return role

    def _session(
        self,
        role: Role,
        fields: Mapping[str, str],
        most: timedelta,
        tags: Mapping[str, str],
        transitive: frozenset[str],
    ) -> Session:
        seconds = int(fields["DurationSeconds"])
        if not 900 <= seconds <= 43_200:
            raise invalid(f"Value '{seconds}' at 'durationSeconds' failed to satisfy constraint")
        if seconds > most.total_seconds():
            raise invalid("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
        policy, arns = self._bounds(fields)
        session = Session(
            role.arn,
            fields["RoleSessionName"],
            f"example{secrets.token_hex(6)}",
            secrets.token_urlsafe(30),
            secrets.token_urlsafe(120),
            self.now.replace(microsecond=0) + timedelta(seconds=seconds),
            policy,
            arns,
            tags,
            transitive,
        )
        packed = len(policy) + sum(map(len, arns)) + sum(len(k) + len(v) for k, v in tags.items())
        if packed > self.packed_limit:
            share = packed * 100 // self.packed_limit
            message = f"Packed policy consumes {share}% of allotted space, please use smaller policy."
            raise DeniedError(400, "PackedPolicyTooLarge", message)
        return session

    @staticmethod
    def _bounds(fields: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
        policy = fields.get("Policy", "")
        if "Policy" in fields:
            if not re.fullmatch(r"[\t\n\r\x20-\xff]{1,2048}", policy):
                raise invalid(
                    "Value at 'policy' failed to satisfy constraint: length 1 to 2048, U+0020 to U+00FF"
                )
            _well_formed(policy)
        arns = tuple(value for key, value in fields.items() if key.startswith("PolicyArns.member."))
        numbered = tuple(fields.get(f"PolicyArns.member.{n}.arn", "") for n in range(1, len(arns) + 1))
        if arns != numbered or len(arns) > 10:
            raise invalid("Value at 'policyArns' failed to satisfy constraint: at most 10 members")
        return policy, arns


def _tags(fields: Mapping[str, str]) -> dict[str, str]:
    pairs: dict[str, dict[str, str]] = {}
    for name, value in fields.items():
        if found := _TAG(name):
            pairs.setdefault(found[1], {})[found[2]] = value
    tags = {pair["Key"]: pair["Value"] for pair in pairs.values()}
    if len(tags) > 50 or any(len(key) > 128 or len(value) > 256 for key, value in tags.items()):
        raise invalid("Value at 'tags' failed to satisfy constraint")
    return tags


def _well_formed(policy: str) -> None:
    """The grammar of the IAM policy language, as far as it is JSON with these members."""
    wrong = DeniedError(400, "MalformedPolicyDocument", "This policy contains invalid Json")
    try:
        document = json.loads(policy)
    except ValueError:
        raise wrong from None
    if not isinstance(document, dict) or document.get("Version") != "2012-10-17":
        raise wrong
    for statement in document.get("Statement") or [{}]:
        if statement.keys() - {"Condition"} != {"Effect", "Action", "Resource"}:
            raise DeniedError(400, "MalformedPolicyDocument", "Syntax errors in policy.")


def _reply(action: str, session: Session) -> bytes:
    """As the API reference's examples show them, with what they call sensitive left out."""
    more = "<SubjectFromWebIdentityToken>s</SubjectFromWebIdentityToken>" if "Web" in action else ""
    return (
        f'<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/">\n  <{action}Result>\n'
        f"    {more}\n    <AssumedRoleUser>\n      <Arn>{session.role}/{session.name}</Arn>\n"
        f"      <AssumedRoleId>AROACLKWSDQRAOEXAMPLE:{session.name}</AssumedRoleId>\n    </AssumedRoleUser>\n"
        f"    <Credentials>\n      <SessionToken>{session.session_token}</SessionToken>\n"
        f"      <SecretAccessKey>{session.secret_access_key}</SecretAccessKey>\n"
        f"      <Expiration>{session.expires:%Y-%m-%dT%H:%M:%SZ}</Expiration>\n"
        f"      <AccessKeyId>{session.access_key_id}</AccessKeyId>\n    </Credentials>\n"
        f"    <PackedPolicySize>6</PackedPolicySize>\n  </{action}Result>\n  <ResponseMetadata>\n"
        "    <RequestId>ad4156e9-bce1-11e2-82e6-6b6efEXAMPLE</RequestId>\n  </ResponseMetadata>\n"
        f"</{action}Response>\n"
    ).encode()
