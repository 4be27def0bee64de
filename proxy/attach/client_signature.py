"""What an AWS client's own signature says: who signed, for which region, and with which signature.

It was made with the pod's placeholder keys, so it proves nothing to anybody. What it says is still of use:
the region, where the host names none, and the first link of a chain of signed chunks.
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from proxy.aws.partitions import is_region
from proxy.core.structs import Struct

HMAC: Final = "AWS4-HMAC-SHA256"
ECDSA: Final = "AWS4-ECDSA-P256-SHA256"
DATE_HEADER: Final = "x-amz-date"

# "Authorization header" (Signature Version 4, S3 API reference): one space or more may follow each comma.
_AUTHORIZATION: Final = re.compile(
    rf"({HMAC}|{ECDSA})\s+Credential=([^,\s]+)\s*,\s*SignedHeaders=[^,\s]+\s*,\s*Signature=([0-9a-f]+)"
).fullmatch
_TIMESTAMP: Final = re.compile(r"[0-9]{8}T[0-9]{6}Z").fullmatch


class ClientSignature(Struct, frozen=True):
    """`scope` is what follows the access key id: `20261121/eu-west-1/s3/aws4_request`; with ECDSA there is no
    region in it."""

    algorithm: str
    access_key_id: str
    scope: str
    signature: str
    timestamp: str | None

    @property
    def region(self) -> str | None:
        parts = self.scope.split("/")
        named = self.algorithm == HMAC and len(parts) == _SCOPE_PARTS and is_region(parts[1])
        return parts[1] if named else None


_SCOPE_PARTS: Final = 4


def read_client_signature(fields: Iterable[tuple[str, str]]) -> ClientSignature | None:
    """Of the request's one Authorization header. None: it is none of AWS's, or there are several."""
    authorizations: list[str] = []
    dates: list[str] = []
    for name, value in fields:
        key = name.lower()
        if key == "authorization":
            authorizations.append(value)
        elif key == DATE_HEADER:
            dates.append(value.strip())
    found = _AUTHORIZATION(authorizations[0].strip()) if len(authorizations) == 1 else None
    if found is None:
        return None
    access_key_id, _, scope = found[2].partition("/")
    timestamp = dates[0] if len(dates) == 1 and _TIMESTAMP(dates[0]) else None
    return ClientSignature(found[1], access_key_id, scope, found[3], timestamp)


def read_timestamp(text: str) -> datetime | None:
    """`20261121T184655Z`, the one form that AWS takes."""
    if not _TIMESTAMP(text):
        return None
    try:
        return datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None
