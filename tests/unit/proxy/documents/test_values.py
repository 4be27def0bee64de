from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.globs import Glob
from proxy.core.hosts import HostPattern
from proxy.core.paths import PathPattern, RequestPath
from proxy.core.validity import Day
from proxy.documents import values
from proxy.documents.problems import Fault
from proxy.documents.reading import Shape
from proxy.documents.shapes import ListOf, Text
from tests.document_strategies import read_shape

A_SHA256 = "sha256:" + "0123456789abcdef" * 4
A_SHA512 = "sha512:" + "0123456789abcdef" * 8


@pytest.mark.parametrize(
    ("shape", "text", "value"),
    [
        (values.NAME, "training-data.v1", "training-data.v1"),
        (values.NAME, "a" * 253, "a" * 253),
        (values.NAMESPACE, "ml-team", "ml-team"),
        (values.SERVICE_ACCOUNT, "trainer.v1", "trainer.v1"),
        (values.SERVICE_ACCOUNT, "'*'", "*"),
        (values.LABEL_KEY, "app.kubernetes.io/name", "app.kubernetes.io/name"),
        (values.LABEL_KEY, "App_1.x", "App_1.x"),
        (values.LABEL_VALUE, "''", ""),
        (values.LABEL_VALUE, "v1.2_x-Y", "v1.2_x-Y"),
        (values.FIELD_NAME, "s3:GetObject", "s3:GetObject"),
        (values.SECRET_KEY, "-._aZ9", "-._aZ9"),
        (values.ENVIRONMENT_NAME, "_HF_TOKEN", "_HF_TOKEN"),
        (values.HEADER_NAME, "X-Api-Key", "X-Api-Key"),
        (values.COOKIE_NAME, "__Host-session", "__Host-session"),
        (values.CREDENTIAL_HEADER, "Authorization", "Authorization"),
        (values.CREDENTIAL_PARAMETER, "api_key", "api_key"),
        (values.BASIC_USERNAME, "''", ""),
        (values.BASIC_USERNAME, "a b", "a b"),
        (values.BUCKET_OWNER, "'011122223333'", "011122223333"),
        (values.PORT, "443", 443),
        (values.QUERY_NAME, "list-type", "list-type"),
        (values.QUERY_VALUE, "''", ""),
        (values.HEADER_PREFIX, "'Token '", "Token "),
        (values.HOST, "'*.Example.com'", HostPattern("*.example.com")),
        (values.METHOD, "GET", "GET"),
        (values.METHOD, "M-SEARCH", "M-SEARCH"),
        (values.PATH, "/", PathPattern("/")),
        (values.PATH, "/v1/**", PathPattern("/v1/**")),
        (values.PATH, "/**/a/**/b/**", PathPattern("/**/a/**/b/**")),
        (values.PATH, "/a*b*c*d*e", PathPattern("/a*b*c*d*e")),
        (values.PATH, "/a//b/", PathPattern("/a//b/")),
        (values.PATH, "/a%20b/%E4%BD%A0", PathPattern("/a%20b/%E4%BD%A0")),
        (values.PIN, "meta-llama/Llama-3*", Glob("meta-llama/Llama-3*")),
        (values.PIN, "'*'", Glob("*")),
        (values.PREFIX, "imagenet/", "imagenet/"),
        (values.PREFIX, "train*", "train*"),
        (values.DIGEST, A_SHA256, A_SHA256),
        (values.DIGEST, A_SHA512, A_SHA512),
        (values.REPOSITORY, "registry.example.com:5000/ml/*", PathPattern("/registry.example.com:5000/ml/*")),
        (values.REPOSITORY, "nvcr.io/**", PathPattern("/nvcr.io/**")),
        (values.REPOSITORY, "busybox", PathPattern("/busybox")),
        (values.TIMESTAMP, "2026-12-31T18:00:00Z", datetime(2026, 12, 31, 18, tzinfo=UTC)),
        (values.TIMESTAMP, "'2026-12-31T18:00:00.5+02:00'", datetime(2026, 12, 31, 16, 0, 0, 500000, UTC)),
        (values.TIMESTAMP, "2000-01-01T00:00:00Z", datetime(2000, 1, 1, tzinfo=UTC)),
        (values.TIMESTAMP, "8999-12-31T23:59:59Z", datetime(8999, 12, 31, 23, 59, 59, tzinfo=UTC)),
        (values.DAY, "Mon", Day.MON),
        (values.DAY, "Sun", Day.SUN),
        (values.TIME_OF_DAY, "'00:00'", 0),
        (values.TIME_OF_DAY, "'08:30'", 510),
        (values.TIME_OF_DAY, "'24:00'", 1440),
        (values.ZONE, "Europe/Berlin", ZoneInfo("Europe/Berlin")),
        (values.ZONE, "UTC", ZoneInfo("UTC")),
    ],
)
def test_reads_a_value(shape: Shape, text: str, value: object) -> None:
    # In a list, because an empty text alone is an empty document.
    assert read_shape(ListOf(shape), f"- {text}") == ((value,), [])


