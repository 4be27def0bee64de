"""The data that podkey ships, held against what the services' own clients and documentation say."""

import re
from collections import Counter
from importlib.resources import files

import pytest

from proxy.core.contract import CATALOGUE_ENTRY
from proxy.core.credentials import Basic, Bearer, EcrToken, Header, SigV4
from proxy.core.hosts import Hostname
from proxy.core.request import RequestFacts
from proxy.core.services import DRAWN, Catalogue, Dialect, Service, SpentSign
from proxy.documents.yaml_nodes import read_nodes
from proxy.judge.reading import ServiceKnowledge, ServiceReader

ENTRIES = sorted(files("proxy.services").joinpath("catalogue").iterdir(), key=lambda entry: entry.name)
SHIPPED = [
    "anthropic",
    "aws-credentials",
    "bedrock-runtime",
    "ecr",
    "huggingface",
    "openai",
    "s3",
    "sagemaker-runtime",
    "wandb",
]
ALPHABETS = {"hex": "0", "alnum": "a", "upper": "A"}


def drawn(value: str) -> str:
    """A placeholder as a pod sees it, with one letter for all that is drawn."""
    return DRAWN.sub(lambda part: ALPHABETS[part[1]] * int(part[2]), value)


# --- all of them ---------------------------------------------------------------------------------------


def test_all_that_is_shipped_is_loaded(catalogue: Catalogue) -> None:
    assert list(catalogue) == SHIPPED
    assert [entry.name for entry in ENTRIES] == [f"{name}.yaml" for name in SHIPPED]


@pytest.mark.parametrize("name", SHIPPED)
def test_a_file_holds_the_entry_that_it_is_called_after(name: str) -> None:
    data = next(entry for entry in ENTRIES if entry.name == f"{name}.yaml").read_bytes()
    (node,), problems = read_nodes(data, name)
    assert problems == []
    heads = {key.value: value for key, value in node.value}
    assert heads["kind"].value == CATALOGUE_ENTRY
    assert [(key.value, value.value) for key, value in heads["metadata"].value] == [("name", name)]


@pytest.mark.parametrize("name", SHIPPED)
def test_names_within_a_service_are_unique(catalogue: Catalogue, name: str) -> None:
    service = catalogue[name]
    for names in (
        [api.name for api in service.minting],
        [pin.name for pin in service.pins],
        [placeholder.name for placeholder in service.placeholders],
        [url.name for url in service.base_urls],
        list(service.slots.headers),
        list(service.slots.query),
        list(service.slots.cookies),
        list(service.parameters),
    ):
        assert [word for word, count in Counter(names).items() if count > 1] == []


@pytest.mark.parametrize("name", SHIPPED)
def test_titles_and_summaries_are_for_people(catalogue: Catalogue, name: str) -> None:
    service = catalogue[name]
    sentences = [
        service.summary,
        *(api.summary for api in service.minting),
        *(p.summary for p in service.pins),
    ]
    assert service.title[0].isupper()
    assert [text for text in sentences if not (text[0].isupper() and text.endswith("."))] == []


@pytest.mark.parametrize("name", SHIPPED)
def test_where_the_credential_goes_the_clients_own_is_cleared(catalogue: Catalogue, name: str) -> None:
    service = catalogue[name]
    slots = {header.lower() for header in service.slots.headers}
    for scheme in service.attach:
        header = scheme.name.lower() if isinstance(scheme, Header) else "authorization"
        assert header in slots


def test_services_that_take_one_variable_want_the_same_in_it(catalogue: Catalogue) -> None:
    """As AWS's do: an SDK has one access key for all of them."""
    values: dict[str, set[str]] = {}
    for service in catalogue.values():
        for placeholder in service.placeholders:
            values.setdefault(placeholder.name, set()).add(placeholder.value)
    assert [name for name, found in values.items() if len(found) > 1] == []


@pytest.mark.parametrize("name", SHIPPED)
def test_no_service_speaks_to_a_host_of_another(catalogue: Catalogue, name: str) -> None:
    for endpoint in catalogue[name].endpoints:
        for template in endpoint.hosts:
            host = template.filled({})
            assert [reading.service.name for reading in catalogue.readings(host)] == [name], host
            assert catalogue.blob_owner(host) is None, host


