"""What Vault's refusals mean: its own words, and what most often has to be corrected."""

from datetime import datetime
from typing import Final

from proxy.core.vault_source import VaultKv2, VaultMethod, VaultSecret
from proxy.sources.answers import refusal
from proxy.sources.steps import Failed, HttpReply, Occasion
from proxy.sources.vault_answers import deleted

# Whatever was asked. Vault's API documentation, "HTTP status codes", and what load balancers pass on.
_BY_STATUS: Final = {
    307: "`address` leads to a standby that redirects, which is not followed: name the active node",
    412: "this node lacks the newest state of the cluster; it is asked again",
    429: "a quota is used up, or `address` leads to a standby: raise the quota, or name the active node",
    472: "`address` leads to a disaster-recovery secondary: name the primary",
    473: "`address` leads to a performance standby: name the active node",
    500: "see Vault's own log",
    501: "Vault is not initialised",
    502: "a service that Vault asked itself has failed: see Vault's own log",
    503: "Vault is sealed or in maintenance: unseal it",
}

# What a login's refusal says, in lower case, and what to do about it. The first that fits.
_LOGIN: Final = (
    ("service account name not authorized", "add `{account}` to the role's bound_service_account_names"),
    ("namespace not authorized", "add `{namespace}` to the role's bound_service_account_namespaces"),
    ("invalid role name", "create the role in `auth/{mount}`, or correct `role`"),
    ("could not be found", "create the role in `auth/{mount}`, or correct `role`"),
    ("audience", "let the role's {audience_field} name `{audience}`"),
    ("bound claim", "let the role's bound_claims fit the service account `{namespace}/{account}`"),
    ("subject", "let the role's bound_subject be `system:serviceaccount:{namespace}:{account}`"),
    ("expired", "Vault's clock and the cluster's differ"),
    ("issuer", "let the issuer in `auth/{mount}/config` be the cluster's"),
    ("iss)", "let the issuer in `auth/{mount}/config` be the cluster's"),
    ("signature", "let `auth/{mount}/config` name the keys of this cluster"),
    ("no handler for route", "enable the auth method at `auth/{mount}`, or correct `mount` and `namespace`"),
    ("unsupported path", "enable the auth method at `auth/{mount}`, or correct `mount` and `namespace`"),
)
# Vault hides here what it found: `permission denied` is all that it says.
_LOGIN_DENIED: Final = {
    VaultMethod.KUBERNETES: (
        "check that an auth method is at `auth/{mount}`, and that the cluster lets Vault review tokens "
        "(kubernetes_host, kubernetes_ca_cert, the cluster role system:auth-delegator)"
    ),
    VaultMethod.JWT: "check that an auth method is at `auth/{mount}`, and `namespace`",
}
_AUDIENCE_FIELDS: Final = {VaultMethod.KUBERNETES: "audience", VaultMethod.JWT: "bound_audiences"}


_ABSENT_KV2: Final = (
    "there is no such secret, or no key-value engine of version 2 at `{mount}`: correct `mount` and `path`, "
    "which is written without `data/`"
)
_ABSENT: Final = (
    "nothing answers there: correct `path` and `namespace`; the key-value engine, version 2, is read by `kv2`"
)


def login_refused(kind: VaultSecret, reply: HttpReply, occasion: Occasion) -> Failed:
    auth = kind.auth
    refused = refusal(f"Vault's login with the role `{auth.role}`", reply, occasion.now)
    said = refused.message.lower()
    hint = next((fix for words, fix in _LOGIN if words in said), "")
    if not hint and reply.status in {403, 404}:
        hint = _LOGIN_DENIED[auth.method]
    named = hint.format(
        account=occasion.identity.service_account,
        namespace=occasion.identity.namespace,
        mount=auth.mount,
        audience=auth.audience,
        audience_field=_AUDIENCE_FIELDS[auth.method],
    )
    return _with(refused, named or _BY_STATUS.get(reply.status, ""))


def read_refused(kind: VaultSecret, path: str, reply: HttpReply, now: datetime) -> Failed:
    refused = refusal(f"Vault's read of `{path}`", reply, now)
    return _with(refused, _read_hint(kind, reply) or _BY_STATUS.get(reply.status, ""))


def _read_hint(kind: VaultSecret, reply: HttpReply) -> str:
    read = kind.read
    writes = not isinstance(read, VaultKv2) and bool(read.parameters)
    match reply.status:
        case 403:
            capability = "update" if writes else "read"
            return (
                f"let a policy of the role `{kind.auth.role}` allow `{capability}` there, or correct the path"
            )
        case 404 if isinstance(read, VaultKv2):
            return deleted(reply) or _ABSENT_KV2.format(mount=read.mount)
        case 404:
            return _ABSENT
        case 405:
            return "this path takes no `parameters`" if writes else "this path wants `parameters`"
        case _:
            return ""


def refused(what: str, reply: HttpReply, now: datetime) -> Failed:
    """Renewing and revoking, which the policy `default` allows."""
    said = refusal(what, reply, now)
    if reply.status == 403:
        return _with(said, "the token has ended, or the role's policies lack `default`")
    return _with(said, _BY_STATUS.get(reply.status, ""))


def _with(refused: Failed, hint: str) -> Failed:
    said = refused.message
    return Failed(f"{said.removesuffix('.')}: {hint}" if hint else said, refused.retry_after)
