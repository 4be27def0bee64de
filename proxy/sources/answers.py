"""What servers answer, read with care: a JSON object or why not, and what a refusal says for people."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

from proxy.sources.steps import Failed, HttpReply

# Error texts of identity providers are a sentence or two; a page of HTML is none.
MAX_SHOWN: Final = 300
# Later than this nobody remembers that a server asked for patience.
MAX_RETRY_AFTER: Final = 3600.0

JsonObject = Mapping[str, Any]


def json_object(reply: HttpReply) -> JsonObject | None:
    """The JSON object of the body; None where there is no such thing."""
    return read_json(reply.body)


def read_json(data: bytes) -> JsonObject | None:
    try:
        read = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return read if isinstance(read, dict) else None


def text_of(found: JsonObject, key: str) -> str:
    """A member that is text and not empty; else empty."""
    value = found.get(key)
    return value if isinstance(value, str) else ""


def seconds_of(found: JsonObject, key: str) -> float | None:
    """A member that counts seconds. Some providers write the number as text (Azure AD v1 did)."""
    value = found.get(key)
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,10}", value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # A century is no lifetime, and a `timedelta` has an end.
    return float(value) if 0 < value < 3.2e9 else None


def refusal(who: str, reply: HttpReply, now: datetime) -> Failed:
    """`who` refused: with the error that it names, in whichever of the common shapes it names one."""
    said = _said(json_object(reply) or {})
    return Failed(f"{who} answered {reply.status}{f': {said}' if said else ''}", retry_after(reply, now))


def _said(found: JsonObject) -> str:
    """RFC 6749 §5.2 (`error`, `error_description`); Google and Anthropic (`error: {…}`); Vault (`errors`) and
    GitHub (`message`)."""
    error = found.get("error")
    if isinstance(error, dict):
        kind = text_of(error, "status") or text_of(error, "type") or text_of(error, "code")
        words = [kind, text_of(error, "message")]
    else:
        words = [text_of(found, "error"), text_of(found, "error_description") or text_of(found, "message")]
        errors = found.get("errors")
        if isinstance(errors, list):
            words.extend(one for one in errors if isinstance(one, str))
    return shown(": ".join(word for word in words if word))


def shown(text: str) -> str:
    """One short line: what a server says goes into logs and refusals."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= MAX_SHOWN else line[:MAX_SHOWN] + "…"


def retry_after(reply: HttpReply, now: datetime) -> float | None:
    """RFC 9110 §10.2.3: seconds, or a date; from `Retry-After` alone."""
    text = reply.headers.get("retry-after", "")
    if re.fullmatch(r"[0-9]{1,10}", text):
        return min(float(text), MAX_RETRY_AFTER)
    try:
        when = parsedate_to_datetime(text)
    except (ValueError, IndexError, TypeError, OverflowError):
        return None
    aware = when if when.tzinfo is not None else when.replace(tzinfo=UTC)
    return min(max((aware - now).total_seconds(), 0.0), MAX_RETRY_AFTER)
