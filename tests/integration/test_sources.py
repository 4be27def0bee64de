"""Whole chains: the pod's projected token becomes a credential of a provider, and travels on a request.

The providers are stand-ins that verify what the real ones do (tests/stand_ins says by which documents); TLS,
the sidecar, the redirect and the files of the kubelet are real.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.canary import Canary
from tests.netns import MISSING
from tests.pod_world import fetch
from tests.sidecar_pod import ACCOUNT, NAMESPACE, SidecarPod, sidecar_pod, wait_for
from tests.stand_in_server import PROVIDERS, StandInServer
from tests.stand_ins.anthropic_federation import AnthropicTokens
from tests.stand_ins.assertions import RelyingParty
from tests.stand_ins.azure import Entra
from tests.stand_ins.github import GitHub, PrivateKey
from tests.stand_ins.google import PROVIDER, Google
from tests.stand_ins.openai_federation import OpenAiTokens
from tests.stand_ins.vault import Engine, Role, Vault
from tests.upstream_requests import Request
from tests.upstreams import Upstream, tls_context

API = "api.acme.example"
SUBJECT = f"system:serviceaccount:{NAMESPACE}:{ACCOUNT}"
CLIENT = "66666666-7777-8888-9999-aaaaaaaaaaaa"
TENANT = "11111111-2222-3333-4444-555555555555"


@pytest.fixture
def pod(canary: Canary) -> Iterator[SidecarPod]:
    if MISSING:
        pytest.skip(MISSING)
    with sidecar_pod(canary, internet=[PROVIDERS]) as pod:
        yield pod


def documents(kind: Mapping[str, Any], attach: Mapping[str, Any] | None = None) -> str:
    """A grant for the API, and its source."""
    grant = {"hosts": [API], "credential": "own"}
    parts: list[dict[str, Any]] = [
        {
            "kind": "AccessPolicy",
            "metadata": {"name": "train", "namespace": NAMESPACE},
            "spec": {"workloads": {"serviceAccounts": [ACCOUNT]}, "grants": [grant]},
        },
        {
            "kind": "CredentialSource",
            "metadata": {"name": "own", "namespace": NAMESPACE},
            "spec": {**kind, "attach": attach or {"bearer": {}}},
        },
    ]
    return "\n---\n".join(json.dumps({"apiVersion": "podkey.io/v1alpha1", **part}) for part in parts)


@dataclass
class Chain:
    """`host` answers as the provider; `issued` is what it gave out, the last at the end."""

    host: str
    answer: Callable[..., Any]
    kind: Mapping[str, Any]
    audience: str
    issued: Callable[[], list[str]]
    port: int = 443
    secrets: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict)


def azure(party: RelyingParty, _canary: Canary) -> Chain:
    entra = Entra(party, subject=SUBJECT)
    kind = {"tenant": TENANT, "clientId": CLIENT, "scope": "https://storage.azure.com/.default"}
    return Chain(
        "login.microsoftonline.com",
        entra.answer,
        {"azureWorkloadIdentity": kind},
        "api://AzureADTokenExchange",
        lambda: entra.issued,
    )


def google(party: RelyingParty, _canary: Canary) -> Chain:
    cloud = Google(party)
    return Chain(
        "sts.googleapis.com",
        cloud.answer,
        {"gcpWorkloadIdentity": {"provider": PROVIDER}},
        f"https://iam.googleapis.com/{PROVIDER}",
        lambda: list(cloud.issued),
    )


def openai(party: RelyingParty, _canary: Canary) -> Chain:
    tokens = OpenAiTokens(party, mappings={SUBJECT: "example-account"})
    kind = {"openai": {"identityProviderId": "example-provider", "serviceAccountId": "example-account"}}
    return Chain(
        "auth.openai.com",
        tokens.answer,
        {"llmWorkloadIdentity": kind},
        "https://api.openai.com/v1",
        lambda: tokens.issued,
    )


def anthropic(party: RelyingParty, _canary: Canary) -> Chain:
    tokens = AnthropicTokens(party, subject_prefix=SUBJECT)
    kind = {
        "federationRuleId": "fdrl_example",
        "organizationId": TENANT,
        "serviceAccountId": "svac_example",
    }
    return Chain(
        "api.anthropic.com",
        tokens.answer,
        {"llmWorkloadIdentity": {"anthropic": kind}},
        "https://api.anthropic.com",
        lambda: [f"stand-in-{len(tokens.used)}"],
    )


def github(party: RelyingParty, _canary: Canary) -> Chain:
    key = PrivateKey()
    hub = GitHub(key, party.now)
    kind = {
        "clientId": "Iv23liABCDEF",
        "installationId": 147419836,
        "privateKey": {"secretName": "app", "key": "key.pem"},
        "repositories": ["models"],
        "permissions": {"contents": "read"},
    }
    return Chain(
        "api.github.com",
        hub.answer,
        {"githubApp": kind},
        "",
        lambda: list(hub.tokens),
        secrets={"app": {"key.pem": key.pem}},
    )


CHAINS = [azure, google, openai, anthropic, github]


def party_of(pod: SidecarPod) -> RelyingParty:
    return RelyingParty.of(pod.issuer, datetime.now(UTC), timedelta(seconds=60))


def prepare(pod: SidecarPod, chain: Chain) -> None:
    audiences = {chain.audience: pod.new_token(chain.audience)} if chain.audience else {}
    pod.write_tokens(audiences)


def api(pod: SidecarPod) -> Upstream:
    pod.resolve(API)
    return Upstream(tls_context(*pod.upstream_certificate(API)), {"/v1/x": authorised}, ns=pod.network.net)


def authorised(request: Request) -> None:
    request.read()
    request.answer(200, b"fine", "text/plain")


@pytest.mark.parametrize("make", CHAINS, ids=lambda make: make.__name__)
def test_the_pods_token_becomes_a_credential_that_the_app_never_sees(
    pod: SidecarPod, canary: Canary, make: Callable[[RelyingParty, Canary], Chain]
) -> None:
    chain = make(party_of(pod), canary)
    prepare(pod, chain)
    with api(pod) as upstream, StandInServer(pod, chain.host, chain.answer, port=chain.port) as provider:
        pod.start_sidecar(documents(chain.kind), chain.secrets)
        first, second = fetch(pod, API, "/v1/x"), fetch(pod, API, "/v1/x")

    assert (first.status, first.body, second.status) == (200, b"fine", 200)
    token = chain.issued()[-1]
    assert [request.header("authorization") for request in upstream.requests] == [[f"Bearer {token}"]] * 2
    # One exchange serves both.
    assert len({(request.method, request.target) for request in provider.requests}) == len(provider.requests)
    records = pod.sidecar.wait_audit(2)
    assert {record["evidence"] for record in records} == {"token"}
    assert len({record["leaseId"] for record in records}) == 1
    for text in (pod.sidecar.log(), pod.sidecar.metrics_text(), json.dumps(records)):
        assert token not in text
    assert pod.sidecar.metric("podkey_source_requests_total", outcome="ok") == len(provider.requests)
    assert pod.sidecar.metric("podkey_lease_events_total", event="acquired") == 1


@pytest.mark.parametrize("make", [azure, google, openai, anthropic], ids=lambda make: make.__name__)
def test_a_token_for_somebody_else_is_refused_by_the_provider_and_the_reason_is_shown(
    pod: SidecarPod, canary: Canary, make: Callable[[RelyingParty, Canary], Chain]
) -> None:
    chain = make(party_of(pod), canary)
    pod.write_tokens({chain.audience: pod.new_token("https://elsewhere.example.com")})
    with api(pod) as upstream, StandInServer(pod, chain.host, chain.answer, port=chain.port):
        pod.start_sidecar(documents(chain.kind), chain.secrets)
        answer = fetch(pod, API, "/v1/x")

    assert answer.headers["podkey-reason"] == "credential_unavailable"
    assert b" answered 4" in answer.body
    assert upstream.requests == []


def test_a_token_that_is_not_mounted_is_named_with_the_file(pod: SidecarPod, canary: Canary) -> None:
    chain = azure(party_of(pod), canary)
    pod.write_tokens({})
    pod.start_sidecar(documents(chain.kind))
    with api(pod):
        answer = fetch(pod, API, "/v1/x")

    assert b"no token for the audience api://AzureADTokenExchange is mounted" in answer.body
    assert b"sha256-" in answer.body


VAULT = "vault.example.com"
DYNAMIC = {
    "vault": {
        "address": f"https://{VAULT}:8200",
        "auth": {"kubernetes": {"role": "trainer", "audience": "vault"}},
        "read": {"dynamic": {"path": "keys/creds/trainer", "fields": {"token": "key"}}},
    }
}


def vault_of(pod: SidecarPod, canary: Canary) -> Vault:
    vault = Vault(pod.issuer, datetime.now(UTC))
    policy = {"keys/creds/trainer": {"read"}}
    vault.roles["kubernetes", "trainer"] = Role(names=(ACCOUNT,), namespaces=(NAMESPACE,), policy=policy)
    vault.engines["keys/creds/trainer"] = Engine(lambda _: {"key": canary.secret("of Vault")})
    return vault


def test_what_vault_made_for_the_pod_ends_with_the_pod(pod: SidecarPod, canary: Canary) -> None:
    vault = vault_of(pod, canary)
    pod.write_tokens({"vault": pod.new_token("vault")})
    with api(pod) as upstream, StandInServer(pod, VAULT, vault.answer, port=8200):
        pod.start_sidecar(documents(DYNAMIC))
        assert fetch(pod, API, "/v1/x").status == 200
        assert len(vault.leases) == len(vault.tokens) == 1
        assert pod.sidecar.stop() == 0

    assert vault.tokens == {}
    assert not vault.accepts()
    assert len(upstream.requests) == 1
    assert "a lease was revoked" in pod.sidecar.log()


def test_a_source_that_is_taken_away_is_revoked_within_a_second_though_a_grant_still_names_it(
    pod: SidecarPod, canary: Canary
) -> None:
    vault = vault_of(pod, canary)
    pod.write_tokens({"vault": pod.new_token("vault")})
    with api(pod), StandInServer(pod, VAULT, vault.answer, port=8200):
        pod.start_sidecar(documents(DYNAMIC))
        assert fetch(pod, API, "/v1/x").status == 200
        pod.write_policy(documents(DYNAMIC).partition("\n---\n")[0])
        wait_for(lambda: not vault.accepts(), "the lease to be revoked", seconds=5)
        answer = fetch(pod, API, "/v1/x")

    assert answer.headers["podkey-reason"] == "credential_unavailable"
    assert b"there is no CredentialSource training/own any more" in answer.body
    assert "what was removed does not count any more, though the policy was rejected" in pod.sidecar.log()
