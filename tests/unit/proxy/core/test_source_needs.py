from collections import defaultdict
from collections.abc import Generator, Mapping
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import Phase, find, given, settings

from proxy.core.aws_sources import AwsStatic, AwsWebIdentity
from proxy.core.azure_source import AzureWorkloadIdentity
from proxy.core.credentials import CredentialSource, Derived, RegistryToken, SourceKind
from proxy.core.gcp_source import GcpWorkloadIdentity
from proxy.core.llm_source import AnthropicFederation, LlmWorkloadIdentity, OpenAiFederation
from proxy.core.mounted_sources import JsonFields, MountedSecret
from proxy.core.oauth_sources import (
    FederatedAssertion,
    MountedActor,
    Oauth2ClientCredentials,
    PrivateKeyJwt,
    ProjectedActor,
    SecretBasic,
    SecretPost,
    TokenExchange,
)
from proxy.core.parts import Part, SecretKey
from proxy.core.secret import Secret
from proxy.core.source_needs import audiences_of, secret_keys_of
from proxy.sources.steps import Acquired, HttpCall, HttpReply, ReadFiles, ReadToken, Reply, Step, StepFailed
from proxy.sources.table import renewal_of, revocation_of, steps_of
from tests.document_strategies import CREDENTIAL_SOURCES, REMOTE_KINDS
from tests.source_world import OCCASION

Reads = tuple[frozenset[str], Mapping[str, frozenset[str]]]
# A credential with all that any source would need to renew it, and to give it back.
HELD = Acquired(
    dict.fromkeys(Part, Secret(b"value")),
    timedelta(hours=1),
    {"token": Secret(b"token"), "lease_id": Secret(b"lease")},
    renewable=True,
)
PAIR = AwsStatic("keys", session_token="session")
DERIVED = Derived(PAIR, RegistryToken("us-east-1"))
CLOUDS: tuple[SourceKind, ...] = (
    GcpWorkloadIdentity("projects/1", "aud"),
    AzureWorkloadIdentity("t", "c", "s/.default", audience="aud"),
    LlmWorkloadIdentity(OpenAiFederation("p", "a", "aud")),
    LlmWorkloadIdentity(AnthropicFederation("fdrl_1", "o", "svac_1", audience="aud")),
)
# Any will do: to look for a simpler one takes seconds.
FIRST = settings(phases=[Phase.generate], max_examples=10, database=None)
KEY, OTHER = SecretKey("idp", "key"), SecretKey("idp", "actor")
TOKEN_URL = "https://idp.example.com/token"


def reads_of(kind: SourceKind, answer: Reply) -> Reads:
    """What it asks to read of the pod in its whole life, where every read succeeds."""
    audiences: set[str] = set()
    keys: dict[str, set[str]] = defaultdict(set)

    def perform(step: Step) -> Reply:
        match step:
            case ReadToken(audience):
                audiences.add(audience)
                return Secret(b"a.b.c")
            case ReadFiles(folder, names):
                keys[folder].update(names)
                return dict.fromkeys(names, b"value")
            case HttpCall():
                return answer

    for steps in (
        steps_of(kind, OCCASION),
        renewal_of(kind, HELD, OCCASION),
        revocation_of(kind, HELD, OCCASION),
    ):
        drive(steps, perform)
    return frozenset(audiences), {name: frozenset(found) for name, found in keys.items()}


def drive(steps: Generator[Step, Reply, Any] | None, perform: Any) -> None:
    reply: Any = None
    while steps is not None:
        try:
            reply = perform(steps.send(reply))
        except StopIteration:
            return


@given(CREDENTIAL_SOURCES)
def test_what_a_source_reads_was_announced_and_nothing_else_is(source: CredentialSource) -> None:
    announced = audiences_of(source.kind), secret_keys_of(source.kind)
    assert reads_of(source.kind, StepFailed("nobody answers")) == announced
    # Whatever comes back, nothing more is read.
    assert reads_of(source.kind, HttpReply(200, {}, b"{}")) == announced


def test_every_kind_there_is_is_held_against_its_steps() -> None:
    local = (MountedSecret("hf", ((Part.TOKEN, "token"),)), PAIR)
    remote = [find(kinds, lambda _: True, settings=FIRST) for kinds in REMOTE_KINDS]
    assert {*map(type, (*local, *CLOUDS, *remote, DERIVED))} == set(SourceKind.__args__)
    for kind in (*local, *CLOUDS, *remote):
        assert reads_of(kind, StepFailed("no")) == (audiences_of(kind), secret_keys_of(kind))


def test_what_is_derived_needs_what_it_is_derived_from() -> None:
    web = AwsWebIdentity("arn:aws:iam::111122223333:role/r", "us-east-1")
    assert audiences_of(Derived(web, RegistryToken("us-east-1"))) == {"sts.amazonaws.com"}
    assert secret_keys_of(DERIVED) == {"keys": {"accessKeyId", "secretAccessKey", "session"}}


@pytest.mark.parametrize(
    ("auth", "audiences", "keys"),
    [
        (SecretBasic(KEY), set(), {"idp": {"key"}}),
        (SecretPost(KEY), set(), {"idp": {"key"}}),
        (PrivateKeyJwt(KEY, audience="the-idp"), set(), {"idp": {"key"}}),
        (FederatedAssertion("the-idp"), {"the-idp"}, {}),
    ],
)
def test_a_client_needs_what_it_proves_itself_with(auth: Any, audiences: Any, keys: Any) -> None:
    kind = Oauth2ClientCredentials(TOKEN_URL, "me", auth, audience="not-the-pods")
    assert (audiences_of(kind), secret_keys_of(kind)) == (audiences, keys)


def test_an_exchange_needs_the_subject_the_actor_and_the_client() -> None:
    projected = TokenExchange(TOKEN_URL, "subject", actor=ProjectedActor("actor"))
    assert audiences_of(projected) == {"subject", "actor"}
    assert secret_keys_of(projected) == {}
    mounted = TokenExchange(
        TOKEN_URL, "subject", actor=MountedActor(OTHER, "urn:x"), client_id="me", auth=SecretPost(KEY)
    )
    assert audiences_of(mounted) == {"subject"}
    assert secret_keys_of(mounted) == {"idp": {"key", "actor"}}


def test_a_secret_of_json_is_one_key() -> None:
    kind = MountedSecret("db", json=JsonFields("login.json", ((Part.USERNAME, ("user",)),)))
    assert secret_keys_of(kind) == {"db": {"login.json"}}
