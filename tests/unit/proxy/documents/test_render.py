from datetime import UTC, datetime
from pathlib import Path
from typing import get_args
from zoneinfo import ZoneInfo

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.credentials import (
    AttachScheme,
    Basic,
    Bearer,
    CredentialSource,
    Derived,
    EcrToken,
    Header,
    QueryParameter,
    RegistryToken,
    SigV4,
    SourceKind,
)
from proxy.core.globs import Glob
from proxy.core.hosts import Hostname, HostPattern
from proxy.core.labels import LabelRequirement, LabelSelector, Operator
from proxy.core.mounted_sources import MountedSecret
from proxy.core.parts import Part
from proxy.core.paths import PathPattern
from proxy.core.policy import (
    Access,
    AccessPolicy,
    Addressing,
    ForeignPresigned,
    Gpu,
    Grant,
    ImageRules,
    Limits,
    Mode,
    OnForeignCredential,
    OnRevoke,
    StoreEndpoint,
    WorkloadSelector,
)
from proxy.core.services import Catalogue
from proxy.core.structs import replace
from proxy.core.validity import Day, Validity, WeeklyWindow
from proxy.documents.credential_documents import SOURCE_DOCUMENT
from proxy.documents.policy_documents import POLICY_DOCUMENT
from proxy.documents.reader import Documents, read_documents
from proxy.documents.render import kind_name, render, render_one
from tests.document_strategies import CREDENTIAL_SOURCES, GRANTING, POLICIES, read_shape

STORE = Hostname("store.example.com")
TOKEN = MountedSecret("s", ((Part.TOKEN, "key"),))


def test_says_nothing_about_what_is_as_it_would_be_anyway() -> None:
    grant = Grant("one", hosts=(HostPattern("api.example.com"),))
    assert render_one(AccessPolicy("ml", "p", WorkloadSelector(("trainer",)), (grant,))) == {
        "apiVersion": "podkey.io/v1alpha1",
        "kind": "AccessPolicy",
        "metadata": {"name": "p", "namespace": "ml"},
        "spec": {
            "workloads": {"serviceAccounts": ["trainer"]},
            "grants": [{"hosts": ["api.example.com"], "credential": "one"}],
        },
    }


def test_says_all_that_differs() -> None:
    digest = "sha256:" + "0" * 64
    who = WorkloadSelector(
        ("*",),
        LabelSelector(
            (("a", "no"),),
            (LabelRequirement("b", Operator.IN, ("c",)), LabelRequirement("d", Operator.EXISTS)),
        ),
        Gpu.FORBIDDEN,
        ImageRules((PathPattern("/nvcr.io/**"),), (digest,)),
    )
    grant = Grant(
        "one",
        "s3",
        ports=(443, 8443),
        methods=("GET",),
        paths=(PathPattern("/a"),),
        query=(("q", ()), ("r", ("1",))),
        pins=(("bucket", (Glob("b"),)),),
        prefixes=("x/",),
        access=(Access.READ,),
        actions=("s3:GetObjectAcl",),
        expected_bucket_owner="111122223333",
        allow_minting=("CreateSession",),
        on_foreign_credential=OnForeignCredential.REFUSE,
    )
    window = WeeklyWindow((Day.MON, Day.SUN), 510, 1440, ZoneInfo("Europe/Berlin"))
    valid = Validity(datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, 0, 0, 0, 5, UTC), (window,))
    assert render_one(AccessPolicy("ml", "p", who, (grant,), Mode.OBSERVE, valid, OnRevoke.CUT))["spec"] == {
        "workloads": {
            "serviceAccounts": ["*"],
            "podSelector": {
                "matchLabels": {"a": "no"},
                "matchExpressions": [
                    {"key": "b", "operator": "In", "values": ["c"]},
                    {"key": "d", "operator": "Exists"},
                ],
            },
            "gpu": "forbidden",
            "images": {"repositories": ["nvcr.io/**"], "digests": [digest]},
        },
        "mode": "observe",
        "onRevoke": "cut",
        "validity": {
            "notBefore": "2026-01-01T00:00:00Z",
            "notAfter": "2027-01-01T00:00:00.000005Z",
            "windows": [
                {"days": ["Mon", "Sun"], "from": "08:30", "to": "24:00", "timeZone": "Europe/Berlin"}
            ],
        },
        "grants": [
            {
                "service": "s3",
                "ports": [443, 8443],
                "methods": ["GET"],
                "paths": ["/a"],
                "query": {"q": [], "r": ["1"]},
                "pins": {"bucket": ["b"]},
                "prefixes": ["x/"],
                "access": ["read"],
                "actions": ["s3:GetObjectAcl"],
                "expectedBucketOwner": "111122223333",
                "credential": "one",
                "allowMinting": ["CreateSession"],
                "onForeignCredential": "refuse",
            }
        ],
    }


