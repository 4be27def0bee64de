"""A request whose URL may be presigned: as it is judged, without its signature."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from proxy.attach.bodies import BodyFault
from proxy.attach.presigned import read_signed_url
from proxy.core.reasons import Reason
from proxy.core.services import Dialect
from proxy.judge.index import HostRules
from proxy.transaction.pod import PodState

Fields = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class ReadUrl:
    """`fields` and `query` as they are meant; `is_foreign`: somebody else signed them."""

    fields: Fields
    query: str
    is_foreign: bool = False
    region: str | None = None
    # Nothing was looked at that says until when it counts.
    is_plain: bool = field(default=False, compare=False)


def read_url(
    rules: HostRules, fields: Fields, raw_query: str, pod: PodState, now: datetime
) -> ReadUrl | BodyFault:
    """Only S3's URLs are read; any other one keeps its signature, and with it is refused."""
    plain = ReadUrl(fields, raw_query, is_plain=True)
    if not raw_query or rules.outside is not None:
        return plain
    if not any(service.dialect is Dialect.S3_XML for service in rules.services):
        return plain
    url = read_signed_url(raw_query, pod.placeholders, now)
    if url is None:
        return plain
    if isinstance(url, BodyFault):
        # A policy on trial refuses nothing: the URL is judged, and passes, as it is.
        return ReadUrl(fields, raw_query) if rules.observed else url
    there = {name.lower() for name, _ in fields}
    twice = _first(name for name, _ in url.headers if name in there)
    if twice is not None and url.ours:
        message = f"`{twice[:40]}` stands in the presigned URL and in the headers"
        return BodyFault(Reason.MALFORMED_PRESIGNED, message)
    return ReadUrl((*fields, *url.headers), url.query, not url.ours, url.region)


def _first(names: Iterable[str]) -> str | None:
    return next(iter(names), None)
