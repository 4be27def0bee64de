from datetime import UTC, datetime

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest

from proxy.attach.client_signature import read_client_signature, read_timestamp

SEED = "ab" * 32
PLAIN = (
    "AWS4-HMAC-SHA256 Credential=PODKEY0123456789ABCD/20261121/eu-west-1/s3/aws4_request, "
    f"SignedHeaders=host;x-amz-date, Signature={SEED}"
)


def test_what_botocore_signs_is_read() -> None:
    keys = botocore.credentials.Credentials("PODKEY0123456789ABCD", "podkey-secret")
    request = botocore.awsrequest.AWSRequest("GET", "https://data.s3.eu-west-1.amazonaws.com/k")
    botocore.auth.S3SigV4Auth(keys, "s3", "eu-west-1").add_auth(request)
    found = read_client_signature(list(request.headers.items()))
    assert found is not None
    assert found.access_key_id == "PODKEY0123456789ABCD"
    assert found.region == "eu-west-1"
    assert found.timestamp == request.headers["X-Amz-Date"]
    assert found.signature in request.headers["Authorization"]


def test_a_signature_without_spaces_after_its_commas_is_read() -> None:
    found = read_client_signature([("authorization", PLAIN.replace(", ", ","))])
    assert found is not None
    assert (found.signature, found.timestamp) == (SEED, None)


def test_a_signature_for_all_regions_names_none() -> None:
    value = PLAIN.replace("HMAC-SHA256", "ECDSA-P256-SHA256").replace("/eu-west-1", "")
    found = read_client_signature([("Authorization", value)])
    assert found is not None
    assert found.scope == "20261121/s3/aws4_request"
    assert found.region is None


@pytest.mark.parametrize("region", ["", "eu west", "EU-WEST-1", "eu-west-1%0a", "../x", "*"])
def test_what_is_no_region_is_none(region: str) -> None:
    found = read_client_signature([("Authorization", PLAIN.replace("eu-west-1", region))])
    assert found is None or found.region is None


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Bearer abc",
        "AWS PODKEY:signature",
        PLAIN.replace(f"Signature={SEED}", "Signature="),
        PLAIN.replace("Credential=", "Credentials="),
        f"{PLAIN} more",
        PLAIN.replace("SHA256", "SHA512"),
    ],
)
def test_anything_else_is_no_signature(value: str) -> None:
    assert read_client_signature([("Authorization", value)]) is None


def test_of_several_headers_none_counts() -> None:
    assert read_client_signature([("Authorization", PLAIN), ("authorization", PLAIN)]) is None
    found = read_client_signature(
        [
            ("Authorization", PLAIN),
            ("x-amz-date", "20261121T000000Z"),
            ("X-Amz-Date", "20261121T000001Z"),
        ]
    )
    assert found is not None
    assert found.timestamp is None


def test_a_date_in_another_form_is_none() -> None:
    found = read_client_signature([("Authorization", PLAIN), ("x-amz-date", "Sat, 21 Nov 2026")])
    assert found is not None
    assert found.timestamp is None


def test_a_timestamp_is_read_in_its_one_form() -> None:
    assert read_timestamp("20261121T184655Z") == datetime(2026, 11, 21, 18, 46, 55, tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["", "20261121", "20261121T184655", "20261321T184655Z", "2026-11-21T18:46:55Z"]
)
def test_any_other_timestamp_is_none(text: str) -> None:
    assert read_timestamp(text) is None
