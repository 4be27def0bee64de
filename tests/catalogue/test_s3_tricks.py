"""Requests to S3 that look like something that is granted: what is read is what S3 would do, or nothing is.

Each row says what becomes of it: `attach`, or the code of the refusal.
"""

from collections.abc import Mapping

import pytest

from proxy.core.reasons import Reason
from proxy.core.request import NO_HEADERS, OVERRIDE_HEADERS, ClientCredential, Removal
from proxy.core.services import Catalogue
from proxy.core.structs import replace
from proxy.core.verdict import Attach, ReadBody, Refuse, Verdict
from proxy.judge.decide import decide
from tests.judge_world import NOON, POD, ask, index_of, policy

R = "eu-central-1"
PATH = f"https://s3.{R}.amazonaws.com"
TRAIN = f"https://train.s3.{R}.amazonaws.com"
OTHER = f"https://other.s3.{R}.amazonaws.com"
ATTACH = Reason.GRANTED
PIN, UNREADABLE = Reason.PIN_NOT_GRANTED, Reason.PIN_UNREADABLE
UNKNOWN, ACTION = Reason.UNKNOWN_ACTION, Reason.ACTION_NOT_GRANTED
TWO_WAYS, MALFORMED, TWO_QUERIES = Reason.AMBIGUOUS_PATH, Reason.MALFORMED_PATH, Reason.MALFORMED_QUERY
SOURCE = Reason.SOURCE_NOT_GRANTED

# One bucket, all of its keys; and of another one what lies below `train/`.
BELOW_TRAIN = (
    "{service: s3, buckets: [data], prefixes: [train/], access: [read, write, list, delete], credential: aws}"
)
GRANTS = policy(
    "{service: s3, buckets: [train], access: [read, write, list, delete], credential: aws}",
    BELOW_TRAIN,
    "{service: s3, buckets: [exact], prefixes: [train], access: [read, list], credential: aws}",
    "{service: s3, buckets: [begun], prefixes: ['train*'], access: [read, list], credential: aws}",
)


def outcome(verdict: Verdict) -> Reason:
    assert isinstance(verdict, Attach | ReadBody | Refuse)
    return verdict.granted.reason if isinstance(verdict, ReadBody) else verdict.reason


