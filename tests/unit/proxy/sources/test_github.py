import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.github_source import GitHubApp, GitHubLevel
from proxy.core.parts import Part, SecretKey
from proxy.core.secret import Secret
from proxy.core.structs import replace
from proxy.sources.github import acquire, revoke
from proxy.sources.steps import Acquired, Failed, HttpCall, HttpReply, Occasion, StepFailed
from proxy.sources.table import renewal_of, revocation_of, steps_of
from tests.source_world import NOON, OCCASION, WHO, World, json_reply
from tests.stand_ins.github import GitHub, Installation, PrivateKey

KEY = PrivateKey()
APP = GitHubApp(147419836, SecretKey("github-app", "private-key.pem"), client_id="Iv23liABCDEF")
NARROW = replace(APP, repositories=("models", "datasets"), permissions=(("contents", GitHubLevel.READ),))


@pytest.fixture
def github() -> GitHub:
    return GitHub(KEY, NOON)


@pytest.fixture
def world(github: GitHub) -> World:
    return World(github.answer, secrets={"github-app": {"private-key.pem": KEY.pem}})


def tells(world: World, app: GitHubApp = APP, occasion: Occasion = OCCASION) -> str:
    return world.failed(acquire(app, occasion)).message


def test_a_token_opens_what_was_asked_for_and_nothing_else(world: World, github: GitHub) -> None:
    acquired = world.acquired(acquire(NARROW, OCCASION))

    assert acquired.expires == datetime(2026, 3, 4, 13, tzinfo=UTC)
    assert not acquired.renewable
    token = acquired.parts[Part.TOKEN].reveal()
    assert github.opens(token, "models", "contents", "read")
    assert not github.opens(token, "models", "contents", "write")
    assert not github.opens(token, "models", "packages", "read")
    assert not github.opens(token, "site", "contents", "read")


def test_without_narrowing_a_token_is_all_that_the_installation_is(world: World, github: GitHub) -> None:
    token = world.acquired(acquire(APP, OCCASION)).parts[Part.TOKEN].reveal()
    assert github.opens(token, "site", "contents", "write")
    assert world.calls[0].body == b""


def test_an_app_is_known_by_its_id_too(world: World) -> None:
    assert world.acquired(acquire(replace(APP, client_id=None, app_id=1234), OCCASION)).parts


def test_names_of_repositories_have_no_case(world: World) -> None:
    assert world.acquired(acquire(replace(APP, repositories=("Models",)), OCCASION)).parts


def test_a_token_ends_after_an_hour_and_by_revocation(world: World, github: GitHub) -> None:
    first = world.acquired(steps_of(APP, OCCASION))
    github.now += timedelta(minutes=59)
    assert github.opens(first.parts[Part.TOKEN].reveal(), "models", "contents", "read")
    github.now += timedelta(minutes=1)
    assert not github.opens(first.parts[Part.TOKEN].reveal(), "models", "contents", "read")

    now = Occasion(github.now, WHO, "n")
    assert renewal_of(APP, first, now) is None
    second = world.acquired(steps_of(APP, now))
    assert github.opens(second.parts[Part.TOKEN].reveal(), "models", "contents", "read")
    steps = revocation_of(APP, second, now)
    assert steps is not None
    assert world.drive(steps) is None
    assert not github.opens(second.parts[Part.TOKEN].reveal(), "models", "contents", "read")
    assert world.drive(revoke(APP, second, now)) is None, "one that is revoked already is revoked"


# --- refusals, each by the real one's words -----------------------------------------------------------


def test_a_key_that_is_not_there_or_is_no_key_is_told(world: World) -> None:
    world.secrets = {}
    assert tells(world) == (
        "the app's private key: the secret `github-app` cannot be read: the secret github-app is not mounted"
    )
    world.secrets = {"github-app": {"private-key.pem": b"canary"}}
    assert tells(world).startswith(
        "the app's private key (`private-key.pem` of the secret `github-app`) cannot sign: it is not PEM"
    )
    assert world.calls == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"client_id": "Iv1.other"},
            "401: Integration not found: there is no such app on this server: correct `clientId`",
        ),
        (
            {"client_id": None, "app_id": 7},
            "401: Integration not found: there is no such app on this server: correct `appId`",
        ),
        (
            {"installation_id": 7},
            "404: Not Found: there is no installation 7 of this app: correct `installationId`, or `apiUrl`",
        ),
        (
            {"repositories": ("models", "secrets")},
            "the parent installation: give the installation 147419836 access to each of `repositories`;",
        ),
        (
            {"permissions": (("contents", GitHubLevel.ADMIN),)},
            "not granted to this installation: grant them to the app, and accept them on the installation",
        ),
        (
            {"permissions": (("pull-requests", GitHubLevel.READ),)},
            "correct `permissions`: names are written as GitHub's REST API does",
        ),
    ],
)
def test_a_refusal_is_told_with_the_field_to_correct(
    world: World, change: dict[str, Any], message: str
) -> None:
    assert message in tells(world, replace(APP, **change))


def test_the_key_of_another_app_is_told(world: World, github: GitHub) -> None:
    github.keys["Iv23liABCDEF"] = PrivateKey()
    assert tells(world) == (
        "GitHub answered 401: A JSON web token could not be decoded: the private key is not one of this "
        "app's: compare it with `clientId`"
    )


