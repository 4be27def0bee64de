"""Hosts by their forms, against what botocore computes, and against names that were chosen to deceive."""

import re
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.aws.hosts import AwsHost, read_aws_host
from proxy.aws.partitions import PARTITIONS, Partition, partition_of
from proxy.aws.sigv4 import Style
from proxy.core.hosts import Hostname, parse_hostname
from tests.aws_endpoints import Endpoint, computed, listed, partitions, resolved, rules_of


def read(name: str) -> AwsHost | None:
    host = parse_hostname(name)
    assert host is not None
    return read_aws_host(host)


def s3(region: str | None, service: str = "s3") -> AwsHost:
    return AwsHost(service, region, Style.S3)


def general(service: str, region: str | None) -> AwsHost:
    return AwsHost(service, region, Style.GENERAL)


# --- S3 ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "found"),
    [
        # Path-style and virtual-hosted, and a bucket with dots.
        ("s3.eu-west-1.amazonaws.com", s3("eu-west-1")),
        ("train.s3.eu-west-1.amazonaws.com", s3("eu-west-1")),
        ("my.own.bucket.s3.eu-west-1.amazonaws.com", s3("eu-west-1")),
        ("s3-eu-west-1.amazonaws.com", s3("eu-west-1")),
        ("train.s3-eu-west-1.amazonaws.com", s3("eu-west-1")),
        ("train.s3.dualstack.eu-west-1.amazonaws.com", s3("eu-west-1")),
        ("s3-fips.us-gov-west-1.amazonaws.com", s3("us-gov-west-1")),
        ("train.s3-fips.dualstack.us-east-2.amazonaws.com", s3("us-east-2")),
        # Other partitions.
        ("train.s3.cn-north-1.amazonaws.com.cn", s3("cn-north-1")),
        ("s3.eusc-de-east-1.amazonaws.eu", s3("eusc-de-east-1")),
        ("s3.us-iso-east-1.c2s.ic.gov", s3("us-iso-east-1")),
        ("train.s3.us-isob-east-1.sc2s.sgov.gov", s3("us-isob-east-1")),
        ("s3.eu-isoe-west-1.cloud.adc-e.uk", s3("eu-isoe-west-1")),
        ("s3.us-isof-south-1.csp.hci.ic.gov", s3("us-isof-south-1")),
        # Without a region.
        ("s3.amazonaws.com", s3(None)),
        ("train.s3.amazonaws.com", s3(None)),
        ("my.own.bucket.s3.amazonaws.com", s3(None)),
        ("s3-external-1.amazonaws.com", s3("us-east-1")),
        ("train.s3-external-1.amazonaws.com", s3("us-east-1")),
        ("train.s3-accelerate.amazonaws.com", s3(None)),
        ("train.s3-accelerate.dualstack.amazonaws.com", s3(None)),
        ("mfzwi23gnjvgw.mrap.accesspoint.s3-global.amazonaws.com", s3(None)),
        # Access points and their kin.
        ("mine-123456789012.s3-accesspoint.eu-west-1.amazonaws.com", s3("eu-west-1")),
        ("mine-123456789012.s3-accesspoint-fips.us-east-1.amazonaws.com", s3("us-east-1")),
        ("mine-123456789012.s3-accesspoint.dualstack.eu-west-1.amazonaws.com", s3("eu-west-1")),
        ("mine-123456789012.s3-accesspoint-fips.dualstack.us-east-1.amazonaws.com", s3("us-east-1")),
        ("mine-1.s3-object-lambda.eu-west-1.amazonaws.com", s3("eu-west-1", "s3-object-lambda")),
        ("mine-1.s3-object-lambda-fips.us-east-1.amazonaws.com", s3("us-east-1", "s3-object-lambda")),
        ("ap-1.op-01ac5d28a6a232904.s3-outposts.us-east-1.amazonaws.com", s3("us-east-1", "s3-outposts")),
        ("s3-outposts.us-east-1.amazonaws.com", s3("us-east-1", "s3-outposts")),
        ("123456789012.s3-control.eu-west-1.amazonaws.com", s3("eu-west-1")),
        ("123456789012.s3-control-fips.dualstack.us-east-1.amazonaws.com", s3("us-east-1")),
        # Directory buckets.
        ("b--use1-az4--x-s3.s3express-use1-az4.us-east-1.amazonaws.com", s3("us-east-1", "s3express")),
        ("b--use1-az4--x-s3.s3express-fips-use1-az4.us-east-1.amazonaws.com", s3("us-east-1", "s3express")),
        ("s3express-usw2-lax1-az1.us-west-2.amazonaws.com", s3("us-west-2", "s3express")),
        ("s3express-control.us-east-1.amazonaws.com", s3("us-east-1", "s3express")),
        ("s3express-control.dualstack.us-east-1.amazonaws.com", s3("us-east-1", "s3express")),
        # Interface endpoints.
        ("bucket.vpce-1a2b-5c.s3.us-east-1.vpce.amazonaws.com", s3("us-east-1")),
        ("train.bucket.vpce-1a2b-5c.s3.us-east-1.vpce.amazonaws.com", s3("us-east-1")),
        ("mine-1.accesspoint.vpce-1a2b-5c.s3.us-east-1.vpce.amazonaws.com", s3("us-east-1")),
        ("control.vpce-1a2b-5c.s3.us-east-1.vpce.amazonaws.com", s3("us-east-1")),
        ("vpce-1a2b-5c-us-east-1a.s3.us-east-1.vpce.amazonaws.com", s3("us-east-1")),
        ("bucket.vpce-1a2b-5c.s3.cn-north-1.vpce.amazonaws.com.cn", s3("cn-north-1")),
    ],
)
def test_a_host_of_s3_tells_its_region(name: str, found: AwsHost) -> None:
    assert read(name) == found


