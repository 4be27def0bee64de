"""Against the stand-in of STS: tests/stand_ins/aws_sts.py verifies what the real one verifies."""

from datetime import timedelta
from typing import Any, Final
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.aws_sources import AssumedRole, AwsWebIdentity, SessionPolicy
from proxy.core.parts import Part
from proxy.core.secret import Secret
from proxy.core.structs import replace
from proxy.sources.aws_tags import CLAIM
from proxy.sources.aws_web_identity import acquire
from proxy.sources.steps import Acquired, Failed, HttpReply, Occasion, StepFailed
from tests.canary import Canary
from tests.pod_tokens import ISSUER, TokenIssuer, jwks
from tests.source_world import NOON, OCCASION, Request, World
from tests.stand_ins.aws_sts import Role, Sts

AUDIENCE: Final = "sts.amazonaws.com"
FIRST: Final = "arn:aws:iam::111122223333:role/training"
SECOND: Final = "arn:aws:iam::444455556666:role/data"
SUBJECT: Final = "system:serviceaccount:ml:trainer"
POLICY: Final = (
    '{"Statement":[{"Action":"s3:GetObject","Effect":"Allow","Resource":"arn:aws:s3:::data/*"}],'
    '"Version":"2012-10-17"}'
)
KIND: Final = AwsWebIdentity(FIRST, "eu-central-1")
CHAINED: Final = replace(KIND, then=AssumedRole(SECOND, "ext-1", timedelta(minutes=30)))
NOW: Final = replace(OCCASION, scope=POLICY)
CLUSTER: Final = TokenIssuer()
ROLES: Final = (
    Role(FIRST, (SUBJECT,)),
    Role(SECOND, trusts=FIRST, external_id="ext-1", maximum=timedelta(hours=12)),
)


def sts(**more: Any) -> Sts:
    return Sts(**{"roles": ROLES, "providers": {ISSUER: (jwks(CLUSTER), (AUDIENCE,))}, **more})


def world(server: Sts, token: bytes | None = None, audience: str = AUDIENCE) -> World:
    return World(server.answer, {audience: CLUSTER.token(NOON, AUDIENCE) if token is None else token})


def acquired(
    kind: AwsWebIdentity = KIND, server: Sts | None = None, token: bytes | None = None, at: Occasion = NOW
) -> tuple[Acquired, Sts]:
    server = server or sts()
    return world(server, token, kind.audience).acquired(acquire(kind, at)), server


def message(
    kind: AwsWebIdentity = KIND, server: Sts | None = None, token: bytes | None = None, at: Occasion = NOW
) -> str:
    return world(server or sts(), token, kind.audience).failed(acquire(kind, at)).message


# --- one role ----------------------------------------------------------------------------------------


def test_the_pods_token_becomes_a_session_of_the_role() -> None:
    outcome, server = acquired()
    [session] = server.sessions
    assert outcome == Acquired(
        {
            Part.ACCESS_KEY_ID: Secret(session.access_key_id.encode()),
            Part.SECRET_ACCESS_KEY: Secret(session.secret_access_key.encode()),
            Part.SESSION_TOKEN: Secret(session.session_token.encode()),
        },
        NOON + timedelta(hours=1),
    )
    assert (session.role, session.name, session.policy) == (FIRST, "ml.train-0", POLICY)


def test_the_regions_own_endpoint_is_asked_once_and_unsigned() -> None:
    here = world(sts())
    here.acquired(acquire(KIND, NOW))
    [call] = here.calls
    assert (call.method, call.url) == ("POST", "https://sts.eu-central-1.amazonaws.com/")
    assert call.headers == {"content-type": "application/x-www-form-urlencoded", "accept": "text/xml"}


def test_a_store_of_ones_own_is_asked_where_it_is() -> None:
    here = world(sts())
    here.acquired(acquire(replace(KIND, endpoint="https://ceph.example.com:8443/sts"), NOW))
    assert here.calls[0].url == "https://ceph.example.com:8443/sts/"


