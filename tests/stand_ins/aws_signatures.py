"""Who signed a request to AWS, found out by botocore's signers and not by ours.

"Signature Version 4 for API requests" (IAM User Guide): scope, time, the headers that must be signed, and the
signature itself.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final
from unittest.mock import patch
from urllib.parse import urlsplit

from botocore import auth
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.source_world import Request

_AUTHORIZATION: Final = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request, "
    r"SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})"
).fullmatch
SKEW: Final = timedelta(minutes=15)
SECURITY_TOKEN: Final = "x-amz-security-token"
# Of a session of a directory bucket ("CreateSession", S3 API reference).
EXPRESS_TOKEN: Final = "x-amz-s3session-token"
CONTENT_HASH: Final = "x-amz-content-sha256"
# What stands in place of the body's hash where S3 takes it from elsewhere, or not at all.
UNHASHED: Final = frozenset({"UNSIGNED-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"})


@dataclass(frozen=True)
class Keys:
    access_key_id: str
    secret_access_key: str
    session_token: str | None = None


class NotSignedError(Exception):
    """`fault` is one of: missing, unknown, token, moment, scope, headers, signature."""

    def __init__(self, fault: str, message: str) -> None:
        super().__init__(message)
        self.fault, self.message = fault, message


class _S3(S3SigV4Auth):
    """Signs what the request states of its body."""

    def __init__(self, credentials: Credentials, service: str, region: str, stated: str) -> None:
        super().__init__(credentials, service, region)
        self._stated = stated

    def payload(self, _request: AWSRequest) -> str:
        return self._stated


def signer(
    request: Request,
    known: Callable[[str], Keys | None],
    service: str,
    region: str,
    now: datetime,
    *,
    s3: bool = False,
    token_header: str = SECURITY_TOKEN,
) -> Keys:
    """The keys with which it was signed. Raises NotSignedError.

    What is in a body that is not hashed is the caller's to verify.
    """
    found = _AUTHORIZATION(request.headers.get("authorization", ""))
    if found is None:
        raise NotSignedError("missing", "Request is missing Authentication Token")
    keys = known(found[1])
    if keys is None:
        raise NotSignedError("unknown", "The security token included in the request is invalid.")
    others = {SECURITY_TOKEN, EXPRESS_TOKEN} - {token_header}
    if request.headers.get(token_header) != keys.session_token or others & request.headers.keys():
        raise NotSignedError("token", "The security token included in the request is invalid.")
    moment = datetime.strptime(request.headers["x-amz-date"] + "+0000", "%Y%m%dT%H%M%SZ%z")
    if abs(moment - now) > SKEW:
        raise NotSignedError("moment", f"Signature expired: {moment:%Y%m%dT%H%M%SZ}")
    if (found[2], found[3], found[4]) != (f"{moment:%Y%m%d}", region, service):
        raise NotSignedError("scope", f"Credential should be scoped to a valid region, not '{found[3]}'")
    names = found[5].split(";")
    owed = {"host", "x-amz-date", *(name for name in request.headers if name.startswith("x-amz-"))}
    if not owed <= set(names):
        raise NotSignedError("headers", "There were headers present which were not signed")
    hashed = sha256(request.body).hexdigest()
    stated = request.headers[CONTENT_HASH] if s3 else request.headers.get(CONTENT_HASH, hashed)
    if stated not in ({hashed} | UNHASHED if s3 else {hashed}):
        raise NotSignedError("signature", "The provided 'x-amz-content-sha256' header does not match")
    token = keys.session_token if token_header == SECURITY_TOKEN else None
    credentials = Credentials(keys.access_key_id, keys.secret_access_key, token)
    again = _S3(credentials, service, region, stated) if s3 else SigV4Auth(credentials, service, region)
    if _signature(request, again, moment, names) != found[6]:
        message = (
            "The request signature we calculated does not match the signature you provided. Check your "
            "AWS Secret Access Key and signing method."
        )
        raise NotSignedError("signature", message)
    return keys


def _signature(request: Request, again: SigV4Auth, moment: datetime, names: list[str]) -> str:
    """Over the headers that the request says are signed."""
    added = {"host", "x-amz-date", SECURITY_TOKEN}
    headers = {name: request.headers[name] for name in names if name not in added}
    host = {"host": urlsplit(request.url).netloc}
    copy = AWSRequest(request.method, request.url, {**headers, **host}, request.body)
    with patch.object(auth, "get_current_datetime", lambda: moment):
        again.add_auth(copy)
    return str(copy.headers["Authorization"]).rpartition("Signature=")[2]
