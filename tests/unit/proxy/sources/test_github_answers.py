import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.github_source import GitHubApp, GitHubLevel
from proxy.core.parts import SecretKey
from proxy.core.secret import Secret
from proxy.core.structs import replace
from proxy.sources.github_answers import InstallationToken, installation_token, refused
from proxy.sources.steps import HttpReply
from tests.source_world import NOON
from tests.stand_ins.github import refuse

APP = GitHubApp(7, SecretKey("app", "key"), app_id=1234)
READS = replace(APP, permissions=(("contents", GitHubLevel.READ),))
WRITES = replace(APP, permissions=(("contents", GitHubLevel.WRITE),))
MODELS = replace(APP, repositories=("models",))
TOKEN = {"token": "t", "expires_at": "2026-03-04T13:00:00Z"}


def answer(told: Any) -> HttpReply:
    return HttpReply(201, {}, told if isinstance(told, bytes) else json.dumps(told).encode())


def test_a_token_is_taken_whatever_it_looks_like() -> None:
    """Its form changes: 40 characters, or a JWT of several hundred."""
    one = datetime(2026, 3, 4, 13, tzinfo=UTC)
    for text in ("t", "ghs_" + "a.b-c_" * 200):
        given = installation_token(APP, answer({**TOKEN, "token": text}), NOON)
        assert given == InstallationToken(Secret(text.encode()), one, "")


@pytest.mark.parametrize(
    ("told", "why"),
    [
        (b"<html>", "is no JSON object"),
        ([], "is no JSON object"),
        ({}, "holds no token"),
        ({**TOKEN, "token": ""}, "holds no token"),
        ({**TOKEN, "token": "a b"}, "holds no token"),
        ({**TOKEN, "token": "ü"}, "holds no token"),
        ({**TOKEN, "token": 7}, "holds no token"),
        ({**TOKEN, "expires_at": 7}, "does not say when the token expires (`expires_at`)"),
        ({**TOKEN, "expires_at": "soon"}, "does not say when the token expires (`expires_at`)"),
        (
            {**TOKEN, "expires_at": "2026-03-04T13:00:00"},
            "does not say when the token expires (`expires_at`)",
        ),
        ({**TOKEN, "expires_at": "2026-03-04T12:00:00Z"}, "holds a token that has expired already"),
    ],
)
def test_an_answer_that_holds_no_token_is_told(told: Any, why: str) -> None:
    assert installation_token(APP, answer(told), NOON) == why


@pytest.mark.parametrize(
    ("app", "told", "excess"),
    [
        (APP, {"permissions": {"contents": "admin"}}, ""),
        (READS, {"permissions": {"contents": "read", "metadata": "read"}}, ""),
        (WRITES, {"permissions": {"contents": "read"}}, ""),
        (READS, {"permissions": {}}, ""),
        (
            READS,
            {"permissions": {"contents": "write"}},
            "gives a permission that was not asked for (`contents`)",
        ),
        (
            READS,
            {"permissions": {"metadata": "write"}},
            "gives a permission that was not asked for (`metadata`)",
        ),
        (READS, {"permissions": {"issues": "read"}}, "gives a permission that was not asked for (`issues`)"),
        (
            READS,
            {"permissions": {"contents": "all"}},
            "gives a permission that was not asked for (`contents`)",
        ),
        (READS, {"permissions": {"contents": []}}, "gives a permission that was not asked for (`contents`)"),
        (READS, {}, "does not say what the token may do (`permissions`)"),
        (READS, {"permissions": ["contents"]}, "does not say what the token may do (`permissions`)"),
        (APP, {"repository_selection": "all"}, ""),
        (MODELS, {"repository_selection": "selected"}, ""),
        (MODELS, {"repository_selection": "selected", "repositories": [{"name": "Models"}]}, ""),
        (
            MODELS,
            {"repository_selection": "all"},
            "gives more repositories than were asked for (`repository_se",
        ),
        (MODELS, {}, "gives more repositories than were asked for (`repository_selection`)"),
        (
            MODELS,
            {"repository_selection": "selected", "repositories": [{"name": "models"}, {"name": "site"}]},
            "gives repositories that were not asked for (`repositories`)",
        ),
        (
            MODELS,
            {"repository_selection": "selected", "repositories": ["models"]},
            "gives repositories that were",
        ),
        (
            MODELS,
            {"repository_selection": "selected", "repositories": "models"},
            "gives repositories that were",
        ),
    ],
)
def test_a_token_that_may_do_more_than_was_asked_for_is_noticed(
    app: GitHubApp, told: dict[str, Any], excess: str
) -> None:
    given = installation_token(app, answer({**TOKEN, **told}), NOON)
    assert isinstance(given, InstallationToken)
    assert given.excess.startswith(excess)
    assert bool(given.excess) == bool(excess)


@pytest.mark.parametrize(
    ("status", "said", "message"),
    [
        (
            401,
            "Bad credentials",
            "GitHub answered 401: Bad credentials: compare the private key with `appId`",
        ),
        (422, "Validation Failed", "Validation Failed: correct `repositories` and `permissions`"),
        (
            403,
            "…has an IP allow list enabled",
            "add the cluster's address to the organisation's IP allow list",
        ),
        (500, "Server Error", "GitHub answered 500: Server Error"),
    ],
)
def test_a_refusal_is_told_with_what_it_means(status: int, said: str, message: str) -> None:
    failed = refused(APP, refuse(status, said), NOON)
    assert failed.message.endswith(message)
    assert failed.retry_after is None


def test_only_refusals_for_a_limit_are_waited_out() -> None:
    reset = {"x_ratelimit_remaining": "0", "x_ratelimit_reset": str(int(NOON.timestamp()) + 9)}
    assert refused(APP, refuse(404, "Not Found", **reset), NOON).retry_after is None
    assert refused(APP, refuse(429, "slow down", **reset), NOON).retry_after == 9.0


@given(st.binary(max_size=80))
def test_no_bytes_make_a_reader_raise(body: bytes) -> None:
    assert isinstance(installation_token(READS, HttpReply(201, {}, body), NOON), str)
    assert refused(APP, HttpReply(422, {}, body), NOON).message.startswith("GitHub answered 422")