# --- all others --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("sts.eu-central-1.amazonaws.com", general("sts", "eu-central-1")),
        ("sts-fips.us-east-1.amazonaws.com", general("sts", "us-east-1")),
        ("sts.amazonaws.com", general("sts", "us-east-1")),
        ("iam.amazonaws.com", general("iam", "us-east-1")),
        ("iam.us-gov.amazonaws.com", general("iam", "us-gov-west-1")),
        ("iam.global.api.aws", general("iam", "us-east-1")),
        ("iam.cn-north-1.amazonaws.com.cn", general("iam", "cn-north-1")),
        ("iam.global.api.amazonwebservices.com.cn", general("iam", "cn-north-1")),
        ("budgets.amazonaws.com.cn", general("budgets", "cn-northwest-1")),
        ("routes.geo.us-gov-west-1.us-gov.amazonaws.com", general("geo-routes", "us-gov-west-1")),
        ("bedrock-runtime.us-west-2.amazonaws.com", general("bedrock", "us-west-2")),
        ("bedrock-runtime-fips.us-west-2.amazonaws.com", general("bedrock", "us-west-2")),
        ("runtime.sagemaker.eu-west-1.amazonaws.com", general("sagemaker", "eu-west-1")),
        ("runtime-fips.sagemaker.us-east-1.amazonaws.com", general("sagemaker", "us-east-1")),
        ("secretsmanager.eu-west-1.api.aws", general("secretsmanager", "eu-west-1")),
        ("fips.transcribe.us-east-1.amazonaws.com", general("transcribe", "us-east-1")),
        ("a1b2c3.execute-api.eu-west-1.amazonaws.com", general("execute-api", "eu-west-1")),
        ("a1b2c3.data.mediastore.eu-west-1.amazonaws.com", general("mediastore", "eu-west-1")),
        ("search-mine-abc.eu-west-1.es.amazonaws.com", general("es", "eu-west-1")),
        ("abc.eu-west-1.aoss.amazonaws.com", general("aoss", "eu-west-1")),
        ("c.cluster-1.eu-west-1.neptune.amazonaws.com", general("neptune-db", "eu-west-1")),
        ("abc.lambda-url.eu-west-1.on.aws", general("lambda", "eu-west-1")),
        # ECR: the API, and the registries.
        ("api.ecr.eu-west-1.amazonaws.com", general("ecr", "eu-west-1")),
        ("123456789012.dkr.ecr.eu-west-1.amazonaws.com", general("ecr", "eu-west-1")),
        ("123456789012.dkr.ecr-fips.us-east-1.amazonaws.com", general("ecr", "us-east-1")),
        ("123456789012.dkr-ecr.eu-west-1.on.aws", general("ecr", "eu-west-1")),
        ("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", general("ecr", "cn-north-1")),
        # Interface endpoints.
        ("vpce-0a1b-2c.sts.us-east-1.vpce.amazonaws.com", general("sts", "us-east-1")),
        ("vpce-0a1b-2c.runtime.sagemaker.us-east-1.vpce.amazonaws.com", general("sagemaker", "us-east-1")),
        (
            "vpce-0a1b-2c-us-east-1a.bedrock-runtime.us-east-1.vpce.amazonaws.com",
            general("bedrock", "us-east-1"),
        ),
        ("vpce-0a1b-2c.api.ecr.us-east-1.vpce.amazonaws.com", general("ecr", "us-east-1")),
        ("vpce-0a1b-2c.dkr.ecr.us-east-1.vpce.amazonaws.com", general("ecr", "us-east-1")),
        # A service that is newer than this release.
        ("quantumfoo.eu-west-9.amazonaws.com", general("quantumfoo", "eu-west-9")),
    ],
)
def test_a_host_of_another_service_tells_its_name_and_region(name: str, found: AwsHost) -> None:
    assert read(name) == found