def test_a_server_that_knows_no_client_ids_is_told(world: World, github: GitHub) -> None:
    github.knows_client_ids = False
    assert tells(world).endswith("this server does not know client ids, or not this one: write `appId`")


@pytest.mark.parametrize(
    ("ahead", "message"),
    [(-10, "this pod's clock is behind GitHub's"), (2, "this pod's clock is ahead of GitHub's")],
)
def test_clocks_that_differ_are_told(world: World, ahead: int, message: str) -> None:
    wrong = Occasion(NOON + timedelta(minutes=ahead), WHO, "n")
    assert tells(world, occasion=wrong).endswith(message)


@pytest.mark.parametrize("skew", [-539, -60, 0, 60])
def test_a_minute_of_skew_either_way_is_borne(world: World, skew: int) -> None:
    assert world.acquired(acquire(APP, Occasion(NOON + timedelta(seconds=skew), WHO, "n"))).parts


def test_a_suspended_installation_is_told(world: World, github: GitHub) -> None:
    github.installations[147419836] = Installation(suspended=True)
    assert tells(world).startswith("GitHub answered 403: This installation has been suspended: somebody")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry_after": "30"}, 30.0),
        ({"x_ratelimit_remaining": "0", "x_ratelimit_reset": str(int(NOON.timestamp()) + 90)}, 90.0),
        ({"x_ratelimit_remaining": "0", "x_ratelimit_reset": "0"}, 0.0),
        ({"x_ratelimit_remaining": "0", "x_ratelimit_reset": "9" * 12}, 3600.0),
        ({"x_ratelimit_remaining": "0", "x_ratelimit_reset": "soon"}, 60.0),
        ({}, 60.0),
    ],
)
def test_a_limit_is_waited_out(world: World, github: GitHub, headers: dict[str, str], seconds: float) -> None:
    github.limited = headers
    failed = world.failed(acquire(APP, OCCASION))
    assert failed.retry_after == seconds
    assert "rate limit" in failed.message


def test_what_cannot_be_reached_is_told(world: World) -> None:
    world.http = lambda _: StepFailed("timed out")
    assert tells(world) == "GitHub could not be asked for a token: timed out"
    held = Acquired({Part.TOKEN: Secret(b"t")})
    assert world.drive(revoke(APP, held, OCCASION)) == Failed(
        "GitHub could not be asked to revoke: timed out"
    )
    world.http = lambda _: HttpReply(500, {}, b"")
    assert world.drive(revoke(APP, held, OCCASION)) == Failed("GitHub answered 500")


def test_a_token_that_opens_more_than_was_asked_for_is_revoked_at_once(world: World, github: GitHub) -> None:
    everything = replace(APP)

    def wide(request: Any) -> HttpReply:
        return github.answer(replace(request, body=b"") if request.method == "POST" else request)

    world.http = wide
    assert tells(world, NARROW) == "GitHub's answer gives a permission that was not asked for (`contents`)"
    assert github.tokens == {}
    assert world.acquired(acquire(everything, OCCASION)).parts
    assert tells(world, replace(APP, repositories=("models",))) == (
        "GitHub's answer gives more repositories than were asked for (`repository_selection`)"
    )


def test_an_answer_without_a_token_is_told(world: World) -> None:
    world.http = lambda _: json_reply(201, b"{}")
    assert tells(world) == "GitHub's answer holds no token"


# --- whatever is answered ------------------------------------------------------------------------------

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
_BODIES = st.binary(max_size=40) | st.fixed_dictionaries(
    {},
    optional={
        "token": _JSON | st.just("canary"),
        "expires_at": _JSON | st.just("2026-03-04T13:00:00Z") | st.datetimes().map(str),
        "permissions": _JSON
        | st.dictionaries(st.just("contents"), _JSON | st.sampled_from(["read", "admin"])),
        "repositories": _JSON | st.lists(st.fixed_dictionaries({"name": _JSON})),
        "repository_selection": st.sampled_from(["all", "selected"]),
        "message": _JSON,
    },
).map(lambda found: json.dumps(found).encode())


@given(
    body=_BODIES,
    status=st.sampled_from([200, 201, 401, 403, 404, 422, 500]),
    app=st.sampled_from([APP, NARROW]),
)
def test_no_answer_makes_it_raise(body: bytes, status: int, app: GitHubApp) -> None:
    world = World(lambda _: json_reply(status, body), secrets={"github-app": {"private-key.pem": KEY.pem}})
    outcome = world.drive(acquire(app, OCCASION))
    assert isinstance(outcome, (Acquired, Failed))
    assert "canary" not in repr(outcome)


def test_tokens_travel_as_secrets_and_the_caller_has_a_name() -> None:
    steps = acquire(NARROW, OCCASION)
    next(steps)
    call = steps.send({"private-key.pem": KEY.pem})
    assert isinstance(call, HttpCall)
    headers = dict(call.headers)
    assert isinstance(headers["Authorization"], Secret)
    assert headers["User-Agent"] == "podkey"
    assert call.body is not None
    assert json.loads(call.body.reveal()) == {
        "repositories": ["models", "datasets"],
        "permissions": {"contents": "read"},
    }
