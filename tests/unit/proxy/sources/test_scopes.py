import pytest

from proxy.core.aws_sources import AwsStatic, AwsWebIdentity, SessionPolicy
from proxy.core.credentials import SourceKind
from proxy.core.globs import Glob
from proxy.core.mounted_sources import MountedSecret
from proxy.core.parts import Part
from proxy.core.policy import Access, Grant
from proxy.core.services import Catalogue
from proxy.core.structs import replace
from proxy.sources.scopes import ScopeFault, scope_of
from tests.iam import allows

ROLE = AwsWebIdentity("arn:aws:iam::111122223333:role/training", "eu-central-1")
READS = Grant("aws", "s3", pins=(("bucket", (Glob("data"),)),), access=(Access.READ,))


@pytest.mark.parametrize(
    "kind",
    [
        MountedSecret("s", ((Part.TOKEN, "k"),)),
        AwsStatic("s"),
        replace(ROLE, session_policy=SessionPolicy.NONE),
    ],
)
def test_what_cannot_or_need_not_be_narrowed_has_no_scope(kind: SourceKind, catalogue: Catalogue) -> None:
    assert scope_of(kind, [(READS, catalogue["s3"])]) == ""


def test_a_session_is_narrowed_to_what_the_grants_say(catalogue: Catalogue) -> None:
    scope = scope_of(ROLE, [(READS, catalogue["s3"])])
    assert isinstance(scope, str)
    assert allows(scope, "s3:GetObject", "arn:aws:s3:::data/x")
    assert not allows(scope, "s3:PutObject", "arn:aws:s3:::data/x")


def test_what_cannot_be_put_into_a_scope_says_why_and_names_the_ways_out(catalogue: Catalogue) -> None:
    fault = scope_of(ROLE, [(replace(READS, service="openai"), catalogue["openai"])])
    assert isinstance(fault, ScopeFault)
    assert "names the service `openai`: give this source fewer grants" in fault.message
    assert "`sessionPolicy: none`" in fault.message
