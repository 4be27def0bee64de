"""Why a token proves nothing: closed codes, and what people can do about each."""

from collections.abc import Mapping
from enum import Enum
from typing import Final

from proxy.core.structs import Struct

# A name of Kubernetes has at most 253 characters; what is much longer is no name that helps anybody.
MAX_SHOWN: Final = 100


class TokenFaultCode(Enum):
    """In the order of the checks: the signature before anything that a claim says."""

    TOO_LARGE = "too_large"
    NOT_A_JWS = "not_a_jws"
    UNSIGNED = "unsigned"
    ALGORITHM = "algorithm"
    CRITICAL_HEADER = "critical_header"
    EMBEDDED_KEY = "embedded_key"
    WRONG_TYPE = "wrong_type"
    # Keys rotate: whoever reads the keys reads them once more.
    UNKNOWN_KEY = "unknown_key"
    BAD_SIGNATURE = "bad_signature"
    CLAIMS_MALFORMED = "claims_malformed"
    WRONG_ISSUER = "wrong_issuer"
    WRONG_AUDIENCE = "wrong_audience"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    UNBOUND = "unbound"
    WRONG_NAMESPACE = "wrong_namespace"
    WRONG_SERVICE_ACCOUNT = "wrong_service_account"
    WRONG_POD = "wrong_pod"
    WRONG_NODE = "wrong_node"


_FROM_KUBELET: Final = "let the kubelet write the file (a projected volume with serviceAccountToken)"
_FOREIGN: Final = "find out which program signs it, because Kubernetes writes no such token"
_OWN: Final = "mount this pod's own token, and compare"

FIXES: Final[Mapping[TokenFaultCode, str]] = {
    TokenFaultCode.TOO_LARGE: _FROM_KUBELET,
    TokenFaultCode.NOT_A_JWS: _FROM_KUBELET,
    TokenFaultCode.UNSIGNED: _FROM_KUBELET,
    TokenFaultCode.ALGORITHM: "have the cluster sign service-account tokens with an RSA or a P-256 key",
    TokenFaultCode.CRITICAL_HEADER: _FOREIGN,
    TokenFaultCode.EMBEDDED_KEY: _FOREIGN,
    TokenFaultCode.WRONG_TYPE: _FOREIGN,
    TokenFaultCode.UNKNOWN_KEY: (
        "give podkey the keys of the cluster that issued it; a JWKS file has to follow each rotation"
    ),
    TokenFaultCode.BAD_SIGNATURE: "find out who wrote the file, because it was changed or made elsewhere",
    TokenFaultCode.CLAIMS_MALFORMED: "use tokens as Kubernetes issues them since 1.30",
    TokenFaultCode.WRONG_ISSUER: "set PODKEY_ISSUER to the cluster's issuer (--service-account-issuer)",
    TokenFaultCode.WRONG_AUDIENCE: "give the projected token's `audience` and PODKEY_AUDIENCE one value",
    TokenFaultCode.EXPIRED: "see in the pod's events why the kubelet has not renewed it, and check the clock",
    TokenFaultCode.NOT_YET_VALID: "set the node's clock right",
    TokenFaultCode.UNBOUND: f"{_FROM_KUBELET}; `kubectl create token` binds to a pod only when told to",
    TokenFaultCode.WRONG_NAMESPACE: f"{_OWN} PODKEY_NAMESPACE with metadata.namespace",
    TokenFaultCode.WRONG_SERVICE_ACCOUNT: f"{_OWN} PODKEY_SERVICE_ACCOUNT with spec.serviceAccountName",
    TokenFaultCode.WRONG_POD: f"{_OWN} PODKEY_POD_NAME and PODKEY_POD_UID with the pod's metadata",
    TokenFaultCode.WRONG_NODE: f"{_OWN} PODKEY_NODE_NAME with spec.nodeName",
}


class TokenFault(Struct, frozen=True):
    """`message` is one clause for people: the thing, what is wrong, and the fix. It quotes names, shortened
    and printable, and never the token."""

    code: TokenFaultCode
    message: str


def token_fault(code: TokenFaultCode, wrong: str) -> TokenFault:
    return TokenFault(code, f"{wrong}: {FIXES[code]}")


def shown(value: object) -> str:
    """A value of a header or a claim, for a message."""
    text = value if isinstance(value, str) else f"({type(value).__name__})"
    cut = text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "…"
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in cut)
