import pytest

from proxy.core.credentials import (
    AttachScheme,
    Basic,
    Bearer,
    CredentialSource,
    EcrToken,
    Header,
    QueryParameter,
    SigV4,
)
from proxy.core.mounted_sources import MountedSecret
from proxy.core.parts import Part
from proxy.documents.credential_documents import ATTACH, SOURCE_DOCUMENT, SOURCE_SPEC, require_parts
from proxy.documents.problems import Fault, ProblemCode
from proxy.documents.reading import INVALID
from tests.document_strategies import ATTACH_LINE, KEYS, KIND_LINE, read_shape, source

AWS_KEYS = ((Part.ACCESS_KEY_ID, "id"), (Part.SECRET_ACCESS_KEY, "secret"))


@pytest.mark.parametrize(
    ("keys", "attach", "expected"),
    [
        ("key: token", "", CredentialSource("ml", "one", MountedSecret("s", ((Part.TOKEN, "token"),)))),
        (
            "keys: {token: t}",
            "{bearer: {}}",
            CredentialSource("ml", "one", MountedSecret("s", ((Part.TOKEN, "t"),)), Bearer()),
        ),
        (
            "keys: {username: u, password: p}",
            "{basic: {}}",
            CredentialSource(
                "ml", "one", MountedSecret("s", ((Part.PASSWORD, "p"), (Part.USERNAME, "u"))), Basic()
            ),
        ),
        (KEYS, "{sigv4: {}}", CredentialSource("ml", "one", MountedSecret("s", AWS_KEYS), SigV4())),
        (
            KEYS.replace("}", ", sessionToken: session}"),
            "{sigv4: {}}",
            CredentialSource(
                "ml", "one", MountedSecret("s", (*AWS_KEYS, (Part.SESSION_TOKEN, "session"))), SigV4()
            ),
        ),
    ],
)
def test_reads_a_source(keys: str, attach: str, expected: CredentialSource) -> None:
    assert read_shape(SOURCE_DOCUMENT, source(keys=keys, attach=attach)) == (expected, [])


@pytest.mark.parametrize(
    ("text", "scheme"),
    [
        ("{bearer: {}}", Bearer()),
        ("{basic: {}}", Basic()),
        ("{basic: {username: api}}", Basic("api")),
        ("{basic: {username: ''}}", Basic("")),
        ("{header: {name: x-api-key}}", Header("x-api-key")),
        ("{header: {name: Authorization, prefix: 'Token '}}", Header("Authorization", "Token ")),
        ("{query: {name: key}}", QueryParameter("key")),
        ("{sigv4: {}}", SigV4()),
        ("{ecrToken: {}}", EcrToken()),
    ],
)
def test_reads_how_a_credential_is_attached(text: str, scheme: AttachScheme) -> None:
    assert read_shape(ATTACH, text) == (scheme, [])


