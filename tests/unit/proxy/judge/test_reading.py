"""A request as a service reads it: S3's operations, pins, keys, and what would mint a credential."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.hosts import Hostname
from proxy.core.paths import PathPattern
from proxy.core.request import RequestFacts
from proxy.core.services import Catalogue, MintingApi, Service
from proxy.core.structs import replace
from proxy.documents.reader import read_documents
from proxy.judge.reading import (
    MintingGuard,
    MintingName,
    OperationTable,
    Reading,
    ServiceKnowledge,
    ServiceReader,
    asked_for_source,
)
from tests.judge_world import (
    CATALOGUE,
    HEADERS,
    HOSTS,
    PATHS,
    QUERIES,
    WORLD_METHODS,
    ask,
    read_all_pins,
    requests,
)

S3 = "https://s3.eu-central-1.amazonaws.com"
DATA = "https://data.s3.eu-central-1.amazonaws.com"
HUB = "https://huggingface.co"
EXPRESS = "https://data--use1-az4--x-s3.s3express-use1-az4.us-east-1.amazonaws.com"
RENAME = {"x-amz-rename-source": "/other/key"}


def read(catalogue: Catalogue, request: RequestFacts) -> Reading:
    """With all pins of the one service that the host belongs to."""
    (host,) = catalogue.readings(request.host)
    return read_all_pins(host, request)


# --- operations of S3 --------------------------------------------------------------------------------

OPERATIONS = [
    # Objects, path-style
    ("GET", f"{S3}/data/k", "s3:GetObject"),
    ("HEAD", f"{S3}/data/k", "s3:GetObject"),
    ("GET", f"{S3}/data/a/b/c.safetensors?x-id=GetObject", "s3:GetObject"),
    ("GET", f"{S3}/data/k?versionId=v&partNumber=2", "s3:GetObjectVersion"),
    ("GET", f"{S3}/data/k?response-content-type=text/plain", "s3:GetObject"),
    ("GET", f"{S3}/data//k", "s3:GetObject"),
    ("GET", f"{S3}/data/k/", "s3:GetObject"),
    ("GET", f"{S3}/data/k?list-type=2", "s3:GetObject"),
    ("GET", f"{S3}/data/k?attributes", "s3:GetObjectAttributes"),
    ("GET", f"{S3}/data/k?tagging", "s3:GetObjectTagging"),
    ("GET", f"{S3}/data/k?tagging=&versionId=v", "s3:GetObjectTagging"),
    ("POST", f"{S3}/data/k?select&select-type=2", "s3:SelectObjectContent"),
    ("PUT", f"{S3}/data/k", "s3:PutObject"),
    ("PUT", f"{S3}/data/k?x-id=PutObject", "s3:PutObject"),
    ("POST", f"{S3}/data/k?uploads", "s3:CreateMultipartUpload"),
    ("PUT", f"{S3}/data/k?partNumber=1&uploadId=u", "s3:UploadPart"),
    ("POST", f"{S3}/data/k?uploadId=u", "s3:CompleteMultipartUpload"),
    ("DELETE", f"{S3}/data/k?uploadId=u", "s3:AbortMultipartUpload"),
    ("GET", f"{S3}/data/k?uploadId=u&max-parts=9", "s3:ListMultipartUploadParts"),
    ("PUT", f"{S3}/data/k?tagging", "s3:PutObjectTagging"),
    ("DELETE", f"{S3}/data/k", "s3:DeleteObject"),
    ("DELETE", f"{S3}/data/k?versionId=v", "s3:DeleteObjectVersion"),
    ("DELETE", f"{S3}/data/k?tagging", "s3:DeleteObjectTagging"),
    ("GET", f"{S3}/data/k?acl", "s3:GetObjectAcl"),
    ("PUT", f"{S3}/data/k?acl", "s3:PutObjectAcl"),
    ("GET", f"{S3}/data/k?legal-hold", "s3:GetObjectLegalHold"),
    ("PUT", f"{S3}/data/k?retention", "s3:PutObjectRetention"),
    ("GET", f"{S3}/data/k?torrent", "s3:GetObjectTorrent"),
    ("POST", f"{S3}/data/k?restore", "s3:RestoreObject"),
    ("PUT", f"{S3}/data/k?encryption", "s3:UpdateObjectEncryption"),
    # Objects, virtual-hosted
    ("GET", f"{DATA}/k", "s3:GetObject"),
    ("GET", f"{DATA}//k", "s3:GetObject"),
    ("GET", f"{DATA}//", "s3:GetObject"),
    ("PUT", f"{DATA}/a/b", "s3:PutObject"),
    ("POST", f"{DATA}/a/b?uploads", "s3:CreateMultipartUpload"),
    ("DELETE", f"{DATA}/a/b?uploadId=u", "s3:AbortMultipartUpload"),
    ("GET", "https://data.s3.amazonaws.com/k", "s3:GetObject"),
    ("GET", "https://my.dotted.data.s3.eu-central-1.amazonaws.com/k", "s3:GetObject"),
    ("GET", "https://data.s3-eu-central-1.amazonaws.com/k", "s3:GetObject"),
    ("GET", "https://data.s3.dualstack.us-west-2.amazonaws.com/k", "s3:GetObject"),
    ("GET", "https://data.s3-fips.us-gov-west-1.amazonaws.com/k", "s3:GetObject"),
    ("GET", "https://data.s3-accelerate.amazonaws.com/k", "s3:GetObject"),
    ("GET", "https://data.s3-accelerate.dualstack.amazonaws.com/k", "s3:GetObject"),
    ("GET", "https://data.s3.cn-north-1.amazonaws.com.cn/k", "s3:GetObject"),
    ("GET", "https://bucket.vpce-1a.s3.us-east-1.vpce.amazonaws.com/data/k", "s3:GetObject"),
    ("GET", "https://data.bucket.vpce-1a.s3.us-east-1.vpce.amazonaws.com/k", "s3:GetObject"),
    ("GET", "https://s3.dualstack.us-west-2.amazonaws.com/data/k", "s3:GetObject"),
    ("GET", "https://s3-us-west-2.amazonaws.com/data/k", "s3:GetObject"),
    ("GET", "https://s3-fips.dualstack.us-west-2.amazonaws.com/data", "s3:ListBucket"),
    # Buckets
    ("GET", f"{S3}/data", "s3:ListBucket"),
    ("GET", f"{S3}/data/", "s3:ListBucket"),
    ("GET", f"{DATA}/", "s3:ListBucket"),
    ("GET", f"{S3}/data?list-type=2&prefix=a/&delimiter=/&max-keys=9", "s3:ListBucket"),
    ("GET", f"{DATA}/?marker=m&encoding-type=url", "s3:ListBucket"),
    ("GET", f"{DATA}/?versions&key-marker=k", "s3:ListBucketVersions"),
    ("GET", f"{DATA}/?uploads&upload-id-marker=u", "s3:ListBucketMultipartUploads"),
    ("HEAD", f"{S3}/data", "s3:HeadBucket"),
    ("HEAD", f"{DATA}/", "s3:HeadBucket"),
    ("GET", f"{S3}/data?location", "s3:GetBucketLocation"),
    ("POST", f"{S3}/data?delete", "s3:DeleteObjects"),
    ("POST", f"{DATA}/?delete=", "s3:DeleteObjects"),
    ("POST", f"{DATA}/", "s3:PostObject"),
    ("PUT", f"{S3}/data", "s3:CreateBucket"),
    ("DELETE", f"{DATA}/", "s3:DeleteBucket"),
    ("GET", f"{EXPRESS}/?session", "s3:CreateSession"),
    ("GET", f"{EXPRESS}/k", "s3:GetObject"),
    ("GET", f"{DATA}/?session", None),
    ("GET", f"{S3}/data?session", None),
    ("HEAD", f"{EXPRESS}/?session", None),
    ("GET", f"{EXPRESS}/k?session", None),
    ("GET", f"{EXPRESS}/?session&versions", None),
    ("GET", f"{DATA}/?acl", "s3:GetBucketAcl"),
    ("PUT", f"{DATA}/?policy", "s3:PutBucketPolicy"),
    ("DELETE", f"{DATA}/?policy", "s3:DeleteBucketPolicy"),
    ("DELETE", f"{DATA}/?lifecycle", "s3:PutLifecycleConfiguration"),
    ("GET", f"{DATA}/?inventory&id=i", "s3:GetInventoryConfiguration"),
    ("GET", f"{DATA}/?inventory", "s3:GetInventoryConfiguration"),
    ("GET", f"{DATA}/?versioning", "s3:GetBucketVersioning"),
    ("GET", f"{S3}/", "s3:ListAllMyBuckets"),
    ("GET", f"{S3}/?x-id=ListBuckets", "s3:ListAllMyBuckets"),
    # Unknown: other methods, sub-resources, combinations, parameters, and forms of a query
    ("PATCH", f"{S3}/data/k", None),
    ("OPTIONS", f"{S3}/data/k", None),
    ("get", f"{S3}/data/k", None),
    ("HEAD", f"{S3}/", None),
    ("POST", f"{S3}/", None),
    ("PUT", f"{S3}/", None),
    ("POST", f"{S3}/data/k", None),
    ("HEAD", f"{S3}/data/k?acl", None),
    ("POST", f"{S3}/data/k?select", None),
    ("GET", f"{S3}/data/k?acl&tagging", None),
    ("GET", f"{S3}/data/k?uploads", None),
    ("DELETE", f"{S3}/data/k?acl", None),
    ("PUT", f"{S3}/data/k?append", None),
    ("GET", f"{S3}/data?newfangled", None),
    ("GET", f"{S3}/data/k?ACL", None),
    ("GET", f"{S3}/data/k?versionid=v", None),
    ("GET", f"{S3}/data/k?x-id=a;acl", None),
    ("GET", f"{S3}/data/k?=", None),
    ("GET", f"{S3}/?session", None),
    ("GET", f"{S3}/?location", None),
    ("GET", f"{S3}//k", None),
    ("GET", f"{S3}//k?acl", None),
    ("GET", f"{S3}//k?x-id=GetObject", None),
    ("GET", f"{S3}//", None),
    ("GET", f"{S3}//other/k", None),
    ("PUT", f"{S3}/data/k?renameObject", None),
]


@pytest.mark.parametrize(("method", "url", "expected"), OPERATIONS)
def test_tells_the_operations_of_s3(
    catalogue: Catalogue, method: str, url: str, expected: str | None
) -> None:
    operation = read(catalogue, ask(f"{method} {url}")).operation

    assert (operation and operation.name) == expected


def test_the_table_of_operations_is_long_and_without_repetition() -> None:
    forms = [(method, url) for method, url, _ in OPERATIONS]

    assert len(forms) == len(set(forms))
    assert len(forms) >= 60


@pytest.mark.parametrize(
    ("headers", "also"),
    [
        ({"content-type": "text/plain"}, ()),
        ({"x-amz-acl": "public-read"}, ("s3:PutObjectAcl",)),
        ({"x-amz-acl": ""}, ("s3:PutObjectAcl",)),
        ({"x-amz-grant-read": "id=1", "x-amz-grant-write": "id=2"}, ("s3:PutObjectAcl",)),
        ({"x-amz-tagging": "a=b", "x-amz-acl": "private"}, ("s3:PutObjectAcl", "s3:PutObjectTagging")),
        ({"x-amz-object-lock-mode": "GOVERNANCE"}, ("s3:PutObjectRetention",)),
        ({"x-amz-bypass-governance-retention": "true"}, ("s3:BypassGovernanceRetention",)),
        ({"x-amz-server-side-encryption-aws-kms-key-id": "arn:aws:kms:…"}, ("s3:UseKmsKey",)),
        ({"x-amz-server-side-encryption-customer-key": "…"}, ("s3:UseCustomerKey",)),
    ],
)
def test_reads_what_headers_add_to_an_operation(
    catalogue: Catalogue, headers: Mapping[str, str], also: tuple[str, ...]
) -> None:
    reading = read(catalogue, ask(f"PUT {S3}/data/k", headers))

    assert (reading.operation and reading.operation.name, reading.also) == ("s3:PutObject", also)


@pytest.mark.parametrize(
    "headers",
    [RENAME, {"x-amz-rename-source": ""}, {"x-amz-acl": "private", **RENAME}],
)
@pytest.mark.parametrize(
    "line", [f"PUT {S3}/data/k", f"PUT {DATA}/k?partNumber=1&uploadId=u", f"GET {S3}/data/k"]
)
def test_a_header_that_no_grant_can_cover_makes_the_operation_unknown(
    catalogue: Catalogue, line: str, headers: Mapping[str, str]
) -> None:
    reading = read(catalogue, ask(line, headers))

    assert (reading.operation, reading.also) == (None, ())
    assert reading.pins["bucket"] == "data"
    assert reading.key == "k"


@pytest.mark.parametrize(
    "line",
    [
        f"GET {S3}/data/k",
        f"DELETE {S3}/data/k",
        f"POST {S3}/data/k?uploads",
        f"POST {S3}/data/k?uploadId=u",
        f"PUT {S3}/data/k?tagging",
        f"PUT {S3}/data",
        f"GET {S3}/data",
    ],
)
def test_only_what_copies_takes_a_copy_source(catalogue: Catalogue, line: str) -> None:
    reading = read(catalogue, ask(line, {"x-amz-copy-source": "data/k"}))

    assert (reading.operation, reading.sources) == (None, ())


REGION = {"region": "eu-central-1"}


@pytest.mark.parametrize("line", [f"PUT {S3}/data/k", f"PUT {DATA}/k?partNumber=1&uploadId=u"])
@pytest.mark.parametrize(
    ("header", "bucket", "key", "operation"),
    [
        ("other/a%20b", "other", "a b", "s3:GetObject"),
        ("/other/a/b?versionId=v", "other", "a/b", "s3:GetObjectVersion"),
        (
            "arn:aws:s3:us-east-1:111122223333:accesspoint/ap/object/k",
            "arn:aws:s3:us-east-1:111122223333:accesspoint/ap",
            "k",
            "s3:GetObject",
        ),
    ],
)
def test_what_a_copy_reads_is_read_as_if_it_was_asked_for(  # noqa: PLR0917 - a row of the table
    catalogue: Catalogue, line: str, header: str, bucket: str, key: str, operation: str
) -> None:
    reading = read(catalogue, ask(line, {"x-amz-copy-source": header}))

    (source,) = reading.sources
    assert isinstance(source, Reading)
    assert reading.needs_more
    assert (source.pins, source.key) == ({"bucket": bucket, **REGION}, key)
    assert source.operation is not None
    assert source.operation.name == operation


def test_a_copy_source_that_names_nothing_is_kept_as_the_reason_why(catalogue: Catalogue) -> None:
    reading = read(catalogue, ask(f"PUT {S3}/data/k", {"x-amz-copy-source": "other"}))

    assert reading.sources == ("it names no bucket and key, as in `bucket/key`",)


def test_what_is_read_in_place_of_a_copy_has_no_path_and_no_query_of_its_own() -> None:
    asked = asked_for_source(ask(f"PUT {S3}/data/k?uploadId=u&partNumber=1", {"x-amz-copy-source": "a/b"}))

    assert (asked.method, asked.path.text, asked.query.values) == ("GET", "", {})


@pytest.mark.parametrize(
    ("line", "more"),
    [
        (f"GET {S3}/data/k", False),
        (f"POST {S3}/data?delete", True),
        (f"GET {EXPRESS}/?session", True),
        (f"GET {DATA}/?session", False),
    ],
)
@pytest.mark.parametrize("headers", [{}, {"x-amz-tagging": "a=b"}])
def test_knows_where_the_head_does_not_say_it_all(
    catalogue: Catalogue, line: str, headers: Mapping[str, str], *, more: bool
) -> None:
    assert read(catalogue, ask(line, headers)).needs_more is more


@pytest.mark.parametrize(
    ("host", "bucket"),
    [
        ("s3-accesspoint.eu-west-1.amazonaws.com", "arn:aws:s3:eu-west-1"),
        ("s3-accesspoint.us-gov-west-1.amazonaws.com", "arn:aws-us-gov:s3:us-gov-west-1"),
        ("s3-accesspoint.cn-north-1.amazonaws.com.cn", "arn:aws-cn:s3:cn-north-1"),
        ("s3-object-lambda.eu-west-1.amazonaws.com", "arn:aws:s3-object-lambda:eu-west-1"),
    ],
)
def test_an_access_point_is_a_bucket_by_the_name_that_iam_has_for_it(
    catalogue: Catalogue, host: str, bucket: str
) -> None:
    reading = read(catalogue, ask(f"GET https://train-111122223333.{host}/k"))

    assert reading.pins["bucket"] == f"{bucket}:111122223333:accesspoint/train"
    assert (reading.operation and reading.operation.name, reading.key) == ("s3:GetObject", "k")


def test_every_operation_of_s3_is_found_again(catalogue: Catalogue) -> None:
    """Each row of the catalogue, asked for with just what tells it."""
    service = catalogue["s3"]
    for row in service.operations:
        key = "/k" if "key" in row.captures else ""
        path = f"{S3}/data{key}" if row.captures else f"{S3}/"
        query = "&".join(name + "=1" * (name in service.ids) for name in row.subresources)
        for method in row.methods:
            request = ask(f"{method} {EXPRESS + '/' if row.requires else path}?{query}")
            assert read(catalogue, request).operation == row


def test_an_operation_table_knows_which_captures_tell(catalogue: Catalogue) -> None:
    table = OperationTable(catalogue["s3"])

    assert table.telling(("key", "aws_region", "bucket")) == ("bucket", "key")
    assert table.telling(()) == ()
    assert OperationTable(catalogue["openai"]).rows == {}


# --- pins, keys and listings -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "pins", "key", "listed"),
    [
        (f"GET {S3}/data/a/b", {"bucket": "data", "region": "eu-central-1"}, "a/b", None),
        (f"GET {S3}/d%61ta/a%2Db%20c", {"bucket": "data", "region": "eu-central-1"}, "a-b c", None),
        (f"GET {S3}/data//a", {"bucket": "data", "region": "eu-central-1"}, "/a", None),
        (f"GET {DATA}/%C3%A9", {"bucket": "data", "region": "eu-central-1"}, "é", None),
        (f"GET {DATA}/100%2525", {"bucket": "data", "region": "eu-central-1"}, "100%25", None),
        ("GET https://data.s3.amazonaws.com/k", {"bucket": "data"}, "k", None),
        ("GET https://s3.amazonaws.com/data/k", {"bucket": "data"}, "k", None),
        ("GET https://a.b.s3.amazonaws.com/data/k", {"bucket": "a.b"}, "data/k", None),
        ("GET https://s3.amazonaws.com/", {}, None, None),
        ("GET https://s3.amazonaws.com//k", {}, None, None),
        (f"GET {S3}/data?prefix=a/b%20c", {"bucket": "data", "region": "eu-central-1"}, None, "a/b c"),
        (f"GET {S3}/data?prefix=a+b", {"bucket": "data", "region": "eu-central-1"}, None, "a b"),
        (f"GET {S3}/data", {"bucket": "data", "region": "eu-central-1"}, None, ""),
        (f"GET {S3}/data?prefix", {"bucket": "data", "region": "eu-central-1"}, None, ""),
        (f"GET {S3}/data?prefix=a&prefix=b", {"bucket": "data", "region": "eu-central-1"}, None, None),
        (f"POST {S3}/data?delete", {"bucket": "data", "region": "eu-central-1"}, None, None),
        (f"PATCH {S3}/data/k", {"bucket": "data", "region": "eu-central-1"}, "k", None),
        (f"GET {HUB}/acme/llama/resolve/main/x", {"org": "acme", "repo": "acme/llama"}, None, None),
        (f"GET {HUB}/acme%20/x/resolve/y/z", {"org": "acme ", "repo": "acme /x"}, None, None),
        (f"GET {HUB}/datasets/acme/d/raw/main/x", {"org": "acme", "repo": "acme/d"}, None, None),
        (f"GET {HUB}/api/spaces/acme/s", {"org": "acme", "repo": "acme/s"}, None, None),
        (f"POST {HUB}/acme/l.git/git-upload-pack", {"org": "acme", "repo": "acme/l"}, None, None),
        (f"GET {HUB}/api/whoami-v2", {}, None, None),
        (f"GET {HUB}/api/models", {}, None, None),
        ("PUT https://api.wandb.ai/files/acme/r/x", {"entity": "acme", "project": "acme/r"}, None, None),
        ("PUT https://api.wandb.ai/artifactsV2/gcp-us/acme/x/y", {"entity": "acme"}, None, None),
        ("POST https://api.wandb.ai/graphql", {}, None, None),
        ("POST https://api.openai.com/v1/responses", {}, None, None),
    ],
)  # fmt: skip
def test_reads_pins_keys_and_listings(
    catalogue: Catalogue, line: str, pins: Mapping[str, str], key: str | None, listed: str | None
) -> None:
    reading = read(catalogue, ask(line))

    assert (reading.pins, reading.key, reading.listed) == (pins, key, listed)


@pytest.mark.parametrize(
    ("headers", "pins"),
    [
        ({"openai-project": "p"}, {"project": "p"}),
        (
            {"openai-project": "p", "openai-organization": "o"},
            {"project": "p", "organization": "o"},
        ),
        ({"openai-project": "", "openai-organization": "o"}, {"organization": "o"}),
        ({"OpenAI-Project": "p"}, {}),
        ({"openai-project": " p "}, {"project": "p"}),
        ({"openai-project": "  "}, {}),
        # Sent twice: which of the two the service reads is its secret.
        ({"openai-project": "p,q"}, {}),
        ({"openai-project": "p, q"}, {}),
    ],
)
def test_reads_pins_from_headers(
    catalogue: Catalogue, headers: Mapping[str, str], pins: Mapping[str, str]
) -> None:
    request = ask("POST https://api.openai.com/v1/responses", headers)

    assert read(catalogue, request).pins == pins


def test_reads_only_the_pins_it_is_asked_for(catalogue: Catalogue) -> None:
    request = ask(f"GET {S3}/data/k")
    (host,) = catalogue.readings(request.host)

    only_bucket = ServiceReader(ServiceKnowledge(host.service, ["bucket"]), host)
    nothing = ServiceReader(ServiceKnowledge(host.service, []), host)

    assert only_bucket.read(request).pins == {"bucket": "data"}
    assert nothing.read(request).pins == {}


def test_hosts_of_one_endpoint_share_what_is_known_of_it(catalogue: Catalogue) -> None:
    lines = (f"GET {DATA}/k", "GET https://other.s3.eu-central-1.amazonaws.com/k")
    hosts = [catalogue.readings(ask(line).host)[0] for line in lines]
    knowledge = ServiceKnowledge(catalogue["s3"], ["bucket"])
    fixed = frozenset(hosts[0].captures)

    first, second = (
        ServiceReader(knowledge, host).read(ask(line)) for host, line in zip(hosts, lines, strict=True)
    )

    assert knowledge.templates(hosts[0].endpoint, fixed) is knowledge.templates(hosts[1].endpoint, fixed)
    assert (first.pins, second.pins) == ({"bucket": "data"}, {"bucket": "other"})


def test_a_host_that_can_be_read_in_two_ways_shows_nothing(catalogue: Catalogue) -> None:
    text = b"""
