"""Azure: the pod's token is the client assertion of an application in Entra ID.

The wire is the third case of learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow
(access token request with a federated credential). The codes are those of entra/identity-platform/
reference-error-codes and, where that page lists none, of azure-workload-identity's troubleshooting page.
"""

import re
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

from proxy.core.azure_source import AzureWorkloadIdentity
from proxy.sources.answers import json_object, text_of
from proxy.sources.exchanging import asked, bearer_token, form_call, pod_token, refused
from proxy.sources.steps import Failed, HttpCall, HttpReply, Occasion, SourceSteps, StepFailed

ENTRA: Final = "Entra ID"
# RFC 7523 §2.2
ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

_ISSUER = "check the issuer of its federated credential: it is the cluster's, letter by letter"
_SUBJECT = "check that a federated credential of it has the subject `{subject}`"
_AUDIENCE = "check that its federated credential has the audience `{audience}`"
_OUTDATED = "check that the kubelet still renews the pod's token, and the node's clock"
_TENANT = "check `tenant`, and that `cloud` is the one it lives in"
_UNREACHABLE = "Entra ID must reach the issuer's OpenID configuration over the public internet"
_ROLE = "check that the application may use the resource"

# Numbers of AADSTS errors, and which part of the set-up they speak of.
HINTS: Final = {
    50013: "check that the issuer publishes the key that signed the pod's token",
    50027: "check that the pod's token comes from the issuer that the federated credential names",
    50166: _UNREACHABLE,
    53003: "a conditional access policy for workload identities refuses it",
    70011: "check `scope`",
    70021: "check issuer, subject (`{subject}`) and audience (`{audience}`) of its federated credential",
    90002: _TENANT,
    90061: _UNREACHABLE,
    500011: "check that the resource in `scope` exists in the tenant",
    501051: _ROLE,
    501661: _UNREACHABLE,
    700016: "check `clientId`, and that the application is in the tenant `{tenant}`",
    700024: _OUTDATED,
    700027: "check that the issuer publishes the key that signed the pod's token",
    700211: _ISSUER,
    700212: _AUDIENCE,
    700213: _SUBJECT,
    900023: _TENANT,
    1002012: "check `scope`",
    7000112: "the application is disabled in the tenant: enable its service principal",
    7000215: "the application expects a client secret: add a federated credential to it",
    7002131: "check the claims expression of its federated credential against the subject `{subject}`",
}


def acquire(kind: AzureWorkloadIdentity, occasion: Occasion) -> SourceSteps:
    assertion = yield from pod_token(kind.audience)
    if isinstance(assertion, StepFailed):
        return Failed(assertion.message)
    reply = yield from asked(ENTRA, _request(kind, assertion))
    if isinstance(reply, StepFailed):
        return Failed(reply.message)
    if reply.status != HTTPStatus.OK:
        return refused(ENTRA, reply, occasion.now, _hint(kind, occasion, reply))
    return bearer_token(ENTRA, reply, occasion.now)


def _request(kind: AzureWorkloadIdentity, assertion: str) -> HttpCall:
    return form_call(
        f"{kind.authority}/{quote(kind.tenant, safe='')}/oauth2/v2.0/token",
        {
            "grant_type": "client_credentials",
            "client_id": kind.client_id,
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": assertion,
            "scope": kind.scope,
        },
    )


def _hint(kind: AzureWorkloadIdentity, occasion: Occasion, reply: HttpReply) -> str:
    who = occasion.identity
    hint = next((HINTS[code] for code in _codes(reply) if code in HINTS), "")
    return hint.format(
        tenant=kind.tenant,
        audience=kind.audience,
        subject=f"system:serviceaccount:{who.namespace}:{who.service_account}",
    )


def _codes(reply: HttpReply) -> list[int]:
    """The numbers from `error_codes`, then the one that the description begins with."""
    found = json_object(reply) or {}
    listed = found.get("error_codes")
    codes = [code for code in listed if isinstance(code, int)] if isinstance(listed, list) else []
    told = re.match(r"AADSTS([0-9]{1,9})\b", text_of(found, "error_description"))
    return [*codes, int(told[1])] if told else codes
