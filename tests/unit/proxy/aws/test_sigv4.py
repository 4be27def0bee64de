"""The steps by themselves; that all of them together sign as AWS's own SDK does stands in the properties."""

from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256

import pytest
from botocore.auth import SIGNED_HEADERS_BLACKLIST

from proxy.aws.sigv4 import (
    UNSIGNED_HEADERS,
    SigningKeys,
    SigningScope,
    Style,
    Unsigned,
    canonical_headers,
    canonical_path,
    canonical_query,
    canonical_request,
    payload_hash,
    sign,
    signable,
)
from proxy.core.secret import Secret
from tests.canary import Canary

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
SCOPE = SigningScope(NOON, "eu-central-1", "sts")


@pytest.mark.parametrize(
    ("path", "canonical"),
    [
        ("", "/"),
        ("/", "/"),
        ("/a/b", "/a/b"),
        ("/a/b/", "/a/b/"),
        ("/a//b", "/a/b"),
        ("/a/./../b", "/b"),
        ("/../..", "/"),
        # What is encoded already is encoded once more: the double encoding of all services but S3.
        ("/a%20b", "/a%2520b"),
        ("/model/anthropic.claude-v2%3A1/invoke", "/model/anthropic.claude-v2%253A1/invoke"),
        ("/~a-b_c.d", "/~a-b_c.d"),
    ],
)
def test_a_path_is_normalised_and_encoded_twice(path: str, canonical: str) -> None:
    assert canonical_path(path, Style.GENERAL) == canonical


@pytest.mark.parametrize(
    ("path", "canonical"),
    [
        ("", "/"),
        ("/", "/"),
        ("/a/b/", "/a/b/"),
        # A key is what it is: nothing is normalised.
        ("/a//b", "/a//b"),
        ("/a/./../b", "/a/./../b"),
        # Decoded once and encoded once, whatever the client escaped.
        ("/a%20b", "/a%20b"),
        ("/a+b", "/a%2Bb"),
        ("/a:b@c", "/a%3Ab%40c"),
        ("/%7ea%2db", "/~a-b"),
        ("/%c3%a9", "/%C3%A9"),
        ("/%ff", "/%FF"),
        ("/%252F", "/%252F"),
        ("/a%2Fb", "/a/b"),
    ],
)
def test_a_key_of_s3_is_encoded_once(path: str, canonical: str) -> None:
    assert canonical_path(path, Style.S3) == canonical


@pytest.mark.parametrize(
    ("query", "canonical"),
    [
        ("", ""),
        ("b=2&a=1", "a=1&b=2"),
        ("a=2&a=1", "a=1&a=2"),
        ("uploads", "uploads="),
        ("uploads=", "uploads="),
        ("acl&a=1", "a=1&acl="),
        # By name first, so not as one text.
        ("a-b=1&a=2", "a=2&a-b=1"),
        ("a%2Db=1&a=2", "a=2&a-b=1"),
        ("a=1&A=1", "A=1&a=1"),
        # By what is encoded: `%` stands before the letters.
        ("b=1&%C3%A9=1", "%C3%A9=1&b=1"),
        ("prefix=a/b", "prefix=a%2Fb"),
        ("prefix=a%2fb%7e", "prefix=a%2Fb~"),
        ("k=a=b", "k=a%3Db"),
        ("k=%00", "k=%00"),
        ("k=a+b", "k=a%2Bb"),
        ("a=1&&b=2&", "a=1&b=2"),
        ("=1", "=1"),
    ],
)
def test_a_query_is_encoded_once_and_sorted_by_name_and_then_by_value(query: str, canonical: str) -> None:
    assert canonical_query(query) == canonical


def test_headers_are_sorted_trimmed_and_joined() -> None:
    headers = [("X-B", "  two \t words "), ("Host", "a"), ("x-b", "3"), ("User-Agent", "z"), ("Expect", "1")]
    assert canonical_headers(headers) == ("host:a\nx-b:two words,3\n", "host;x-b")


def test_a_header_may_have_a_per_cent_in_it() -> None:
    assert canonical_headers([("x-amz-meta-100%s", "%d")]) == ("x-amz-meta-100%s:%d\n", "x-amz-meta-100%s")


@pytest.mark.parametrize(
    "raw", [*("à日…".encode()[i : i + 3] for i in range(6)), b"\xa0", b"a\x85b", b"\x85"]
)
def test_a_value_is_not_read_as_text(raw: bytes) -> None:
    """`à` ends in 0xA0, which is white space to a str."""
    value = raw.decode("latin-1")
    lines, _ = canonical_headers([("x-a", f" {value}  {value} "), ("x-b", " b ")])
    assert lines == f"x-a:{value} {value}\nx-b:b\n"


