"""Service-account tokens as Kubernetes makes them, signed by keys of this run.

Written from what a 1.36 API server issues: `aud` is a list, pod and node stand under `kubernetes.io`, and the
keys in the JWKS have no `x5c`.
"""

import json
from datetime import datetime, timedelta
from typing import Any, Final, Literal
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

ISSUER: Final = "https://kubernetes.default.svc.cluster.local"


class TokenIssuer:
    """A cluster's signing key. Several of them are several keys, or several clusters."""

    def __init__(self, issuer: str = ISSUER, algorithm: Literal["RS256", "ES256"] = "ES256") -> None:
        self.issuer = issuer
        self.algorithm = algorithm
        self.key_id = uuid4().hex
        self._key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
        if algorithm == "RS256":
            self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        else:
            self._key = ec.generate_private_key(ec.SECP256R1())

    def claims(  # noqa: PLR0917 - who, for whom, when
        self,
        now: datetime,
        audience: str = "podkey",
        namespace: str = "ml",
        account: str = "trainer",
        pod: str = "train-0",
        uid: str = "0f3d8a52-1111-4222-8333-444455556666",
        node: str = "gpu-7",
        lifetime: timedelta = timedelta(hours=1),
    ) -> dict[str, Any]:
        began = int(now.timestamp())
        return {
            "aud": [audience],
            "exp": began + int(lifetime.total_seconds()),
            "iat": began,
            "nbf": began,
            "iss": self.issuer,
            "jti": str(uuid4()),
            "kubernetes.io": {
                "namespace": namespace,
                "node": {"name": node, "uid": str(uuid4())},
                "pod": {"name": pod, "uid": uid},
                "serviceaccount": {"name": account, "uid": str(uuid4())},
            },
            "sub": f"system:serviceaccount:{namespace}:{account}",
        }

    def sign(self, claims: dict[str, Any], **header: Any) -> bytes:
        headers = {"kid": self.key_id, "typ": None, **header}
        return jwt.encode(claims, self._key, self.algorithm, headers=headers).encode()

    def token(self, now: datetime, audience: str = "podkey", **who: Any) -> bytes:
        return self.sign(self.claims(now, audience, **who))

    @property
    def jwk(self) -> dict[str, Any]:
        public = self._key.public_key()
        if isinstance(public, rsa.RSAPublicKey):
            made = RSAAlgorithm.to_jwk(public, as_dict=True)
        else:
            made = ECAlgorithm.to_jwk(public, as_dict=True)
        return {"use": "sig", "kid": self.key_id, "alg": self.algorithm, **made}


def jwks(*issuers: TokenIssuer) -> bytes:
    return json.dumps({"keys": [issuer.jwk for issuer in issuers]}).encode()
