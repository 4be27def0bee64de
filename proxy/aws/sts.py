"""The Security Token Service's query protocol: forms to send, and the XML that comes back.

AWS STS API Reference, version 2011-06-15. Ceph's radosgw speaks the same, with S3's form of errors.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Final
from urllib.parse import urlencode

from proxy.aws.answers import Session, child_of, name_of, parsed, session_below
from proxy.core.aws_sources import AssumedRole
from proxy.core.identity import WorkloadIdentity
from proxy.core.structs import Struct

VERSION: Final = "2011-06-15"
WEB_IDENTITY: Final = "AssumeRoleWithWebIdentity"
ASSUME_ROLE: Final = "AssumeRole"
FORM_TYPE: Final = "application/x-www-form-urlencoded"

# RoleSessionName ends here, and takes these characters.
MAX_SESSION_NAME: Final = 64
_NO_NAME: Final = re.compile(r"[^A-Za-z0-9_+=,.@-]")
_UID_SHOWN: Final = 8


# --- what is asked -----------------------------------------------------------------------------------


class SessionBounds(Struct, frozen=True):
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


def read_session(action: str, body: bytes) -> Session | None:
    """The session in a reply to `action`; None where there is none that could be used."""
    root = parsed(body)
    if root is None or name_of(root) != f"{action}Response":
        return None
    return session_below(child_of(root, f"{action}Result"))