@pytest.mark.parametrize(
    ("shape", "text", "code", "message", "fix"),
    [
        (values.NAME, "Data", "bad_value", "`Data` is not a Kubernetes object name", "lower-case letters"),
        (values.NAME, "-data", "bad_value", "is not a Kubernetes object name", "beginning and ending"),
        (values.NAME, "a..b", "bad_value", "is not a Kubernetes object name", "lower-case letters"),
        (values.NAME, "a" * 254, "bad_value", "is not a Kubernetes object name", "lower-case letters"),
        (values.NAME, "'a\n\n  b'", "bad_value", "is not a Kubernetes object name", "lower-case letters"),
        (values.NAME, '"a\\n"', "bad_value", "is not a Kubernetes object name", "lower-case letters"),
        (values.NAMESPACE, "a.b", "bad_value", "`a.b` is not a namespace", "at most 63"),
        (values.NAMESPACE, "a" * 64, "bad_value", "is not a namespace", "at most 63"),
        (values.SERVICE_ACCOUNT, "train*", "bad_value", "is not a service account name", '`"*"` alone'),
        (
            values.SERVICE_ACCOUNT,
            "ns:trainer",
            "bad_value",
            "is not a service account name",
            "the plain name",
        ),
        (values.LABEL_KEY, "a/b/c", "bad_value", "`a/b/c` is not a label key", "optional DNS prefix"),
        (values.LABEL_KEY, "x" * 64, "bad_value", "is not a label key", "at most 63"),
        (values.LABEL_VALUE, "a/b", "bad_value", "`a/b` is not a label value", "at most 63"),
        (values.LABEL_VALUE, "x" * 64, "bad_value", "is not a label value", "at most 63"),
        (values.FIELD_NAME, "1a", "bad_value", "`1a` is not a name", "use letters"),
        (
            values.SECRET_KEY,
            "a/b",
            "bad_value",
            "`a/b` is not a key of a Secret",
            "as in the Secret's `data`",
        ),
        (values.ENVIRONMENT_NAME, "hf_token", "bad_value", "is not an environment variable", "capitals"),
        (values.HEADER_NAME, "'X Api'", "bad_value", "`X Api` is not a header name", "`X-Api-Key`"),
        (values.HEADER_NAME, '"X\\r\\nY"', "bad_value", "is not a header name", "`X-Api-Key`"),
        (values.COOKIE_NAME, "token=x", "bad_value", "`token=x` is not a cookie name", "before the `=`"),
        (values.COOKIE_NAME, "a;token", "bad_value", "`a;token` is not a cookie name", "before the `=`"),
        (values.HEADER_PREFIX, '"Key\\r\\n"', "bad_value", "is not a header prefix", "printable ASCII"),
        (values.CREDENTIAL_HEADER, "'X Api'", "bad_value", "`X Api` is not a header name", "`X-Api-Key`"),
        (values.CREDENTIAL_HEADER, "X" * 129, "bad_value", "is not a header name", "`X-Api-Key`"),
        *(
            (
                values.CREDENTIAL_HEADER,
                name,
                "bad_value",
                f"`{name}` cannot carry a credential",
                "reads its credential",
            )
            for name in (
                "Host",
                "CONTENT-LENGTH",
                "Transfer-Encoding",
                "connection",
                "X-Forwarded-For",
                "x-amz-acl",
            )
        ),
        (
            values.CREDENTIAL_PARAMETER,
            "a&b",
            "bad_value",
            "`a&b` is not a parameter's name",
            "use letters, digits",
        ),
        (
            values.CREDENTIAL_PARAMETER,
            "x" * 65,
            "bad_value",
            "is not a parameter's name",
            "use letters, digits",
        ),
        (values.BASIC_USERNAME, "'a:b'", "bad_value", "`a:b` is not a user name", "without a colon"),
        (values.BASIC_USERNAME, "'ü'", "bad_value", "`ü` is not a user name", "printable ASCII"),
        (values.BUCKET_OWNER, "'1234'", "bad_value", "is not an AWS account id", "twelve digits in quotes"),
        (values.BUCKET_OWNER, "111122223333", "wrong_type", "is a number", 'quote it: "111122223333"'),
        (values.BUCKET_OWNER, "'١١١١٢٢٢٢٣٣٣٣'", "bad_value", "is not an AWS account id", "twelve digits"),
        (values.PORT, "65536", "bad_value", "65536 is not a port", "from 1 to 65535"),
        (values.HOST, "10.0.0.1", "host_is_address", "is an IP address", "name the host"),
        (values.METHOD, "CONNECT", "never_matches", "CONNECT never carries a credential", "remove it"),
        (values.METHOD, "TRACE", "never_matches", "TRACE never carries a credential", "remove it"),
        (values.METHOD, "'G T'", "bad_value", "`G T` is not an HTTP method", "such as GET or POST"),
        (
            values.METHOD,
            "get",
            "never_matches",
            "`get` never matches",
            "write `GET`: methods are case-sensitive",
        ),
        (values.PATH, "v1/chat", "never_matches", "a path starts with a slash", "write `/v1/chat`"),
        (values.PATH, "'*'", "never_matches", "a path starts with a slash", "write `/*`"),
        (
            values.PATH,
            "/v1?a=b",
            "bad_value",
            "`/v1?a=b` holds a query",
            "write `/v1` here and the rest in `query`",
        ),
        (values.PATH, "/**/a/**/b/**/c/**", "bad_value", "has more than 3 `**`", "merge them"),
        (values.PATH, "/a**", "bad_value", "`a**`: `**` must be a segment of its own", "as a whole segment"),
        (values.PATH, "/***", "bad_value", "`***`: `**` must be a segment of its own", "as a whole segment"),
        (values.PATH, "/a*b*c*d*e*f", "bad_value", "`a*b*c*d*e*f` has more than 4 stars", "simplify"),
        (values.PATH, "/a/../b", "never_matches", "compared with normalised paths", "write `/b`"),
        (values.PATH, "/%7Ea", "never_matches", "compared with normalised paths", "write `/~a`"),
        (values.PATH, "/%c3%a4", "never_matches", "compared with normalised paths", "write `/%C3%A4`"),
        (values.PATH, "/%E4", "never_matches", "compared with normalised paths", "a plain path with `*`"),
        (values.PATH, "/a b", "never_matches", "compared with normalised paths", "write `/a%20b`"),
        (values.PATH, "/über*", "never_matches", "compared with normalised paths", "write `/%C3%BCber*`"),
        (values.PATH, "/a%2Fb", "never_matches", "compared with normalised paths", "a plain path with `*`"),
        (values.PATH, "/../a", "never_matches", "compared with normalised paths", "a plain path with `*`"),
        (values.PIN, "a**", "bad_value", "`a**` is not a pattern for one value", "at most 4 single `*`"),
        (values.PIN, "a*b*c*d*e*f", "bad_value", "is not a pattern for one value", "at most 4 single `*`"),
        (
            values.PREFIX,
            "s3://data/train/",
            "bad_value",
            "is a URL, not a key prefix",
            "`train/` here and `data` in",
        ),
        (values.PREFIX, "s3://data", "bad_value", "is a URL, not a key prefix", "`data/` here and `data` in"),
        (values.PREFIX, "/train/", "never_matches", "`/train/` never matches", "write `train/`"),
        (values.PREFIX, "/", "never_matches", "`/` never matches", "write `data/`"),
        (values.PREFIX, "a*b", "bad_value", "a star can only stand at the end", "such as `data/`"),
        (values.DIGEST, "sha256:abc", "bad_value", "is not an image digest", "64 hexadecimal digits"),
        (values.DIGEST, A_SHA256.upper(), "bad_value", "is not an image digest", "in lower case"),
        (
            values.REPOSITORY,
            "r.example.com/app:v1",
            "bad_value",
            "holds a tag or digest",
            "write `r.example.com/app`;",
        ),
        (
            values.REPOSITORY,
            f"r.example.com/app@{A_SHA256}",
            "bad_value",
            "holds a tag",
            "write `r.example.com/app`;",
        ),
        (values.REPOSITORY, "r.example.com/App", "bad_value", "is not an image repository", "in lower case"),
        (
            values.REPOSITORY,
            "r.example.com//app",
            "bad_value",
            "is not an image repository",
            "registry and path",
        ),
        (values.REPOSITORY, "r.example.com/", "bad_value", "is not an image repository", "registry and path"),
        (values.REPOSITORY, "'*/app'", "bad_value", "would allow every registry", "name the registry first"),
        (values.REPOSITORY, "'**'", "bad_value", "would allow every registry", "name the registry first"),
        (
            values.REPOSITORY,
            "r.io/a**",
            "bad_value",
            "`**` must be a segment of its own",
            "as a whole segment",
        ),
        (
            values.TIMESTAMP,
            "tomorrow",
            "bad_value",
            "`tomorrow` is not an RFC 3339 time",
            "2026-12-31T18:00:00Z",
        ),
        (values.TIMESTAMP, "2026-02-30T00:00:00Z", "bad_value", "is not an RFC 3339 time", "with its offset"),
        (
            values.TIMESTAMP,
            "2026-12-31T18:00:00",
            "bad_value",
            "has no time zone",
            "write `2026-12-31T18:00:00Z`",
        ),
        (
            values.TIMESTAMP,
            "1999-12-31T23:59:59Z",
            "bad_value",
            "outside the years 2000 to 8999",
            "date and time",
        ),
        (
            values.TIMESTAMP,
            "9000-01-01T00:00:00Z",
            "bad_value",
            "outside the years 2000 to 8999",
            "date and time",
        ),
        # In UTC these lie outside, so what is written back could not be read again.
        (values.TIMESTAMP, "2000-01-01T00:00:00+14:00", "bad_value", "outside the years", "date and time"),
        (values.TIMESTAMP, "8999-12-31T23:00:00-12:00", "bad_value", "outside the years", "date and time"),
        (values.TIMESTAMP, "0001-01-01T00:00:00+14:00", "bad_value", "outside the years", "date and time"),
        (values.TIMESTAMP, "9999-12-31T23:00:00-12:00", "bad_value", "outside the years", "date and time"),
        (values.DAY, "Monday", "bad_value", "`Monday` is not a day", "did you mean `Mon`?"),
        (values.DAY, "mon", "bad_value", "`mon` is not a day", "did you mean `Mon`?"),
        (values.DAY, "Q", "bad_value", "`Q` is not a day", "use one of: Fri, Mon"),
        (values.TIME_OF_DAY, "08:30", "wrong_type", "is a number", 'quote it: "08:30"'),
        (values.TIME_OF_DAY, "'8:30'", "bad_value", "`8:30` is not a time of day", 'from "00:00" to "24:00"'),
        (
            values.TIME_OF_DAY,
            "'24:01'",
            "bad_value",
            "`24:01` is not a time of day",
            'from "00:00" to "24:00"',
        ),
        (values.TIME_OF_DAY, "'12:60'", "bad_value", "`12:60` is not a time of day", "in quotes"),
        (
            values.ZONE,
            "Europe/Berln",
            "unknown_time_zone",
            "`Europe/Berln` is not an IANA",
            "`Europe/Berlin`?",
        ),
        (values.ZONE, "Europe", "unknown_time_zone", "`Europe` is not an IANA time zone", "`"),
        (values.ZONE, "../UTC", "unknown_time_zone", "is not an IANA time zone", "`"),
        (
            values.ZONE,
            '"a\\0b"',
            "unknown_time_zone",
            "is not an IANA time zone",
            "IANA name such as `Europe/Berlin`",
        ),
        (
            values.ZONE,
            "qqqqqqqqqqqq",
            "unknown_time_zone",
            "is not",
            "IANA name such as `Europe/Berlin` or `UTC`",
        ),
    ],
)
def test_refuses_a_value(shape: Shape, text: str, code: str, message: str, fix: str) -> None:
    _, (problem,) = read_shape(shape, text)
    assert problem.code.value == code
    assert message in problem.message
    assert fix in problem.fix