@pytest.mark.parametrize("name", SHIPPED)
def test_every_host_template_is_read_in_one_way(catalogue: Catalogue, name: str) -> None:
    # A host with two readings shows nothing: no grant with a pin could ever cover it.
    for endpoint in catalogue[name].endpoints:
        for template in endpoint.hosts:
            (reading,) = catalogue.readings(template.filled({}))
            assert set(reading.captures) == template.captures
            assert reading.endpoint.paths == endpoint.paths


# --- which host belongs to which service ---------------------------------------------------------------

PATH_STYLE = ("bucket", "key")
R = "eu-central-1"


def owner(catalogue: Catalogue, host: str) -> str | None:
    (name,) = [reading.service.name for reading in catalogue.readings(Hostname(host))] or [None]
    return name


@pytest.mark.parametrize(
    ("host", "service"),
    [
        ("api.openai.com", "openai"),
        ("eu.api.openai.com", "openai"),
        ("us.api.openai.com", "openai"),
        ("api.anthropic.com", "anthropic"),
        ("huggingface.co", "huggingface"),
        ("api.wandb.ai", "wandb"),
        ("api.forge.coreweave.com", "wandb"),
        ("sts.amazonaws.com", "aws-credentials"),
        (f"sts.{R}.amazonaws.com", "aws-credentials"),
        (f"secretsmanager.{R}.amazonaws.com", "aws-credentials"),
        ("openai.com", None),
        ("evil-api.openai.com", None),
        ("api.openai.com.example.com", None),
        ("xapi.anthropic.com", None),
        ("www.huggingface.co", None),
        ("huggingface.co.example", None),
        ("wandb.ai", None),
        ("amazonaws.com", None),
        (f"ec2.{R}.amazonaws.com", None),
    ],
)
def test_a_host_belongs_to_its_service_only(catalogue: Catalogue, host: str, service: str | None) -> None:
    assert owner(catalogue, host) == service


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("s3.amazonaws.com", None),
        ("s3-external-1.amazonaws.com", None),
        (f"s3.{R}.amazonaws.com", R),
        (f"s3-{R}.amazonaws.com", R),
        (f"s3.dualstack.{R}.amazonaws.com", R),
        ("s3-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ("s3-fips.dualstack.us-east-1.amazonaws.com", "us-east-1"),
        ("s3.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ("s3.dualstack.cn-northwest-1.amazonaws.com.cn", "cn-northwest-1"),
        ("s3.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1"),
        ("s3.us-iso-east-1.c2s.ic.gov", "us-iso-east-1"),
        ("s3.us-isob-east-1.sc2s.sgov.gov", "us-isob-east-1"),
        ("s3.eu-isoe-west-1.cloud.adc-e.uk", "eu-isoe-west-1"),
        ("s3.us-isof-south-1.csp.hci.ic.gov", "us-isof-south-1"),
        (f"bucket.vpce-0a1b2c-x1y2z3.s3.{R}.vpce.amazonaws.com", R),
    ],
)
def test_an_s3_host_without_a_bucket_is_path_style(
    catalogue: Catalogue, host: str, region: str | None
) -> None:
    (reading,) = catalogue.readings(Hostname(host))
    assert reading.service.name == "s3"
    assert reading.captures.get("aws_region") == region
    assert "bucket" not in reading.captures
    assert {name for path in reading.endpoint.paths for name in path.captures} == {"bucket", "key"}


