import pytest
from hypothesis import given

from proxy.core.credentials import CredentialSource
from proxy.core.oauth_sources import (
    ACCESS_TOKEN_TYPE,
    FederatedAssertion,
    MountedActor,
    Oauth2ClientCredentials,
    ProjectedActor,
    SecretPost,
    TokenExchange,
)
from proxy.core.parts import SecretKey
from proxy.documents.credential_documents import SOURCE_DOCUMENT, SOURCE_SPEC
from proxy.documents.oauth_sources import RESOURCE, TOKEN_TYPE, rendered
from proxy.documents.problems import ProblemCode
from proxy.documents.reading import INVALID
from proxy.documents.shapes import Text
from proxy.documents.yaml_nodes import write_documents
from tests.document_strategies import CLIENT_CREDENTIALS, codes, read_shape, source, token_exchanges

URL = "https://login.example.com/token"
LEAST = f"tokenUrl: {URL}, clientId: trainer, auth: {{federated: {{audience: podkey}}}}"
SUBJECT = f"tokenUrl: {URL}, subjectAudience: podkey"


def credentials(more: str = "", least: str = LEAST) -> str:
    return f"{{oauth2ClientCredentials: {{{least}{more}}}}}"


def exchange(more: str = "", least: str = SUBJECT) -> str:
    return f"{{tokenExchange: {{{least}{more}}}}}"


def kind_of(text: str) -> object:
    spec, problems = read_shape(SOURCE_SPEC, text)
    assert not problems
    return spec.kind


def test_reads_client_credentials() -> None:
    assert kind_of(credentials()) == Oauth2ClientCredentials(URL, "trainer", FederatedAssertion("podkey"))
    more = (
        ", scopes: [read, api://x/.default], audience: https://api, resource: ['urn:r', 'https://api'], "
        f"revocationUrl: {URL}/revoke"
    )
    assert kind_of(credentials(more)) == Oauth2ClientCredentials(
        URL,
        "trainer",
        FederatedAssertion("podkey"),
        ("read", "api://x/.default"),
        "https://api",
        ("urn:r", "https://api"),
        f"{URL}/revoke",
    )


def test_reads_a_token_exchange() -> None:
    assert kind_of(exchange()) == TokenExchange(URL, "podkey")
    more = (
        f", subjectTokenType: 'urn:s', requestedTokenType: '{ACCESS_TOKEN_TYPE}', audience: a, "
        "resource: ['https://api'], scopes: [read], clientId: c, "
        "auth: {secretPost: {secretName: s, key: k}}, revocationUrl: https://login.example.com/revoke, "
        "actor: {mountedToken: {secretName: gateway, key: token, tokenType: 'urn:t'}}"
    )
    assert kind_of(exchange(more)) == TokenExchange(
        URL,
        "podkey",
        "urn:s",
        ACCESS_TOKEN_TYPE,
        "a",
        ("https://api",),
        ("read",),
        MountedActor(SecretKey("gateway", "token"), "urn:t"),
        "c",
        SecretPost(SecretKey("s", "k")),
        "https://login.example.com/revoke",
    )


@pytest.mark.parametrize(
    ("actor", "read"),
    [
        ("{projectedToken: {audience: gateway}}", ProjectedActor("gateway")),
        ("{projectedToken: {audience: gateway, tokenType: 'urn:t'}}", ProjectedActor("gateway", "urn:t")),
    ],
)
def test_reads_an_actor_that_is_the_pod_itself(actor: str, read: ProjectedActor) -> None:
    assert kind_of(exchange(f", actor: {actor}")) == TokenExchange(URL, "podkey", actor=read)


@given(kind=CLIENT_CREDENTIALS | token_exchanges())
def test_property_what_is_written_is_read_as_it_was(kind: Oauth2ClientCredentials | TokenExchange) -> None:
    assert kind_of(write_documents([rendered(kind)])) == kind


def test_says_nothing_about_what_is_as_it_would_be_anyway() -> None:
    exchange = TokenExchange(URL, "podkey", actor=ProjectedActor("gateway"))
    assert rendered(exchange) == {
        "tokenExchange": {
            "tokenUrl": URL,
            "subjectAudience": "podkey",
            "actor": {"projectedToken": {"audience": "gateway"}},
        }
    }