def decided(catalogue: Catalogue, line: str, headers: Mapping[str, str] = NO_HEADERS) -> Reason:
    return outcome(decide(index_of(GRANTS, catalogue), POD, ask(line, headers), NOON))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        # Empty segments are part of a key, and no bucket has none for a name.
        (f"GET {PATH}/data/train//x", ATTACH),
        (f"GET {PATH}/data//train/x", PIN),
        (f"GET {PATH}//data/train/x", UNREADABLE),
        (f"GET {PATH}///data/train/x", UNREADABLE),
        (f"GET {TRAIN}//x", ATTACH),
        # Dots are part of a key, too, and clients take them away.
        (f"GET {PATH}/data/train/./x", TWO_WAYS),
        (f"GET {PATH}/data/train/../x", TWO_WAYS),
        (f"GET {PATH}/data/train/%2e%2e/x", TWO_WAYS),
        (f"GET {PATH}/data/train/%2E%2E/x", TWO_WAYS),
        (f"GET {PATH}/data/train/.%2e/x", TWO_WAYS),
        (f"GET {PATH}/data/train/..", TWO_WAYS),
        (f"GET {PATH}/data/train/..;/x", TWO_WAYS),
        (f"GET {PATH}/data/train/%252e%252e/x", TWO_WAYS),
        (f"GET {PATH}/other/../data/train/x", TWO_WAYS),
        (f"GET {PATH}/train/../other/x", TWO_WAYS),
        (f"GET {PATH}/../train/x", TWO_WAYS),
        (f"GET {PATH}/data/train/...", ATTACH),
        (f"GET {PATH}/data/train/.x", ATTACH),
        # Escaped separators
        (f"GET {PATH}/data/train%2Fx", TWO_WAYS),
        (f"GET {PATH}/data%2Ftrain/x", TWO_WAYS),
        (f"GET {PATH}/data%2f..%2fother/x", TWO_WAYS),
        (f"GET {PATH}/train%2F..%2Fother/x", TWO_WAYS),
        (f"GET {PATH}/data/train%252Fx", TWO_WAYS),
        (f"GET {PATH}/data/train%5Cx", TWO_WAYS),
        (f"GET {PATH}/data/train\\x", TWO_WAYS),
        (f"GET {PATH}/data%3Ftrain/x", PIN),
        (f"GET {PATH}/data%23/train/x", PIN),
        # A plus sign is a space to S3.
        (f"GET {PATH}/data/train/a+b", TWO_WAYS),
        (f"GET {PATH}/data/train/a%2Bb", ATTACH),
        (f"GET {PATH}/data/train/a%20b", ATTACH),
        # Escapes that are no UTF-8, or no text
        (f"GET {PATH}/data/train/%FF", TWO_WAYS),
        (f"GET {PATH}/data/train/%C0%AF", TWO_WAYS),
        (f"GET {PATH}/data/train/%ED%A0%80", TWO_WAYS),
        (f"GET {PATH}/data/train/%00", MALFORMED),
        (f"GET {PATH}/data/train/%0D%0A", MALFORMED),
        (f"GET {PATH}/data/train/%7F", MALFORMED),
        (f"GET {PATH}/data/train/%", MALFORMED),
        (f"GET {PATH}/data/train/a b", MALFORMED),
        (f"GET {PATH}/data/train/\N{LATIN SMALL LETTER E WITH ACUTE}", MALFORMED),
        # What looks alike: a key and a bucket are what their bytes say.
        (f"GET {PATH}/data/tr%C3%A4in/x", PIN),
        (f"GET {PATH}/data/train%CC%81/x", PIN),
        (f"GET {PATH}/data/%EF%BD%94rain/x", PIN),
        (f"GET {PATH}/data/train%E2%88%95x", PIN),
        (f"GET {PATH}/data/Train/x", PIN),
        (f"GET {PATH}/Data/train/x", PIN),
        (f"GET {PATH}/data%20/train/x", PIN),
        (f"GET {PATH}/%20data/train/x", PIN),
        (f"GET {PATH}/data./train/x", PIN),
        (f"GET {PATH}/data;a=b/train/x", PIN),
        (f"GET {PATH}/%64%61ta/%74rain/x", ATTACH),
        (f"GET {PATH}/data/train%3Ba/x", PIN),
        (f"GET {PATH}/data/train;a/x", PIN),
    ],
)
def test_a_path_is_read_as_s3_reads_it_or_not_at_all(
    catalogue: Catalogue, line: str, expected: Reason
) -> None:
    assert decided(catalogue, line) is expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        # The bucket in the host counts, whatever the path begins with.
        (f"GET {TRAIN}/x", ATTACH),
        (f"GET {TRAIN}/other/x", ATTACH),
        (f"GET {OTHER}/train/x", PIN),
        (f"GET {OTHER}/data/train/x", PIN),
        (f"GET https://data.s3.{R}.amazonaws.com/train/x", ATTACH),
        (f"GET https://data.s3.{R}.amazonaws.com/data/train/x", PIN),
        (f"GET {PATH}/other/train/x", PIN),
        # A bucket with dots is one bucket.
        (f"GET https://train.evil.s3.{R}.amazonaws.com/x", PIN),
        (f"GET https://evil.train.s3.{R}.amazonaws.com/x", PIN),
        (f"GET https://train.s3.{R}.s3.{R}.amazonaws.com/x", PIN),
        ("GET https://s3.s3.amazonaws.com/train/x", PIN),
        # Hosts of S3 that name no bucket, or not in a way that is known
        (f"GET https://s3-control.{R}.amazonaws.com/train/x", UNREADABLE),
        (f"GET https://train.s3-control.{R}.amazonaws.com/x", UNREADABLE),
        (f"GET https://train.s3-accesspoint.{R}.amazonaws.com/x", UNREADABLE),
        (f"GET https://train-111122223333.s3-accesspoint.{R}.amazonaws.com/x", PIN),
        (f"GET https://train.111122223333.s3-outposts.{R}.amazonaws.com/x", UNREADABLE),
        ("GET https://train.s3express-use1-az4.us-east-1.amazonaws.com/x", UNREADABLE),
        ("GET https://s3express-control.us-east-1.amazonaws.com/train", UNREADABLE),
        ("GET https://train.mrap.accesspoint.s3-global.amazonaws.com/x", PIN),
    ],
)
def test_a_bucket_is_read_from_the_host_or_from_the_path_and_never_from_both(
    catalogue: Catalogue, line: str, expected: Reason
) -> None:
    assert decided(catalogue, line) is expected


