"""Amazon ECR's API, as far as registry tokens go.

Written from "GetAuthorizationToken" and "Common errors" (ECR API reference). It verifies the caller's
signature by botocore's signer.
"""

import json
import secrets
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from proxy.sources.steps import HttpReply
from tests.source_world import NOON, Request
from tests.stand_ins.aws_signatures import Keys, NotSignedError, signer

_CODES: Final = {
    "missing": "MissingAuthenticationTokenException",
    "unknown": "UnrecognizedClientException",
    "token": "UnrecognizedClientException",
    "moment": "InvalidSignatureException",
    "scope": "InvalidSignatureException",
    "headers": "InvalidSignatureException",
    "signature": "InvalidSignatureException",
}
TOKEN: Final = timedelta(hours=12)
ACCOUNT: Final = "111122223333"


@dataclass
class Ecr:
    callers: Mapping[str, Keys]
    may: frozenset[str]
    region: str = "eu-central-1"
    suffix: str = "amazonaws.com"
    now: datetime = NOON
    fails: tuple[int, str, str] | None = None
    passwords: list[str] = field(default_factory=list)

    def answer(self, request: Request) -> HttpReply:
        assert (request.method, request.path, request.query) == ("POST", "/", {})
        assert request.host == f"api.ecr.{self.region}.{self.suffix}"
        assert request.headers["content-type"] == "application/x-amz-json-1.1"
        target = "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken"
        assert request.headers["x-amz-target"] == target
        assert json.loads(request.body) == {}
        if self.fails is not None:
            return _error(*self.fails)
        try:
            caller = signer(request, self.callers.get, "ecr", self.region, self.now)
        except NotSignedError as fault:
            return _error(400, _CODES[fault.fault], fault.message)
        if caller.access_key_id not in self.may:
            message = "User is not authorized to perform: ecr:GetAuthorizationToken on resource: *"
            return _error(400, "AccessDeniedException", message)
        self.passwords.append(secrets.token_urlsafe(60))
        data = {
            "authorizationToken": b64encode(f"AWS:{self.passwords[-1]}".encode()).decode(),
            "expiresAt": (self.now + TOKEN).timestamp(),
            "proxyEndpoint": f"https://{ACCOUNT}.dkr.ecr.{self.region}.{self.suffix}",
        }
        return _json(200, {"authorizationData": [data]})


def _error(status: int, code: str, message: str) -> HttpReply:
    return _json(status, {"__type": code, "message": message})


def _json(status: int, members: Mapping[str, object]) -> HttpReply:
    return HttpReply(status, {"content-type": "application/x-amz-json-1.1"}, json.dumps(members).encode())
