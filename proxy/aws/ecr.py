"""Tokens of Amazon ECR's registries: what is asked, and what comes back.

"GetAuthorizationToken" (ECR API reference): a user name and a password for all registries of a region that
the caller may reach, for twelve hours. The protocol is JSON 1.1, whose errors have their code in `__type`.
"""

import json
import re
from base64 import b64decode
from binascii import Error
from datetime import UTC, datetime
from typing import Any, Final

from proxy.aws.answers import MAX_REPLY_BYTES, AwsError
from proxy.aws.partitions import partition_of
from proxy.core.secret import Secret
from proxy.core.structs import Struct

SERVICE: Final = "ecr"
TARGET_HEADER: Final = "x-amz-target"
TARGET: Final = "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken"
CONTENT_TYPE: Final = "application/x-amz-json-1.1"
# Without `registryIds`, which is deprecated: the token is for every registry that the caller may reach.
BODY: Final = b"{}"

_VISIBLE: Final = re.compile(rb"[\x21-\x7e]+").fullmatch
_CODE: Final = re.compile(r"(?:[\w.]+#)?([A-Za-z]{1,64})(?::.*)?", re.ASCII).fullmatch


class RegistryLogin(Struct, frozen=True):
    """The user is `AWS`, as far as anybody has seen."""

    username: Secret
    password: Secret
    expires: datetime


def endpoint_host(region: str) -> str:
    return f"api.ecr.{region}.{partition_of(region).dns_suffix}"


def read_login(body: bytes) -> RegistryLogin | None:
    """The login in a reply; None where there is none that could be used."""
    data = _object(body).get("authorizationData")
    if not isinstance(data, list) or not data or not isinstance(data[0], dict):
        return None
    token, expires = data[0].get("authorizationToken"), _moment(data[0].get("expiresAt"))
    try:
        decoded = b64decode(token, validate=True) if isinstance(token, str) else b""
    except (Error, ValueError):
        return None
    username, _, password = decoded.partition(b":")
    if not _VISIBLE(username) or not _VISIBLE(password) or expires is None:
        return None
    return RegistryLogin(Secret(username), Secret(password), expires)


def read_error(body: bytes) -> AwsError | None:
    """`{"__type": "AccessDeniedException", "message": …}`, the type sometimes with its namespace."""
    found = _object(body)
    kind = found.get("__type")
    code = _CODE(kind) if isinstance(kind, str) else None
    message = found.get("message") or found.get("Message")
    return AwsError(code[1], message if isinstance(message, str) else "") if code else None


def _object(body: bytes) -> dict[str, Any]:
    if len(body) > MAX_REPLY_BYTES:
        return {}
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _moment(seconds: object) -> datetime | None:
    """Seconds since 1970, as JSON 1.1 has all times."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None
