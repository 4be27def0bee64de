"""Against a stand-in that verifies what Entra ID verifies; its AADSTS codes come back as what to mend."""

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.azure_source import AzureCloud, AzureWorkloadIdentity
from proxy.core.parts import Part
from proxy.core.secret import Secret
from proxy.core.structs import replace
from proxy.sources.azure_workload_identity import HINTS, acquire
from proxy.sources.steps import Acquired, Failed, StepFailed
from tests.pod_tokens import TokenIssuer
from tests.source_world import NOON, OCCASION, World, json_reply
from tests.stand_ins.assertions import RelyingParty
from tests.stand_ins.azure import BLOB, CLIENT, SUBJECT, TENANT, Entra

CLUSTER = TokenIssuer(algorithm="RS256")
KIND = AzureWorkloadIdentity(TENANT, CLIENT, BLOB)
TOKENS = {KIND.audience: b"a.b.c"}


def entra(issuer: TokenIssuer = CLUSTER, **more: Any) -> Entra:
    return Entra(RelyingParty.of(issuer, NOON), **more)


def world(stand_in: Entra, kind: AzureWorkloadIdentity = KIND, **who: Any) -> World:
    return World(stand_in.answer, tokens={kind.audience: CLUSTER.token(NOON, kind.audience, **who)})


def why(stand_in: Entra, kind: AzureWorkloadIdentity = KIND, **who: Any) -> str:
    return world(stand_in, kind, **who).failed(acquire(kind, OCCASION)).message


def test_the_pods_token_is_the_applications_assertion() -> None:
    stand_in = entra()
    seen = world(stand_in)
    acquired = seen.acquired(acquire(KIND, OCCASION))

    assert acquired == Acquired({Part.TOKEN: Secret(stand_in.issued[0].encode())}, timedelta(seconds=3599))
    [call] = seen.calls
    assert call.url == f"https://login.microsoftonline.com/{TENANT}/oauth2/v2.0/token"
    assert set(call.form) == {
        "grant_type",
        "client_id",
        "client_assertion_type",
        "client_assertion",
        "scope",
    }


@pytest.mark.parametrize("cloud", AzureCloud)
def test_each_cloud_is_asked_at_its_authority_with_its_audience(cloud: AzureCloud) -> None:
    kind = replace(KIND, authority=cloud.authority, audience=cloud.audience)
    host = cloud.authority.removeprefix("https://")

    assert world(entra(authority=host, audience=cloud.audience), kind).acquired(acquire(kind, OCCASION))


def test_a_tenant_may_be_named_by_its_domain() -> None:
    kind = replace(KIND, tenant="acme.example")

    assert world(entra(), kind).acquired(acquire(kind, OCCASION))


@pytest.mark.parametrize(
    ("stand_in", "kind", "who", "said", "hint"),
    [
        (
            entra(TokenIssuer("https://other.example")),
            KIND,
            {},
            "401: invalid_client: AADSTS700211: No matching federated identity record found for ",
            "check the issuer of its federated credential",
        ),
        (
            entra(audience="acme"),
            KIND,
            {},
            "401: invalid_client: AADSTS700212: ",
            "has the audience `api://AzureADTokenExchange`",
        ),
        (
            entra(subject="system:serviceaccount:ml:other"),
            KIND,
            {},
            "401: invalid_client: AADSTS700213: ",
            f"a federated credential of it has the subject `{SUBJECT}`",
        ),
        (
            entra(),
            KIND,
            {"lifetime": timedelta(0)},
            "401: invalid_client: AADSTS700024: ",
            "the kubelet still renews the pod's token",
        ),
        (
            entra(TokenIssuer()),
            KIND,
            {},
            "401: invalid_client: AADSTS50013: ",
            "publishes the key that signed",
        ),
        (
            entra(),
            replace(KIND, client_id=TENANT),
            {},
            "400: unauthorized_client: AADSTS700016: ",
            f"check `clientId`, and that the application is in the tenant `{TENANT}`",
        ),
        (
            entra(),
            replace(KIND, tenant=CLIENT),
            {},
            "400: invalid_request: AADSTS90002: ",
            "check `tenant`, and that `cloud`",
        ),
        (
            entra(),
            replace(KIND, scope="https://acme.example/.default"),
            {},
            "400: invalid_resource: AADSTS500011: ",
            "the resource in `scope` exists",
        ),
        (
            entra(issuer_unreachable=True),
            KIND,
            {},
            "400: invalid_request: AADSTS50166: ",
            "must reach the issuer's OpenID configuration",
        ),
        (
            entra(refuses=(70021, "No matching federated identity record found.")),
            KIND,
            {},
            "400: invalid_request: AADSTS70021: ",
            f"check issuer, subject (`{SUBJECT}`) and audience (`api://AzureADTokenExchange`)",
        ),
        (
            entra(refuses=(7000215, "Invalid client secret provided.")),
            KIND,
            {},
            "400: invalid_request: AADSTS7000215: ",
            "add a federated credential to it",
        ),
    ],
)
def test_a_refusal_is_shown_in_azures_words_and_explained(
    stand_in: Entra, kind: AzureWorkloadIdentity, who: dict[str, Any], said: str, hint: str
) -> None:
    message = why(stand_in, kind, **who)

    assert message.startswith(f"Entra ID answered {said}")
    assert hint in message


