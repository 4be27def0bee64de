"""Google Cloud: the pod's token is exchanged at the Security Token Service, and perhaps once more for a
service account's.

The wire is that of cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token (as an RFC 8693 form, which
is how google-auth sends it: google/oauth2/sts.py) and of iam/docs/reference/credentials/rest/v1/
projects.serviceAccounts/generateAccessToken. The audience keeps its `iam.googleapis.com` in every universe
(gcloud's cred_config.py); the hosts change. The words of errors are those of the troubleshooting page for
workload identity federation and of public reports; only their codes are specified.
"""

import re
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

from proxy.core.gcp_source import GcpWorkloadIdentity, Impersonation
from proxy.core.parts import Part
from proxy.core.secret import Secret
from proxy.sources.answers import json_object, text_of
from proxy.sources.exchanging import (
    JWT,
    TOKEN_EXCHANGE,
    asked,
    bearer_token,
    form_call,
    json_call,
    pod_token,
    refused,
    visible,
)
from proxy.sources.steps import Acquired, Failed, HttpCall, HttpReply, Occasion, SourceSteps, StepFailed

STS: Final = "Google's token service"
IAM: Final = "Google's IAM Credentials API"

# The token that goes between the two services needs no more than this (google-auth: google/auth/iam.py).
IAM_SCOPE: Final = "https://www.googleapis.com/auth/iam"
ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - RFC 8693 §3, no secret

# The error code, a word of its description, and what it means here; the first that fits is said.
_STS_HINTS: Final = (
    ("invalid_grant", "audience", "check that the provider allows the audience `{audience}`"),
    ("invalid_grant", "connecting", "Google cannot read the issuer's keys: upload the JWKS to the provider"),
    (
        "invalid_grant",
        "issuer",
        "check that the provider's issuer URI is the cluster's issuer, letter by letter",
    ),
    ("invalid_grant", "stale", "check that the kubelet still renews the pod's token, and the clocks"),
    ("invalid_grant", "expired", "check that the kubelet still renews the pod's token, and the clocks"),
    ("invalid_grant", "", "check the provider's issuer, its keys and its attribute mapping"),
    ("unauthorized_client", "", "check the provider's attribute condition against the subject `{subject}`"),
    ("invalid_target", "", "check that pool and provider exist and are enabled: `{provider}`"),
    ("invalid_scope", "", "check `scopes`"),
)
_IAM_HINTS: Final = {
    "PERMISSION_DENIED": (
        "grant roles/iam.workloadIdentityUser on `{account}` to "
        "`principal://iam.googleapis.com/{pool}/subject/{subject}`, and enable iamcredentials.googleapis.com"
    ),
    "NOT_FOUND": "check that the service account `{account}` exists",
    "INVALID_ARGUMENT": "check `scopes` and `lifetime`: more than one hour needs an organisation policy",
    "UNAUTHENTICATED": "check that `universe` is the one that the service account lives in",
}

# RFC 3339 §5.6, as protobuf's Timestamp writes it; `fromisoformat` alone takes weeks and bare dates.
_TIMESTAMP = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})"
).fullmatch


def acquire(kind: GcpWorkloadIdentity, occasion: Occasion) -> SourceSteps:
    subject = yield from pod_token(kind.audience)
    if isinstance(subject, StepFailed):
        return Failed(subject.message)
    reply = yield from asked(STS, _exchange(kind, subject))
    if isinstance(reply, StepFailed):
        return Failed(reply.message)
    if reply.status != HTTPStatus.OK:
        return refused(STS, reply, occasion.now, _sts_hint(kind, occasion, reply))
    exchanged = bearer_token(STS, reply, occasion.now)
    if isinstance(exchanged, Failed) or kind.impersonation is None:
        return exchanged
    reply = yield from asked(IAM, _impersonate(kind, kind.impersonation, exchanged.parts[Part.TOKEN]))
    if isinstance(reply, StepFailed):
        return Failed(reply.message)
    if reply.status != HTTPStatus.OK:
        return refused(IAM, reply, occasion.now, _iam_hint(kind, kind.impersonation, occasion, reply))
    return _impersonated(reply)


def _exchange(kind: GcpWorkloadIdentity, subject: str) -> HttpCall:
    scopes = kind.scopes if kind.impersonation is None else (IAM_SCOPE,)
    return form_call(
        f"https://sts.{kind.universe}/v1/token",
        {
            "grant_type": TOKEN_EXCHANGE,
            "audience": f"//iam.googleapis.com/{kind.provider}",
            "scope": " ".join(scopes),
            "requested_token_type": ACCESS_TOKEN,
            "subject_token": subject,
            "subject_token_type": JWT,
        },
    )


def _impersonate(kind: GcpWorkloadIdentity, acting: Impersonation, token: Secret) -> HttpCall:
    members: dict[str, object] = {"scope": kind.scopes}
    if acting.delegates:
        members["delegates"] = [_resource(account) for account in acting.delegates]
    if acting.lifetime is not None:
        members["lifetime"] = f"{int(acting.lifetime.total_seconds())}s"
    url = f"https://iamcredentials.{kind.universe}/v1/{quote(_resource(acting.service_account), safe='/@')}"
    bearer = ("Authorization", Secret(b"Bearer " + token.reveal()))
    return json_call(f"{url}:generateAccessToken", members, bearer)


def _resource(account: str) -> str:
    # The hyphen is required: it stands for whichever project the account lives in.
    return f"projects/-/serviceAccounts/{account}"


def _impersonated(reply: HttpReply) -> Acquired | Failed:
    found = json_object(reply)
    if found is None:
        return Failed(f"{IAM} answered 200 without a JSON object: something else answers at its address")
    token = visible(found, "accessToken")
    if token is None:
        return Failed(f"{IAM} answered 200 without a usable `accessToken`")
    expires = timestamp(text_of(found, "expireTime"))
    if expires is None:
        return Failed(f"{IAM} gave a token and did not say in `expireTime` how long it lives")
    return Acquired({Part.TOKEN: token}, expires)


def timestamp(text: str) -> datetime | None:
    if not _TIMESTAMP(text):
        return None
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):  # the 31st of April; an offset that leads past the year 9999
        return None


def _subject(occasion: Occasion) -> str:
    who = occasion.identity
    return f"system:serviceaccount:{who.namespace}:{who.service_account}"


def _sts_hint(kind: GcpWorkloadIdentity, occasion: Occasion, reply: HttpReply) -> str:
    found = json_object(reply) or {}
    error, description = text_of(found, "error"), text_of(found, "error_description").lower()
    hint = next((hint for code, word, hint in _STS_HINTS if code == error and word in description), "")
    return hint.format(audience=kind.audience, provider=kind.provider, subject=_subject(occasion))


def _iam_hint(kind: GcpWorkloadIdentity, acting: Impersonation, occasion: Occasion, reply: HttpReply) -> str:
    error = (json_object(reply) or {}).get("error")
    hint = _IAM_HINTS.get(text_of(error, "status"), "") if isinstance(error, dict) else ""
    return hint.format(account=acting.service_account, pool=kind.pool, subject=_subject(occasion))
