"""HashiCorp Vault and OpenBao: log in as the pod, read, and keep or give back what is leased.

A login makes a token in Vault's storage, which lives for hours or weeks. One that nothing hangs on is revoked
at once, also when reading failed: pods that try again and again would fill Vault with tokens.
"""

import json
import re
from collections.abc import Generator, Mapping
from datetime import timedelta
from typing import Final
from urllib.parse import quote

from proxy.core.secret import Secret
from proxy.core.vault_source import VaultKv2, VaultSecret
from proxy.sources.asking import http
from proxy.sources.asking import token as pod_token
from proxy.sources.steps import (
    Acquired,
    Failed,
    HttpCall,
    HttpReply,
    Occasion,
    Reply,
    RevokeSteps,
    SourceSteps,
    Step,
    StepFailed,
)
from proxy.sources.vault_answers import Login, extended, login_of, secret_of
from proxy.sources.vault_refusals import login_refused, read_refused, refused

_IS_TOKEN: Final = re.compile(rb"[\x21-\x7e]+").fullmatch
# Vault answers 200 in place of 204 where it has a warning.
_DONE: Final = frozenset({200, 204})
_REVOKE_SELF: Final = "auth/token/revoke-self"
# The names in an acquired credential's handle.
_TOKEN: Final = "token"  # noqa: S105 - a name
_LEASE_ID: Final = "lease_id"


def acquire(kind: VaultSecret, occasion: Occasion) -> SourceSteps:
    login = yield from _login(kind, occasion)
    if isinstance(login, Failed):
        return login
    outcome = yield from _read(kind, login, occasion)
    if isinstance(outcome, Acquired) and outcome.handle:
        return outcome
    # Whether it succeeds changes nothing of the outcome: the token then ends by itself. It also revokes the
    # lease of a secret that was given and could not be used.
    yield from http(_call(kind, _REVOKE_SELF, login.token))
    return outcome


def renew(kind: VaultSecret, acquired: Acquired, occasion: Occasion) -> SourceSteps:
    """First the token, with which the lease would end, then the lease: both by the span that it lasted."""
    asked = acquired.expires
    token, lease_id = acquired.handle.get(_TOKEN), acquired.handle.get(_LEASE_ID)
    if not isinstance(asked, timedelta) or token is None or lease_id is None:
        return Failed("Vault's lease cannot be renewed: it is acquired anew")
    seconds = max(int(asked.total_seconds()), 1)
    lease = {"lease_id": lease_id.reveal().decode(), "increment": seconds}
    spans = []
    for what, path, body, within in (
        ("the login's token", "auth/token/renew-self", {"increment": f"{seconds}s"}, "auth"),
        ("the lease", "sys/leases/renew", lease, ""),
    ):
        reply = yield from http(_call(kind, path, token, body))
        if isinstance(reply, StepFailed):
            return Failed(f"Vault could not be asked to renew {what}: {reply.message}")
        if reply.status != 200:
            return refused(f"Vault's renewal of {what}", reply, occasion.now)
        span = extended(reply, within, timedelta(seconds=seconds))
        if isinstance(span, str):
            return Failed(f"Vault's renewal of {what} {span}")
        spans.append(span)
    return Acquired(acquired.parts, min(spans), acquired.handle, renewable=True)


def revoke(kind: VaultSecret, acquired: Acquired, occasion: Occasion) -> RevokeSteps:
    """The token, and with it every lease that it was used for; if it cannot be revoked, the lease.

    In this order: the policy `default` allows the first and not the second, which would leave a refusal in
    Vault's audit log with every pod that ends. Batch tokens cannot be revoked, and their leases can.
    """
    token, lease_id = acquired.handle.get(_TOKEN), acquired.handle.get(_LEASE_ID)
    if token is None or lease_id is None:
        return None
    reply = yield from http(_call(kind, _REVOKE_SELF, token))
    if isinstance(reply, StepFailed):
        return Failed(f"Vault could not be asked to revoke: {reply.message}")
    if reply.status in _DONE:
        return None
    body = {"lease_id": lease_id.reveal().decode()}
    second = yield from http(_call(kind, "sys/leases/revoke", token, body))
    if isinstance(second, HttpReply) and second.status in _DONE:
        return None
    return refused("Vault's revocation", reply, occasion.now)


def _login(kind: VaultSecret, occasion: Occasion) -> Generator[Step, Reply, Login | Failed]:
    auth = kind.auth
    jwt = yield from pod_token(auth.audience)
    if isinstance(jwt, StepFailed):
        return Failed(f"the pod's token for Vault cannot be read: {jwt.message}")
    if not _IS_TOKEN(jwt.reveal()):
        return Failed(f"the pod's token for the audience `{auth.audience}` is no token")
    body = {"role": auth.role, "jwt": jwt.reveal().decode()}
    reply = yield from http(_call(kind, f"auth/{auth.mount}/login", None, body))
    if isinstance(reply, StepFailed):
        return Failed(f"Vault could not be asked for a login: {reply.message}")
    if reply.status != 200:
        return login_refused(kind, reply, occasion)
    login = login_of(reply)
    return login if isinstance(login, Login) else Failed(f"Vault's answer to the login {login}")


def _read(kind: VaultSecret, login: Login, occasion: Occasion) -> SourceSteps:
    read = kind.read
    if isinstance(read, VaultKv2):
        path = f"{read.mount}/data/{read.path}"
        query = "" if read.version is None else f"?version={read.version}"
        call = _call(kind, path, login.token, method="GET", query=query)
    else:
        path = read.path
        method = "POST" if read.parameters else "GET"
        call = _call(kind, path, login.token, dict(read.parameters), method=method)
    reply = yield from http(call)
    if isinstance(reply, StepFailed):
        return Failed(f"Vault could not be asked for `{path}`: {reply.message}")
    if reply.status != 200:
        return read_refused(kind, path, reply, occasion.now)
    given = secret_of(reply, read, login, occasion.now)
    if isinstance(given, str):
        return Failed(f"Vault's answer for `{path}` {given}")
    handle = {_TOKEN: login.token, _LEASE_ID: Secret(given.lease_id.encode())} if given.lease_id else {}
    return Acquired(given.parts, given.lifetime, handle, given.renewable)


def _call(
    kind: VaultSecret,
    path: str,
    token: Secret | None,
    body: Mapping[str, object] | None = None,
    *,
    method: str = "POST",
    query: str = "",
) -> HttpCall:
    """Vault takes POST and PUT for the same, by its documentation; newer pages name POST alone."""
    headers: list[tuple[str, str | Secret]] = [("X-Vault-Request", "true")]
    if kind.namespace:
        headers.append(("X-Vault-Namespace", kind.namespace))
    if token is not None:
        headers.append(("X-Vault-Token", token))
    sent = Secret(json.dumps(body).encode()) if body else None
    if sent is not None:
        headers.append(("Content-Type", "application/json"))
    return HttpCall(method, f"{kind.address}/v1/{quote(path)}{query}", tuple(headers), sent)