def test_a_token_that_entra_cannot_read_is_told_without_a_byte_of_it() -> None:
    failed = World(entra().answer, tokens={KIND.audience: b"canary"}).failed(acquire(KIND, OCCASION))

    assert "AADSTS50027" in failed.message
    assert "check that the pod's token comes from the issuer" in failed.message
    assert "canary" not in failed.message


@pytest.mark.parametrize("code", HINTS)
def test_every_hint_can_be_said_from_the_description_alone(code: int) -> None:
    body = json.dumps({"error": "invalid_client", "error_description": f"AADSTS{code}: no."}).encode()
    failed = World(lambda _: json_reply(400, body), TOKENS).failed(acquire(KIND, OCCASION))

    assert failed.message.startswith(f"Entra ID answered 400: invalid_client: AADSTS{code}: no: ")
    assert not {"{", "}"} & set(failed.message)


@pytest.mark.parametrize(
    "body",
    [
        b'{"error": "odd", "error_codes": [1, "700016", null], "error_description": "AADSTS1: no"}',
        b'{"error": "odd", "error_codes": 700016, "error_description": "see AADSTS700016"}',
        b'{"error": "odd", "error_description": ["AADSTS700016"]}',
    ],
)
def test_what_is_no_known_code_is_not_guessed_at(body: bytes) -> None:
    failed = World(lambda _: json_reply(400, body), TOKENS).failed(acquire(KIND, OCCASION))

    assert failed.message.startswith("Entra ID answered 400: odd")
    assert "clientId" not in failed.message


def test_an_authority_that_is_none_is_told_by_its_status() -> None:
    kind = replace(KIND, authority="https://login.acme.example")

    assert why(entra(), kind) == "Entra ID answered 404"


def test_without_a_token_or_a_connection_it_says_so() -> None:
    assert "cannot be read" in World().failed(acquire(KIND, OCCASION)).message
    down = World(lambda _: StepFailed("connection refused"), TOKENS)
    assert down.failed(acquire(KIND, OCCASION)) == Failed("Entra ID cannot be asked: connection refused")


def test_a_token_that_is_bound_to_a_key_is_not_taken() -> None:
    pop = b'{"access_token": "canary", "token_type": "pop", "expires_in": 60}'
    failed = World(lambda _: json_reply(200, pop), TOKENS).failed(acquire(KIND, OCCASION))

    assert "pop" in failed.message
    assert "canary" not in failed.message


@given(st.integers(100, 599), st.binary(max_size=60))
def test_no_reply_raises(status: int, body: bytes) -> None:
    outcome = World(lambda _: json_reply(status, body), TOKENS).drive(acquire(KIND, OCCASION))

    assert isinstance(outcome, Acquired | Failed)


@given(
    st.dictionaries(
        st.sampled_from(("error", "error_description", "error_codes")),
        st.none() | st.integers() | st.text(max_size=20) | st.lists(st.integers() | st.none() | st.floats()),
    )
)
def test_no_shape_of_an_error_raises(members: dict[str, object]) -> None:
    reply = json_reply(400, json.dumps(members).encode())

    assert isinstance(World(lambda _: reply, TOKENS).drive(acquire(KIND, OCCASION)), Failed)
