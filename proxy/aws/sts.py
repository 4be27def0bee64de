"""The Security Token Service's query protocol: forms to send, and the XML that comes back.

AWS STS API Reference, version 2011-06-15. Ceph's radosgw speaks the same, with S3's form of errors.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import urlencode
from xml.etree.ElementTree import Element, ParseError, fromstring

from proxy.aws.sigv4 import SigningKeys
from proxy.core.aws_sources import AssumedRole
from proxy.core.identity import WorkloadIdentity
from proxy.core.secret import Secret

VERSION: Final = "2011-06-15"
WEB_IDENTITY: Final = "AssumeRoleWithWebIdentity"
ASSUME_ROLE: Final = "AssumeRole"
FORM_TYPE: Final = "application/x-www-form-urlencoded"

# A session's reply has some 3 KiB, most of it the token, which AWS reserves the right to make longer.
MAX_REPLY_BYTES: Final = 65_536
# RoleSessionName ends here, and takes these characters.
MAX_SESSION_NAME: Final = 64
_NO_NAME: Final = re.compile(r"[^A-Za-z0-9_+=,.@-]")
_UID_SHOWN: Final = 8

_VISIBLE: Final = re.compile(r"[\x21-\x7e]+").fullmatch


# --- what is asked -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SessionBounds:
    """What a session may at most do, beside what its role may."""

    policy: str = ""
    policy_arns: tuple[str, ...] = ()


NO_BOUNDS: Final = SessionBounds()


def session_name(identity: WorkloadIdentity) -> str:
    """`namespace.pod`, as CloudTrail shows it. A namespace has no dot, so the first one parts the two.

    What is too long is cut, and the beginning of the pod's uid added after an `@`, which no name in
    Kubernetes has: so a cut name is told from a whole one, and two pods from each other.
    """
    name = _NO_NAME.sub("-", f"{identity.namespace}.{identity.pod_name or identity.service_account}")
    if len(name) <= MAX_SESSION_NAME:
        return name
    end = "@" + _NO_NAME.sub("-", identity.pod_uid[:_UID_SHOWN])
    return name[: MAX_SESSION_NAME - len(end)] + end


def web_identity_form(
    role_arn: str, name: str, token: str, duration: timedelta, bounds: SessionBounds
) -> bytes:
    who = {"RoleArn": role_arn, "RoleSessionName": name, "WebIdentityToken": token}
    return _form(WEB_IDENTITY, who, duration, bounds)


def assume_role_form(
    role: AssumedRole, name: str, bounds: SessionBounds, tags: Iterable[tuple[str, str]]
) -> bytes:
    who = {"RoleArn": role.role_arn, "RoleSessionName": name}
    if role.external_id is not None:
        who["ExternalId"] = role.external_id
    for number, (key, value) in enumerate(tags, 1):
        who[f"Tags.member.{number}.Key"] = key
        who[f"Tags.member.{number}.Value"] = value
    return _form(ASSUME_ROLE, who, role.duration, bounds)


def _form(action: str, who: Mapping[str, str], duration: timedelta, bounds: SessionBounds) -> bytes:
    fields = {"Action": action, "Version": VERSION, **who}
    fields["DurationSeconds"] = str(int(duration.total_seconds()))
    if bounds.policy:
        fields["Policy"] = bounds.policy
    for number, arn in enumerate(bounds.policy_arns, 1):
        fields[f"PolicyArns.member.{number}.arn"] = arn
    return urlencode(fields).encode()


# --- what is answered --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Session:
    """Temporary keys, and until when they count by AWS's clock."""

    access_key_id: str
    secret_access_key: Secret
    session_token: Secret
    expires: datetime

    @property
    def keys(self) -> SigningKeys:
        return SigningKeys(self.access_key_id, self.secret_access_key, self.session_token)


@dataclass(frozen=True, slots=True)
class StsError:
    code: str
    message: str


def read_session(action: str, body: bytes) -> Session | None:
    """The session in a reply to `action`; None where there is none that could be used."""
    root = _parsed(body)
    if root is None or _name(root) != f"{action}Response":
        return None
    found = _child(_child(root, f"{action}Result"), "Credentials")
    key_id, secret, token = (
        _visible(found, name) for name in ("AccessKeyId", "SecretAccessKey", "SessionToken")
    )
    expires = _moment(_text(found, "Expiration"))
    if not key_id or not secret or not token or expires is None:
        return None
    return Session(key_id, Secret(secret.encode()), Secret(token.encode()), expires)


def read_error(body: bytes) -> StsError | None:
    """`ErrorResponse/Error` of AWS, or Ceph's bare `Error`."""
    root = _parsed(body)
    error = _child(root, "Error") if root is not None and _name(root) == "ErrorResponse" else root
    code = _visible(error, "Code")
    if error is None or _name(error) != "Error" or not code:
        return None
    return StsError(code, _text(error, "Message"))


def _parsed(body: bytes) -> Element | None:
    """Without declarations: entities can name files and grow without end, and STS sends neither.

    Decoded first, so that no other encoding hides one.
    """
    if len(body) > MAX_REPLY_BYTES:
        return None
    try:
        text = body.decode()
        return None if "<!" in text else fromstring(text)  # noqa: S314 - see above
    except (ParseError, ValueError):
        return None


def _name(element: Element) -> str:
    """Without the namespace, which AWS and Ceph write differently."""
    return element.tag.rpartition("}")[2]


def _child(element: Element | None, name: str) -> Element | None:
    """The only child of this name: two of them could be read as either."""
    found = [child for child in element if _name(child) == name] if element is not None else []
    return found[0] if len(found) == 1 else None


def _text(element: Element | None, name: str) -> str:
    child = _child(element, name)
    return (child.text or "").strip() if child is not None else ""


def _visible(element: Element | None, name: str) -> str:
    text = _text(element, name)
    return text if _VISIBLE(text) else ""


def _moment(text: str) -> datetime | None:
    """ISO 8601 with its offset, which is always Z; without one it could be any time."""
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None
