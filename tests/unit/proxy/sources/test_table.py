import pytest
from hypothesis import Phase, find, given, settings

from proxy.core.aws_sources import AwsStatic, AwsWebIdentity, SessionPolicy
from proxy.core.azure_source import AzureWorkloadIdentity
from proxy.core.credentials import CredentialSource, Derived, RegistryToken, SourceKind
from proxy.core.gcp_source import GcpWorkloadIdentity
from proxy.core.llm_source import LlmWorkloadIdentity, OpenAiFederation
from proxy.core.mounted_sources import MountedSecret
from proxy.core.parts import Part
from proxy.core.secret import Secret
from proxy.core.structs import replace
from proxy.sources.steps import Acquired, HttpCall, ReadFiles, ReadToken, Step
from proxy.sources.table import is_local, renewal_of, revocation_of, steps_of
from tests.document_strategies import CREDENTIAL_SOURCES, REMOTE_KINDS
from tests.source_world import OCCASION

MOUNTED = MountedSecret("hf", ((Part.TOKEN, "token"),))
FEDERATED = (
    GcpWorkloadIdentity("projects/1", "aud"),
    AzureWorkloadIdentity("t", "c", "s/.default", audience="aud"),
    LlmWorkloadIdentity(OpenAiFederation("p", "a", "aud")),
)

# Any will do: to look for a simpler one takes seconds.
FIRST = settings(phases=[Phase.generate], max_examples=10, database=None)
AWS = (
    AwsWebIdentity("arn:aws:iam::111122223333:role/r", "us-east-1", session_policy=SessionPolicy.NONE),
    AwsStatic("s"),
)
DERIVED = Derived(AWS[1], RegistryToken("us-east-1"))
KEYS = replace(OCCASION, base={Part.ACCESS_KEY_ID: Secret(b"id"), Part.SECRET_ACCESS_KEY: Secret(b"secret")})


@pytest.mark.parametrize(
    ("kind", "first"),
    [(MOUNTED, ReadFiles("hf", ("token",))), *((kind, ReadToken("aud")) for kind in FEDERATED)],
)
def test_a_kind_is_acquired_by_its_own_module(kind: SourceKind, first: Step) -> None:
    assert next(steps_of(kind, OCCASION)) == first


@pytest.mark.parametrize("kind", [MOUNTED, *FEDERATED, *AWS, DERIVED])
def test_what_no_source_takes_back_is_fetched_anew_and_left_to_end(kind: SourceKind) -> None:
    assert renewal_of(kind, Acquired({}), OCCASION) is None
    assert revocation_of(kind, Acquired({}), OCCASION) is None


def test_only_files_are_local() -> None:
    assert [kind for kind in (MOUNTED, *FEDERATED, *AWS, DERIVED) if is_local(kind)] == [MOUNTED, AWS[1]]


def test_every_kind_there_is_stands_in_the_table() -> None:
    remote = [find(kinds, lambda _: True, settings=FIRST) for kinds in REMOTE_KINDS]
    every = (MOUNTED, *FEDERATED, *AWS, DERIVED, *remote)
    for kind in every:
        assert isinstance(next(steps_of(kind, KEYS)), ReadFiles | ReadToken | HttpCall)
    assert {*map(type, every)} == set(SourceKind.__args__)


@given(CREDENTIAL_SOURCES)
def test_what_brought_nothing_along_is_neither_renewed_nor_revoked_in_files(source: CredentialSource) -> None:
    kind = source.kind
    assert isinstance(next(steps_of(kind, OCCASION)), ReadFiles | ReadToken | HttpCall)
    nothing = Acquired({})
    assert renewal_of(kind, nothing, OCCASION) is None, "what is not renewable is acquired anew"
    revocation = revocation_of(kind, nothing, OCCASION)
    assert revocation is None or not is_local(kind)
