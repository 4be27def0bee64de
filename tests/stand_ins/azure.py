"""Entra ID's token endpoint for an application with a federated credential.

Written from learn.microsoft.com/entra: identity-platform/v2-oauth2-client-creds-grant-flow (third case),
workload-id/workload-identity-federation, identity-platform/reference-error-codes; and from azure-workload-
identity's troubleshooting page. Codes are documented there; statuses and the `error` beside them are those of
public reports.
"""

import json
from dataclasses import dataclass, field
from typing import Final

from proxy.sources.steps import HttpReply
from tests.source_world import Request, json_reply
from tests.stand_ins.assertions import Refused, RelyingParty, Wrong

TENANT: Final = "11111111-2222-3333-4444-555555555555"
CLIENT: Final = "66666666-7777-8888-9999-aaaaaaaaaaaa"
BLOB: Final = "https://storage.azure.com/.default"
SUBJECT: Final = "system:serviceaccount:ml:trainer"


@dataclass
class Entra:
    """One tenant, one application in it, one federated credential of that."""

    cluster: RelyingParty
    authority: str = "login.microsoftonline.com"
    audience: str = "api://AzureADTokenExchange"
    subject: str = SUBJECT
    tenant_domain: str = "acme.example"
    resources: frozenset[str] = frozenset({BLOB})
    # Entra cannot read the issuer's OpenID configuration.
    issuer_unreachable: bool = False
    # A condition that stands before all else: (code, words).
    refuses: tuple[int, str] | None = None
    issued: list[str] = field(default_factory=list)

    def answer(self, request: Request) -> HttpReply:
        _, tenant, *rest = request.path.split("/")
        if request.host != self.authority or rest != ["oauth2", "v2.0", "token"] or request.method != "POST":
            return HttpReply(404, {"content-type": "text/html"}, b"<html>404</html>")
        if tenant not in {TENANT, self.tenant_domain}:
            return _error("invalid_request", 90002, f"Tenant '{tenant}' not found.")
        form = request.form
        if form.get("grant_type") != "client_credentials":
            return _error("unsupported_grant_type", 70003, "The app requested an unsupported grant type.")
        if form.get("client_id") != CLIENT:
            words = f"Application with identifier '{form.get('client_id')}' was not found in the directory."
            return _error("unauthorized_client", 700016, words)
        if form.get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer":
            return _error("invalid_client", 7000215, "Invalid client secret provided.", 401)
        scope = form.get("scope", "")
        if not scope.endswith("/.default") or " " in scope:
            words = f"The provided value for scope {scope} is not valid. Client credential flows must have a "
            return _error("invalid_scope", 1002012, words + "scope value with /.default suffixed.")
        if scope not in self.resources:
            words = f"The resource principal named {scope.removesuffix('/.default')} was not found."
            return _error("invalid_resource", 500011, words)
        if self.refuses is not None:
            return _error("invalid_request", *self.refuses)
        if self.issuer_unreachable:
            return _error("invalid_request", 50166, "Request to External OIDC endpoint failed.")
        return self._judge(form.get("client_assertion", ""))

    def _verify(self, assertion: str) -> None:
        subject = self.cluster.claims(assertion, (self.audience,))["sub"]
        if subject != self.subject:
            raise Refused(Wrong.SUBJECT, subject)

    def _judge(self, assertion: str) -> HttpReply:
        none = "No matching federated identity record found for presented assertion"
        try:
            self._verify(assertion)
        except Refused as refused:
            match refused.wrong:
                case Wrong.ISSUER:
                    words = f"{none} issuer '{refused.found}'."
                    return _error("invalid_client", 700211, words, 401)
                case Wrong.AUDIENCE:
                    words = f"{none} audience '{refused.found}'."
                    return _error("invalid_client", 700212, words, 401)
                case Wrong.SUBJECT:
                    words = f"{none} subject '{refused.found}'."
                    return _error("invalid_client", 700213, words, 401)
                case Wrong.TIME:
                    words = "Client assertion is not within its valid time range."
                    return _error("invalid_client", 700024, words, 401)
                case Wrong.KEY | Wrong.SIGNATURE:
                    return _error("invalid_client", 50013, "Assertion failed signature validation.", 401)
                case Wrong.MALFORMED:
                    return _error("invalid_request", 50027, "JWT token is invalid or malformed.")
        token = f"stand-in-{len(self.issued)}"
        self.issued.append(token)
        body = {"token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599, "access_token": token}
        return json_reply(200, json.dumps(body).encode())


def _error(error: str, code: int, words: str, status: int = 400) -> HttpReply:
    trace = "00000000-0000-0000-0000-000000000000"
    body = {
        "error": error,
        "error_description": (
            f"AADSTS{code}: {words} Trace ID: {trace} Correlation ID: {trace} Timestamp: 2026-03-04 12:00:00Z"
        ),
        "error_codes": [code],
        "timestamp": "2026-03-04 12:00:00Z",
        "trace_id": trace,
        "correlation_id": trace,
        "error_uri": f"https://login.microsoftonline.com/error?code={code}",
    }
    return json_reply(status, json.dumps(body).encode())