def test_without_a_derived_policy_nobody_is_asked_because_the_session_would_have_no_bounds() -> None:
    here = world(sts())
    assert "no session policy was derived" in here.failed(acquire(KIND, OCCASION)).message
    assert here.calls == []


def test_managed_policies_take_the_place_of_the_derived_one() -> None:
    arns = ("arn:aws:iam::111122223333:policy/a", "arn:aws:iam::aws:policy/b")
    kind = replace(KIND, session_policy=SessionPolicy.NONE, policy_arns=arns)
    _, server = acquired(kind, at=OCCASION)
    assert server.sessions[0].policy == ""
    assert server.sessions[0].policy_arns == arns


def test_the_lifetime_is_the_one_that_was_asked_for() -> None:
    long = sts(roles=(replace(ROLES[0], maximum=timedelta(hours=12)),))
    outcome, _ = acquired(replace(KIND, duration=timedelta(hours=12)), long)
    assert outcome.expires == NOON + timedelta(hours=12)


def test_tags_of_the_token_are_read_by_sts_itself() -> None:
    claims = {**CLUSTER.claims(NOON, AUDIENCE), CLAIM: {"principal_tags": {"team": ["vision"]}}}
    here = world(sts(), CLUSTER.sign(claims))
    here.acquired(acquire(KIND, NOW))
    assert "Tags." not in here.calls[0].body.decode()


# --- a second role -----------------------------------------------------------------------------------


def test_the_second_role_is_assumed_with_a_signature_that_botocore_would_have_made() -> None:
    outcome, server = acquired(CHAINED)
    first, second = server.sessions
    assert second.role == SECOND
    assert outcome.parts[Part.ACCESS_KEY_ID] == Secret(second.access_key_id.encode())
    assert outcome.expires == NOON + timedelta(minutes=30)
    assert first.name == second.name == "ml.train-0"


def test_the_session_policy_bounds_the_last_session_and_the_first_lives_shortly() -> None:
    _, server = acquired(CHAINED)
    first, second = server.sessions
    assert (first.policy, first.expires) == ("", NOON + timedelta(minutes=15))
    assert second.policy == POLICY


def test_the_host_is_left_to_who_sends_the_request() -> None:
    here = world(sts())
    here.acquired(acquire(CHAINED, NOW))
    assert "host" not in here.calls[1].headers
    assert (
        "SignedHeaders=accept;content-type;host;x-amz-date;x-amz-security-token"
        in (here.calls[1].headers["authorization"])
    )


@pytest.mark.parametrize("endpoint", ["https://ceph.example.com:443", "https://Ceph.example.com:8443/x"])
def test_an_endpoint_with_a_port_and_a_path_is_signed_as_it_is_asked(endpoint: str) -> None:
    server = sts()

    def answer(request: Request) -> HttpReply:
        # As an HTTP client sends it: in lower case, and without the default port.
        url = request.url.lower().replace(":443/", "/")
        return server.answer(replace(request, url=url))

    here = World(answer, {AUDIENCE: CLUSTER.token(NOON, AUDIENCE)})
    here.acquired(acquire(replace(CHAINED, endpoint=endpoint), NOW))


def test_the_signature_counts_by_the_clock_of_the_source() -> None:
    later = NOON + timedelta(days=2)
    server = sts(now=later)
    token = CLUSTER.token(later, AUDIENCE)
    acquired(CHAINED, server, token, replace(NOW, now=later))
    assert "SignatureDoesNotMatch" in message(CHAINED, sts(now=later), token)
    assert "clock" in message(CHAINED, sts(now=later), token)