@pytest.mark.parametrize(
    ("bucket", "key", "expected"),
    [
        # `train/` is what lies below it.
        ("data", "train/x", ATTACH),
        ("data", "train/", ATTACH),
        ("data", "train", PIN),
        ("data", "training-secret/x", PIN),
        ("data", "train.txt", PIN),
        ("data", "xtrain/x", PIN),
        ("data", "x/train/x", PIN),
        # `train` is that key, and what lies below it.
        ("exact", "train", ATTACH),
        ("exact", "train/", ATTACH),
        ("exact", "train/x", ATTACH),
        ("exact", "training-secret/x", PIN),
        ("exact", "train-secret", PIN),
        ("exact", "train%20", PIN),
        # `train*` is all that begins with it.
        ("begun", "train", ATTACH),
        ("begun", "training-secret/x", ATTACH),
        ("begun", "trai", PIN),
    ],
)
def test_a_prefix_ends_where_it_says(catalogue: Catalogue, bucket: str, key: str, expected: Reason) -> None:
    assert decided(catalogue, f"GET {PATH}/{bucket}/{key}") is expected
    assert decided(catalogue, f"HEAD https://{bucket}.s3.{R}.amazonaws.com/{key}") is expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("list-type=2&prefix=train/", ATTACH),
        ("prefix=train/x", ATTACH),
        ("prefix=train%2F", ATTACH),
        ("prefix=%74rain/", ATTACH),
        ("list-type=2&prefix=train/&delimiter=/&max-keys=1000&encoding-type=url", ATTACH),
        # Neither shows what lies outside of the prefix.
        ("prefix=train/&start-after=secret", ATTACH),
        ("prefix=train/&marker=secret&continuation-token=x", ATTACH),
        ("versions&prefix=train/&key-marker=secret", ATTACH),
        ("uploads&prefix=train/", ATTACH),
        # More than is granted
        ("", PIN),
        ("prefix", PIN),
        ("prefix=", PIN),
        ("prefix=train", PIN),
        ("prefix=training-secret/", PIN),
        ("prefix=Train/", PIN),
        ("prefix=/train/", PIN),
        ("prefix=+train/", PIN),
        ("prefix=%20train/", PIN),
        ("prefix=train%252F", PIN),
        ("delimiter=train/", PIN),
        ("start-after=train/", PIN),
        ("versions", PIN),
        ("uploads&prefix=secret", PIN),
        # Which of the two?
        ("prefix=train/&prefix=", UNREADABLE),
        ("prefix=train/&prefix=train/", UNREADABLE),
        ("prefix=&prefix=train/", UNREADABLE),
        ("%70refix=&prefix=train/", UNREADABLE),
        # S3 would not take these for a prefix, and list all.
        ("Prefix=train/", UNKNOWN),
        ("PREFIX=train/", UNKNOWN),
        ("prefix[]=train/", UNKNOWN),
        ("prefix =train/", TWO_QUERIES),
        ("prefix%20=train/", UNKNOWN),
        ("%20prefix=train/", UNKNOWN),
        ("prefix=train/;prefix=", UNKNOWN),
        ("prefix=train/&newfangled", UNKNOWN),
        ("list-type=2&prefix=train/&versions&uploads", UNKNOWN),
        # Some stores make file paths of keys.
        ("prefix=train/../secret/", UNKNOWN),
        ("prefix=train/..", UNKNOWN),
        ("prefix=train/./", UNKNOWN),
        ("prefix=../other/", UNKNOWN),
        ("prefix=train/%2E%2e/", UNKNOWN),
        ("prefix=train/%5C..%5C..%5C", UNKNOWN),
        ("prefix=train/%252e%252e/", UNKNOWN),
        ("prefix=train/&prefix=train/../", UNKNOWN),
        ("prefix=train/.", ATTACH),
        ("prefix=train/.git/", ATTACH),
        ("prefix=train/a..", ATTACH),
        ("prefix=train/#", TWO_QUERIES),
        ("prefix=train/%00", TWO_QUERIES),
    ],
)
def test_a_listing_shows_what_lies_below_the_prefix_and_nothing_else(
    catalogue: Catalogue, query: str, expected: Reason
) -> None:
    index = index_of(policy(BELOW_TRAIN), catalogue)
    for url in (f"{PATH}/data", f"https://data.s3.{R}.amazonaws.com/"):
        assert outcome(decide(index, POD, ask(f"GET {url}?{query}"), NOON)) is expected


