from proxy.core import contract


def test_documents_of_both_programs_carry_the_same_api_version() -> None:
    assert contract.API_VERSION == "podkey.io/v1alpha1"
    assert contract.API_VERSION.split("/") == [contract.API_GROUP, "v1alpha1"]


def test_the_kinds_are_spelled_as_documents_spell_them() -> None:
    kinds = (contract.ACCESS_POLICY, contract.CREDENTIAL_SOURCE, contract.CATALOGUE_ENTRY)
    assert kinds == ("AccessPolicy", "CredentialSource", "CatalogueEntry")


def test_an_object_without_a_namespace_stands_where_kubernetes_puts_it() -> None:
    assert contract.DEFAULT_NAMESPACE == "default"
