"""For which service and region a request to one of AWS's hosts is signed, as far as its name says.

Names are read from the right: there AWS alone decides, and to the left may stand whatever a customer called a
bucket. The exceptions of the tables are botocore's; a test compares every endpoint that botocore knows.
"""

import re
from functools import lru_cache
from typing import Final

from proxy.aws.partitions import PARTITIONS, partition_of
from proxy.aws.sigv4 import Style
from proxy.core.hosts import Hostname
from proxy.core.structs import Struct


class AwsHost(Struct, frozen=True):
    """`service` is the name in a signature's scope. Without a region, several regions may answer."""

    service: str
    region: str | None
    style: Style


# --- suffixes ----------------------------------------------------------------------------------------

# What also ends the names of a partition, by what ends them mostly: names with IPv6 addresses.
_DUAL_STACK: Final = {
    "amazonaws.com": "api.aws",
    "amazonaws.com.cn": "api.amazonwebservices.com.cn",
    "amazonaws.eu": "api.amazonwebservices.eu",
    "c2s.ic.gov": "api.aws.ic.gov",
    "sc2s.sgov.gov": "api.aws.scloud",
    "cloud.adc-e.uk": "api.cloud-aws.adc-e.uk",
    "csp.hci.ic.gov": "api.aws.hci.ic.gov",
}
_SUFFIXES: Final = {
    f".{suffix}": partition.dns_suffix
    for partition in PARTITIONS
    for suffix in (partition.dns_suffix, _DUAL_STACK[partition.dns_suffix])
}
# Where a service lives that has one host for its partition.
_GLOBAL_REGIONS: Final = {
    "amazonaws.com": "us-east-1",
    "amazonaws.com.cn": "cn-northwest-1",
    "amazonaws.eu": "eusc-de-east-1",
    "c2s.ic.gov": "us-iso-east-1",
    "sc2s.sgov.gov": "us-isob-east-1",
    "cloud.adc-e.uk": "eu-isoe-west-1",
    "csp.hci.ic.gov": "us-isof-south-1",
}
# The second partition below amazonaws.com says so, where a name has no region.
_GOV: Final = ".us-gov"
_GOV_REGION: Final = "us-gov-west-1"
_IAM_IN_CHINA: Final = "cn-north-1"

# --- S3 ----------------------------------------------------------------------------------------------

_REGION: Final = r"[a-z]{2,4}(?:-[a-z]{2,12}){1,2}-[0-9]{1,2}"
_WAYS: Final = r"(?:-fips)?(?:\.dualstack)?"
_S3: Final = re.compile(
    rf"(?:.+\.)?(?:"
    rf"s3(?:|-accesspoint|-control){_WAYS}\.|s3-"
    rf"|(?P<express>s3express-)[a-z0-9-]+{_WAYS}\."
    rf"|(?P<other>s3-object-lambda|s3-outposts){_WAYS}\."
    rf")(?P<region>{_REGION})"
).fullmatch
# Whoever is nearest answers, or the bucket's region, which the name does not tell.
_S3_ANYWHERE: Final = re.compile(
    r"(?:.+\.)?(?:s3|s3-accelerate(?:\.dualstack)?)|.+\.accesspoint\.s3-global"
).fullmatch
_S3_OLDEST: Final = re.compile(r"(?:.+\.)?s3-external-1").fullmatch
_S3_OLDEST_REGION: Final = "us-east-1"

# --- the others --------------------------------------------------------------------------------------

_REGIONAL: Final = re.compile(rf"(?P<prefix>.+)\.(?P<region>{_REGION})").fullmatch
# `vpce-svc-…` in the service's place is a service of some customer.
_VPC_ENDPOINT: Final = re.compile(
    rf"(?:.+\.)?vpce-[a-z0-9-]+\.(?P<prefix>(?!vpce-).+)\.(?P<region>{_REGION})\.vpce"
).fullmatch
# Domains of customers', which AWS runs: what signs for them stands behind the region.
_DOMAIN: Final = re.compile(rf".+\.(?P<region>{_REGION})\.(?P<kind>aoss|cloudsearch|es|neptune)").fullmatch
_DOMAINS: Final = {"aoss": "aoss", "cloudsearch": "cloudsearch", "es": "es", "neptune": "neptune-db"}
# Hosts outside of the suffixes.
_ON_AWS: Final = re.compile(
    rf".+\.(?P<kind>dkr-ecr|lambda-url)(?:-fips)?\.(?P<region>{_REGION})\.on\.aws"
).fullmatch
_KINDS_ON_AWS: Final = {"dkr-ecr": "ecr", "lambda-url": "lambda"}