SUFFIXES = [
    ("s3.amazonaws.com", None),
    ("s3-accelerate.amazonaws.com", None),
    ("s3-accelerate.dualstack.amazonaws.com", None),
    (f"s3.{R}.amazonaws.com", R),
    (f"s3-{R}.amazonaws.com", R),
    (f"s3.dualstack.{R}.amazonaws.com", R),
    ("s3-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
    ("s3-fips.dualstack.us-east-1.amazonaws.com", "us-east-1"),
    ("s3.cn-north-1.amazonaws.com.cn", "cn-north-1"),
    ("s3.dualstack.cn-northwest-1.amazonaws.com.cn", "cn-northwest-1"),
    ("s3.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1"),
    ("s3.us-iso-east-1.c2s.ic.gov", "us-iso-east-1"),
    ("s3.us-isob-east-1.sc2s.sgov.gov", "us-isob-east-1"),
    ("s3.eu-isoe-west-1.cloud.adc-e.uk", "eu-isoe-west-1"),
    ("s3.us-isof-south-1.csp.hci.ic.gov", "us-isof-south-1"),
    ("s3-accelerate.dualstack.us-east-1.amazonaws.com", "us-east-1"),
    ("bucket.vpce-0a1b2c-x1y2z3.s3.cn-north-1.vpce.amazonaws.com.cn", "cn-north-1"),
    (f"bucket.vpce-0a1b2c-x1y2z3.s3.{R}.vpce.amazonaws.com", R),
]


@pytest.mark.parametrize("bucket", ["data", "my.dotted.bucket", "0-9", "old_bucket", "my-s3", "eu-central-1"])
@pytest.mark.parametrize(("suffix", "region"), SUFFIXES)
def test_an_s3_host_with_a_bucket_shows_it(
    catalogue: Catalogue, bucket: str, suffix: str, region: str | None
) -> None:
    (reading,) = catalogue.readings(Hostname(f"{bucket}.{suffix}"))
    assert reading.service.name == "s3"
    assert reading.captures == {
        "bucket": bucket,
        **({"aws_region": region} if region else {}),
        **({"endpoint": "0a1b2c-x1y2z3"} if "vpce" in suffix else {}),
    }
    assert {name for path in reading.endpoint.paths for name in path.captures} == {"key"}


@pytest.mark.parametrize(
    "host",
    [
        # A bucket that is called like a part of S3's own names must not pass for another one, nor for none.
        "s3-fips.s3.amazonaws.com",
        "s3.s3.amazonaws.com",
        f"s3.s3.{R}.amazonaws.com",
        f"bucket.s3.{R}.amazonaws.com",
        f"x.s3.s3.{R}.amazonaws.com",
        f"s3-accelerate.s3.{R}.amazonaws.com",
    ],
)
def test_a_bucket_named_like_a_part_of_s3_is_read_as_itself_or_not_at_all(
    catalogue: Catalogue, host: str
) -> None:
    (reading,) = catalogue.readings(Hostname(host))
    bucket = re.sub(rf"\.s3(\.{R})?\.amazonaws\.com$", "", host)
    assert reading.captures.get("bucket") in {bucket, None}
    if "bucket" not in reading.captures:
        assert "bucket" not in {name for path in reading.endpoint.paths for name in path.captures}


# --- blob hosts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        "cdn-lfs.huggingface.co",
        "cdn-lfs-us-1.huggingface.co",
        "cdn-lfs.hf.co",
        "cdn-lfs-eu-1.hf.co",
        "us.aws.cdn.hf.co",
        "us.gcp.cdn.hf.co",
        "cas-bridge.xethub.hf.co",
        "cas-server.xethub.hf.co",
        "cas-server-eu.xethub.hf.co",
        "transfer.xethub.hf.co",
        "transfer-eu.xethub.hf.co",
    ],
)
def test_a_blob_host_of_hugging_face_is_known_and_is_no_api_host(catalogue: Catalogue, host: str) -> None:
    owner_of_blobs = catalogue.blob_owner(Hostname(host))
    assert owner_of_blobs is catalogue["huggingface"]
    assert catalogue.readings(Hostname(host)) == ()


@pytest.mark.parametrize(
    "host", ["huggingface.co", "hf.co", "cdn-lfs.example.com", "x.cdn-lfs.huggingface.co"]
)
def test_other_hosts_are_no_blob_hosts(catalogue: Catalogue, host: str) -> None:
    assert catalogue.blob_owner(Hostname(host)) is None


def test_the_other_services_have_no_blob_hosts(catalogue: Catalogue) -> None:
    assert [name for name, service in catalogue.items() if service.blob_hosts] == ["huggingface"]


