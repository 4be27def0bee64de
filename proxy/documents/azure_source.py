"""`azureWorkloadIdentity`: Azure for pods of any cluster."""

import re
from typing import Any, Final

from proxy.core.azure_source import AzureCloud, AzureWorkloadIdentity, cloud_at
from proxy.core.hosts import parse_hostname
from proxy.documents.problems import Fault
from proxy.documents.shapes import Choice, Field, Record, Text
from proxy.documents.source_values import AUDIENCE, BASE_URL

_UUID: Final = r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
_EXAMPLE: Final = "00000000-0000-0000-0000-000000000000"
_DEFAULT: Final = "/.default"
# RFC 6749 §3.3, as one resource with all that was consented to.
_SCOPE: Final = r"[\x21\x23-\x5b\x5d-\x7e]{1,512}/\.default"
# Stand for whichever tenant somebody signs in to; a workload has one.
_NO_TENANTS: Final = frozenset({"common", "organizations", "consumers"})


def _tenant(text: str) -> str:
    if re.fullmatch(_UUID, text):
        return text.lower()
    fix = f"write the tenant's id (`{_EXAMPLE}`) or one of its domains (`acme.example`)"
    if text.lower() in _NO_TENANTS:
        raise Fault(f"`{text}` stands for any tenant, and a workload has one", fix)
    host = parse_hostname(text)
    if host is None or "." not in host:
        raise Fault(f"`{text}` is not a tenant", fix)
    return host


def _client(text: str) -> str:
    if not re.fullmatch(_UUID, text):
        fix = "write the application (client) id; it is neither its name nor its object id"
        raise Fault(f"`{text}` is not a client id", fix)
    return text.lower()


def _scope(text: str) -> str:
    if " " in text.strip():
        fix = "write one source for each resource: a token is good for one"
        raise Fault("there are several scopes", fix)
    if not re.fullmatch(_SCOPE, text):
        resource = text.rstrip("/") if re.match(r"[a-z]+://[!-~]+$", text) else "https://storage.azure.com"
        fix = f"write `{resource}{_DEFAULT}`; what it may do is decided by the application's roles"
        raise Fault(f"`{text}` is no resource with `{_DEFAULT}`", fix)
    return text


def _azure(  # noqa: PLR0917 - one for each key
    tenant: str,
    client_id: str,
    scope: str,
    cloud: AzureCloud | None = None,
    authority_host: str | None = None,
    audience: str | None = None,
) -> AzureWorkloadIdentity:
    if cloud is not None and authority_host is not None:
        fix = "keep `cloud`; `authorityHost` is for clouds that it does not know"
        raise Fault("`cloud` and `authorityHost` say the same twice", fix, at="authorityHost")
    authority = authority_host or (cloud or AzureCloud.PUBLIC).authority
    usual = (cloud_at(authority) or AzureCloud.PUBLIC).audience
    return AzureWorkloadIdentity(tenant, client_id, scope, authority, audience or usual)


FIELDS: Final = (
    Field(
        "azureWorkloadIdentity",
        Record(
            "an Azure workload identity",
            (
                Field(
                    "tenant",
                    Text("a tenant", _tenant, r"^[A-Za-z0-9.-]+$", (_EXAMPLE,)),
                    "The Entra tenant: its id, or one of its domains.",
                    required=True,
                ),
                Field(
                    "clientId",
                    Text("a client id", _client, f"^{_UUID}$", (_EXAMPLE,)),
                    "The client id of the application or of the user-assigned managed identity.",
                    required=True,
                ),
                Field(
                    "scope",
                    Text(
                        "a resource with `/.default`",
                        _scope,
                        r"^.+/\.default$",
                        ("https://storage.azure.com/.default",),
                    ),
                    "The one resource that the token is for, with `/.default` behind it.",
                    required=True,
                ),
                Field("cloud", Choice(AzureCloud), "Which cloud; `public` if left out."),
                Field(
                    "authorityHost",
                    BASE_URL,
                    "Instead of `cloud`: the address of the authority of another cloud, or a private one.",
                ),
                Field(
                    "audience",
                    AUDIENCE,
                    "The audience of the pod's token, as the federated credential names it; if left out, the "
                    "cloud's usual one.",
                ),
            ),
            _azure,
        ),
        "An access token of Entra ID for the pod's identity: the pod's token is a federated credential of an "
        "application or of a managed identity.",
    ),
)


def rendered(kind: AzureWorkloadIdentity) -> dict[str, Any]:
    keys: dict[str, Any] = {"tenant": kind.tenant, "clientId": kind.client_id, "scope": kind.scope}
    cloud = cloud_at(kind.authority)
    if cloud is None:
        keys["authorityHost"] = kind.authority
    elif cloud is not AzureCloud.PUBLIC:
        keys["cloud"] = cloud.value
    if kind.audience != (cloud or AzureCloud.PUBLIC).audience:
        keys["audience"] = kind.audience
    return {"azureWorkloadIdentity": keys}
