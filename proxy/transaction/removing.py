"""The body of a request that names the keys it deletes: read whole before anything is judged or sent."""

import re
from collections.abc import Generator
from typing import Final

from proxy.attach.bodies import BodyFault
from proxy.attach.payload import CONTENT_HASH, TRAILER, Literal, Unsigned, read_payload
from proxy.aws.delete_objects import MAX_BODY, read_delete_objects
from proxy.core.lease import LeaseReply
from proxy.core.reasons import Reason
from proxy.core.request import Removal
from proxy.core.verdict import PassThrough, ReadBody, Refuse
from proxy.judge.index import HostRules
from proxy.transaction.head import Head
from proxy.transaction.steps import Want, WantBody

_UTF_8: Final = re.compile(r';\s*charset=("?)utf-8\1\s*(?=;|\Z)')
Fields = tuple[tuple[str, str], ...]
Read = tuple[bytes, tuple[Removal, ...]]


def read_removals(
    head: Head, fields: Fields
) -> Generator[Want, LeaseReply | bytes | BodyFault, Read | BodyFault]:
    """The body and what it names. It is read as it stands: in a wrapping, we would judge the wrapping."""
    if (fault := _wrapping(fields)) is not None:
        return fault
    body = (yield WantBody(MAX_BODY)) if head.has_body else b""
    if not isinstance(body, bytes):
        return body if isinstance(body, BodyFault) else BodyFault(Reason.INTERNAL_ERROR, "no body was read")
    removals = read_delete_objects(body)
    if isinstance(removals, str):
        return BodyFault(Reason.MALFORMED_BODY, f"the list of keys to delete cannot be read: {removals}")
    return body, removals


def unread(rules: HostRules, verdict: ReadBody, reason: Reason) -> PassThrough | Refuse:
    """What becomes of a request whose list could not be read. What policies on trial govern passes, as long
    as there is a body to pass on."""
    refusal = Refuse(reason, verdict.granted.rule)
    lost = reason in {Reason.BODY_TOO_LARGE, Reason.OVERLOADED, Reason.INTERNAL_ERROR}
    return PassThrough(Reason.WOULD_REFUSE, refusal) if rules.observed and not lost else refusal


def _wrapping(fields: Fields) -> BodyFault | None:
    """What would let somebody else read another list than we do."""
    payload = read_payload(_values(fields, CONTENT_HASH), _values(fields, TRAILER))
    if isinstance(payload, BodyFault):
        return payload
    if not isinstance(payload, Literal | Unsigned):
        return BodyFault(Reason.UNSUPPORTED_PAYLOAD, "a list of keys to delete is sent whole, not in chunks")
    for name, value in fields:
        key, said = name.lower(), value.lower()
        if key == "content-encoding" and said.strip():
            return BodyFault(
                Reason.UNSUPPORTED_PAYLOAD, "a list of keys to delete is sent without an encoding"
            )
        if key == "content-type" and "charset" in _UTF_8.sub("", said):
            return BodyFault(Reason.UNSUPPORTED_PAYLOAD, "a list of keys to delete is sent in UTF-8")
    return None


def _values(fields: Fields, wanted: str) -> list[str]:
    return [value for name, value in fields if name.lower() == wanted]
