import pytest

from proxy.core.credentials import (
    AttachScheme,
    Basic,
    Bearer,
    CredentialRef,
    CredentialSource,
    Derived,
    EcrToken,
    ExpressSession,
    Header,
    QueryParameter,
    RegistryToken,
    SigV4,
    derivation_name,
    needed_parts,
    optional_parts,
    scheme_name,
)
from proxy.core.mounted_sources import MountedSecret
from proxy.core.parts import Part
from proxy.core.structs import replace

KEY_PAIR = frozenset({Part.ACCESS_KEY_ID, Part.SECRET_ACCESS_KEY})
ONLY_TOKEN = frozenset({Part.TOKEN})


@pytest.mark.parametrize(
    ("scheme", "name", "needed"),
    [
        (Bearer(), "bearer", ONLY_TOKEN),
        (Basic(), "basic", frozenset({Part.USERNAME, Part.PASSWORD})),
        (Basic("api"), "basic", ONLY_TOKEN),
        (Basic(""), "basic", ONLY_TOKEN),
        (Header("X-Api-Key"), "header", ONLY_TOKEN),
        (QueryParameter("key"), "query", ONLY_TOKEN),
        (SigV4(), "sigv4", KEY_PAIR),
        (EcrToken(), "ecrToken", KEY_PAIR),
    ],
)
def test_a_scheme_knows_its_key_and_the_parts_it_needs(
    scheme: AttachScheme, name: str, needed: frozenset[Part]
) -> None:
    assert scheme_name(scheme) == name
    assert needed_parts(scheme) == needed


def test_only_sigv4_can_use_a_session_token() -> None:
    assert optional_parts(SigV4()) == {Part.SESSION_TOKEN}
    others: tuple[AttachScheme, ...] = (Bearer(), Basic(), Header("X-Api-Key"), QueryParameter("key"))
    assert [optional_parts(scheme) for scheme in others] == [frozenset()] * 4


def test_parts_are_spelled_as_documents_spell_them() -> None:
    assert [part.value for part in Part] == [
        "token",
        "username",
        "password",
        "accessKeyId",
        "secretAccessKey",
        "sessionToken",
    ]


def test_a_mounted_secret_tells_which_parts_it_has() -> None:
    secret = MountedSecret("aws", ((Part.ACCESS_KEY_ID, "id"), (Part.SECRET_ACCESS_KEY, "key")))
    assert secret.parts == KEY_PAIR


def test_a_source_is_named_by_namespace_and_name() -> None:
    source = CredentialSource("ml-team", "openai", MountedSecret("openai", ((Part.TOKEN, "api-key"),)))
    assert source.ref == CredentialRef("ml-team", "openai")
    assert str(source.ref) == "ml-team/openai"
    assert source.attach is None


def test_references_sort_by_namespace_and_then_by_name() -> None:
    refs = [CredentialRef("b", "a"), CredentialRef("a", "z"), CredentialRef("a", "b")]
    assert [str(ref) for ref in sorted(refs)] == ["a/b", "a/z", "b/a"]


def test_a_reference_cannot_be_changed_after_it_was_checked() -> None:
    ref = CredentialRef("ml-team", "openai")
    with pytest.raises(AttributeError):
        ref.namespace = "other"  # type: ignore[misc]


def test_what_is_derived_is_named_for_people_and_what_documents_say_is_not() -> None:
    mounted = MountedSecret("s", ((Part.ACCESS_KEY_ID, "id"), (Part.SECRET_ACCESS_KEY, "key")))
    reads = ExpressSession("b--z--x-s3.example.com", "eu-central-1", read_only=True)
    kinds = [Derived(mounted, what) for what in (reads, replace(reads, read_only=False), RegistryToken("x"))]
    assert [derivation_name(kind) for kind in (mounted, *kinds)] == [
        None,
        "session of b--z--x-s3.example.com, to read",
        "session of b--z--x-s3.example.com",
        "registry token for x",
    ]


def test_what_is_derived_has_the_parts_of_what_it_stands_for() -> None:
    mounted = MountedSecret("s", ((Part.TOKEN, "t"),))
    session = Derived(mounted, ExpressSession("b.example.com", "eu-central-1", read_only=True))
    assert session.parts == needed_parts(SigV4()) | {Part.SESSION_TOKEN}
    assert Derived(mounted, RegistryToken("x")).parts == {Part.USERNAME, Part.PASSWORD}
