"""The single values that documents hold: each parser returns a core value or raises `Fault`."""

import re
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from proxy.core.globs import ANY_SEGMENTS, MAX_STARS, Glob
from proxy.core.hosts import HostPattern
from proxy.core.identity import is_digest
from proxy.core.paths import PathPattern, RequestPath
from proxy.core.policy import EVERY_SERVICE_ACCOUNT
from proxy.core.validity import END_OF_DAY, Day
from proxy.documents.host_names import parse_host_pattern
from proxy.documents.problems import Fault, ProblemCode, did_you_mean
from proxy.documents.shapes import Number, Text

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

# RFC 1123 names as Kubernetes wants them: subdomains for objects, labels for namespaces.
_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_METHOD_OR_HEADER = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # RFC 9110 §5.6.2

# More runs of any length in one path than this is a mistake, and each costs time on every request.
MAX_ANY_SEGMENTS: Final = 3


def _checked(what: str, pattern: str, most: int, fix: str, example: str = "") -> Text:
    fits = re.compile(pattern).fullmatch

    def parse(text: str) -> str:
        if len(text) > most or not fits(text):
            raise Fault(f"`{text}` is not {what}", fix)
        return text

    return Text(what, parse, f"^{pattern}$", (example,) if example else ())


NAME = _checked(
    "a Kubernetes object name",
    _SUBDOMAIN,
    253,
    "use lower-case letters, digits, hyphens and dots, beginning and ending with a letter or digit",
    "training-data",
)
NAMESPACE = _checked(
    "a namespace", _LABEL, 63, "use lower-case letters, digits and hyphens, at most 63", "ml-team"
)
SERVICE_ACCOUNT = _checked(
    "a service account name",
    rf"({_SUBDOMAIN}|\{EVERY_SERVICE_ACCOUNT})",
    253,
    'use the plain name of the service account; `"*"` alone stands for every one in the namespace',
    "trainer",
)
LABEL_KEY = _checked(
    "a label key",
    rf"({_SUBDOMAIN}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{{0,61}}[A-Za-z0-9])?",
    317,
    "use a name of at most 63 characters, with an optional DNS prefix and slash before it",
    "app.kubernetes.io/name",
)
LABEL_VALUE = Text(
    "a label value",
    _checked(
        "a label value",
        r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?",
        63,
        "use at most 63 letters, digits, hyphens, underscores and dots",
    ).parse,
    may_be_empty=True,
)
FIELD_NAME = _checked(
    "a name", r"[A-Za-z][A-Za-z0-9_.:-]*", 63, "use letters, digits, `-`, `_`, `.` and `:`", "org"
)
SECRET_KEY = _checked(
    "a key of a Secret",
    r"[-._a-zA-Z0-9]+",
    253,
    "use letters, digits, `-`, `_` and `.`, as in the Secret's `data`",
    "api-key",
)
ENVIRONMENT_NAME = _checked(
    "an environment variable name", r"[A-Z_][A-Z0-9_]*", 128, "use capitals, digits and underscores"
)
HEADER_NAME = _checked(
    "a header name", _METHOD_OR_HEADER, 128, "use a header name such as `X-Api-Key`", "X-Api-Key"
)
COOKIE_NAME = _checked(
    "a cookie name",
    _METHOD_OR_HEADER,  # RFC 6265 §4.1.1: a token, as header names are
    128,
    "use the name before the `=` in the Cookie header",
    "session",
)
# Headers that frame the message, belong to one connection or say where it goes (RFC 9110 §7.6.1), and those
# that a signature covers: a credential there would change what is asked.
_NO_CREDENTIAL = re.compile(
    r"(?i)host|connection|content-.*|transfer-encoding|te|trailer|upgrade|expect|keep-alive|proxy-connection"
    r"|forwarded|via|x-forwarded-.*|x-http-method.*|x-method-override|x-original-url|x-rewrite-url|x-amz-.*|:.*"
).fullmatch


def _credential_header(text: str) -> str:
    if not re.fullmatch(_METHOD_OR_HEADER, text) or len(text) > 128:
        raise Fault(f"`{text}` is not a header name", "use a header name such as `X-Api-Key`")
    if _NO_CREDENTIAL(text):
        fix = "use the header in which the service reads its credential"
        raise Fault(f"`{text}` cannot carry a credential: it changes what is asked, or where it goes", fix)
    return text


