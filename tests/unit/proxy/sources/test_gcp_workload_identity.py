"""Against a stand-in that verifies what Google verifies; its errors come back as what to mend."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.gcp_source import GcpWorkloadIdentity, Impersonation, default_audience
from proxy.core.parts import Part
from proxy.core.structs import replace
from proxy.sources.gcp_workload_identity import acquire, timestamp
from proxy.sources.steps import Acquired, Failed, HttpReply, StepFailed
from tests.pod_tokens import TokenIssuer
from tests.source_world import NOON, OCCASION, Request, World, json_reply
from tests.stand_ins.assertions import RelyingParty
from tests.stand_ins.google import CREATOR_ROLE, IAM, POOL, PROVIDER, USER_ROLE, Google

CLUSTER = TokenIssuer()
DIRECT = GcpWorkloadIdentity(PROVIDER, default_audience(PROVIDER))
ACCOUNT = "trainer@acme-ml.iam.gserviceaccount.com"
ACTING = replace(DIRECT, impersonation=Impersonation(ACCOUNT))
SUBJECT = "system:serviceaccount:ml:trainer"
PRINCIPAL = f"principal://iam.googleapis.com/{POOL}/subject/{SUBJECT}"


def google(issuer: TokenIssuer = CLUSTER, **more: Any) -> Google:
    return Google(RelyingParty.of(issuer, NOON), accounts={ACCOUNT: {(PRINCIPAL, USER_ROLE)}}, **more)


def world(stand_in: Google, kind: GcpWorkloadIdentity = DIRECT, **who: Any) -> World:
    return World(stand_in.answer, tokens={kind.audience: CLUSTER.token(NOON, kind.audience, **who)})


def why(stand_in: Google, kind: GcpWorkloadIdentity = DIRECT, **who: Any) -> str:
    return world(stand_in, kind, **who).failed(acquire(kind, OCCASION)).message


# --- the exchange ------------------------------------------------------------------------------------


def test_the_pods_token_is_exchanged_for_the_pools_own_principal() -> None:
    stand_in = google()
    seen = world(stand_in)
    acquired = seen.acquired(acquire(DIRECT, OCCASION))

    [value] = stand_in.issued
    assert acquired.parts[Part.TOKEN].reveal() == value.encode()
    assert acquired.expires == timedelta(seconds=3599)
    assert stand_in.issued[value] == (PRINCIPAL, ("https://www.googleapis.com/auth/cloud-platform",))
    [call] = seen.calls
    assert call.url == "https://sts.googleapis.com/v1/token"
    assert call.form["audience"] == f"//iam.googleapis.com/{PROVIDER}"


def test_scopes_are_one_field_with_blanks() -> None:
    kind = replace(DIRECT, scopes=("https://www.googleapis.com/auth/a", "https://www.googleapis.com/auth/b"))
    seen = world(google())
    seen.acquired(acquire(kind, OCCASION))

    assert seen.calls[0].form["scope"] == " ".join(kind.scopes)


def test_an_audience_of_the_providers_own_choice_is_asked_of_the_kubelet() -> None:
    kind = replace(DIRECT, audience="acme")

    assert world(google(allowed_audiences=("acme",)), kind).acquired(acquire(kind, OCCASION))


def test_another_universe_is_asked_at_its_own_hosts_by_the_same_name() -> None:
    kind = replace(ACTING, universe="s3nsapis.fr")
    seen = world(google(universe="s3nsapis.fr"))
    seen.acquired(acquire(kind, OCCASION))

    assert [call.host for call in seen.calls] == ["sts.s3nsapis.fr", "iamcredentials.s3nsapis.fr"]
    assert seen.calls[0].form["audience"].startswith("//iam.googleapis.com/")


# --- impersonation -----------------------------------------------------------------------------------


def test_a_service_accounts_token_ends_when_google_says() -> None:
    stand_in = google()
    seen = world(stand_in)
    acquired = seen.acquired(acquire(ACTING, OCCASION))

    federated, own = stand_in.issued
    assert acquired.parts[Part.TOKEN].reveal() == own.encode()
    assert acquired.expires == NOON + timedelta(hours=1)
    assert stand_in.issued[own][0] == f"serviceAccount:{ACCOUNT}"
    # The token in between is good for nothing but this.
    assert stand_in.issued[federated] == (PRINCIPAL, (IAM,))
    assert seen.calls[1].url == (
        f"https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{ACCOUNT}:generateAccessToken"
    )
    assert json.loads(seen.calls[1].body) == {"scope": ["https://www.googleapis.com/auth/cloud-platform"]}


def test_scopes_and_a_lifetime_are_asked_of_the_service_account() -> None:
    kind = replace(
        ACTING,
        scopes=("https://www.googleapis.com/auth/devstorage.read_only",),
        impersonation=Impersonation(ACCOUNT, lifetime=timedelta(hours=12)),
    )
    stand_in = google(long_lived=True)
    acquired = world(stand_in).acquired(acquire(kind, OCCASION))

    assert acquired.expires == NOON + timedelta(hours=12)
    assert list(stand_in.issued.values())[1][1] == kind.scopes


def test_delegates_are_walked_through_in_their_order() -> None:
    via = "via@acme-ml.iam.gserviceaccount.com"
    kind = replace(ACTING, impersonation=Impersonation(ACCOUNT, (via,)))
    stand_in = google()
    stand_in.accounts = {
        via: {(PRINCIPAL, USER_ROLE)},
        ACCOUNT: {(f"serviceAccount:{via}", CREATOR_ROLE)},
    }

    assert world(stand_in).acquired(acquire(kind, OCCASION))
    assert "PERMISSION_DENIED" in why(stand_in, ACTING)


# --- documented errors -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stand_in", "who", "said", "hint"),
    [
        (
            google(allowed_audiences=("acme",)),
            {},
            "invalid_grant: The audience in ID Token",
            f"check that the provider allows the audience `https://iam.googleapis.com/{PROVIDER}`",
        ),
        (
            google(TokenIssuer("https://other.example")),
            {},
            "invalid_grant: The issuer in ID Token",
            "the provider's issuer URI is the cluster's issuer",
        ),
        (
            google(TokenIssuer()),
            {},
            "invalid_grant: Error connecting to the given credential's issuer",
            "upload the JWKS",
        ),
        (
            google(),
            {"lifetime": timedelta(0)},
            "invalid_grant: ID Token is stale",
            "the kubelet still renews the pod's token",
        ),
        (
            google(attribute_condition=lambda _: False),
            {},
            "unauthorized_client: The given credential is rejected by the attribute condition",
            f"attribute condition against the subject `{SUBJECT}`",
        ),
        (
            google(provider_enabled=False),
            {},
            "invalid_target: The target service",
            f"pool and provider exist and are enabled: `{PROVIDER}`",
        ),
    ],
)
def test_an_error_of_the_token_service_is_shown_and_explained(
    stand_in: Google, who: dict[str, Any], said: str, hint: str
) -> None:
    message = why(stand_in, **who)

    assert message.startswith(f"Google's token service answered 400: {said}")
    assert hint in message
    assert ".:" not in message


def test_a_token_that_somebody_else_signed_is_told_without_a_byte_of_it() -> None:
    forger = TokenIssuer()
    forger.key_id = CLUSTER.key_id
    forged = forger.token(NOON, DIRECT.audience)
    message = (
        World(google().answer, tokens={DIRECT.audience: forged}).failed(acquire(DIRECT, OCCASION)).message
    )

    assert "Invalid ID Token signature: check the provider's issuer, its keys" in message
    assert not [part for part in forged.decode().split(".") if part in message]


def test_scopes_that_google_does_not_know_are_told() -> None:
    assert why(google(), replace(DIRECT, scopes=("read",))).endswith(": check `scopes`")


def test_an_account_that_may_not_be_acted_as_is_told_with_the_binding_that_lacks() -> None:
    stand_in = google()
    stand_in.accounts[ACCOUNT].clear()

    assert why(stand_in, ACTING) == (
        "Google's IAM Credentials API answered 403: PERMISSION_DENIED: Permission "
        "'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist): grant "
        f"roles/iam.workloadIdentityUser on `{ACCOUNT}` to `{PRINCIPAL}`, and enable "
        "iamcredentials.googleapis.com"
    )


@pytest.mark.parametrize(
    ("impersonation", "said", "hint"),
    [
        (
            Impersonation("nobody@acme-ml.iam.gserviceaccount.com"),
            "404: NOT_FOUND",
            "account `nobody@acme-ml",
        ),
        (
            Impersonation(ACCOUNT, lifetime=timedelta(hours=2)),
            "400: INVALID_ARGUMENT: The access token lifetime cannot exceed 3600 seconds",
            "more than one hour needs an organisation policy",
        ),
    ],
)
def test_an_error_of_impersonation_is_shown_and_explained(
    impersonation: Impersonation, said: str, hint: str
) -> None:
    message = why(google(), replace(DIRECT, impersonation=impersonation))

    assert message.startswith(f"Google's IAM Credentials API answered {said}")
    assert hint in message


# --- odd worlds --------------------------------------------------------------------------------------


def test_without_a_token_nobody_is_asked() -> None:
    assert "cannot be read" in World().failed(acquire(DIRECT, OCCASION)).message


def test_a_service_that_cannot_be_reached_is_named() -> None:
    down = StepFailed("connection refused")
    tokens = {DIRECT.audience: b"a.b.c"}
    assert World(lambda _: down, tokens).failed(acquire(DIRECT, OCCASION)) == Failed(
        "Google's token service cannot be asked: connection refused"
    )

    def half(request: Request) -> HttpReply | StepFailed:
        return google().answer(request) if request.path == "/v1/token" else down

    tokens = {DIRECT.audience: CLUSTER.token(NOON, DIRECT.audience)}
    assert World(half, tokens).failed(acquire(ACTING, OCCASION)) == Failed(
        "Google's IAM Credentials API cannot be asked: connection refused"
    )


def test_patience_that_is_asked_for_is_passed_on() -> None:
    tokens = {DIRECT.audience: b"a.b.c"}
    busy = World(lambda _: json_reply(503, b"<html>", retry_after="30"), tokens)

    assert busy.failed(acquire(DIRECT, OCCASION)) == Failed("Google's token service answered 503", 30.0)


TOKEN_REPLY = json_reply(200, b'{"access_token": "t", "token_type": "Bearer", "expires_in": 60}')


def impersonated(status: int, body: bytes) -> Acquired | Failed:
    def answer(request: Request) -> HttpReply:
        return TOKEN_REPLY if request.path == "/v1/token" else json_reply(status, body)

    outcome: Acquired | Failed = World(answer, {DIRECT.audience: b"a.b.c"}).drive(acquire(ACTING, OCCASION))
    return outcome


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (200, b"<html>", "answered 200 without a JSON object"),
        (200, b'{"expireTime": "2026-03-04T13:00:00Z"}', "without a usable `accessToken`"),
        (200, b'{"accessToken": "a b", "expireTime": "2026-03-04T13:00:00Z"}', "usable `accessToken`"),
        (200, b'{"accessToken": "canary"}', "did not say in `expireTime`"),
        (200, b'{"accessToken": "canary", "expireTime": 7}', "did not say in `expireTime`"),
        (401, b'{"error": {"status": "UNAUTHENTICATED"}}', "check that `universe`"),
        (403, b'{"error": "canary"}', "answered 403: canary"),
        (500, b"", "answered 500"),
    ],
)
def test_a_reply_that_is_no_token_is_refused(status: int, body: bytes, said: str) -> None:
    failed = impersonated(status, body)

    assert isinstance(failed, Failed)
    assert said in failed.message


def test_a_token_service_that_gives_another_type_of_token_ends_it() -> None:
    odd = json_reply(200, b'{"access_token": "t", "token_type": "N_A", "expires_in": 60}')

    assert World(lambda _: odd, {DIRECT.audience: b"a.b.c"}).failed(acquire(ACTING, OCCASION))


# --- times -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("2026-03-04T13:00:00Z", datetime(2026, 3, 4, 13, tzinfo=UTC)),
        ("2026-03-04T13:00:00.123456789Z", datetime(2026, 3, 4, 13, 0, 0, 123456, tzinfo=UTC)),
        ("2026-03-04T14:00:00+01:00", datetime(2026, 3, 4, 13, tzinfo=UTC)),
        ("", None),
        ("2026-03-04", None),
        ("2026-03-04T13:00:00", None),
        ("2026-02-30T13:00:00Z", None),
        ("2026-03-04T13:00:60Z", None),
        ("2026-W10-3T13:00:00Z", None),
        ("9999-12-31T23:59:59-23:59", None),
        ("0001-01-01T00:00:00+23:59", None),
        ("٢٠٢٦-03-04T13:00:00Z", None),
    ],
)
def test_a_time_is_rfc_3339_or_none(text: str, when: datetime | None) -> None:
    assert timestamp(text) == when


@given(st.text(max_size=30) | st.datetimes().map(datetime.isoformat))
def test_no_text_makes_reading_a_time_fail(text: str) -> None:
    when = timestamp(text)

    assert when is None or when.tzinfo is UTC


@given(st.integers(100, 599), st.binary(max_size=60))
def test_no_body_of_impersonation_raises(status: int, body: bytes) -> None:
    assert isinstance(impersonated(status, body), Acquired | Failed)
