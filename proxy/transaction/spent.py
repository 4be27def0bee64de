"""Whether an upstream's answer says that the credential is expired or revoked, or that the request was signed
with a wrong clock: each service has its words.

Read from what any answer may hold: its status, its challenge, its clock, and the error code in a header or
where its body begins.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Final

from proxy.aws.partitions import is_region
from proxy.core.services import DEFAULT_SPENT, Service, SpentSign
from proxy.transaction.regions import told_region

# What is looked at of a body. Errors have their code in front: S3's begin with it, JSON ones are some hundred
# bytes long.
LOOKED_AT: Final = 4096

# AWS lets the clocks of its clients be off by five minutes, S3 by fifteen. Its SDKs believe the words below
# only where the answer's own Date is further off than this.
BEARABLE: Final = timedelta(minutes=4)
# Where the answer has no body, to a HEAD, it names no code: then the clocks alone say it.
BEYOND_DOUBT: Final = timedelta(minutes=15)
# The first four are those of AWS's SDKs; the others are what some services say in the same place. Each may
# mean something else as well.
SKEW_CODES: Final = frozenset({
    b"RequestTimeTooSkewed", b"InvalidSignatureException", b"SignatureDoesNotMatch", b"AuthFailure",
    b"RequestExpired", b"RequestInTheFuture",
})  # fmt: skip
# What S3 says of a signature for another region, and where it says which ("Error responses", S3 API
# reference).
MALFORMED_SCOPE: Final = b"AuthorizationHeaderMalformed"
_REGION: Final = re.compile(rb"<Region>([a-z0-9-]{1,32})</Region>").search
_ELSEWHERE_STATUSES: Final = frozenset({400, 403})
_SKEW_STATUSES: Final = frozenset({400, 401, 403})
# Where REST services of AWS say their code: `InvalidSignatureException:http://…`.
_ERROR_TYPE: Final = "x-amzn-errortype"

# RFC 6750 §3.1: what is wrong with a bearer token, in so many words.
_BEARER: Final = re.compile(r"(?:^|,)\s*bearer\s", re.IGNORECASE).search
_ERROR: Final = re.compile(r'(?:^|[\s,])error\s*=\s*(?:"([^"]*)"|([^\s,"]+))', re.IGNORECASE).search
# `<Code>ExpiredToken</Code>`, and `"type": "authentication_error"`. What an error quotes of a request is
# escaped in its own language, so no key or path passes for a code.
_IN_XML: Final = re.compile(rb"<(?:[A-Za-z0-9]+:)?Code>\s*([A-Za-z0-9_.:-]+)\s*</").findall
_IN_JSON: Final = re.compile(
    rb'"(?:code|error|status|reason|type|__type)"\s*:\s*"([A-Za-z0-9_.:#-]+)"', re.IGNORECASE
).findall


class Complaint(Enum):
    """What an answer says of the request's credential."""

    NONE = "none"
    SPENT = "spent"
    SKEWED = "skewed"
    # The bucket lies in another region than the request was signed for.
    ELSEWHERE = "elsewhere"


def signs_of(services: Iterable[Service]) -> tuple[SpentSign, ...]:
    """For a host that belongs to these; HTTP's own where it belongs to none."""
    return tuple(sign for service in services for sign in service.spent) or DEFAULT_SPENT


