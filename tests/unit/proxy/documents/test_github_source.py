import pytest
from hypothesis import given

from proxy.core.credentials import Basic
from proxy.core.github_source import GITHUB_API, GitHubApp, GitHubLevel
from proxy.core.parts import SecretKey
from proxy.documents.credential_documents import SOURCE_SPEC, SourceSpec
from proxy.documents.github_source import FIELDS, GITHUB_APP, MAX_REPOSITORIES, rendered
from proxy.documents.reading import INVALID
from proxy.documents.yaml_nodes import write_documents
from tests.document_strategies import GITHUB_APPS, read_shape

MINIMAL = "{clientId: Iv1.abc, installationId: 7, privateKey: {secretName: app, key: key.pem}}"
KEY = SecretKey("app", "key.pem")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (MINIMAL, GitHubApp(7, KEY, client_id="Iv1.abc")),
        (MINIMAL.replace("clientId: Iv1.abc", "appId: 1234"), GitHubApp(7, KEY, app_id=1234)),
        (
            MINIMAL.replace(
                "{client", "{repositories: [models], permissions: {issues: write, contents: read}, client"
            ),
            GitHubApp(
                7,
                KEY,
                client_id="Iv1.abc",
                repositories=("models",),
                permissions=(("contents", GitHubLevel.READ), ("issues", GitHubLevel.WRITE)),
            ),
        ),
        (
            MINIMAL.replace("{client", "{apiUrl: 'https://git.example.com/api/v3/', client"),
            GitHubApp(7, KEY, client_id="Iv1.abc", api_url="https://git.example.com/api/v3"),
        ),
        (
            MINIMAL.replace("{client", f"{{apiUrl: '{GITHUB_API}', client"),
            GitHubApp(7, KEY, client_id="Iv1.abc"),
        ),
    ],
)
def test_reads_an_app(text: str, expected: GitHubApp) -> None:
    assert read_shape(GITHUB_APP, text) == (expected, [])


@pytest.mark.parametrize(
    ("change", "path", "message", "fix"),
    [
        (("clientId: Iv1.abc, ", ""), "", "exactly one of `clientId`, `appId`", "add one of"),
        (("{client", "{appId: 1, client"), "", "`clientId` and `appId`", "keep one"),
        (("Iv1.abc", "'a b'"), "clientId", "is not a client id", "settings page"),
        (("clientId: Iv1.abc", "appId: 0"), "appId", "0 is not an app id", "from 1"),
        (("installationId: 7, ", ""), "", "`installationId` is missing", "add `installationId:`"),
        (("Id: 7", "Id: '7'"), "installationId", "expected an installation id", "without quotes"),
        ((", key: key.pem", ""), "privateKey", "`key` is missing", "add `key:`"),
        (
            ("{client", "{repositories: [acme/models.git], client"),
            "repositories[0]",
            "`acme/models.git` names an owner",
            "write `models`: an installation belongs to one account",
        ),
        (("{client", "{repositories: [acme/], client"), "repositories[0]", "names an owner", "write `acme`"),
        (("{client", "{repositories: [/], client"), "repositories[0]", "names an owner", "write `models`"),
        (
            ("{client", "{repositories: ['m*'], client"),
            "repositories[0]",
            "is not a repository's name",
            "stars",
        ),
        (
            ("{client", "{repositories: ['..'], client"),
            "repositories[0]",
            "is not a repository's name",
            "stars",
        ),
        (("{client", "{repositories: [], client"), "repositories", "the list is empty", "remove the key"),
        (
            ("{client", "{permissions: {Pull-Requests: read}, client"),
            "permissions.Pull-Requests",
            "`Pull-Requests` is not a permission",
            "did you mean `pull_requests`?",
        ),
        (
            ("{client", "{permissions: {'!': read}, client"),
            "permissions.!",
            "is not a permission",
            "REST API",
        ),
        (
            ("{client", "{permissions: {contents: all}, client"),
            "permissions.contents",
            "not one of: read",
            "",
        ),
        (
            ("{client", "{apiUrl: 'https://github.com/', client"),
            "apiUrl",
            "is the site, not its API",
            GITHUB_API,
        ),
        (("{client", "{apiUrl: 'http://git.example.com', client"), "apiUrl", "is plain http", "https"),
    ],
)
def test_tells_what_is_wrong(change: tuple[str, str], path: str, message: str, fix: str) -> None:
    value, problems = read_shape(GITHUB_APP, MINIMAL.replace(*change))
    assert value is INVALID
    assert (problems[0].path, len(problems)) == (path, 1)
    assert message in problems[0].message
    assert fix in problems[0].fix


def test_more_repositories_than_one_token_takes_are_told() -> None:
    names = ", ".join(f"r{number}" for number in range(MAX_REPOSITORIES + 1))
    _, problems = read_shape(GITHUB_APP, MINIMAL.replace("{client", f"{{repositories: [{names}], client"))
    assert problems[0].message == "the list has 501 items; the limit is 500"


@pytest.mark.parametrize("attach", ["bearer: {}", "basic: {username: x-access-token}"])
def test_a_token_goes_as_bearer_and_as_gits_password(attach: str) -> None:
    spec, problems = read_shape(SOURCE_SPEC, f"{{githubApp: {MINIMAL}, attach: {{{attach}}}}}")
    assert problems == []
    assert isinstance(spec, SourceSpec)


def test_gits_user_name_has_to_be_written() -> None:
    _, problems = read_shape(SOURCE_SPEC, f"{{githubApp: {MINIMAL}, attach: {{basic: {{}}}}}}")
    assert "`basic` needs password, username" in problems[0].message
    assert Basic("x-access-token").username == "x-access-token"


@given(GITHUB_APPS)
def test_what_is_rendered_is_read_again(kind: GitHubApp) -> None:
    assert read_shape(GITHUB_APP, write_documents([rendered(kind)["githubApp"]])) == (kind, [])


def test_the_kind_has_its_key() -> None:
    assert [field.name for field in FIELDS] == ["githubApp"]