# Service -> what its names begin with, where that is not the service's own name. `*.` stands for any labels.
# A prefix with dots that is not here is nobody's: below some names (`elb`) stand hosts of customers'.
_SERVICES: Final = {
    "account-access": "account-access-runtime",
    "agent-registry": "agent-registry-control",
    "aidevops": "*.aidevops",
    "airflow": "*.airflow",
    "appconfig": "appconfigdata",
    "appstream": "appstream2",
    "appsync": "*.appsync-api",
    "aws-marketplace": "agreement-marketplace catalog-marketplace deployment-marketplace "
    "discovery-marketplace entitlement-marketplace metering-marketplace reporting-marketplace *.marketplace",
    "awsssoportal": "portal.sso",
    "bedrock": "bedrock-agent bedrock-agent-runtime bedrock-data-automation bedrock-data-automation-runtime "
    "bedrock-runtime",
    "bedrock-agentcore": "bedrock-agentcore-control",
    "cassandra": "cassandra-streams",
    "chime": "identity-chime media-pipelines-chime meetings-chime messaging-chime voice-chime",
    "cloudhsm": "cloudhsmv2",
    "cloudsearch": "cloudsearchdomain",
    "cloudwatch": "cloudwatch-omni",
    "connect": "contact-lens",
    "dataexchange": "*.dataexchange",
    "deadline": "*.deadline",
    "detective": "api.detective",
    "dynamodb": "streams-dynamodb streams.dynamodb",
    "ecr": "api.ecr dkr.ecr *.dkr.ecr",
    "ecr-public": "api.ecr-public",
    "elasticfilesystem": "efs",
    "es": "aos",
    "events": "eventsv2",
    "execute-api": "*.execute-api participant.connect",
    "forecast": "forecastquery",
    "geo": "*.geo",
    "geo-maps": "maps.geo",
    "geo-places": "places.geo",
    "geo-routes": "routes.geo",
    "greengrass": "greengrass-ats.iot",
    "health": "global.health",
    "health-agent": "*.health-agent",
    "healthlake": "*.healthlake",
    "iam": "iam-toolbox",
    "iot-jobs-data": "data.jobs.iot",
    "IoTSecuredTunneling": "api.tunneling.iot api.iot-tunneling",
    "iotdata": "data-ats.iot data.ats.iot data.iot",
    "iotdeviceadvisor": "api.iotdeviceadvisor",
    "iotmanagedintegrations": "api.iotmanagedintegrations",
    "iotsitewise": "*.iotsitewise",
    "iottwinmaker": "*.iottwinmaker",
    "iotwireless": "api.iotwireless",
    "ivs": "ivsrealtime",
    "kafka": "kafka-api",
    "kinesisvideo": "*.kinesisvideo",
    "lakeformation": "data-lakeformation query-lakeformation",
    "lex": "models-v2-lex models.lex runtime-v2-lex runtime.lex",
    "logs": "stream-logs",
    "mediaconvert": "*.mediaconvert",
    "mediastore": "*.data.mediastore data.mediastore",
    "mediatailor": "api.mediatailor",
    "medical-imaging": "runtime-medical-imaging",
    "memorydb": "memory-db",
    "mgh": "migrationhub-config",
    "mobiletargeting": "pinpoint",
    "mturk-requester": "mturk-requester-sandbox",
    "neptune-graph": "*.neptune-graph",
    "omics": "analytics-omics control-storage-omics storage-omics tags-omics workflows-omics",
    "partnercentral": "partnercentral-prm",
    "payment-cryptography": "*.payment-cryptography",
    "personalize": "personalize-events personalize-runtime",
    "pricing": "api.pricing",
    "qapps": "data.qapps",
    "route53-recovery-control-config": "arc-recovery-control-config",
    "rum": "dataplane.rum",
    "sagemaker": "*.sagemaker",
    "servicecatalog": "servicecatalog-appregistry",
    "servicediscovery": "data-servicediscovery",
    "ses": "email mail-manager",
    "signer": "data-signer verification.signer",
    "sms-voice": "sms-voice.pinpoint",
    "sso-oauth": "oidc",
    "states": "sync-states",
    "sustainability": "api.sustainability",
    "thinclient": "api.thinclient",
    "timestream": "timestream-ingest timestream-query *.timestream",
    "transcribe": "*.transcribe",
    "wickr": "admin.wickr",
}
_SIGNED_AS: Final = {
    prefix: service for service, prefixes in _SERVICES.items() for prefix in prefixes.split()
}