# --- what the SDKs want --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("service", "variable", "shape"),
    [
        # wandb refuses a key of fewer than 40 characters before it sends anything.
        ("wandb", "WANDB_API_KEY", r"[A-Za-z0-9_-]{40,}"),
        ("openai", "OPENAI_API_KEY", r"sk-[A-Za-z0-9_-]{20,}"),
        ("anthropic", "ANTHROPIC_API_KEY", r"sk-ant-[A-Za-z0-9_-]{20,}"),
        # `huggingface_hub` refuses tokens of the form `api_org…` only.
        ("huggingface", "HF_TOKEN", r"hf_[A-Za-z0-9]{30,}"),
        ("s3", "AWS_ACCESS_KEY_ID", r"[A-Z0-9]{20}"),
        ("s3", "AWS_SECRET_ACCESS_KEY", r"[A-Za-z0-9]{40}"),
        ("s3", "AWS_EC2_METADATA_DISABLED", r"true"),
    ],
)
def test_a_placeholder_has_the_shape_that_the_sdk_wants(
    catalogue: Catalogue, service: str, variable: str, shape: str
) -> None:
    values = {placeholder.name: placeholder.value for placeholder in catalogue[service].placeholders}
    assert re.fullmatch(shape, drawn(values[variable]))


def test_what_a_pod_is_given_has_the_shape_that_placeholders_are_told_by(catalogue: Catalogue) -> None:
    for service in catalogue.values():
        for placeholder in service.placeholders:
            assert placeholder.shape.fullmatch(drawn(placeholder.value))


def test_a_session_of_the_hub_in_a_browser_is_a_credential_too(catalogue: Catalogue) -> None:
    # huggingface_hub#2098: the API takes the cookie in place of a token.
    cookies = {name: service.slots.cookies for name, service in catalogue.items() if service.slots.cookies}
    assert cookies == {"huggingface": ("token",)}


def test_a_placeholder_of_one_pod_is_not_that_of_another(catalogue: Catalogue) -> None:
    """All that stand for a secret are drawn, from enough to be told apart."""
    for service in catalogue.values():
        for placeholder in service.placeholders:
            if re.search("KEY|TOKEN|SECRET", placeholder.name):
                assert sum(int(count) for _, count in DRAWN.findall(placeholder.value)) >= 14


def test_podkeys_own_placeholders_can_be_told_from_real_credentials(catalogue: Catalogue) -> None:
    values = {p.name: p.value for service in catalogue.values() for p in service.placeholders}
    unmarked = [name for name, value in values.items() if "podkey" not in value.lower()]
    assert unmarked == ["AWS_EC2_METADATA_DISABLED"]  # a setting, and no key


@pytest.mark.parametrize(
    ("service", "schemes", "dialect"),
    [
        ("anthropic", (Header("x-api-key"), Bearer()), Dialect.ANTHROPIC_JSON),
        ("aws-credentials", (SigV4(),), Dialect.AWS_JSON),
        ("bedrock-runtime", (SigV4(), Bearer()), Dialect.AWS_JSON),
        ("ecr", (EcrToken(),), Dialect.OCI_JSON),
        ("huggingface", (Bearer(),), Dialect.HUGGINGFACE_JSON),
        ("openai", (Bearer(),), Dialect.OPENAI_JSON),
        ("s3", (SigV4(),), Dialect.S3_XML),
        ("sagemaker-runtime", (SigV4(),), Dialect.AWS_JSON),
        ("wandb", (Basic("api"),), Dialect.PLAIN_JSON),
    ],
)
def test_credentials_and_errors_are_as_the_service_has_them(
    catalogue: Catalogue, service: str, schemes: tuple[object, ...], dialect: Dialect
) -> None:
    assert (catalogue[service].attach, catalogue[service].dialect) == (schemes, dialect)


AWS_CODES = ("ExpiredTokenException", "UnrecognizedClientException", "InvalidClientTokenId")
S3_CODES = ("ExpiredToken", "InvalidToken", "TokenRefreshRequired", "InvalidAccessKeyId")


