"""No secret in what is said about a source: an identity provider may quote what it was sent."""

import re
from base64 import b64encode
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote_plus

from proxy.core.secret import Secret

# Shorter ones are words: to blot out every `admin` would leave nothing to read.
LEAST_BYTES: Final = 6
# A JWS in its compact form (RFC 7515 §3.1), whosesoever it is.
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*")
_BLOT: Final = "(removed)"


def scrubbed(message: str, secrets: Iterable[Secret]) -> str:
    """The message without any of these, as they are, in base64 and as form fields, and without any JWT."""
    # The longest first: one may be a part of another.
    values = sorted({secret.reveal() for secret in secrets}, key=len, reverse=True)
    for value in values:
        if len(value) < LEAST_BYTES:
            continue
        plain = value.decode("latin-1")
        utf8 = value.decode("utf-8", "replace")
        for form in {plain, utf8, quote_plus(value), b64encode(value).decode().rstrip("=")}:
            message = message.replace(form, _BLOT)
    return _TOKEN.sub(_BLOT, message)
