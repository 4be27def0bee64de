import re
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core import contract
from proxy.core.contract import token_file


def test_documents_of_both_programs_carry_the_same_api_version() -> None:
    assert contract.API_VERSION == "podkey.io/v1alpha1"
    assert contract.API_VERSION.split("/") == [contract.API_GROUP, "v1alpha1"]


def test_the_kinds_are_spelled_as_documents_spell_them() -> None:
    kinds = (contract.ACCESS_POLICY, contract.CREDENTIAL_SOURCE, contract.CATALOGUE_ENTRY)
    assert kinds == ("AccessPolicy", "CredentialSource", "CatalogueEntry")


def test_an_object_without_a_namespace_stands_where_kubernetes_puts_it() -> None:
    assert contract.DEFAULT_NAMESPACE == "default"


# --- tokens by their audience ------------------------------------------------------------------------

AUDIENCES = st.text(max_size=20) | st.from_regex(r"[a-z0-9._-]{1,70}", fullmatch=True)


@pytest.mark.parametrize("audience", ["podkey", "vault", "sts.amazonaws.com", "a", "0" * 63, "a-b_c.d"])
def test_an_audience_that_can_be_a_name_is_one(audience: str) -> None:
    assert token_file(audience) == audience


@pytest.mark.parametrize(
    "audience",
    [
        "https://kubernetes.default.svc.cluster.local",
        "api://AzureADTokenExchange",
        "//iam.googleapis.com/projects/1/x",
        "Vault",
        "a" * 64,
        "..data",
        ".",
        "..",
        "-x",
        "a b",
        "vault\n",
        "ärger",
        "",
        # The file with the token for the API server itself.
        "kubernetes",
    ],
)
def test_any_other_audience_has_the_name_of_its_hash(audience: str) -> None:
    assert re.fullmatch(r"sha256-[0-9a-f]{32}", token_file(audience))


def test_the_name_of_a_hash_is_what_the_pages_tell_to_write() -> None:
    # `printf %s https://vault.example.com | sha256sum | cut -c1-32`: it is never to change.
    assert token_file("https://vault.example.com") == "sha256-740fb1a54f2c48896751269cd2e2d140"


@given(AUDIENCES)
def test_a_tokens_file_is_a_plain_name_in_the_folder(audience: str) -> None:
    name = token_file(audience)

    assert PurePosixPath(name).name == name
    assert not name.startswith(".")
    assert name != contract.CLUSTER_TOKEN_FILE
    # Volumes of Kubernetes take names of this form, and some disks know no upper case.
    assert re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,62}", name)


@given(AUDIENCES, AUDIENCES)
def test_two_audiences_never_share_a_file(one: str, other: str) -> None:
    assert (token_file(one) == token_file(other)) is (one == other)


def test_the_hash_of_one_audience_is_no_name_for_another() -> None:
    hashed = token_file("https://vault.example.com")

    assert token_file(hashed) != hashed


def test_the_token_that_proves_the_pod_lies_under_its_audience() -> None:
    assert token_file(contract.IDENTITY_AUDIENCE) == contract.IDENTITY_AUDIENCE