def test_a_listing_of_a_whole_bucket_does_not_climb_out_of_it(catalogue: Catalogue) -> None:
    for query in ("prefix=../other/", "versions&prefix=../other/", "uploads&prefix=a/../../other/"):
        assert decided(catalogue, f"GET {TRAIN}/?{query}") is UNKNOWN


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        # A sub-resource is one by its name; some are ids, and have a value, and others have none.
        (f"GET {PATH}/train/x?acl", ACTION),
        (f"GET {PATH}/train/x?acl=", ACTION),
        (f"GET {PATH}/train/x?acl=1", UNKNOWN),
        (f"GET {PATH}/train/x?%61cl", ACTION),
        (f"GET {PATH}/train/x?x-id=GetObject&acl", ACTION),
        (f"PUT {PATH}/train/x?acl", ACTION),
        (f"DELETE {PATH}/train/x?versionId=v", ACTION),
        (f"DELETE {PATH}/train/x?versionId=", UNKNOWN),
        (f"DELETE {PATH}/train/x?versionId", UNKNOWN),
        (f"GET {PATH}/train/x?versionId=", UNKNOWN),
        (f"GET {PATH}/train/x?versionId=v", ATTACH),
        (f"DELETE {PATH}/train/x?uploadId=u", ATTACH),
        (f"DELETE {PATH}/train/x?uploadId=", UNKNOWN),
        (f"DELETE {PATH}/train/x?uploadId", UNKNOWN),
        (f"DELETE {PATH}/train/x?uploadId=u&uploadId=", UNKNOWN),
        (f"DELETE {PATH}/train/x?upload%49d=", UNKNOWN),
        (f"PUT {PATH}/train/x?partNumber=1&uploadId=u", ATTACH),
        (f"PUT {PATH}/train/x?partNumber=1&uploadId=", UNKNOWN),
        (f"PUT {PATH}/train/x?partNumber&uploadId=u", UNKNOWN),
        (f"PUT {PATH}/train?policy", ACTION),
        (f"DELETE {PATH}/train?lifecycle", ACTION),
        (f"PUT {PATH}/train", ACTION),
        (f"DELETE {PATH}/train", ACTION),
        (f"DELETE {TRAIN}/", ACTION),
        (f"POST {PATH}/train/x?restore", ACTION),
        # Names that S3 does not know in this spelling, or not together
        (f"GET {PATH}/train/x?ACL", UNKNOWN),
        (f"GET {PATH}/train/x?acl&tagging", UNKNOWN),
        (f"GET {PATH}/train/x?tagging&acl", UNKNOWN),
        (f"DELETE {PATH}/train/x?versionid=v", UNKNOWN),
        (f"GET {PATH}/train/x?acl%20", UNKNOWN),
        (f"GET {PATH}/train/x?tagging;acl", UNKNOWN),
        (f"GET {PATH}/train/x?x-amz-acl=public-read", UNKNOWN),
        (f"PUT {PATH}/train/x?x-amz-copy-source=/other/x", UNKNOWN),
        (f"GET {PATH}/train/x?response-content-type=a&newfangled=b", UNKNOWN),
        (f"GET {PATH}/train/x?AWSAccessKeyId=a&Expires=1&Signature=s", Reason.QUERY_AUTH_PRESENT),
        (f"GET {PATH}/train/x?X-Amz-Signature=s", Reason.QUERY_AUTH_PRESENT),
        (f"GET {PATH}/train/x?x-amz-signature=s", Reason.QUERY_AUTH_PRESENT),
        # What no class covers: an upload from a form, all the account's buckets, a session
        (f"POST {PATH}/train", ACTION),
        (f"POST {TRAIN}/", ACTION),
        (f"POST {PATH}/train/x", UNKNOWN),
        (f"GET {PATH}/", UNREADABLE),
        ("GET https://s3.amazonaws.com/", UNREADABLE),
        (f"GET {TRAIN}/?session", UNKNOWN),
        (f"GET {PATH}/train?session", UNKNOWN),
        # Methods
        (f"PATCH {PATH}/train/x", UNKNOWN),
        (f"OPTIONS {PATH}/train/x", UNKNOWN),
        (f"COPY {PATH}/train/x", UNKNOWN),
        (f"get {PATH}/train/x", Reason.METHOD_FORBIDDEN),
        (f"TRACE {PATH}/train/x", Reason.METHOD_FORBIDDEN),
    ],
)
def test_a_sub_resource_is_what_s3_takes_it_for_or_unknown(
    catalogue: Catalogue, line: str, expected: Reason
) -> None:
    assert decided(catalogue, line) is expected


