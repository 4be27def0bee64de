"""URLs that carry their signature in the query: whose it is, whether it still counts, and the request in it.

"Authenticating Requests: Using Query Parameters" (S3 API reference) for Signature Version 4, and "REST
authentication: Query string request authentication" for version 2, with which boto3 still signs in us-east-1.
"""

import re
from collections import Counter
from collections.abc import Container
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import unquote, unquote_plus

from proxy.attach.bodies import BodyFault
from proxy.attach.client_signature import HMAC, read_timestamp
from proxy.aws.partitions import is_region
from proxy.core.reasons import Reason

# What S3 allows in either direction between a request's time and its own.
MAX_AHEAD: Final = timedelta(minutes=15)
# Seven days, "X-Amz-Expires" in the S3 API reference.
MAX_EXPIRES: Final = 604_800

_SIGNATURES: Final = frozenset({"x-amz-signature", "signature"})
_V4: Final = frozenset({
    "x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-expires", "x-amz-signedheaders",
    "x-amz-signature", "x-amz-security-token", "x-amz-region-set",
})  # fmt: skip
_V2: Final = frozenset({"awsaccesskeyid", "expires", "signature", "x-amz-security-token"})
_AUTH: Final = _V4 | _V2
# Every header of S3's own may stand in the query of a presigned URL; no parameter of S3 begins like that.
_HOISTED: Final = "x-amz-"
# What comes out of a query's escapes could be anything, and a line break would end the header.
_NAME: Final = re.compile(r"x-amz-[a-z0-9-]{1,120}").fullmatch
# A header's value: visible ASCII and spaces inside.
_VALUE: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?").fullmatch
_NUMBER: Final = re.compile(r"[0-9]{1,10}").fullmatch


@dataclass(frozen=True, slots=True)
class SignedUrl:
    """`query` and `headers` are the request as it is meant: without what signs it, and with the headers that
    the signer put into the query back in their place. `ours`: signed with this pod's placeholder."""

    ours: bool
    query: str
    headers: tuple[tuple[str, str], ...] = ()
    region: str | None = None


def read_signed_url(
    raw_query: str, placeholders: Container[str], now: datetime
) -> SignedUrl | BodyFault | None:
    """None where no signature stands in the query."""
    if "signature" not in unquote(raw_query).lower():
        return None
    auth: dict[str, list[str]] = {}
    headers: list[tuple[str, str]] = []
    kept: list[str] = []
    for pair in raw_query.split("&"):
        name, _, value = pair.partition("=")
        key = unquote_plus(name).lower()
        if key in _AUTH:
            auth.setdefault(key, []).append(value)
        elif key.startswith(_HOISTED):
            headers.append((key, value))
        else:
            kept.append(pair)
    if _SIGNATURES.isdisjoint(auth):
        return None
    query, hoisted = "&".join(kept), tuple((name, unquote(value)) for name, value in headers)
    if _signer(auth) not in placeholders:
        # Whatever is odd about it is for the upstream to refuse: it gets no credential of ours.
        return SignedUrl(ours=False, query=query, headers=hoisted)
    fault = _shape_fault(auth, headers) or _time_fault(auth, now)
    if fault is not None:
        return fault
    return SignedUrl(ours=True, query=query, headers=hoisted, region=_region(auth))


def _signer(auth: dict[str, list[str]]) -> str | None:
    """The access key id, where there is one."""
    named = [*auth.get("x-amz-credential", ()), *auth.get("awsaccesskeyid", ())]
    return unquote(named[0]).partition("/")[0] if len(named) == 1 else None


def _region(auth: dict[str, list[str]]) -> str | None:
    parts = unquote(auth.get("x-amz-credential", [""])[0]).split("/")
    named = unquote(auth.get("x-amz-algorithm", [""])[0]) == HMAC
    return parts[2] if named and len(parts) == _CREDENTIAL_PARTS and is_region(parts[2]) else None


_CREDENTIAL_PARTS: Final = 5


def _shape_fault(auth: dict[str, list[str]], headers: list[tuple[str, str]]) -> BodyFault | None:
    repeated = sorted(name for name, values in auth.items() if len(values) > 1)
    if repeated:
        return _malformed(f"`{repeated[0]}` stands in it twice")
    wanted = _V4 if "x-amz-signature" in auth else _V2
    if stray := sorted(auth.keys() - wanted):
        return _malformed(f"`{stray[0]}` belongs to another version of the signature")
    optional = {"x-amz-security-token", "x-amz-region-set"}
    if missing := sorted(wanted - optional - auth.keys()):
        return _malformed(f"`{missing[0]}` is missing")
    counts = Counter(name for name, _ in headers)
    for name, value in headers:
        if not _NAME(name):
            return _malformed("a parameter that would be a header has no name that a header can have")
        if counts[name] > 1 or "+" in value or not _VALUE(unquote(value)):
            return _malformed(f"the parameter `{name[:40]}` is no header's value, or stands in it twice")
    return None


def _time_fault(auth: dict[str, list[str]], now: datetime) -> BodyFault | None:
    if "x-amz-signature" in auth:
        signed = read_timestamp(unquote(auth["x-amz-date"][0]))
        seconds = auth["x-amz-expires"][0]
        if signed is None or not _NUMBER(seconds) or not 0 < int(seconds) <= MAX_EXPIRES:
            return _malformed("its date or its lifetime cannot be read")
        ends = signed + timedelta(seconds=int(seconds))
        if now < signed - MAX_AHEAD:
            begins = f"the URL counts from {signed:%Y-%m-%d %H:%M:%S} UTC on"
            return BodyFault(Reason.PRESIGNED_EXPIRED, begins)
    else:
        if not _NUMBER(auth["expires"][0]):
            return _malformed("its end cannot be read")
        ends = datetime.fromtimestamp(int(auth["expires"][0]), UTC)
    if now >= ends:
        return BodyFault(Reason.PRESIGNED_EXPIRED, f"the URL expired at {ends:%Y-%m-%d %H:%M:%S} UTC")
    return None


def _malformed(why: str) -> BodyFault:
    message = f"the URL is presigned with the pod's placeholder, but {why}"
    return BodyFault(Reason.MALFORMED_PRESIGNED, message)