class Suspicion:
    """One answer, as far as it has come. `complaint` is None while that is not known."""

    __slots__ = (
        "_codes",
        "_guessed",
        "_is_empty",
        "_off",
        "_otherwise",
        "_seen",
        "complaint",
        "region",
        "server_time",
    )

    def __init__(
        self,
        signs: Sequence[SpentSign],
        status: int,
        fields: Iterable[tuple[str, str]],
        signed_at: datetime | None = None,
        guessed_region: str | None = None,
    ) -> None:
        """`signed_at`: the time that the request was signed with, where it was; `guessed_region`: the region,
        where the host names none."""
        self._codes: Mapping[bytes, Complaint] = {}
        self._seen = b""
        self._is_empty = True
        self._otherwise = Complaint.NONE
        self._off = timedelta()
        self._guessed = guessed_region if status in _ELSEWHERE_STATUSES else None
        self.server_time: datetime | None = None
        self.region: str | None = None
        self.complaint = self._by_head(signs, status, fields, signed_at)

    def __repr__(self) -> str:
        """What was seen of the body stays where it is."""
        return f"<Suspicion {self.complaint}>"

    def _by_head(
        self,
        signs: Sequence[SpentSign],
        status: int,
        fields: Iterable[tuple[str, str]],
        signed_at: datetime | None,
    ) -> Complaint | None:
        fitting = [sign for sign in signs if sign.status == status]
        may_be_skewed = signed_at is not None and status in _SKEW_STATUSES
        if status != 401 and not fitting and not may_be_skewed and self._guessed is None:
            return Complaint.NONE
        sent = [(name.lower(), value) for name, value in fields]
        if self._is_elsewhere(told_region(sent)):
            return Complaint.ELSEWHERE
        if may_be_skewed and signed_at is not None:
            self._read_clock(sent, signed_at)
        told = _challenge(value for name, value in sent if name == "www-authenticate")
        if told is not None and (status == 401 or not told):
            return Complaint.SPENT if told else Complaint.NONE
        codes = {code.encode("ascii"): Complaint.SPENT for sign in fitting for code in sign.codes}
        if self._guessed is not None:
            codes[MALFORMED_SCOPE] = Complaint.ELSEWHERE
        if self._off > BEARABLE:
            codes |= dict.fromkeys(SKEW_CODES - codes.keys(), Complaint.SKEWED)
        if any(not sign.codes for sign in fitting):
            self._otherwise = Complaint.SPENT
        if not codes or (self._otherwise is Complaint.SPENT and self._off <= BEARABLE):
            return self._otherwise
        self._codes = codes
        types = (value.encode("latin-1") for name, value in sent if name == _ERROR_TYPE)
        if (named := self._named(types)) is not None:
            return named
        codings = {value.strip().lower() for name, value in sent if name == "content-encoding"}
        return self._otherwise if codings - {"", "identity"} else None

    def _is_elsewhere(self, region: str | None) -> bool:
        if self._guessed is None or region is None or region == self._guessed:
            return False
        self.region = region
        return True

    def _read_clock(self, sent: Iterable[tuple[str, str]], signed_at: datetime) -> None:
        dates = [value for name, value in sent if name == "date"]
        self.server_time = _time(dates[0]) if len(dates) == 1 else None
        if self.server_time is not None:
            self._off = abs(self.server_time - signed_at)

    def feed(self, data: bytes) -> None:
        """A piece of the body."""
        if self.complaint is None:
            self._is_empty = self._is_empty and not data
            self._seen += data[: LOOKED_AT - len(self._seen)]
            if len(self._seen) >= LOOKED_AT:
                self.end()

    def end(self) -> None:
        """There is no more of it to look at."""
        if self.complaint is None:
            codes_in = _IN_XML if self._seen.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<") else _IN_JSON
            found = self._named(codes_in(self._seen))
            if found is None and self._is_empty and self._off > BEYOND_DOUBT:
                found = Complaint.SKEWED
            if found is Complaint.ELSEWHERE:
                said = _REGION(self._seen)
                where = said[1].decode() if said is not None and is_region(said[1].decode()) else None
                found = found if self._is_elsewhere(where) else None
            self.complaint = found or self._otherwise
            self._seen = b""

    def _named(self, codes: Iterable[bytes]) -> Complaint | None:
        """By the first code that says something; AWS writes some as `com.amazon.coral.service#Code:http://…`."""
        for code in codes:
            bare = code.rpartition(b"#")[2].partition(b":")[0].strip()
            complaint = self._codes.get(code) or self._codes.get(bare)
            if complaint is not None:
                return complaint
        return None


# Of an answer that says nothing of the credential. What comes of its body changes nothing in it.
UNSUSPICIOUS: Final = Suspicion((), 200, ())


def _time(text: str) -> datetime | None:
    """A Date (RFC 9110 §5.6.7)."""
    try:
        time = parsedate_to_datetime(text)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


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
