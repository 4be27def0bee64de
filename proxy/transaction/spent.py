"""Whether an upstream's answer says that the credential is expired or revoked: each service has its words.

Read from what any answer may hold: its status, its challenge, and the error code where its body begins.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from proxy.core.services import DEFAULT_SPENT, Service, SpentSign

# What is looked at of a body. Errors have their code in front: S3's begin with it, JSON ones are some hundred
# bytes long.
LOOKED_AT: Final = 4096

# RFC 6750 §3.1: what is wrong with a bearer token, in so many words.
_BEARER: Final = re.compile(r"(?:^|,)\s*bearer\s", re.IGNORECASE).search
_ERROR: Final = re.compile(r'(?:^|[\s,])error\s*=\s*(?:"([^"]*)"|([^\s,"]+))', re.IGNORECASE).search
# `<Code>ExpiredToken</Code>`, and `"type": "authentication_error"`. What an error quotes of a request is
# escaped in its own language, so no key or path passes for a code.
_IN_XML: Final = re.compile(rb"<(?:[A-Za-z0-9]+:)?Code>\s*([A-Za-z0-9_.:-]+)\s*</").findall
_IN_JSON: Final = re.compile(
    rb'"(?:code|error|status|reason|type|__type)"\s*:\s*"([A-Za-z0-9_.:#-]+)"', re.IGNORECASE
).findall


def signs_of(services: Iterable[Service]) -> tuple[SpentSign, ...]:
    """For a host that belongs to these; HTTP's own where it belongs to none."""
    return tuple(sign for service in services for sign in service.spent) or DEFAULT_SPENT


class Suspicion:
    """One answer, as far as it has come. `spent` is None while that is not known."""

    __slots__ = ("_codes", "_seen", "spent")

    def __init__(self, signs: Sequence[SpentSign], status: int, fields: Iterable[tuple[str, str]]) -> None:
        self._codes: frozenset[bytes] = frozenset()
        self._seen = b""
        self.spent = self._by_head(signs, status, fields)

    def __repr__(self) -> str:
        """What was seen of the body stays where it is."""
        return f"<Suspicion spent={self.spent}>"

    def _by_head(
        self, signs: Sequence[SpentSign], status: int, fields: Iterable[tuple[str, str]]
    ) -> bool | None:
        fitting = [sign for sign in signs if sign.status == status]
        if status != 401 and not fitting:
            return False
        sent = list(fields)
        told = _challenge(value for name, value in sent if name.lower() == "www-authenticate")
        if told is not None and (status == 401 or not told):
            return told
        if any(not sign.codes for sign in fitting):
            return True
        codings = {value.strip().lower() for name, value in sent if name.lower() == "content-encoding"}
        if not fitting or codings - {"", "identity"}:
            return False
        self._codes = frozenset(code.encode("ascii") for sign in fitting for code in sign.codes)
        return None

    def feed(self, data: bytes) -> None:
        """A piece of the body."""
        if self.spent is None:
            self._seen += data[: LOOKED_AT - len(self._seen)]
            if len(self._seen) >= LOOKED_AT:
                self.end()

    def end(self) -> None:
        """There is no more of it to look at."""
        if self.spent is None:
            codes_in = _IN_XML if self._seen.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<") else _IN_JSON
            self.spent = not self._codes.isdisjoint(codes_in(self._seen))
            self._seen = b""


def _challenge(values: Iterable[str]) -> bool | None:
    """What a bearer challenge says of the token: that it is worth nothing, that it is good, or neither."""
    errors = set()
    for value in values:
        start = _BEARER(value)
        error = _ERROR(value, start.end() - 1) if start is not None else None
        if error is not None:
            errors.add((error[1] or error[2] or "").lower())
    if "insufficient_scope" in errors:
        return False
    return True if "invalid_token" in errors else None
