"""Frozen values back into documents. `parse(render(x)) == x` for every value that can be read.

The injector writes what it compiled with this; people get it when they ask for the normal form.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, assert_never

from proxy.core.aws_sources import AwsStatic, AwsWebIdentity
from proxy.core.azure_source import AzureWorkloadIdentity
from proxy.core.contract import ACCESS_POLICY, API_VERSION, CREDENTIAL_SOURCE
from proxy.core.credentials import (
    AttachScheme,
    Basic,
    Bearer,
    CredentialSource,
    Derived,
    EcrToken,
    Header,
    QueryParameter,
    SigV4,
    SourceKind,
    scheme_name,
)
from proxy.core.gcp_source import GcpWorkloadIdentity
from proxy.core.github_source import GitHubApp
from proxy.core.labels import LabelSelector
from proxy.core.llm_source import LlmWorkloadIdentity
from proxy.core.mounted_sources import MountedSecret
from proxy.core.oauth_sources import Oauth2ClientCredentials, TokenExchange
from proxy.core.policy import (
    DEFAULT_PORTS,
    DEFAULT_STORE_REGION,
    AccessPolicy,
    Addressing,
    ForeignPresigned,
    Gpu,
    Grant,
    Limits,
    Mode,
    OnForeignCredential,
    OnRevoke,
    StoreEndpoint,
)
from proxy.core.validity import Validity, WeeklyWindow
from proxy.core.vault_source import VaultSecret
from proxy.documents import (
    aws_sources,
    azure_source,
    gcp_source,
    github_source,
    llm_source,
    mounted_sources,
    oauth_sources,
    vault_source,
)
from proxy.documents.store_endpoints import written_location
from proxy.documents.yaml_nodes import write_documents

JsonObject = dict[str, Any]


def render(documents: Iterable[AccessPolicy | CredentialSource]) -> str:
    """YAML text, one document each."""
    return write_documents([render_one(document) for document in documents])


def render_one(document: AccessPolicy | CredentialSource) -> JsonObject:
    """The object that the API server would hold."""
    match document:
        case AccessPolicy():
            kind, spec = ACCESS_POLICY, _policy(document)
        case CredentialSource():
            kind, spec = CREDENTIAL_SOURCE, _source(document)
        case _:
            assert_never(document)
    metadata = {"name": document.name, "namespace": document.namespace}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}


def _kept(**keys: object) -> JsonObject:
    """Without what is empty: that is how a document says nothing about it."""
    return {key: value for key, value in keys.items() if value not in (None, [], {})}


def _policy(policy: AccessPolicy) -> JsonObject:
    who = policy.workloads
    images = who.images
    workloads = _kept(
        serviceAccounts=list(who.service_accounts),
        podSelector=_selector(who.pod_selector) if who.pod_selector else None,
        namespaceSelector=_selector(who.namespaces) if who.namespaces else None,
        gpu=None if who.gpu is Gpu.ANY else who.gpu.value,
        images=images
        and _kept(
            repositories=[pattern.text.removeprefix("/") for pattern in images.repositories],
            digests=list(images.digests),
        ),
    )
    return _kept(
        workloads=workloads,
        mode=None if policy.mode is Mode.ENFORCE else policy.mode.value,
        validity=_validity(policy.validity),
        onRevoke=None if policy.on_revoke is OnRevoke.FINISH else policy.on_revoke.value,
        grants=[_grant(grant) for grant in policy.grants],
        limits=_limits(policy.limits) if policy.limits is not None else None,
    )


def _limits(limits: Limits) -> JsonObject:
    return _kept(hosts=[host.text for host in limits.hosts], services=list(limits.services))


def _selector(selector: LabelSelector) -> JsonObject:
    return _kept(
        matchLabels=dict(selector.match_labels),
        matchExpressions=[
            _kept(key=need.key, operator=need.operator.value, values=list(need.values))
            for need in selector.match_expressions
        ],
    )


def _validity(validity: Validity) -> JsonObject:
    return _kept(
        notBefore=_timestamp(validity.not_before),
        notAfter=_timestamp(validity.not_after),
        windows=[_window(window) for window in validity.windows],
    )


def _timestamp(when: datetime | None) -> str | None:
    return None if when is None else when.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _window(window: WeeklyWindow) -> JsonObject:
    return {
        "days": [day.name.capitalize() for day in window.days],
        "from": _clock(window.start_minute),
        "to": _clock(window.end_minute),
        "timeZone": str(window.zone),
    }


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


def _grant(grant: Grant) -> JsonObject:
    replaces = grant.on_foreign_credential is OnForeignCredential.REPLACE
    passes = grant.foreign_presigned is ForeignPresigned.PASS
    says_ports = grant.endpoint is None and grant.ports != DEFAULT_PORTS
    return _kept(
        service=grant.service,
        **(_store(grant.endpoint, grant.ports) if grant.endpoint else {}),
        hosts=[host.text for host in grant.hosts],
        ports=list(grant.ports) if says_ports else None,
        methods=list(grant.methods),
        paths=[path.text for path in grant.paths],
        query={key: list(values) for key, values in grant.query},
        pins={name: [glob.text for glob in globs] for name, globs in grant.pins},
        prefixes=list(grant.prefixes),
        access=[access.value for access in grant.access],
        actions=list(grant.actions),
        expectedBucketOwner=grant.expected_bucket_owner,
        credential=grant.credential,
        allowMinting=list(grant.allow_minting),
        onForeignCredential=None if replaces else grant.on_foreign_credential.value,
        foreignPresigned=grant.foreign_presigned.value if passes else None,
    )


def _store(store: StoreEndpoint, ports: tuple[int, ...]) -> JsonObject:
    return {
        "endpoint": written_location(store, ports),
        "region": None if store.region == DEFAULT_STORE_REGION else store.region,
        "addressing": None if store.addressing is Addressing.PATH else store.addressing.value,
    }


def _source(source: CredentialSource) -> JsonObject:
    return _kept(**_kind(source.kind), attach=_attach(source.attach) if source.attach else None)


def kind_name(kind: SourceKind) -> str:
    """The key that a document writes."""
    (name,) = _kind(kind)
    return name


def _kind(kind: SourceKind) -> JsonObject:
    match kind:
        case MountedSecret():
            return mounted_sources.rendered(kind)
        case Oauth2ClientCredentials() | TokenExchange():
            return oauth_sources.rendered(kind)
        case GcpWorkloadIdentity():
            return gcp_source.rendered(kind)
        case AzureWorkloadIdentity():
            return azure_source.rendered(kind)
        case LlmWorkloadIdentity():
            return llm_source.rendered(kind)
        case VaultSecret():
            return vault_source.rendered(kind)
        case GitHubApp():
            return github_source.rendered(kind)
        case AwsWebIdentity() | AwsStatic():
            return aws_sources.rendered(kind)
        case Derived():
            raise TypeError("a derived credential stands in no document; its base does")
        case _:
            assert_never(kind)


def _attach(scheme: AttachScheme) -> JsonObject:
    match scheme:
        case Bearer() | SigV4() | EcrToken():
            return {scheme_name(scheme): {}}
        case Basic(username):
            return {"basic": {} if username is None else {"username": username}}
        case Header(name, prefix):
            return {"header": {"name": name, **({"prefix": prefix} if prefix else {})}}
        case QueryParameter(name):
            return {"query": {"name": name}}
        case _:
            assert_never(scheme)
