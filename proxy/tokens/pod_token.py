"""Is this the token of this pod, and does the cluster's key say so?"""

from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

from proxy.core.evidence import Evidence
from proxy.core.signing import SigningAlgorithm
from proxy.core.structs import Struct
from proxy.tokens.claims import Claims, ClaimsFault, read_claims
from proxy.tokens.compact import MAX_TOKEN_BYTES, Compact, NotCompact, read_compact
from proxy.tokens.faults import TokenFault, TokenFaultCode, shown, token_fault
from proxy.tokens.jose import is_signed
from proxy.tokens.jwks import KeySet, VerificationKey
from proxy.tokens.strict_json import JsonObject

# What the API server itself allows, and what every node with NTP keeps to.
MAX_SKEW: Final = timedelta(seconds=60)

_ALGORITHMS: Final = [algorithm.value for algorithm in SigningAlgorithm]
# RFC 7515 §4.1.2, §4.1.3, §4.1.5, §4.1.6. The issuer's keys are known; a token that brings its own, or says
# where to fetch one, is refused and not ignored: whoever made it hoped for a verifier that listens.
_EMBEDDED_KEYS: Final = ("jwk", "jku", "x5u", "x5c")
# RFC 7515 §4.1.11, and RFC 7797 §6, which changes what is signed. We understand no extension.
_CRITICAL: Final = ("crit", "b64")
# RFC 8725 §3.11: an issuer may sign other kinds of token with the same key, and says so here. Kubernetes
# leaves it out; `JWT` is what every library writes (RFC 7519 §5.1).
_TYPE: Final = "jwt"


class Expected(Struct, frozen=True):
    """Who the token must be about. The empty ones are what the downward API did not say: then the token
    does, and is believed."""

    issuer: str
    audience: str
    namespace: str
    service_account: str
    pod_name: str = ""
    pod_uid: str = ""
    node: str = ""


class Verified(Struct, frozen=True):
    """What the issuer vouches for. `node` is empty where the token names none and none was expected."""

    evidence: Evidence
    namespace: str
    service_account: str
    pod_name: str
    pod_uid: str
    node: str


def verify(token: bytes, keys: KeySet, expected: Expected, now: datetime) -> Verified | TokenFault:
    """Cheap checks first, then the signature, and only then the claims: before it nothing of them is read."""
    if len(token) > MAX_TOKEN_BYTES:
        wrong = f"the token has {len(token):,} bytes, more than any that Kubernetes issues"
        return token_fault(TokenFaultCode.TOO_LARGE, wrong)
    compact = read_compact(token)
    if isinstance(compact, NotCompact):
        return token_fault(TokenFaultCode.NOT_A_JWS, compact.message)
    key = _key(compact, keys)
    if isinstance(key, TokenFault):
        return key
    if not is_signed(compact.signed, compact.signature, key.key):
        wrong = f"the token is not signed by the issuer's key `{key.key_id}` that it names"
        return token_fault(TokenFaultCode.BAD_SIGNATURE, wrong)
    claims = read_claims(compact.payload)
    if isinstance(claims, ClaimsFault):
        return token_fault(TokenFaultCode.CLAIMS_MALFORMED, f"the token {claims.message}")
    return _unfit(claims, expected, now) or _compared(claims, expected, key)


def _key(compact: Compact, keys: KeySet) -> VerificationKey | TokenFault:
    """The key that the header names, if everything else that the header says is as it must be."""
    header = compact.header
    algorithm = header.get("alg")
    # RFC 7518 §3.6 writes `none`; verifiers have been fooled by `nOnE`.
    if (isinstance(algorithm, str) and algorithm.lower() == "none") or not compact.signature:
        return token_fault(TokenFaultCode.UNSIGNED, "the token is not signed")
    if algorithm not in _ALGORITHMS:
        wrong = f"the token names the algorithm `{shown(algorithm)}`, and only RS256 and ES256 count"
        return token_fault(TokenFaultCode.ALGORITHM, wrong)
    if fault := _needless(header):
        return fault
    key_id = header.get("kid")
    key = keys.find(key_id) if isinstance(key_id, str) else None
    if key is None:
        named = "names no key" if key_id is None else f"names the key `{shown(key_id)}`"
        wrong = f"the token {named}, and the issuer's keys are {keys.names()}"
        return token_fault(TokenFaultCode.UNKNOWN_KEY, wrong)
    if algorithm != key.algorithm.value:
        wrong = f"the token says {algorithm}, and its key `{key.key_id}` is for {key.algorithm.value}"
        return token_fault(TokenFaultCode.ALGORITHM, wrong)
    return key