@pytest.mark.parametrize(
    ("service", "signs"),
    [
        ("anthropic", (SpentSign(401, ("authentication_error",)),)),
        ("bedrock-runtime", tuple(SpentSign(status, AWS_CODES) for status in (400, 401, 403))),
        ("ecr", (SpentSign(401),)),
        ("huggingface", (SpentSign(401),)),
        ("openai", (SpentSign(401),)),
        ("s3", (SpentSign(400, S3_CODES), SpentSign(403, S3_CODES))),
        ("sagemaker-runtime", (SpentSign(400, AWS_CODES), SpentSign(403, AWS_CODES))),
        ("wandb", (SpentSign(401),)),
    ],
)
def test_a_spent_credential_is_told_as_the_service_tells_it(
    catalogue: Catalogue, service: str, signs: tuple[SpentSign, ...]
) -> None:
    assert catalogue[service].spent == signs


def test_a_403_without_a_code_never_means_a_spent_credential(catalogue: Catalogue) -> None:
    assert [
        service.name
        for service in catalogue.values()
        for sign in service.spent
        if sign.status != 401 and not sign.codes
    ] == []


# --- the operations of S3 ------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def s3(catalogue: Catalogue) -> Service:
    return catalogue["s3"]


def test_only_services_of_aws_have_a_table_of_operations(catalogue: Catalogue) -> None:
    tables = [name for name, service in catalogue.items() if service.operations]
    assert tables == ["bedrock-runtime", "ecr", "s3", "sagemaker-runtime"]


def test_no_two_rows_tell_the_same_request(s3: Service) -> None:
    rows = Counter(
        (method, row.captures, row.subresources) for row in s3.operations for method in row.methods
    )
    assert [row for row, count in rows.items() if count > 1] == []


def test_rows_are_told_apart_by_what_hosts_and_paths_capture(s3: Service) -> None:
    assert {row.captures for row in s3.operations} == {(), ("bucket",), ("bucket", "key")}


def test_a_sub_resource_is_no_harmless_parameter(s3: Service) -> None:
    # Else a request could be one operation or another, depending on which list is asked first.
    subresources = {name for row in s3.operations for name in row.subresources}
    assert subresources & set(s3.parameters) == set()


def test_a_listing_is_bounded_by_a_known_parameter(s3: Service) -> None:
    assert {row.prefix_from for row in s3.operations} == {None, "prefix"}
    assert "prefix" in s3.parameters


def test_classes_hold_what_their_names_say(s3: Service) -> None:
    classes: dict[str, set[str]] = {}
    for row in s3.operations:
        if row.access is not None:
            classes.setdefault(row.access.value, set()).add(row.name.partition(":")[2])
    assert set(classes) == {"read", "write", "list", "delete"}
    assert all(re.match("Get|Select", name) for name in classes["read"])
    assert all("Delete" in name for name in classes["delete"])
    assert not any("Delete" in name for kind in ("read", "write", "list") for name in classes[kind])


def test_access_rules_locks_and_buckets_are_granted_by_name_only(s3: Service) -> None:
    sensitive = re.compile(
        "Acl|Policy|LegalHold|Retention|CreateBucket|DeleteBucket|ListAllMyBuckets|CreateSession"
    )
    assert [row.name for row in s3.operations if sensitive.search(row.name) and row.access is not None] == []


def test_a_listing_that_shows_keys_is_bounded_or_has_no_class(s3: Service) -> None:
    """Every operation of a class on a bucket names its keys, bounds them, or shows none."""
    unbounded = [
        row.name
        for row in s3.operations
        if row.access is not None
        and "key" not in row.captures
        and row.prefix_from is None
        and not row.keyless
    ]
    # Its keys stand in the body.
    assert unbounded == ["s3:DeleteObjects"]
    assert [row.name for row in s3.operations if row.body_keys] == unbounded


def test_what_would_hand_out_credentials_is_answered_by_podkey(s3: Service) -> None:
    assert s3.minting == ()
    (row,) = [row for row in s3.operations if row.answered_here]
    assert (row.name, row.methods, row.subresources) == ("s3:CreateSession", ("GET",), ("session",))
    # Only a directory bucket has sessions, and no access class tells who may open one.
    assert (row.requires, row.access, row.keyless) == (("aws_zone",), None, True)


