"""Azure workload identity: the pod's token as a federated credential of an application in Entra ID."""

from enum import Enum

from proxy.core.parts import Part
from proxy.core.structs import Struct


class AzureCloud(Enum):
    """The clouds that have an authority of their own; what stands here is what a document writes."""

    PUBLIC = "public"
    US_GOVERNMENT = "usGovernment"
    CHINA = "china"

    @property
    def authority(self) -> str:
        return _AUTHORITIES[self]

    @property
    def audience(self) -> str:
        """The audience that a federated credential of this cloud has, unless somebody changed it."""
        return _AUDIENCES[self]


# learn.microsoft.com/entra/identity-platform/authentication-national-cloud
_AUTHORITIES = {
    AzureCloud.PUBLIC: "https://login.microsoftonline.com",
    AzureCloud.US_GOVERNMENT: "https://login.microsoftonline.us",
    AzureCloud.CHINA: "https://login.partner.microsoftonline.cn",
}
# learn.microsoft.com/entra/workload-id/workload-identity-federation-config-app-trust-managed-identity
_AUDIENCES = {
    AzureCloud.PUBLIC: "api://AzureADTokenExchange",
    AzureCloud.US_GOVERNMENT: "api://AzureADTokenExchangeUSGov",
    AzureCloud.CHINA: "api://AzureADTokenExchangeChina",
}


def cloud_at(authority: str) -> AzureCloud | None:
    return next((cloud for cloud in AzureCloud if cloud.authority == authority), None)


class AzureWorkloadIdentity(Struct, frozen=True):
    tenant: str
    client_id: str
    # One resource and `/.default`: an application is given no less than what was consented to.
    scope: str
    authority: str = AzureCloud.PUBLIC.authority
    # Of the pod's token: what the federated credential names.
    audience: str = AzureCloud.PUBLIC.audience

    @property
    def parts(self) -> frozenset[Part]:
        return frozenset({Part.TOKEN})