def _needless(header: JsonObject) -> TokenFault | None:
    for names, code in (
        (_CRITICAL, TokenFaultCode.CRITICAL_HEADER),
        (_EMBEDDED_KEYS, TokenFaultCode.EMBEDDED_KEY),
    ):
        for name in names:
            if name in header:
                return token_fault(code, f"the token's header has `{name}`, which no service account's has")
    kind = header.get("typ", _TYPE)
    if not isinstance(kind, str) or kind.lower() != _TYPE:
        return token_fault(TokenFaultCode.WRONG_TYPE, f"the token is of the type `{shown(kind)}`, not JWT")
    return None


def _unfit(claims: Claims, expected: Expected, now: datetime) -> TokenFault | None:
    """Not for us, or not now."""
    if claims.issuer != expected.issuer:
        wrong = f"the token is from `{shown(claims.issuer)}`, not from `{expected.issuer}`"
        return token_fault(TokenFaultCode.WRONG_ISSUER, wrong)
    if expected.audience not in claims.audiences:
        named = ", ".join(f"`{shown(audience)}`" for audience in claims.audiences[:3]) or "nobody"
        wrong = f"the token is for {named}, not for `{expected.audience}`"
        return token_fault(TokenFaultCode.WRONG_AUDIENCE, wrong)
    # RFC 7519 §4.1.4: not accepted on or after.
    if now - MAX_SKEW >= claims.expires:
        wrong = f"the token ended at {claims.expires:%Y-%m-%d %H:%M:%S} UTC"
        return token_fault(TokenFaultCode.EXPIRED, wrong)
    begins = max(claims.not_before, claims.issued)
    if now + MAX_SKEW < begins:
        wrong = f"the token begins at {begins:%Y-%m-%d %H:%M:%S} UTC, and here it is {now:%H:%M:%S}"
        return token_fault(TokenFaultCode.NOT_YET_VALID, wrong)
    return None


def _compared(claims: Claims, expected: Expected, key: VerificationKey) -> Verified | TokenFault:
    """Another pod's token is refused, whoever that pod belongs to."""
    pod = claims.pod
    if pod is None:
        return token_fault(TokenFaultCode.UNBOUND, "the token is bound to no pod")
    account = f"{expected.namespace}:{expected.service_account}"
    for code, what, found, wanted in (
        (TokenFaultCode.WRONG_NAMESPACE, "namespace", claims.namespace, expected.namespace),
        (
            TokenFaultCode.WRONG_SERVICE_ACCOUNT,
            "service account",
            claims.service_account,
            expected.service_account,
        ),
        (
            TokenFaultCode.WRONG_SERVICE_ACCOUNT,
            "subject",
            claims.subject,
            f"system:serviceaccount:{account}",
        ),
        (TokenFaultCode.WRONG_POD, "pod", pod.name, expected.pod_name or pod.name),
        (TokenFaultCode.WRONG_POD, "pod uid", pod.uid, expected.pod_uid or pod.uid),
        (TokenFaultCode.WRONG_NODE, "node", claims.node, expected.node or claims.node),
    ):
        if found != wanted:
            named = f"`{shown(found)}`" if found else "none"
            return token_fault(code, f"the token's {what} is {named}, and this pod's is `{wanted}`")
    evidence = Evidence(
        issuer=claims.issuer,
        key_id=key.key_id,
        token_hash=sha256(claims.token_id.encode()).hexdigest(),
        pod_uid=pod.uid,
        issued=claims.issued,
        expires=claims.expires,
    )
    return Verified(evidence, claims.namespace, claims.service_account, pod.name, pod.uid, claims.node)
