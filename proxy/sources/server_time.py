"""What time a server says it is: the other half of measuring how far its clock is from ours."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from proxy.sources.steps import HttpReply

# RFC 9110 §5.6.7: the form that is sent, and the two that were once sent and must be read. Names of days and
# zones carry nothing; all three are in GMT.
_TIME: Final = r"(?P<time>\d\d:\d\d:\d\d)"
_FORMS: Final = tuple(
    re.compile(form, re.ASCII).fullmatch
    for form in (
        rf"[A-Z][a-z]{{2}}, (?P<day>\d\d) (?P<month>[A-Z][a-z]{{2}}) (?P<year>\d{{4}}) {_TIME} GMT",
        rf"[A-Z][a-z]{{5,8}}, (?P<day>\d\d)-(?P<month>[A-Z][a-z]{{2}})-(?P<year>\d\d) {_TIME} GMT",
        rf"[A-Z][a-z]{{2}} (?P<month>[A-Z][a-z]{{2}}) (?P<day>[ \d]\d) {_TIME} (?P<year>\d{{4}})",
    )
)
# By number, because `strptime` reads names in the language of the machine.
_MONTHS: Final = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()  # noqa: SIM905 - reads better
# A server that was switched on without a clock says 1970 or its firmware's year; a skew of decades would call
# every lease expired.
_PLAUSIBLE_YEARS: Final = range(2020, 2200)


def server_time(reply: HttpReply) -> datetime | None:
    """`Date`, and what a cache on the way says has passed since (RFC 9111 §5.1); None where it is absurd."""
    text = reply.headers.get("date", "")
    found = next(filter(None, (form(text) for form in _FORMS)), None)
    if found is None or found["month"] not in _MONTHS:
        return None
    year = int(found["year"]) + (2000 if len(found["year"]) == 2 else 0)
    if year not in _PLAUSIBLE_YEARS:
        return None
    hour, minute, second = map(int, found["time"].split(":"))
    try:
        # A leap second is written as 60, which `datetime` does not know.
        second = 59 if second == 60 else second
        month = _MONTHS.index(found["month"]) + 1
        date = datetime(year, month, int(found["day"]), hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
    age = reply.headers.get("age", "")
    return date + timedelta(seconds=int(age)) if re.fullmatch(r"[0-9]{1,9}", age) else date
