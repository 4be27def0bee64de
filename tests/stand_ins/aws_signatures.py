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


def signer(
    request: Request,
    known: Callable[[str], Keys | None],
    service: str,
    region: str,
    now: datetime,
    *,
    s3: bool = False,
) -> Keys:
    """The keys with which it was signed. Raises NotSignedError."""
    found = _AUTHORIZATION(request.headers.get("authorization", ""))
    if found is None:
        raise NotSignedError("missing", "Request is missing Authentication Token")
    keys = known(found[1])
    if keys is None:
        raise NotSignedError("unknown", "The security token included in the request is invalid.")
    if request.headers.get("x-amz-security-token") != keys.session_token:
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
    if s3 and request.headers["x-amz-content-sha256"] != sha256(request.body).hexdigest():
        raise NotSignedError("signature", "The provided 'x-amz-content-sha256' header does not match")
    kind = S3SigV4Auth if s3 else SigV4Auth
    credentials = Credentials(keys.access_key_id, keys.secret_access_key, keys.session_token)
    if _signature(request, kind(credentials, service, region), moment, names) != found[6]:
        message = (
            "The request signature we calculated does not match the signature you provided. Check your "
            "AWS Secret Access Key and signing method."
        )
        raise NotSignedError("signature", message)
    return keys


def _signature(request: Request, again: SigV4Auth, moment: datetime, names: list[str]) -> str:
    """Over the headers that the request says are signed."""
    added = {"host", "x-amz-date", "x-amz-security-token"}
    headers = {name: request.headers[name] for name in names if name not in added}
    host = {"host": urlsplit(request.url).netloc}
    copy = AWSRequest(request.method, request.url, {**headers, **host}, request.body)
    with patch.object(auth, "get_current_datetime", lambda: moment):
        again.add_auth(copy)
    return str(copy.headers["Authorization"]).rpartition("Signature=")[2]