def test_tags_of_the_token_are_named_for_the_second_role_unless_they_are_inherited() -> None:
    tags = {"principal_tags": {"team": ["vision"], "cost": ["42"]}, "transitive_tag_keys": ["cost"]}
    token = CLUSTER.sign({**CLUSTER.claims(NOON, AUDIENCE), CLAIM: tags})
    here = world(server := sts(), token)
    here.acquired(acquire(CHAINED, NOW))
    assert server.sessions[1].tags == {"cost": "42", "team": "vision"}
    assert dict(parse_qsl(here.calls[1].body.decode()))["Tags.member.1.Key"] == "team"


# --- refusals ----------------------------------------------------------------------------------------

STRANGER: Final = TokenIssuer("https://elsewhere.example.com")
IMPOSTOR: Final = TokenIssuer()


@pytest.mark.parametrize(
    ("server", "token", "code", "hint"),
    [
        (
            sts(roles=(Role(FIRST, ("system:serviceaccount:ml:other",)),)),
            None,
            "403 AccessDenied: Not authorized to perform sts:AssumeRoleWithWebIdentity",
            f"to the provider of the cluster's issuer, with `aud` `{AUDIENCE}` and `sub` `{SUBJECT}`",
        ),
        (sts(roles=()), None, "AccessDenied", "check that the trust policy of"),
        (
            sts(),
            CLUSTER.token(NOON, "something-else"),
            "400 InvalidIdentityToken: Incorrect token audience",
            f"its audiences hold `{AUDIENCE}`",
        ),
        (
            sts(),
            STRANGER.token(NOON, AUDIENCE),
            "No OpenIDConnect provider found in your account",
            "has an IAM OIDC provider for the cluster's issuer",
        ),
        (
            sts(),
            IMPOSTOR.token(NOON, AUDIENCE),
            "InvalidIdentityToken",
            "the issuer's keys can be fetched from outside",
        ),
        (sts(), b"no.token.this", "InvalidIdentityToken", "provider"),
        (
            sts(),
            CLUSTER.token(NOON - timedelta(hours=2), AUDIENCE),
            "400 ExpiredTokenException: Token expired",
            "the kubelet has not renewed the pod's token, or the clock",
        ),
        (
            sts(providers={ISSUER: (b"", (AUDIENCE,))}),
            None,
            "400 IDPCommunicationError",
            "the issuer's keys could not be fetched; it will be asked again",
        ),
        (
            sts(fails=(403, "IDPRejectedClaim", "revoked")),
            None,
            "403 IDPRejectedClaim: revoked",
            "the issuer has withdrawn the token",
        ),
        (
            sts(packed_limit=10),
            None,
            "400 PackedPolicyTooLarge: Packed policy consumes",
            "give this source fewer grants or prefixes",
        ),
        (
            sts(fails=(403, "RegionDisabledException", "STS is not activated in this region")),
            None,
            "403 RegionDisabledException",
            "activate STS for `eu-central-1` in IAM's account settings",
        ),
        (
            sts(roles=(replace(ROLES[0], maximum=timedelta(minutes=30)),)),
            None,
            "400 ValidationError: The requested DurationSeconds exceeds",
            "check that `duration` is not above the role's maximum session duration",
        ),
        (
            sts(fails=(400, "Throttling", "Rate exceeded")),
            None,
            "400 Throttling: Rate exceeded",
            "asked again",
        ),
        (sts(fails=(503, "ServiceUnavailable", "")), None, "503 ServiceUnavailable", "asked again"),
        (sts(fails=(418, "Teapot", "short & stout")), None, "418 Teapot: short & stout", ""),
    ],
)
def test_a_refusal_names_what_aws_says_and_what_it_means(
    server: Sts, token: bytes | None, code: str, hint: str
) -> None:
    said = message(server=server, token=token)
    assert said.startswith("AssumeRoleWithWebIdentity at sts.eu-central-1.amazonaws.com answered ")
    assert code in said
    assert hint in said


def test_a_malformed_policy_is_told_to_be_our_own_mistake() -> None:
    said = message(at=replace(NOW, scope="{"))
    assert "400 MalformedPolicyDocument" in said
    assert "this is a mistake of podkey's" in said