@pytest.mark.parametrize(
    ("store", "port", "written"),
    [
        (StoreEndpoint(STORE), 443, {"endpoint": "store.example.com"}),
        (StoreEndpoint(STORE, "us-east-1"), 9000, {"endpoint": "store.example.com:9000"}),
        (
            StoreEndpoint(STORE, "eu-1", Addressing.VIRTUAL),
            443,
            {"endpoint": "store.example.com", "region": "eu-1", "addressing": "virtual"},
        ),
    ],
)
def test_writes_the_port_of_a_store_behind_its_host(
    store: StoreEndpoint, port: int, written: dict[str, str]
) -> None:
    grant = Grant("one", "s3", ports=(port,), endpoint=store, foreign_presigned=ForeignPresigned.PASS)
    document = render_one(AccessPolicy("ml", "p", WorkloadSelector(("*",)), (grant,)))
    whole = {"service": "s3", **written, "credential": "one", "foreignPresigned": "pass"}
    assert document["spec"]["grants"] == [whole]


def test_a_derived_credential_stands_in_no_document() -> None:
    derived = Derived(TOKEN, RegistryToken("eu-central-1"))
    with pytest.raises(TypeError, match="stands in no document"):
        render_one(CredentialSource("ml", "one", derived))


@pytest.mark.parametrize(
    ("scheme", "written"),
    [
        (None, {}),
        (Bearer(), {"attach": {"bearer": {}}}),
        (SigV4(), {"attach": {"sigv4": {}}}),
        (EcrToken(), {"attach": {"ecrToken": {}}}),
        (Basic(), {"attach": {"basic": {}}}),
        (Basic(""), {"attach": {"basic": {"username": ""}}}),
        (Basic("api"), {"attach": {"basic": {"username": "api"}}}),
        (Header("X"), {"attach": {"header": {"name": "X"}}}),
        (Header("X", "Key "), {"attach": {"header": {"name": "X", "prefix": "Key "}}}),
        (QueryParameter("key"), {"attach": {"query": {"name": "key"}}}),
    ],
)
def test_writes_how_a_credential_is_attached(scheme: AttachScheme | None, written: dict[str, object]) -> None:
    secret = {"mountedSecret": {"secretName": "s", "keys": {"token": "key"}}}
    assert render_one(CredentialSource("ml", "one", TOKEN, scheme)) == {
        "apiVersion": "podkey.io/v1alpha1",
        "kind": "CredentialSource",
        "metadata": {"name": "one", "namespace": "ml"},
        "spec": secret | written,
    }


