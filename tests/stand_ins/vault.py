"""A Vault as its public documentation describes it: HTTP API (status codes, errors, namespaces), auth methods
Kubernetes, JWT and token, /sys/leases, KV version 2, and the policy `default`.

https://developer.hashicorp.com/vault/api-docs, https://developer.hashicorp.com/vault/docs/concepts/lease and
https://openbao.org/api-docs; the texts of refusals are those of the auth plugins' published sources. It
verifies every token by signature, issuer, audience and its own clock, enforces policies by path, and keeps
the life of tokens and leases: what has ended or was revoked opens nothing.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import jwt

from proxy.sources.steps import HttpReply
from tests.pod_tokens import TokenIssuer
from tests.source_world import Request

HOUR: Final = timedelta(hours=1)
DEFAULT_POLICY: Final[Mapping[str, set[str]]] = {
    "auth/token/lookup-self": {"read"},
    "auth/token/renew-self": {"update"},
    "auth/token/revoke-self": {"update"},
    "sys/leases/renew": {"update"},
    "sys/leases/lookup": {"update"},
}


@dataclass
class Role:
    """Of auth/kubernetes or auth/jwt; `claims` are a jwt role's bound_claims, by path below the claims."""

    audience: str = "vault"
    names: Sequence[str] = ("trainer",)
    namespaces: Sequence[str] = ("ml",)
    claims: Mapping[str, str] = field(default_factory=dict)
    policy: Mapping[str, set[str]] = field(default_factory=dict)
    default_policy: bool = True
    ttl: timedelta = HOUR
    max_ttl: timedelta = 24 * HOUR
    batch: bool = False


@dataclass
class Version:
    data: Mapping[str, Any]
    deleted: str = ""
    destroyed: bool = False


@dataclass
class Engine:
    """What makes a dynamic secret at one path. Without a ttl, it has no lease."""

    make: Callable[[Mapping[str, str]], Mapping[str, Any]]
    ttl: timedelta | None = HOUR
    max_ttl: timedelta = 4 * HOUR
    renewable: bool = True
    writes: bool = False


@dataclass
class _Token:
    role: Role
    issued: datetime
    expires: datetime


@dataclass
class _Lease:
    token: str
    engine: Engine
    data: Mapping[str, Any]
    issued: datetime
    expires: datetime


