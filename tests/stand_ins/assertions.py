"""Reads a pod's token as a relying party does: signature, issuer, audience and times, by its own clock."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Final

import jwt

from tests.pod_tokens import TokenIssuer, jwks

NO_LEEWAY: Final = timedelta(0)


class Wrong(Enum):
    """The first thing that is wrong with a token."""

    MALFORMED = "malformed"
    KEY = "key"
    SIGNATURE = "signature"
    ISSUER = "issuer"
    AUDIENCE = "audience"
    TIME = "time"
    SUBJECT = "subject"


@dataclass
class Refused(Exception):  # noqa: N818 - a refusal is no error of the stand-in
    wrong: Wrong
    found: str = ""


@dataclass(frozen=True)
class RelyingParty:
    """`keys` is the JWKS that it was given, or read at the issuer."""

    issuer: str
    keys: bytes
    now: datetime
    leeway: timedelta = NO_LEEWAY

    @classmethod
    def of(cls, issuer: TokenIssuer, now: datetime, leeway: timedelta = NO_LEEWAY) -> "RelyingParty":
        return cls(issuer.issuer, jwks(issuer), now, leeway)

    def claims(self, token: str, audiences: tuple[str, ...]) -> Mapping[str, Any]:
        """The claims of a sound token; else `Refused`."""
        try:
            header = jwt.get_unverified_header(token)
            unverified = jwt.decode(token, options={"verify_signature": False})
        except jwt.InvalidTokenError as error:
            raise Refused(Wrong.MALFORMED) from error
        if unverified.get("iss") != self.issuer:
            raise Refused(Wrong.ISSUER, str(unverified.get("iss")))
        known = {jwk["kid"]: jwk for jwk in json.loads(self.keys)["keys"]}
        jwk = known.get(header.get("kid", ""))
        if jwk is None:
            raise Refused(Wrong.KEY)
        try:
            claims = jwt.decode(
                token,
                jwt.PyJWK.from_dict(jwk),
                algorithms=[jwk["alg"]],
                # Times are told by this party's clock, below.
                options={"verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_aud": False},
            )
        except jwt.InvalidTokenError as error:
            raise Refused(Wrong.SIGNATURE) from error
        if not set(claims["aud"]) & set(audiences):
            raise Refused(Wrong.AUDIENCE, claims["aud"][0])
        now, leeway = self.now.timestamp(), self.leeway.total_seconds()
        if not claims["nbf"] - leeway <= now < claims["exp"] + leeway:
            raise Refused(Wrong.TIME)
        return dict(claims)