@pytest.mark.parametrize("header", sorted(OVERRIDE_HEADERS))
def test_no_header_changes_the_method_or_the_path(catalogue: Catalogue, header: str) -> None:
    assert decided(catalogue, f"GET {TRAIN}/x", {header: "DELETE"}) is Reason.OVERRIDE_HEADER


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        # What a PUT does besides
        ("x-amz-acl", ACTION),
        ("x-amz-grant-full-control", ACTION),
        ("x-amz-grant-read", ACTION),
        ("x-amz-grant-write-acp", ACTION),
        ("x-amz-object-lock-mode", ACTION),
        ("x-amz-object-lock-retain-until-date", ACTION),
        ("x-amz-object-lock-legal-hold", ACTION),
        ("x-amz-object-lock-event-hold", ACTION),
        ("x-amz-object-lock-event-hold-duration-days", ACTION),
        ("x-amz-bypass-governance-retention", ACTION),
        ("x-amz-server-side-encryption-customer-key", ACTION),
        ("x-amz-server-side-encryption-aws-kms-key-id", ACTION),
        ("x-amz-website-redirect-location", ACTION),
        ("x-amz-rename-source", UNKNOWN),
        ("x-amz-tagging", ATTACH),
        ("x-amz-storage-class", ATTACH),
        ("x-amz-meta-acl", ATTACH),
        ("x-amz-metadata-directive", ATTACH),
        ("x-amz-copy-source-range", ATTACH),
        ("x-amz-copy-source-if-match", ATTACH),
        ("x-amz-copy-source-server-side-encryption-customer-key", ACTION),
        ("x-amz-object-ownership", ACTION),
        ("x-amz-bucket-object-lock-enabled", ACTION),
        ("x-amz-object-annotation-directive", ACTION),
        ("x-amz-grant-newfangled", ACTION),
        ("x-amz-grant_read", ACTION),
        ("cf-create-bucket-if-missing", ACTION),
        ("retention-period", ACTION),
        ("retention-legal-hold-id", ACTION),
        ("ibm-sse-kp-customer-root-key-crn", ACTION),
        # Headers that only say who asks, or how
        ("x-amz-request-payer", ATTACH),
        ("x-amz-checksum-crc64nvme", ATTACH),
        ("x-amz-content-sha256", ATTACH),
        ("x-amz-security-token", ATTACH),
        ("x-amz-user-agent", ATTACH),
        ("x-amz-api-version", ATTACH),
        ("x-amzn-trace-id", ATTACH),
        ("x-datadog-trace-id", ATTACH),
        ("x-amz-meta-a_b", ATTACH),
        ("x-amz-server-side-encryption", ATTACH),
        ("content-type", ATTACH),
        ("if-none-match", ATTACH),
        ("traceparent", ATTACH),
        # Swift's, with which one object stands for another, or goes by itself
        ("x-copy-from", UNKNOWN),
        ("x-copy-from-account", UNKNOWN),
        ("x-symlink-target", UNKNOWN),
        ("x-symlink-target-account", UNKNOWN),
        ("x-object-manifest", UNKNOWN),
        ("x-object-meta-a", UNKNOWN),
        ("x-static-large-object", UNKNOWN),
        ("x-versions-location", UNKNOWN),
        ("x-history-location", UNKNOWN),
        ("x-container-read", UNKNOWN),
        ("x-account-meta-a", UNKNOWN),
        ("x-delete-at", UNKNOWN),
        ("x-delete-after", UNKNOWN),
        ("x-newest", UNKNOWN),
        ("destination", UNKNOWN),
        ("destination-account", UNKNOWN),
        # MinIO's, radosgw's and SeaweedFS's
        ("x-amz-meta-snowball-auto-extract", UNKNOWN),
        ("x-amz-meta-snowball_auto_extract", UNKNOWN),
        ("x-amz-meta-minio-snowball-prefix", UNKNOWN),
        ("x-minio-force-delete", UNKNOWN),
        ("x-minio-extract", UNKNOWN),
        ("x-minio-source-replication-request", UNKNOWN),
        ("x-rgw-auth", UNKNOWN),
        ("x-seaweedfs-destination", UNKNOWN),
        ("seaweed-x-amz-owner", UNKNOWN),
        ("seaweed_x-amz-owner", UNKNOWN),
        ("x-goog-copy-source", UNKNOWN),
        ("x-tigris-rename", UNKNOWN),
        ("x-forwarded-for", UNKNOWN),
        # Amazon's that nobody needs here, and names that are nearly one
        ("x-amz-mfa", UNKNOWN),
        ("x-amz-fwd-status", UNKNOWN),
        ("x-amz-rename-source-if-match", UNKNOWN),
        ("x-amz-copy-source-version-id", UNKNOWN),
        ("x-amz-newfangled", UNKNOWN),
        ("x-amz-meta", UNKNOWN),
        ("x-amz-acl ", UNKNOWN),
        ("x_amz_acl", UNKNOWN),
        ("x_amz_meta_a", UNKNOWN),
        ("x_amz_copy_source", UNKNOWN),
        ("x-", UNKNOWN),
    ],
)
@pytest.mark.parametrize("value", ["", "x", "a,b"])
def test_a_header_that_does_more_needs_the_right_to_it(
    catalogue: Catalogue, header: str, expected: Reason, value: str
) -> None:
    assert decided(catalogue, f"PUT {TRAIN}/x", {header: value}) is expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("data/train/x", ATTACH),
        ("/data/train/x", ATTACH),
        ("data/train/x?versionId=v", ATTACH),
        ("data%2Ftrain%2Fx", ATTACH),
        ("train/any%20key", ATTACH),
        ("other/x", SOURCE),
        ("data/x", SOURCE),
        ("data/training-secret/x", SOURCE),
        ("data/train", SOURCE),
        ("data/train/../secret", SOURCE),
        ("data/train/%2e%2e/secret", SOURCE),
        ("data/train/..%2Fsecret", SOURCE),
        ("data%2Ftrain/x/../../other/x", SOURCE),
        ("train%2F..%2Fother/x", SOURCE),
        ("train/../other/x", SOURCE),
        ("/train//../other/x", SOURCE),
        ("//other/x", SOURCE),
        ("other%2Fx", SOURCE),
        ("other%2Fx/train/x", SOURCE),
        ("train%252Fx", SOURCE),
        ("Train/x", SOURCE),
        ("train%20/x", SOURCE),
        ("train", SOURCE),
        ("train/", SOURCE),
        ("", SOURCE),
        ("train/x,other/x", SOURCE),
        ("train/x, other/x", SOURCE),
        ("train/a+b", SOURCE),
        ("train/a b", SOURCE),
        ("train/%00", SOURCE),
        ("train/%FF", SOURCE),
        ("train/x?versionId=", SOURCE),
        ("train/x?acl", SOURCE),
        ("train/x%3FversionId=v", SOURCE),
        ("https://train.s3.amazonaws.com/x", SOURCE),
        ("s3://train/x", SOURCE),
        ("arn:aws:s3:::train/x", SOURCE),
        ("arn:aws:s3:eu-west-1:111122223333:accesspoint/train/object/x", SOURCE),
        ("arn:aws:s3-outposts:eu-west-1:111122223333:outpost/o/accesspoint/train/object/x", SOURCE),
    ],
)
@pytest.mark.parametrize("line", [f"PUT {TRAIN}/copy", f"PUT {PATH}/data/train/copy?uploadId=u&partNumber=1"])
def test_a_copy_reads_what_may_be_read_and_nothing_that_is_disguised(
    catalogue: Catalogue, line: str, source: str, expected: Reason
) -> None:
    assert decided(catalogue, line, {"x-amz-copy-source": source}) is expected