PARSERS = [shape for shape in vars(values).values() if isinstance(shape, Text)]
SAMPLES = (
    "/v1/**/a*b/%7E",
    "registry.example.com:5000/ml/*",
    "*.münchen.example:443",
    "2026-12-31T18:00:00.25+02:00",
    "s3://data/train*",
    "America/New_York",
    "23:59",
    A_SHA256,
)


def check_total(text: str) -> None:
    for shape in PARSERS:
        assert shape.parse is not None or shape in {values.QUERY_NAME, values.QUERY_VALUE}
        try:
            outcome = shape.parse(text) if shape.parse else text
        except Fault as fault:
            outcome = fault
        if isinstance(outcome, Fault):
            assert outcome.message
            assert outcome.fix
        elif isinstance(outcome, PathPattern) and shape is values.PATH:
            assert RequestPath.parse(outcome.text).text == outcome.text


@given(text=st.text(min_size=1, max_size=30))
def test_fuzz_any_text_is_a_value_or_a_fault_to_every_parser(text: str) -> None:
    check_total(text)


@given(text=st.text("/*.:%27Ee-+TZ09@aA_ \\\n\x00ü~", min_size=1, max_size=30))
def test_fuzz_what_values_are_made_of_is_a_value_or_a_fault(text: str) -> None:
    check_total(text)


@pytest.mark.parametrize("text", SAMPLES)
def test_fuzz_every_prefix_of_a_value_is_a_value_or_a_fault(text: str) -> None:
    for end in range(1, len(text) + 1):
        check_total(text[:end])
