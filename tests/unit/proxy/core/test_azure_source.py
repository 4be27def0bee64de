import pytest

from proxy.core.azure_source import AzureCloud, AzureWorkloadIdentity, cloud_at
from proxy.core.parts import Part


@pytest.mark.parametrize(
    ("cloud", "authority", "audience"),
    [
        ("public", "https://login.microsoftonline.com", "api://AzureADTokenExchange"),
        ("usGovernment", "https://login.microsoftonline.us", "api://AzureADTokenExchangeUSGov"),
        ("china", "https://login.partner.microsoftonline.cn", "api://AzureADTokenExchangeChina"),
    ],
)
def test_each_cloud_has_its_own_authority_and_audience(cloud: str, authority: str, audience: str) -> None:
    assert (AzureCloud(cloud).authority, AzureCloud(cloud).audience) == (authority, audience)
    assert cloud_at(authority) is AzureCloud(cloud)


def test_an_authority_of_somebody_else_is_no_known_cloud() -> None:
    assert cloud_at("https://login.acme.example") is None


def test_it_gives_one_token_of_the_public_cloud() -> None:
    kind = AzureWorkloadIdentity("t", "c", "https://storage.azure.com/.default")

    assert kind.parts == {Part.TOKEN}
    assert cloud_at(kind.authority) is AzureCloud.PUBLIC
    assert kind.audience == AzureCloud.PUBLIC.audience
