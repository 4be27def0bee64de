"""Directory buckets of S3 Express One Zone, as far as sessions go.

Written from "CreateSession" and "Error responses" (S3 API reference) and "Authorizing Zonal endpoint API
operations with CreateSession" (S3 User Guide). It verifies the caller's signature by botocore's signer.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from xml.sax.saxutils import escape

from proxy.sources.steps import HttpReply
from tests.source_world import NOON, Request
from tests.stand_ins.aws_signatures import Keys, NotSignedError, signer

_CODES: Final = {
    "missing": (403, "AccessDenied"),
    "unknown": (403, "InvalidAccessKeyId"),
    "token": (400, "InvalidToken"),
    "moment": (403, "RequestTimeTooSkewed"),
    "scope": (400, "AuthorizationHeaderMalformed"),
    "headers": (403, "AccessDenied"),
    "signature": (403, "SignatureDoesNotMatch"),
}
SESSION: Final = timedelta(minutes=5)


class DeniedError(Exception):
    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


@dataclass(frozen=True)
class Session:
    bucket: str
    mode: str
    keys: Keys
    expires: datetime


@dataclass
class Express:
    """`buckets` of one zone, and what each caller, by its access key id, may open: modes."""

    callers: Mapping[str, Keys]
    may: Mapping[str, tuple[str, ...]]
    buckets: tuple[str, ...] = ("data--euc1-az1--x-s3",)
    region: str = "eu-central-1"
    zone: str = "euc1-az1"
    now: datetime = NOON
    lasts: timedelta = SESSION
    # What no request decides.
    fails: tuple[int, str, str] | None = None
    sessions: list[Session] = field(default_factory=list)

    def answer(self, request: Request) -> HttpReply:
        try:
            session = self._session(request)
        except DeniedError as denied:
            body = (
                f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{denied.code}</Code>'
                f"<Message>{escape(denied.message)}</Message><RequestId>4442587FB7D0A2F9</RequestId></Error>"
            )
            return HttpReply(denied.status, {"content-type": "application/xml"}, body.encode())
        self.sessions.append(session)
        body = (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            '<CreateSessionResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">\n  <Credentials>\n'
            f"    <SessionToken>{session.keys.session_token}</SessionToken>\n"
            f"    <SecretAccessKey>{session.keys.secret_access_key}</SecretAccessKey>\n"
            f"    <AccessKeyId>{session.keys.access_key_id}</AccessKeyId>\n"
            f"    <Expiration>{session.expires:%Y-%m-%dT%H:%M:%SZ}</Expiration>\n"
            "  </Credentials>\n</CreateSessionResult>"
        )
        return HttpReply(200, {"content-type": "application/xml"}, body.encode())

    def _session(self, request: Request) -> Session:
        if self.fails is not None:
            raise DeniedError(*self.fails)
        assert (request.method, request.path, request.query) == ("GET", "/", {"session": ""})
        bucket, _, rest = request.host.partition(".")
        assert rest == f"s3express-{self.zone}.{self.region}.amazonaws.com"
        try:
            caller = signer(request, self.callers.get, "s3express", self.region, self.now, s3=True)
        except NotSignedError as fault:
            raise DeniedError(*_CODES[fault.fault], fault.message) from None
        if bucket not in self.buckets:
            raise DeniedError(404, "NoSuchBucket", "The specified bucket does not exist")
        mode = request.headers.get("x-amz-create-session-mode", "ReadWrite")
        if mode not in self.may.get(caller.access_key_id, ()):
            raise DeniedError(403, "AccessDenied", "Access Denied")
        keys = Keys(f"example{secrets.token_hex(6)}", secrets.token_urlsafe(30), secrets.token_urlsafe(120))
        return Session(bucket, mode, keys, self.now.replace(microsecond=0) + self.lasts)