CREDENTIAL_HEADER = Text("a header name", _credential_header, examples=("X-Api-Key",))
CREDENTIAL_PARAMETER = _checked(
    "a parameter's name", r"[A-Za-z0-9._~-]+", 64, "use letters, digits, `.`, `_`, `~` and `-`", "key"
)
BASIC_USERNAME = Text(
    "a user name",
    _checked(
        "a user name", r"[\x20-\x39\x3b-\x7e]*", 255, "use printable ASCII without a colon (RFC 7617 §2)"
    ).parse,
    may_be_empty=True,
)
BUCKET_OWNER = _checked(
    "an AWS account id",
    r"[0-9]{12}",
    12,
    'write the twelve digits in quotes, such as "111122223333"',
)
PORT = Number("a port", 1, 65535)
QUERY_NAME = Text("a query parameter", examples=("list-type",))
QUERY_VALUE = Text("a query value", may_be_empty=True)
HEADER_PREFIX = _checked(
    "a header prefix", r"[\x20-\x7e]*", 64, "use printable ASCII, such as `Key `", "Token "
)


def _host(text: str) -> HostPattern:
    return parse_host_pattern(text)


HOST = Text("a host", _host, examples=("api.example.com", "*.example.com"))


def _method(text: str) -> str:
    if text in {"CONNECT", "TRACE"}:
        fix = "remove it"
        raise Fault(f"{text} never carries a credential", fix, ProblemCode.NEVER_MATCHES)
    if not re.fullmatch(_METHOD_OR_HEADER, text):
        raise Fault(f"`{text}` is not an HTTP method", "write a method such as GET or POST")
    if text != text.upper():
        fix = f"write `{text.upper()}`: methods are case-sensitive"
        raise Fault(f"`{text}` never matches", fix, ProblemCode.NEVER_MATCHES)
    return text


METHOD = Text("an HTTP method", _method, f"^{_METHOD_OR_HEADER}$", ("GET",))


def _stars(text: str, segments: tuple[str, ...]) -> None:
    if segments.count(ANY_SEGMENTS) > MAX_ANY_SEGMENTS:
        fix = "merge them: `**` already stands for any number of segments"
        raise Fault(f"`{text}` has more than {MAX_ANY_SEGMENTS} `**`", fix)
    for segment in segments:
        if "**" in segment and segment != ANY_SEGMENTS:
            fix = "use `**` as a whole segment, or a single `*` within one"
            raise Fault(f"`{segment}`: `**` must be a segment of its own", fix)
        if segment.count("*") > MAX_STARS and segment != ANY_SEGMENTS:
            raise Fault(f"`{segment}` has more than {MAX_STARS} stars", "simplify the pattern")


def _path(text: str) -> PathPattern:
    if not text.startswith("/"):
        raise Fault(
            f"`{text}` never matches: a path starts with a slash",
            f"write `/{text}`",
            ProblemCode.NEVER_MATCHES,
        )
    if "?" in text:
        path = text.split("?", maxsplit=1)[0]
        raise Fault(
            f"`{text}` holds a query",
            f"write `{path}` here and the rest in `query`",
            ProblemCode.BAD_VALUE,
        )
    pattern = PathPattern(text)
    _stars(text, pattern.segments)
    normal = RequestPath.parse(text)
    if normal.text != text:
        spelled = normal.text or RequestPath.parse(quote(text, safe="/*%")).text
        fix = f"write `{spelled}`" if spelled else "write a plain path with `*` and `**`"
        message = f"`{text}` never matches: it is compared with normalised paths"
        raise Fault(message, fix, ProblemCode.NEVER_MATCHES)
    return pattern


PATH = Text("a path pattern", _path, "^/", ("/v1/**",))


def _pin(text: str) -> Glob:
    if "**" in text or text.count("*") > MAX_STARS:
        fix = f"use at most {MAX_STARS} single `*`; each stands for any run of characters but a slash"
        raise Fault(f"`{text}` is not a pattern for one value", fix)
    return Glob(text)


PIN = Text("a value, in which `*` stands for any run of characters", _pin, examples=("my-team",))


def _prefix(text: str) -> str:
    if text.startswith("s3://"):
        bucket, _, key = text[5:].partition("/")
        fix = f"write `{key or 'data/'}` here and `{bucket}` in `buckets`"
        raise Fault(f"`{text}` is a URL, not a key prefix", fix)
    if text.startswith("/"):
        fix = f"write `{text.lstrip('/') or 'data/'}`: keys do not begin with a slash"
        raise Fault(f"`{text}` never matches", fix, ProblemCode.NEVER_MATCHES)
    if "*" in text[:-1]:
        raise Fault(f"`{text}`: a star can only stand at the end", "write a prefix such as `data/`")
    return text