@pytest.mark.parametrize(
    "name",
    [
        "example.com",
        "amazonaws.com",
        "s3.eu-west-1.example.com",
        "s3.eu-west-1.amazonaws.com.example.com",
        "xamazonaws.com",
        "s3.eu-west-1.xamazonaws.com",
        "console.aws.amazon.com",
        # A region of one partition below the suffix of another.
        "sts.cn-north-1.amazonaws.com",
        "s3.eu-west-1.amazonaws.com.cn",
        "s3.us-iso-east-1.amazonaws.com",
        # Hosts that customers run.
        "ec2-198-51-100-1.compute-1.amazonaws.com",
        "ec2-198-51-100-1.eu-west-1.compute.amazonaws.com",
        "mine-0123.elb.eu-west-1.amazonaws.com",
        "mine-0123.eu-west-1.elb.amazonaws.com",
        "abc.gr7.eu-west-1.eks.amazonaws.com",
        "vpce-0a1b-2c.vpce-svc-0a1b.us-east-1.vpce.amazonaws.com",
        "mine.lambda-url.eu-west-1.example.aws",
        # Nothing there is asked for with a signature.
        "train.s3-website-eu-west-1.amazonaws.com",
        "s3-website-eu-west-1.amazonaws.com",
        "s3-website.eu-central-1.amazonaws.com",
        "train.s3-website.eu-central-1.amazonaws.com",
        "eu-west-1.amazonaws.com.example",
        "accesspoint.s3-global.amazonaws.com",
        "vpce.amazonaws.com.example.com",
    ],
)
def test_what_is_no_host_of_aws_or_does_not_tell_has_no_service(name: str) -> None:
    assert read(name) is None


# --- botocore ----------------------------------------------------------------------------------------

# What its name does not tell, and where botocore's data have a slip.
UNTOLD = {
    r"codecatalyst(-fips)?\.global\.api\.aws": "for bearer tokens; the rules name the caller's region",
    r"api\.sustainability\.eu-central-1\.api\.aws": "in all regions signed for the first",
    r"mturk-requester-sandbox\.us-east-1\.amazonaws\.com": "the list calls its region `sandbox`",
    r"ramus-gov-(east|west)-1\.api\.aws": "a dot is missing in the list",
    r"importexport.*": "gone",
    r"localhost:8000": "for tests of one's own",
    r"s3\.amazonaws\.com": "us-east-1 to the list; any region may answer",
    r"(budgets|cloudfront)(-fips)?\.(amazonaws\.com|api\.aws)": "us-gov has none, the rules give another's",
    r"(agent-registry(-control)?|osm)\.(cn|eu|us)[a-z]*-[a-z-]+[0-9]\.api\.aws": "no suffix of the region's",
    r".*signin.*": "the console's names, which no service is called by",
}


