"""Google Cloud's Security Token Service and IAM Credentials API.

Written from cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token, …/credentials/rest/v1/projects.
serviceAccounts/generateAccessToken, …/workload-identity-federation-with-kubernetes and …/troubleshooting-
workload-identity-federation. Codes of errors are specified (RFC 6749, google.rpc.Code); their words are those
of public reports of the real services.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import unquote

from proxy.sources.steps import HttpReply
from tests.source_world import Request, json_reply
from tests.stand_ins.assertions import Refused, RelyingParty, Wrong

CLOUD_PLATFORM: Final = "https://www.googleapis.com/auth/cloud-platform"
IAM: Final = "https://www.googleapis.com/auth/iam"
POOL: Final = "projects/123456789012/locations/global/workloadIdentityPools/acme-pool"
PROVIDER: Final = f"{POOL}/providers/acme-cluster"
USER_ROLE: Final = "roles/iam.workloadIdentityUser"
CREATOR_ROLE: Final = "roles/iam.serviceAccountTokenCreator"

WORDS: Final = {
    Wrong.MALFORMED: "The ID Token is not a valid JWT.",
    Wrong.KEY: "Error connecting to the given credential's issuer.",
    Wrong.SIGNATURE: "Invalid ID Token signature.",
    Wrong.ISSUER: "The issuer in ID Token [{found}] does not match the expected ones: [{issuer}].",
    Wrong.AUDIENCE: "The audience in ID Token [{found}] does not match the expected audience.",
    Wrong.TIME: "ID Token is stale to sign-in.",
}


def anybody(claims: Mapping[str, Any]) -> bool:
    return bool(claims)


@dataclass
class Google:
    """A pool with one provider, and the service accounts that its principals may act as."""

    cluster: RelyingParty
    universe: str = "googleapis.com"
    # Empty: the provider's own name, with and without `https:`.
    allowed_audiences: tuple[str, ...] = ()
    attribute_condition: Callable[[Mapping[str, Any]], bool] = anybody
    provider_enabled: bool = True
    # Service account -> who has which role on it.
    accounts: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    # The organisation policy that allows more than one hour.
    long_lived: bool = False
    # What it issued: value -> (principal, scopes).
    issued: dict[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)

    @property
    def now(self) -> datetime:
        return self.cluster.now

    def answer(self, request: Request) -> HttpReply:
        if request.method != "POST":
            return _iam_error(404, "NOT_FOUND", "Requested entity was not found.")
        if request.host == f"sts.{self.universe}" and request.path == "/v1/token":
            return self._exchange(request)
        path, _, method = unquote(request.path).rpartition(":")
        if request.host == f"iamcredentials.{self.universe}" and method == "generateAccessToken":
            return self._generate(request, path.removeprefix("/v1/"))
        return _iam_error(404, "NOT_FOUND", "Requested entity was not found.")

    def _exchange(self, request: Request) -> HttpReply:
        if "authorization" in request.headers:
            return _oauth_error("invalid_request", "The Authorization header must not be sent.")
        if request.headers.get("content-type") != "application/x-www-form-urlencoded":
            return _oauth_error("invalid_request", "Invalid content type.")
        form = request.form
        for name, value in (
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
        ):
            if form.get(name) != value:
                return _oauth_error("invalid_request", f"Invalid value for {name}.")
        if form.get("audience") != f"//iam.googleapis.com/{PROVIDER}" or not self.provider_enabled:
            words = (
                'The target service indicated by the "audience" parameters is invalid. This might either be '
                "because the pool or provider is disabled or deleted or because it doesn't exist."
            )
            return _oauth_error("invalid_target", words)
        scopes = tuple(form.get("scope", "").split())
        if not scopes or not all(scope.startswith("https://www.googleapis.com/auth/") for scope in scopes):
            return _oauth_error("invalid_scope", "Invalid OAuth scope or ID token audience provided.")
        try:
            claims = self.cluster.claims(form.get("subject_token", ""), self._audiences())
        except Refused as refused:
            words = WORDS[refused.wrong].format(found=refused.found, issuer=self.cluster.issuer)
            return _oauth_error("invalid_grant", words)
        if not self.attribute_condition(claims):
            words = "The given credential is rejected by the attribute condition."
            return _oauth_error("unauthorized_client", words)
        principal = f"principal://iam.googleapis.com/{POOL}/subject/{claims['sub']}"
        body = {
            "access_token": self._issue(principal, scopes),
            "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
            "token_type": "Bearer",
            "expires_in": 3599,
        }
        return json_reply(200, json.dumps(body).encode())

    def _audiences(self) -> tuple[str, ...]:
        own = f"//iam.googleapis.com/{PROVIDER}"
        return self.allowed_audiences or (own, f"https:{own}")

    def _issue(self, principal: str, scopes: tuple[str, ...]) -> str:
        value = f"ya29.stand-in-{len(self.issued)}"
        self.issued[value] = (principal, scopes)
        return value

    def _generate(self, request: Request, name: str) -> HttpReply:
        scheme, _, value = request.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or value not in self.issued:
            words = "Request had invalid authentication credentials."
            return _iam_error(401, "UNAUTHENTICATED", words)
        principal, scopes = self.issued[value]
        if not {CLOUD_PLATFORM, IAM} & set(scopes):
            words = "Request had insufficient authentication scopes."
            return _iam_error(403, "PERMISSION_DENIED", words)
        body = json.loads(request.body)
        if set(body) - {"scope", "delegates", "lifetime"} or not body.get("scope"):
            return _iam_error(400, "INVALID_ARGUMENT", "Request contains an invalid argument.")
        lifetime = int(body.get("lifetime", "3600s").removesuffix("s"))
        if not 0 < lifetime <= (43200 if self.long_lived else 3600):
            words = "The access token lifetime cannot exceed 3600 seconds."
            return _iam_error(400, "INVALID_ARGUMENT", words)
        role = USER_ROLE
        for link in (*body.get("delegates", ()), name):
            if not link.startswith("projects/-/serviceAccounts/"):
                return _iam_error(400, "INVALID_ARGUMENT", f"Invalid service account name: {link}")
            account = link.removeprefix("projects/-/serviceAccounts/")
            if account not in self.accounts:
                return _iam_error(404, "NOT_FOUND", "Unknown service account")
            if (principal, role) not in self.accounts[account]:
                words = "Permission 'iam.serviceAccounts.getAccessToken' denied on resource"
                return _iam_error(403, "PERMISSION_DENIED", f"{words} (or it may not exist).")
            principal, role = f"serviceAccount:{account}", CREATOR_ROLE
        expires = self.now + timedelta(seconds=lifetime)
        answer = {
            "accessToken": self._issue(principal, tuple(body["scope"])),
            "expireTime": expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        return json_reply(200, json.dumps(answer).encode())


def _oauth_error(error: str, description: str) -> HttpReply:
    return json_reply(400, json.dumps({"error": error, "error_description": description}).encode())


def _iam_error(code: int, status: str, message: str) -> HttpReply:
    body = {"error": {"code": code, "message": message, "status": status}}
    return json_reply(code, json.dumps(body).encode())
