"""Hypothesis strategies for the kinds that federate with a cloud or a model provider."""

from datetime import timedelta

from hypothesis import strategies as st

from proxy.core.azure_source import AzureCloud, AzureWorkloadIdentity
from proxy.core.gcp_source import CLOUD_PLATFORM, GcpWorkloadIdentity, Impersonation, default_audience
from proxy.core.llm_source import AnthropicFederation, LlmWorkloadIdentity, OpenAiFederation

_AUDIENCES = st.from_regex(r"[\x21-\x7e]{1,12}", fullmatch=True)
_UUIDS = st.uuids().map(str)

_PROVIDERS = st.from_regex(
    r"projects/[0-9]{1,19}/locations/global/workloadIdentityPools/[a-z0-9-]{4,8}/providers/[a-z0-9-]{4,8}",
    fullmatch=True,
)
_ACCOUNTS = st.from_regex(
    r"[a-z][a-z0-9-]{0,8}@[a-z]{1,8}\.iam\.gserviceaccount\.com|[1-9][0-9]{20}", fullmatch=True
)
_GOOGLE_SCOPES = st.just((CLOUD_PLATFORM,)) | st.lists(
    st.from_regex(r"https://www\.googleapis\.com/auth/[a-z.]{1,8}", fullmatch=True),
    min_size=1,
    max_size=3,
    unique=True,
).map(tuple)
_IMPERSONATIONS = st.builds(
    Impersonation,
    _ACCOUNTS,
    st.lists(_ACCOUNTS, max_size=3, unique=True).map(tuple),
    st.none() | st.integers(300, 43_200).map(lambda seconds: timedelta(seconds=seconds)),
)


@st.composite
def gcp_kinds(draw: st.DrawFn) -> GcpWorkloadIdentity:
    provider = draw(_PROVIDERS)
    return GcpWorkloadIdentity(
        provider,
        draw(st.just(default_audience(provider)) | _AUDIENCES),
        draw(_GOOGLE_SCOPES),
        draw(st.none() | _IMPERSONATIONS),
        draw(st.sampled_from(("googleapis.com", "s3nsapis.fr", "apis.acme.example"))),
    )


AZURE_KINDS = st.builds(
    AzureWorkloadIdentity,
    _UUIDS | st.sampled_from(("acme.onmicrosoft.com", "acme.example")),
    _UUIDS,
    st.sampled_from(("https://storage.azure.com", "https://management.azure.com/", "api://app")).map(
        lambda resource: f"{resource}/.default"
    ),
    st.sampled_from(AzureCloud).map(lambda cloud: cloud.authority)
    | st.just("https://login.acme.example/adfs"),
    st.sampled_from(AzureCloud).map(lambda cloud: cloud.audience) | _AUDIENCES,
)

_IDS = st.from_regex(r"[A-Za-z_-][A-Za-z0-9_-]{0,12}", fullmatch=True)
LLM_KINDS = st.builds(
    LlmWorkloadIdentity,
    st.builds(OpenAiFederation, _IDS, _IDS, st.just("https://api.openai.com/v1") | _AUDIENCES)
    | st.builds(
        AnthropicFederation,
        st.from_regex("fdrl_[A-Za-z0-9]{1,12}", fullmatch=True),
        _UUIDS,
        st.from_regex("svac_[A-Za-z0-9]{1,12}", fullmatch=True),
        st.none() | st.just("default") | st.from_regex("wrkspc_[A-Za-z0-9]{1,12}", fullmatch=True),
        st.just("https://api.anthropic.com") | _AUDIENCES,
    ),
)

FEDERATIONS = st.one_of(gcp_kinds(), AZURE_KINDS, LLM_KINDS)