@pytest.mark.parametrize(
    "line",
    [
        f"GET {TRAIN}/x",
        f"HEAD {TRAIN}/x",
        f"DELETE {TRAIN}/x",
        f"POST {TRAIN}/x?uploads",
        f"PUT {TRAIN}/x?tagging",
        f"GET {TRAIN}/",
        f"POST {TRAIN}/?delete",
    ],
)
def test_what_is_no_copy_has_no_source(catalogue: Catalogue, line: str) -> None:
    assert decided(catalogue, line) is ATTACH
    assert decided(catalogue, line, {"x-amz-copy-source": "train/x"}) is UNKNOWN


@pytest.mark.parametrize(
    ("removals", "expected"),
    [
        ([Removal("train/x"), Removal("train/y")], ATTACH),
        ([Removal("train/")], ATTACH),
        ([Removal("train")], PIN),
        ([Removal(" train/x")], PIN),
        ([Removal("/train/x")], PIN),
        ([Removal("train%2Fx")], PIN),
        ([Removal("training-secret/x")], PIN),
        ([Removal("train/x"), Removal("secret")], PIN),
        ([Removal("secret"), Removal("train/x")], PIN),
        ([Removal("train/x", "v")], ACTION),
        ([Removal("train/x", "null")], ACTION),
    ],
)
def test_every_key_in_a_body_is_asked_about(
    catalogue: Catalogue, removals: list[Removal], expected: Reason
) -> None:
    index, request = index_of(GRANTS, catalogue), ask(f"POST {PATH}/data?delete")

    assert isinstance(decide(index, POD, request, NOON), ReadBody)
    assert outcome(decide(index, POD, replace(request, removals=tuple(removals)), NOON)) is expected


@pytest.mark.parametrize("sends", list(ClientCredential))
def test_whatever_the_application_sends_only_what_is_granted_is_attached(
    catalogue: Catalogue, sends: ClientCredential
) -> None:
    index = index_of(GRANTS, catalogue)

    for line, expected in ((f"GET {TRAIN}/x", ATTACH), (f"GET {OTHER}/x", PIN)):
        assert outcome(decide(index, POD, ask(line, sends=sends), NOON)) is expected
