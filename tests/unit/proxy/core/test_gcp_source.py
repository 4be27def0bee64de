from datetime import timedelta

from proxy.core.gcp_source import CLOUD_PLATFORM, GcpWorkloadIdentity, Impersonation, default_audience
from proxy.core.parts import Part

PROVIDER = "projects/123456789012/locations/global/workloadIdentityPools/acme-pool/providers/acme-cluster"


def test_a_provider_allows_its_own_name_as_an_audience() -> None:
    assert default_audience(PROVIDER) == f"https://iam.googleapis.com/{PROVIDER}"


def test_it_gives_one_token_with_the_scope_of_all_of_google_cloud() -> None:
    kind = GcpWorkloadIdentity(PROVIDER, "aud")

    assert kind.parts == {Part.TOKEN}
    assert (kind.scopes, kind.universe, kind.impersonation) == ((CLOUD_PLATFORM,), "googleapis.com", None)


def test_the_pool_is_what_principals_are_named_by() -> None:
    kind = GcpWorkloadIdentity(PROVIDER, "aud")

    assert kind.pool == "projects/123456789012/locations/global/workloadIdentityPools/acme-pool"


def test_sources_that_differ_in_anything_are_different_leases() -> None:
    one = GcpWorkloadIdentity(PROVIDER, "aud", impersonation=Impersonation("a@b.iam.gserviceaccount.com"))
    two = GcpWorkloadIdentity(
        PROVIDER,
        "aud",
        impersonation=Impersonation("a@b.iam.gserviceaccount.com", lifetime=timedelta(hours=1)),
    )

    assert len({one, two}) == 2
