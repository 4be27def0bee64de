"""The query of a request, read once and kept as it is."""

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote_plus

# Parameters that are themselves a credential: AWS SigV4 and SigV2, Google, Azure SAS, CloudFront.
QUERY_AUTH: Final = frozenset({"x-amz-signature", "signature", "sig", "x-goog-signature"})


@dataclass(frozen=True, slots=True)
class Query:
    """`raw` is what goes upstream; `values` is what is matched."""

    raw: str = ""
    values: dict[str, list[str]] = field(default_factory=dict, compare=False)
    # The names in lower case, for rules that deny: some servers do not tell `Sig` from `sig`.
    folded_names: frozenset[str] = field(default=frozenset(), compare=False)
    carries_auth: bool = field(default=False, compare=False)
    # Some servers split at semicolons too; a decision that depends on the query cannot be made then.
    has_semicolon: bool = field(default=False, compare=False)

    @classmethod
    def parse(cls, raw: str) -> "Query":
        if not raw:
            return EMPTY_QUERY
        values: dict[str, list[str]] = {}
        for pair in raw.split("&"):
            if pair:
                key, _, value = pair.partition("=")
                values.setdefault(unquote_plus(key), []).append(unquote_plus(value))
        names = frozenset(key.lower() for key in values)
        return cls(raw, values, names, not names.isdisjoint(QUERY_AUTH), ";" in raw)


EMPTY_QUERY: Final = Query()
