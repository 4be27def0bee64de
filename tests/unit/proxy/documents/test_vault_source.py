from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.credentials import Basic, Bearer, SigV4
from proxy.core.parts import Part
from proxy.core.vault_source import VaultAuth, VaultDynamic, VaultKv2, VaultMethod, VaultSecret
from proxy.documents.credential_documents import SOURCE_SPEC, SourceSpec
from proxy.documents.reading import INVALID
from proxy.documents.vault_source import FIELDS, VAULT, rendered
from proxy.documents.yaml_nodes import write_documents
from tests.document_strategies import read_shape, vault_secrets

ADDRESS = "https://vault.example.com:8200"
KUBERNETES = "auth: {kubernetes: {role: trainer, audience: vault}}"
KV2 = "read: {kv2: {path: teams/ml/api, fields: {token: api_key}}}"
MINIMAL = f"{{address: '{ADDRESS}', {KUBERNETES}, {KV2}}}"
AUTH = VaultAuth(VaultMethod.KUBERNETES, "kubernetes", "trainer", "vault")
READ = VaultKv2("secret", "teams/ml/api", ((Part.TOKEN, "api_key"),))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (MINIMAL, VaultSecret(ADDRESS, AUTH, READ)),
        (MINIMAL.replace(":8200", ":8200/"), VaultSecret(ADDRESS, AUTH, READ)),
        (
            MINIMAL.replace(
                "auth: {kubernetes: {role", "namespace: admin/ml, auth: {jwt: {mount: gpu/jwt, role"
            ),
            VaultSecret(ADDRESS, VaultAuth(VaultMethod.JWT, "gpu/jwt", "trainer", "vault"), READ, "admin/ml"),
        ),
        (
            MINIMAL.replace("kv2: {", "kv2: {mount: kv, version: 3, maxAge: 1h, "),
            VaultSecret(ADDRESS, AUTH, VaultKv2("kv", READ.path, READ.fields, 3, timedelta(hours=1))),
        ),
        (
            MINIMAL.replace(
                KV2, "read: {dynamic: {path: database/creds/ml, fields: {username: user, password: pw}}}"
            ),
            VaultSecret(
                ADDRESS,
                AUTH,
                VaultDynamic("database/creds/ml", ((Part.PASSWORD, "pw"), (Part.USERNAME, "user"))),
            ),
        ),
        (
            MINIMAL.replace(
                KV2, "read: {dynamic: {path: aws/sts/ml, parameters: {ttl: 1h, a: b}, fields: {token: t}}}"
            ),
            VaultSecret(
                ADDRESS, AUTH, VaultDynamic("aws/sts/ml", ((Part.TOKEN, "t"),), (("a", "b"), ("ttl", "1h")))
            ),
        ),
    ],
)
def test_reads_a_secret_of_vault(text: str, expected: VaultSecret) -> None:
    assert read_shape(VAULT, text) == (expected, [])


