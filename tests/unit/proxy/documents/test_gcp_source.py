from datetime import timedelta

import pytest

from proxy.core.gcp_source import GcpWorkloadIdentity, Impersonation, default_audience
from proxy.documents.gcp_source import FIELDS, rendered
from proxy.documents.reading import INVALID
from tests.document_strategies import read_shape

(FIELD,) = FIELDS
PROVIDER = "projects/123456789012/locations/global/workloadIdentityPools/acme-pool/providers/acme-cluster"
ACCOUNT = "trainer@acme-ml.iam.gserviceaccount.com"
DEFAULT = default_audience(PROVIDER)


@pytest.mark.parametrize("prefix", ["", "//iam.googleapis.com/", "https://iam.googleapis.com/"])
def test_a_provider_is_its_name_with_or_without_the_host(prefix: str) -> None:
    found, problems = read_shape(FIELD.shape, f'provider: "{prefix}{PROVIDER}"')

    assert (found, problems) == (GcpWorkloadIdentity(PROVIDER, DEFAULT), [])


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (
            f"serviceAccount: {ACCOUNT}",
            GcpWorkloadIdentity(PROVIDER, DEFAULT, impersonation=Impersonation(ACCOUNT)),
        ),
        (
            'serviceAccount: "109876543210987654321"',
            GcpWorkloadIdentity(PROVIDER, DEFAULT, impersonation=Impersonation("109876543210987654321")),
        ),
        (
            f"serviceAccount: {ACCOUNT}, lifetime: 12h, delegates: [via@acme.s3ns.iam.gserviceaccount.com]",
            GcpWorkloadIdentity(
                PROVIDER,
                DEFAULT,
                impersonation=Impersonation(
                    ACCOUNT, ("via@acme.s3ns.iam.gserviceaccount.com",), timedelta(hours=12)
                ),
            ),
        ),
        (
            'scopes: ["https://www.googleapis.com/auth/devstorage.read_only"]',
            GcpWorkloadIdentity(PROVIDER, DEFAULT, ("https://www.googleapis.com/auth/devstorage.read_only",)),
        ),
        ("audience: acme", GcpWorkloadIdentity(PROVIDER, "acme")),
        ("universe: S3NSapis.fr", GcpWorkloadIdentity(PROVIDER, DEFAULT, universe="s3nsapis.fr")),
    ],
)
def test_reads_what_is_chosen_and_renders_it(more: str, expected: GcpWorkloadIdentity) -> None:
    assert read_shape(FIELD.shape, f"{{provider: {PROVIDER}, {more}}}") == (expected, [])
    assert rendered(expected)["gcpWorkloadIdentity"]["provider"] == PROVIDER


def test_what_is_usual_is_not_written() -> None:
    assert rendered(GcpWorkloadIdentity(PROVIDER, DEFAULT)) == {"gcpWorkloadIdentity": {"provider": PROVIDER}}


def test_what_is_chosen_is_written() -> None:
    kind = GcpWorkloadIdentity(
        PROVIDER, "acme", ("s",), Impersonation(ACCOUNT, ("via",), timedelta(minutes=5)), "s3nsapis.fr"
    )

    assert rendered(kind) == {
        "gcpWorkloadIdentity": {
            "provider": PROVIDER,
            "serviceAccount": ACCOUNT,
            "delegates": ["via"],
            "lifetime": "5m",
            "scopes": ["s"],
            "audience": "acme",
            "universe": "s3nsapis.fr",
        }
    }


@pytest.mark.parametrize(
    ("text", "message", "fix"),
    [
        ("{}", "`provider` is missing", "add `provider:`"),
        ("provider: acme", "not the name of a provider", "full name with the project's number"),
        (
            "provider: projects/acme-ml/locations/global/workloadIdentityPools/pool/providers/prov",
            "names the project by its id",
            "full name with the project's number",
        ),
        (
            "provider: projects/1/locations/global/workloadIdentityPools/pool",
            "not the name of a provider",
            "full name",
        ),
        (
            "provider: projects/1/locations/eu/workloadIdentityPools/pool/providers/prov",
            "not the name of a provider",
            "full name",
        ),
        (f'provider: "//sts.example.com/{PROVIDER}"', "not the name of a provider", "full name"),
        (f"{{provider: {PROVIDER}, serviceAccount: trainer}}", "is not a service account", "e-mail"),
        (f"{{provider: {PROVIDER}, serviceAccount: ada@example.com}}", "is not a service account", "e-mail"),
        (f"{{provider: {PROVIDER}, delegates: [{ACCOUNT}]}}", "lead nowhere", "add `serviceAccount`"),
        (f"{{provider: {PROVIDER}, lifetime: 1h}}", "only be chosen with `serviceAccount`", "lives one hour"),
        (
            f"{{provider: {PROVIDER}, serviceAccount: {ACCOUNT}, lifetime: 4m}}",
            "is not a time from 5m to 12h",
            "a time from 5m to 12h",
        ),
        (
            f"{{provider: {PROVIDER}, serviceAccount: {ACCOUNT}, lifetime: 13h}}",
            "is not a time from 5m to 12h",
            "a time from 5m to 12h",
        ),
        (f"{{provider: {PROVIDER}, scopes: []}}", "the list is empty", "remove the key"),
        (f"{{provider: {PROVIDER}, universe: googleapis}}", "not a universe domain", "`googleapis.com`"),
        (f"{{provider: {PROVIDER}, universe: a/b.com}}", "not a universe domain", "`googleapis.com`"),
        (f"{{provider: {PROVIDER}, universe: 10.0.0.1}}", "not a universe domain", "`googleapis.com`"),
    ],
)
def test_what_cannot_be_is_told_with_the_fix(text: str, message: str, fix: str) -> None:
    found, (problem,) = read_shape(FIELD.shape, text)

    assert found is INVALID
    assert message in problem.message
    assert fix in problem.fix