class Vault:
    def __init__(self, issuer: TokenIssuer, now: datetime, namespace: str = "") -> None:
        self.issuer = issuer
        self.now = now
        self.namespace = namespace
        self.methods = {"kubernetes": "kubernetes", "jwt": "jwt"}  # mount -> auth method
        self.roles: dict[tuple[str, str], Role] = {}
        self.kv: dict[tuple[str, str], list[Version]] = {}
        self.engines: dict[str, Engine] = {}
        self.sealed = False
        self.tokens: dict[str, _Token] = {}
        self.leases: dict[str, _Lease] = {}

    # --- what a test asks -----------------------------------------------------------------------

    def pass_time(self, span: timedelta) -> None:
        self.now += span
        self._sweep()

    def accepts(self, **data: str) -> bool:
        """Whether what an engine made is still an account of the service behind it."""
        self._sweep()
        return any(data.items() <= lease.data.items() for lease in self.leases.values())

    def _sweep(self) -> None:
        """Vault's own words: "When a token is revoked, Vault will revoke all leases" that it created."""
        self.tokens = {name: token for name, token in self.tokens.items() if token.expires > self.now}
        self.leases = {
            name: lease
            for name, lease in self.leases.items()
            if lease.expires > self.now and lease.token in self.tokens
        }

    # --- the API --------------------------------------------------------------------------------

    def answer(self, request: Request) -> HttpReply:
        self._sweep()
        parts = urlsplit(request.url)
        if parts.scheme != "https" or parts.netloc != "vault.example.com:8200":
            return refuse(421, "wrong host")
        if request.headers.get("x-vault-request") != "true":
            return refuse(412, "missing 'X-Vault-Request' header")
        if self.sealed:
            return refuse(503, "Vault is sealed")
        path = unquote(parts.path).removeprefix("/v1/")
        if request.headers.get("x-vault-namespace", "") != self.namespace:
            return no_route(path)
        match path.split("/"):
            case ["auth", *mount, "login"]:
                return self._login("/".join(mount), request)
            case _:
                return self._authorised(path, request)

    def _login(self, mount: str, request: Request) -> HttpReply:
        method = self.methods.get(mount)
        if method is None:
            return no_route(f"auth/{mount}/login")
        if request.method not in {"POST", "PUT"}:
            return refuse(405, "unsupported operation")
        asked = json.loads(request.body)
        role = self.roles.get((mount, asked.get("role", "")))
        for name in ("role", "jwt"):
            if not asked.get(name):
                return refuse(400, f"missing {name}")
        if role is None and method == "kubernetes":
            return refuse(400, f'invalid role name "{asked["role"]}"')
        if role is None:
            return refuse(400, f'role "{asked["role"]}" could not be found')
        refusal = (self._kubernetes if method == "kubernetes" else self._jwt)(asked["jwt"], role)
        if refusal is not None:
            return refusal
        token = f"{'hvb' if role.batch else 'hvs'}.{uuid4().hex}"
        self.tokens[token] = _Token(role, self.now, self.now + role.ttl)
        auth = {
            "client_token": token,
            "accessor": uuid4().hex,
            "lease_duration": seconds(role.ttl),
            "renewable": not role.batch,
            "token_type": "batch" if role.batch else "service",
        }
        return reply(auth=auth)

    def _verified(self, token: str) -> dict[str, Any] | None:
        try:
            key = jwt.PyJWK(self.issuer.jwk)
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=["RS256", "ES256"],
                issuer=self.issuer.issuer,
                options={
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                    "verify_aud": False,
                },
            )
        except jwt.InvalidTokenError:
            return None
        return claims

    def _kubernetes(self, token: str, role: Role) -> HttpReply | None:
        claims = self._verified(token)
        if claims is None or not claims["nbf"] <= self.now.timestamp() < claims["exp"]:
            return refuse(403, "permission denied")  # the TokenReview says no
        if role.audience not in claims["aud"]:
            return refuse(
                403, "invalid audience (aud) claim: audience claim does not match any expected audience"
            )
        who = claims["kubernetes.io"]
        if "*" not in role.names and who["serviceaccount"]["name"] not in role.names:
            return refuse(403, "service account name not authorized")
        if "*" not in role.namespaces and who["namespace"] not in role.namespaces:
            return refuse(403, "namespace not authorized")
        return None

    def _jwt(self, token: str, role: Role) -> HttpReply | None:
        claims = self._verified(token)
        if claims is None:
            return refuse(
                400, "error validating token: no known key successfully validated the token signature"
            )
        if self.now.timestamp() >= claims["exp"]:
            return refuse(
                400, "error validating token: invalid expiration time (exp) claim: token is expired"
            )
        if not role.audience:
            return refuse(400, "audience claim found in JWT but no audiences bound to the role")
        if role.audience not in claims["aud"]:
            said = "invalid audience (aud) claim: audience claim does not match any expected audience"
            return refuse(400, f"error validating token: {said}")
        for name, wanted in role.claims.items():
            found: Any = claims
            for step in name.strip("/").split("/"):
                found = found[step]
            if found != wanted:
                said = f'claim "{name}" does not match any associated bound claim values'
                return refuse(400, f"error validating claims: {said}")
        return None

    def _authorised(self, path: str, request: Request) -> HttpReply:
        name = request.headers.get("x-vault-token", "")
        token = self.tokens.get(name)
        capability = "read" if request.method == "GET" else "update"
        if token is None or not self._allowed(token.role, path, capability):
            return refuse(403, "1 error occurred:\n\t* permission denied\n\n")
        body = json.loads(request.body) if request.body else {}
        match path:
            case "auth/token/renew-self":
                return self._renew_token(token, body)
            case "auth/token/revoke-self" if token.role.batch:
                return refuse(400, "batch tokens cannot be revoked")
            case "auth/token/revoke-self":
                del self.tokens[name]
                return HttpReply(204, {}, b"")
            case "sys/leases/renew":
                return self._renew_lease(body)
            case "sys/leases/revoke":
                if self.leases.pop(body.get("lease_id", ""), None) is None:
                    return refuse(400, "invalid lease ID")
                return HttpReply(204, {}, b"")
            case _:
                return self._secret(path, request, name, body)

    def _allowed(self, role: Role, path: str, capability: str) -> bool:
        policy = {**(DEFAULT_POLICY if role.default_policy else {}), **role.policy}
        return any(
            capability in capabilities
            for rule, capabilities in policy.items()
            if rule == path or (rule.endswith("*") and path.startswith(rule[:-1]))
        )

    def _renew_token(self, token: _Token, body: Mapping[str, Any]) -> HttpReply:
        if token.role.batch:
            return refuse(400, "batch tokens cannot be renewed")
        asked = timedelta(seconds=int(str(body.get("increment", "0s")).removesuffix("s"))) or token.role.ttl
        token.expires = min(self.now + asked, token.issued + token.role.max_ttl)
        ttl = seconds(token.expires - self.now)
        return reply(auth={"client_token": "…", "lease_duration": ttl, "renewable": True})

    def _renew_lease(self, body: Mapping[str, Any]) -> HttpReply:
        lease = self.leases.get(body.get("lease_id", ""))
        if lease is None:
            return refuse(400, "lease not found")
        if not lease.engine.renewable:
            return refuse(400, "lease is not renewable")
        asked = timedelta(seconds=body.get("increment", 0)) or lease.engine.ttl or HOUR
        lease.expires = min(self.now + asked, lease.issued + lease.engine.max_ttl)
        ttl = seconds(lease.expires - self.now)
        warnings = [] if ttl == seconds(asked) else ["TTL value is capped accordingly"]
        return reply(lease_id=body["lease_id"], renewable=True, lease_duration=ttl, warnings=warnings or None)

    def _secret(self, path: str, request: Request, token: str, body: Mapping[str, Any]) -> HttpReply:
        mount, data, name = path.partition("/data/")
        if data and any(mount == held for held, _ in self.kv):
            return self._kv(mount, name, request.query.get("version"))
        engine = self.engines.get(path)
        if engine is None:
            return no_route(path)
        if engine.writes != (request.method in {"POST", "PUT"}):
            return refuse(405, "1 error occurred:\n\t* unsupported operation\n\n")
        made = engine.make(body)
        if engine.ttl is None:
            return reply(data=made)
        lease_id = f"{path}/{uuid4().hex}"
        self.leases[lease_id] = _Lease(token, engine, made, self.now, self.now + engine.ttl)
        ttl = seconds(engine.ttl)
        return reply(data=made, lease_id=lease_id, lease_duration=ttl, renewable=engine.renewable)

    def _kv(self, mount: str, name: str, asked: str | None) -> HttpReply:
        versions = self.kv.get((mount, name), [])
        number = int(asked) if asked else len(versions)
        if not 0 < number <= len(versions):
            return HttpReply(404, {"content-type": "application/json"}, b'{"errors":[]}')
        version = versions[number - 1]
        gone = bool(version.deleted) or version.destroyed
        metadata = {
            "created_time": "2026-03-01T02:24:06.945319214Z",
            "custom_metadata": None,
            "deletion_time": version.deleted,
            "destroyed": version.destroyed,
            "version": number,
        }
        data = {"data": None if gone else version.data, "metadata": metadata}
        return reply(404 if gone else 200, data=data)


def seconds(span: timedelta) -> int:
    return int(span.total_seconds())


def reply(status: int = 200, **told: Any) -> HttpReply:
    """The envelope of every answer; what is not told is empty."""
    body = {
        "request_id": str(uuid4()),
        "lease_id": "",
        "renewable": False,
        "lease_duration": 0,
        "data": None,
        "wrap_info": None,
        "warnings": None,
        "auth": None,
        **told,
    }
    return HttpReply(status, {"content-type": "application/json"}, json.dumps(body).encode())


def refuse(status: int, *errors: str) -> HttpReply:
    body = json.dumps({"errors": list(errors)}).encode()
    return HttpReply(status, {"content-type": "application/json"}, body)


def no_route(path: str) -> HttpReply:
    return refuse(404, f'no handler for route "{path}". route entry not found.')