def test_the_canonical_request_has_its_six_parts() -> None:
    request = Unsigned("GET", "/p", "b&a=1", (("host", "h"),), "HASH")
    hashed, names = canonical_request(request, (("x-a", "ü"),), Style.S3)

    parts = ("GET", "/p", "a=1&b=", "host:h", "x-a:ü", "", "host;x-a", "HASH")
    assert hashed == sha256("\n".join(parts).encode("latin-1")).hexdigest()
    assert names == "host;x-a"


def test_the_moment_is_written_in_utc_whatever_zone_it_is_in() -> None:
    there = SigningScope(NOON.astimezone(timezone(timedelta(hours=-7))), "eu-central-1", "sts")
    assert there.timestamp == "20260304T120000Z"
    assert there.text == SCOPE.text == "20260304/eu-central-1/sts/aws4_request"

    request, keys = Unsigned("GET", "/", "", (("host", "h"),), ""), SigningKeys("id", Secret(b"secret"))
    assert sign(request, keys, there, Style.GENERAL) == sign(request, keys, SCOPE, Style.GENERAL)


def test_a_second_is_as_fine_as_time_gets() -> None:
    request, keys = Unsigned("GET", "/", "", (("host", "h"),), ""), SigningKeys("id", Secret(b"secret"))
    later = SCOPE._replace(moment=NOON + timedelta(microseconds=999_999))
    assert sign(request, keys, later, Style.GENERAL) == sign(request, keys, SCOPE, Style.GENERAL)
    assert dict(sign(request, keys, later, Style.GENERAL).headers)["x-amz-date"] == "20260304T120000Z"


# --- which headers -----------------------------------------------------------------------------------


def test_what_botocore_does_not_sign_is_not_signed() -> None:
    assert {*SIGNED_HEADERS_BLACKLIST, "authorization"} == UNSIGNED_HEADERS


@pytest.mark.parametrize(
    "name", ["host", "content-type", "content-md5", "content-encoding", "range", "x-amz-date", "x-amz-meta-a"]
)
def test_what_a_service_wants_signed_is_signable(name: str) -> None:
    assert signable(name)


@pytest.mark.parametrize(
    "name", [*sorted(UNSIGNED_HEADERS), "content-length", "accept", "date", "x-amzn-bedrock-accept", "x-id"]
)
def test_what_may_change_on_its_way_is_not_signable(name: str) -> None:
    assert not signable(name)


# --- secrets -----------------------------------------------------------------------------------------


def test_the_secret_key_is_on_no_header_and_the_token_is_a_secret(canary: Canary) -> None:
    secret, token = canary.secret("aws key"), canary.secret("aws token")
    keys = SigningKeys("example-id", Secret(secret.encode()), Secret(token.encode()))
    request = Unsigned("POST", "/", "", (("host", "h"),), payload_hash(b"a=1"))

    signed = sign(request, keys, SCOPE, Style.GENERAL)

    canary.watch(repr(signed), "signed")
    found = dict(signed.headers)
    assert list(found) == ["x-amz-date", "x-amz-security-token", "authorization"]
    assert found["x-amz-security-token"] is keys.session_token
    authorization = found["authorization"]
    assert isinstance(authorization, Secret)
    shown = authorization.reveal().decode()
    assert secret not in shown
    assert shown == (
        f"AWS4-HMAC-SHA256 Credential=example-id/{SCOPE.text}, "
        f"SignedHeaders=host;x-amz-date;x-amz-security-token, Signature={signed.seed}"
    )


def test_a_session_of_s3_express_has_a_header_of_its_own() -> None:
    keys = SigningKeys("example-id", Secret(b"secret"), Secret(b"token"))
    request = Unsigned("GET", "/", "", (("host", "h"),), "")
    signed = sign(request, keys, SCOPE, Style.S3, token_header="x-amz-s3session-token")
    assert [name for name, _ in signed.headers] == ["x-amz-date", "x-amz-s3session-token", "authorization"]


def test_nothing_is_signed_with_an_overwritten_secret() -> None:
    keys = SigningKeys("example-id", Secret(b"secret"))
    request = Unsigned("GET", "/", "", (("host", "h"),), "")
    sign(request, keys, SCOPE, Style.S3)
    keys.secret_access_key.overwrite()

    with pytest.raises(ValueError, match="was overwritten"):
        sign(request, keys, SCOPE, Style.S3)