def untold(endpoint: Endpoint) -> bool:
    found = read_aws_host(Hostname(endpoint.host))
    if found is None:
        return True
    service = endpoint.service or found.service
    return (found.service, found.region or "*") != (service, endpoint.region)


@pytest.mark.slow
@pytest.mark.parametrize(("endpoints", "at_least"), [(listed, 10_000), (computed, 13_000)])
def test_every_endpoint_that_botocore_knows_tells_what_it_is_signed_for(
    endpoints: Callable[[], Iterator[Endpoint]], at_least: int
) -> None:
    known = list(endpoints())
    assert len(known) > at_least
    wrong = {one.host for one in known if untold(one)}
    assert {host for host in wrong if not any(re.fullmatch(pattern, host) for pattern in UNTOLD)} == set()


def test_the_regions_of_global_services_are_botocores() -> None:
    for partition in partitions():
        outputs = partition["outputs"]
        suffix, dual, region = (
            outputs[key] for key in ("dnsSuffix", "dualStackDnsSuffix", "implicitGlobalRegion")
        )
        for name in (f"some.{region}.{suffix}", f"some.{region}.{dual}"):
            assert read(name) == general("some", region)
        # Two partitions share a suffix; the second says so.
        second = ".us-gov" if partition["id"] == "aws-us-gov" else ""
        assert read(f"some{second}.{suffix}") == general("some", region)


HOMES = [partition["outputs"]["implicitGlobalRegion"] for partition in partitions()] + ["cn-north-1"]


def arn(service: str, region: str, resource: str) -> str:
    return f"arn:aws:{service}:{region}:123456789012:{resource}"


EAST = "us-east-1"
BUCKETS: tuple[tuple[dict[str, object], str, str | None], ...] = (
    ({"Bucket": "train"}, "s3", EAST),
    ({"Bucket": "train", "ForcePathStyle": True}, "s3", EAST),
    ({"Bucket": "train", "Accelerate": True}, "s3", None),
    ({"Bucket": "b--use1-az4--x-s3"}, "s3express", EAST),
    ({"Bucket": "b--use1-az4--x-s3", "DisableS3ExpressSessionAuth": True}, "s3express", EAST),
    ({"Bucket": "b--use1-az4--x-s3", "UseS3ExpressControlEndpoint": True}, "s3express", EAST),
    ({"UseS3ExpressControlEndpoint": True}, "s3express", EAST),
    ({"Bucket": arn("s3", EAST, "accesspoint/mine")}, "s3", EAST),
    ({"Bucket": arn("s3", "", "accesspoint/mfzwi23gnjvgw.mrap")}, "s3", None),
    ({"Bucket": arn("s3-object-lambda", EAST, "accesspoint/mine")}, "s3-object-lambda", EAST),
    (
        {"Bucket": arn("s3-outposts", EAST, "outpost/op-01234567890123456/accesspoint/mine")},
        "s3-outposts",
        EAST,
    ),
    ({"UseObjectLambdaEndpoint": True}, "s3-object-lambda", EAST),
)


@pytest.mark.parametrize(("asked", "service", "region"), BUCKETS)
def test_whatever_botocore_makes_of_a_bucket_tells_what_it_is_signed_for(
    asked: dict[str, object], service: str, region: str | None
) -> None:
    endpoints = list(resolved(rules_of("s3"), "s3", "s3", asked, (EAST,)))
    assert endpoints
    for endpoint in endpoints:
        assert read(endpoint.host) == AwsHost(service, region, Style.S3)
        assert endpoint.service == service
        assert endpoint.region == ("*" if ".s3-global." in endpoint.host else EAST)