apiVersion: podkey.io/v1alpha1
kind: CatalogueEntry
metadata: {name: twofold}
spec:
  title: Twofold
  summary: Its hosts can be read in two ways.
  endpoints:
    - {hosts: ["{tenant}.{zone}.twofold.example"], paths: ["/{key+}"]}
    - {hosts: ["{zone}.{tenant}.twofold.example"], paths: ["/{key+}"]}
  attach: [{bearer: {}}]
  pins: [{name: tenant, summary: Whose., template: "{tenant}"}]
  operations:
    - {name: Ask, methods: [GET], captures: [tenant, zone, key], access: read}
    - {name: Any, methods: [GET]}
"""
    result = read_documents({"twofold.yaml": text}, catalogue)
    assert result.problems == ()
    whole = Catalogue.of((*catalogue.values(), *result.documents.services))

    reading = read(whole, ask("GET https://a.b.twofold.example/k"))

    assert reading == Reading({})


def test_operations_of_a_service_without_paths_are_told_by_its_host(catalogue: Catalogue) -> None:
    text = b"""
apiVersion: podkey.io/v1alpha1
kind: CatalogueEntry
metadata: {name: tenants}
spec:
  title: Tenants
  summary: A host for each.
  endpoints: [{hosts: ["{tenant}.tenants.example", tenants.example]}]
  attach: [{bearer: {}}]
  operations:
    - {name: Ask, methods: [GET], captures: [tenant], access: read}
    - {name: List, methods: [GET]}
