"""`githubApp`: installation tokens of a GitHub App."""

import re
from typing import Any, Final

from proxy.core.github_source import GITHUB_API, GitHubApp, GitHubLevel
from proxy.core.parts import SecretKey
from proxy.documents.problems import Fault
from proxy.documents.shapes import Choice, Field, ListOf, MapOf, Number, Record, Text
from proxy.documents.source_values import BASE_URL, SECRET_KEY_OF, written_key

# GitHub's own limit for one token.
MAX_REPOSITORIES: Final = 500
# They count up; GitHub's newest have nine digits.
_MAX_ID: Final = 9_999_999_999
_IS_PERMISSION: Final = re.compile(r"[a-z][a-z0-9_]{0,63}").fullmatch


def _client_id(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", text):
        raise Fault(
            f"`{text}` is not a client id", "copy it from the app's settings page; it begins with `Iv`"
        )
    return text


def _repository(text: str) -> str:
    if "/" in text:
        name = text.rstrip("/").rsplit("/", 1)[-1].removesuffix(".git")
        fix = f"write `{name or 'models'}`: an installation belongs to one account"
        raise Fault(f"`{text}` names an owner", fix)
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,100}", text) or text in {".", ".."}:
        raise Fault(f"`{text}` is not a repository's name", "write the name alone, without owner and stars")
    return text


def _permission(text: str) -> str:
    if not _IS_PERMISSION(text):
        name = text.lower().replace("-", "_").replace(" ", "_")
        fix = f"did you mean `{name}`?" if _IS_PERMISSION(name) else "write it as GitHub's REST API does"
        raise Fault(f"`{text}` is not a permission", fix)
    return text


_REPOSITORY: Final = Text("a repository's name", _repository, "^[A-Za-z0-9._-]+$", ("models",))
_PERMISSION: Final = Text("a permission", _permission, "^[a-z][a-z0-9_]*$", ("contents",))
_CLIENT_ID: Final = Text("a client id", _client_id, "^[A-Za-z0-9._-]+$", ("Iv1.0123456789abcdef",))


def _app(  # noqa: PLR0917 - a record's fields, by name
    installation_id: int,
    private_key: SecretKey,
    app_id: int | None = None,
    client_id: str | None = None,
    repositories: tuple[str, ...] = (),
    permissions: tuple[tuple[str, GitHubLevel], ...] = (),
    api_url: str = GITHUB_API,
) -> GitHubApp:
    if api_url in {"https://github.com", "https://www.github.com"}:
        fix = f"write `{GITHUB_API}`, or leave `apiUrl` out"
        raise Fault(f"`{api_url}` is the site, not its API", fix, at="apiUrl")
    return GitHubApp(installation_id, private_key, app_id, client_id, repositories, permissions, api_url)


GITHUB_APP: Final = Record(
    "a GitHub App",
    (
        Field("clientId", _CLIENT_ID, "The app's client id, which GitHub recommends."),
        Field(
            "appId",
            Number("an app id", 1, _MAX_ID),
            "The app's id, for servers that do not know client ids (GitHub Enterprise Server before 3.14).",
        ),
        Field(
            "installationId",
            Number("an installation id", 1, _MAX_ID),
            "The installation on the account that owns the repositories; the number at the end of its URL.",
            required=True,
        ),
        Field(
            "privateKey",
            SECRET_KEY_OF,
            "The app's private key, as GitHub gave it (PEM).",
            required=True,
        ),
        Field(
            "repositories",
            ListOf(_REPOSITORY, most=MAX_REPOSITORIES),
            "The repositories that the token opens, by name without the owner. Without it, all that the "
            "installation was given.",
        ),
        Field(
            "permissions",
            MapOf(Choice(GitHubLevel), _PERMISSION),
            "What the token may do there, such as `contents: read`. Without it, all that the installation "
            "was given.",
        ),
        Field(
            "apiUrl",
            BASE_URL,
            f"The REST API; `{GITHUB_API}` by default. GitHub Enterprise Server: `https://HOST/api/v3`.",
        ),
    ),
    _app,
    exactly_one=(("clientId", "appId"),),
)

FIELDS: Final = (
    Field(
        "githubApp",
        GITHUB_APP,
        "A token of a GitHub App's installation: lives one hour, narrowed to repositories and permissions.",
    ),
)


def rendered(kind: GitHubApp) -> dict[str, Any]:
    app: dict[str, Any]
    app = {"clientId": kind.client_id} if kind.client_id is not None else {"appId": kind.app_id}
    app |= {"installationId": kind.installation_id, "privateKey": written_key(kind.private_key)}
    if kind.repositories:
        app["repositories"] = list(kind.repositories)
    if kind.permissions:
        app["permissions"] = {name: level.value for name, level in kind.permissions}
    if kind.api_url != GITHUB_API:
        app["apiUrl"] = kind.api_url
    return {"githubApp": app}
