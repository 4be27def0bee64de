"""What AWS answers in XML, read strictly: temporary keys, and errors.

Of one shape in STS's query protocol, in S3 and in Ceph's radosgw, which speaks like both.
"""

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from proxy.aws.sigv4 import SigningKeys
from proxy.core.secret import Secret
from proxy.core.structs import Struct

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

# A session's reply has some 3 KiB, most of it the token, which AWS reserves the right to make longer.
MAX_REPLY_BYTES: Final = 65_536

_VISIBLE: Final = re.compile(r"[\x21-\x7e]+").fullmatch


class Session(Struct, frozen=True):
    """Temporary keys, and until when they count by AWS's clock."""

    access_key_id: str
    secret_access_key: Secret
    session_token: Secret
    expires: datetime

    @property
    def keys(self) -> SigningKeys:
        return SigningKeys(self.access_key_id, self.secret_access_key, self.session_token)


class AwsError(Struct, frozen=True):
    code: str
    message: str


def session_below(element: "Element | None") -> Session | None:
    """The keys in its `Credentials`; None where there are none that could be used."""
    found = child_of(element, "Credentials")
    key_id, secret, token = (
        _visible(found, name) for name in ("AccessKeyId", "SecretAccessKey", "SessionToken")
    )
    expires = moment_of(_text(found, "Expiration"))
    if not key_id or not secret or not token or expires is None:
        return None
    return Session(key_id, Secret(secret.encode()), Secret(token.encode()), expires)


def read_error(body: bytes) -> AwsError | None:
    """`ErrorResponse/Error` of STS, or the bare `Error` of S3 and Ceph."""
    root = parsed(body)
    error = child_of(root, "Error") if root is not None and name_of(root) == "ErrorResponse" else root
    code = _visible(error, "Code")
    if error is None or name_of(error) != "Error" or not code:
        return None
    return AwsError(code, _text(error, "Message"))


def parsed(body: bytes) -> "Element | None":
    """Without declarations: entities can name files and grow without end, and AWS sends neither.

    Decoded first, so that no other encoding hides one.
    """
    if len(body) > MAX_REPLY_BYTES:
        return None
    # Here, for most pods speak to nothing of AWS: it takes some milliseconds of a start.
    from xml.etree.ElementTree import ParseError, fromstring  # noqa: PLC0415

    try:
        text = body.decode()
        return None if "<!" in text else fromstring(text)  # noqa: S314 - see above
    except (ParseError, ValueError):
        return None


def name_of(element: "Element") -> str:
    """Without the namespace, which AWS and Ceph write differently."""
    return element.tag.rpartition("}")[2]


def child_of(element: "Element | None", name: str) -> "Element | None":
    """The only child of this name: two of them could be read as either."""
    found = [child for child in element if name_of(child) == name] if element is not None else []
    return found[0] if len(found) == 1 else None


def moment_of(text: str) -> datetime | None:
    """ISO 8601 with its offset, which is always Z; without one it could be any time."""
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


def _text(element: "Element | None", name: str) -> str:
    child = child_of(element, name)
    return (child.text or "").strip() if child is not None else ""


def _visible(element: "Element | None", name: str) -> str:
    text = _text(element, name)
    return text if _VISIBLE(text) else ""
