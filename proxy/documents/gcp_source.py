"""`gcpWorkloadIdentity`: Google Cloud for pods of any cluster."""

import re
from datetime import timedelta
from typing import Any, Final

from proxy.core.gcp_source import (
    CLOUD_PLATFORM,
    PUBLIC_UNIVERSE,
    GcpWorkloadIdentity,
    Impersonation,
    default_audience,
)
from proxy.core.hosts import parse_hostname
from proxy.documents.problems import Fault
from proxy.documents.shapes import Field, ListOf, Record, Text
from proxy.documents.source_values import AUDIENCE, SCOPE, duration, written

# Google's own rules for the ids of pools and of providers: 4 to 32 of these (iam/docs/reference/rest).
_PROVIDER = (
    r"projects/[0-9]{1,19}/locations/global/workloadIdentityPools/[a-z0-9-]{4,32}/providers/[a-z0-9-]{4,32}"
)
# The same name as the console, gcloud and Terraform show it: in every universe under this host.
_PREFIX = r"(?:https:)?//iam\.googleapis\.com/"
_PROVIDER_EXAMPLE: Final = (
    "projects/123456789012/locations/global/workloadIdentityPools/acme-pool/providers/acme-cluster"
)

# By e-mail or by unique id. In a universe of its own, its name stands within the e-mail.
_ACCOUNT = r"[a-z0-9][a-z0-9-]{0,62}@[a-z0-9.-]{1,200}\.gserviceaccount\.com|[0-9]{15,25}"

# A longer chain of accounts is nobody's design.
MAX_DELEGATES: Final = 4


def _provider(text: str) -> str:
    name = re.sub(f"^{_PREFIX}", "", text)
    if re.fullmatch(_PROVIDER, name):
        return name
    fix = f"write its full name with the project's number: `{_PROVIDER_EXAMPLE}`"
    if re.match(r"projects/[^/]*[^/0-9][^/]*/", name):
        raise Fault(f"`{text}` names the project by its id, and Google takes its number here", fix)
    raise Fault(f"`{text}` is not the name of a provider of a workload identity pool", fix)


def _account(text: str) -> str:
    if not re.fullmatch(_ACCOUNT, text):
        fix = (
            "write its e-mail, such as `trainer@acme-ml.iam.gserviceaccount.com`, or its unique id in quotes"
        )
        raise Fault(f"`{text}` is not a service account of Google's", fix)
    return text


def _universe(text: str) -> str:
    host = parse_hostname(text)
    if host is None or "." not in host:
        raise Fault(f"`{text}` is not a universe domain", f"write a domain, such as `{PUBLIC_UNIVERSE}`")
    return host


_ACCOUNT_SHAPE = Text(
    "a service account", _account, f"^({_ACCOUNT})$", ("trainer@acme-ml.iam.gserviceaccount.com",)
)


def _gcp(  # noqa: PLR0917 - one for each key
    provider: str,
    service_account: str | None = None,
    delegates: tuple[str, ...] = (),
    scopes: tuple[str, ...] = (CLOUD_PLATFORM,),
    lifetime: timedelta | None = None,
    audience: str | None = None,
    universe: str = PUBLIC_UNIVERSE,
) -> GcpWorkloadIdentity:
    impersonation = None
    if service_account is not None:
        impersonation = Impersonation(service_account, delegates, lifetime)
    elif delegates:
        fix = "add `serviceAccount`, the last of the chain, or remove `delegates`"
        raise Fault("`delegates` lead nowhere without `serviceAccount`", fix, at="delegates")
    elif lifetime is not None:
        fix = "add `serviceAccount`, or remove `lifetime`: a pool's own token lives one hour"
        raise Fault("`lifetime` can only be chosen with `serviceAccount`", fix, at="lifetime")
    return GcpWorkloadIdentity(
        provider, audience or default_audience(provider), scopes, impersonation, universe
    )


FIELDS: Final = (
    Field(
        "gcpWorkloadIdentity",
        Record(
            "a Google Cloud workload identity",
            (
                Field(
                    "provider",
                    Text(
                        "the provider of a workload identity pool",
                        _provider,
                        f"^(?:{_PREFIX})?{_PROVIDER}$",
                        (_PROVIDER_EXAMPLE,),
                    ),
                    "The full name of the provider, with or without `//iam.googleapis.com/` before it.",
                    required=True,
                ),
                Field(
                    "serviceAccount",
                    _ACCOUNT_SHAPE,
                    "The service account that the pod acts as. Without it, roles are granted to the pool's "
                    "principal.",
                ),
                Field(
                    "delegates",
                    ListOf(_ACCOUNT_SHAPE, most=MAX_DELEGATES),
                    "Service accounts in between, each of which may impersonate the next.",
                ),
                Field("scopes", ListOf(SCOPE), f"The token's scopes; `{CLOUD_PLATFORM}` alone if left out."),
                Field(
                    "lifetime",
                    duration("a lifetime", "5m", "12h"),
                    "How long a token of `serviceAccount` lives; one hour if left out. More needs an "
                    "organisation policy.",
                ),
                Field(
                    "audience",
                    AUDIENCE,
                    "The audience of the pod's token; if left out, the one that providers allow by default.",
                ),
                Field(
                    "universe",
                    Text(
                        "a universe domain",
                        _universe,
                        r"^[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+$",
                        (PUBLIC_UNIVERSE,),
                    ),
                    f"The universe domain of a sovereign cloud; `{PUBLIC_UNIVERSE}` if left out.",
                ),
            ),
            _gcp,
        ),
        "An access token of Google Cloud for the pod's identity (workload identity federation), with or "
        "without a service account in between.",
    ),
)


def rendered(kind: GcpWorkloadIdentity) -> dict[str, Any]:
    keys: dict[str, Any] = {"provider": kind.provider}
    if (acting := kind.impersonation) is not None:
        keys["serviceAccount"] = acting.service_account
        if acting.delegates:
            keys["delegates"] = list(acting.delegates)
        if acting.lifetime is not None:
            keys["lifetime"] = written(acting.lifetime)
    if kind.scopes != (CLOUD_PLATFORM,):
        keys["scopes"] = list(kind.scopes)
    if kind.audience != default_audience(kind.provider):
        keys["audience"] = kind.audience
    if kind.universe != PUBLIC_UNIVERSE:
        keys["universe"] = kind.universe
    return {"gcpWorkloadIdentity": keys}
