"""One registry of Amazon ECR, as far as a pull goes: `/v2/`, manifests, and layers that are in S3.

Written from "Endpoints" (OCI Distribution Specification 1.1), "Registry authentication" (ECR User Guide: HTTP
Basic, with a token of GetAuthorizationToken) and "Authenticating requests: using query parameters" (S3 API
reference). The URLs of layers are signed by botocore, with keys that nobody else has.
"""

import json
import secrets
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final
from unittest.mock import patch

from botocore import auth
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from proxy.sources.steps import HttpReply
from tests.source_world import Request as Whole
from tests.stand_ins.aws_ecr import Ecr

MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
_EXPIRES: Final = 3600


@dataclass
class Registry:
    """`ecr` gives out its tokens. `layers` are where they are: a content by the host of its bucket."""

    ecr: Ecr
    layers: Mapping[str, bytes]
    repo: str = "team/app"
    _own: Credentials = field(
        default_factory=lambda: Credentials("example-starport", secrets.token_urlsafe(30)), repr=False
    )

    def api(self, request: Whole) -> HttpReply:
        """GetAuthorizationToken."""
        self.ecr.now = datetime.now(UTC)
        return self.ecr.answer(request)

    def answer(self, request: Whole) -> HttpReply:
        good = {f"Basic {b64encode(f'AWS:{one}'.encode()).decode()}" for one in self.ecr.passwords}
        if request.headers.get("authorization") not in good:
            challenge = f'Basic realm="https://{request.host}/",service="ecr.amazonaws.com"'
            return _error(401, "UNAUTHORIZED", "Not Authorized", challenge)
        by_path = {f"/v2/{self.repo}/blobs/{digest(content)}": host for host, content in self.layers.items()}
        match request.path:
            case "/v2/":
                return HttpReply(200, {"docker-distribution-api-version": "registry/2.0"}, b"")
            case path if path == f"/v2/{self.repo}/manifests/latest":
                layers = [{"digest": digest(one), "size": len(one)} for one in self.layers.values()]
                body = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "layers": layers}).encode()
                return HttpReply(200, {"content-type": MANIFEST, "docker-content-digest": digest(body)}, body)
            case path if path in by_path:
                url = f"https://{by_path[path]}/{digest(self.layers[by_path[path]])[7:]}"
                return HttpReply(
                    307, {"location": self._presigned(url, by_path[path], datetime.now(UTC))}, b""
                )
            case _:
                return _error(404, "NAME_UNKNOWN", "The repository does not exist")

    def bucket(self, request: Whole) -> HttpReply:
        """A layer, for whoever has the URL as it was signed, and nothing else beside it."""
        plain, moment = request.url.partition("?")[0], request.query.get("X-Amz-Date", "")
        forged = not moment or request.url != self._presigned(plain, request.host, _moment(moment))
        if forged or {"authorization", "x-amz-security-token"} & request.headers.keys():
            return HttpReply(
                403, {"content-type": "application/xml"}, b"<Error><Code>AccessDenied</Code></Error>"
            )
        return HttpReply(200, {"content-type": "application/octet-stream"}, self.layers[request.host])

    def _presigned(self, url: str, host: str, moment: datetime) -> str:
        region = host.split(".")[2]
        request = AWSRequest("GET", url)
        with patch.object(auth, "get_current_datetime", lambda: moment):
            S3SigV4QueryAuth(self._own, "s3", region, _EXPIRES).add_auth(request)
        return str(request.url)


def digest(content: bytes) -> str:
    return f"sha256:{sha256(content).hexdigest()}"


def _moment(text: str) -> datetime:
    return datetime.strptime(text + "+0000", "%Y%m%dT%H%M%SZ%z")


def _error(status: int, code: str, message: str, challenge: str = "") -> HttpReply:
    body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
    headers = {"content-type": "application/json"}
    return HttpReply(status, headers | ({"www-authenticate": challenge} if challenge else {}), body)
