"""Session tags that the pod's token carries, for the second role of a chain.

STS reads them from the token itself when the first role is assumed ("Pass session tags in AWS STS", IAM User
Guide). It hands on only those that are transitive, so the others are named again for the second role; to name
a transitive one again makes the call fail.
"""

from collections.abc import Iterator
from typing import Any, Final

from proxy.tokens.compact import Compact, read_compact
from proxy.tokens.strict_json import NotJson, read_object

CLAIM: Final = "https://aws.amazon.com/tags"
# What a session takes.
MAX_TAGS: Final = 50


def session_tags(token: bytes) -> tuple[tuple[str, str], ...]:
    """Read from a token that STS has just verified. What is not shaped as AWS says counts for nothing."""
    compact = read_compact(token)
    claims = read_object(compact.payload) if isinstance(compact, Compact) else NotJson("is no token")
    claim = None if isinstance(claims, NotJson) else claims.get(CLAIM)
    if not isinstance(claim, dict):
        return ()
    # AWS compares the keys of tags without case.
    inherited = {key.lower() for key in _texts(claim.get("transitive_tag_keys"))}
    tags = [pair for pair in _pairs(claim.get("principal_tags")) if pair[0].lower() not in inherited]
    return tuple(sorted(tags))[:MAX_TAGS]


def _texts(keys: Any) -> list[str]:  # noqa: ANN401 - whatever the token holds
    return [key for key in keys if isinstance(key, str)] if isinstance(keys, list) else []


def _pairs(tags: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - likewise
    """`{"project": ["vision"]}`: a list of one value each."""
    for key, value in tags.items() if isinstance(tags, dict) else ():
        match value:
            case [str(only)] | str(only):
                yield key, only
            case _:
                pass