@pytest.mark.parametrize(
    ("change", "path", "message", "fix"),
    [
        (("https:", "http:"), "address", "is plain http", "https"),
        ((KUBERNETES, "auth: {}"), "auth", "exactly one of `kubernetes`, `jwt`", "add one of"),
        (
            ("auth: {", "auth: {jwt: {role: a, audience: b}, "),
            "auth",
            "the login has `kubernetes` and `jwt`",
            "keep one",
        ),
        (("role: trainer, ", ""), "auth.kubernetes", "`role` is missing", "add `role:`"),
        ((", audience: vault", ""), "auth.kubernetes", "`audience` is missing", "add `audience:`"),
        (("audience: vault", "audience: 'a b'"), "auth.kubernetes.audience", "is not an audience", "blanks"),
        (("role: trainer", 'role: "a\\nb"'), "auth.kubernetes.role", "is not a role", "the role's name"),
        ((KV2, "read: {}"), "read", "exactly one of `kv2`, `dynamic`", "add one of"),
        (("teams/ml/api", "/teams/ml"), "read.kv2.path", "begins or ends with a slash", "write `teams/ml`"),
        (("teams/ml/api", "teams/"), "read.kv2.path", "begins or ends with a slash", "write `teams`"),
        (("teams/ml/api", "/"), "read.kv2.path", "begins or ends with a slash", "write `teams/ml/api`"),
        (("teams/ml/api", "a//b"), "read.kv2.path", "an empty or a dot segment", "plain segments"),
        (("teams/ml/api", "a/../b"), "read.kv2.path", "an empty or a dot segment", "plain segments"),
        (("teams/ml/api", "./b"), "read.kv2.path", "an empty or a dot segment", "plain segments"),
        (("teams/ml/api", "a/b."), "read.kv2.path", "ends in a period", "plain segments"),
        (("teams/ml/api", "a?version=2"), "read.kv2.path", "holds a query or a fragment", "leave out"),
        (("teams/ml/api", "'a#b'"), "read.kv2.path", "holds a query or a fragment", "leave out"),
        (("teams/ml/api", '"a\\tb"'), "read.kv2.path", "is not a path in Vault", "plain segments"),
        (("teams/ml/api", "a" * 513), "read.kv2.path", "is not a path in Vault", "plain segments"),
        (("kv2: {", "kv2: {mount: secret/, "), "read.kv2.mount", "begins or ends with a slash", "`secret`"),
        (("kv2: {", "kv2: {version: 0, "), "read.kv2.version", "0 is not a version", "from 1"),
        (("kv2: {", "kv2: {maxAge: 10s, "), "read.kv2.maxAge", "is not a time from 1m to 24h", "1m"),
        (("{token: api_key}", "{}"), "read.kv2.fields", "no key is named", "`token: api_key`"),
        (("token: api_key", "tokn: a"), "read.kv2.fields", "unknown key `tokn`", "did you mean `token`?"),
        ((", fields: {token: api_key}", ""), "read.kv2", "`fields` is missing", "add `fields:`"),
        (("address:", "namespace: 'a b', address:"), "namespace", "is not a namespace", "without blanks"),
        (("address:", "namespace: ü, address:"), "namespace", "is not a namespace", "without blanks"),
        (("address:", "namespace: a/, address:"), "namespace", "begins or ends with a slash", "write `a`"),
    ],
)
def test_tells_what_is_wrong(change: tuple[str, str], path: str, message: str, fix: str) -> None:
    value, problems = read_shape(VAULT, MINIMAL.replace(*change))
    assert value is INVALID
    assert (problems[0].path, len(problems)) == (path, 1)
    assert message in problems[0].message
    assert fix in problems[0].fix


@pytest.mark.parametrize(
    ("fields", "attach", "scheme"),
    [
        ("token: t", "bearer: {}", Bearer()),
        ("token: t", "basic: {username: u}", Basic("u")),
        ("username: u, password: p", "basic: {}", Basic()),
        ("accessKeyId: a, secretAccessKey: s, sessionToken: t", "sigv4: {}", SigV4()),
    ],
)
def test_any_scheme_takes_a_secret_with_its_fields(
    fields: str, attach: str, scheme: Bearer | Basic | SigV4
) -> None:
    text = f"{{vault: {MINIMAL.replace('token: api_key', fields)}, attach: {{{attach}}}}}"
    spec, problems = read_shape(SOURCE_SPEC, text)
    assert problems == []
    assert isinstance(spec, SourceSpec)
    assert spec.attach == scheme


def test_a_scheme_without_its_fields_is_told_which_to_name() -> None:
    _, problems = read_shape(SOURCE_SPEC, f"{{vault: {MINIMAL}, attach: {{sigv4: {{}}}}}}")
    assert problems[0].message == (
        "`sigv4` needs accessKeyId, secretAccessKey, and the secret's fields give token"
    )
    assert problems[0].fix == "name exactly these in `fields`: accessKeyId, secretAccessKey"


@given(vault_secrets())
def test_what_is_rendered_is_read_again(kind: VaultSecret) -> None:
    assert read_shape(VAULT, write_documents([rendered(kind)["vault"]])) == (kind, [])


@given(st.text(max_size=20))
def test_no_path_leaves_its_mount(text: str) -> None:
    quoted = text.replace("'", "''")
    value, _ = (
        read_shape(VAULT, MINIMAL.replace("teams/ml/api", f"'{quoted}'"))
        if text.isprintable()
        else (INVALID, [])
    )
    if value is not INVALID:
        segments = value.read.path.split("/")
        assert not {"", ".", ".."} & set(segments)
        assert not set("?#") & set(value.read.path)


def test_the_kind_has_its_key() -> None:
    assert [field.name for field in FIELDS] == ["vault"]
