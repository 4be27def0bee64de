import pytest

from proxy.core.azure_source import AzureWorkloadIdentity
from proxy.core.credentials import SourceKind
from proxy.core.gcp_source import GcpWorkloadIdentity
from proxy.core.llm_source import LlmWorkloadIdentity, OpenAiFederation
from proxy.core.mounted_sources import MountedSecret
from proxy.core.parts import Part
from proxy.sources.steps import Acquired, ReadFiles, ReadToken, Step
from proxy.sources.table import is_local, renewal_of, revocation_of, steps_of
from tests.source_world import OCCASION

MOUNTED = MountedSecret("hf", ((Part.TOKEN, "token"),))
FEDERATED = (
    GcpWorkloadIdentity("projects/1", "aud"),
    AzureWorkloadIdentity("t", "c", "s/.default", audience="aud"),
    LlmWorkloadIdentity(OpenAiFederation("p", "a", "aud")),
)


@pytest.mark.parametrize(
    ("kind", "first"),
    [(MOUNTED, ReadFiles("hf", ("token",))), *((kind, ReadToken("aud")) for kind in FEDERATED)],
)
def test_a_kind_is_acquired_by_its_own_module(kind: SourceKind, first: Step) -> None:
    assert next(steps_of(kind, OCCASION)) == first


@pytest.mark.parametrize("kind", [MOUNTED, *FEDERATED])
def test_what_no_source_takes_back_is_fetched_anew_and_left_to_end(kind: SourceKind) -> None:
    assert renewal_of(kind, Acquired({}), OCCASION) is None
    assert revocation_of(kind, Acquired({}), OCCASION) is None


def test_only_files_are_local() -> None:
    assert is_local(MOUNTED)
    assert not any(is_local(kind) for kind in FEDERATED)