# --- names that deceive ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("s3.eu-west-1.amazonaws.com.s3.us-east-1.amazonaws.com", s3("us-east-1")),
        ("s3.eu-west-1.s3.us-east-1.amazonaws.com", s3("us-east-1")),
        ("sts.s3.us-east-1.amazonaws.com", s3("us-east-1")),
        ("sts.us-east-1.s3.amazonaws.com", s3(None)),
        ("iam.s3.amazonaws.com", s3(None)),
        ("x.s3express-a.us-east-1.s3.amazonaws.com", s3(None)),
        ("x.s3express-use1-az4.eu-west-1.s3.us-east-1.amazonaws.com", s3("us-east-1")),
        ("s3express-control.s3.us-east-1.amazonaws.com", s3("us-east-1")),
        ("x.s3-outposts.eu-west-1.s3.us-east-1.amazonaws.com", s3("us-east-1")),
        ("x.s3-object-lambda.eu-west-1.s3-us-east-1.amazonaws.com", s3("us-east-1")),
        ("mine.accesspoint.s3-global.s3.us-east-1.amazonaws.com", s3("us-east-1")),
        ("a.execute-api.eu-west-1.s3.us-east-1.amazonaws.com", s3("us-east-1")),
        ("vpce-1.sts.eu-west-1.vpce.s3.us-east-1.amazonaws.com", s3("us-east-1")),
        ("vpce-1.sts.bucket.vpce-2.s3.us-east-1.vpce.amazonaws.com", s3("us-east-1")),
        ("vpce-1.sts.eu-west-1.vpce.bucket.vpce-2.s3.us-east-1.vpce.amazonaws.com", s3("us-east-1")),
        ("s3-fips.dualstack.s3.us-east-1.amazonaws.com", s3("us-east-1")),
        ("us-gov.s3.us-east-1.amazonaws.com", s3("us-east-1")),
        # Also where the service's customers choose.
        ("sts.execute-api.us-east-1.amazonaws.com", general("execute-api", "us-east-1")),
        ("s3.us-east-1.es.amazonaws.com", general("es", "us-east-1")),
    ],
)
def test_a_name_that_looks_like_another_service_is_what_it_ends_in(name: str, found: AwsHost) -> None:
    assert read(name) == found


_LABELS = st.sampled_from(
    [
        "s3",
        "s3-us-west-2",
        "s3-external-1",
        "s3-accelerate",
        "s3-control",
        "s3express-use1-az4",
        "s3-global",
        "s3-accesspoint",
        "s3-outposts",
        "s3-object-lambda",
        "accesspoint",
        "bucket",
        "control",
        "vpce",
        "vpce-1a",
        "dualstack",
        "fips",
        "us-gov",
        "global",
        "eu-west-1",
        "cn-north-1",
        "sts",
        "iam",
        "execute-api",
        "dkr",
        "ecr",
        "es",
        "aoss",
        "api",
        "aws",
        "amazonaws",
        "com",
        "on",
        "lambda-url",
        "train",
    ]
)
_SUFFIXES = (
    ("s3.us-west-1.amazonaws.com", s3("us-west-1")),
    ("s3-us-west-1.amazonaws.com", s3("us-west-1")),
    ("s3.dualstack.us-west-1.amazonaws.com", s3("us-west-1")),
    ("s3.amazonaws.com", s3(None)),
    ("s3-accelerate.amazonaws.com", s3(None)),
    ("bucket.vpce-9z.s3.us-west-1.vpce.amazonaws.com", s3("us-west-1")),
    ("s3.cn-northwest-1.amazonaws.com.cn", s3("cn-northwest-1")),
    ("s3-outposts.us-west-1.amazonaws.com", s3("us-west-1", "s3-outposts")),
    ("s3express-usw1-az1.us-west-1.amazonaws.com", s3("us-west-1", "s3express")),
)


@given(st.lists(_LABELS, max_size=6), st.sampled_from(_SUFFIXES))
def test_no_bucket_makes_another_service_or_region(labels: list[str], end: tuple[str, AwsHost]) -> None:
    suffix, found = end
    assert read(".".join((*labels, suffix))) == found


@given(st.lists(_LABELS, min_size=1, max_size=8), st.sampled_from(PARTITIONS))
def test_a_region_that_is_told_stands_in_the_name_or_is_the_partitions_home(
    labels: list[str], partition: Partition
) -> None:
    found = read(".".join((*labels, partition.dns_suffix)))
    if found is not None and found.region is not None:
        told = any(found.region in label for label in labels)
        assert told or found.region in {"us-east-1", *HOMES}
        assert partition_of(found.region).dns_suffix == partition.dns_suffix
