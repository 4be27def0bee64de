"""The steps by themselves; that all of them together sign as AWS's own SDK does stands in the properties."""

from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256

import pytest

from proxy.aws.sigv4 import (
    SigningKeys,
    SigningScope,
    Unsigned,
    canonical_headers,
    canonical_path,
    canonical_query,
    canonical_request,
    payload_hash,
    signed_headers,
    signing_key,
    string_to_sign,
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
    assert canonical_path(path) == canonical


@pytest.mark.parametrize(
    ("query", "canonical"),
    [("", ""), ("b=2&a=1", "a=1&b=2"), ("a=2&a=1", "a=1&a=2"), ("acl", "acl="), ("a-b=1&a=2", "a=2&a-b=1")],
)
def test_a_query_is_sorted_by_name_and_then_by_value(query: str, canonical: str) -> None:
    assert canonical_query(query) == canonical


def test_headers_are_sorted_trimmed_and_joined() -> None:
    headers = [("X-B", "  two   words "), ("Host", "a"), ("x-b", "3"), ("User-Agent", "z"), ("Expect", "1")]
    assert canonical_headers(headers) == (("host", "a"), ("x-b", "two words,3"))


def test_the_canonical_request_has_its_six_parts() -> None:
    request = Unsigned("GET", "/ignored", "b&a=1", (), "HASH")
    assert canonical_request(request, "/p", (("host", "h"), ("x-a", "1"))).split("\n") == [
        "GET",
        "/p",
        "a=1&b=",
        "host:h",
        "x-a:1",
        "",
        "host;x-a",
        "HASH",
    ]


def test_the_moment_is_written_in_utc_whatever_zone_it_is_in() -> None:
    there = NOON.astimezone(timezone(timedelta(hours=-7)))
    assert SigningScope(there, "eu-central-1", "sts").timestamp == "20260304T120000Z"
    assert SCOPE.text == "20260304/eu-central-1/sts/aws4_request"


def test_the_string_to_sign_names_the_algorithm_the_time_and_the_scope() -> None:
    digest = sha256(b"canonical").hexdigest()
    assert string_to_sign(SCOPE, "canonical").split("\n") == [
        "AWS4-HMAC-SHA256",
        "20260304T120000Z",
        SCOPE.text,
        digest,
    ]


def test_a_signing_key_counts_for_one_day_region_and_service() -> None:
    scopes = [
        SCOPE,
        SigningScope(NOON + timedelta(days=1), "eu-central-1", "sts"),
        SigningScope(NOON, "eu-west-1", "sts"),
        SigningScope(NOON, "eu-central-1", "s3"),
    ]
    keys = {signing_key(Secret(b"secret"), scope) for scope in scopes}
    assert len(keys) == len(scopes)
    assert (
        signing_key(Secret(b"secret"), SigningScope(NOON + timedelta(hours=1), "eu-central-1", "sts")) in keys
    )


def test_the_secret_key_is_on_no_header_and_the_token_is_a_secret(canary: Canary) -> None:
    secret, token = canary.secret("aws key"), canary.secret("aws token")
    keys = SigningKeys("example-id", Secret(secret.encode()), Secret(token.encode()))
    request = Unsigned("POST", "/", "", (("host", "h"),), payload_hash(b"a=1"))

    headers = signed_headers(request, keys, SCOPE)

    canary.watch(repr(headers), "headers")
    found = dict(headers)
    assert list(found) == ["host", "x-amz-date", "x-amz-security-token", "authorization"]
    assert found["x-amz-security-token"] == Secret(token.encode())
    authorization = found["authorization"]
    assert isinstance(authorization, Secret)
    canary_free = authorization.reveal().decode()
    assert secret not in canary_free
    assert canary_free.startswith(f"AWS4-HMAC-SHA256 Credential=example-id/{SCOPE.text}, SignedHeaders=host;")
