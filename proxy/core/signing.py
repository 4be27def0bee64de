"""How a token is signed."""

from enum import Enum


class SigningAlgorithm(Enum):
    """The two that Kubernetes and every identity provider know (RFC 7518 §3.1). Another name is refused."""

    RS256 = "RS256"
    ES256 = "ES256"