@pytest.mark.parametrize(
    ("kind", "server", "token", "expected"),
    [
        (replace(CHAINED, then=AssumedRole(SECOND, "wrong")), sts(), None, "with the external id"),
        (replace(CHAINED, then=AssumedRole(SECOND)), sts(), None, "with the external id"),
        (
            CHAINED,
            sts(roles=(ROLES[0], Role(SECOND, trusts="arn:aws:iam::111122223333:role/other"))),
            None,
            f"check that `{FIRST}` may sts:AssumeRole `{SECOND}`",
        ),
        (
            CHAINED,
            sts(roles=(ROLES[0], replace(ROLES[1], may_tag=False))),
            CLUSTER.sign({**CLUSTER.claims(NOON, AUDIENCE), CLAIM: {"principal_tags": {"a": ["1"]}}}),
            "sts:TagSession",
        ),
        (replace(CHAINED, region="eu-west-1"), sts(), None, "SignatureDoesNotMatch"),
        (replace(CHAINED, then=AssumedRole(SECOND, "ext-1", timedelta(hours=2))), sts(), None, "`duration`"),
    ],
)
def test_a_refusal_of_the_second_role_is_told_from_one_of_the_first(
    kind: AwsWebIdentity, server: Sts, token: bytes | None, expected: str
) -> None:
    said = message(kind, server, token)
    assert said.startswith("AssumeRole at sts.")
    assert expected in said


def test_a_refusal_of_the_first_role_ends_the_chain() -> None:
    here = world(server := sts(roles=()))
    assert "AssumeRoleWithWebIdentity" in here.failed(acquire(CHAINED, NOW)).message
    assert len(here.calls) == 1
    assert server.sessions == []


def test_patience_that_is_asked_for_is_kept() -> None:
    reply = HttpReply(429, {"retry-after": "7"}, b"<Error><Code>Throttling</Code></Error>")
    here = World(lambda _: reply, {AUDIENCE: CLUSTER.token(NOON, AUDIENCE)})
    failed = here.failed(acquire(KIND, NOW))
    said = "at sts.eu-central-1.amazonaws.com answered 429 Throttling: it will be asked again"
    assert failed == Failed(f"AssumeRoleWithWebIdentity {said}", 7.0)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (HttpReply(200, {}, b"<html>"), "answered 200 with no session that can be used"),
        (HttpReply(200, {}, b""), "answered 200 with no session that can be used"),
        (
            HttpReply(502, {}, b"<html>Bad gateway</html>"),
            "answered 502, without an error that AWS documents",
        ),
        (HttpReply(301, {"location": "https://x"}, b""), "answered 301, without an error that AWS documents"),
        (StepFailed("the certificate is not trusted"), "cannot be asked: the certificate is not trusted"),
    ],
)
def test_what_is_no_answer_of_sts_is_told(reply: HttpReply | StepFailed, expected: str) -> None:
    here = World(lambda _: reply, {AUDIENCE: CLUSTER.token(NOON, AUDIENCE)})
    assert expected in here.failed(acquire(KIND, NOW)).message


def test_a_token_that_is_not_mounted_or_no_token_is_told_with_its_audience() -> None:
    assert f"the audience `{AUDIENCE}`" in World().failed(acquire(KIND, NOW)).message
    assert "is no token" in world(sts(), b"a b").failed(acquire(KIND, NOW)).message


def test_no_message_holds_the_token(canary: Canary) -> None:
    token = canary.remember(CLUSTER.token(NOON, "wrong").decode(), "pod token")
    canary.watch(message(token=token.encode()), "message")


@given(st.integers(100, 599), st.binary(max_size=300), st.sampled_from((KIND, CHAINED)))
def test_any_answer_is_an_outcome(status: int, body: bytes, kind: AwsWebIdentity) -> None:
    here = World(lambda _: HttpReply(status, {}, body), {AUDIENCE: b"a.b.c"})
    assert isinstance(here.drive(acquire(kind, NOW)), Failed)
