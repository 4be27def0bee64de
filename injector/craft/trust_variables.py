"""The variables by which programs trust the pod's own authority. No single one is enough.

Which client reads which was found out with the clients themselves. Most replace their own roots by what the
variable names, so they get the bundle of all roots; Node.js and Deno add to theirs.
"""

from typing import Final

from proxy.core.contract import (
    BUNDLE_FILE,
    CA_FILE,
    JAVA_TRUST_STORE_FILE,
    JAVA_TRUST_STORE_PASSWORD,
    TRUST_DIR,
)

_BUNDLE: Final = f"{TRUST_DIR}/{BUNDLE_FILE}"
# SSL_CERT_DIR is left out on purpose: OpenSSL would look for a folder of hashed names. So are variables for
# what is inside the cluster, such as OTEL_EXPORTER_OTLP_CERTIFICATE: the bundle does not hold the authorities
# of such servers.
TRUST_VARIABLES: Final = {
    "SSL_CERT_FILE": _BUNDLE,
    "REQUESTS_CA_BUNDLE": _BUNDLE,
    "CURL_CA_BUNDLE": _BUNDLE,
    "AWS_CA_BUNDLE": _BUNDLE,
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": _BUNDLE,
    "GIT_SSL_CAINFO": _BUNDLE,
    "PIP_CERT": _BUNDLE,
    "HTTPLIB2_CA_CERTS": _BUNDLE,
    "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE": _BUNDLE,
    "DENO_CERT": _BUNDLE,
    "NODE_EXTRA_CA_CERTS": f"{TRUST_DIR}/{CA_FILE}",
}

# Every JVM reads it and says so on standard error. What it holds is a list, so ours can stand behind others'.
JAVA_VARIABLE: Final = "JAVA_TOOL_OPTIONS"
# Whoever names a trust store of his own has chosen whom to trust.
JAVA_TRUST_STORE: Final = "javax.net.ssl.trustStore"
JAVA_OPTIONS: Final = (
    f"-D{JAVA_TRUST_STORE}={TRUST_DIR}/{JAVA_TRUST_STORE_FILE} -D{JAVA_TRUST_STORE}Type=PKCS12 "
    f"-D{JAVA_TRUST_STORE}Password={JAVA_TRUST_STORE_PASSWORD}"
)


def trust_config_map_data() -> dict[str, str]:
    """The data of the ConfigMap `podkey-trust`, for containers whose variables cannot all be seen."""
    return {**TRUST_VARIABLES, JAVA_VARIABLE: JAVA_OPTIONS}
