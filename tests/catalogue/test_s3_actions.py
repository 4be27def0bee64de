"""Every form of a request to S3 (API reference, "Actions", and what SDKs make of them): its action, its
bucket and its key; or no action, so that no grant covers it."""

import re
from collections.abc import Mapping
from typing import NamedTuple

import pytest

from proxy.core.request import NO_HEADERS
from proxy.core.services import Catalogue
from tests.judge_world import ask, read_all_pins

R = "eu-central-1"
PATH = f"s3.{R}.amazonaws.com"
VIRTUAL = f"data.s3.{R}.amazonaws.com"
DIRECTORY = "d--use1-az4--x-s3"
EXPRESS = f"{DIRECTORY}.s3express-use1-az4.us-east-1.amazonaws.com"
POINT = f"ap-111122223333.s3-accesspoint.{R}.amazonaws.com"
POINT_ARN = f"arn:aws:s3:{R}:111122223333:accesspoint/ap"
LAMBDA = f"ap-111122223333.s3-object-lambda.{R}.amazonaws.com"
LAMBDA_ARN = f"arn:aws:s3-object-lambda:{R}:111122223333:accesspoint/ap"
MRAP = "mfzwi23gnjvgw.mrap.accesspoint.s3-global.amazonaws.com"
COPY = {"x-amz-copy-source": "other/key"}
RENAME = {"x-amz-rename-source": "/key"}


class Form(NamedTuple):
    line: str
    action: str | None
    bucket: str | None = "data"
    key: str | None = None
    headers: Mapping[str, str] = NO_HEADERS


def on_object(
    action: str, *queries: str, bucket: str = "data", headers: Mapping[str, str] = NO_HEADERS
) -> list[Form]:
    """`GET ?query`, in both ways of addressing."""
    forms = []
    for query in queries:
        method, _, rest = query.partition(" ")
        forms.append(Form(f"{method} {PATH}/data/a/b{rest}", action, bucket, "a/b", headers))
        forms.append(Form(f"{method} {VIRTUAL}/a/b{rest}", action, bucket, "a/b", headers))
    return forms


def on_bucket(action: str, *queries: str) -> list[Form]:
    forms = []
    for query in queries:
        method, _, rest = query.partition(" ")
        forms.append(Form(f"{method} {PATH}/data{rest}", action))
        forms.append(Form(f"{method} {PATH}/data/{rest}", action))
        forms.append(Form(f"{method} {VIRTUAL}/{rest}", action))
    return forms


def unknown(*lines: str, headers: Mapping[str, str] = NO_HEADERS) -> list[Form]:
    return [Form(line, None, None, None, headers) for line in lines]