@pytest.mark.parametrize(
    ("text", "code", "message", "fix"),
    [
        (
            credentials(least="clientId: c, auth: {federated: {audience: a}}"),
            "missing_key",
            "`tokenUrl`",
            "an https URL",
        ),
        (
            credentials(least=f"tokenUrl: {URL}, auth: {{federated: {{audience: a}}}}"),
            "missing_key",
            "`clientId`",
            "add",
        ),
        (credentials(least=f"tokenUrl: {URL}, clientId: c"), "missing_key", "`auth`", "add `auth:`"),
        (credentials(least=LEAST.replace("https:", "http:")), "bad_value", "plain http", "https://"),
        (credentials(", revocationUrl: ftp://a.example"), "bad_value", "not an https URL", "https://"),
        (
            credentials(", scopes: [read write]"),
            "bad_value",
            "`read write` is not a scope",
            "one scope an item",
        ),
        (credentials(", scopes: []"), "empty_list", "the list is empty", "remove the key"),
        (credentials(", resource: [api]"), "bad_value", "`api` is not the URI of a resource", "absolute URI"),
        (credentials(", resource: ['https://a#b']"), "bad_value", "not the URI of a resource", "without `#`"),
        (
            credentials(f", resource: {[f'urn:{n}' for n in range(9)]}"),
            "too_long",
            "the limit is 8",
            "split",
        ),
        (exchange(least=f"tokenUrl: {URL}"), "missing_key", "`subjectAudience`", "an audience"),
        (
            exchange(", requestedTokenType: jwt"),
            "bad_value",
            "`jwt` is not the URI of a token type",
            "such as `urn:ietf:params:oauth:token-type:jwt`",
        ),
        (
            exchange(", auth: {federated: {audience: a}}"),
            "bad_value",
            "`auth` proves a client, and none is named",
            "add `clientId`",
        ),
        (exchange(", actor: {}"), "exactly_one", "`mountedToken`, `projectedToken`", "add one of"),
        (
            exchange(", actor: {mountedToken: {secretName: s, key: k}}"),
            "missing_key",
            "`tokenType`",
            "add `tokenType:`",
        ),
        (exchange(", actor: {projectedToken: {}}"), "missing_key", "`audience`", "an audience"),
        (exchange(", subjectToken: x"), "unknown_key", "`subjectToken`", "did you mean `subjectTokenType`?"),
    ],
)
def test_tells_what_is_wrong_with_a_source(text: str, code: str, message: str, fix: str) -> None:
    value, problems = read_shape(SOURCE_SPEC, text)
    assert value is INVALID
    assert codes(problems) == [code]
    assert message in problems[0].message
    assert fix in problems[0].fix


@pytest.mark.parametrize("shape", [RESOURCE, TOKEN_TYPE])
def test_a_uri_is_absolute_and_has_no_fragment(shape: Text) -> None:
    for text in ("urn:a", "https://api.example.com/x?y=%20", "api://0f3d8a52", "spiffe://a/b"):
        assert read_shape(shape, f"'{text}'") == (text, [])
    for text in (
        "api.example.com",
        "/x",
        "1a:b",
        "urn:",
        "urn:a b",
        "urn:a#",
        "urn:é",
        "urn:" + "x" * 481,
    ):
        assert read_shape(shape, f'"{text}"')[0] is INVALID


def test_a_token_cannot_be_attached_as_a_pair_of_keys() -> None:
    text = source(attach="{sigv4: {}}").replace(
        "mountedSecret: {secretName: s, key: token}", f"tokenExchange: {{{SUBJECT}}}"
    )
    _, problems = read_shape(SOURCE_DOCUMENT, text)
    assert [(p.code, p.message, p.fix) for p in problems] == [
        (
            ProblemCode.ATTACH_MISMATCH,
            "`sigv4` needs accessKeyId, secretAccessKey, and this kind of source gives token",
            "choose an `attach` that takes token, or another kind",
        )
    ]
    read, problems = read_shape(SOURCE_DOCUMENT, text.replace("sigv4", "bearer"))
    assert isinstance(read, CredentialSource)
    assert not problems
