"""What a token says of itself. Nobody has checked the signature, so nothing may be granted for it.

For tokens of other audiences, which a source only hands on: the service that they are for verifies them.
"""

from datetime import datetime

from proxy.core.structs import Struct
from proxy.tokens.claims import ClaimsFault, read_claims
from proxy.tokens.compact import MAX_TOKEN_BYTES, Compact, read_compact


class UnverifiedClaims(Struct, frozen=True):
    audiences: tuple[str, ...]
    issued: datetime
    expires: datetime


def unverified_claims(token: bytes) -> UnverifiedClaims | None:
    """None where these bytes are no token such as Kubernetes issues."""
    if len(token) > MAX_TOKEN_BYTES:
        return None
    compact = read_compact(token)
    claims = read_claims(compact.payload) if isinstance(compact, Compact) else None
    if claims is None or isinstance(claims, ClaimsFault):
        return None
    return UnverifiedClaims(claims.audiences, claims.issued, claims.expires)