"""
    result = read_documents({"tenants.yaml": text}, catalogue)
    assert result.problems == ()
    whole = Catalogue.of((*catalogue.values(), *result.documents.services))
    lines = ("GET https://acme.tenants.example//any/path", "GET https://tenants.example/x")

    operations = [read(whole, ask(line)).operation for line in lines]

    assert [operation and operation.name for operation in operations] == ["Ask", "List"]


any_target = st.builds(
    "{}{}".format,
    st.sampled_from(PATHS) | st.text(max_size=20).map("/{}".format),
    st.sampled_from(QUERIES) | st.text(max_size=20).map("?{}".format),
)
any_headers = st.sampled_from(HEADERS) | st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2)


@given(st.sampled_from(HOSTS), st.sampled_from(WORLD_METHODS) | st.text(max_size=5), any_target, any_headers)
def test_property_any_request_can_be_read_and_shows_no_empty_pin(
    host: str, method: str, target: str, headers: Mapping[str, str]
) -> None:
    request = RequestFacts.of(Hostname(host), method, target, headers=headers)

    for found in CATALOGUE.readings(request.host):
        reading = read_all_pins(found, request)
        assert "" not in reading.pins.values()
        assert reading.pins.keys() <= {pin.name for pin in found.service.pins}
        assert reading.operation is None or reading.operation in found.service.operations
        assert reading.key != ""


# --- APIs whose answers hold a credential ------------------------------------------------------------


def names(found: tuple[MintingName, ...]) -> list[str]:
    return [name for _, name in found]


MINT = MintingApi("Mint", "Something.", (PathPattern("/**"),), ("GET",), ("mint",))


def services_of(catalogue: Catalogue, *chosen: str) -> list[Service]:
    """Services of the catalogue, and of S3 one more API: none that is shipped is told by its query."""
    return [
        replace(catalogue[name], minting=(*catalogue[name].minting, MINT))
        if name == "s3"
        else catalogue[name]
        for name in chosen
    ]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("POST https://api.openai.com/v1/realtime/sessions", ["realtime-client-secret"]),
        ("POST https://api.openai.com/V1//realtime/sessions;x/", ["realtime-client-secret"]),
        ("GET https://api.openai.com/v1/%72ealtime/client_secrets", ["realtime-client-secret"]),
        ("POST https://api.openai.com/v1/chatkit/sessions?a=b", ["chatkit-session"]),
        ("POST https://api.openai.com/v1/organization/projects/p/api_keys", ["administration"]),
        ("POST https://api.openai.com/v1/realtime/sessionsx", []),
        ("POST https://api.openai.com/v1/realtime/sessions/x", []),
        ("POST https://api.openai.com/v1/responses", []),
        # What a query alone tells, in any case
        (f"GET {S3}/data?mint", ["Mint"]),
        (f"GET {S3}/data?MINT=1", ["Mint"]),
        (f"GET {S3}/data/any/key?x&mint", ["Mint"]),
        (f"HEAD {S3}/data?%6Dint", ["Mint"]),
        (f"GET {S3}/data?x;mint", ["Mint"]),
        (f"PUT {S3}/data?mint", []),
        (f"GET {S3}/data?mints", []),
        (f"GET {S3}/mint", []),
        # Two at once
        (f"GET {HUB}/api/models/a/xet-read-token/xet-write-token", ["xet-read-token", "xet-write-token"]),
        (f"GET {HUB}/api/models/a/b/xet-read-token/main?mint", ["Mint", "xet-read-token"]),
        (f"DELETE {HUB}/oauth/", ["oauth-token"]),
        (f"POST {HUB}/acme/llama.git/info/lfs/objects/batch", ["lfs-batch"]),
    ],
)
def test_finds_all_apis_that_mint(catalogue: Catalogue, line: str, expected: list[str]) -> None:
    guard = MintingGuard(services_of(catalogue, "openai", "s3", "huggingface"))

    assert names(guard.find(ask(line))) == expected


def test_names_the_service_of_an_api(catalogue: Catalogue) -> None:
    """Two services may use one name for different things."""
    guard = MintingGuard(services_of(catalogue, "anthropic", "huggingface"))

    assert guard.find(ask("POST https://api.anthropic.com/oauth/token")) == (
        ("anthropic", "oauth-token"),
        ("huggingface", "oauth-token"),
    )


@pytest.mark.parametrize(
    ("service", "line", "expected"),
    [
        ("s3", f"GET {S3}/v1/realtime/sessions", []),
        ("s3", f"GET {S3}/data?mint", ["Mint"]),
        ("openai", "POST https://api.openai.com/v1/realtime/sessions?mint", ["realtime-client-secret"]),
        ("openai", "GET https://api.openai.com/v1/x?mint", []),
    ],
)
def test_a_guard_knows_the_apis_of_its_services_only(
    catalogue: Catalogue, service: str, line: str, expected: list[str]
) -> None:
    guard = MintingGuard(services_of(catalogue, service))

    assert names(guard.find(ask(line))) == expected


def test_a_guard_without_services_finds_nothing() -> None:
    assert MintingGuard([]).find(ask("POST https://api.openai.com/v1/realtime/sessions?session")) == ()


def test_an_api_needs_all_of_its_query(catalogue: Catalogue) -> None:
    service = catalogue["s3"]
    api = replace(MINT, query=("Mint", "Key"))
    guard = MintingGuard([replace(service, minting=(api,))])

    assert guard.find(ask(f"GET {S3}/?mint")) == ()
    assert guard.find(ask(f"GET {S3}/?key&MINT")) == (("s3", api.name),)


@given(requests())
def test_property_the_guard_finds_what_its_rules_find_one_by_one(request: RequestFacts) -> None:
    """The early exits leave nothing out."""
    every = [
        name
        for service in CATALOGUE.values()
        for one in service.minting
        for name in MintingGuard([replace(service, minting=(one,))]).find(request)
    ]

    assert MintingGuard(CATALOGUE.values()).find(request) == tuple(every)
