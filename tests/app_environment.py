"""What the injector gives to an application's container, until there is one."""

import secrets
from pathlib import Path
from typing import Final

from proxy.core.contract import EXPLICIT_PORT

_PROXY: Final = f"http://127.0.0.1:{EXPLICIT_PORT}"
# curl reads http_proxy in lower case only: in upper case it is a header of a request to a CGI program.
PROXY_VARIABLES: Final = {"HTTPS_PROXY": _PROXY, "http_proxy": _PROXY, "NO_PROXY": "127.0.0.1,localhost"}


def trust_variables(ca: Path, bundle: Path) -> dict[str, str]:
    """No single one is enough; these bring nearly every client to trust the pod's authority."""
    names = (
        "SSL_CERT_FILE",
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
        "AWS_CA_BUNDLE",
        "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
        "GIT_SSL_CAINFO",
    )
    # Node.js adds to its own roots; the others replace theirs.
    return {**dict.fromkeys(names, str(bundle)), "NODE_EXTRA_CA_CERTS": str(ca)}


def new_placeholders() -> dict[str, str]:
    """In the shapes of the catalogue, random for each pod."""
    return {
        "OPENAI_API_KEY": f"sk-podkey-{secrets.token_hex(16)}",
        "ANTHROPIC_API_KEY": f"sk-ant-podkey-{secrets.token_hex(16)}",
        "HF_TOKEN": f"hf_podkey{secrets.token_hex(14)}",
        "AWS_ACCESS_KEY_ID": f"PODKEY{secrets.token_hex(7).upper()}",
        "AWS_SECRET_ACCESS_KEY": f"podkey{secrets.token_hex(17)}",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