def test_only_what_writes_an_object_can_copy_one(s3: Service) -> None:
    assert s3.source_headers == ("x-amz-copy-source",)
    assert [(row.name, row.methods) for row in s3.operations if row.copies] == [
        ("s3:PutObject", ("PUT",)),
        ("s3:UploadPart", ("PUT",)),
    ]


def test_the_bucket_must_be_named(s3: Service) -> None:
    assert {pin.name: pin.required for pin in s3.pins} == {"bucket": True, "region": False}
    assert s3.opaque_paths


ACCOUNT = "111122223333"
POINT = f"ap-1-{ACCOUNT}"
POINT_ARN = f"arn:aws:s3:{R}:{ACCOUNT}:accesspoint/ap-1"
LAMBDA_ARN = POINT_ARN.replace(":s3:", ":s3-object-lambda:")
ZONED = "a--use1-az4--x-s3"


def bucket_of(catalogue: Catalogue, host: str) -> str | None:
    (found,) = catalogue.readings(Hostname(host))
    reader = ServiceReader(ServiceKnowledge(found.service, ["bucket"]), found)
    reading = reader.read(RequestFacts.of(Hostname(host), "GET", "/k"))
    assert (reading.key is None) == ("bucket" not in reading.pins)
    return reading.pins.get("bucket")


@pytest.mark.parametrize(
    ("host", "bucket"),
    [
        (f"{POINT}.s3-accesspoint.{R}.amazonaws.com", POINT_ARN),
        (f"{POINT}.s3-accesspoint.dualstack.{R}.amazonaws.com", POINT_ARN),
        (f"{POINT}.s3-accesspoint-fips.{R}.amazonaws.com", POINT_ARN),
        (f"{POINT}.s3-accesspoint-fips.dualstack.{R}.amazonaws.com", POINT_ARN),
        (f"{POINT}.accesspoint.vpce-1a-2b.s3.{R}.vpce.amazonaws.com", POINT_ARN),
        (f"{POINT}.s3-object-lambda.{R}.amazonaws.com", LAMBDA_ARN),
        (f"{POINT}.s3-object-lambda-fips.{R}.amazonaws.com", LAMBDA_ARN),
        # The partition is that of the region: two of them share a domain.
        (
            f"{POINT}.s3-accesspoint.us-gov-west-1.amazonaws.com",
            f"arn:aws-us-gov:s3:us-gov-west-1:{ACCOUNT}:accesspoint/ap-1",
        ),
        (
            f"{POINT}.s3-accesspoint.cn-north-1.amazonaws.com.cn",
            f"arn:aws-cn:s3:cn-north-1:{ACCOUNT}:accesspoint/ap-1",
        ),
        (
            f"{POINT}.s3-accesspoint.eusc-de-east-1.amazonaws.eu",
            f"arn:aws-eusc:s3:eusc-de-east-1:{ACCOUNT}:accesspoint/ap-1",
        ),
        (
            f"{POINT}.s3-accesspoint.eu-isoe-west-1.cloud.adc-e.uk",
            f"arn:aws-iso-e:s3:eu-isoe-west-1:{ACCOUNT}:accesspoint/ap-1",
        ),
        ("mfzwi23gnjvgw.mrap.accesspoint.s3-global.amazonaws.com", "mfzwi23gnjvgw.mrap"),
        # An alias is a bucket's name.
        (f"ap-1-abc123-s3alias.s3.{R}.amazonaws.com", "ap-1-abc123-s3alias"),
        (f"{ZONED}.s3express-use1-az4.us-east-1.amazonaws.com", ZONED),
        (f"{ZONED}.s3express-use1-az4.dualstack.us-east-1.amazonaws.com", ZONED),
        (f"{ZONED}.s3express-fips-use1-az4.us-east-1.amazonaws.com", ZONED),
        (f"{ZONED}.s3express-fips-use1-az4.dualstack.us-east-1.amazonaws.com", ZONED),
        ("a--usw2-lax1-az1--x-s3.s3express-usw2-lax1-az1.us-west-2.amazonaws.com", "a--usw2-lax1-az1--x-s3"),
        ("ap--use1-az4--xa-s3.s3express-use1-az4.us-east-1.amazonaws.com", "ap--use1-az4--xa-s3"),
        # The directory bucket's name says another zone than its host.
        (f"{ZONED}.s3express-use1-az5.us-east-1.amazonaws.com", None),
        (f"x.{ZONED}.s3express-use1-az4.us-east-1.amazonaws.com", None),
        ("plain.s3express-use1-az4.us-east-1.amazonaws.com", None),
        (f"ap-1.s3-accesspoint.{R}.amazonaws.com", None),
        (f"x.{POINT}.s3-accesspoint.{R}.amazonaws.com", None),
        ("a.b.mrap.accesspoint.s3-global.amazonaws.com", None),
        ("plain.accesspoint.s3-global.amazonaws.com", None),
    ],
)
def test_a_host_of_an_access_point_or_a_directory_bucket_shows_it_as_iam_names_it(
    catalogue: Catalogue, host: str, bucket: str | None
) -> None:
    assert bucket_of(catalogue, host) == bucket


