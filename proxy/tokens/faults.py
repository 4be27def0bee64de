"""Why a token proves nothing: closed codes, and what people can do about each."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

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


_NOT_OURS: Final = "let the file be written by the kubelet from a projected volume"
_NOT_THE_CLUSTER: Final = "see which program signs it: Kubernetes writes no such token"
_DOWNWARD: Final = "compare it with what the downward API says of this pod (metadata.{0}, PODKEY_{1})"

FIXES: Final[Mapping[TokenFaultCode, str]] = {
    TokenFaultCode.TOO_LARGE: _NOT_OURS,
    TokenFaultCode.NOT_A_JWS: _NOT_OURS,
    TokenFaultCode.UNSIGNED: _NOT_THE_CLUSTER,
    TokenFaultCode.ALGORITHM: "have the cluster sign service-account tokens with RS256 or ES256",
    TokenFaultCode.CRITICAL_HEADER: _NOT_THE_CLUSTER,
    TokenFaultCode.EMBEDDED_KEY: _NOT_THE_CLUSTER,
    TokenFaultCode.WRONG_TYPE: _NOT_THE_CLUSTER,
    TokenFaultCode.UNKNOWN_KEY: (
        "give podkey the keys of the cluster that issued it; a JWKS file has to follow each rotation"
    ),
    TokenFaultCode.BAD_SIGNATURE: (
        "if the keys are this cluster's, find out who wrote the token: it was changed, or made elsewhere"
    ),
    TokenFaultCode.CLAIMS_MALFORMED: "see whether the issuer is Kubernetes 1.30 or newer",
    TokenFaultCode.WRONG_ISSUER: "set PODKEY_ISSUER to the cluster's issuer (--service-account-issuer)",
    TokenFaultCode.WRONG_AUDIENCE: "set `audience` of the projected token and PODKEY_AUDIENCE to the same",
    TokenFaultCode.EXPIRED: "see why the kubelet has not renewed it (events of the pod), and the node's clock",
    TokenFaultCode.NOT_YET_VALID: "set the node's clock right",
    TokenFaultCode.UNBOUND: f"{_NOT_OURS}; one from `kubectl create token` names no pod unless it is told to",
    TokenFaultCode.WRONG_NAMESPACE: "mount this pod's own token; compare metadata.namespace, PODKEY_NAMESPACE",
    TokenFaultCode.WRONG_SERVICE_ACCOUNT: (
        "mount this pod's own token; compare spec.serviceAccountName, PODKEY_SERVICE_ACCOUNT"
    ),
    TokenFaultCode.WRONG_POD: "mount this pod's own token; compare metadata.name, metadata.uid",
    TokenFaultCode.WRONG_NODE: "mount this pod's own token; compare spec.nodeName, PODKEY_NODE",
}


@dataclass(frozen=True, slots=True)
class TokenFault:
    """`message` is one clause for people: the thing, what is wrong, and the fix. It quotes names, shortened
    and printable, and never the token."""

    code: TokenFaultCode
    message: str


def token_fault(code: TokenFaultCode, wrong: str) -> TokenFault:
    return TokenFault(code, f"{wrong}: {FIXES[code]}")


def shown(value: object) -> str:
    """A value of a header or a claim, for a message."""
    text = value if isinstance(value, str) else f"a {type(value).__name__}"
    cut = text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "…"
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in cut)
