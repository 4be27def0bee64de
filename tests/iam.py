"""IAM's evaluation of one policy, as far as session policies of podkey's need it.

From "IAM JSON policy elements" and "Policy variables" (IAM User Guide): what no statement allows is denied;
`*` is any run of characters, also slashes, `?` one of them, `${*}`, `${?}` and `${$}` are these characters; a
condition on a key that the request does not have fails.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

_PIECES = re.compile(r"\$\{([*?$])\}|([*?])|(.)", re.DOTALL)
NO_CONTEXT: Mapping[str, str] = {}


def like(pattern: str, text: str, *, wild: bool = True) -> bool:
    def piece(found: re.Match[str]) -> str:
        escaped, star, other = found.groups()
        if star and wild:
            return ".*" if star == "*" else "."
        return re.escape(escaped or star or other)

    return re.fullmatch(_PIECES.sub(piece, pattern), text, re.DOTALL) is not None


def many(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else value


def allows(policy: str, action: str, resource: str, context: Mapping[str, str] = NO_CONTEXT) -> bool:
    document = json.loads(policy)
    assert document["Version"] == "2012-10-17", "variables are plain text to the older language"
    return any(_covers(statement, action, resource, context) for statement in document["Statement"])


def _covers(statement: Mapping[str, Any], action: str, resource: str, context: Mapping[str, str]) -> bool:
    assert statement["Effect"] == "Allow"
    return (
        any(like(pattern.lower(), action.lower()) for pattern in many(statement["Action"]))
        and any(like(pattern, resource) for pattern in many(statement["Resource"]))
        and all(
            _holds(operator, key, many(wanted), context)
            for operator, keys in statement.get("Condition", {}).items()
            for key, wanted in keys.items()
        )
    )


def _holds(operator: str, key: str, wanted: list[str], context: Mapping[str, str]) -> bool:
    wild = {"StringLike": True, "StringEquals": False, "ForAnyValue:StringEquals": False}[operator]
    return key in context and any(like(pattern, context[key], wild=wild) for pattern in wanted)