@pytest.mark.parametrize(
    "host",
    [
        f"route.s3-object-lambda.{R}.amazonaws.com",
        f"s3-object-lambda.{R}.amazonaws.com",
        f"s3-control.{R}.amazonaws.com",
        f"{ACCOUNT}.s3-control.{R}.amazonaws.com",
        f"{ACCOUNT}.s3-control.dualstack.{R}.amazonaws.com",
        f"{ACCOUNT}.s3-control-fips.{R}.amazonaws.com",
        f"{ACCOUNT}.control.vpce-1a.s3.{R}.vpce.amazonaws.com",
        f"a.{ACCOUNT}.s3-outposts.{R}.amazonaws.com",
        f"{POINT}.op-01ac5d28a6a232904.s3-outposts.{R}.amazonaws.com",
        "ap-1.accesspoint.vpce-1a.s3.us-east-1.vpce.amazonaws.com",
        "accesspoint.vpce-1a.s3.us-east-1.vpce.amazonaws.com",
        "s3express-control.us-east-1.amazonaws.com",
        "s3express-control.dualstack.us-east-1.amazonaws.com",
        "s3express-control-fips.us-east-1.amazonaws.com",
        f"{ZONED}.s3express-control.us-east-1.amazonaws.com",
        "s3express-use1-az4.us-east-1.amazonaws.com",
        f"{ZONED}.s3express-use1-az5.us-east-1.amazonaws.com",
        f"ap-1.s3-accesspoint.{R}.amazonaws.com",
        "m.accesspoint.s3-global.amazonaws.com",
    ],
)
@pytest.mark.parametrize("path", ["/", "/key", "/bucket/key", "//", "/-/"])
def test_the_other_hosts_of_s3_are_governed_and_show_no_bucket(
    catalogue: Catalogue, host: str, path: str
) -> None:
    (reading,) = catalogue.readings(Hostname(host))
    assert reading.service.name == "s3"
    assert "bucket" not in reading.captures
    assert not any(template.compiled().fullmatch(path) for template in reading.endpoint.paths)
    assert reading.endpoint.paths  # with none at all, a path would not have to fit


@pytest.mark.parametrize(
    "host",
    [
        "sts.amazonaws.com",
        "sts.eu-central-1.amazonaws.com",
        "sts.us-east-1.api.aws",
        "secretsmanager.us-east-1.api.aws",
        "iam.us-gov.amazonaws.com",
        "vpce-1a.sts.us-east-1.vpce.amazonaws.com",
        "sts.us-iso-east-1.c2s.ic.gov",
    ],
)
def test_hosts_that_hand_out_aws_credentials_are_known(catalogue: Catalogue, host: str) -> None:
    (reading,) = catalogue.readings(Hostname(host))
    assert reading.service.name == "aws-credentials"


def test_a_base_url_belongs_to_one_service_that_has_a_main_host(catalogue: Catalogue) -> None:
    """The endpoints of a pod write all variables into one file."""
    owners = [(url.name, service) for service in catalogue.values() for url in service.base_urls]
    assert [name for name, count in Counter(name for name, _ in owners).items() if count > 1] == []
    assert [name for name, service in owners if service.main_host is None] == []
