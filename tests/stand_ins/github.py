"""GitHub's REST API for Apps, as docs.github.com describes it.

The pages: "Generating a JSON Web Token (JWT) for a GitHub App", "Create an installation access token for an
app", "Revoke an installation access token", "Rate limits for the REST API". The texts of refusals are those
that GitHub's users quote.

It verifies the app's assertion (RS256 by the app's public key, issuer, iat and exp by its own clock), the
installation, and narrows as the real one does; a token that ended or was revoked opens nothing.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from proxy.sources.steps import HttpReply
from tests.source_world import Request

LEVELS: Final = {"read": 0, "write": 1, "admin": 2}
DOCUMENTATION: Final = "https://docs.github.com/rest"


class PrivateKey:
    """An app's key, made for this run."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.public = self._key.public_key()

    @property
    def pem(self) -> bytes:
        """PKCS #1, as GitHub hands it out."""
        return self._key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )


@dataclass
class Installation:
    repositories: Sequence[str] = ("models", "datasets", "site")
    permissions: Mapping[str, str] = field(
        default_factory=lambda: {"contents": "write", "metadata": "read", "packages": "read"}
    )
    suspended: bool = False


@dataclass
class _Token:
    expires: datetime
    repositories: frozenset[str]
    permissions: Mapping[str, str]


class GitHub:
    def __init__(self, key: PrivateKey, now: datetime) -> None:
        self.now = now
        self.keys = {"Iv23liABCDEF": key, "1234": key}  # client id, app id
        self.installations = {147419836: Installation()}
        self.tokens: dict[str, _Token] = {}
        self.knows_client_ids = True
        # The headers of a refusal, while GitHub has had enough of us.
        self.limited: Mapping[str, str] | None = None

    def opens(self, token: bytes, repository: str, permission: str, level: str) -> bool:
        held = self.tokens.get(token.decode())
        return (
            held is not None
            and held.expires > self.now
            and repository in held.repositories
            and LEVELS[level] <= LEVELS.get(held.permissions.get(permission, ""), -1)
        )

    def answer(self, request: Request) -> HttpReply:
        if request.host != "api.github.com":
            return refuse(404, "Not Found")
        if not request.headers.get("user-agent"):
            return refuse(
                403,
                "Request forbidden by administrative rules. Please make sure your request has a User-Agent",
            )
        if request.headers.get("accept") != "application/vnd.github+json":
            return refuse(415, "Must accept 'application/json'.")
        if request.headers.get("x-github-api-version") != "2022-11-28":
            return refuse(400, "X-GitHub-Api-Version is not a supported version")
        if self.limited is not None:
            return refuse(403, "You have exceeded a secondary rate limit. Please wait", **self.limited)
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not bearer:
            return refuse(401, "Requires authentication")
        if request.method == "DELETE" and request.path == "/installation/token":
            return self._revoke(bearer)
        found = re.fullmatch(r"/app/installations/([0-9]+)/access_tokens", request.path)
        if found is None or request.method != "POST":
            return refuse(404, "Not Found")
        return self._refused(bearer) or self._create(int(found[1]), request.body)

    def _revoke(self, token: str) -> HttpReply:
        held = self.tokens.pop(token, None)
        if held is None or held.expires <= self.now:
            return refuse(401, "Bad credentials")
        return HttpReply(204, {}, b"")

    def _refused(self, assertion: str) -> HttpReply | None:
        try:
            claims: dict[str, Any] = jwt.decode(assertion, options={"verify_signature": False})
        except jwt.InvalidTokenError:
            return refuse(401, "A JSON web token could not be decoded")
        issuer, now = claims.get("iss"), self.now.timestamp()
        if not issuer:
            return refuse(401, "Missing 'issuer' claim ('iss') in assertion")
        if not self.knows_client_ids and not str(issuer).isdigit():
            return refuse(401, "'Issuer' claim ('iss') must be an Integer")
        key = self.keys.get(str(issuer))
        if key is None:
            return refuse(401, "Integration not found")
        try:
            jwt.decode(
                assertion,
                key.public,
                algorithms=["RS256"],
                options={"verify_exp": False, "verify_iat": False},
            )
        except jwt.InvalidTokenError:
            return refuse(401, "A JSON web token could not be decoded")
        if type(claims.get("iat")) is not int or claims["iat"] > now:
            return refuse(
                401,
                "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was "
                "issued",
            )
        if type(claims.get("exp")) is not int or claims["exp"] <= now:
            return refuse(
                401,
                "'Expiration time' claim ('exp') must be a numeric value representing the future time at "
                "which the assertion expires",
            )
        if claims["exp"] > now + 600:
            return refuse(401, "'Expiration time' claim ('exp') is too far in the future")
        return None

    def _create(self, number: int, body: bytes) -> HttpReply:
        installation = self.installations.get(number)
        if installation is None:
            return refuse(404, "Not Found")
        if installation.suspended:
            return refuse(403, "This installation has been suspended")
        asked = json.loads(body) if body else {}
        repositories = asked.get("repositories")
        if repositories is not None and len(repositories) > 500:
            return refuse(422, "Too many repositories")
        held = {name.lower(): name for name in installation.repositories}
        if any(name.lower() not in held for name in repositories or ()):
            return refuse(
                422,
                "There is at least one repository that does not exist or is not accessible to the parent "
                "installation.",
            )
        permissions = asked.get("permissions")
        for name, level in (permissions or {}).items():
            if "-" in name:
                return refuse(422, f'Invalid request.\n\n"{name}" is not a permitted key.')
            if LEVELS[level] > LEVELS.get(installation.permissions.get(name, ""), -1):
                return refuse(422, "The permissions requested are not granted to this installation.")
        given = installation.permissions if permissions is None else {**permissions, "metadata": "read"}
        names = (
            [held[name.lower()] for name in repositories] if repositories else [*installation.repositories]
        )
        return self._token(names, given, "selected" if repositories else "all")

    def _token(self, names: list[str], permissions: Mapping[str, str], selection: str) -> HttpReply:
        token = f"ghs_1234_{uuid4().hex * 16}"
        expires = self.now.replace(microsecond=0) + timedelta(hours=1)
        self.tokens[token] = _Token(expires, frozenset(names), permissions)
        told: dict[str, Any] = {
            "token": token,
            "expires_at": expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "permissions": permissions,
            "repository_selection": selection,
        }
        if selection == "selected":
            told["repositories"] = [{"id": n, "name": name, "private": True} for n, name in enumerate(names)]
        return HttpReply(201, {"content-type": "application/json"}, json.dumps(told).encode())


def refuse(status: int, message: str, **headers: str) -> HttpReply:
    body = {"message": message, "documentation_url": DOCUMENTATION, "status": str(status)}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpReply(status, {"content-type": "application/json", **named}, json.dumps(body).encode())
