"""Every name that one part of podkey writes and another reads stands here, once."""

from typing import Final

API_GROUP: Final = "podkey.io"
API_VERSION: Final = f"{API_GROUP}/v1alpha1"

ACCESS_POLICY: Final = "AccessPolicy"
CREDENTIAL_SOURCE: Final = "CredentialSource"
CATALOGUE_ENTRY: Final = "CatalogueEntry"

# Kubernetes reads a namespaced object without a namespace as one in this namespace; so do we.
DEFAULT_NAMESPACE: Final = "default"