@pytest.mark.parametrize(
    ("change", "code", "line", "path", "message", "fix"),
    [
        (
            ("s, key: token", "s"),
            "exactly_one",
            5,
            "mountedSecret",
            "exactly one of `key`, `keys`",
            "add one of",
        ),
        (
            ("key: token", "key: t, keys: {}"),
            "exactly_one",
            5,
            "mountedSecret",
            "`key` and `keys`",
            "keep one",
        ),
        (
            ("key: token", "keys: {}"),
            "bad_value",
            5,
            "mountedSecret.keys",
            "no key is named",
            "`token: api-key`",
        ),
        (
            ("key: token", "keys: {tokn: a}"),
            "unknown_key",
            5,
            "mountedSecret.keys",
            "`tokn`",
            "did you mean `token`?",
        ),
        (
            ("secretName: s, ", ""),
            "missing_key",
            5,
            "mountedSecret",
            "`secretName` is missing",
            "Kubernetes object",
        ),
        (("mountedSecret", "mountSecret"), "unknown_key", 5, "", "`mountSecret` in a", "`mountedSecret`"),
        (
            ("{bearer: {}}", "bearer"),
            "wrong_type",
            6,
            "attach",
            "an attach scheme (a mapping)",
            "its keys are bearer",
        ),
        (("{bearer: {}}", "\n    bearer:"), "wrong_type", 7, "attach.bearer", "found empty", "lines"),
        (("bearer: {}", ""), "exactly_one", 6, "attach", "needs exactly one of `bearer`", "add one of"),
        (
            ("bearer: {}", "bearer: {}, sigv4: {}"),
            "exactly_one",
            6,
            "attach",
            "`bearer` and `sigv4`",
            "keep one",
        ),
        (("bearer: {}", "header: {}"), "missing_key", 6, "attach.header", "`name` is missing", "add `name:`"),
        (("bearer: {}", "query: {}"), "missing_key", 6, "attach.query", "`name` is missing", "add `name:`"),
        (("bearer: {}", "sigv4: {a: b}"), "unknown_key", 6, "attach.sigv4", "`a` in sigv4", "remove it"),
        (
            ("bearer: {}", "sigv4: {}"),
            "attach_mismatch",
            5,
            "",
            "`sigv4` needs accessKeyId, secretAccessKey, and the secret's keys give token",
            "name exactly these in `keys`: accessKeyId, secretAccessKey",
        ),
        (
            ("key: token", KEYS),
            "attach_mismatch",
            5,
            "",
            "`bearer` needs token, and the secret's keys give accessKeyId, secretAccessKey",
            "name exactly these in `keys`: token",
        ),
    ],
)
def test_tells_what_is_wrong_with_a_source(
    change: tuple[str, str], *, code: str, line: int, path: str, message: str, fix: str
) -> None:
    value, problems = read_shape(SOURCE_DOCUMENT, source().replace(*change))
    problem = problems[0]
    assert value is INVALID
    assert (problem.code.value, problem.line, problem.path) == (code, line, f"spec.{path}".rstrip("."))
    assert message in problem.message
    assert fix in problem.fix


def test_a_source_without_a_kind_is_told_which_kind_there_is() -> None:
    _, problems = read_shape(
        SOURCE_DOCUMENT, source().replace("  mountedSecret: {secretName: s, key: token}\n", "")
    )
    (problem,) = problems
    names = SOURCE_SPEC.exactly_one[0]
    assert len(names) == 10
    assert problem.code is ProblemCode.EXACTLY_ONE
    assert problem.message.startswith("a credential source needs exactly one of `mountedSecret`, `")
    assert all(f"`{name}`" in problem.message for name in names)


def test_kind_and_scheme_stand_on_the_lines_that_the_table_counts() -> None:
    lines = source().splitlines()
    assert "mountedSecret" in lines[KIND_LINE - 1]
    assert "attach" in lines[ATTACH_LINE - 1]


@pytest.mark.parametrize(
    ("scheme", "parts", "fits"),
    [
        (Bearer(), {Part.TOKEN}, True),
        (Header("x"), {Part.TOKEN}, True),
        (QueryParameter("x"), {Part.TOKEN}, True),
        (Basic("api"), {Part.TOKEN}, True),
        (Basic(), {Part.USERNAME, Part.PASSWORD}, True),
        (SigV4(), {Part.ACCESS_KEY_ID, Part.SECRET_ACCESS_KEY}, True),
        (SigV4(), {Part.ACCESS_KEY_ID, Part.SECRET_ACCESS_KEY, Part.SESSION_TOKEN}, True),
        (Basic(), {Part.TOKEN}, False),
        (Basic("api"), {Part.USERNAME, Part.PASSWORD}, False),
        (Bearer(), {Part.TOKEN, Part.SESSION_TOKEN}, False),
        (Bearer(), {Part.TOKEN, Part.USERNAME}, False),
        (EcrToken(), {Part.ACCESS_KEY_ID, Part.SECRET_ACCESS_KEY}, True),
        (EcrToken(), {Part.ACCESS_KEY_ID, Part.SECRET_ACCESS_KEY, Part.SESSION_TOKEN}, True),
        (EcrToken(), {Part.USERNAME, Part.PASSWORD}, False),
        (SigV4(), {Part.ACCESS_KEY_ID}, False),
        (SigV4(), {Part.SESSION_TOKEN}, False),
    ],
)
def test_a_scheme_takes_the_parts_that_it_needs_and_no_others(
    scheme: AttachScheme, parts: set[Part], *, fits: bool
) -> None:
    secret = MountedSecret("s", tuple((part, "k") for part in parts))
    if fits:
        require_parts(secret, scheme)
    else:
        with pytest.raises(Fault) as caught:
            require_parts(secret, scheme)
        assert caught.value.code is ProblemCode.ATTACH_MISMATCH