PREFIX = Text("a key prefix", _prefix, examples=("datasets/imagenet/",))


def _digest(text: str) -> str:
    if not is_digest(text):
        fix = "write `sha256:` and 64 hexadecimal digits in lower case"
        raise Fault(f"`{text}` is not an image digest", fix)
    return text


DIGEST = Text("an image digest", _digest, "^sha(256|512):[0-9a-f]+$")


def _repository(text: str) -> PathPattern:
    last = text.rsplit("/", 1)[-1]
    if "@" in text or ":" in last:
        fix = f"write `{text.split('@', maxsplit=1)[0].rsplit(':', 1)[0]}`; pin a version in `digests`"
        raise Fault(f"`{text}` holds a tag or digest", fix)
    if not re.fullmatch(r"[a-z0-9*][a-z0-9*._:/-]*", text) or "//" in text or text.endswith("/"):
        fix = "write registry and path in lower case, such as `registry.example.com/ml/*`"
        raise Fault(f"`{text}` is not an image repository", fix)
    pattern = PathPattern("/" + text)
    if pattern.segments[0] in {"*", ANY_SEGMENTS}:
        fix = "name the registry first, such as `registry.example.com/ml/**`"
        raise Fault(f"`{text}` would allow every registry", fix)
    _stars(text, pattern.segments)
    return pattern


REPOSITORY = Text("an image repository", _repository, examples=("registry.example.com/ml/*",))


# Far enough from the ends of the calendar that no time zone reaches across them.
_FIRST, _LAST = datetime(2000, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)


def _timestamp(text: str) -> datetime:
    fix = "write a date and time with its offset, such as 2026-12-31T18:00:00Z"
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise Fault(f"`{text}` is not an RFC 3339 time", fix) from None
    if when.tzinfo is None:
        raise Fault(f"`{text}` has no time zone", f"write `{text}Z` if it is UTC")
    if not _FIRST <= when < _LAST:
        raise Fault(f"`{text}` lies outside the years 2000 to 8999", fix)
    return when.astimezone(UTC)


TIMESTAMP = Text("an RFC 3339 time", _timestamp, examples=("2026-12-31T18:00:00Z",), may_be_date=True)


def _day(text: str) -> Day:
    names = {day.name.capitalize(): day for day in Day}
    if text not in names:
        raise Fault(f"`{text}` is not a day", did_you_mean(text, names))
    return names[text]


DAY = Text("a day (Mon … Sun)", _day, "^(Mon|Tue|Wed|Thu|Fri|Sat|Sun)$", ("Mon",))


def _minute_of_day(text: str) -> int:
    clock = re.fullmatch(r"([0-2][0-9]):([0-5][0-9])", text)
    minute = int(clock[1]) * 60 + int(clock[2]) if clock else END_OF_DAY + 1
    if minute > END_OF_DAY:
        fix = 'write hours and minutes in quotes, from "00:00" to "24:00"'
        raise Fault(f"`{text}` is not a time of day", fix)
    return minute


TIME_OF_DAY = Text('a time of day, such as "08:30"', _minute_of_day, "^[0-2][0-9]:[0-5][0-9]$", ('"08:30"',))


@cache
def _zones() -> frozenset[str]:
    from zoneinfo import available_timezones  # noqa: PLC0415 - see `_zone`

    return frozenset(available_timezones())  # walks the whole database


def _zone(text: str) -> "ZoneInfo":
    # With what it imports it takes some milliseconds of a start, and few policies have a window.
    from zoneinfo import ZoneInfo  # noqa: PLC0415

    try:
        return ZoneInfo(text)
    except (KeyError, ValueError, OSError):  # not found, a path that climbs, a folder's name
        fix = did_you_mean(text, _zones())
        fix = fix if fix.startswith("did") else "write an IANA name such as `Europe/Berlin` or `UTC`"
        message = f"`{text}` is not an IANA time zone"
        raise Fault(message, fix, ProblemCode.UNKNOWN_TIME_ZONE) from None


ZONE = Text("an IANA time zone", _zone, examples=("Europe/Berlin",))