OBJECTS = [
    *on_object(
        "s3:GetObject", "GET ", "HEAD ", "GET ?x-id=GetObject", "GET ?partNumber=1", "HEAD ?partNumber=1"
    ),
    *on_object("s3:GetObject", "GET ?response-content-type=text/plain&response-expires=0"),
    *on_object(
        "s3:GetObjectVersion", "GET ?versionId=v", "HEAD ?versionId=v", "GET ?versionId=v&partNumber=2"
    ),
    *on_object("s3:GetObjectAttributes", "GET ?attributes", "GET ?attributes&versionId=v"),
    *on_object("s3:GetObjectTagging", "GET ?tagging", "GET ?tagging&versionId=v"),
    *on_object("s3:SelectObjectContent", "POST ?select&select-type=2"),
    *on_object("s3:PutObject", "PUT ", "PUT ?x-id=PutObject"),
    *on_object("s3:PutObject", "PUT ", headers=COPY),
    *on_object("s3:PutObjectTagging", "PUT ?tagging", "PUT ?tagging&versionId=v"),
    *on_object("s3:DeleteObject", "DELETE ", "DELETE ?x-id=DeleteObject"),
    *on_object("s3:DeleteObjectVersion", "DELETE ?versionId=v"),
    *on_object("s3:DeleteObjectTagging", "DELETE ?tagging", "DELETE ?tagging&versionId=v"),
    *on_object("s3:GetObjectAcl", "GET ?acl", "GET ?acl&versionId=v"),
    *on_object("s3:PutObjectAcl", "PUT ?acl", "PUT ?acl&versionId=v"),
    *on_object("s3:GetObjectLegalHold", "GET ?legal-hold", "GET ?legal-hold&versionId=v"),
    *on_object("s3:PutObjectLegalHold", "PUT ?legal-hold", "PUT ?legal-hold&versionId=v"),
    *on_object("s3:GetObjectRetention", "GET ?retention", "GET ?retention&versionId=v"),
    *on_object("s3:PutObjectRetention", "PUT ?retention", "PUT ?retention&versionId=v"),
    *on_object("s3:GetObjectTorrent", "GET ?torrent"),
    *on_object("s3:RestoreObject", "POST ?restore", "POST ?restore&versionId=v"),
    *on_object("s3:UpdateObjectEncryption", "PUT ?encryption", "PUT ?encryption&versionId=v"),
    *on_object(
        "s3:ListObjectAnnotations", "GET ?annotation", "GET ?annotation&annotation-prefix=p&versionId=v"
    ),
    *on_object("s3:GetObjectAnnotation", "GET ?annotation&annotationName=n"),
    *on_object("s3:PutObjectAnnotation", "PUT ?annotation&annotationName=n&versionId=v"),
    *on_object("s3:DeleteObjectAnnotation", "DELETE ?annotation&annotationName=n"),
]
MULTIPART = [
    *on_object("s3:CreateMultipartUpload", "POST ?uploads", "POST ?uploads="),
    *on_object(
        "s3:UploadPart", "PUT ?partNumber=1&uploadId=u", "PUT ?uploadId=u&partNumber=1&x-id=UploadPart"
    ),
    *on_object("s3:UploadPart", "PUT ?partNumber=1&uploadId=u", headers=COPY),
    *on_object("s3:CompleteMultipartUpload", "POST ?uploadId=u"),
    *on_object(
        "s3:AbortMultipartUpload", "DELETE ?uploadId=u", "DELETE ?uploadId=u&x-id=AbortMultipartUpload"
    ),
    *on_object(
        "s3:ListMultipartUploadParts", "GET ?uploadId=u", "GET ?uploadId=u&max-parts=9&part-number-marker=3"
    ),
]
BUCKETS = [
    *on_bucket("s3:ListBucket", "GET ", "GET ?list-type=2&prefix=a/&delimiter=/&max-keys=9"),
    *on_bucket("s3:ListBucket", "GET ?list-type=2&start-after=a&continuation-token=t&fetch-owner=true"),
    *on_bucket("s3:ListBucket", "GET ?marker=m&encoding-type=url"),
    *on_bucket("s3:ListBucketVersions", "GET ?versions&key-marker=k&version-id-marker=v"),
    *on_bucket("s3:ListBucketMultipartUploads", "GET ?uploads&upload-id-marker=u&max-uploads=9"),
    *on_bucket("s3:HeadBucket", "HEAD "),
    *on_bucket("s3:GetBucketLocation", "GET ?location"),
    *on_bucket("s3:DeleteObjects", "POST ?delete", "POST ?delete="),
    *on_bucket("s3:PostObject", "POST "),
    *on_bucket("s3:CreateBucket", "PUT "),
    *on_bucket("s3:DeleteBucket", "DELETE "),
    *on_bucket("s3:GetBucketAbac", "GET ?abac"),
    *on_bucket("s3:PutBucketAbac", "PUT ?abac"),
    *on_bucket("s3:GetAccelerateConfiguration", "GET ?accelerate"),
    *on_bucket("s3:PutAccelerateConfiguration", "PUT ?accelerate"),
    *on_bucket("s3:GetBucketAcl", "GET ?acl"),
    *on_bucket("s3:PutBucketAcl", "PUT ?acl"),
    *on_bucket("s3:GetAnalyticsConfiguration", "GET ?analytics", "GET ?analytics&id=i"),
    *on_bucket("s3:PutAnalyticsConfiguration", "PUT ?analytics&id=i", "DELETE ?analytics&id=i"),
    *on_bucket("s3:GetBucketCORS", "GET ?cors"),
    *on_bucket("s3:PutBucketCORS", "PUT ?cors", "DELETE ?cors"),
    *on_bucket("s3:GetEncryptionConfiguration", "GET ?encryption"),
    *on_bucket("s3:PutEncryptionConfiguration", "PUT ?encryption", "DELETE ?encryption"),
    *on_bucket("s3:GetIntelligentTieringConfiguration", "GET ?intelligent-tiering&id=i"),
    *on_bucket("s3:GetIntelligentTieringConfiguration", "GET ?intelligent-tiering&continuation-token=t"),
    *on_bucket("s3:PutIntelligentTieringConfiguration", "PUT ?intelligent-tiering&id=i"),
    *on_bucket("s3:GetInventoryConfiguration", "GET ?inventory", "GET ?inventory&id=i"),
    *on_bucket("s3:PutInventoryConfiguration", "PUT ?inventory&id=i", "DELETE ?inventory&id=i"),
    *on_bucket("s3:GetLifecycleConfiguration", "GET ?lifecycle"),
    *on_bucket("s3:PutLifecycleConfiguration", "PUT ?lifecycle", "DELETE ?lifecycle"),
    *on_bucket("s3:GetBucketLogging", "GET ?logging"),
    *on_bucket("s3:PutBucketLogging", "PUT ?logging"),
    *on_bucket("s3:GetBucketMetadataTableConfiguration", "GET ?metadataTable", "GET ?metadataConfiguration"),
    *on_bucket("s3:CreateBucketMetadataTableConfiguration", "POST ?metadataTable", "DELETE ?metadataTable"),
    *on_bucket("s3:CreateBucketMetadataTableConfiguration", "POST ?metadataConfiguration"),
    *on_bucket("s3:UpdateBucketMetadataAnnotationTableConfiguration", "PUT ?metadataAnnotationTable"),
    *on_bucket("s3:UpdateBucketMetadataInventoryTableConfiguration", "PUT ?metadataInventoryTable"),
    *on_bucket("s3:UpdateBucketMetadataJournalTableConfiguration", "PUT ?metadataJournalTable"),
    *on_bucket("s3:GetMetricsConfiguration", "GET ?metrics", "GET ?metrics&id=i"),
    *on_bucket("s3:PutMetricsConfiguration", "PUT ?metrics&id=i", "DELETE ?metrics&id=i"),
    *on_bucket("s3:GetBucketNotification", "GET ?notification"),
    *on_bucket("s3:PutBucketNotification", "PUT ?notification"),
    *on_bucket("s3:GetBucketObjectLockConfiguration", "GET ?object-lock"),
    *on_bucket("s3:PutBucketObjectLockConfiguration", "PUT ?object-lock"),
    *on_bucket("s3:GetBucketOwnershipControls", "GET ?ownershipControls"),
    *on_bucket("s3:PutBucketOwnershipControls", "PUT ?ownershipControls", "DELETE ?ownershipControls"),
    *on_bucket("s3:GetBucketPolicy", "GET ?policy"),
    *on_bucket("s3:PutBucketPolicy", "PUT ?policy"),
    *on_bucket("s3:DeleteBucketPolicy", "DELETE ?policy"),
    *on_bucket("s3:GetBucketPolicyStatus", "GET ?policyStatus"),
    *on_bucket("s3:GetBucketPublicAccessBlock", "GET ?publicAccessBlock"),
    *on_bucket("s3:PutBucketPublicAccessBlock", "PUT ?publicAccessBlock", "DELETE ?publicAccessBlock"),
    *on_bucket("s3:GetReplicationConfiguration", "GET ?replication"),
    *on_bucket("s3:PutReplicationConfiguration", "PUT ?replication", "DELETE ?replication"),
    *on_bucket("s3:GetBucketRequestPayment", "GET ?requestPayment"),
    *on_bucket("s3:PutBucketRequestPayment", "PUT ?requestPayment"),
    *on_bucket("s3:GetBucketTagging", "GET ?tagging"),
    *on_bucket("s3:PutBucketTagging", "PUT ?tagging", "DELETE ?tagging"),
    *on_bucket("s3:GetBucketVersioning", "GET ?versioning"),
    *on_bucket("s3:PutBucketVersioning", "PUT ?versioning"),
    *on_bucket("s3:GetBucketWebsite", "GET ?website"),
    *on_bucket("s3:PutBucketWebsite", "PUT ?website", "DELETE ?website"),
]
ACCOUNT = [
    Form(f"GET {PATH}/", "s3:ListAllMyBuckets", None),
    Form("GET s3.amazonaws.com/", "s3:ListAllMyBuckets", None),
    Form(f"GET {PATH}/?max-buckets=9&bucket-region={R}&x-id=ListBuckets", "s3:ListAllMyBuckets", None),
    Form(f"GET bucket.vpce-1a.s3.{R}.vpce.amazonaws.com/", "s3:ListAllMyBuckets", None),
]
# The hosts under which a bucket is known; and what is its key there.
ADDRESSED = [
    Form(f"GET s3-{R}.amazonaws.com/data/k", "s3:GetObject", "data", "k"),
    Form(f"GET s3.dualstack.{R}.amazonaws.com/data/k", "s3:GetObject", "data", "k"),
    Form("GET s3-fips.us-gov-west-1.amazonaws.com/data/k", "s3:GetObject", "data", "k"),
    Form("GET s3.amazonaws.com/data/k", "s3:GetObject", "data", "k"),
    Form("GET s3.cn-north-1.amazonaws.com.cn/data/k", "s3:GetObject", "data", "k"),
    Form("GET s3.eu-isoe-west-1.cloud.adc-e.uk/data/k", "s3:GetObject", "data", "k"),
    Form("GET data.s3.us-isof-south-1.csp.hci.ic.gov/k", "s3:GetObject", "data", "k"),
    Form("PUT data.s3.amazonaws.com/k", "s3:PutObject", "data", "k"),
    Form("PUT my.dotted.data.s3.amazonaws.com/k", "s3:PutObject", "my.dotted.data", "k"),
    Form("PUT data.s3-accelerate.amazonaws.com/k", "s3:PutObject", "data", "k"),
    Form("PUT data.s3-accelerate.dualstack.amazonaws.com/k", "s3:PutObject", "data", "k"),
    Form(f"PUT data.s3-fips.dualstack.{R}.amazonaws.com/k", "s3:PutObject", "data", "k"),
    Form(f"GET bucket.vpce-1a-2b.s3.{R}.vpce.amazonaws.com/data/k", "s3:GetObject", "data", "k"),
    Form(f"GET data.bucket.vpce-1a-2b.s3.{R}.vpce.amazonaws.com/k", "s3:GetObject", "data", "k"),
    Form(f"GET ap-x1y2-s3alias.s3.{R}.amazonaws.com/k", "s3:GetObject", "ap-x1y2-s3alias", "k"),
    Form(f"GET {POINT}/k", "s3:GetObject", POINT_ARN, "k"),
    Form(f"GET {POINT}/?list-type=2", "s3:ListBucket", POINT_ARN),
    Form(f"PUT {POINT}/k?uploadId=u&partNumber=1", "s3:UploadPart", POINT_ARN, "k"),
    Form(f"POST {POINT}/?delete", "s3:DeleteObjects", POINT_ARN),
    Form(
        f"GET ap-111122223333.accesspoint.vpce-1a.s3.{R}.vpce.amazonaws.com/k", "s3:GetObject", POINT_ARN, "k"
    ),
    Form(f"GET {LAMBDA}/k", "s3:GetObject", LAMBDA_ARN, "k"),
    Form(f"HEAD {LAMBDA}/", "s3:HeadBucket", LAMBDA_ARN),
    Form(f"GET {MRAP}/k", "s3:GetObject", "mfzwi23gnjvgw.mrap", "k"),
    Form(f"PUT {MRAP}/k", "s3:PutObject", "mfzwi23gnjvgw.mrap", "k", COPY),
    Form(f"GET {EXPRESS}/?session", "s3:CreateSession", DIRECTORY),
    Form(f"GET {EXPRESS}/k", "s3:GetObject", DIRECTORY, "k"),
    Form(f"PUT {EXPRESS}/k", "s3:PutObject", DIRECTORY, "k"),
    Form(f"GET {EXPRESS}/?list-type=2&prefix=a/", "s3:ListBucket", DIRECTORY),
    Form(f"POST {EXPRESS}/?delete", "s3:DeleteObjects", DIRECTORY),
    # Spellings of a bucket and a key
    Form(f"GET {PATH}/d%61ta/a%20b", "s3:GetObject", "data", "a b"),
    Form(f"GET {PATH}/data/a%2Bb", "s3:GetObject", "data", "a+b"),
    Form(f"GET {PATH}/data/100%2525", "s3:GetObject", "data", "100%25"),
    Form(f"GET {PATH}/data//k", "s3:GetObject", "data", "/k"),
    Form(f"GET {PATH}/data/k/", "s3:GetObject", "data", "k/"),
    Form(f"GET {VIRTUAL}//k", "s3:GetObject", "data", "/k"),
    Form(f"GET {VIRTUAL}/data/k", "s3:GetObject", "data", "data/k"),
    Form(f"GET {PATH}/Data/k", "s3:GetObject", "Data", "k"),
    # One letter in two forms of Unicode: two keys to S3.
    Form(f"GET {PATH}/data/%C3%A9", "s3:GetObject", "data", "\N{LATIN SMALL LETTER E WITH ACUTE}"),
    Form(f"GET {PATH}/data/e%CC%81", "s3:GetObject", "data", "e\N{COMBINING ACUTE ACCENT}"),
    # A parameter that says nothing of an object says nothing.
    Form(f"GET {PATH}/data/k?list-type=2&prefix=x", "s3:GetObject", "data", "k"),
]
NO_ACTION = [
    *unknown(f"PATCH {PATH}/data/k", f"OPTIONS {PATH}/data/k", f"POST {PATH}/data/k", f"get {PATH}/data/k"),
    *unknown(f"HEAD {PATH}/", f"POST {PATH}/", f"PUT {PATH}/", f"DELETE {PATH}/", f"GET {PATH}/?location"),
    *unknown(f"GET {PATH}/data/k?acl&tagging", f"GET {PATH}/data?acl&policy", f"HEAD {PATH}/data/k?acl"),
    *unknown(f"GET {PATH}/data/k?ACL", f"GET {PATH}/data/k?versionid=v", f"GET {PATH}/data/k?acl[]"),
    *unknown(f"GET {PATH}/data/k?uploads", f"DELETE {PATH}/data/k?acl", f"PUT {PATH}/data/k?uploads"),
    *unknown(
        f"PUT {PATH}/data/k?append", f"GET {PATH}/data?newfangled", f"GET {PATH}/data/k?x-amz-acl=private"
    ),
    *unknown(f"GET {PATH}/data/k?x-id=a;acl", f"GET {PATH}/data/k?=", f"POST {PATH}/data/k?select"),
    *unknown(f"POST {PATH}/data/k?delete", f"PUT {PATH}/data?delete", f"POST {PATH}/data?uploads"),
    *unknown(f"GET {PATH}//k", f"GET {PATH}//", f"GET {PATH}//data/k"),
    # Sessions are a directory bucket's, and only its own host opens one.
    *unknown(f"GET {PATH}/data?session", f"GET {VIRTUAL}/?session", f"GET {PATH}/{DIRECTORY}?session"),
    *unknown(f"GET {EXPRESS}/k?session", f"POST {EXPRESS}/?session", f"GET {POINT}/?session"),
    # A rename deletes what it names, and what copies without being a copy is nothing that S3 knows.
    *unknown(f"PUT {EXPRESS}/k?renameObject", f"PUT {EXPRESS}/k", headers=RENAME),
    *unknown(f"PUT {PATH}/data/k?tagging", f"GET {PATH}/data/k", f"POST {PATH}/data/k?uploads", headers=COPY),
    *unknown(f"PUT {PATH}/data", f"DELETE {PATH}/data/k", f"POST {PATH}/data?delete", headers=COPY),
    # Some stores take an id without a value for none, and end nothing but delete the object.
    *unknown(
        f"DELETE {PATH}/data/k?uploadId", f"DELETE {VIRTUAL}/k?uploadId=", f"GET {PATH}/data/k?uploadId="
    ),
    *unknown(f"PUT {PATH}/data/k?partNumber=&uploadId=u", f"PUT {PATH}/data/k?partNumber=1&uploadId="),
    *unknown(f"PUT {PATH}/data/k?partNumber=1&partNumber=2&uploadId=u", f"GET {PATH}/data/k?partNumber"),
    *unknown(f"DELETE {PATH}/data/k?uploadId=a&uploadId=b", f"DELETE {PATH}/data/k?uploadId=&uploadId=a"),
    *unknown(f"GET {PATH}/data/k?versionId=", f"GET {PATH}/data/k?versionId=a&versionId=b"),
    *unknown(f"PUT {PATH}/data/k?annotation&annotationName=", f"DELETE {PATH}/data?inventory&id"),
    *unknown(f"POST {PATH}/data/k?select&select-type"),
    # What is no id has no value.
    *unknown(f"GET {PATH}/data/k?acl=x", f"GET {PATH}/data/k?acl&acl", f"POST {PATH}/data?delete=x"),
    *unknown(f"POST {PATH}/data/k?uploads=u", f"GET {PATH}/data?location=eu"),
    # What makes and unmakes buckets and access points, answers for functions, and stands on Outposts.
    *unknown(
        f"GET s3express-control.us-east-1.amazonaws.com/{DIRECTORY}",
        "GET s3-control.us-east-1.amazonaws.com/",
    ),
    *unknown(f"POST route.s3-object-lambda.{R}.amazonaws.com/WriteGetObjectResponse"),
    *unknown(f"GET ap-111122223333.op-01ac5d28a6a232904.s3-outposts.{R}.amazonaws.com/k"),
    *unknown(f"GET 111122223333.s3-control.{R}.amazonaws.com/v20180820/accesspoint/ap"),
    *unknown(f"GET {DIRECTORY}.s3express-use1-az5.us-east-1.amazonaws.com/k"),
]
FORMS = [*OBJECTS, *MULTIPART, *BUCKETS, *ACCOUNT, *ADDRESSED, *NO_ACTION]


def shown(form: Form) -> str:
    return f"{form.line} {' '.join(form.headers)}".rstrip()


@pytest.mark.parametrize("form", FORMS, ids=shown)
def test_a_request_is_one_action_on_one_bucket_and_key(catalogue: Catalogue, form: Form) -> None:
    method, _, url = form.line.partition(" ")
    request = ask(f"{method} https://{url}", form.headers)
    (host,) = catalogue.readings(request.host)
    reading = read_all_pins(host, request)

    assert host.service.name == "s3"
    assert (reading.operation and reading.operation.name) == form.action
    if form.action is not None:
        assert (reading.pins.get("bucket"), reading.key) == (form.bucket, form.key)


def test_the_table_is_long_and_without_repetition() -> None:
    forms = [shown(form) for form in FORMS]

    assert len(forms) == len(set(forms))
    # Each of a bucket or an object stands in two or three ways of addressing.
    assert len({re.sub(r" \S+?/(data/?)?", " ", form) for form in forms}) >= 110


def test_the_table_has_every_action(catalogue: Catalogue) -> None:
    assert {form.action for form in FORMS} - {None} == {row.name for row in catalogue["s3"].operations}
