"""Anthropic's token endpoint for workload identity federation.

Written from platform.claude.com/docs/en/manage-claude/wif-reference: fields of request and reply, checks of
the JWT (16 KiB, `kid`, `iat`, 30 s leeway, one hour at most), matching of the rule, errors. From the sources
of their SDKs (anthropic 2.12): the `anthropic-beta` header, the single use of a `jti`, the life of a token as
`max(60, min(rule, 2 × what is left of the assertion))`. A refusal is opaque: 401 `authentication_error`, as
public reports show it, or 400 `invalid_grant`, as the page says.
"""

import json
import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from proxy.sources.steps import HttpReply
from tests.source_world import Request, json_reply
from tests.stand_ins.assertions import Refused, RelyingParty

RULE: Final = "fdrl_example"
ORGANIZATION: Final = "11111111-2222-3333-4444-555555555555"
ACCOUNT: Final = "svac_example"
WORKSPACE: Final = "wrkspc_example"
SUBJECT: Final = "system:serviceaccount:ml:trainer"
LEEWAY: Final = timedelta(seconds=30)
MAX_ASSERTION: Final = 16_384
BETAS: Final = {"oauth-2025-04-20", "oidc-federation-2026-04-01"}


@dataclass
class AnthropicTokens:
    """One issuer with one rule, which leads one subject to one service account."""

    cluster: RelyingParty
    audience: str = "https://api.anthropic.com"
    subject_prefix: str = SUBJECT
    workspaces: tuple[str, ...] = (WORKSPACE,)
    token_lifetime: int = 3600
    max_jwt_lifetime: int = 3600
    check_jti: bool = True
    as_the_page_says: bool = False
    used: set[str] = field(default_factory=set)
    # What the console's authentication history shows, and the answer does not.
    history: list[str] = field(default_factory=list)

    def answer(self, request: Request) -> HttpReply:
        if (request.method, request.url) != ("POST", "https://api.anthropic.com/v1/oauth/token"):
            return _error(404, "not_found_error", "Not found")
        if set(request.headers.get("anthropic-beta", "").split(",")) != BETAS:
            return _error(400, "invalid_request_error", "unsupported grant_type")
        body = json.loads(request.body)
        if body.get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer":
            return _error(400, "invalid_request_error", "unsupported grant_type")
        for name in ("assertion", "federation_rule_id", "organization_id", "service_account_id"):
            if not body.get(name):
                return _error(400, "invalid_request_error", f"{name}: field required")
        if not re.fullmatch("fdrl_[A-Za-z0-9]+", body["federation_rule_id"]):
            words = "federation_rule_id is not a well-formed fdrl_ tagged ID"
            return _error(400, "invalid_request_error", words)
        if len(self.workspaces) > 1 and "workspace_id" not in body:
            return _error(400, "invalid_request_error", "workspace_id_required")
        return self._judge(body)

    def _judge(self, body: dict[str, str]) -> HttpReply:
        named = (body["federation_rule_id"], body["organization_id"], body["service_account_id"])
        if named != (RULE, ORGANIZATION, ACCOUNT):
            return self._refuse("rule_not_found")
        if body.get("workspace_id", self.workspaces[0]) not in self.workspaces:
            return self._refuse("workspace_not_enabled")
        if len(body["assertion"]) > MAX_ASSERTION:
            return self._refuse("assertion_too_large")
        try:
            claims = self.cluster.claims(body["assertion"], (self.audience,))
        except Refused as refused:
            return self._refuse(refused.wrong.value)
        if claims["exp"] - claims["iat"] > self.max_jwt_lifetime:
            return self._refuse("lifetime")
        prefix = self.subject_prefix
        fits = claims["sub"].startswith(prefix[:-1]) if prefix.endswith("*") else claims["sub"] == prefix
        if not fits:
            return self._refuse("match_subject_prefix")
        if self.check_jti and claims["jti"] in self.used:
            return self._refuse("jti_reused")
        self.used.add(claims["jti"])
        left = int(claims["exp"] - self.cluster.now.timestamp())
        answer = {
            "access_token": f"stand-in-{len(self.used)}",
            "token_type": "Bearer",
            "expires_in": max(60, min(self.token_lifetime, 2 * left)),
            "scope": "workspace:inference",
        }
        return json_reply(200, json.dumps(answer).encode())

    def _refuse(self, why: str) -> HttpReply:
        self.history.append(why)
        if self.as_the_page_says:
            return _error(400, "invalid_grant", "Authentication failed")
        return _error(401, "authentication_error", "Authentication failed")


def _error(status: int, kind: str, message: str) -> HttpReply:
    body = {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_example"}
    return json_reply(status, json.dumps(body).encode())
