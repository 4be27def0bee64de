"""What GitHub answers, read with care; and what its refusals mean."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from proxy.core.github_source import GitHubApp, GitHubLevel
from proxy.core.secret import Secret
from proxy.core.structs import Struct
from proxy.sources.answers import MAX_RETRY_AFTER, JsonObject, json_object, refusal, text_of
from proxy.sources.steps import Failed, HttpReply

# Not its prefix or length: both change (`ghs_` and 40 characters, since 2026 `ghs_…_` and a JWT).
_IS_TOKEN: Final = re.compile(r"[\x21-\x7e]+").fullmatch
_IS_MOMENT: Final = re.compile(r"[0-9]{1,12}").fullmatch
_LEVELS: Final = {level.value: rank for rank, level in enumerate(GitHubLevel)}
# GitHub adds it to every token that has a permission on repositories.
_IMPLIED: Final = {"metadata": GitHubLevel.READ}
# "Rate limits for the REST API": with a secondary limit and no header, wait for at least a minute.
_SECONDARY_LIMIT_WAIT: Final = 60.0

# What a refusal says, in lower case, and what to do about it. The first that fits.
_MEANINGS: Final = (
    ("could not be decoded", "the private key is not one of this app's: compare it with {app}"),
    ("integration not found", "there is no such app on this server: correct {app}"),
    ("must generate a public key", "the app has no key: generate one in its settings"),
    ("too far in the future", "this pod's clock is ahead of GitHub's"),
    ("'expiration time' claim", "this pod's clock is behind GitHub's"),
    ("'issued at' claim", "this pod's clock is ahead of GitHub's"),
    ("'issuer' claim", "this server does not know client ids, or not this one: write `appId`"),
    ("suspended", "somebody suspended the installation: unsuspend it in the account's settings"),
    ("ip allow list", "add the cluster's address to the organisation's IP allow list"),
    ("rate limit", "it is asked again when GitHub says so"),
    ("permissions requested are not granted", "grant them to the app, and accept them on the installation"),
    ("is not accessible to the parent installation", "{repositories}"),
    ("is not a permitted key", "correct `permissions`: names are written as GitHub's REST API does"),
)
_REPOSITORIES: Final = (
    "give the installation {id} access to each of `repositories`; it reaches those of one account only"
)
_BY_STATUS: Final = {
    401: "compare the private key with {app}",
    404: "there is no installation {id} of this app: correct `installationId`, or `apiUrl`",
    422: "correct `repositories` and `permissions`",
}


class InstallationToken(Struct, frozen=True):
    token: Secret
    expires: datetime
    # Why it may do more than was asked for, as the end of a sentence; else empty.
    excess: str


def installation_token(kind: GitHubApp, reply: HttpReply, now: datetime) -> InstallationToken | str:
    """A `str` is why the answer cannot be used, as the end of a sentence."""
    found = json_object(reply)
    if found is None:
        return "is no JSON object"
    token = text_of(found, "token")
    if not _IS_TOKEN(token):
        return "holds no token"
    expires = _moment(text_of(found, "expires_at"))
    if expires is None:
        return "does not say when the token expires (`expires_at`)"
    if expires <= now:
        return "holds a token that has expired already"
    excess = _more_permissions(kind, found) or _more_repositories(kind, found)
    return InstallationToken(Secret(token.encode()), expires, excess)


def refused(kind: GitHubApp, reply: HttpReply, now: datetime) -> Failed:
    said = refusal("GitHub", reply, now)
    words = said.message.lower()
    hint = next((fix for mark, fix in _MEANINGS if mark in words), _BY_STATUS.get(reply.status, ""))
    app = "`clientId`" if kind.client_id is not None else "`appId`"
    filled = hint.replace("{repositories}", _REPOSITORIES).format(app=app, id=kind.installation_id)
    message = f"{said.message.removesuffix('.')}: {filled}" if filled else said.message
    return Failed(message, said.retry_after if said.retry_after is not None else _patience(reply, words, now))


def _patience(reply: HttpReply, words: str, now: datetime) -> float | None:
    """Without `Retry-After`, which comes first."""
    if reply.status not in {403, 429}:
        return None
    reset = reply.headers.get("x-ratelimit-reset", "")
    if reply.headers.get("x-ratelimit-remaining") == "0" and _IS_MOMENT(reset):
        return min(max(float(reset) - now.timestamp(), 0.0), MAX_RETRY_AFTER)
    return _SECONDARY_LIMIT_WAIT if "rate limit" in words else None


def _moment(text: str) -> datetime | None:
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return None
    return when if when.tzinfo is not None else None


def _more_permissions(kind: GitHubApp, found: JsonObject) -> str:
    if not kind.permissions:
        return ""
    given = found.get("permissions")
    if not isinstance(given, Mapping):
        return "does not say what the token may do (`permissions`)"
    asked = {name: _LEVELS[level.value] for name, level in (*_IMPLIED.items(), *kind.permissions)}
    for name, level in given.items():
        rank = _LEVELS.get(level) if isinstance(level, str) else None
        if rank is None or rank > asked.get(name, -1):
            return f"gives a permission that was not asked for (`{name}`)"
    return ""


def _more_repositories(kind: GitHubApp, found: JsonObject) -> str:
    """Names are compared as GitHub does, without regard to case."""
    if not kind.repositories:
        return ""
    if found.get("repository_selection") != "selected":
        return "gives more repositories than were asked for (`repository_selection`)"
    asked = {name.lower() for name in kind.repositories}
    given = found.get("repositories")
    if given is None:  # it is told for `selected`; the older servers that do not are believed
        return ""
    named = given if isinstance(given, list) else [given]
    names = [text_of(one, "name") if isinstance(one, dict) else "" for one in named]
    if any(name.lower() not in asked for name in names):
        return "gives repositories that were not asked for (`repositories`)"
    return ""