def test_says_whose_pods_and_what_may_be_granted() -> None:
    all_of = LabelSelector(match_expressions=(LabelRequirement("tenant", Operator.EXISTS),))
    wide = WorkloadSelector(("*",), namespaces=LabelSelector((("tenant", "yes"),)))
    grant = Grant("one", hosts=(HostPattern("api.example.com"),))
    assert render_one(AccessPolicy("podkey-system", "p", wide, (grant,)))["spec"]["workloads"] == {
        "serviceAccounts": ["*"],
        "namespaceSelector": {"matchLabels": {"tenant": "yes"}},
    }
    for limits, written in (
        (Limits((HostPattern("*.example.com"),)), {"hosts": ["*.example.com"]}),
        (Limits(services=("openai", "s3")), {"services": ["openai", "s3"]}),
    ):
        one = AccessPolicy("podkey-system", "l", WorkloadSelector(namespaces=all_of), (), limits=limits)
        assert render_one(one)["spec"] == {
            "workloads": {
                "namespaceSelector": {"matchExpressions": [{"key": "tenant", "operator": "Exists"}]}
            },
            "limits": written,
        }


def test_writes_one_yaml_document_each() -> None:
    sources = [CredentialSource("ml", name, TOKEN) for name in ("one", "no")]
    assert list(yaml.safe_load_all(render(sources))) == [render_one(source) for source in sources]


@given(policy=POLICIES)
def test_property_a_policy_that_is_written_is_read_as_it_was(policy: AccessPolicy) -> None:
    assert read_shape(POLICY_DOCUMENT, render([policy])) == (policy, [])


@given(source=CREDENTIAL_SOURCES)
def test_property_a_source_that_is_written_is_read_as_it_was(source: CredentialSource) -> None:
    assert read_shape(SOURCE_DOCUMENT, render([source])) == (source, [])


@st.composite
def linked(draw: st.DrawFn) -> tuple[list[AccessPolicy], list[CredentialSource]]:
    """Policies whose grants name hosts of their own, and the sources that they name."""
    policies, sources = [], []
    for number, base in enumerate(draw(st.lists(GRANTING, min_size=1, max_size=2))):
        namespace = draw(st.sampled_from(("ml", "nlp")))
        grants = tuple(
            replace(
                Grant(f"c{number}-{index}", hosts=(HostPattern(f"h{number}-{index}.example.com"),)),
                paths=grant.paths,
                query=grant.query,
                on_foreign_credential=grant.on_foreign_credential,
            )
            for index, grant in enumerate(base.grants)
        )
        policies.append(replace(base, namespace=namespace, name=f"p{number}", grants=grants))
        sources.extend(CredentialSource(namespace, grant.credential, TOKEN, Bearer()) for grant in grants)
    return policies, sources


@given(documents=linked())
def test_property_a_whole_folder_that_is_written_is_read_as_it_was(
    catalogue: Catalogue, documents: tuple[list[AccessPolicy], list[CredentialSource]]
) -> None:
    policies, sources = documents
    text = render([*sources, *policies])
    result = read_documents({"all.yaml": text.encode()}, catalogue)
    assert result.problems == ()
    assert result.counted == len(policies) + len(sources)

    def name(document: AccessPolicy | CredentialSource) -> tuple[str, str]:
        return document.namespace, document.name

    assert result.documents == Documents(tuple(sorted(policies, key=name)), tuple(sorted(sources, key=name)))
    assert render([*result.documents.sources, *result.documents.policies]) == render(
        [*sorted(sources, key=name), *sorted(policies, key=name)]
    )


EXAMPLES = sorted((Path(__file__).parents[4] / "examples" / "credential-sources").glob("*.yaml"))


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_each_kind_of_source_is_written_as_its_example_is_read(catalogue: Catalogue, file: Path) -> None:
    sources = read_documents({file.name: file.read_bytes()}, catalogue).documents.sources

    assert sources
    for source in sources:
        assert f"\n  {kind_name(source.kind)}:" in file.read_text()
        again = read_documents({file.name: render([source]).encode()}, catalogue)
        assert again.documents.sources == (source,)


def test_every_kind_of_source_has_an_example(catalogue: Catalogue) -> None:
    files = {file.name: file.read_bytes() for file in EXAMPLES}
    kinds = {type(source.kind) for source in read_documents(files, catalogue).documents.sources}

    assert kinds == set(get_args(SourceKind)) - {Derived}
