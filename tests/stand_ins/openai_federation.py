"""OpenAI's token endpoint for workload identity federation.

Written from developers.openai.com/api/reference/workload-identity-federation: what is required, what is
verified, what the reply holds, that a token never outlives the subject token nor one hour. The page tells
categories of errors and no codes for JWTs: `invalid_subject_token` and `invalid_grant` are those of the
openai package (types/shared/oauth_error_code.py), in the shape that its OAuthError reads, and used as the
page uses them for X.509.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from proxy.sources.steps import HttpReply
from tests.source_world import Request, json_reply
from tests.stand_ins.assertions import Refused, RelyingParty

PROVIDER: Final = "example-provider"
ACCOUNT: Final = "example-account"
SUBJECT: Final = "system:serviceaccount:ml:trainer"
MAX_LIFETIME: Final = 3600
REQUIRED: Final = ("subject_token", "subject_token_type", "identity_provider_id", "service_account_id")


@dataclass
class OpenAiTokens:
    """A provider for one cluster, with mappings from a subject to a service account."""

    cluster: RelyingParty
    audience: str = "https://api.openai.com/v1"
    provider_enabled: bool = True
    mappings: Mapping[str, str] = field(default_factory=lambda: {SUBJECT: ACCOUNT})
    issued: list[str] = field(default_factory=list)

    def answer(self, request: Request) -> HttpReply:
        if (request.method, request.url) != ("POST", "https://auth.openai.com/oauth/token"):
            return _error(404, "not_found", "Not found.")
        if request.headers.get("content-type") != "application/json":
            return _error(400, "invalid_request", "The body must be JSON.")
        body = json.loads(request.body)
        if body.get("grant_type") != "urn:ietf:params:oauth:grant-type:token-exchange":
            return _error(400, "unsupported_grant_type", "Unsupported grant type.")
        for name in REQUIRED:
            if not body.get(name):
                return _error(400, "invalid_request", f"Missing required parameter: {name}.")
        if body["subject_token_type"] not in {
            "urn:ietf:params:oauth:token-type:jwt",
            "urn:ietf:params:oauth:token-type:id_token",
        }:
            return _error(400, "invalid_request", "Unsupported subject_token_type.")
        if body["identity_provider_id"] != PROVIDER or not self.provider_enabled:
            return _error(400, "invalid_grant", "The workload identity provider is unknown or disabled.")
        try:
            claims = self.cluster.claims(body["subject_token"], (self.audience,))
        except Refused as refused:
            return _error(401, "invalid_subject_token", f"Invalid subject token: {refused.wrong.value}.")
        if self.mappings.get(claims["sub"]) != body["service_account_id"]:
            return _error(403, "invalid_grant", "No enabled mapping matches the subject token.")
        lifetime = min(MAX_LIFETIME, int(claims["exp"] - self.cluster.now.timestamp()))
        token = f"stand-in-{len(self.issued)}"
        self.issued.append(token)
        answer = {
            "access_token": token,
            "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
            "token_type": "Bearer",
            "expires_in": lifetime,
            "expires_at": int(self.cluster.now.timestamp()) + lifetime,
            "scope": "api.model.read api.model.request",
        }
        return json_reply(200, json.dumps(answer).encode())


def _error(status: int, error: str, description: str) -> HttpReply:
    return json_reply(status, json.dumps({"error": error, "error_description": description}).encode())