def read_aws_host(host: Hostname) -> AwsHost | None:
    """None where it is none of AWS's, or does not tell the service."""
    return _read(host)


@lru_cache(maxsize=256)  # An application talks to a handful of hosts, and a name can be long.
def _read(host: str) -> AwsHost | None:
    for suffix, partition in _SUFFIXES.items():
        if host.endswith(suffix):
            found = _in_partition(host.removesuffix(suffix), partition)
            region = None if found is None else found.region
            # A region is to be found below its own suffix alone.
            known = region is None or partition_of(region).dns_suffix == partition
            return found if known else None
    other = _ON_AWS(host)
    return None if other is None else AwsHost(_KINDS_ON_AWS[other["kind"]], other["region"], Style.GENERAL)


def _in_partition(name: str, partition: str) -> AwsHost | None:
    """`name` without what ends the names of the partition."""
    if found := _S3(name):
        service = "s3express" if found["express"] else found["other"] or "s3"
        return AwsHost(service, found["region"], Style.S3)
    if _S3_ANYWHERE(name):
        return AwsHost("s3", None, Style.S3)
    if _S3_OLDEST(name):
        return AwsHost("s3", _S3_OLDEST_REGION, Style.S3)
    if found := _VPC_ENDPOINT(name):
        if found["prefix"] == "s3":
            return AwsHost("s3", found["region"], Style.S3)
        return _general(found["prefix"], found["region"])
    if found := _DOMAIN(name):
        return AwsHost(_DOMAINS[found["kind"]], found["region"], Style.GENERAL)
    if found := _REGIONAL(name.removesuffix(_GOV)):
        return _general(found["prefix"], found["region"])
    return _global(name, partition)


def _global(name: str, partition: str) -> AwsHost | None:
    if name.endswith(_GOV):
        return _general(name.removesuffix(_GOV), _GOV_REGION)
    found = _general(name.removesuffix(".global"), _GLOBAL_REGIONS[partition])
    if found is not None and found.service == "iam" and partition == "amazonaws.com.cn":
        return AwsHost("iam", _IAM_IN_CHINA, Style.GENERAL)
    return found


def _general(prefix: str, region: str) -> AwsHost | None:
    service = _service(prefix)
    return None if service is None else AwsHost(service, region, Style.GENERAL)


def _service(prefix: str) -> str | None:
    plain = _without_fips(prefix)
    if found := _SIGNED_AS.get(plain):
        return found
    label, dot, rest = plain.partition(".")
    if not dot:
        # What is like S3 and not known (`s3-website`) is not asked for with a signature.
        return None if label.startswith("s3-") else label
    while rest:
        if found := _SIGNED_AS.get(f"*.{rest}"):
            return found
        rest = rest.partition(".")[2]
    return None


def _without_fips(prefix: str) -> str:
    """`fips.transcribe`, `runtime-fips.sagemaker` and `kms-fips` are the same services."""
    if "fips" not in prefix:
        return prefix
    labels = (label.removesuffix("-fips").removeprefix("fips-") for label in prefix.split("."))
    return ".".join(label for label in labels if label != "fips")
