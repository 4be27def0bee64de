"""Tokens and keys as a Kubernetes cluster publishes them, for laptops and tests.

The shapes are those of an API server 1.36, to the order of the members.
"""

import json
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final
from uuid import UUID, uuid5

from proxy.core.secret import Secret
from proxy.core.structs import Struct
from proxy.tokens.compact import signing_input, to_base64url
from proxy.tokens.jose import PrivateKey, algorithm_of, jwk_members, public_key_der, sign

# What kubeadm and most installers call their issuer.
DEFAULT_ISSUER: Final = "https://kubernetes.default.svc.cluster.local"
# Where an API server answers below its own address.
_KEYS_PATH: Final = "/openid/v1/jwks"

# A pod of one name keeps its uid from token to token without anybody writing it down.
_UIDS: Final = UUID("6f1c8f0e-7c1b-4f43-9d0c-5a5f0a8a7b11")


class DevPod(Struct, frozen=True):
    """Who a token is for. Without a name it is bound to no pod, as `kubectl create token` leaves it."""

    namespace: str
    service_account: str
    name: str = ""
    uid: str = ""
    node: str = ""


def pod_claims(
    pod: DevPod, *, issuer: str, audience: str, token_id: str, now: datetime, lifetime: timedelta
) -> dict[str, Any]:
    began = int(now.timestamp())
    namespace, account = pod.namespace, pod.service_account
    about: dict[str, Any] = {"namespace": namespace}
    if pod.name:
        about["node"] = {"name": pod.node, "uid": _uid("node", pod.node)}
        about["pod"] = {"name": pod.name, "uid": pod.uid or _uid("pod", namespace, pod.name)}
    about["serviceaccount"] = {"name": account, "uid": _uid("serviceaccount", namespace, account)}
    return {
        "aud": [audience],
        "exp": began + int(lifetime.total_seconds()),
        "iat": began,
        "iss": issuer,
        "jti": token_id,
        "kubernetes.io": about,
        "nbf": began,
        "sub": f"system:serviceaccount:{namespace}:{account}",
    }


def _uid(*path: str) -> str:
    return str(uuid5(_UIDS, "/".join(path)))


def signed_token(claims: dict[str, Any], key: PrivateKey) -> Secret:
    signed = signing_input({"alg": algorithm_of(key).value, "kid": key_id(key)}, claims)
    return Secret(signed + b"." + to_base64url(sign(signed, key)))


def key_id(key: PrivateKey) -> str:
    """Kubernetes' own rule: the hash of the public key's DER."""
    return to_base64url(sha256(public_key_der(key.public_key())).digest()).decode()


def public_jwk(key: PrivateKey) -> dict[str, str]:
    members = jwk_members(key.public_key())
    return {
        "use": "sig",
        "kty": members.pop("kty"),
        "kid": key_id(key),
        "alg": algorithm_of(key).value,
        **members,
    }


def key_set(*keys: dict[str, str]) -> bytes:
    """The newest in front."""
    return json.dumps({"keys": keys}, indent=1).encode() + b"\n"


def discovery(issuer: str, *algorithms: str) -> bytes:
    """OpenID Connect Discovery 1.0 §3, with the members that an API server writes."""
    document = {
        "issuer": issuer,
        "jwks_uri": issuer + _KEYS_PATH,
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": sorted(set(algorithms)),
    }
    return json.dumps(document, indent=1).encode() + b"\n"
