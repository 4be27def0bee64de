from injector.craft.trust_variables import JAVA_OPTIONS, TRUST_VARIABLES, trust_config_map_data
from proxy.core import contract


def test_each_variable_names_a_file_that_the_sidecar_writes() -> None:
    files = {f"{contract.TRUST_DIR}/{name}" for name in (contract.CA_FILE, contract.BUNDLE_FILE)}
    assert set(TRUST_VARIABLES.values()) == files


def test_the_seven_that_clients_need_are_there() -> None:
    wanted = (
        "SSL_CERT_FILE REQUESTS_CA_BUNDLE CURL_CA_BUNDLE AWS_CA_BUNDLE GRPC_DEFAULT_SSL_ROOTS_FILE_PATH "
        "GIT_SSL_CAINFO NODE_EXTRA_CA_CERTS"
    )
    assert set(wanted.split()) <= TRUST_VARIABLES.keys()
    assert "SSL_CERT_DIR" not in TRUST_VARIABLES


def test_java_is_given_the_store_its_kind_and_its_password() -> None:
    assert JAVA_OPTIONS.split() == [
        "-Djavax.net.ssl.trustStore=/etc/podkey/ca/truststore.p12",
        "-Djavax.net.ssl.trustStoreType=PKCS12",
        "-Djavax.net.ssl.trustStorePassword=changeit",
    ]


def test_the_config_map_holds_all_of_them_as_text() -> None:
    data = trust_config_map_data()
    assert data == {**TRUST_VARIABLES, "JAVA_TOOL_OPTIONS": JAVA_OPTIONS}
    assert not [value for value in data.values() if "$" in value]
