"""GitHub Apps: an assertion that the app's key signs, exchanged for a token of one of its installations."""

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from proxy.core.github_source import GitHubApp
from proxy.core.parts import Part
from proxy.core.secret import Secret
from proxy.core.signing import SigningAlgorithm
from proxy.sources.asking import http, secret_key
from proxy.sources.github_answers import installation_token, refused
from proxy.sources.steps import (
    Acquired,
    Failed,
    HttpCall,
    Occasion,
    RevokeSteps,
    SourceSteps,
    StepFailed,
)
from proxy.tokens.assertions import KeyFault, signed_assertion

# "Generating a JSON Web Token": a minute back for clocks that differ; no more than ten minutes ahead, which
# GitHub takes exactly, so a minute less.
_BACKDATED: Final = timedelta(seconds=60)
_ASSERTION_LIFE: Final = timedelta(minutes=9)
# It lists every repository that the token is for, some 6 KiB each, and there may be 500.
MAX_ANSWER: Final = 4 * 1024 * 1024
_HEADERS: Final = (
    ("Accept", "application/vnd.github+json"),
    ("X-GitHub-Api-Version", "2022-11-28"),
    # GitHub refuses requests without one.
    ("User-Agent", "podkey"),
)


def acquire(kind: GitHubApp, occasion: Occasion) -> SourceSteps:
    key = yield from secret_key(kind.private_key, "the app's private key")
    if isinstance(key, StepFailed):
        return Failed(key.message)
    claims = {
        "iat": occasion.now - _BACKDATED,
        "exp": occasion.now + _ASSERTION_LIFE,
        "iss": kind.issuer,
    }
    assertion = signed_assertion(claims, key, algorithm=SigningAlgorithm.RS256)
    if isinstance(assertion, KeyFault):
        name, at = kind.private_key.secret_name, kind.private_key.key
        return Failed(
            f"the app's private key (`{at}` of the secret `{name}`) cannot sign: {assertion.message}"
        )
    path = f"app/installations/{kind.installation_id}/access_tokens"
    reply = yield from http(_call(kind, "POST", path, assertion, _narrowing(kind)))
    if isinstance(reply, StepFailed):
        return Failed(f"GitHub could not be asked for a token: {reply.message}")
    if reply.status != 201:
        return refused(kind, reply, occasion.now)
    given = installation_token(kind, reply, occasion.now)
    if isinstance(given, str):
        return Failed(f"GitHub's answer {given}")
    if given.excess:
        yield from http(_revocation(kind, given.token))
        return Failed(f"GitHub's answer {given.excess}")
    return Acquired({Part.TOKEN: given.token}, given.expires)


def revoke(kind: GitHubApp, acquired: Acquired, occasion: Occasion) -> RevokeSteps:
    reply = yield from http(_revocation(kind, acquired.parts[Part.TOKEN]))
    if isinstance(reply, StepFailed):
        return Failed(f"GitHub could not be asked to revoke: {reply.message}")
    # 401: it has ended already.
    return None if reply.status in {204, 401} else refused(kind, reply, occasion.now)


def _narrowing(kind: GitHubApp) -> dict[str, object]:
    body: dict[str, object] = {}
    if kind.repositories:
        body["repositories"] = list(kind.repositories)
    if kind.permissions:
        body["permissions"] = {name: level.value for name, level in kind.permissions}
    return body


def _revocation(kind: GitHubApp, token: Secret) -> HttpCall:
    return _call(kind, "DELETE", "installation/token", token)


def _call(
    kind: GitHubApp, method: str, path: str, token: Secret, body: Mapping[str, object] | None = None
) -> HttpCall:
    headers: list[tuple[str, str | Secret]] = [*_HEADERS]
    headers.append(("Authorization", Secret(b"Bearer " + token.reveal())))
    sent = Secret(json.dumps(body).encode()) if body else None
    if sent is not None:
        headers.append(("Content-Type", "application/json"))
    return HttpCall(method, f"{kind.api_url}/{path}", tuple(headers), sent, MAX_ANSWER)
