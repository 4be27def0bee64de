"""The query of a request, read once and kept as it is."""

import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote_plus

from proxy.core.reasons import Reason

# Presigned URLs with session tokens reach 4 KiB; what is longer belongs into a body.
MAX_QUERY_LENGTH: Final = 16_384
# A person's request has a dozen; each costs time before anything is decided.
MAX_PARAMETERS: Final = 256
# RFC 3986 §3.4, and the square brackets that common clients leave as they are. A `#` would end the query
# for a server that cuts there.
_LEGAL = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?\[\]]|%[0-9A-Fa-f]{2})*").fullmatch

# Parameters that are themselves a credential: AWS SigV4 and SigV2, Google, Azure SAS, CloudFront.
QUERY_AUTH: Final = frozenset({"x-amz-signature", "signature", "sig", "x-goog-signature"})


@dataclass(frozen=True, slots=True)
class Query:
    """`raw` is what goes upstream; `values` is what is matched."""

    raw: str = ""
    values: dict[str, list[str]] = field(default_factory=dict, compare=False)
    # The names in lower case, also those that stand after a semicolon, for rules that deny: some servers
    # do not tell `Sig` from `sig`.
    folded_names: frozenset[str] = field(default=frozenset(), compare=False)
    carries_auth: bool = field(default=False, compare=False)
    # Some servers split at semicolons too; a decision that depends on the query cannot be made then.
    has_semicolon: bool = field(default=False, compare=False)
    # Why it cannot be read; the other fields are then empty.
    fault: Reason | None = field(default=None, compare=False)

    @classmethod
    def parse(cls, raw: str) -> "Query":
        if not raw:
            return EMPTY_QUERY
        if (
            len(raw) > MAX_QUERY_LENGTH
            or not _LEGAL(raw)
            or "%00" in raw
            or raw.count("&") + raw.count(";") >= MAX_PARAMETERS
        ):
            return cls(raw, fault=Reason.MALFORMED_QUERY)
        values: dict[str, list[str]] = {}
        for pair in raw.split("&"):
            if pair:
                key, _, value = pair.partition("=")
                values.setdefault(unquote_plus(key), []).append(unquote_plus(value))
        names = frozenset(key.lower() for key in values)
        if ";" in raw:
            pairs = raw.replace(";", "&").split("&")
            names |= {unquote_plus(pair.partition("=")[0]).lower() for pair in pairs}
        return cls(raw, values, names, not names.isdisjoint(QUERY_AUTH), ";" in raw)


EMPTY_QUERY: Final = Query()
